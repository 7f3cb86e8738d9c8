"""Four ways to make a network into a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from companion import denoisers, networks
from companion.noise import LogNormal, LogUniform, expand
from companion.objectives.denoising import WEIGHTS, DenoisingScoreMatching

__all__ = [
    "LOSSES",
    "PARAMETRISATIONS",
    "RAW",
    "PinnedDrift",
    "SmoothDrift",
    "SmoothScore",
    "levels",
    "make",
    "parameters",
]

LOSSES = {
    "even": DenoisingScoreMatching(LogNormal(-0.8, 1.3), "edm", 1.0),
    "Girsanov": DenoisingScoreMatching(LogUniform(0.05, 20.0), "epsilon", 1.0),
}
"""Law and weight of the levels: as EDM, one at all levels; or the bound on the KL divergence."""


class _Raw(nn.Module):
    """A network without preconditioning, told the noise level as all others are."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def ask(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Ask the network: the level enters as ln(sigma) / 4."""
        level = sigma if isinstance(sigma, Tensor) else x.new_tensor(sigma)
        return self.network(x, level.log() / 4)


class PinnedDrift(_Raw):
    """The network is the Föllmer drift: ``u(X, t) = F(X, level)`` at ``X = t x``.

    As a denoiser ``D = X + (1 - t) F(X, level)``, with ``t = 1 / (1 + sigma^2)`` (eq-fo-raw).
    """

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        t = 1 / (1 + expand(sigma, x) ** 2)
        return t * x + (1 - t) * self.ask(t * x, sigma)


class SmoothDrift(_Raw):
    """The network is the drift of the Ornstein-Uhlenbeck process that Föllmer's is of the pinned.

    That is the score against that of N(0, I), ``F(z, level) = grad log (p / N)(z)`` at the state
    ``z = x / sqrt(1 + sigma^2)``. As a denoiser
    ``D = (x / sqrt(1 + sigma^2) + sigma^2 F(z, level)) / sqrt(1 + sigma^2)`` (eq-fo-raw).
    """

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        s = expand(sigma, x)
        scale = (1 + s**2) ** 0.5
        return (x / scale + s**2 * self.ask(x / scale, sigma)) / scale


class SmoothScore(_Raw):
    """The network is the score of the variance-preserving state ``z = x / sqrt(1 + sigma^2)``.

    As a denoiser ``D = x + sigma^2 F(z, level) / sqrt(1 + sigma^2)`` (eq-fo-raw).
    """

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        s = expand(sigma, x)
        scale = (1 + s**2) ** 0.5
        return x + s**2 / scale * self.ask(x / scale, sigma)


RAW = {"pinned drift": PinnedDrift, "OU drift": SmoothDrift, "OU score": SmoothScore}
"""Networks that give a drift or a score as it is (OU: Ornstein-Uhlenbeck)."""

PARAMETRISATIONS = (*RAW, "preconditioned")
"""All ways in which a network may give a denoiser."""


def make(name: str, width: int, seed: int, depth: int = 2) -> nn.Module:
    """Make a denoiser for points in the plane by one of ``PARAMETRISATIONS``."""
    network = networks.seeded(lambda: networks.MLP(2, width=width, depth=depth), seed)
    return RAW[name](network) if name in RAW else denoisers.Preconditioned(network, 1.0)


def parameters(width: int, depth: int = 2) -> int:
    """Number of parameters of a network."""
    return sum(p.numel() for p in networks.MLP(2, width=width, depth=depth).parameters())


def levels(loss: str, count: int) -> tuple[Tensor, Tensor]:
    """Rising levels at equal steps of probability of the law of a loss, and their weights."""
    u = (torch.arange(count) + 0.5) / count
    objective = LOSSES[loss]
    law = objective.sigmas
    if isinstance(law, LogNormal):
        sigma = torch.exp(law.mean + law.std * torch.special.ndtri(u))
    else:
        sigma = law.quantile(1 - u)  # type: ignore[attr-defined]
    return sigma, WEIGHTS[objective.weight](sigma, objective.sigma_data)
