"""The one number of the sampler: which value is best where, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.descent import digit_set, starts
from companion.experiments.gradient_estimation.methods import (
    OFFICIAL,
    SIGMA_MAX,
    gradient_estimation,
    official,
)
from companion.experiments.gradient_estimation.problems import (
    DIGITS,
    EXACT,
    IDEAL,
    DigitNetworks,
    PointNetworks,
    converged,
    distance_by_seed,
    error_by_seed,
    ideal_problem,
    problems,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["FourSchedules", "GammaSweep", "NearestToFlow", "NearestToGradient"]


@dataclass(frozen=True)
class GammaSweep(Experiment):
    """Error and distance against gamma from 0.5 to 3, on the paper's log-linear schedule.

    Parameters
    ----------
    values : int
        Values of gamma, evenly from 0.5 to 3.
    steps : tuple of int
    samples, ideal_samples : int
        For each seed; with the ideal denoiser of the training digits.
    images : int
        Training digits of the ideal denoiser.
    reference : int
        Steps of Heun's method that stand for the flow.
    projections : int
        Directions of the sliced Wasserstein distance.
    seeds : int
    """

    values: int = 26
    steps: tuple[int, ...] = (5, 10, 20)
    samples: int = 64
    ideal_samples: int = 16
    images: int = 1433
    reference: int = 160
    projections: int = 16
    seeds: int = 8

    sizes = {
        "smoke": {
            "values": 6, "steps": (5, 10), "samples": 4, "ideal_samples": 4, "images": 200,
            "reference": 40, "projections": 4, "seeds": 2,
        }
    }  # fmt: skip
    needs = (PointNetworks, DigitNetworks)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Error against the flow and distance to data by problem, steps, gamma and seed."""
        gammas = torch.linspace(0.5, 3, self.values)
        known = problems(session, self.seeds) | {IDEAL: ideal_problem(self.images)}
        tables = []
        for problem in known.values():
            each = self.ideal_samples if problem.name == IDEAL else self.samples
            z = problem.noise(session, 26, each * self.seeds)
            end = converged(problem.denoiser, z, steps=self.reference)[0]
            values = torch.empty(2, len(self.steps), len(gammas), self.seeds)
            for k, n in enumerate(self.steps):
                sigmas = official("log-linear", n)
                for i, g in enumerate(gammas.tolist()):
                    out = gradient_estimation(g)(problem.denoiser, 40 * z, sigmas)
                    values[0, k, i] = error_by_seed(out, end, self.seeds)
                    values[1, k, i] = distance_by_seed(
                        out, problem.truth, self.seeds, self.projections
                    )
            dims = {
                "measure": ("error", "distance"), "steps": self.steps, "gamma": gammas,
                "seed": range(self.seeds),
            }  # fmt: skip
            tables.append(tidy(values, dims, problem=problem.name))
        return Results(tables)


