"""Physics-informed training: the residual of an equation in the loss (Bastek et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Discrete, Generator, SigmaDistribution, corrupt
from companion.noise.distributions import check_distribution
from companion.objectives.denoising import WEIGHTS, check_batch, squared_error

__all__ = ["PhysicsInformed", "PosteriorVariance", "physics_levels"]

FORMS = ("mean", "sample")
DATA_WEIGHTS = WEIGHTS | {
    "min-snr": lambda sigma, sigma_data: (sigma_data / sigma).square().clamp_max(5.0)
}
"""Weights of the denoising loss; "min-snr" is the official code's."""


def physics_levels(steps: int = 100) -> Tensor:
    """Noise levels of the official code: its cosine schedule, (steps,), the largest first.

    The signal power ``cos^2((k / steps + s) / (1 + s) pi / 2)``, ``s = 0.008``, with steps of it
    clipped at 0.999 (Nichol & Dhariwal 2021), as ``sigma = sqrt((1 - a) / a)``.
    """
    steps = checks.whole("steps", steps, at_least=2)
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    power = torch.cos((u + 0.008) / 1.008 * math.pi / 2).square()
    kept = (power[1:] / power[:-1]).clamp_min(0.001).cumprod(0)
    return ((1 - kept) / kept).sqrt().flip(0).to(torch.get_default_dtype())


@dataclass(frozen=True)
class PosteriorVariance:
    """Variance of the ancestral step from a noise level to the next below it (eq-ph-variance).

    ``v = below^2 (1 - below^2 / sigma^2) / (1 + below^2)``, that of DDPM's state, which is
    ``x / sqrt(1 + sigma^2)``. Between levels that of the nearest (in ``ln sigma``) holds; the last
    level, below which there is no noise, has that of the level before, as in the official code.

    Parameters
    ----------
    sigmas : sequence of float, decreasing, two or more, above 0

    Raises
    ------
    TypeError, ValueError
        If they are not such levels.
    """

    sigmas: tuple[float, ...]

    def __post_init__(self):
        sigmas = self.sigmas.tolist() if isinstance(self.sigmas, Tensor) else self.sigmas
        levels = checks.numbers("sigmas", sigmas, above=0)
        if len(levels) < 2 or any(b >= a for a, b in pairwise(levels)):
            raise ValueError(
                f"sigmas: got {checks.shown(levels)}; allowed are two or more decreasing numbers"
            )
        object.__setattr__(self, "sigmas", levels)

    def __call__(self, sigma: Tensor) -> Tensor:
        """Variance at each ``sigma`` (B,), (B,)."""
        checks.tensor("sigma", sigma, "(B,)", at_least=0)
        levels = sigma.new_tensor(self.sigmas)
        below = levels[1:].square()
        v = below * (1 - below / levels[:-1].square()) / (1 + below)
        v = torch.cat([v, v[-1:]]).flip(0)
        rising = levels.flip(0).log()
        nearest = torch.bucketize(sigma.log().contiguous(), (rising[1:] + rising[:-1]) / 2)
        return v[nearest]


def _official() -> tuple[float, ...]:
    return tuple(physics_levels().tolist())


