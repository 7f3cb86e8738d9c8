"""Noise that is not what the theory assumes: other distributions, and a wrong belief about s_n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from companion import data
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.methods import NAIVE
from companion.experiments.tweedie.points import MODES, SMOKE, PointExperiment
from companion.experiments.tweedie.race import SWEPT, Sweep
from companion.experiments.tweedie.variants import chosen

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ASSUMED", "SIGNAL", "Mismatch", "belief"]

ASSUMED = "as assumed"
SIGNAL = "signal-dependent"


def belief(factor: float) -> str:
    """Name of a belief about s_n that is off by a factor."""
    return f"{abs(factor - 1):.0%} too {'small' if factor < 1 else 'large'}".replace("%", " %")


def signal_dependent(x: Tensor, s_n: float, generator: torch.Generator) -> Tensor:
    """Noise whose variance grows from the left edge of the data to the right, s_n^2 on average."""
    size = (x - MODES.means.min()).clamp_min(0.05).float()
    z = torch.randn(x.shape, generator=generator)
    return x + s_n * (size / size.mean()).sqrt() * z


@dataclass(frozen=True)
class Mismatch(PointExperiment):
    """Noise of another distribution, and wrong beliefs about its size; half the training steps.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    kinds : tuple of {"laplace", "uniform", "signal-dependent"}
        Noise of the same mean square.
    beliefs : tuple of float
        Factors on ``noise`` that a method believes.
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses).
    """

    kinds: tuple[str, ...] = ("laplace", "uniform", SIGNAL)
    beliefs: tuple[float, ...] = (0.8, 1.2)
    weight: float | None = None

    sizes = {"smoke": SMOKE}
    needs = (Sweep,)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Errors by kind of noise, method and level; levels in units of the true noise."""
        weight = chosen(session, self) if self.weight is None else self.weight
        shared, right = self.training(0.5), self.noisy(session, self.clean_sets(session))
        sweep = session.run(self.like(Sweep, weight=self.weight))
        assumed = sweep.where(noise=self.noise, points=self.points)
        assumed = assumed.drop(columns=["noise", "points"]).assign(kind=ASSUMED)
        tables: list[pd.DataFrame] = [assumed]
        seen = [y for kind in self.kinds for y in self._seen(session, kind)]
        for method in SWEPT:
            stack = shared.fit(method, self.noise, seen, session.seed, weight)  # side by side
            errors = self.errors(session, stack, runs=len(seen))
            for kind, part in zip(self.kinds, errors.split(self.seeds)):
                where = {"kind": kind, "method": method}
                tables.append(tidy(part, self.axes(), measure="error", **where))
            for factor in self.beliefs:
                if method == NAIVE:  # it believes nothing
                    same = assumed[assumed["method"] == NAIVE]
                    tables.append(same.assign(kind=belief(factor)))
                    continue
                stack = shared.fit(method, factor * self.noise, right, session.seed, weight)
                where = {"kind": belief(factor), "method": method}
                tables.append(
                    tidy(self.errors(session, stack), self.axes(), measure="error", **where)
                )
        return Results(tables, facts={"weight": weight})

    def _seen(self, session: Session, kind: str) -> list[Tensor]:
        """Training sets under one kind of noise."""
        clean = self.clean_sets(session)
        if kind == SIGNAL:
            return [
                signal_dependent(x, self.noise, session.generator(520 + r))
                for r, x in enumerate(clean)
            ]
        return [
            data.FrozenNoise(x, self.noise, seed=100 * session.seed + r, distribution=kind).noisy
            for r, x in enumerate(clean)
        ]
