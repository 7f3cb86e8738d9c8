"""One U-Net, trained in one way and sampled in all: a part of the record of the meeting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, noise, objectives
from companion.experiments.four_noises.sampling import PICARD_LEVELS, SAMPLERS, SCHEDULES, draw
from companion.experiments.four_noises.stages import TwoStages, two_stages
from companion.experiments.image_search import shared_setting
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["AXES", "SMOKE", "PairNetwork", "PairSettings"]

AXES = 20
"""Principal directions whose widths are compared."""
SMOKE: dict[str, Any] = recipe(
    "digits",
    "smoke",
    sample_batch=800,
    second_steps=5,
    second_batch=32,
    second_lr=1e-3,
    samples=40,
    budgets=(5,),
)
"""Tiny sizes, of a network and of all."""


@dataclass(frozen=True)
class PairSettings(ImageExperiment):
    """How U-Nets are trained in two stages, and sampled.

    The first stage is the training that image experiments share. In the second, the contrast,
    points, weight and learning rate are those that chapter 3's search chose on MNIST at 14 x 14,
    and consistency has the weight that chapter 2's search kept, and its ``every``.

    Parameters
    ----------
    second_steps, second_batch, second_lr : int, int, float
        Of the second stage, where a sample costs one evaluation.
    samplers : tuple of str
    budgets : tuple of int
        Network evaluations one after the other.
    data_noise : (float, float)
        Lower and higher noise of noisy data.
    contrast : (float, float)
        Smallest and largest contrast.
    points, contrast_weight : int, float
        Of the contrastive loss: levels for each ratio, and its weight as for two dimensions.
    every, consistency_weight : int, float
        Of consistency: asked of each so-many-th sample, and its weight.
    low : float
        Last noise level before 0.
    samples : int
        For each seed.
    Others as of ``ImageExperiment``.
    """

    second_steps: int = 500
    second_batch: int = 256
    second_lr: float = 3e-4
    samplers: tuple[str, ...] = SAMPLERS
    budgets: tuple[int, ...] = (5, 10, 20)
    data_noise: tuple[float, float] = (0.2, 0.5)
    contrast: tuple[float, float] = (0.01, 0.2)
    points: int = 4
    contrast_weight: float = 1.0
    every: int = 6
    consistency_weight: float = 0.1
    low: float = 0.02
    samples: int = 1024


@dataclass(frozen=True)
class PairNetwork(PairSettings):
    """One way to train with one seed: distances with every sampler, budget and schedule.

    Parameters
    ----------
    training : str
        Way to train.
    number : int
        The seed is that many after the session's.
    Others as of ``PairSettings``.
    """

    training: str = "denoising"
    number: int = 0

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Distance by sampler, budget and schedule; log width by sampler and budget."""
        setting, seed = shared_setting(self), session.seed + self.number
        way = self.ways(setting)[self.training]
        flat = setting.train.flatten(1)
        centre, (variances, directions) = flat.mean(0), torch.linalg.eigh(torch.cov(flat.T))
        widths, directions = variances[-AXES:].sqrt(), directions[:, -AXES:]

        def log_width(x: Tensor) -> float:
            wide = ((x.flatten(1) - centre) @ directions).std(0)
            return float((wide / widths).log().mean())

        denoiser, z = self._train(setting, way, seed), setting.noise(self.samples, seed)
        tables = []
        for sampler, n in self._cells(way):
            drawn = {
                kind: self._draw(setting, denoiser, sampler, n, kind, z, session.generator)
                for kind in SCHEDULES
            }
            where = {"training": self.training, "sampler": sampler, "budget": n, "seed": seed}
            distances = [setting.frechet(x) for x in drawn.values()]
            tables.append(tidy(distances, {"schedule": SCHEDULES}, measure="distances", **where))
            wide = [log_width(drawn["log-linear"])]
            tables.append(tidy(wide, {"measure": ["log width"]}, **where))
        facts = {"label": way.label, "floor": setting.floor(self.samples), **setting.report()}
        return Results(tables, {"widths": widths}, facts)

    def ways(self, setting: Setting) -> dict[str, TwoStages]:
        """Return all ways to train, by name: as on digits, but with the settings above."""
        ways = two_stages(
            noise.LogNormal(), setting.data_std, self.data_noise, self.contrast, self.second_batch
        )
        contrasted = max(1, self.second_batch // 32)
        classify = objectives.ContrastiveDiffusion(
            noise.LogUniform(*self.contrast), noise.LogUniform(0.01, 40.0), points=self.points,
            sigma_data=setting.data_std, samples=contrasted,
        )  # fmt: skip
        weight = 2 * self.contrast_weight / math.prod(setting.shape)
        cost = 1 + classify.evaluations * contrasted / self.second_batch
        for name in ("contrastive", "both"):
            second = objectives.Sum((ways[name].first, classify), (1.0, weight))
            ways[name] = replace(ways[name], second=second, cost=cost)
        alone = ways["consistent high"].first
        agree = objectives.Consistency(
            self.data_noise[1], every=self.every, sigma_data=setting.data_std
        )
        both = objectives.Sum((alone, agree), (1.0, self.consistency_weight))
        cost = 1 + agree.evaluations / self.every
        ways["consistent high"] = replace(ways["consistent high"], second=both, cost=cost)
        return ways

    def _train(self, setting: Setting, way: TwoStages, seed: int) -> Any:
        """Train a network; equal first stages are trained once, as ``Setting.fit`` keeps them."""
        images = setting.train
        if way.data_noise:
            images = data.FrozenNoise(setting.train, way.data_noise, seed=seed).noisy
        start = setting.fit(way.first, seed, images=images)
        batch = self.second_batch
        if self.training == "consistent high":
            batch -= batch % self.every
        steps = round(self.second_steps * self.second_batch / (way.cost * batch))
        return setting.fit(
            way.second, seed + 50, images=images, start=start, steps=max(1, steps), batch=batch,
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
