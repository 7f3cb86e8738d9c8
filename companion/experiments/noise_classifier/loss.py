"""The contrastive diffusion loss: its bias, where it has a signal, and what one call saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, denoisers, networks, noise, objectives, oracles
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.ablations import OFFICIAL_DRAWS, AblatedContrast
from companion.experiments.noise_classifier.ratio import LEVELS
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "OFFICIAL_SCAN",
    "OURS",
    "SCANS",
    "CallTime",
    "InParts",
    "ScaleScan",
    "Scaled",
    "Signal",
    "around_digits",
    "best_scale",
    "scan",
]

OURS = "shared draws, ± noise (ours)"
OFFICIAL_SCAN = "independent draws, as the official code"
SCANS: dict[str, dict[str, Any]] = {
    OURS: {},
    "shared draws": {"antithetic": False},
    "independent draws, stratified": {"shared": False, "antithetic": False},
    OFFICIAL_SCAN: OFFICIAL_DRAWS,
}
"""Ways to draw whose bias is measured, each with its options."""


class Scaled:
    """An exact denoiser with its noise estimate scaled by ``factor``.

    It remembers its last answer: the same points are asked again for each scale.
    """

    def __init__(self, exact: Callable[..., Tensor]):
        self.exact, self.factor = exact, 1.0
        self._asked, self._answer = torch.empty(0), torch.empty(0)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x``, wrongly by the factor."""
        if self._asked.shape != x.shape or not torch.equal(self._asked, x):
            self._asked, self._answer = x, self.exact(x, sigma)
        return x - self.factor * (x - self._answer)


