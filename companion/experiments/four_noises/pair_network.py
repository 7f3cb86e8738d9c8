"""One U-Net, trained in one way and sampled in all: a part of the record of the meeting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, noise
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

    The first stage is the training that image experiments share.

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
        Smallest and largest contrast, as chapter 3 uses for images.
    contrast_weight, consistency_weight : float
        Of these losses beside the others.
    low : float
        Last noise level before 0.
    samples : int
        For each seed.
    Others as of ``ImageExperiment``.
    """

    second_steps: int = 500
    second_batch: int = 256
    second_lr: float = 7e-4
    samplers: tuple[str, ...] = SAMPLERS
    budgets: tuple[int, ...] = (5, 10, 20)
    data_noise: tuple[float, float] = (0.2, 0.5)
    contrast: tuple[float, float] = (0.001, 0.02)
    contrast_weight: float = 0.01
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
        way = two_stages(
            noise.LogNormal(), setting.data_std, self.data_noise, self.contrast,
            self.second_batch, self.contrast_weight, self.consistency_weight,
        )[self.training]  # fmt: skip
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

    def _train(self, setting: Setting, way: TwoStages, seed: int) -> Any:
        """Train a network; equal first stages are trained once, as ``Setting.fit`` keeps them."""
        images = setting.train
        if way.data_noise:
            images = data.FrozenNoise(setting.train, way.data_noise, seed=seed).noisy
        start = setting.fit(way.first, seed, images=images)
        return setting.fit(
            way.second, seed + 50, images=images, start=start,
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
