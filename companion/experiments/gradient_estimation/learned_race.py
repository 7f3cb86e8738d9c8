"""The race of the learned sampler: levels and weights for N evaluations against fixed samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.learned_rivals import (
    FIXED,
    LevelsOnly,
    WeightsOnly,
    settings,
    with_optimised_levels,
)
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import (
    DigitNetworks,
    PointNetworks,
    Problem,
    converged,
    distance_by_seed,
    error_by_seed,
    problems,
)
from companion.experiments.results import Results, tidy
from companion.samplers.learning import Asked, Fit, teacher_of

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ALL", "PARTS", "TWO", "LearnedRace"]

PARTS = ("levels", "coefficients", "optimised")
"""Rivals: levels alone, weights alone, levels without a network."""

TWO = "two answers"
"""The learned sampler with two answers in place of three."""

ALL = ("learned", *FIXED, *PARTS, TWO)

LEARNING, NOISE = 31, 41
"""Generators of the noise that is learned and chosen on, and of that which decides."""


@dataclass(frozen=True)
class LearnedRace(Experiment):
    """A sampler learned for N evaluations against fixed ones, each at its best setting.

    All are chosen or learned on the first network with the same noise, and compared on all networks
    with other noise. The fixed ones try 18 schedules with each of their settings.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations; Heun's method takes two a step.
    lows : tuple of float
        Smallest levels above 0 of the fixed schedules.
    parts_up_to : int
        Most evaluations at which the samplers that learn a part are run.
    held_in : int
        Noise samples to learn from, on which fixed samplers choose; as many more decide when
        learning stops.
    iterations : int
        Steps of a fit at most.
    samples : int
        For each seed, to compare.
    reference : int
        Steps of Heun's method that stand for the flow.
    projections : int
        Directions of the sliced Wasserstein distance.
    seeds : int
        Of the noise, and of the networks where there are any.
    """

    budgets: tuple[int, ...] = (3, 5, 10, 20)
    lows: tuple[float, ...] = (0.02, 0.1, 0.3)
    parts_up_to: int = 10
    held_in: int = 96
    iterations: int = 15
    samples: int = 96
    reference: int = 160
    projections: int = 32
    seeds: int = 8

    sizes = {
        "smoke": {
            "budgets": (3, 5), "lows": (0.1,), "held_in": 4, "iterations": 2, "samples": 8,
            "reference": 20, "projections": 4, "seeds": 2, "parts_up_to": 3,
        }
    }  # fmt: skip
    needs = (PointNetworks, DigitNetworks)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Error and distance by problem, method, budget and seed; the learned numbers and cost."""
        tables = []
        for problem in problems(session, self.seeds).values():
            chosen = self.contestants(problem, session)
            z = problem.noise(session, NOISE, self.samples * self.seeds)
            end, off = converged(problem.denoiser, z, steps=self.reference)
            for (method, n), run in chosen.items():
                where = {"problem": problem.name, "method": method, "budget": n}
                out, seeds = run(problem.denoiser, z), {"seed": range(self.seeds)}
                error = error_by_seed(out, end, self.seeds)
                away = distance_by_seed(out, problem.truth, self.seeds, self.projections)
                tables += [
                    tidy(error, seeds, measure="error", **where),
                    tidy(away, seeds, measure="distance", **where),
                ]
            away = distance_by_seed(end, problem.truth, self.seeds, self.projections)
            where = {"problem": problem.name}
            tables += [
                tidy(away, {"seed": range(self.seeds)}, measure="distance of the flow", **where),
                tidy([off], {"measure": ["off"]}, **where),
            ]
            tables += self.numbers(problem.name, chosen)
        return Results(tables)

    def contestants(self, problem: Problem, session: Session) -> dict[tuple[str, int], Any]:
        """Return every sampler at its best setting, from noise to samples, by method and budget."""
        asked = Asked(problem.first)
        generator = session.generator(LEARNING)
        z = noise.randn((2 * self.held_in, *problem.shape), generator=generator)
        with torch.no_grad():
            teacher = teacher_of(asked, z, SIGMA_MAX, 200, 256)
            train, held = (teacher.part(i, self.held_in, 256) for i in (0, 1))
            chosen: dict[tuple[str, int], Any] = {
                ("learned", n): _Started(sampler)
                for n, sampler in samplers.learn(
                    problem.first,
                    problem.shape,
                    self.budgets,
                    sigma_max=SIGMA_MAX,
                    samples=self.held_in,
                    iterations=self.iterations,
                    generator=session.generator(LEARNING),
                ).items()
            }
            first, ends = z[: self.held_in], teacher.end[: self.held_in]
            for n in self.budgets:
                tried = [*settings(n, self.lows)]
                if n <= self.parts_up_to:
                    tried += with_optimised_levels(n, self.lows)
                    fits: dict[str, Fit] = {
                        "levels": LevelsOnly(asked, n, SIGMA_MAX),
                        "coefficients": WeightsOnly(asked, n, SIGMA_MAX),
                        TWO: Fit(asked, n, 2, SIGMA_MAX),
                    }
                    for name, fit in fits.items():
                        chosen[name, n] = _Started(fit.run(train, held, self.iterations)[0])
                least: dict[str, float] = {}
                for setting in tried:
                    off = float(error_by_seed(setting(problem.first, first), ends, 1))
                    if off < least.get(setting.method, float("inf")):
                        least[setting.method] = off
                        chosen[setting.method, n] = setting
        return chosen

    def numbers(self, problem: str, chosen: dict[tuple[str, int], Any]) -> list[Any]:
        """Levels and weights that were learned, and what learning cost."""
        tables = []
        for (method, n), run in chosen.items():
            if method not in ("learned", TWO):
                continue
            where = {"problem": problem, "method": method, "budget": n}
            learned, steps = run.sampler, {"step": range(n)}
            for name in ("sigmas", "weights", "second"):
                if getattr(learned, name):
                    tables.append(tidy(getattr(learned, name), steps, measure=name, **where))
            facts = learned.facts or {}
            if method == TWO:
                continue
            for name in ("evaluations", "teacher_evaluations", "seconds", "teacher_seconds"):
                tables.append(tidy([facts[name]], {"measure": [name]}, **where))
        return tables


@dataclass(frozen=True)
class _Started:
    """A learned sampler from standard normal noise."""

    sampler: samplers.LearnedSampler

    def __call__(self, denoiser: Any, z: Tensor) -> Tensor:
        return self.sampler(denoiser, self.sampler.sigmas[0] * z)