@dataclass(frozen=True)
class PhysicsInformed:
    """Denoising, with the residual of an equation as a second loss (eq-ph-loss).

    ``w(sigma) ||D(x, sigma) - x_0||^2 / d + c mean(R(x*)^2) / (2 v(sigma))``: samples shall satisfy
    ``R(x_0) = 0``, and it is as if that had been observed with the variance ``v``. Source: Bastek,
    Sun & Kochmann, Physics-Informed Diffusion Models, ICLR 2025, and its code.

    Parameters
    ----------
    residual : function, (B, *shape) -> (B, ...)
        Differentiable in torch; 0 where the equation holds. Wants float32 at least.
    weight : float, at least 0
        ``c`` (default 0.1, the official code's for points on a circle).
    form : {"mean", "sample"}
        Where the residual is taken. "mean" (default): at the posterior mean, ``x* = D(x, sigma)``;
        one evaluation, and it biases the denoiser where ``R`` is not linear (eq-ph-jensen).
        "sample": at a sample drawn from ``x`` in two deterministic steps, one to the smallest
        level and ``D`` there; two evaluations.
    sigmas : distribution of sigma, optional
        Default: the 100 levels of ``physics_levels``, all as often.
    variance : function of sigma (B,) -> (B,), optional
        ``v`` (default: ``PosteriorVariance`` of those levels).
    data_weight : {"min-snr", "edm", "epsilon", "data"}
        ``w``: "min-snr" is ``min(sigma_data^2 / sigma^2, 5)``, the official code's (default); the
        others as in ``DenoisingScoreMatching``.
    sigma_data : float, above 0
        Standard deviation of the clean data, for ``w`` (default 1).
    clamp : float, above 0, optional
        Largest ``R^2 / (2 v)``: above it there is no gradient (default: none). The official code
        has 27.63 for points on a circle.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside of what is allowed; when called, if ``residual`` returns something
        else than a floating-point (B, ...).
    """

    residual: Callable[[Tensor], Tensor]
    weight: float = 0.1
    form: str = "mean"
    sigmas: SigmaDistribution = field(default_factory=lambda: Discrete(_official()))
    variance: Callable[[Tensor], Tensor] = field(
        default_factory=lambda: PosteriorVariance(_official())
    )
    data_weight: str = "min-snr"
    sigma_data: float = 1.0
    clamp: float | None = None

    def __post_init__(self):
        checks.function("residual", self.residual)
        checks.number("weight", self.weight, at_least=0)
        checks.choice("form", self.form, FORMS)
        check_distribution("sigmas", self.sigmas)
        checks.function("variance", self.variance)
        checks.choice("data_weight", self.data_weight, DATA_WEIGHTS)
        checks.number("sigma_data", self.sigma_data, above=0)
        if self.clamp is not None:
            checks.number("clamp", self.clamp, above=0)

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample."""
        return 2 if self.form == "sample" and self.weight else 1

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,)."""
        check_batch(batch, generator)
        sigma = self.sigmas.sample(
            len(batch), generator=generator, device=batch.device, dtype=batch.dtype
        )
        noisy = corrupt(batch, sigma, generator=generator)
        denoised = denoise(denoiser, noisy, sigma)
        weight = DATA_WEIGHTS[self.data_weight](sigma, self.sigma_data)
        loss = weight * squared_error(denoised, batch)
        if not self.weight:
            return loss
        if self.form == "sample":
            low = torch.full_like(sigma, self.sigmas.range[0])
            denoised = sample_estimate(denoiser, noisy, sigma, low, denoised)
        residual = self.residual(denoised)
        if not isinstance(residual, Tensor) or residual.shape[:1] != batch.shape[:1]:
            raise ValueError(
                f"residual: got {checks.shown(residual)} for {len(batch)} samples; allowed is a "
                "tensor (B, ...)"
            )
        variance = checks.like("variance", self.variance(sigma), sigma, of="sigma")
        misfit = residual.flatten(1) if residual.ndim > 1 else residual[:, None]
        misfit = misfit.square() / (2 * variance[:, None])
        if self.clamp is not None:
            misfit = misfit.clamp_max(self.clamp)
        return loss + self.weight * misfit.mean(1)


def sample_estimate(
    denoiser: Denoiser, x: Tensor, sigma: Tensor, low: Tensor, denoised: Tensor
) -> Tensor:
    """Deterministic step from ``sigma`` (B,) to ``low`` (B,), then ``D`` there, (B, *shape)."""
    share = (low / sigma).view(-1, *[1] * (x.ndim - 1))
    return denoise(denoiser, torch.lerp(denoised, x, share), low)
