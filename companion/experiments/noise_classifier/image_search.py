"""Fine-tuning of a trained U-Net: settings of the contrastive loss and of its control; recorded."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from companion import noise, objectives, progress, samplers
from companion.experiments.image_search import CHOSEN_BY, SEARCHED, Distance, balanced, halves
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    cost_factor,
)
from companion.experiments.noise_classifier.picard import draw, schedule_of_cost
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageSearch", "contrastive_loss", "loss_weight"]

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


@dataclass(frozen=True)
class ImageSearch(ImageExperiment):
    """As many trials for the contrastive loss as for plain denoising, from one trained network.

    Both have the same number of trials, and no trial has more network evaluations than
    ``evaluations``. A trial is measured by the geometric mean of three Fréchet distances to the
    first half of the test images: DDIM, DDPM, and Picard iteration before it has converged.

    Parameters
    ----------
    evaluations : int
        Network evaluations of the longest fine-tuning.
    shares : tuple of float
        Of these evaluations, that are spent: the steps of both.
    control_lrs : tuple of float
        Learning rates of plain denoising, each with each share: so many trials.
    lrs, weights, points, contrasts : tuples
        Of the loss: learning rates, weights (those of ``ImageContrast``), levels of a ratio, and
        smallest and largest contrast. Each value is tried about equally often, in a random order.
    contrasted : int
        Samples of a batch that enter the loss.
    budgets : (int, int)
        Evaluations of DDIM and of DDPM.
    levels, depth : int, int
        Steps of the DDPM that is solved in parallel, and the iteration after which it is measured.
    samples, parallel : int
        Samples in sequence, and in parallel.
    """

    evaluations: int = 38_400
    shares: tuple[float, ...] = (0.5, 1.0)
    control_lrs: tuple[float, ...] = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
    lrs: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    weights: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    points: tuple[int, ...] = (4, 16)
    contrasts: tuple[tuple[float, float], ...] = ((0.001, 0.02), (0.01, 0.2), (0.1, 2.0))
    contrasted: int = 2
    budgets: tuple[int, int] = (10, 20)
    levels: int = 20
    depth: int = 4
    samples: int = 512
    parallel: int = 256

    sizes = {
        "smoke": recipe(
            "digits", "smoke", evaluations=60, shares=(1.0,), control_lrs=(1e-4, 1e-3),
            points=(2,), contrasted=1, budgets=(2, 2), levels=3, depth=1, samples=72, parallel=72,
        ),
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def trials(self) -> dict[str, list[dict[str, Any]]]:
        """Return the settings of every trial, by method: equally many."""
        control = [
            {"lr": lr, "steps": self._steps(share, 1.0)}
            for lr, share in itertools.product(self.control_lrs, self.shares)
        ]
        source, number = random.Random(0), len(control)
        names = ("lr", "weight", "points", "contrast", "share")
        values = (self.lrs, self.weights, self.points, self.contrasts, self.shares)
        columns = [balanced(each, number, source) for each in values]
        listed = []
        for row in zip(*columns):
            trial = dict(zip(names, row))
            loss = contrastive_loss(self, 1.0, trial["contrast"], trial["points"])
            trial["steps"] = self._steps(trial.pop("share"), cost_factor(loss, self.batch))
            listed.append(trial)
        return {SAME_COST: control, CONTRASTIVE: listed}

    def _steps(self, share: float, factor: float) -> int:
        return max(1, int(share * self.evaluations / (self.batch * factor)))

    def run(self, session: Session) -> Results:
        """Distances and evaluations of each trial, by method; the settings are in the facts."""
        setting, trials = self.setting(), self.trials()
        seed, (choose, _) = session.seed + SEARCHED, halves(setting)
        before = setting.fit(setting.plain(), seed)
        tables = self._measured(setting, before, choose, seed, method=BEFORE, trial=0)
        rows = [(m, i, trial) for m, listed in trials.items() for i, trial in enumerate(listed)]
        for method, i, trial in progress.track(rows, "trials"):
            objective, factor = self._objective(setting, method, trial)
            net = setting.fit(
                objective, seed + 1000, start=before, steps=trial["steps"], lr=trial["lr"]
            )
            where = {"method": method, "trial": i}
            spent = round(trial["steps"] * self.batch * factor)
            tables.append(tidy([spent], {"measure": ["evaluations"]}, **where))
            tables += self._measured(setting, net, choose, seed, **where)
        return Results(tables, {}, {"trials": trials, **setting.report()})

    def _objective(self, setting: Setting, method: str, trial: Mapping) -> tuple[Any, float]:
        """What a trial is trained for, and the cost of a step over that of denoising."""
        plain = setting.plain()
        if method != CONTRASTIVE:
            return plain, 1.0
        loss = contrastive_loss(self, setting.data_std, trial["contrast"], trial["points"])
        weight = loss_weight(trial["weight"], setting)
        return objectives.Sum((plain, loss), (1.0, weight)), cost_factor(loss, self.batch)

    def _measured(
        self, setting: Setting, net: Any, choose: Distance, seed: int, **where: Any
    ) -> list:
        """Distances to the first half of the test images, and their geometric mean."""
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
