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

__all__ = ["NUMBERS", "TOP", "Chains", "Exposure", "chain"]

TOP = 10.0
"""Largest noise level of all chains."""
WATCHED = 20
"""Levels at which the exposure bias is measured: those of a chain of so many steps."""
NUMBERS = {
    name: 400 + 20 * i
    for i, name in enumerate(
        (
            "start",
            "fresh",
            "push",
            "after push",
            "walk",
            "far",
            "loss",
            "exposure",
            "gradient",
            "Gaussian",
        )
    )
}
"""First number of the generators of each use; 20 for each, so that no two runs share noise."""


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

    def noises(self, count: int, shape: tuple[int, ...], use: str, jobs: int = 1) -> Tensor:
        """Return normal noise of a use, ``count`` for each run, the same for each job."""
        one = [torch.randn(count, *shape, generator=g) for g in self.generators(use)]
        return torch.cat(one * jobs)

    def start(self, count: int, shape: tuple[int, ...], jobs: int = 1) -> Tensor:
        """Return starting noise at the level ``TOP``."""
        return TOP * self.noises(count, shape, "start", jobs)

    def generators(self, use: str, jobs: int = 1) -> list[torch.Generator]:
        """Return a generator for each run, alike for each job: paired samples.

        Parameters
        ----------
        use : one of ``NUMBERS``
        jobs : int
        """
        first = NUMBERS[use]
        return [self.session.generator(first + r) for _ in range(jobs) for r in range(self.runs)]

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
        fresh = self.generators("fresh", jobs)
        return samplers.ddpm(denoiser, start, chain(steps), generator=fresh, **options)

    def watched(
        self, denoiser: Any, start: Tensor, steps: int, jobs: int, truth: Tensor
    ) -> tuple[Tensor, Exposure]:
        """Return samples of DDPM and their exposure bias.

        It is measured at the same levels for all chains: at the steps that are nearest to those of
        a chain of ``WATCHED`` steps.

        Parameters
        ----------
        denoiser, start, steps, jobs : as of ``ddpm``
        truth : (runs, n, *shape) tensor
            Clean data of each run, such as those that its network was trained on.
        """
        seen, shape = Exposure([], []), tuple(truth.shape[2:])
        clean = truth.flatten(0, 1).repeat(jobs, *[1] * len(shape))
        aside = self.generators("exposure")
        gaps = chain(steps)[:-1, None].log() - chain(WATCHED)[:-1].log()
        at = set(gaps.abs().argmin(0).tolist())

        def watch(step: samplers.Step) -> None:
            if step.number not in at:
                return
            eps = [torch.randn(truth.shape[1], *shape, generator=g) for g in aside] * jobs
            noisy = clean + step.sigma * torch.cat(eps)
            true = denoisers.epsilon(denoiser, noisy, step.sigma)
            along = (step.x - step.denoised) / step.sigma
            seen.levels.append(float(step.sigma))
            seen.ratios.append((self._norm(along, jobs) / self._norm(true, jobs)).log())

        return self.ddpm(denoiser, start, steps, jobs, callback=watch), seen

    def _norm(self, eps: Tensor, jobs: int) -> Tensor:
        """Mean norm of predicted noise, (jobs, runs)."""
        return eps.flatten(1).norm(dim=1).view(jobs, self.runs, -1).mean(2)
