"""The samplers that are compared, at equal numbers of evaluations one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from companion import noise, samplers
from companion.experiments.four_noises.calculation import SIGMA_MAX
from companion.experiments.results import Results, tidy

__all__ = [
    "PICARD_LEVELS",
    "SAMPLERS",
    "SCHEDULES",
    "chosen_schedules",
    "draw",
    "measure_all",
    "options_of",
    "schedule",
    "try_schedules",
]

SAMPLERS = ("ddim", "ddpm", "heun", "gradient_estimation", "picard")
PICARD_LEVELS = 20
"""Steps of the trajectory that Picard iteration works on."""
SCHEDULES = {"log-linear": noise.log_linear, "EDM": noise.karras}

Cell = tuple[str, int]
"""Sampler and budget."""


def schedule(sampler: str, budget: int, low: float, kind: str = "log-linear") -> Tensor:
    """Return the noise levels of a sampler with so many evaluations one after the other."""
    steps = {"heun": (budget + 1) // 2, "picard": PICARD_LEVELS}.get(sampler, budget)
    return SCHEDULES[kind](steps, SIGMA_MAX, low)


def options_of(sampler: str, budget: int) -> dict[str, Any]:
    """Return the options of a sampler; a round of Picard iteration counts as one evaluation."""
    if sampler == "picard":
        return {"tolerance": 0.0, "max_iterations": budget, "semilinear": True}
    return {}


def draw(
    sampler: str,
    denoiser: Any,
    z: Tensor,
    budget: int,
    low: float,
    kind: str = "log-linear",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return samples from noise z after ``budget`` evaluations, one after the other.

    Parameters
    ----------
    sampler : one of ``SAMPLERS``
    denoiser : Denoiser
    z : (N, *shape), standard normal
    budget : int
    low : float
        Last noise level before 0.
    kind : {"log-linear", "EDM"}
        Schedule.
    generator : of the noise of DDPM
    """
    options = options_of(sampler, budget)
    if sampler == "ddpm":
        options["generator"] = generator
    sigmas = schedule(sampler, budget, low, kind)
    return getattr(samplers, sampler)(denoiser, SIGMA_MAX * z, sigmas, **options)


def try_schedules(
    denoiser: Any,
    z: Tensor,
    budgets: Sequence[int],
    low: float,
    distance: Callable[[Tensor], Tensor],
    generator: Callable[[], torch.Generator],
) -> Results:
    """Measure samples of both schedules, for every sampler and budget.

    Parameters
    ----------
    denoiser, z, low : as in ``draw``
    budgets : evaluations
    distance : of samples of all seeds, (seeds,)
    generator : returns new random numbers for each sampler

    Returns
    -------
    Results with the measure "distance" by sampler, budget, schedule and seed.
    """
    distances = torch.stack(
        [
            distance(draw(sampler, denoiser, z, budget, low, kind, generator()))
            for sampler in SAMPLERS
            for budget in budgets
            for kind in SCHEDULES
        ]
    )
    seeds = distances.shape[-1]
    dims = {"sampler": SAMPLERS, "budget": budgets, "schedule": SCHEDULES, "seed": range(seeds)}
    shape = [len(along) for along in dims.values()]
    return Results(tidy(distances.view(shape), dims, measure="distance"))


def chosen_schedules(tried: Results, measure: str = "distance") -> dict[Cell, str]:
    """Return the schedule of the smallest mean distance, by sampler and budget.

    A schedule with a distance that is not finite is chosen only if all have one.
    """
    chosen = {}
    cells = tried.where(measure=measure).groupby(["sampler", "budget"], sort=False)
    for (sampler, budget), cell in cells:
        means = cell.groupby("schedule", sort=False)["value"].agg(
            lambda v: np.mean(v) if np.isfinite(v).all() else math.inf
        )
        chosen[str(sampler), int(budget)] = str(means.idxmin())
    return chosen


def measure_all(
    stacks: Mapping[str, Any],
    z: Tensor,
    schedules: Mapping[Cell, str],
    low: float,
    measures: Mapping[str, Callable[[Tensor], Tensor]],
    generator: Callable[[], torch.Generator],
    without: Sequence[str] = (),
) -> list[pd.DataFrame]:
    """Measure samples of networks with every sampler and budget.

    Parameters
    ----------
    stacks : way to train -> networks of all seeds
    z, low, generator : as in ``try_schedules``
    schedules : of ``chosen_schedules``
    measures : name -> function of samples of all seeds, (seeds,)
    without : samplers that are left out

    Returns
    -------
    list of tables by measure, training, sampler, budget and seed.
    """
    tables = []
    for training, denoiser in stacks.items():
        for (sampler, budget), kind in schedules.items():
            if sampler in without:
                continue
            x = draw(sampler, denoiser, z, budget, low, kind, generator())
            where = {"training": training, "sampler": sampler, "budget": budget}
            for name, measure in measures.items():
                values = measure(x)
                tables.append(tidy(values, {"seed": range(len(values))}, measure=name, **where))
    return tables
