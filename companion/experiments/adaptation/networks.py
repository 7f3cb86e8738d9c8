"""Denoisers and classifiers of all seeds: what the race puts one in front of the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from companion import data, denoisers, networks, noise, objectives, training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.adaptation.classifiers import Classifier, new_classifiers, trained
from companion.experiments.adaptation.known import CLASSES, LabelledData, labelled
from companion.experiments.adaptation.purifiers import log_uniform, one_call, sampled
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results
from companion.stack import Stack

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["CLASSIFIERS", "DENOISERS", "DigitNetworks", "MixtureNetworks", "stacks"]

DENOISERS = ("clean", "ambient")
"""What a denoiser was trained on: clean data, or only data with noise (AmbientTweedie)."""
CLASSIFIERS = ("plain", "noise", "one call", "one call, ambient", "sampled")
"""What a classifier saw in the second half of its training: clean images, images with noise, or
images with noise after a purifier."""
LEVELS = noise.LogNormal(-0.5, 1.4)


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of denoisers and classifiers.

    Parameters
    ----------
    images : int
        Draws of the mixture to train on; not used by digits.
    data_noise : float
        Standard deviation of the noise in what the ambient denoisers are trained on.
    steps : int
        Of the denoisers.
    first_steps, second_steps : int
        Of the classifiers: on clean images first, then each on what it is to see.
    noise_range : (float, float)
        Noise levels of the second half, log-uniform.
    calls : int
        Evaluations of the denoiser for a sample.
    batch, width, classifier_width : int
    seeds : int
    """

    images: int = 2000
    data_noise: float = 0.5
    steps: int = 1000
    first_steps: int = 400
    second_steps: int = 300
    noise_range: tuple[float, float] = (0.25, 2.0)
    calls: int = 16
    batch: int = 64
    width: int = 96
    classifier_width: int = 96
    seeds: int = 8


SMOKE = {"images": 80, "steps": 6, "first_steps": 4, "second_steps": 3, "calls": 2, "seeds": 2}


@dataclass(frozen=True)
class MixtureNetworks(NetworkSettings, Experiment):
    """Denoisers and classifiers of the mixture of digits.

    Parameters
    ----------
    As of ``NetworkSettings``.
    """

    sizes = {"smoke": SMOKE}
    seconds = 15

    def run(self, session: Session) -> Results:
        """Weights of all of them."""
        return _networks(self, session, "mixture")


@dataclass(frozen=True)
class DigitNetworks(NetworkSettings, Experiment):
    """Denoisers and classifiers of digits.

    Parameters
    ----------
    As of ``NetworkSettings``.
    """

    sizes = {"smoke": SMOKE}
    seconds = 15

    def run(self, session: Session) -> Results:
        """Weights of all of them."""
        return _networks(self, session, "digits")


def the_data(settings: dict[str, Any], session: Session, name: str) -> LabelledData:
    """Return the same data for networks and race."""
    return labelled(name, settings["images"], session.generator(800))


def _networks(settings: Any, session: Session, name: str) -> Results:
    known = the_data(settings.settings(), session, name)
    seeds = [100 * session.seed + r for r in range(settings.seeds)]
    purifiers = _denoisers(settings, known.train, seeds)
    made = {f"denoiser {k}": v for k, v in purifiers.items()}
    made |= {
        f"classifier {k}": v for k, v in _classifiers(settings, session, known, purifiers, seeds)
    }
    facts = {"data": name, "data_std": float(known.train.std())}
    return Results(pd.DataFrame(), to_arrays(made), facts)


def _untrained(width: int, data_std: float, seed: int = 0) -> nn.Module:
    make = partial(networks.MLP, (1, 8, 8), width=width)
    return denoisers.Preconditioned(networks.seeded(make, seed), data_std)


def _denoisers(settings: Any, clean: Tensor, seeds: list[int]) -> dict[str, Stack]:
    """Train both kinds of all seeds at once."""
    std, level = float(clean.std()), settings.data_noise
    plain = objectives.DenoisingScoreMatching(LEVELS, "edm", std)
    ambient = objectives.AmbientTweedie(level, LEVELS, "edm", std)
    noisy = [data.FrozenNoise(clean, level, seed=s).noisy for s in seeds]
    runs = len(seeds)
    both = training.fit(
        [_untrained(settings.width, std, s) for s in seeds] * 2,
        [plain] * runs + [ambient] * runs, [clean] * runs + noisy, steps=settings.steps,
        batch_size=settings.batch, lr=3e-3, seed=seeds * 2, device="cpu",
    ).denoiser  # fmt: skip
    halves = (Stack([both[i] for i in range(k * runs, (k + 1) * runs)]) for k in (0, 1))
    return {k: half.eval().requires_grad_(False) for k, half in zip(DENOISERS, halves)}


def _classifiers(
    settings: Any,
    session: Session,
    known: LabelledData,
    purifiers: dict[str, Stack],
    seeds: list[int],
) -> Any:
    """Train on clean images, then go on with each kind of what is to be seen."""
    learn = partial(trained, batch=settings.batch)
    images, labels = known.train, known.train_labels
    start = new_classifiers(images[0].numel(), CLASSES, settings.classifier_width, seeds)
    start = learn(start, images, labels, steps=settings.first_steps, seed=1000 * session.seed + 810)
    for kind in CLASSIFIERS:
        generator = session.generator(820)

        def seen(x: Tensor, kind: str = kind, generator: torch.Generator = generator) -> Tensor:
            if kind == "plain":
                return x
            level = log_uniform(*settings.noise_range, generator)  # type: ignore[call-arg]
            y = noise.corrupt(x, level, generator=generator)
            if kind == "noise":
                return y
            denoiser = purifiers["ambient" if "ambient" in kind else "clean"]
            if kind == "sampled":
                return sampled(denoiser, y, level, settings.calls, generator)
            return one_call(denoiser, y, level)

        stack = learn(
            start, images, labels, steps=settings.second_steps, seed=1000 * session.seed + 811,
            seen=seen, lr=1e-3,
        )  # fmt: skip
        yield kind, stack


def stacks(made: Results) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return denoisers and classifiers of one of the experiments above, by their kind."""
    settings = made.settings
    one = _untrained(settings["width"], made.facts["data_std"])
    other = Classifier(64, CLASSES, settings["classifier_width"])
    return (
        {k: from_arrays(made.arrays, one, f"denoiser {k}") for k in DENOISERS},
        {k: from_arrays(made.arrays, other, f"classifier {k}") for k in CLASSIFIERS},
    )
