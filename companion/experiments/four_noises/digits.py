"""Samples of digits: every way to train with every sampler, on all digits and on a few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion import data, metrics
from companion.experiments.experiment import Experiment
from companion.experiments.four_noises.calculation import gaussian, perturbed, width_after
from companion.experiments.four_noises.digit_networks import (
    LOW,
    CleanDigitNetworks,
    DigitSettings,
    NoisyDigitNetworks,
    stacks,
)
from companion.experiments.four_noises.sampling import (
    SAMPLERS,
    SCHEDULES,
    best_schedules,
    draw,
    measure_all,
    options_of,
    schedule,
)
from companion.experiments.four_noises.stages import length
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "CleanDigitSamples",
    "NoisyDigitSamples",
    "PredictedWidths",
    "SmallTrainingSet",
    "principal_widths",
]

AXES = 20
"""Principal directions whose widths are compared."""
FEW = ("denoising", "perturbed", "ambient low")
"""Ways to train that promise something on a small training set."""


def principal_widths(images: Tensor, number: int = AXES) -> tuple[Tensor, Tensor]:
    """Return the largest standard deviations (number,) and their directions (number, pixels)."""
    flat = images.flatten(1)
    parts = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return parts.S[:number] / math.sqrt(len(flat) - 1), parts.Vh[:number]


class DigitMeasures:
    """What is measured on samples of digits of all seeds.

    The classifier is trained on the training digits; distances are to the test digits.

    Parameters
    ----------
    seed : int
        Of the classifier.
    steps : int
        Of its training.
    seeds : int
        Seeds whose samples are given together.
    """

    def __init__(self, seed: int, steps: int, seeds: int):
        self.digits, labels = data.images("digits", "train")
        test = data.images("digits", "test")
        self.classifier = metrics.FeatureClassifier.train(
            self.digits, labels, seed=seed, data="digits", held_out=test, steps=steps
        )
        self.real = self.classifier.features(test[0])
        self.seeds, (self.widths, self.directions) = seeds, principal_widths(self.digits)

    def frechet(self, x: Tensor) -> Tensor:
        """Frechet distance to the test digits in the classifier's features, (seeds,)."""
        parts = x.view(self.seeds, -1, *x.shape[1:])
        features = [self.classifier.features(part) for part in parts]
        return torch.tensor([float(metrics.frechet_distance(f, self.real)) for f in features])

    def log_width(self, x: Tensor) -> Tensor:
        """Mean log width over the principal directions of the training digits, (seeds,)."""
        flat = self.digits.flatten(1)
        centred = x.view(self.seeds, -1, flat.shape[1]) - flat.mean(0)
        return (centred @ self.directions.T).std(1).div(self.widths).log().mean(1)


def _start(session: Session, number: int, samples: int) -> Tensor:
    """Return the same noise for every training and sampler."""
    return torch.randn((samples, 1, 8, 8), generator=session.generator(number))


@dataclass(frozen=True)
class CleanDigitSamples(Experiment):
    """Frechet distance and widths of samples of networks on clean digits, for every sampler.

    Each network and sampler takes the better of two schedules, chosen by the other seeds.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations one after the other.
    samples : int
        For each seed.
    classifier_steps : int
        Of the classifier whose features measure samples.
    """

    budgets: tuple[int, ...] = (5, 10, 20)
    samples: int = 256
    classifier_steps: int = 400

    sizes = {"smoke": {"samples": 16, "classifier_steps": 5}}
    needs = (CleanDigitNetworks,)
    seconds = 16

    def run(self, session: Session) -> Results:
        """Distances and log widths by training, sampler, budget and seed."""
        return _samples(self, session, session.run(CleanDigitNetworks))


