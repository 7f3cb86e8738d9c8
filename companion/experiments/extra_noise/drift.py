"""The mean of DDPM alone, with exact denoisers: twice the drift, too narrow samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from companion import data, noise, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import NONE, Arm
from companion.experiments.extra_noise.ring import RING
from companion.experiments.extra_noise.robustness import DDIM, DDPM, MEAN
from companion.experiments.extra_noise.sampling import TOP
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["MeanAlone", "ScaledNoise", "gaussian_width"]


def gaussian_width(steps: int, arm: Arm = NONE, data_std: float = 0.5) -> float:
    """Return the width of DDPM's samples of N(0, data_std^2) over data_std, by formula.

    Parameters
    ----------
    steps : int
        Of the cosine schedule.
    arm : Arm
        A kind of B acts on the exact denoiser by its label and scale.
    data_std : float
    """
    sigmas = noise.cosine(steps, TOP, 0.002).double().tolist()
    k2 = 1 + arm.strength**2
    variance = data_std**2 + TOP**2
    for s, below in pairwise(sigmas):
        removed = k2 * s**2 / (data_std**2 + k2 * s**2) / (k2 if arm.target == "eps" else 1)
        kept = (below / s) ** 2
        variance = (1 - (1 - kept) * removed) ** 2 * variance + below**2 * (1 - kept)
    return math.sqrt(variance) / data_std


@dataclass(frozen=True)
class MeanAlone(Experiment):
    """Paths of DDIM, DDPM and the mean of DDPM alone, with exact denoisers.

    Parameters
    ----------
    data_std : float
        Of the Gaussian data.
    steps : int
        Of the chain.
    points : int
        For the spread of Gaussian data.
    """

    data_std: float = 0.5
    steps: int = 200
    points: int = 2000

    sizes = {"smoke": {"steps": 20, "points": 50}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Standard deviation by sampler and level; paths from the same points to two modes."""
        sigmas = noise.log_linear(self.steps, TOP, 0.02)
        ways: dict[str, Callable[..., Any]] = {
            DDIM: samplers.ddim,
            DDPM: partial(samplers.ddpm, generator=session.generator(3)),
            MEAN: partial(samplers.ddpm, noise_scale=0.0),
        }
        begin = torch.linspace(-1.6, 1.6, 8)[:, None] * TOP
        two_modes = data.mixture("two_modes")
        arrays = {}
        for name, way in ways.items():
            some = begin[::3] if name == DDPM else begin
            arrays[name] = samplers.trajectory(way, two_modes.denoiser, some, sigmas)[:-1, :, 0]
        gauss = oracles.GaussianMixture([[0.0]], self.data_std)
        width = math.hypot(self.data_std, TOP)
        start = width * torch.randn(self.points, 1, generator=session.generator(4))
        tables = []
        for name, way in ways.items():
            path = samplers.trajectory(way, gauss.denoiser, start, sigmas)[:-1]
            dims = {"level": sigmas[:-1]}
            tables.append(tidy(path.std((1, 2)), dims, measure="standard deviation", sampler=name))
        return Results(tables, arrays)


@dataclass(frozen=True)
class ScaledNoise(Experiment):
    """Paths onto the ring under DDPM with its fresh noise scaled, beside DDIM; exact denoiser.

    Parameters
    ----------
    scales : tuple of float
        Factors of the fresh noise.
    steps : tuple of int
        Lengths of the chain.
    points : int
    """

    scales: tuple[float, ...] = (0.0, 0.5, 1.0, 1.25)
    steps: tuple[int, ...] = (10, 40)
    points: int = 90

    seconds = 1

    def run(self, session: Session) -> Results:
        """Paths (levels, points, 2) by scale and steps; width of the samples at their end."""
        x = TOP * torch.randn(self.points, 2, generator=session.generator(5))
        arrays, tables = {}, []
        for steps in self.steps:
            sigmas = noise.cosine(steps, TOP, 0.05)
            arrays[f"levels, {steps}"] = sigmas
            calm = samplers.trajectory(samplers.ddim, RING.denoiser, x, sigmas)
            arrays[f"{DDIM}, {steps}"] = calm
            for scale in self.scales:
                path = samplers.trajectory(
                    samplers.ddpm, RING.denoiser, x, sigmas, generator=session.generator(6),
                    noise_scale=scale,
                )  # fmt: skip
                arrays[f"{scale:g}, {steps}"] = path
                where = {"noise_scale": scale, "steps": steps}
                tables.append(tidy([path[-1].std()], {"sampler": [DDPM]}, measure="std", **where))
        return Results(tables, arrays)
