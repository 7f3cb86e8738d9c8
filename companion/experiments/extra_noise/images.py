"""The trial on images, with U-Nets; recorded."""

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
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageTrial"]

Condition = tuple[str, Arm]
"""How a denoiser came by what it does (``TRAINED`` or ``FREE``), and the arm."""


@dataclass(frozen=True)
class ImageTrial(ImageExperiment):
    """The trial on images: quality on short and long chains, exposure bias, recall, errors.

    Parameters
    ----------
    arms : tuple of (kind, strength)
        That are trained, as of ``Arm``; the first is ("none", 0).
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
    seeds : int
    """

    arms: tuple[tuple[str, float], ...] = (("none", 0.0), ("B eps", 0.1), ("C", 0.05))
    free: tuple[tuple[str, float], ...] = (("B eps", 0.1),)
    chains: tuple[int, ...] = (20, 100, 500)
    sigma_max: float = 80.0
    sigma_min: float = 0.01
    samples: int = 512
    watched: int = 10
    levels: tuple[float, ...] = (0.2, 0.8, 3.2)
    held_out: int = 512
    seeds: int = 3

    sizes = {
        "smoke": recipe(
            "digits", "smoke", chains=(2, 3), samples=64, watched=2, levels=(0.8,), held_out=20,
            seeds=2,
        ),
        "long": recipe("mnist", "long"),
        "gpu": [
            recipe(
                "mnist", "gpu",
                arms=(("none", 0.0), ("B eps", 0.1), ("C", 0.05), ("B x_0", 0.1)),
                free=(("B eps", 0.1), ("B x_0", 0.1)),
            ),
            recipe("cifar10", "gpu", arms=(("none", 0.0),), chains=(20, 100)),
        ],
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Every measure by condition, steps or level, and seed; some samples of the first seed."""
        setting = self.setting()
        real = setting.classifier.features(setting.test[: self.samples])
        tables: list = []
        arrays: dict[str, Tensor] = {}
        for seed in range(session.seed, session.seed + self.seeds):
            tried = self._train(setting, seed)
            for (way, arm), denoiser in progress.track(list(tried.items()), "samples"):
                where = {"denoiser": way, **arm.where, "seed": seed}
                shown = []
                for steps in self.chains:
                    x, bias = self._sample(setting, denoiser, steps, seed)
                    fake = setting.classifier.features(x.clamp(-1, 1))
                    within = metrics.precision_recall(real, fake)
                    values = {
                        "Frechet distance": setting.frechet(x),
                        "precision": within.precision,
                        "recall": within.recall,
                    }
                    dims = {"measure": values, "steps": [steps]}
                    tables.append(tidy([[v] for v in values.values()], dims, **where))
                    level = {"level": list(bias)}
                    tables.append(
                        tidy(
                            list(bias.values()),
                            level,
                            measure="exposure bias",
                            steps=steps,
                            **where,
                        )
                    )
                    shown.append((127.5 * (x[:8].clamp(-1, 1) + 1)).round().to(torch.uint8))
                if seed == session.seed:
                    arrays[f"{way}: {arm}"] = torch.stack(shown)
                tables += self._errors(setting, denoiser, where)
        return Results(tables, arrays, {"floor": setting.floor(self.samples), **setting.report()})

    def _train(self, setting: Setting, seed: int) -> Mapping[Condition, Any]:
        """Train every arm with EDM's levels and weight, and relabel the plain network."""
        tried: dict[Condition, Any] = {}
        for arm in progress.track([Arm(*arm) for arm in self.arms], "arms"):
            objective = arm.objective(noise.LogNormal(), setting.data_std, "edm")
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

        def sampler(z: Tensor, part: int) -> Tensor:
            fresh = torch.Generator(setting.device).manual_seed(10_000 + 1000 * seed + part)
            look = None if part else watch
            start = self.sigma_max * z
            return samplers.ddpm(denoiser, start, sigmas, generator=fresh, callback=look)

        return setting.draw(sampler, setting.noise(self.samples, seed)), bias

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