@dataclass(frozen=True)
class NoisyDigitSamples(Experiment):
    """Frechet distance and widths of samples of networks on noisy digits, without Picard iteration.

    Parameters
    ----------
    budgets, samples, classifier_steps : as of ``CleanDigitSamples``
    """

    budgets: tuple[int, ...] = (5, 10, 20)
    samples: int = 256
    classifier_steps: int = 400

    sizes = {"smoke": {"samples": 16, "classifier_steps": 5}}
    needs = (NoisyDigitNetworks,)
    seconds = 7

    def run(self, session: Session) -> Results:
        """Distances and log widths by training, sampler, budget and seed."""
        return _samples(self, session, session.run(NoisyDigitNetworks), without=("picard",))


def _samples(
    sizes: CleanDigitSamples | NoisyDigitSamples,
    session: Session,
    trained: Results,
    without: tuple[str, ...] = (),
) -> Results:
    """Sample from all networks with every sampler, and measure."""
    seeds = trained.settings["seeds"]
    measures = DigitMeasures(session.seed, sizes.classifier_steps, seeds)
    tables = measure_all(
        stacks(trained), _start(session, 5, seeds * sizes.samples), sizes.budgets, LOW,
        measures.frechet, partial(session.generator, 7), log_width=measures.log_width,
        without=without,
    )  # fmt: skip
    facts = {
        "labels": trained.facts["labels"],
        "classifier": measures.classifier.describe(),
        "length": length(trained),
    }
    return Results(tables, facts=facts)


@dataclass(frozen=True)
class PredictedWidths(Experiment):
    """Log width that eq-fn-steps and eq-fn-perturbed say, for Gaussians as wide as the digits.

    On the log-linear schedule.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations one after the other.
    """

    budgets: tuple[int, ...] = (5, 10, 20)

    seconds = 1

    def run(self, session: Session) -> Results:
        """Log width by training, sampler and budget; nothing is trained, chosen or fitted."""
        widths = principal_widths(data.images("digits", "train")[0])[0].double()
        linear = {"denoising": gaussian(widths), "perturbed": perturbed(gaussian(widths))}
        log_widths = [
            [
                [
                    width_after(
                        sampler, denoiser, widths,
                        schedule(sampler, n, LOW).double(),
                        **options_of(sampler, n),
                    ).mean().item()
                    for n in self.budgets
                ]
                for sampler in SAMPLERS
            ]
            for denoiser in linear.values()
        ]  # fmt: skip
        dims = {"training": linear, "sampler": SAMPLERS, "budget": self.budgets}
        return Results(tidy(log_widths, dims, measure="log width"))


@dataclass(frozen=True)
class SmallTrainingSet(DigitSettings, Experiment):
    """A training set of a few digits: distance to the test digits, and copies, with DDIM.

    Parameters
    ----------
    digits : int
        Training images.
    budget : int
        Steps of DDIM.
    samples : int
        For each seed.
    classifier_steps : int
        Of the classifier whose features measure samples.
    Others as of ``DigitSettings``.
    """

    digits: int = 128
    budget: int = 20
    samples: int = 256
    classifier_steps: int = 400

    sizes = {
        "smoke": {
            "steps": 12, "second_steps": 15, "seeds": 2, "samples": 16, "classifier_steps": 5,
        }
    }  # fmt: skip
    seconds = 14

    def run(self, session: Session) -> Results:
        """Frechet distance and share of copies (of both schedules) by training and seed."""
        few, ways = data.images("digits", "train")[0][: self.digits], self.ways()
        measures = DigitMeasures(session.seed, self.classifier_steps, self.seeds)
        z = _start(session, 5, self.seeds * self.samples)
        tables = []
        for name, stack in self.train(session, FEW, few).items():
            drawn = [draw("ddim", stack, z, self.budget, LOW, kind) for kind in SCHEDULES]
            distances = torch.stack([measures.frechet(x) for x in drawn])
            tables += best_schedules(distances, range(self.seeds), training=name)
            images = torch.cat(drawn).view(len(drawn), self.seeds, -1, *few.shape[1:]).unbind(1)
            copies = [metrics.copies(part.flatten(0, 1), few) for part in images]
            tables.append(
                tidy(copies, {"seed": range(self.seeds)}, measure="copies", training=name)
            )
        return Results(tables, facts={"labels": {name: ways[name].label for name in FEW}})
