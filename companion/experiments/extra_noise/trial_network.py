"""The trial on images with one seed, a part of the record of all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import denoisers, metrics, noise, progress, samplers
from companion.experiments.extra_noise.arms import FREE, NONE, TRAINED, Arm
from companion.experiments.image_search import halves, shared_setting
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SMOKE", "TrialNetwork", "TrialSettings", "ancestral"]

Condition = tuple[str, Arm]
"""How a denoiser came by what it does (``TRAINED`` or ``FREE``), and the arm."""
SMOKE: dict[str, Any] = recipe(
    "digits",
    "smoke",
    continued=2,
    chains=(2, 3),
    samples=64,
    watched=2,
    levels=(0.8,),
    held_out=20,
)
"""Tiny sizes, of a seed and of all."""


def ancestral(
    setting: Setting, denoiser: Any, number: int, sigmas: Tensor, seed: int, watch: Any = None
) -> Tensor:
    """Return samples by DDPM, (number, C, H, W); ``watch`` is called along the first part."""

    def sampler(z: Tensor, part: int) -> Tensor:
        fresh = torch.Generator(setting.device).manual_seed(10_000 + 1000 * seed + part)
        look = None if part else watch
        return samplers.ddpm(denoiser, float(sigmas[0]) * z, sigmas, generator=fresh, callback=look)

    return setting.draw(sampler, setting.noise(number, seed))


@dataclass(frozen=True)
class TrialSettings(ImageExperiment):
    """What the trial on images trains and measures, for every seed.

    Parameters
    ----------
    arms : tuple of (kind, strength)
        That are trained, as of ``Arm``; the first is ("none", 0).
    continued : int
        Steps for which each arm, the plain one too, goes on from the shared plain network; 0 trains
        each from its first weights.
    arm_lrs : tuple of float
        Learning rates of the arms where they go on; one for all, or one for each.
    free : tuple of (kind, strength)
        Arms of B whose free rival is sampled.
    chains : tuple of int
        Steps of DDPM.
    sigma_max, sigma_min : float
        Levels of the chains, pixels in [-1, 1].
    samples : int
        Of each network.
    watched : int
        Levels at which the exposure bias is measured.
    levels : tuple of float
        Noise levels at which denoising errors are measured.
    held_out : int
        Test images that errors are measured on, and as many training images.
    """

    arms: tuple[tuple[str, float], ...] = (("none", 0.0), ("B eps", 0.1), ("C", 0.05))
    continued: int = 0
    arm_lrs: tuple[float, ...] = (1e-3,)
    free: tuple[tuple[str, float], ...] = (("B eps", 0.1),)
    chains: tuple[int, ...] = (20, 100, 500)
    sigma_max: float = 80.0
    sigma_min: float = 0.01
    samples: int = 512
    watched: int = 10
    levels: tuple[float, ...] = (0.2, 0.8, 3.2)
    held_out: int = 512


@dataclass(frozen=True)
class TrialNetwork(TrialSettings):
    """All arms with one seed.

    Parameters
    ----------
    number : int
        The seed is that many after the session's.
    halved : bool
        Measure distances to the second half of the test images, which no search has seen.
    Others as of ``TrialSettings``.
    """

    number: int = 0
    halved: bool = False

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Every measure by condition, steps or level; some samples."""
        setting, seed = shared_setting(self), session.seed + self.number
        real = setting.classifier.features(setting.test[-self.samples :])
        frechet = halves(setting)[1] if self.halved else setting.frechet
        tables: list = []
        arrays: dict[str, Tensor] = {}
        tried = self._train(setting, seed)
        for (way, arm), denoiser in progress.track(list(tried.items()), "samples"):
            where = {"denoiser": way, **arm.where, "seed": seed}
            shown = []
            for steps in self.chains:
                x, bias = self._sample(setting, denoiser, steps, seed)
                within = metrics.precision_recall(real, setting.classifier.features(x.clamp(-1, 1)))
                values = {
                    "Frechet distance": frechet(x), "precision": within.precision,
                    "recall": within.recall,
                }  # fmt: skip
                dims = {"measure": values, "steps": [steps]}
                tables.append(tidy([[v] for v in values.values()], dims, **where))
                biases = {"measure": "exposure bias", "steps": steps, **where}
                tables.append(tidy(list(bias.values()), {"level": list(bias)}, **biases))
                shown.append((127.5 * (x[:8].clamp(-1, 1) + 1)).round().to(torch.uint8))
            arrays[f"{way}: {arm}"] = torch.stack(shown)
            tables += self._errors(setting, denoiser, where)
        floor = frechet(setting.train[: self.samples])
        return Results(tables, arrays, {"floor": floor, **setting.report()})

    def _train(self, setting: Setting, seed: int) -> Mapping[Condition, Any]:
        """Train every arm with EDM's levels and weight, and relabel the plain network."""
        tried: dict[Condition, Any] = {}
        lrs = self.arm_lrs * len(self.arms) if len(self.arm_lrs) == 1 else self.arm_lrs
        for arm, lr in zip((Arm(*arm) for arm in self.arms), lrs):
            objective = arm.objective(noise.LogNormal(), setting.data_std, "edm")
            if self.continued:
                start = setting.fit(setting.plain(), seed)
                tried[TRAINED, arm] = setting.fit(
                    objective, seed + 1000, start=start, steps=self.continued, lr=lr
                )
            else:
                tried[TRAINED, arm] = setting.fit(objective, seed)
        for arm in (Arm(*arm) for arm in self.free):
            tried[FREE, arm] = arm.relabelled(tried[TRAINED, NONE])
        return tried

    def _sample(
        self, setting: Setting, denoiser: Any, steps: int, seed: int
    ) -> tuple[Tensor, dict[float, float]]:
        """Samples, and the exposure bias of the first of them by level."""
        sigmas = noise.cosine(steps, self.sigma_max, self.sigma_min)
        every, bias = max(1, steps // self.watched), {}
        aside = torch.Generator(setting.device).manual_seed(20_000 + seed)

        def norm(eps: Tensor) -> float:
            return float(eps.flatten(1).norm(dim=1).mean())

        def watch(step: samplers.Step) -> None:
            if step.number % every == 0:
                clean = setting.test[: len(step.x)].to(step.x)
                noisy = noise.corrupt(clean, step.sigma, generator=aside)
                true = denoisers.epsilon(denoiser, noisy, step.sigma)
                along = (step.x - step.denoised) / step.sigma
                bias[float(step.sigma)] = math.log(norm(along) / norm(true))

        return ancestral(setting, denoiser, self.samples, sigmas, seed, watch), bias

    def _errors(self, setting: Setting, denoiser: Any, where: Mapping[str, Any]) -> list:
        """Mean squared error on test images and on training images, by level."""
        tables = []
        for measure, images in (("test error", setting.test), ("training error", setting.train)):
            clean, errors = images[: self.held_out], []
            for sigma in self.levels:
                generator = torch.Generator().manual_seed(30_000 + where["seed"])
                noisy = noise.corrupt(clean, sigma, generator=generator)
                answer = setting.draw(partial(_at_level, denoiser, sigma), noisy)
                errors.append(float((answer - clean).square().mean()))
            tables.append(tidy(errors, {"level": self.levels}, measure=measure, **where))
        return tables


def _at_level(denoiser: Any, sigma: float, x: Tensor, part: int) -> Tensor:
    """Call a denoiser at one level, as a sampler is called."""
    return denoiser(x, sigma)
