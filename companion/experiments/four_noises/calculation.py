"""Widths of samples of Gaussian data, exactly: what a sampler and an objective must do to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, objectives, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "GAMMA",
    "SIGMA_MAX",
    "GaussianWidths",
    "balance",
    "gaussian",
    "perturbed",
    "width_after",
]

SIGMA_MAX = 10.0
"""Largest noise level of all samplers: every level that is visited was trained at."""
GAMMA = 0.1
"""Extra noise of input perturbation."""
DENOISERS = ("exact", "perturbed")


def gaussian(c: Tensor | float) -> Callable[..., Tensor]:
    """Exact denoiser of independent Gaussians of width c."""
    return lambda x, sigma: x * (c**2 / (c**2 + noise.expand(sigma, x) ** 2))


def perturbed(denoiser: Callable[..., Tensor], gamma: float = GAMMA) -> Any:
    """What input perturbation makes of an exact denoiser (chapter 1)."""
    return objectives.relabelled(denoiser, gamma, "eps")


def width_after(
    sampler: str, denoiser: Callable[..., Tensor], c: Tensor, sigmas: Tensor, **options: Any
) -> Tensor:
    """Log of the width of the samples over c, exactly, for any linear denoiser.

    Parameters
    ----------
    sampler : name of a function of ``samplers``
    denoiser : linear in each direction, such as ``gaussian(c)``
    c : (D,) float64, widths of the data
    sigmas : (N,) float64, noise levels from the largest down
    **options : of the sampler

    Returns
    -------
    (D,) tensor
    """
    start = (c**2 + sigmas[0] ** 2).sqrt()
    if sampler != "ddpm":
        x = getattr(samplers, sampler)(denoiser, start[None], sigmas, **options)[0]
        return (x.abs() / c).log()
    variance = start**2
    for high, low in pairwise(sigmas):
        r = (low / high) ** 2
        keep = r + (1 - r) * denoiser(torch.ones_like(c)[None], high)[0]
        variance = keep**2 * variance + low**2 * (1 - r)
    return 0.5 * (variance / c**2).log()


def balance(c: float, low: float, steps: int, sigma_max: float = SIGMA_MAX) -> float:
    """Return the gamma of eq-fn-balance for DDIM; the schedule has one more step, to 0."""
    h = math.log(sigma_max / low) / (steps - 1)
    return math.sqrt(h / 4 / (math.log(sigma_max / c) - 0.5))


@dataclass(frozen=True)
class GaussianWidths(Experiment):
    """Log width of samples of a Gaussian against steps, and against extra noise in training.

    Parameters
    ----------
    width : float
        Standard deviation of the data.
    low : float
        Last noise level before 0.
    gamma : float
        Extra noise of input perturbation, where steps vary.
    steps : tuple of int
        Of DDIM, DDPM and gradient estimation.
    balanced : tuple of int
        Steps of DDIM, where the extra noise varies.
    largest : float
        Largest extra noise.
    gammas : int
        Its values, from 0 on.
    """

    width: float = 0.75
    low: float = 0.02
    gamma: float = GAMMA
    steps: tuple[int, ...] = (5, 7, 10, 14, 20, 30, 50, 100)
    balanced: tuple[int, ...] = (5, 10, 20, 50)
    largest: float = 0.4
    gammas: int = 81

    sizes = {"smoke": {"steps": (5, 10), "balanced": (5,), "gammas": 5}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Log widths by sampler, denoiser and steps; by steps and gamma; those of eq-fn-balance."""
        c = torch.tensor([self.width], dtype=torch.float64)

        def width(sampler: str, steps: int, gamma: float) -> float:
            sigmas = noise.log_linear(steps, SIGMA_MAX, self.low).double()
            denoiser = perturbed(gaussian(c), gamma) if gamma else gaussian(c)
            return width_after(sampler, denoiser, c, sigmas).item()

        names = ("ddim", "ddpm", "gradient_estimation")
        by_steps = [
            [[width(name, n, gamma) for n in self.steps] for gamma in (0.0, self.gamma)]
            for name in names
        ]
        grid = torch.linspace(0, self.largest, self.gammas).tolist()
        by_gamma = [[width("ddim", n, gamma) for gamma in grid] for n in self.balanced]
        tables = [
            tidy(
                by_steps, {"sampler": names, "denoiser": DENOISERS, "steps": self.steps},
                measure="log width",
            ),
            tidy(by_gamma, {"steps": self.balanced, "gamma": grid}, measure="log width by gamma"),
        ]  # fmt: skip
        for n in self.balanced:
            best = balance(self.width, self.low, n)
            where = {"steps": [n], "gamma": [best]}
            tables.append(tidy([[width("ddim", n, best)]], where, measure="at the balance"))
        return Results(tables)
