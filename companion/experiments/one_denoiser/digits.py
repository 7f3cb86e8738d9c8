"""Networks on handwritten digits of 8 by 8 pixels: held-out error, and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from companion import (
    checkpoint,
    data,
    denoisers,
    metrics,
    networks,
    noise,
    objectives,
    oracles,
    training,
)
from companion.experiments.experiment import Experiment
from companion.experiments.one_denoiser.points import METHODS, sample
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DigitNetworks", "DigitSamples", "HeldOut"]

SIGMA_MAX = 20.0
"""Noise level at which sampling of digits starts."""


@dataclass(frozen=True)
class DigitNetworks(Experiment):
    """Networks trained on digits, alike but for their seeds.

    Parameters
    ----------
    steps : int
        Of training, with 128 digits each.
    width : int
        Of the hidden layers.
    seeds : int
    """

    steps: int = 1000
    width: int = 256
    seeds: int = 3

    sizes = {"smoke": {"steps": 30, "seeds": 2}}
    seconds = 15

    def run(self, session: Session) -> Results:
        """Final loss of each seed; the weights, as arrays."""
        first = 1000 * session.seed
        digits, _ = data.images("digits", "train")
        data_std = float(digits.std())
        objective = objectives.DenoisingScoreMatching(
            noise.LogNormal(-0.5, 1.2), sigma_data=data_std
        )
        fit = training.fit(
            [_network(first + number, self.width, data_std) for number in range(self.seeds)],
            objective, digits, steps=self.steps, batch_size=128, lr=2e-3, seed=first, device="cpu",
        )  # fmt: skip
        losses = tidy(fit.losses[-50:].mean(0), {"seed": range(self.seeds)}, measure="final loss")
        return Results(losses, checkpoint.to_arrays(fit.denoiser), {"data_std": data_std})

    @classmethod
    def trained(cls, results: Results) -> Any:
        """Return the denoisers of a run, stacked: ``trained(results)[0]`` is the first alone."""
        new = _network(0, results.settings["width"], results.facts["data_std"])
        return checkpoint.from_arrays(results.arrays, new)


def _network(seed: int, width: int, data_std: float) -> denoisers.Preconditioned:
    return networks.seeded(
        lambda: denoisers.Preconditioned(networks.MLP((1, 8, 8), width=width), data_std), seed
    )


@dataclass(frozen=True)
class HeldOut(Experiment):
    """Error on held-out digits: trained networks, and the exact minimiser on the training set.

    Parameters
    ----------
    levels : tuple of float
        Noise levels, in units of pixels from -1 to 1.
    """

    levels: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)

    needs = (DigitNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Mean squared error a pixel by denoiser, level and seed."""
        stack = DigitNetworks.trained(session.run(DigitNetworks))
        digits, _ = data.images("digits", "train")
        held_out, _ = data.images("digits", "test")
        memorised = oracles.Empirical(digits)
        tables = []
        for sigma in self.levels:
            noisy = noise.corrupt(held_out, sigma, generator=session.generator(3))
            trained = stack(noisy.repeat(len(stack), 1, 1, 1), sigma)
            errors = (trained.view(len(stack), *noisy.shape) - held_out).square()
            memory = (memorised.denoiser(noisy, sigma) - held_out).square().mean()
            where = {"level": [sigma], "seed": range(len(stack))}
            means = errors.flatten(1).mean(1)[None]
            tables += [
                tidy(means, where, measure="error", denoiser="trained"),
                tidy([memory], {"level": [sigma]}, measure="error", denoiser="memorised"),
            ]
        return Results(tables)


@dataclass(frozen=True)
class DigitSamples(Experiment):
    """Digits from four samplers at 21 evaluations: Fréchet distance, and copies of training digits.

    Parameters
    ----------
    samples : int
        For each network: half as many as there are training digits, as in the noise floor.
    evaluations : int, odd
        Of the network, for each sample.
    splits : int
        Random halves of the digits for the noise floor.
    """

    samples: int = 716
    evaluations: int = 21
    splits: int = 5

    sizes = {"smoke": {"samples": 200}}
    needs = (DigitNetworks,)
    seconds = 20

    def run(self, session: Session) -> Results:
        """Fréchet distance and share of copies by method and seed; 60 samples, as an array."""
        stack = DigitNetworks.trained(session.run(DigitNetworks))
        digits, labels = data.images("digits", "train")
        classifier = metrics.FeatureClassifier.train(
            digits, labels, seed=session.seed, data="digits"
        )
        classifier.accuracy(*data.images("digits", "test"))
        features = classifier.features(digits)
        floor = metrics.noise_floor(metrics.frechet_distance, features, repeats=self.splits)
        shape = (len(stack) * self.samples, *digits.shape[1:])
        start = SIGMA_MAX * noise.randn(shape, generator=session.generator(9))
        tables, shown = [], torch.empty(0)
        for name in METHODS:
            drawn = sample(name, self.evaluations, stack, start, SIGMA_MAX, session.generator(10))
            parts = drawn.view(len(stack), self.samples, *digits.shape[1:]).clamp(-1, 1)
            values = [
                [metrics.frechet_distance(classifier.features(part), features) for part in parts],
                [metrics.copies(part, digits) for part in parts],
            ]
            where = {"measure": ["Fréchet distance", "copies"], "seed": range(len(stack))}
            tables.append(tidy(values, where, method=name))
            shown = parts[0, :60]
        facts = {"noise floor": floor.mean, "classifier": classifier.describe()}
        return Results(tables, {"samples": shown}, facts)
