"""One trial of the search for fine-tuning, which is a part of it; recorded with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from companion import noise, objectives, samplers
from companion.experiments.image_search import (
    CHOSEN_BY,
    SEARCHED,
    Distance,
    halves,
    shared_setting,
)
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.continuations import BEFORE, CONTRASTIVE, cost_factor
from companion.experiments.noise_classifier.picard import draw, schedule_of_cost
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SIGMA_MAX", "SIGMA_MIN", "SMOKE", "SearchTrial", "contrastive_loss", "loss_weight"]

SIGMA_MIN, SIGMA_MAX = 0.01, 40.0
"""Noise levels of the integrals."""
IN_PARALLEL = "Picard, semilinear"
"""Samples that are measured besides those in sequence."""


def contrastive_loss(
    config: Any, data_std: float, contrast: tuple[float, float], points: int
) -> objectives.ContrastiveDiffusion:
    """Return the loss on images, with ``config.contrasted`` samples of a batch."""
    return objectives.ContrastiveDiffusion(
        contrast=noise.LogUniform(*contrast), levels=noise.LogUniform(SIGMA_MIN, SIGMA_MAX),
        points=points, samples=config.contrasted, sigma_data=data_std,
    )  # fmt: skip


def loss_weight(weight: float, setting: Setting) -> float:
    """Weight of the loss beside denoising, from that for two dimensions."""
    return 2 * weight / math.prod(setting.shape)


SMOKE: dict[str, Any] = recipe(
    "digits", "smoke", contrasted=1, budgets=(2, 2), levels=3, depth=1, samples=72, parallel=72
)
"""Tiny sizes, of a trial and of the search."""


@dataclass(frozen=True)
class SearchTrial(ImageExperiment):
    """A trained network, tuned with the settings of one trial, and its distances.

    Parameters
    ----------
    method : str
        ``CONTRASTIVE``, ``SAME_COST``, or ``BEFORE``: without tuning.
    trial : int
        Its number.
    tune_steps, tune_lr : int, float
    weight, points, contrast : float, int, (float, float)
        Of the loss, as of ``ImageContrast``.
    contrasted, budgets, levels, depth, samples, parallel : as of ``ImageSearch``
    """

    method: str = BEFORE
    trial: int = 0
    tune_steps: int = 0
    tune_lr: float = 1e-3
    weight: float = 0.0
    points: int = 1
    contrast: tuple[float, float] = (0.001, 0.02)
    contrasted: int = 2
    budgets: tuple[int, int] = (10, 20)
    levels: int = 20
    depth: int = 12
    samples: int = 512
    parallel: int = 256

    part = True
    sizes = {"smoke": {**SMOKE, "method": CONTRASTIVE, "tune_steps": 1, "points": 2}}

    def run(self, session: Session) -> Results:
        """Distances to the first half of the test images, their mean, and evaluations."""
        setting = shared_setting(self)
        seed, factor = session.seed + SEARCHED, 1.0
        net = setting.fit(setting.plain(), seed)
        objective: Any = setting.plain()
        if self.method == CONTRASTIVE:
            loss = contrastive_loss(self, setting.data_std, self.contrast, self.points)
            weight, factor = loss_weight(self.weight, setting), cost_factor(loss, self.batch)
            objective = objectives.Sum((objective, loss), (1.0, weight))
        if self.method != BEFORE:
            how: dict[str, Any] = {"steps": self.tune_steps, "lr": self.tune_lr}
            net = setting.fit(objective, seed + 1000, start=net, **how)
        where = {"method": self.method, "trial": self.trial}
        spent = round(self.tune_steps * self.batch * factor)
        tables = self._measured(setting, net, halves(setting)[0], seed, where)
        tables.append(tidy([spent], {"measure": ["evaluations"]}, **where))
        return Results(tables)

    def _measured(
        self, setting: Setting, net: Any, choose: Distance, seed: int, where: dict
    ) -> list:
        z = setting.noise(self.samples, seed)
        found = {
            f"{name}, {n}": choose(_in_sequence(setting, net, z, name, n, seed))
            for name, n in zip(("DDIM", "DDPM"), self.budgets)
        }
        x = self._in_parallel(setting, net, z[: self.parallel], seed)
        found[f"{IN_PARALLEL}, {self.depth}"] = choose(x)
        values = np.array(list(found.values()))
        mean = float(np.exp(np.log(values).mean()))
        return [
            tidy(values, {"sampler": found}, measure="Frechet distance", **where),
            tidy([mean], {"measure": [CHOSEN_BY]}, **where),
        ]

    def _in_parallel(self, setting: Setting, net: Any, z: Tensor, seed: int) -> Tensor:
        schedule = noise.log_linear(self.levels, SIGMA_MAX, 0.02)

        def sample(part: Tensor, i: int) -> Tensor:
            source, size = torch.Generator().manual_seed(100 * seed + i), self.sample_batch
            parts = part.split(max(1, size // self.levels))
            return torch.cat(
                [
                    samplers.picard(
                        net, SIGMA_MAX * p, schedule, tolerance=0.0, max_iterations=self.depth,
                        stochastic=True, semilinear=True, generator=source,
                    )
                    for p in parts
                ]
            )  # fmt: skip

        return setting.draw(sample, z)


def _in_sequence(
    setting: Setting, net: Any, z: Tensor, sampler: str, budget: int, seed: int
) -> Tensor:
    schedule = schedule_of_cost(sampler, budget, SIGMA_MAX, 0.02)
    return setting.draw(
        lambda part, i: draw(
            sampler, net, part, schedule, torch.Generator().manual_seed(100 * seed + i)
        ),
        z,
    )
