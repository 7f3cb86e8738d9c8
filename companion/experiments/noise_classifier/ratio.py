"""The likelihood ratio of an exact denoiser against the exact one: how well it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from companion import data, metrics, noise
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.ablations import DRAWS, AblatedContrast
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "LEVELS",
    "RANGE",
    "Accuracy",
    "Conventions",
    "SecretClassifier",
    "auc",
    "cross_entropy",
    "labelled",
    "reliability",
]

RANGE: dict[str, Any] = {"sigma_min": 0.01, "sigma_max": 20.0}
"""Noise levels of the integrals."""

LEVELS = noise.LogUniform(**RANGE)


def labelled(
    session: Session, mixture: Any, t: float, n: int, number: int
) -> tuple[Tensor, Tensor]:
    """Draw n clean points, then n with noise ``t``.

    Parameters
    ----------
    mixture : GaussianMixture
        Distribution of the clean points.
    number : int
        Of the session's generator for the points; the next one draws the noise.

    Returns
    -------
    Points (2n, dim) and their exact log-likelihood ratio (2n,), float64.
    """
    x = mixture.sample(2 * n, session.generator(number))
    x[n:] += t * torch.randn(n, mixture.dim, generator=session.generator(number + 1))
    return x, mixture.log_prob(x.double()) - mixture.log_prob(x.double(), t)


def auc(ratio: Tensor, clean: Tensor) -> float:
    """How often a clean point is ranked above a noised one.

    Parameters
    ----------
    ratio, clean : (n,) log-likelihood ratios; (n,) bool
    """
    gaps = ratio[clean][:, None] - ratio[~clean][None]
    return float(((gaps > 0).double() + 0.5 * (gaps == 0)).mean())


def cross_entropy(ratio: Tensor) -> float:
    """Loss of a classifier by its ratios, in nats: the first half is clean, the second noised."""
    half = len(ratio) // 2
    return float(softplus(-ratio[:half]).mean() + softplus(ratio[half:]).mean())


def reliability(ratio: Tensor, clean: Tensor) -> Tensor:
    """Predicted and true shares of clean points, and counts, in up to ten bins: (3, bins)."""
    predicted = torch.sigmoid(ratio)
    place = (predicted * 10).long().clamp(max=9)
    bins = [place == k for k in range(10) if (place == k).sum() > 9]
    columns = [(predicted[b].mean(), clean[b].double().mean(), b.sum()) for b in bins]
    return torch.tensor([[float(v) for v in column] for column in columns]).T


@dataclass(frozen=True)
class Accuracy(Experiment):
    """Error of the log-likelihood ratio of the ring's exact denoiser, by levels and by draws.

    Parameters
    ----------
    noise : tuple of float
        Noise of the noised points, ``t``, units of the data.
    points : tuple of int
        Noise levels of the integral; four evaluations each.
    probes : int
        Clean points, and as many noised ones.
    evaluations : int
        For each probe, where ways to draw are compared.
    """

    noise: tuple[float, ...] = (0.1, 0.3, 1.0)
    points: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    probes: int = 100
    evaluations: int = 512

    sizes = {"smoke": {"points": (8, 32), "probes": 20}}
    seconds = 8

    def run(self, session: Session) -> Results:
        """Median errors in nats, those that the metric expects, and those of each way to draw."""
        ring = data.mixture("ring")
        errors = torch.empty(2, len(self.noise), len(self.points))
        draws = torch.empty(len(DRAWS), len(self.noise))
        for i, t in enumerate(self.noise):
            y, exact = labelled(session, ring, t, self.probes, 1)
            for j, points in enumerate(self.points):
                estimate = metrics.log_likelihood_ratio(
                    ring.denoiser, y, t, points=points, generator=session.generator(3), **RANGE
                )
                errors[0, i, j] = (estimate.value - exact).abs().median()
                errors[1, i, j] = estimate.error.median()
            for j, options in enumerate(DRAWS.values()):
                signs = 2 if options.get("antithetic", True) else 1
                loss = AblatedContrast(
                    points=self.evaluations // (2 * signs), **{"levels": LEVELS, **options}
                )
                ratio = loss.ratio(ring.denoiser, y, torch.full((len(y),), t), session.generator(4))
                draws[j, i] = (ratio - exact).abs().median()
        dims = {"t": self.noise, "points": self.points}
        return Results(
            [
                tidy(errors[0], dims, measure="error"),
                tidy(errors[1], dims, measure="expected error"),
                tidy(draws, {"draws": DRAWS, "t": self.noise}, measure="error by draws"),
            ]
        )


@dataclass(frozen=True)
class SecretClassifier(Experiment):
    """The ring's exact denoiser as a classifier of clean against noised points.

    Parameters
    ----------
    t : float
        Noise of the noised points, units of the data.
    probes : int
        Clean points, and as many noised ones.
    points : int
        Noise levels of the integral.
    """

    t: float = 0.3
    probes: int = 1000
    points: int = 128

    sizes = {"smoke": {"probes": 100, "points": 8}}
    seconds = 5

    def run(self, session: Session) -> Results:
        """Area under the curve, calibration error, and the ratios point by point."""
        ring = data.mixture("ring")
        y, exact = labelled(session, ring, self.t, self.probes, 5)
        clean = torch.arange(len(y)) < self.probes
        ratio = metrics.log_likelihood_ratio(
            ring.denoiser, y, self.t, points=self.points, generator=session.generator(6), **RANGE
        ).value
        predicted, true, count = reliability(ratio, clean)
        off = ((predicted - true).abs() * count).sum() / count.sum()
        areas = [auc(ratio, clean), auc(exact, clean)]
        return Results(
            [
                tidy(areas, {"classifier": ["denoiser", "Bayes"]}, measure="area"),
                tidy([off], {"classifier": ["denoiser"]}, measure="calibration error"),
            ],
            {"exact": exact, "estimated": ratio, "clean": clean},
        )


@dataclass(frozen=True)
class Conventions(Experiment):
    """The ratio in this book's notation and in the paper's variance-preserving one (eq-nc-vp).

    Parameters
    ----------
    t : float
        Noise of the noised points, units of the data.
    probes : int
        Clean points, and as many noised ones.
    points : int
        Noise levels of the integral.
    """

    t: float = 0.3
    probes: int = 100
    points: int = 1024

    sizes = {"smoke": {"probes": 20, "points": 32}}
    seconds = 8

    def run(self, session: Session) -> Results:
        """Median error of the ratio, and the loss of the Bayes classifier, in nats."""
        ring, half = data.mixture("ring"), self.probes
        y, exact = labelled(session, ring, self.t, half, 7)
        shrink = (1 + self.t**2) ** -0.5
        z = torch.cat([y[:half], shrink * y[half:]])
        log_shrink = torch.tensor(shrink, dtype=torch.float64).log()
        noised = ring.log_prob(z.double() / shrink, self.t) - ring.dim * log_shrink
        exact_z = ring.log_prob(z.double()) - noised
        errors = []
        for probes, truth, preserving in ((y, exact, False), (z, exact_z, True)):
            loss = AblatedContrast(points=self.points, levels=LEVELS, preserving=preserving)
            t = torch.full((len(y),), self.t)
            ratio = loss.ratio(ring.denoiser, probes, t, session.generator(8))
            errors.append((ratio - truth).abs().median())
        names = {"convention": ["ours", "variance preserving"]}
        least = [cross_entropy(exact), cross_entropy(exact_z)]
        return Results(
            [tidy(errors, names, measure="error"), tidy(least, names, measure="least loss")]
        )
