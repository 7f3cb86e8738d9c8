"""8 x 8 digits: errors and samples of every method, and what networks know by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, metrics, networks, noise, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    METHODS,
    Training,
)
from companion.experiments.tweedie.points import noisy_sets
from companion.experiments.tweedie.variants import Gradients, chosen

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["CORRELATED", "IDEAL_CLEAN", "IDEAL_NOISY", "Digits", "Memory"]

CORRELATED = {AMBIENT: "ambient, correlated", CONSISTENCY: "consistency, correlated"}
"""Methods that are also trained under noise that is correlated in space."""

IDEAL_CLEAN, IDEAL_NOISY = "ideal, clean set", "ideal, noisy set"
"""Exact denoisers of a finite set of clean digits, and of the same digits with noise."""

SHOWN = 14
"""Digits that are kept for a figure."""


def training_of_digits(digits: Tensor, width: int, steps: int, batch: int, seeds: int) -> Training:
    """Return what the methods share on digits."""
    make = partial(networks.MLP, (1, 8, 8), width=width, depth=2)
    return Training(make, float(digits.std()), 8.0, steps, batch, 1e-2, seeds)


def correlated(x: Tensor, s_n: float, generator: torch.Generator) -> Tensor:
    """Noise that is white noise blurred over 3 x 3 pixels, scaled back to s_n."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = kernel[:, None] * kernel
    kernel = kernel / kernel.square().sum().sqrt()
    height, width = x.shape[2:]
    z = torch.randn(len(x), 1, height + 2, width + 2, generator=generator)
    return x + s_n * nn.functional.conv2d(z, kernel[None, None])


def digit_samples(session: Session, denoiser: Any, number: int, steps: int) -> Tensor:
    """Samples (number, 1, 8, 8) by Heun's method, for all runs in a row."""
    z = torch.randn(number, 1, 8, 8, generator=session.generator(601))
    return samplers.heun(denoiser, 8 * z, noise.log_linear(steps, 8.0, 0.03))


