"""Three modes in the plane: data, and a density that can only be evaluated."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from companion.oracles import GaussianMixture

__all__ = ["DISTANCES", "LOG_Z", "log_density", "lost_modes", "modes_error", "target"]

LOG_Z = math.log(2.5)
"""Of the densities, which no method is told."""

DISTANCES = {"near": 0.9, "far": 2.0}
"""Distance of the three modes from the origin."""


def target(distance: float) -> GaussianMixture:
    """Three modes of weights 0.5, 0.3 and 0.2, and standard deviation 0.3."""
    angle = torch.tensor([0.5, 2.6, 4.7], dtype=torch.float64)
    return GaussianMixture(
        distance * torch.stack([angle.cos(), angle.sin()], 1), 0.3, [0.5, 0.3, 0.2]
    )


def log_density(x: Tensor, *, distance: float) -> Tensor:
    """Log of the density times Z, (B, 2) -> (B,)."""
    return target(distance).log_prob(x) + LOG_Z


def lost_modes(x: Tensor, mixture: GaussianMixture) -> int:
    """Number of modes with less than a tenth of their weight in samples."""
    shares = mixture.posterior(x.double(), 1e-3).weights.mean(0)
    return int((shares < mixture.weights / 10).sum())


def modes_error(x: Tensor, mixture: GaussianMixture, weights: Tensor | None = None) -> float:
    """Total variation between the shares of the modes in samples and the true weights."""
    owned = mixture.posterior(x.double(), 1e-3).weights
    shares = owned.mean(0) if weights is None else (weights[:, None] * owned).sum(0)
    return float((shares - mixture.weights).abs().sum() / 2)
