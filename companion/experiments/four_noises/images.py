"""Ways to train and samplers with U-Nets on images; recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from companion import data, noise
from companion.experiments.four_noises.sampling import (
    PICARD_LEVELS,
    SAMPLERS,
    SCHEDULES,
    best_schedules,
    draw,
)
from companion.experiments.four_noises.stages import TwoStages, two_stages
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["AXES", "ImagePairs"]

AXES = 20
"""Principal directions whose widths are compared."""


@dataclass(frozen=True)
class ImagePairs(ImageExperiment):
    """Seven ways to train and five to sample with U-Nets on images.

    The first stage is the training that image experiments share. Each network and sampler takes the
    better of two schedules, chosen by the other seeds.

    Parameters
    ----------
    second_steps, second_batch, second_lr : int, int, float
        Of the second stage, where a sample costs one evaluation.
    trainings : tuple of str
        Ways to train; "denoising" is the first.
    samplers : tuple of str
    budgets : tuple of int
        Network evaluations one after the other.
    data_noise : (float, float)
        Lower and higher noise of noisy data.
    contrast : (float, float)
        Smallest and largest contrast, as chapter 3 uses for images.
    contrast_weight, consistency_weight : float
        Of these losses beside the others.
    low : float
        Last noise level before 0.
    samples : int
        For each seed.
    seeds : int
        Two or more.
    Others as of ``ImageExperiment``.
    """

    second_steps: int = 500
    second_batch: int = 256
    second_lr: float = 7e-4
    trainings: tuple[str, ...] = (
        "denoising", "perturbed", "contrastive", "both", "naive high", "ambient high",
        "consistent high",
    )  # fmt: skip
    samplers: tuple[str, ...] = SAMPLERS
    budgets: tuple[int, ...] = (5, 10, 20)
    data_noise: tuple[float, float] = (0.2, 0.5)
    contrast: tuple[float, float] = (0.001, 0.02)
    contrast_weight: float = 0.01
    consistency_weight: float = 0.1
    low: float = 0.02
    samples: int = 1024
    seeds: int = 3

    sizes = {
        "smoke": recipe(
            "digits", "smoke", sample_batch=800, second_steps=5, second_batch=32, second_lr=1e-3,
            samples=40, budgets=(5,), seeds=2,
            trainings=("denoising", "perturbed", "both", "consistent high"),
        ),
        "long": recipe("mnist", "long", second_batch=64, samples=384, budgets=(5, 10)),
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Distances, log widths, chosen schedules by training, sampler, budget and seed."""
        setting = self.setting()
        listed = two_stages(
            noise.LogNormal(), setting.data_std, self.data_noise, self.contrast,
            self.second_batch, self.contrast_weight, self.consistency_weight,
        )  # fmt: skip
        flat = setting.train.flatten(1)
        centre, (variances, directions) = flat.mean(0), torch.linalg.eigh(torch.cov(flat.T))
        widths, directions = variances[-AXES:].sqrt(), directions[:, -AXES:]

        def log_width(x: Tensor) -> float:
            wide = ((x.flatten(1) - centre) @ directions).std(0)
            return float((wide / widths).log().mean())

        seeds = range(session.seed, session.seed + self.seeds)
        distances: dict[tuple[str, str, int], list[list[float]]] = {}
        tables: list[pd.DataFrame] = []
        for seed in seeds:
            starts: dict[Any, Any] = {}
            z = setting.noise(self.samples, seed)
            for name in self.trainings:
                denoiser = self._train(setting, listed[name], seed, starts)
                for sampler, n in self._cells(listed[name]):
                    drawn = {
                        kind: self._draw(setting, denoiser, sampler, n, kind, z, session.generator)
                        for kind in SCHEDULES
                    }
                    measured = [setting.frechet(x) for x in drawn.values()]
                    distances.setdefault((name, sampler, n), []).append(measured)
                    where = {"training": name, "sampler": sampler, "budget": n}
                    wide = [log_width(drawn["log-linear"])]
                    tables.append(tidy(wide, {"seed": [seed]}, measure="log width", **where))
        for (name, sampler, n), values in distances.items():
            where = {"training": name, "sampler": sampler, "budget": n}
            tables += best_schedules(list(zip(*values)), seeds, **where)
        facts = {
            "labels": {name: listed[name].label for name in self.trainings},
            "floor": setting.floor(self.samples),
        }
        return Results(tables, {"widths": widths}, {**facts, **setting.report()})

    def _train(self, setting: Setting, way: TwoStages, seed: int, starts: dict[Any, Any]) -> Any:
        """Train a network; ``starts`` holds the first stages that are there."""
        images = setting.train
        if way.data_noise:
            images = data.FrozenNoise(setting.train, way.data_noise, seed=seed).noisy
        key = (way.data_noise, repr(way.first))
        if key not in starts:
            starts[key] = setting.fit(way.first, seed, images=images)
        return setting.fit(
            way.second, seed + 50, images=images, start=starts[key],
            steps=max(1, int(self.second_steps / way.cost)), batch=self.second_batch,
            lr=self.second_lr,
        )  # fmt: skip

    def _cells(self, way: TwoStages) -> list[tuple[str, int]]:
        """Samplers and budgets: Picard iteration before it converges, on clean data."""
        return [
            (sampler, n)
            for sampler in self.samplers
            for n in self.budgets
            if sampler != "picard" or (n < PICARD_LEVELS and not way.data_noise)
        ]

    def _draw(
        self,
        setting: Setting,
        denoiser: Any,
        sampler: str,
        budget: int,
        kind: str,
        z: Tensor,
        generator: Callable[[int], torch.Generator],
    ) -> Tensor:
        """Return samples; Picard iteration evaluates all levels together, so fewer at once."""
        at_once = self.sample_batch
        if sampler == "picard":
            at_once = max(1, at_once // PICARD_LEVELS)

        def sample(part: Tensor, i: int) -> Tensor:
            return torch.cat(
                [
                    draw(sampler, denoiser, p, budget, self.low, kind, generator(100 + i))
                    for p in part.split(at_once)
                ]
            )

        return setting.draw(sample, z)
