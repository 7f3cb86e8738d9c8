"""One seed of the race on images: a part of its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, networks, noise, objectives, progress
from companion.experiments.adaptation.classifiers import accuracy, calibration_error
from companion.experiments.adaptation.known import LabelledData
from companion.experiments.adaptation.networks import CLASSIFIERS
from companion.experiments.adaptation.purifiers import (
    CORRUPTIONS,
    log_uniform,
    one_call,
    sampled,
)
from companion.experiments.adaptation.race import Course, RaceSettings, condition
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SMOKE", "ImageSeed", "ImageSettings"]

SMOKE: dict[str, Any] = recipe(
    "digits", "smoke", noises=(0.5,), factors=(1.0,), levels=(0.1, 0.25), weights=(1.0,),
    number=6, second_steps=1, calls=2,
)  # fmt: skip
"""Tiny sizes, of a seed and of all."""


@dataclass(frozen=True)
class ImageSettings(RaceSettings, ImageExperiment):
    """U-Nets that purify and convolutional classifiers, and the corruptions they meet.

    Parameters
    ----------
    data_noise : float
        Standard deviation of the noise in what the ambient denoisers are trained on.
    noise_range : (float, float)
        Noise levels of the classifiers' second half, log-uniform.
    second_steps : int
        Of the second half; the first has ``classifier_steps``.
    calls : int
        Evaluations of the denoiser for a sample.
    noises, factors, levels, weights, number, repeats : as of ``RaceSettings``
    """

    noises: tuple[float, ...] = (0.5, 1.0)
    factors: tuple[float, ...] = (1.0, 1.5)
    number: int = 1000
    repeats: int = 1
    data_noise: float = 0.5
    noise_range: tuple[float, float] = (0.25, 2.0)
    second_steps: int = 500
    calls: int = 16


@dataclass(frozen=True)
class ImageSeed(ImageSettings):
    """Networks of one seed, and how well every way does with them at every setting it may take.

    Parameters
    ----------
    network_seed : int
        The seed of networks and noise is that many after the session's.
    Others as of ``ImageSettings``.
    """

    network_seed: int = 0

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Accuracy and calibration error by condition, way and setting (its number)."""
        setting, seed = self.setting(), session.seed + self.network_seed
        noisy = data.FrozenNoise(setting.train, self.data_noise, seed=seed).noisy
        ambient = objectives.AmbientTweedie(
            self.data_noise, noise.LogNormal(), "edm", setting.data_std
        )
        purifiers = {
            "clean": setting.fit(setting.plain(), seed),
            "ambient": setting.fit(ambient, seed, images=noisy),
        }
        classifiers = self._classifiers(setting, purifiers, seed)
        for network in (*purifiers.values(), *classifiers.values()):
            network.to(setting.device).eval().requires_grad_(False)
        known = LabelledData(
            setting.train, setting._labels, setting.test.to(setting.device),
            setting._test_labels.to(setting.device),
        )  # fmt: skip
        course = EverySetting(
            self, known, {k: Alone(v) for k, v in purifiers.items()},
            {k: Alone(v) for k, v in classifiers.items()}, self.calls,
        )  # fmt: skip
        cases = [("none", 0.0), *(("noise", level) for level in self.noises)]
        cases += [(name, 0.0) for name in CORRUPTIONS]
        tables = []
        for i, (corruption, level) in enumerate(cases):
            generator = torch.Generator().manual_seed(83_000 + 100 * seed + i)
            with torch.no_grad():
                answers, _ = course.run(corruption, level, generator)
            for way, (probabilities, numbers) in answers.items():
                measures = {
                    "accuracy": accuracy(probabilities, course.labels),
                    "calibration error": calibration_error(probabilities, course.labels),
                }
                values = torch.stack([value.cpu() for value in measures.values()])
                dims = {"measure": measures, "setting": numbers.tolist()}
                where = {"condition": condition(corruption, level), "way": way, "seed": seed}
                tables.append(tidy(values, dims, **where))
        facts = {"test images": len(course.images), **setting.report()}
        return Results(tables, {}, facts)

    def _classifiers(
        self, setting: Setting, purifiers: dict[str, Any], seed: int
    ) -> dict[str, nn.Module]:
        """Train one on clean images, then go on from it with each kind of what is to be seen."""
        make = partial(convolutional, setting.shape, int(setting._labels.max()) + 1)
        learn = partial(train, images=setting.train, labels=setting._labels, device=setting.device)
        start = learn(networks.seeded(make, seed), steps=self.classifier_steps, seed=seed)
        made = {}
        for kind in CLASSIFIERS:
            generator = torch.Generator().manual_seed(40_000 + seed)

            def seen(x: Tensor, kind: str = kind, generator: Any = generator) -> Tensor:
                if kind == "plain":
                    return x
                level = log_uniform(*self.noise_range, generator)
                y = noise.corrupt(x, level, generator=generator)
                if kind == "noise":
                    return y
                denoiser = purifiers["ambient" if "ambient" in kind else "clean"]
                if kind == "sampled":
                    return sampled(denoiser, y, level, self.calls, generator)
                return one_call(denoiser, y, level)

            again = networks.seeded(make, seed)
            again.load_state_dict(start.state_dict())
            made[kind] = learn(again, steps=self.second_steps, seed=1000 + seed, seen=seen, lr=1e-3)
        return made


class EverySetting(Course):
    """The course of one seed, with the answers of every setting instead of one."""

    def _chosen(self, tried: Tensor, settings: list) -> tuple[Tensor, Tensor]:
        """Give all settings (S, N, classes) and their numbers; ``ImageRace`` chooses."""
        return tried[:, 0], torch.arange(len(settings))


class Alone:
    """A network of one seed as a stack of one; classifiers take no noise level."""

    runs = 1

    def __init__(self, network: nn.Module):
        self.network = network

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Answer for ``x``."""
        if isinstance(self.network, nn.Sequential):
            return self.network(x)
        return self.network(x, sigma)


def convolutional(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return a small convolutional classifier of images (C, H, W)."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        return [conv, nn.GroupNorm(8, after), nn.SiLU()]

    return nn.Sequential(
        *block(shape[0], 32, 1), *block(32, 64, 2), *block(64, 128, 2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 128, classes),
    )  # fmt: skip


def train(
    network: nn.Module,
    *,
    images: Tensor,
    labels: Tensor,
    steps: int,
    seed: int,
    device: str,
    seen: Callable[[Tensor], Tensor] | None = None,
    batch: int = 64,
    lr: float = 3e-3,
) -> nn.Module:
    """Train a classifier with AdamW on batches after ``seen``; return it, on ``device``."""
    generator = torch.Generator().manual_seed(seed)
    network = network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in progress.track(range(steps), "classifier"):
        index = torch.randint(len(images), (batch,), generator=generator)
        x = images[index].to(device)
        if seen is not None:
            with torch.no_grad():
                x = seen(x)
        loss = nn.functional.cross_entropy(network(x), labels[index].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network
