"""The race: error and distance of every sampler at equal evaluations, each at its best setting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from companion import data, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.methods import (
    METHODS,
    RIVALS,
    SHAPES,
    SIGMA_MAX,
    schedule,
    variants,
)
from companion.experiments.gradient_estimation.problems import (
    DIGITS,
    EXACT,
    DigitNetworks,
    PointNetworks,
    converged,
    distance_by_seed,
    error_by_seed,
    problems,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["PeersConverge", "Race", "SettingsTried", "best_setting"]

COLUMNS = ["data", "method", "budget", "variant", "shape", "sigma_max", "sigma_min", "value"]


@dataclass(frozen=True)
class PeersConverge(Experiment):
    """The adapter of diffusers' schedulers: their DDIM is ours, the others reach the same flow.

    Parameters
    ----------
    steps : tuple of int
    points : int
    reference : int
        Steps of Heun's method that stand for the flow.
    """

    steps: tuple[int, ...] = (20, 80)
    points: int = 32
    reference: int = 160

    sizes = {"smoke": {"steps": (10, 20), "reference": 40}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Relative difference of both DDIM; error against the flow by method and steps."""
        from diffusers import DDIMScheduler

        from companion.samplers.diffusers_peers import from_scheduler

        denoiser = data.mixture("spirals").denoiser
        z = torch.randn(self.points, 2, generator=session.generator(20))
        levels = noise.karras(20, SIGMA_MAX, 0.01)
        ours = samplers.ddim(denoiser, SIGMA_MAX * z, levels)
        theirs = from_scheduler(DDIMScheduler)(denoiser, SIGMA_MAX * z, levels)
        gap = float((ours - theirs).abs().max() / ours.abs().max())
        end = converged(denoiser, z, steps=self.reference)[0]
        errors = []
        for method in RIVALS:
            for n in self.steps:
                sampler = next(iter(variants(method, n).values()))
                levels = noise.log_linear(n, SIGMA_MAX, 0.002)
                errors.append(error_by_seed(sampler(denoiser, SIGMA_MAX * z, levels), end, 1))
        grid = torch.cat(errors).view(len(RIVALS), -1)
        return Results(
            [
                tidy([gap], {"method": ["ddim"]}, measure="relative difference"),
                tidy(grid, {"method": RIVALS, "steps": self.steps}, measure="error"),
            ]
        )


