"""The race on images, with U-Nets and convolutional classifiers; recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, networks, noise, objectives, progress
from companion.experiments.adaptation.known import LabelledData
from companion.experiments.adaptation.networks import CLASSIFIERS, DENOISERS
from companion.experiments.adaptation.purifiers import (
    CORRUPTIONS,
    log_uniform,
    one_call,
    sampled,
)
from companion.experiments.adaptation.race import Course, RaceSettings, measured
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageRace"]


@dataclass(frozen=True)
class ImageRace(RaceSettings, ImageExperiment):
    """All ways to classify corrupted images, with U-Nets, on MNIST or CIFAR-10.

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
    seeds : int
        Of networks and noise.
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
    seeds: int = 3

    sizes = {
        "smoke": recipe(
            "digits", "smoke", noises=(0.5,), factors=(1.0,), levels=(0.1,), weights=(1.0,),
            number=6, second_steps=1, calls=2, seeds=2,
        ),
        "long": recipe("mnist", "long", classifier_steps=1000),
        "gpu": [recipe("mnist", "gpu"), recipe("cifar10", "gpu", second_steps=1000)],
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Accuracy and calibration error by way, condition and seed."""
        setting = self.setting()
        purifiers: dict[str, list] = {kind: [] for kind in DENOISERS}
        classifiers: dict[str, list] = {kind: [] for kind in CLASSIFIERS}
        for seed in progress.track(range(session.seed, session.seed + self.seeds), "seeds"):
            noisy = data.FrozenNoise(setting.train, self.data_noise, seed=seed).noisy
            ambient = objectives.AmbientTweedie(
                self.data_noise, noise.LogNormal(), "edm", setting.data_std
            )
            purifiers["clean"].append(setting.fit(setting.plain(), seed))
            purifiers["ambient"].append(setting.fit(ambient, seed, images=noisy))
            own = {kind: listed[-1] for kind, listed in purifiers.items()}
            for kind, network in self._classifiers(setting, own, seed).items():
                classifiers[kind].append(network)
        for network in [
            n for part in (purifiers, classifiers) for one in part.values() for n in one
        ]:
            network.to(setting.device).eval().requires_grad_(False)
        known = LabelledData(
            setting.train, setting._labels, setting.test.to(setting.device),
            setting._test_labels.to(setting.device),
        )  # fmt: skip
        course = Course(
            self, known, {k: Apart(v) for k, v in purifiers.items()},
            {k: Apart(v) for k, v in classifiers.items()}, self.calls,
        )  # fmt: skip
        with torch.no_grad():
            results = measured(course, session, tuple(CORRUPTIONS))
        return Results(results.table, {}, {**results.facts, **setting.report()})

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


class Apart:
    """Networks of several seeds as one: equal parts of a batch, each by its own network."""

    def __init__(self, parts: Sequence[nn.Module]):
        self.parts, self.runs = parts, len(parts)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Answer for each part of ``x``; classifiers take no noise level."""
        answers = []
        for network, part in zip(self.parts, x.chunk(self.runs)):
            simple = isinstance(network, nn.Sequential)
            answers.append(network(part) if simple else network(part, sigma))
        return torch.cat(answers)


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
