"""Exposure bias of an exact denoiser on data like the digits: what long steps do by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import EXACT, NONE
from companion.experiments.extra_noise.digits import MOST, digit_sets
from companion.experiments.extra_noise.samples import exposure_table
from companion.experiments.extra_noise.sampling import Chains
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ExactDigits", "gaussian_like"]


def gaussian_like(data: Tensor) -> tuple[Callable[[Tensor, Any], Tensor], Callable]:
    """Return the exact denoiser of the normal distribution with the mean and covariance of data.

    Parameters
    ----------
    data : (n, *shape) tensor

    Returns
    -------
    denoiser : function of x (B, *shape) and one level sigma
        m + C (C + sigma^2)^-1 (x - m).
    sample : function of normal noise (B, *shape), samples of the distribution
    """
    flat, shape = data.flatten(1), data.shape[1:]
    mean = flat.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((flat - mean).T))
    variances = variances.clamp_min(0)

    def stretched(x: Tensor, factors: Tensor) -> Tensor:
        return (mean + x.flatten(1) @ (axes * factors) @ axes.T).view(-1, *shape)

    def denoiser(x: Tensor, sigma: Any) -> Tensor:
        return stretched(x - mean.view(shape), variances / (variances + float(sigma) ** 2))

    return denoiser, lambda z: stretched(z, variances.sqrt())


@dataclass(frozen=True)
class ExactDigits(Experiment):
    """Exposure bias of an exact denoiser: of the normal distribution with the digits' covariance.

    It makes no error, so that what it shows is due to the length of the steps. The exact denoiser
    of the digits themselves would not do: near a digit it answers with that digit, and a step of
    any length is then right. A network is smooth, as is this one.

    Parameters
    ----------
    chains : tuple of int
        Steps of DDPM.
    samples : int
        Of each run.
    watched : int
        Samples of the distribution itself, for each run.
    seeds : int
        As of ``DigitNetworks``, with the mean and covariance of the digits of each.
    """

    chains: tuple[int, ...] = (20, 100, 1000)
    samples: int = 256
    watched: int = 256
    seeds: int = 8

    sizes = {"smoke": {"chains": (5, 10, 20), "samples": 8, "watched": 16, "seeds": 2}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Exposure bias by steps, level and seed."""
        chains, shape = Chains(session, self.seeds), (1, 8, 8)
        known = [gaussian_like(digits) for digits in digit_sets(session, self.seeds)[str(MOST)]]
        noises = chains.noises(self.watched, shape, "Gaussian").chunk(self.seeds)
        clean = torch.stack([sample(z) for (_, sample), z in zip(known, noises)])

        def denoiser(x: Tensor, sigma: Any) -> Tensor:
            parts = x.chunk(self.seeds)
            return torch.cat([exact(part, sigma) for (exact, _), part in zip(known, parts)])

        tables = []
        for steps in self.chains:
            start = chains.start(self.samples, shape)
            _, exposure = chains.watched(denoiser, start, steps, 1, clean)
            where = {"denoiser": EXACT, **NONE.where, "steps": steps}
            tables.append(exposure_table(exposure, 0, **where))
        return Results(tables)