@dataclass(frozen=True)
class SettingsTried(Experiment):
    """Every sampler with every schedule and setting, on noise of its own, to choose the best.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations.
    gammas : tuple of float
        Tried where gamma is chosen.
    few : int
        Most evaluations at which the levels ``lows_few`` are tried, not ``lows_many``.
    lows_few, lows_many : tuple of float
        Smallest noise levels above 0.
    samples : int
    reference : int
        Steps of Heun's method that stand for the flow.
    seeds : int
        Of the networks; the first is used.
    """

    budgets: tuple[int, ...] = (3, 5, 10, 20, 50)
    gammas: tuple[float, ...] = (1.25, 1.5, 1.75, 2.0, 2.25)
    few: int = 10
    lows_few: tuple[float, ...] = (0.02, 0.1, 0.3)
    lows_many: tuple[float, ...] = (0.002, 0.02, 0.1)
    samples: int = 48
    reference: int = 160
    seeds: int = 8

    sizes = {
        "smoke": {
            "budgets": (3, 5, 10), "gammas": (1.5,), "lows_few": (0.1,), "lows_many": (0.02,),
            "samples": 8, "reference": 40, "seeds": 2,
        }
    }  # fmt: skip
    needs = (PointNetworks, DigitNetworks)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Error against the flow by data, method, budget, variant and schedule."""
        known = problems(session, self.seeds)
        rows = []
        for problem in (known[EXACT], known[DIGITS]):
            z = problem.noise(session, 21, self.samples)
            end = converged(problem.first, z, steps=self.reference)[0]
            for method in METHODS:
                for n in self.budgets:
                    for variant, sampler in variants(method, n, self.gammas).items():
                        for shape, high, low in self.schedules(n):
                            sigmas = schedule(method, n, shape, high, low)
                            out = sampler(problem.first, sigmas[0] * z, sigmas)
                            off = float(error_by_seed(out, end, 1))
                            rows.append([problem.data, method, n, variant, shape, high, low, off])
        table = pd.DataFrame(rows, columns=COLUMNS)
        table.insert(0, "measure", "error")
        return Results(table)

    def schedules(self, evaluations: int) -> list[tuple[str, float, float]]:
        """Return shape, largest and smallest level of each schedule to try."""
        lows = self.lows_few if evaluations <= self.few else self.lows_many
        return [
            (shape, high, low)
            for shape in SHAPES
            for high in (SIGMA_MAX, SIGMA_MAX / 2)
            for low in lows
        ]


def best_setting(tried: Results, data: str, method: str, budget: int) -> pd.Series:
    """Return the setting of the least error, a row of ``SettingsTried``; not finite ones lose."""
    rows = tried.where(data=data, method=method, budget=budget)
    finite = rows[rows["value"].map(math.isfinite)]
    return finite.loc[finite["value"].idxmin()]


@dataclass(frozen=True)
class Race(Experiment):
    """Every sampler at its best setting against the converged flow, at equal evaluations.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations; Heun's method takes two a step.
    samples : int
        For each seed.
    reference : int
        Steps of Heun's method that stand for the flow; twice as many for the exact denoiser.
    projections : int
        Directions of the sliced Wasserstein distance.
    seeds : int
        Of the noise, and of the networks where there are any.
    """

    budgets: tuple[int, ...] = (3, 5, 10, 20, 50)
    samples: int = 128
    reference: int = 160
    projections: int = 32
    seeds: int = 8

    sizes = {
        "smoke": {
            "budgets": (3, 5, 10), "samples": 16, "reference": 40, "projections": 4, "seeds": 2,
        }
    }  # fmt: skip
    needs = (SettingsTried, PointNetworks, DigitNetworks)
    seconds = 22

    def run(self, session: Session) -> Results:
        """Error against the flow and distance to data by problem, method, budget and seed.

        ``real data`` is the distance of as many real samples; ``norm`` and ``off`` are the mean
        norm of the flow's end and how far off it is.
        """
        tried = session.run(SettingsTried(budgets=self.budgets, seeds=self.seeds))
        gammas = tried.settings["gammas"]
        tables = []
        for problem in problems(session, self.seeds).values():
            z = problem.noise(session, 22, self.samples * self.seeds)
            steps = 2 * self.reference if problem.name == EXACT else self.reference
            end, off = converged(problem.denoiser, z, steps=steps)
            values = torch.empty(2, len(METHODS), len(self.budgets), self.seeds)
            for i, method in enumerate(METHODS):
                for k, n in enumerate(self.budgets):
                    best = best_setting(tried, problem.data, method, n)
                    sampler = variants(method, n, gammas)[best["variant"]]
                    sigmas = schedule(
                        method, n, best["shape"], best["sigma_max"], best["sigma_min"]
                    )
                    out = sampler(problem.denoiser, sigmas[0] * z, sigmas)
                    values[0, i, k] = error_by_seed(out, end, self.seeds)
                    values[1, i, k] = distance_by_seed(
                        out, problem.truth, self.seeds, self.projections
                    )
            picks = [
                torch.randperm(len(problem.unseen), generator=session.generator(24 + s))
                for s in range(self.seeds)
            ]
            real = torch.cat([problem.unseen[pick[: self.samples]] for pick in picks])
            floor = distance_by_seed(real, problem.truth, self.seeds, self.projections)
            norm = float(end.flatten(1).norm(dim=1).mean())
            where = {"problem": problem.name}
            dims = {"method": METHODS, "budget": self.budgets, "seed": range(self.seeds)}
            tables += [
                tidy(values[0], dims, measure="error", **where),
                tidy(values[1], dims, measure="distance", **where),
                tidy(floor, {"seed": range(self.seeds)}, measure="real data", **where),
                tidy([norm, off], {"measure": ["norm", "off"]}, **where),
            ]
        return Results(tables)