@dataclass(frozen=True)
class Digits(Experiment):
    """Every method on noisy 8 x 8 digits: error on clean test digits, distance of samples.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data, pixels in [-1, 1].
    seeds : int
    steps, batch, width : int
        Of training, for one evaluation a sample; of the network.
    levels : tuple of float
        Noise levels at which errors are measured, in units of ``noise``.
    samples, solver_steps : int
        Samples of each seed, and steps of Heun's method.
    classifier_steps, repeats : int
        Of the classifier whose features measure samples; halvings of the data for the noise floor.
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses).
    """

    noise: float = 0.6
    seeds: int = 4
    steps: int = 400
    batch: int = 240
    width: int = 96
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    samples: int = 250
    solver_steps: int = 16
    classifier_steps: int = 250
    repeats: int = 5
    weight: float | None = None

    sizes = {
        "smoke": {
            "seeds": 2, "steps": 3, "batch": 48, "width": 16, "samples": 20, "solver_steps": 5,
            "classifier_steps": 2, "repeats": 2,
        }
    }  # fmt: skip
    needs = (Gradients,)
    seconds = 20

    def run(self, session: Session) -> Results:
        """Errors by method, level and seed, and Frechet distances; digits of the first seed."""
        weight = chosen(session) if self.weight is None else self.weight
        digits, labels = data.images("digits", "train")
        test = data.images("digits", "test")
        shared = training_of_digits(digits, self.width, self.steps, self.batch, self.seeds)
        judged = metrics.FeatureClassifier.train(
            digits, labels, data="digits", steps=self.classifier_steps, held_out=test
        )
        real = judged.features(test[0])
        tables, arrays = [], {}
        for name, method, sets in self._runs(session, digits):
            stack = shared.fit(method, self.noise, sets, session.seed, weight)
            errors = self._errors(session, stack, test[0])
            axes = {"seed": range(self.seeds), "level": self.levels}
            tables.append(tidy(errors, axes, measure="error", method=name))
            x = digit_samples(session, stack, self.seeds * self.samples, self.solver_steps)
            distances = [
                metrics.frechet_distance(judged.features(part.clamp(-1, 1)), real)
                for part in x.chunk(self.seeds)
            ]
            axes = {"seed": range(self.seeds)}
            tables.append(tidy(distances, axes, measure="Frechet distance", method=name))
            arrays[name] = x[:SHOWN].float()
            if method == AMBIENT:
                arrays.setdefault("seen", sets[0][:SHOWN])
        floor = metrics.noise_floor(
            lambda a, b: metrics.frechet_distance(judged.features(a), judged.features(b)),
            digits, repeats=self.repeats,
        )  # fmt: skip
        facts = {"classifier": judged.describe(), "floor": floor.mean, "weight": weight}
        return Results(tables, arrays, facts)

    def _runs(self, session: Session, digits: Tensor) -> list[tuple[str, str, list[Tensor]]]:
        """Name, method and training sets of each comparison."""
        sets = [digits] * self.seeds
        seen = noisy_sets(sets, self.noise, session.seed, self.seeds)
        blurred = [
            correlated(x, self.noise, session.generator(610 + r)) for r, x in enumerate(sets)
        ]
        runs = [(m, m, sets if m == CLEAN else seen) for m in METHODS]
        return runs + [(name, method, blurred) for method, name in CORRELATED.items()]

    @torch.no_grad()
    def _errors(self, session: Session, denoiser: Any, test: Tensor) -> Tensor:
        """Root mean square error on clean test digits, (seeds, levels)."""
        x = test.repeat(self.seeds, 1, 1, 1)
        eps = torch.randn(x.shape, generator=session.generator(600))
        columns = []
        for sigma in (self.noise * level for level in self.levels):
            off = (denoiser(x + sigma * eps, sigma) - x).square()
            columns.append(off.view(self.seeds, -1).mean(1).sqrt())
        return torch.stack(columns, 1)


# --- memory --------------------------------------------------------------------------------------


