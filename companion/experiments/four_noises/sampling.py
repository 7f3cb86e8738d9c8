"""The samplers that are compared, at equal numbers of evaluations one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from companion import noise, samplers
from companion.experiments.four_noises.calculation import SIGMA_MAX
from companion.experiments.results import tidy
from companion.statistics import best_of_others

__all__ = [
    "PICARD_LEVELS",
    "SAMPLERS",
    "SCHEDULES",
    "best_schedules",
    "draw",
    "measure_all",
    "options_of",
    "schedule",
]

SAMPLERS = ("ddim", "ddpm", "heun", "gradient_estimation", "picard")
PICARD_LEVELS = 20
"""Steps of the trajectory that Picard iteration works on."""
SCHEDULES = {"log-linear": noise.log_linear, "EDM": noise.karras}

WORST = 1e6
"""Largest distance where a schedule is chosen, and that of one with values that are not finite."""

Measure = Callable[[Tensor], Tensor]


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


def best_schedules(distances: Any, seeds: Sequence[int], **where: Any) -> list[pd.DataFrame]:
    """Choose the schedule of each seed by the other seeds, so that choosing is not rewarded.

    Parameters
    ----------
    distances : (schedules, seeds), in the order of ``SCHEDULES``
        A schedule with one that is not finite is chosen only if all have one.
    seeds : their labels, two or more
    **where : training, sampler and budget

    Returns
    -------
    list of tables by measure and seed: "distance", of the chosen schedule; "EDM chosen", 0 or 1.
    """
    table = np.asarray(distances, dtype=float)
    finite = np.isfinite(table).all(1, keepdims=True)
    chosen = best_of_others(np.where(finite, table.clip(max=WORST), WORST))
    values = {
        "distance": np.take_along_axis(table, chosen[None], 0)[0],
        "EDM chosen": chosen == list(SCHEDULES).index("EDM"),
    }
    return [tidy(v, {"seed": seeds}, measure=name, **where) for name, v in values.items()]


def measure_all(
    stacks: Mapping[str, Any],
    z: Tensor,
    budgets: Sequence[int],
    low: float,
    distance: Measure,
    generator: Callable[[], torch.Generator],
    *,
    log_width: Measure | None = None,
    without: Sequence[str] = (),
) -> list[pd.DataFrame]:
    """Measure samples of networks with every sampler and budget, each with its better schedule.

    Parameters
    ----------
    stacks : way to train -> networks of all seeds
    z, low : as in ``draw``
    budgets : evaluations
    distance : of samples of all seeds, (seeds,)
    generator : returns new random numbers for each sampler
    log_width : of samples of all seeds, (seeds,), optional
        On the log-linear schedule, so that nothing is chosen.
    without : samplers that are left out

    Returns
    -------
    list of tables by measure, training, sampler, budget and seed.
    """
    tables = []
    for training, sampler, n in product(stacks, SAMPLERS, budgets):
        if sampler in without:
            continue
        drawn = {
            kind: draw(sampler, stacks[training], z, n, low, kind, generator())
            for kind in SCHEDULES
        }
        distances = torch.stack([distance(x) for x in drawn.values()])
        seeds = range(distances.shape[1])
        where = {"training": training, "sampler": sampler, "budget": n}
        tables += best_schedules(distances, seeds, **where)
        if log_width is not None:
            values = log_width(drawn["log-linear"])
            tables.append(tidy(values, {"seed": seeds}, measure="log width", **where))
    return tables
