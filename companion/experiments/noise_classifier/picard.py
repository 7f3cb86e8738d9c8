"""Picard iteration of the samplers of this chapter, and its blow-up with an exact denoiser."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "FORMS",
    "SAMPLERS",
    "SIGMA_MAX",
    "SIGMA_MIN",
    "STOCHASTIC",
    "TOLERANCE",
    "ExactPicard",
    "draw",
    "in_sequence",
    "iterate",
    "largest",
    "schedule_of_cost",
]

SIGMA_MAX, SIGMA_MIN = 20.0, 0.02
"""Noise levels that trajectories start and end with, before the last one of zero."""

TOLERANCE = 1e-2
FORMS = {"plain": False, "semilinear": True}
STOCHASTIC = {"DDIM": False, "DDPM": True}
"""Samplers that Picard iteration solves, and whether they add noise."""

SAMPLERS: dict[str, Any] = {
    "DDIM": samplers.ddim,
    "DDPM": samplers.ddpm,
    "Heun": samplers.heun,
    "gradient estimation": samplers.gradient_estimation,
}


def iterate(
    denoiser: Any,
    x: Tensor,
    sigmas: Tensor,
    sampler: str,
    form: str,
    generator: torch.Generator,
    **options: Any,
) -> list[samplers.PicardIteration]:
    """Return all Picard iterations, up to the tolerance.

    Parameters
    ----------
    denoiser, x, sigmas : as of ``samplers.ddim``
    sampler : {"DDIM", "DDPM"}
    form : {"plain", "semilinear"}
    generator : of the noise of DDPM
    **options : further options of ``samplers.picard``
    """
    iterations: list[samplers.PicardIteration] = []
    samplers.picard(
        denoiser, x, sigmas, stochastic=STOCHASTIC[sampler], semilinear=FORMS[form],
        generator=generator, callback=iterations.append, **{"tolerance": TOLERANCE, **options},
    )  # fmt: skip
    return iterations


def in_sequence(
    denoiser: Any, x: Tensor, sigmas: Tensor, sampler: str, generator: torch.Generator
) -> Tensor:
    """Run the sampler that the iteration solves, step by step, with the same noise."""
    if STOCHASTIC[sampler]:
        return samplers.ddpm(denoiser, x, sigmas, generator=generator)
    return samplers.ddim(denoiser, x, sigmas)


def largest(iterations: list[samplers.PicardIteration], sigmas: Tensor) -> list[float]:
    """Size of the largest variance-preserving state over the start's, iteration by iteration."""
    scale = (1 + sigmas**2).rsqrt()
    sizes = [step.x.flatten(2).square().mean((1, 2)).sqrt() * scale for step in iterations]
    return [float(size[1:].max() / size[0]) for size in sizes]


def schedule_of_cost(sampler: str, evaluations: int, sigma_max: float, sigma_min: float) -> Tensor:
    """Return a log-linear schedule that costs a sampler of ``SAMPLERS`` so many evaluations."""
    steps = (evaluations + 1) // 2 if sampler == "Heun" else evaluations
    return noise.log_linear(steps, sigma_max, sigma_min)


def draw(
    sampler: str, denoiser: Any, z: Tensor, schedule: Tensor, generator: torch.Generator
) -> Tensor:
    """Sample from standard normal noise ``z`` with a sampler of ``SAMPLERS``."""
    options = {"generator": generator} if sampler == "DDPM" else {}
    return SAMPLERS[sampler](denoiser, schedule[0] * z, schedule, **options)


def nothing(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Denoiser that says zero everywhere."""
    return torch.zeros_like(x)


@dataclass(frozen=True)
class ExactPicard(Experiment):
    """Picard iteration with the exact denoiser of the spirals: cost, error and blow-up.

    Parameters
    ----------
    steps : int
        Of the sampler. The window is the whole trajectory, or a fifth of it.
    starts : int
        Trajectories.
    tolerance : float
        As of ``samplers.picard``.
    """

    steps: int = 50
    starts: int = 128
    tolerance: float = TOLERANCE

    sizes = {"smoke": {"steps": 10, "starts": 16}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Cost and error of each form and window, and the size of states by iteration."""
        spirals = data.mixture("spirals")
        sigmas = noise.log_linear(self.steps, SIGMA_MAX, SIGMA_MIN)
        start = SIGMA_MAX * torch.randn(self.starts, 2, generator=session.generator(41))
        tables = []

        def note_sizes(iterations: list, sampler: str, form: str) -> None:
            sizes = largest(iterations, sigmas)
            dims = {"iteration": range(1, len(sizes) + 1)}
            tables.append(tidy(sizes, dims, measure="size", sampler=sampler, form=form))

        for sampler in STOCHASTIC:
            target = in_sequence(spirals.denoiser, start, sigmas, sampler, session.generator(40))
            for form in FORMS:
                for window in (self.steps, self.steps // 5):
                    began = time.perf_counter()
                    iterations = iterate(
                        spirals.denoiser, start, sigmas, sampler, form, session.generator(40),
                        window=window, tolerance=self.tolerance,
                    )  # fmt: skip
                    seconds = time.perf_counter() - began
                    last = iterations[-1]
                    measured = {
                        "iterations": last.iteration,
                        "evaluations": last.evaluations,
                        "largest / start": max(largest(iterations, sigmas)),
                        "error": float((last.x[-1] - target).norm(dim=1).mean()),
                        "seconds": seconds,
                    }
                    where = {"sampler": sampler, "form": form, "window": window}
                    tables.append(tidy(list(measured.values()), {"measure": measured}, **where))
                    if window == self.steps:
                        note_sizes(iterations, sampler, form)
            zero = iterate(
                nothing, start, sigmas, sampler, "plain", session.generator(40),
                tolerance=self.tolerance,
            )  # fmt: skip
            note_sizes(zero, sampler, "plain, D = 0")
        return Results(tables)