class IdealDenoisers:
    """The denoiser of each seed's own finite set, on samples in equal parts."""

    def __init__(self, sets: Sequence[Tensor]):
        self.parts = [oracles.Empirical(s) for s in sets]

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind x."""
        parts = x.chunk(len(self.parts))
        return torch.cat([o.denoiser(p, sigma) for o, p in zip(self.parts, parts)])


@dataclass(frozen=True)
class Memory(Experiment):
    """Few digits, clean or noisy: which of them a network brings back out of much noise.

    Parameters
    ----------
    digits : int
        Training digits of each seed.
    noise : float
        Standard deviation of the noise in the data, pixels in [-1, 1].
    extreme : tuple of float
        Noise that digits are brought back from.
    seeds : int
    steps, batch, width : int
        Of training, for one evaluation a sample; of the network.
    back_steps : int
        Of Heun's method on the way back.
    samples, solver_steps : int
        Samples of each seed that copies are looked for in, and steps of Heun's method.
    new : int
        Digits of the end of the training split, on which the error at ``noise`` is measured.
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses).
    """

    digits: int = 16
    noise: float = 0.6
    extreme: tuple[float, ...] = (1.5, 3.0)
    seeds: int = 4
    steps: int = 800
    batch: int = 120
    width: int = 128
    back_steps: int = 14
    samples: int = 250
    solver_steps: int = 16
    new: int = 300
    weight: float | None = None

    sizes = {
        "smoke": {
            "seeds": 2, "steps": 3, "batch": 48, "width": 16, "back_steps": 5, "samples": 20,
            "solver_steps": 5, "new": 20,
        }
    }  # fmt: skip
    needs = (Gradients,)
    seconds = 20

    def run(self, session: Session) -> Results:
        """Distances of what comes back, shares found and copied, errors on new digits."""
        weight = chosen(session) if self.weight is None else self.weight
        digits, test = data.images("digits", "train")[0], data.images("digits", "test")[0]
        shared = training_of_digits(digits, self.width, self.steps, self.batch, self.seeds)
        picks = [
            torch.randperm(len(digits), generator=session.generator(700 + r))[: self.digits]
            for r in range(self.seeds)
        ]
        sets = [digits[pick] for pick in picks]
        seen = noisy_sets(sets, self.noise, session.seed, self.seeds)
        nets = {
            CLEAN: shared.fit(CLEAN, 0.0, sets, session.seed),
            CONSISTENCY: shared.fit(CONSISTENCY, self.noise, seen, session.seed, weight),
        }
        outside = [test[self.digits * r : self.digits * (r + 1)] for r in range(self.seeds)]
        tables: list = []
        arrays: dict[str, Tensor] = {}
        ideal = {IDEAL_CLEAN: IdealDenoisers(sets), IDEAL_NOISY: IdealDenoisers(seen)}
        for name, denoiser in {**nets, **ideal}.items():
            tables += self._recalled(session, name, denoiser, sets, outside, arrays)
            tables += self._copies(session, name, denoiser, sets, seen)
        tables += self._on_new_digits(session, nets, digits[-self.new :])
        return Results(tables, arrays, {"weight": weight})

    def _recalled(
        self, session: Session, name: str, denoiser: Any, sets: list, outside: list, arrays: dict
    ) -> list:
        """Noise on training and on held-out digits, and what sampling downwards brings back."""
        tables, axis = [], {"seed": range(self.seeds)}
        for sigma in self.extreme:
            for which, originals in (("train", sets), ("test", outside)):
                x = torch.cat(originals)
                noisy = x + sigma * torch.randn(x.shape, generator=session.generator(710))
                out = samplers.heun(denoiser, noisy, noise.log_linear(self.back_steps, sigma, 0.02))
                off = (out - x).flatten(1).norm(dim=1).view(self.seeds, -1).mean(1)
                where = {"method": name, "sigma": sigma}
                tables.append(tidy(off, axis, measure="distance", images=which, **where))
                if which == "train":
                    found = [
                        (oracles.Empirical(s).nearest(o) == torch.arange(len(s))).float().mean()
                        for s, o in zip(sets, out.chunk(self.seeds))
                    ]
                    tables.append(tidy(torch.stack(found), axis, measure="share found", **where))
                    if sigma == self.extreme[0]:
                        arrays["training"], arrays["noisy"] = x[:SHOWN], noisy[:SHOWN]
                        arrays[name] = out[:SHOWN].float()
        return tables

    def _copies(self, session: Session, name: str, denoiser: Any, sets: list, seen: list) -> list:
        """Share of samples that copy a clean, or a noisy, training digit."""
        number = self.seeds * self.samples
        parts = digit_samples(session, denoiser, number, self.solver_steps).chunk(self.seeds)
        return [
            tidy(
                [metrics.copies(p, s) for p, s in zip(parts, of)], {"seed": range(self.seeds)},
                measure="share of copies", method=name, images=kind,
            )
            for kind, of in (("clean", sets), ("noisy", seen))
        ]  # fmt: skip

    @torch.no_grad()
    def _on_new_digits(self, session: Session, nets: dict[str, Any], new: Tensor) -> list:
        """Root mean square error at the noise of the data on digits outside of the few."""
        x = torch.cat([new] * self.seeds)
        noisy = x + self.noise * torch.randn(x.shape, generator=session.generator(720))
        errors = {
            name: (net(noisy, self.noise) - x).square().view(self.seeds, -1).mean(1).sqrt()
            for name, net in nets.items()
        }
        axis = {"seed": range(self.seeds)}
        return [
            tidy(error, axis, measure="error on new digits", method=name)
            for name, error in errors.items()
        ]
