"""What the learned sampler is compared with: fixed samplers, and those that learn a part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion import samplers
from companion.experiments.gradient_estimation.methods import (
    SHAPES,
    SIGMA_MAX,
    Sampler,
    gradient_estimation,
    schedule,
    variants,
)
from companion.samplers.learning import Asked, Fit
from companion.samplers.multistep import midpoint_weights

__all__ = [
    "FIXED",
    "LevelsOnly",
    "Setting",
    "WeightsOnly",
    "optimised_levels",
    "settings",
    "with_optimised_levels",
]

FIXED = ("ddim", "heun", "gradient_estimation", "dpmpp_2m", "dpmpp_3m", "unipc", "deis")
"""Fixed samplers; each tries all its settings on all schedules."""

GAMMAS = (1.5, 1.75, 2.0)


class Setting(NamedTuple):
    """A sampler on a schedule."""

    method: str
    sampler: Sampler
    sigmas: Tensor

    def __call__(self, denoiser: Any, z: Tensor) -> Tensor:
        """Samples from standard normal noise."""
        return self.sampler(denoiser, self.sigmas[0] * z, self.sigmas)


def settings(evaluations: int, lows: tuple[float, ...]) -> Iterator[Setting]:
    """Every fixed sampler with each of its settings and each schedule."""
    kinds: list[tuple[str, Sampler]] = [
        ("ddim", samplers.ddim),
        ("heun", samplers.heun),
        *(("gradient_estimation", gradient_estimation(gamma)) for gamma in GAMMAS),
        ("dpmpp_2m", samplers.dpmpp_2m),
        ("dpmpp_3m", samplers.dpmpp_3m),
        *(("unipc", unipc) for unipc in variants("unipc", evaluations).values()),
        *(("deis", partial(samplers.deis, order=order)) for order in (2, 3)),
    ]
    for method, sampler in kinds:
        for shape, high, low in product(SHAPES, (SIGMA_MAX, SIGMA_MAX / 2), lows):
            yield Setting(method, sampler, schedule(method, evaluations, shape, high, low))


# --- parts that are learned ----------------------------------------------------------------------


class LevelsOnly(Fit):
    """Learns the levels; the weights are those of DPM-Solver++(2M) on them. As LD3 does."""

    def __init__(self, asked: Asked, steps: int, sigma_max: float):
        super().__init__(asked, steps, 1, sigma_max)

    def sampler(self, values: np.ndarray) -> samplers.LearnedSampler:
        """From the gaps to the levels, and from these to the weights."""
        sigmas = super().sampler(values).sigmas
        weights = [0.0] * self.steps
        for i in range(1, self.steps - 1):
            weights[i] = midpoint_weights([sigmas[i], sigmas[i - 1]], sigmas[i + 1])[0] - 1
        return samplers.LearnedSampler(sigmas, tuple(weights))


class WeightsOnly(Fit):
    """Learns the weights of three answers, on the best fixed schedule. As S4S does."""

    def __init__(self, asked: Asked, steps: int, sigma_max: float):
        super().__init__(asked, steps, 3, sigma_max)
        self.acts_from = self.acts_from[steps - 1 :]
        self.gaps = np.zeros(steps - 1)

    def numbers(self, sampler: samplers.LearnedSampler) -> np.ndarray:
        """Weights alone; the levels are kept beside them."""
        values = super().numbers(sampler)
        self.gaps = values[: self.steps - 1]
        return values[self.steps - 1 :]

    def sampler(self, values: np.ndarray) -> samplers.LearnedSampler:
        """Weights on the levels that were kept."""
        return super().sampler(np.concatenate([self.gaps, values]))


# --- levels without a network --------------------------------------------------------------------


def optimised_levels(steps: int, high: float, low: float) -> Tensor:
    """Levels of Xue et al. 2024 (DM-NonUniform), which no network is asked for.

    The errors of the answers, of which they assume the size ``sigma^2 / sqrt(1 + sigma^2)``, are
    weighed as a third-order exponential integrator weighs the answers; the sum is made small. The
    last level is followed by 0.

    Parameters
    ----------
    steps : int, at least 2
    high, low : float
    """
    from scipy.optimize import minimize

    total = math.log(high / low)

    def levels(values: np.ndarray) -> np.ndarray:
        shares = np.exp(values - values.max())
        return high * np.exp(-total * np.concatenate([[0.0], np.cumsum(shares / shares.sum())]))

    def bound(values: np.ndarray) -> float:
        s = levels(values)
        size, last = s**2 / np.sqrt(1 + s**2), len(s) - 2
        summed, alone = np.zeros(len(s)), 0.0
        for i in range(len(s) - 1):
            order = min(i, last - i, 2) + 1
            nodes = np.log(s[i - order + 1 : i + 1][::-1])
            moments = _moments(s[i], s[i + 1], order)
            weights = np.linalg.solve(np.vander(nodes - nodes[0], increasing=True).T, moments)
            part = (1 / s[i + 1] - 1 / s[i]) * weights * size[i - order + 1 : i + 1][::-1]
            if i < 3:
                alone += float(np.linalg.norm(part))
            else:
                summed[i - order + 1 : i + 1] += part[::-1]
        return alone + float(np.abs(summed).sum())

    found = minimize(bound, np.zeros(steps - 1), method="BFGS", options={"maxiter": 60})
    return torch.tensor([*levels(found.x), 0.0])


def _moments(sigma: float, below: float, order: int) -> list[float]:
    """Means of powers of ``log(s / sigma)`` over 1 / s from 1 / sigma to 1 / below."""
    moments = [1.0]
    width, gap = math.log(below / sigma), 1 / below - 1 / sigma
    for k in range(1, order):
        moments.append(width**k / below / gap + k * moments[-1])
    return moments


def with_optimised_levels(evaluations: int, lows: tuple[float, ...]) -> Iterator[Setting]:
    """UniPC, which its authors combine them with, on optimised levels with several ends."""
    for low in lows:
        sigmas = optimised_levels(evaluations, SIGMA_MAX, low)
        for kind in ("bh1", "bh2"):
            yield Setting("optimised", partial(samplers.unipc, variant=kind), sigmas)