class InParts:
    """An exact denoiser, ``size`` points at a time: bounds the memory."""

    def __init__(self, exact: Callable[..., Tensor], size: int = 256):
        self.exact, self.size = exact, size

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean data behind ``x``."""
        parts = zip(x.split(self.size), sigma.split(self.size))
        return torch.cat([self.exact(*part) for part in parts])


def scan(loss: Any, exact: Callable[..., Tensor], x: Tensor, scales: Tensor, draw: Any) -> Tensor:
    """Mean loss of an exact denoiser at each scale ``1 + a`` of its noise estimate.

    Parameters
    ----------
    loss : objective
    exact : denoiser
    x : (n, *shape) clean samples
    scales : (S,) values of ``a``
    draw : callable without arguments, returns the same generator anew for each scale

    Returns
    -------
    (S,) tensor
    """
    denoiser, losses = Scaled(exact), []
    for a in scales.tolist():
        denoiser.factor = 1 + a
        losses.append(loss(denoiser, x, draw()).mean())
    return torch.stack(losses)


def best_scale(scales: Tensor, losses: Tensor) -> Tensor:
    """Where a polynomial of degree four through the losses at all scales is least.

    Parameters
    ----------
    scales : (S,); losses : (S, R), a column for each run

    Returns
    -------
    (R,) tensor
    """
    powers = torch.stack([scales**k for k in range(5)], 1)
    fits = torch.linalg.lstsq(powers, losses).solution
    fine = torch.linspace(float(scales[0]), float(scales[-1]), 601)
    curves = torch.stack([fine**k for k in range(5)], 1) @ fits
    return fine[curves.argmin(0)]


def around_digits(number: int = 150) -> oracles.GaussianMixture:
    """Return a narrow Gaussian (0.1) around each of the first digits, 64 dimensions."""
    return oracles.GaussianMixture(data.images("digits", "train")[0][:number].flatten(1), 0.1)


@dataclass(frozen=True)
class CallTime(Experiment):
    """Time of the loss with its gradient: a loop over samples against one call.

    Parameters
    ----------
    samples, points : int
        Samples of the batch; levels for each ratio.
    rounds : int
        Measurements; the median of their ratios counts.
    """

    samples: int = 64
    points: int = 16
    rounds: int = 7

    sizes = {"smoke": {"samples": 8, "rounds": 2}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """How many times faster one call is."""
        net = denoisers.Preconditioned(networks.seeded(lambda: networks.MLP(2), 0), 1.0)
        batch = data.mixture("ring").sample(self.samples, session.generator(9))
        loss = AblatedContrast(points=self.points, both=False, antithetic=False)

        def seconds(size: int) -> float:
            began = time.perf_counter()
            for part in batch.split(size):
                loss(net, part, session.generator(10)).sum().backward()
            return time.perf_counter() - began

        ratios = [seconds(1) / seconds(self.samples) for _ in range(self.rounds)]
        middle = statistics.median_high(ratios)
        return Results(tidy([middle], {"samples": [self.samples]}, measure="loop / one call"))


@dataclass(frozen=True)
class ScaleScan(Experiment):
    """Bias of the estimated loss: its least scale error of an exact denoiser (eq-nc-jensen).

    Parameters
    ----------
    points : tuple of int
        Levels for each ratio.
    scales : int
        Scale errors, evenly from -0.3 to 0.3.
    evaluations : int
        For each way to draw, number of points and seed: fewer samples where one costs more.
    closely : int
        As many for the setting that is trained with: shared draws, 16 points.
    seeds : int
    """

    points: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    scales: int = 13
    evaluations: int = 40_000
    closely: int = 200_000
    seeds: int = 8

    sizes = {
        "smoke": {
            "points": (4, 16), "scales": 5, "evaluations": 2000, "closely": 2000, "seeds": 2,
        }
    }  # fmt: skip
    seconds = 20

    def run(self, session: Session) -> Results:
        """Loss at each scale error, and the scale error of the least loss."""
        ring, scales = data.mixture("ring"), torch.linspace(-0.3, 0.3, self.scales)
        losses = torch.empty(len(SCANS), len(self.points), self.scales, self.seeds)
        for i, (name, options) in enumerate(SCANS.items()):
            for j, points in enumerate(self.points):
                loss = AblatedContrast(points=points, **{"levels": LEVELS, **options})
                used = self.closely if name == OURS and points == 16 else self.evaluations
                for r in range(self.seeds):
                    number = 50 + 2 * r
                    x = ring.sample(max(1, used // loss.evaluations), session.generator(number))
                    losses[i, j, :, r] = scan(
                        loss, ring.denoiser, x, scales, lambda n=number: session.generator(n + 1)
                    )
        best = torch.stack([torch.stack([best_scale(scales, v) for v in row]) for row in losses])
        dims = {"draws": SCANS, "points": self.points}
        seeds = {"seed": range(self.seeds)}
        return Results(
            [
                tidy(losses, {**dims, "scale": scales, **seeds}, measure="loss"),
                tidy(best, {**dims, **seeds}, measure="best scale"),
            ]
        )


@dataclass(frozen=True)
class Signal(Experiment):
    """Curvature of the loss in a scale error of an exact denoiser, by contrast and dimension.

    Parameters
    ----------
    contrasts : int
        Values of ``t``, evenly in its logarithm from 0.00063 to 10, units of the data.
    samples, digits : int
        Samples of the distributions in one and two dimensions, and in 64.
    centres : int
        Digits that have a narrow Gaussian around them.
    """

    contrasts: int = 15
    samples: int = 400
    digits: int = 48
    centres: int = 150

    sizes = {"smoke": {"contrasts": 5, "samples": 4, "digits": 4, "centres": 20}}
    seconds = 15

    def run(self, session: Session) -> Results:
        """Second derivative of the loss at no scale error, at least 0."""
        contrasts = torch.logspace(-3.2, 1, self.contrasts)
        measured = {
            "two modes, 1 dimension": (data.mixture("two_modes"), 1.0, self.samples),
            "ring, 2 dimensions": (data.mixture("ring"), 1.0, self.samples),
            "around digits, 64 dimensions": (around_digits(self.centres), 0.75, self.digits),
        }
        curvature = torch.empty(len(measured), self.contrasts)
        for i, (mixture, data_std, samples) in enumerate(measured.values()):
            denoiser = Scaled(InParts(mixture.denoiser))
            x = mixture.sample(samples, session.generator(30))
            for j, t in enumerate(contrasts.tolist()):
                loss = objectives.ContrastiveDiffusion(
                    contrast=noise.Discrete((t,)), points=16, sigma_data=data_std, levels=LEVELS
                )
                values = []
                for a in (-0.1, 0.0, 0.1):
                    denoiser.factor = 1 + a
                    values.append(float(loss(denoiser, x, session.generator(31)).mean()))
                curvature[i, j] = max(0.0, values[0] - 2 * values[1] + values[2]) / 0.01
        return Results(tidy(curvature, {"data": measured, "t": contrasts}, measure="curvature"))
