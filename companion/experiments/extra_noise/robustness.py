"""Imperfect data and imperfect inference: outliers, pushes in mid-sampling, far-away points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import EXTRA, NONE, ONE_LEVEL, SMALL
from companion.experiments.extra_noise.ring import (
    OUTLIER_ARMS,
    RING,
    RingNetworks,
    ring_network,
    ring_networks,
    ring_truth,
)
from companion.experiments.extra_noise.sampling import Chains, chain
from companion.experiments.extra_noise.training import Job, Networks
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DDIM", "DDPM", "MEAN", "FarErrors", "Outliers", "Pushes"]

DDPM, DDIM, MEAN = "DDPM", "DDIM", "mean alone"


def share_astray(x: Tensor) -> float:
    """Share of samples outside of all modes; none counts as half a sample."""
    return max(metrics.modes_covered(x, RING).outside, 0.5 / len(x))


@dataclass(frozen=True)
class Outliers(Experiment):
    """Share of samples outside of all modes, after training on a ring with outliers.

    Parameters
    ----------
    steps : int
        Of the chain.
    samples : int
        Of each run.
    """

    steps: int = 100
    samples: int = 256

    sizes = {"smoke": {"steps": 10, "samples": 32}}
    needs = (RingNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Share of samples astray by training set, arm and seed."""
        jobs: list[Job] = [(arm, "outliers") for arm in (NONE, *OUTLIER_ARMS)]
        jobs.append((NONE, "filtered"))
        networks = Networks.of(session.run(RingNetworks), ring_network(0), jobs)
        chains = Chains(session, networks.runs)
        start = chains.start(self.samples, (2,), len(jobs))
        x = chains.ddpm(networks.pick(*jobs), start, self.steps, len(jobs))
        shares = chains.each(share_astray, x, len(jobs))
        dims = {"seed": range(chains.runs)}
        return Results(
            [
                tidy(share, dims, measure="samples astray", training=name, **arm.where)
                for (arm, name), share in zip(jobs, shares)
            ]
        )


@dataclass(frozen=True)
class Pushes(Experiment):
    """How much of a push in mid-sampling is left at the end, by arm and by sampler.

    Parameters
    ----------
    size : float
        Length of the push, units of the data.
    levels : tuple of float
        Noise levels at which it is given.
    steps : int
        Of the chain.
    samples : int
        Of each run.
    """

    size: float = 0.5
    levels: tuple[float, ...] = (3.0, 1.0, 0.3)
    steps: int = 100
    samples: int = 64

    sizes = {"smoke": {"steps": 10, "samples": 8}}
    needs = (RingNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Share of the push that is left by sampler, arm, level and seed."""
        arms = (NONE, *EXTRA)
        networks = ring_networks(session, arms)
        chains = Chains(session, networks.runs)
        stack = networks.pick(*((arm, "clean") for arm in arms))
        plain = networks.pick((NONE, "clean"))
        tables = []
        for level in self.levels:
            dims = {"level": [level], "seed": range(chains.runs)}
            for arm, left in zip(arms, self._left(chains, stack, len(arms), level, 1.0)):
                tables.append(tidy(left[None], dims, measure="left", sampler=DDPM, **arm.where))
            for sampler, scale in ((MEAN, 0.0), (DDIM, None)):
                left = self._left(chains, plain, 1, level, scale)
                tables.append(tidy(left, dims, measure="left", sampler=sampler, **NONE.where))
        return Results(tables)

    def _left(
        self, chains: Chains, denoiser: Any, jobs: int, level: float, scale: float | None
    ) -> Tensor:
        """Share left of a push, (jobs, runs); ``scale`` is that of the noise, None is DDIM."""
        sigmas = chain(self.steps)
        i = int((sigmas - level).abs().argmin())

        def go(x: Tensor, part: Tensor, use: str) -> Tensor:
            if scale is None:
                return samplers.ddim(denoiser, x, part)
            fresh = chains.generators(use, jobs)
            return samplers.ddpm(denoiser, x, part, generator=fresh, noise_scale=scale)

        x = go(chains.start(self.samples, (2,), jobs), sigmas[: i + 1], "fresh")
        push = torch.nn.functional.normalize(chains.noises(self.samples, (2,), "push", jobs), dim=1)
        after = sigmas[i:]
        gap = go(x + self.size * push, after, "after push") - go(x, after, "after push")
        return gap.norm(dim=1).view(jobs, chains.runs, -1).mean(2) / self.size


@dataclass(frozen=True)
class FarErrors(Experiment):
    """Error far from the data: a network of many levels, and one of a small level alone.

    Parameters
    ----------
    nearest, farthest : float
        Noise levels at which points lie, units of the data.
    levels : int
        How many, spread evenly in the logarithm.
    points : int
        For each run.
    """

    nearest: float = 10**-1.3
    farthest: float = 10**0.8
    levels: int = 15
    points: int = 512

    sizes = {"smoke": {"levels": 6, "points": 64}}
    needs = (RingNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Root mean square error over the length of the exact move, by arm, level and seed."""
        networks = ring_networks(session, (NONE, ONE_LEVEL))
        chains, tables = Chains(session, networks.runs), []
        ends = math.log10(self.nearest), math.log10(self.farthest)
        levels = torch.logspace(*ends, self.levels)
        clean = ring_truth(session, 4000)[: self.points].repeat(networks.runs, 1)
        for level in levels.tolist():
            x = clean + level * chains.noises(self.points, (2,), "far")[: len(clean)]
            for arm, told in ((NONE, level), (ONE_LEVEL, SMALL)):
                exact = RING.denoiser(x, told)
                answer = networks.pick((arm, "clean"))(x, told)
                gap, move = (
                    part.square().sum(1).view(networks.runs, -1).mean(1)
                    for part in (answer - exact, exact - x)
                )
                dims = {"level": [level], "seed": range(networks.runs)}
                tables.append(
                    tidy((gap / move).sqrt()[None], dims, measure="relative error", **arm.where)
                )
        return Results(tables)
