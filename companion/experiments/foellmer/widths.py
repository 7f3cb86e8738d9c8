"""Error of the denoiser against the width of the network, for four parametrisations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion import noise, training
from companion.experiments.experiment import Experiment
from companion.experiments.foellmer.parametrisations import (
    LOSSES,
    PARAMETRISATIONS,
    levels,
    make,
    parameters,
)
from companion.experiments.foellmer.targets import target
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["MODES", "Widths"]

MODES = target(1.35)
"""The data: three modes of standard deviation 0.3, about 1 altogether."""


@dataclass(frozen=True)
class Widths(Experiment):
    """Error of the denoiser against the exact one, by parametrisation, loss and width.

    The same networks, loss, law of levels, batches and number of steps for all. The error has the
    weights and the law of the loss that the network was trained with.

    Parameters
    ----------
    widths : tuple of int
        Hidden units.
    steps, batch : int
        Of training.
    lr : float
    seeds : int
    levels, tested : int
        Noise levels, at equal steps of probability of their law, and points at each.
    """

    widths: tuple[int, ...] = (4, 8, 16, 32, 64)
    steps: int = 500
    batch: int = 128
    lr: float = 5e-3
    seeds: int = 5
    levels: int = 16
    tested: int = 500

    sizes = {"smoke": {"widths": (4, 8), "steps": 10, "seeds": 2, "levels": 4, "tested": 50}}
    seconds = 35

    def run(self, session: Session) -> Results:
        """Errors by loss, network, width and seed, on all levels and halves of them."""
        train = MODES.sample(20_000, session.generator(0))
        tables = []
        for loss in LOSSES:
            tests = self._tests(loss, session)
            for width in self.widths:
                for name in PARAMETRISATIONS:
                    stack = self._fit(name, loss, width, train, session.seed)
                    errors = self._errors(stack, tests)
                    halves = {"low": errors[: self.levels // 2], "high": errors[self.levels // 2 :]}
                    where = {"loss": loss, "parametrisation": name, "width": width}
                    tables += [
                        tidy(part.mean(0), {"seed": range(self.seeds)}, measure=measure, **where)
                        for measure, part in ({"error": errors} | halves).items()
                    ]
        counts = tidy([parameters(w) for w in self.widths], {"width": self.widths},
            measure="parameters")  # fmt: skip
        return Results([*tables, counts])

    def _fit(self, name: str, loss: str, width: int, train: Tensor, seed: int):
        """Train all seeds side by side."""
        first = 1000 * seed
        nets = [make(name, width, first + r) for r in range(self.seeds)]
        return training.fit(
            nets, LOSSES[loss], train, steps=self.steps, batch_size=self.batch, lr=self.lr,
            seed=first, device="cpu",
        ).denoiser  # fmt: skip

    def _tests(self, loss: str, session: Session) -> list[tuple[float, float, Tensor, Tensor]]:
        """Level, its weight, noisy points and the exact denoiser's answers."""
        tests = []
        for k, (sigma, weight) in enumerate(zip(*(v.tolist() for v in levels(loss, self.levels)))):
            clean = MODES.sample(self.tested, session.generator(100 + k))
            noisy = noise.corrupt(clean, sigma, generator=session.generator(200 + k))
            tests.append((sigma, weight, noisy, MODES.denoiser(noisy, sigma)))
        return tests

    def _errors(self, stack, tests: list[tuple[float, float, Tensor, Tensor]]) -> Tensor:
        """Weighted mean squared error against the exact denoiser, (levels, seeds)."""
        errors = []
        for sigma, weight, noisy, exact in tests:
            with torch.no_grad():
                answers = stack(noisy.repeat(self.seeds, 1), sigma).view(self.seeds, -1, 2)
            errors.append(weight * (answers - exact).square().mean((1, 2)))
        return torch.stack(errors)
