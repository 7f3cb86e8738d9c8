"""What trained networks know of the noise in their input: as classifiers, and told wrong levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from companion import data, metrics
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.continuations import BEFORE, TRAINED
from companion.experiments.noise_classifier.digits import DigitNetworks, digit_networks
from companion.experiments.noise_classifier.points import (
    PointNetworks,
    distributions,
    point_networks,
)
from companion.experiments.noise_classifier.ratio import RANGE, cross_entropy, labelled
from companion.experiments.noise_classifier.samples import EXACT
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["CHANCE", "LevelReading", "TrainedClassifiers"]

CHANCE = 2 * math.log(2)
"""Cross entropy of a classifier that knows nothing, as ``cross_entropy`` counts it, in nats."""


@dataclass(frozen=True)
class TrainedClassifiers(Experiment):
    """Networks on points as classifiers of clean against noised points (eq-nc-ratio).

    A seed is a network with points of its own. The exact denoiser classifies the same points with
    the same draws, so that the error of the integral is the same for both.

    Parameters
    ----------
    t : float
        Noise of the noised points, units of the data.
    probes : int
        Clean points of each seed, and as many noised ones.
    points : int
        Noise levels of the integral.
    """

    t: float = 0.3
    probes: int = 100
    points: int = 64

    sizes = {"smoke": {"probes": 10, "points": 8}}
    needs = (PointNetworks,)
    seconds = 10

    def run(self, session: Session) -> Results:
        """Cross entropy in nats, by data, method (networks and exact) and seed."""
        nets, _ = point_networks(session, (BEFORE, *TRAINED))
        tables = []
        for name, mixture in distributions(session).items():
            runs = len(nets[name][BEFORE])
            losses: dict[str, list[float]] = {method: [] for method in (*nets[name], EXACT)}
            for r in range(runs):
                y, _ = labelled(session, mixture, self.t, self.probes, 130 + 2 * r)
                for method, found in losses.items():
                    denoiser = mixture.denoiser if method == EXACT else nets[name][method][r]
                    ratio = metrics.log_likelihood_ratio(
                        denoiser, y, self.t, points=self.points,
                        generator=session.generator(170 + r), **RANGE,
                    ).value  # fmt: skip
                    found.append(cross_entropy(ratio))
            for method, found in losses.items():
                dims = {"seed": range(runs)}
                tables.append(tidy(found, dims, measure="cross entropy", data=name, method=method))
        return Results(tables)


@dataclass(frozen=True)
class LevelReading(Experiment):
    """Whether a network's answer shows the noise in its input, when it is told another level.

    The level that its answer shows is ``rms(x - D(x, told))``. Its elasticity is the change of its
    logarithm over that of the level that is changed: 1 if it follows that level, 0 if it does not.

    Parameters
    ----------
    level, factor : float
        The level that is kept; the other one goes from ``level / factor`` to ``level * factor``.
        Pixels in [-1, 1].
    digits : int
        Test digits, drawn anew for each seed.
    """

    level: float = 0.2
    factor: float = 2.0
    digits: int = 100

    sizes = {"smoke": {"digits": 10}}
    needs = (DigitNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Elasticity in the true level and in the told one, by seed (a network)."""
        stack, (held_out, _) = (
            digit_networks(session, (BEFORE,))[BEFORE],
            data.images("digits", "test"),
        )
        runs, span = len(stack), 2 * math.log(self.factor)
        low, high = self.level / self.factor, self.level * self.factor
        found = torch.empty(2, runs)
        with torch.no_grad():
            for r in range(runs):
                source = session.generator(190 + r)
                x = held_out[torch.randperm(len(held_out), generator=source)[: self.digits]]
                eps = torch.randn(x.shape, generator=source)

                def shown(true: float, told: float, r: int = r, x=x, eps=eps) -> torch.Tensor:
                    noised = x + true * eps
                    return (noised - stack[r](noised, told)).square().mean().sqrt().log()

                found[0, r] = (shown(high, self.level) - shown(low, self.level)) / span
                found[1, r] = (shown(self.level, high) - shown(self.level, low)) / span
        dims: dict = {"changed": ["true level", "told level"], "seed": range(runs)}
        return Results(tidy(found, dims, measure="elasticity", data="digits"))
