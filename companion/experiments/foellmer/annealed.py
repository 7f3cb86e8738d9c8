"""The rival without any training: particles that are annealed, moved and resampled."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from companion.samplers.foellmer import LogDensity, log_normal

__all__ = ["Annealed", "annealed"]


class Annealed(NamedTuple):
    """What the particles say at the end."""

    x: Tensor
    """(n, d), with equal weights."""
    log_z: float
    """Estimate of ln Z."""
    evaluations: int
    """Of the density."""


def annealed(
    log_density: LogDensity, particles: int, stages: int, generator: torch.Generator
) -> Annealed:
    """Sequential Monte Carlo from N(0, I) to a density, by tempering (eq-fo-annealed).

    The densities between are ``N(0, I)^(1 - b) gamma^b`` for ``b`` from 0 to 1 in equal steps. At
    each the particles are weighted, resampled where less than half of them count, and moved by one
    step of Metropolis, alternately of the usual size for their spread and a quarter of it.
    Source: Del Moral, Doucet & Jasra 2006.

    Parameters
    ----------
    log_density : function, (B, d) -> (B,)
    particles, stages : int
    generator : torch.Generator
    """
    x = torch.randn(particles, 2, generator=generator, dtype=torch.float64)
    value, base = log_density(x), log_normal(x)
    logs, log_z = torch.zeros(particles, dtype=x.dtype), 0.0
    for stage in range(1, stages + 1):
        step = 1 / stages
        before = logs.logsumexp(0)
        logs = logs + step * (value - base)
        log_z += float(logs.logsumexp(0) - before)
        weights = logs.softmax(0)
        if 1 / weights.square().sum() < particles / 2 or stage == stages:
            chosen = _systematic(weights, generator)
            x, value, base = x[chosen], value[chosen], base[chosen]
            logs = torch.zeros_like(logs)
        size = 2.38 / math.sqrt(2) * x.std(0) * (1.0 if stage % 2 else 0.25)
        proposed = x + size * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        new_value, new_base = log_density(proposed), log_normal(proposed)
        b = stage * step
        gain = (1 - b) * (new_base - base) + b * (new_value - value)
        uniform = torch.rand(particles, generator=generator, dtype=x.dtype)
        taken = uniform.log() < gain
        x = torch.where(taken[:, None], proposed, x)
        value, base = torch.where(taken, new_value, value), torch.where(taken, new_base, base)
    return Annealed(x, log_z, particles * (stages + 1))


def _systematic(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw indices with one random number: each its share of times, rounded up or down."""
    n = len(weights)
    places = (torch.arange(n) + torch.rand(1, generator=generator)) / n
    return torch.searchsorted(weights.cumsum(0), places.to(weights)).clamp_max(n - 1)
