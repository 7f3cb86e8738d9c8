"""Chains of DDPM in which all conditions of a run share their noise, and their exposure bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import denoisers, noise, samplers

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["TOP", "Chains", "Exposure", "chain"]

TOP = 10.0
"""Largest noise level of all chains."""


def chain(steps: int) -> Tensor:
    """Levels of a chain: those of the paper's cosine schedule."""
    return noise.cosine(steps, TOP, 0.02)


@dataclass
class Exposure:
    """Exposure bias of a chain.

    Attributes
    ----------
    levels : list of float
    ratios : list of (jobs, runs) tensors
        Logarithm of the mean norm of eps_hat along samples over that on true noisy data.
    """

    levels: list[float]
    ratios: list[Tensor]


class Chains:
    """Samples of several jobs, ``runs`` of each, from the same starting noise and fresh noise.

    Samples are (jobs * runs * count, *shape), job by job.

    Parameters
    ----------
    session : Session
    runs : int
        Runs (seeds) of each job.
    """

    def __init__(self, session: Session, runs: int):
        self.session, self.runs = session, runs

    def noises(self, count: int, shape: tuple[int, ...], number: int, jobs: int = 1) -> Tensor:
        """Return normal noise, ``count`` for each run, the same for each job."""
        one = [
            torch.randn(count, *shape, generator=self.session.generator(number + r))
            for r in range(self.runs)
        ]
        return torch.cat(one * jobs)

    def start(self, count: int, shape: tuple[int, ...], jobs: int = 1) -> Tensor:
        """Return starting noise at the level ``TOP``."""
        return TOP * self.noises(count, shape, 80, jobs)

    def generators(self, number: int, jobs: int = 1) -> list[torch.Generator]:
        """Return a generator for each run, alike for each job: paired samples."""
        return [self.session.generator(number + r) for _ in range(jobs) for r in range(self.runs)]

    def each(
        self, measure: Callable[[Tensor], float | Tensor], samples: Tensor, jobs: int = 1
    ) -> Tensor:
        """Return a number for each job and run, (jobs, runs)."""
        parts = samples.view(jobs, self.runs, -1, *samples.shape[1:])
        return torch.tensor([[float(measure(part)) for part in job] for job in parts])

    def ddpm(
        self, denoiser: Any, start: Tensor, steps: int, jobs: int = 1, **options: Any
    ) -> Tensor:
        """Return samples of DDPM; options are those of ``samplers.ddpm``."""
        fresh = self.generators(90, jobs)
        return samplers.ddpm(denoiser, start, chain(steps), generator=fresh, **options)

    def watched(
        self, denoiser: Any, start: Tensor, steps: int, jobs: int, truth: Tensor
    ) -> tuple[Tensor, Exposure]:
        """Return samples of DDPM and their exposure bias against clean data ``truth``."""
        seen, every = Exposure([], []), max(1, steps // 20)

        def watch(step: samplers.Step) -> None:
            if step.number % every:
                return
            clean = truth.repeat(self.runs * jobs, *[1] * (truth.ndim - 1))
            eps = self.noises(len(truth), tuple(truth.shape[1:]), 400 + step.number, jobs)
            true = denoisers.epsilon(denoiser, clean + step.sigma * eps, step.sigma)
            along = (step.x - step.denoised) / step.sigma
            seen.levels.append(float(step.sigma))
            seen.ratios.append((self._norm(along, jobs) / self._norm(true, jobs)).log())

        return self.ddpm(denoiser, start, steps, jobs, callback=watch), seen

    def _norm(self, eps: Tensor, jobs: int) -> Tensor:
        """Mean norm of predicted noise, (jobs, runs)."""
        return eps.flatten(1).norm(dim=1).view(jobs, self.runs, -1).mean(2)