@dataclass(frozen=True)
class NearestToGradient(Experiment):
    """Two directions in a row against the gradient of the distance, on paths of DDIM.

    Parameters
    ----------
    steps : tuple of int
    images, paths : int
        As of ``DigitPaths``; the first half of the paths is used.
    seeds : int
        Batches that these paths are divided into; the digits are the same in all.
    """

    steps: tuple[int, ...] = (5, 10, 20)
    images: int = 1433
    paths: int = 512
    seeds: int = 8

    sizes = {"smoke": {"steps": (5, 10), "images": 200, "paths": 40, "seeds": 2}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Least cosine, best gamma, and what gamma = 2 leaves of DDIM's error, by steps."""
        finite, x = digit_set(self.images), starts(session, self.paths)[: self.paths // 2]
        batches = x.chunk(self.seeds)
        values = [[against_gradient(finite, batch, n) for batch in batches] for n in self.steps]
        measures = ("least cosine", "best gamma", "error with gamma 2")
        dims = {"steps": self.steps, "seed": range(self.seeds), "measure": measures}
        return Results(tidy(values, dims))


def against_gradient(finite: Any, x: Tensor, steps: int) -> tuple[float, float, float]:
    """Compare with eq-ov-combination, on one path.

    Returns
    -------
    cosine : of successive directions, the least of the path's means
    gamma : that leaves the least error, summed over the path
    left : error with gamma = 2 over that of DDIM
    """
    states: list[samplers.Step] = []
    sigmas = noise.log_linear(steps, SIGMA_MAX, 0.02, final_zero=False)
    samplers.ddim(finite.denoiser, x, sigmas, callback=states.append)
    cosines, sums = [], torch.zeros(4)
    for pair in pairwise(states):
        old, new = ((s.x - s.denoised).flatten(1) / s.sigma for s in pair)
        away = (pair[1].x - finite.project(pair[1].x)).flatten(1)
        gradient = math.sqrt(x[0].numel()) * away / away.norm(dim=1, keepdim=True)
        e, change = gradient - new, new - old
        cosines.append(float(torch.cosine_similarity(old, new).mean()))
        parts = (e * change, change**2, e**2, (e - change) ** 2)
        sums += torch.stack([part.sum() for part in parts])
    inner, squares, plain, doubled = sums.tolist()
    return min(cosines), 1 + inner / squares, math.sqrt(doubled / plain)


@dataclass(frozen=True)
class NearestToFlow(Experiment):
    """The gamma whose direction comes nearest to the flow's next step, level by level.

    Parameters
    ----------
    steps : tuple of int
    samples : int
        For each seed.
    seeds : int
    """

    steps: tuple[int, ...] = (5, 10, 20, 50)
    samples: int = 32
    seeds: int = 8

    sizes = {"smoke": {"steps": (5, 10), "samples": 8, "seeds": 2}}
    needs = (PointNetworks, DigitNetworks)
    seconds = 2

    def run(self, session: Session) -> Results:
        """Best gamma by problem, steps and noise level."""
        known, tables = problems(session, self.seeds), []
        for problem in (known[EXACT], known[DIGITS]):
            z = problem.noise(session, 27, self.samples * self.seeds)
            for n in self.steps:
                levels, best = against_flow(problem.denoiser, z, n)
                where = {"measure": "best gamma", "problem": problem.name, "steps": n}
                tables.append(tidy(best, {"level": levels}, **where))
        return Results(tables)


def against_flow(denoiser: Any, z: Tensor, steps: int) -> tuple[list[float], list[float]]:
    """Return levels, and the gamma nearest to the exact next step from each."""
    states: list[samplers.Step] = []
    sigmas = noise.log_linear(steps, SIGMA_MAX, 0.05, final_zero=False)
    samplers.ddim(denoiser, SIGMA_MAX * z, sigmas, callback=states.append)
    best = []
    for (earlier, now), below in zip(pairwise(states), sigmas.tolist()[2:]):
        old, new = ((s.x - s.denoised) / s.sigma for s in (earlier, now))
        fine = noise.log_linear(2 + 40 // steps, now.sigma, below, final_zero=False)
        ahead = samplers.heun(denoiser, now.x, fine)
        e, change = (now.x - ahead) / (now.sigma - below) - new, new - old
        best.append(1 + float((e * change).sum() / change.square().sum()))
    return sigmas.tolist()[1:-1], best


@dataclass(frozen=True)
class FourSchedules(Experiment):
    """The official experiments' four schedules on digit networks, with three values of gamma.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations.
    gammas : tuple of float
    samples : int
        For each seed.
    reference : int
        Steps of Heun's method that stand for the flow.
    seeds : int
    """

    budgets: tuple[int, ...] = (5, 10, 20, 50)
    gammas: tuple[float, ...] = (1.0, 2.0, 1.5)
    samples: int = 32
    reference: int = 80
    seeds: int = 8

    sizes = {"smoke": {"budgets": (5, 10), "samples": 8, "reference": 40, "seeds": 2}}
    needs = (PointNetworks, DigitNetworks)
    seconds = 3

    def run(self, session: Session) -> Results:
        """Error against the flow by schedule, gamma, budget and seed."""
        problem = problems(session, self.seeds)[DIGITS]
        z = problem.noise(session, 25, self.samples * self.seeds)
        tops = {float(official(name, 5)[0]) for name in OFFICIAL}
        ends = {top: converged(problem.denoiser, z, top, self.reference)[0] for top in sorted(tops)}
        values = torch.zeros(len(OFFICIAL), len(self.gammas), len(self.budgets), self.seeds)
        for i, name in enumerate(OFFICIAL):
            for k, n in enumerate(self.budgets):
                sigmas = official(name, n)
                top = float(sigmas[0])
                for j, g in enumerate(self.gammas):
                    out = gradient_estimation(g)(problem.denoiser, top * z, sigmas)
                    values[i, j, k] = error_by_seed(out, ends[top], self.seeds)
        dims = {
            "schedule": OFFICIAL, "gamma": self.gammas, "budget": self.budgets,
            "seed": range(self.seeds),
        }  # fmt: skip
        return Results(tidy(values, dims, measure="error"))
