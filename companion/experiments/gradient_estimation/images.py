"""The race on images: samplers on U-Nets at equal evaluations; recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from companion import noise, progress, samplers
from companion.experiments.gradient_estimation.methods import (
    METHODS,
    SIGMA_MAX,
    Sampler,
    schedule,
    variants,
)
from companion.experiments.gradient_estimation.problems import error_by_seed
from companion.experiments.images import ImageExperiment, packed, recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["TINY", "Contest", "ImageRace", "contest", "settings_to_try"]


class Measures(Protocol):
    """What ``contest`` needs to draw samples and to measure them."""

    def draw(self, sampler: Callable[[Tensor, int], Tensor], z: Tensor) -> Tensor:
        """Run a sampler over all of z, in parts."""
        ...

    def frechet(self, samples: Tensor) -> float:
        """Frechet distance to real images."""
        ...


@dataclass(frozen=True)
class Contest:
    """Settings of a race on images.

    Parameters
    ----------
    methods : tuple of str
    budgets : tuple of int
        Network evaluations.
    few : int
        Most evaluations at which ``gammas_few`` and ``lows_few`` are tried.
    gammas_few, gammas_many : tuple of float
        Tried where gamma is chosen.
    lows_few, lows_many : tuple of float
        Smallest noise levels above 0 of the log-linear schedules.
    trials : int
        Settings that every method gets at few evaluations: those that have fewer of their own try
        more smallest levels in place of ``lows_few``, from 0.01 to 0.3. 0 leaves them as they are.
    reference : int
        Steps of Heun's method that stand for the flow.
    samples, paired : int
        For each seed; those of them that are compared with the flow.
    seeds : int
        Networks, each with its noise.
    """

    methods: tuple[str, ...] = METHODS
    budgets: tuple[int, ...] = (3, 5, 10, 20, 50, 100)
    few: int = 20
    gammas_few: tuple[float, ...] = (1.25, 1.5, 1.75, 2.25)
    gammas_many: tuple[float, ...] = (1.5,)
    lows_few: tuple[float, ...] = (0.02, 0.1)
    lows_many: tuple[float, ...] = (0.02,)
    trials: int = 0
    reference: int = 100
    samples: int = 512
    paired: int = 128
    seeds: int = 3


TINY: dict[str, Any] = {
    "methods": ("ddim", "gradient_estimation", "unipc"), "budgets": (5,), "lows_few": (0.1,),
    "reference": 3, "samples": 80, "paired": 8, "seeds": 2,
}  # fmt: skip
"""Settings for a trial run."""


def settings_to_try(
    config: Contest, method: str, budget: int
) -> list[tuple[str, float, Sampler, Tensor]]:
    """Return variant, smallest level, sampler and schedule; fewer of them where a run is long."""
    few = budget <= config.few
    gammas, lows = (
        (config.gammas_few, config.lows_few) if few else (config.gammas_many, config.lows_many)
    )
    kinds = variants(method, budget, gammas)
    if few and config.trials:
        each = max(1, config.trials // len(kinds))
        lows = lows[:each] if each <= len(lows) else tuple(np.geomspace(0.01, 0.3, each).tolist())
    return [
        (variant, low, sampler, schedule(method, budget, "log", SIGMA_MAX, low))
        for variant, sampler in kinds.items()
        for low in lows
    ]


def contest(
    config: Contest, measures: Measures, denoiser: Any, z: Tensor, seed: int
) -> pd.DataFrame:
    """Error against the flow and Frechet distance of each method, budget and setting, tidy."""

    def drawn(sampler: Sampler, x: Tensor, sigmas: Tensor) -> Tensor:
        high = sigmas[0]
        return measures.draw(lambda part, _: sampler(denoiser, high * part, sigmas), x)

    fine = noise.log_linear(config.reference, SIGMA_MAX, 0.01)
    end = drawn(samplers.heun, z[: config.paired], fine)
    rows = []
    for method in progress.track(config.methods, "samplers"):
        for n in config.budgets:
            for variant, low, sampler, sigmas in settings_to_try(config, method, n):
                out = drawn(sampler, z, sigmas)
                error = float(error_by_seed(out[: len(end)], end, 1))
                where = [method, n, variant, low, seed]
                rows.append(["error", *where, error])
                rows.append(["Frechet distance", *where, measures.frechet(out)])
    columns = ["measure", "method", "budget", "variant", "sigma_min", "seed", "value"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class ImageRace(Contest, ImageExperiment):
    """Every sampler on U-Nets at equal evaluations: error against the flow, Frechet distance.

    The settings are those of ``Contest`` and of ``ImageExperiment``.
    """

    sizes = {
        "smoke": recipe("digits", "smoke", **TINY),
        "long": recipe("mnist", "long", trials=8, budgets=(3, 5, 10, 20, 50), samples=320, seeds=5),
        "gpu": [
            recipe("mnist", "gpu", samples=1024, paired=256),
            recipe("cifar10", "gpu", budgets=(5, 10, 20, 50), lows_few=(0.02,)),
        ],
    }

    def run(self, session: Session) -> Results:
        """Error and distance by method, budget, setting and seed; weights of the first network."""
        setting, tables = self.setting(), []
        arrays: dict[str, Tensor] = {}
        for seed in range(session.seed, session.seed + self.seeds):
            denoiser = setting.fit(setting.plain(), seed)
            arrays = arrays or packed(denoiser)
            z = setting.noise(self.samples, 10_000 + seed)
            tables.append(contest(self, setting, denoiser, z, seed))
        facts = {
            "floor": setting.floor(self.samples),
            "shape": list(setting.shape),
            "data_std": setting.data_std,
        }
        return Results(tables, arrays, {**facts, **setting.report()})
