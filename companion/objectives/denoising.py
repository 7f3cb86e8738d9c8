"""Denoising score matching, the objective that the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, LogNormal, SigmaDistribution, corrupt
from companion.noise.distributions import check_distribution

__all__ = ["WEIGHTS", "DenoisingScoreMatching", "Objective"]


class Objective(Protocol):
    """What ``training.fit`` minimises: ``objective(denoiser, batch, generator)`` -> (B,)."""

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of ``batch`` (B, *shape), (B,)."""
        ...


def check_batch(batch: Tensor, generator: Generator) -> None:
    """Raise if a batch is no floating-point (B, *shape), or cannot be shared by the generators."""
    checks.batch("batch", batch)
    checks.generator("generator", generator)
    runs = len(generator) if isinstance(generator, Sequence) else 1
    if not runs or len(batch) % runs:
        raise ValueError(
            f"batch: got {len(batch)} samples for {runs} generators; allowed are multiples of "
            "their number"
        )


def squared_error(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean over all but the leading dimension of ``(estimate - target)^2``, (B,)."""
    return (estimate - target).square().flatten(1).mean(1)


WEIGHTS = {
    "edm": lambda sigma, sigma_data: (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2,
    "epsilon": lambda sigma, sigma_data: sigma**-2,
    "data": lambda sigma, sigma_data: sigma**0,
}
"""Weights of the squared error of ``x_0`` by name, as functions of ``sigma`` and ``sigma_data``."""


@dataclass(frozen=True)
class DenoisingScoreMatching:
    """Squared error of the denoiser at random noise levels (eq-dsm).

    ``E[ w(sigma) ||D(x_0 + sigma eps, sigma) - x_0||^2 / d ]``; whatever the weight ``w > 0`` and
    the distribution of ``sigma``, the minimum is the posterior mean at every level. Source: Vincent
    2011; with the weight and the distribution of Karras et al. 2022, table 1.

    Parameters
    ----------
    sigmas : distribution of sigma (default ``LogNormal()``: EDM's, for images in [-1, 1])
    weight : {"edm", "epsilon", "data"}
        "edm": ``(sigma^2 + sigma_data^2) / (sigma sigma_data)^2`` (default), one at the start of
        training at every level; "epsilon": ``1 / sigma^2``, the squared error of the noise, as in
        DDPM; "data": 1.
    sigma_data : float
        Standard deviation of the clean data, for the weight (default 0.5).

    Raises
    ------
    TypeError, ValueError
        If an argument is outside of what is allowed.
    """

    sigmas: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5

    def __post_init__(self):
        check_distribution("sigmas", self.sigmas)
        checks.choice("weight", self.weight, WEIGHTS)
        checks.number("sigma_data", self.sigma_data, above=0)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,)."""
        check_batch(batch, generator)
        sigma = self.sigmas.sample(
            len(batch), generator=generator, device=batch.device, dtype=batch.dtype
        )
        noisy = corrupt(batch, sigma, generator=generator)
        weight = WEIGHTS[self.weight](sigma, self.sigma_data)
        return weight * squared_error(denoise(denoiser, noisy, sigma), batch)
