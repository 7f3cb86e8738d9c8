"""Networks on eight Gaussians on a ring: their error, their samples, and their likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import (
    checkpoint,
    data,
    denoisers,
    metrics,
    networks,
    noise,
    objectives,
    oracles,
    samplers,
    training,
)
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["METHODS", "Budgets", "ExcessError", "Likelihood", "PointNetworks", "ring", "sample"]

METHODS = ("ddim", "ddpm", "heun", "gradient_estimation")
"""Samplers that are compared, by their names in ``samplers``."""

SIGMA_MAX = 10.0
"""Noise level at which sampling of points starts."""


def ring() -> oracles.GaussianMixture:
    """Return the distribution of the data, whose exact denoiser is known."""
    return data.mixture("ring")


def sample(
    name: str,
    evaluations: int,
    denoiser: Any,
    start: Tensor,
    sigma_max: float,
    generator: torch.Generator,
) -> Tensor:
    """Sample from given starting noise with a number of evaluations of the network.

    Parameters
    ----------
    name : one of ``METHODS``
    evaluations : int
        Heun's method takes two a step, but for the last.
    denoiser : Denoiser
    start : (B, *shape) noise of standard deviation ``sigma_max``
    sigma_max : float
        Largest noise level; the smallest is 0.02.
    generator : torch.Generator
        Of the noise that DDPM adds.
    """
    steps = (evaluations + 1) // 2 if name == "heun" else evaluations
    options = {"generator": generator} if name == "ddpm" else {}
    sigmas = noise.karras(steps, sigma_max, 0.02)
    return getattr(samplers, name)(denoiser, start, sigmas, **options)


@dataclass(frozen=True)
class PointNetworks(Experiment):
    """Networks trained on points of the ring, alike but for their seeds.

    Parameters
    ----------
    points : int
        Training points.
    steps : int
        Of training, with 128 points each.
    seeds : int
    """

    points: int = 4000
    steps: int = 1500
    seeds: int = 8

    sizes = {"smoke": {"steps": 60, "seeds": 2}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Final loss of each seed; the training points and the weights, as arrays."""
        first = 1000 * session.seed
        train = ring().sample(self.points, session.generator(0))
        objective = objectives.DenoisingScoreMatching(noise.LogNormal(-0.8, 1.3), sigma_data=1.0)
        fit = training.fit(
            [self.network(first + number) for number in range(self.seeds)], objective, train,
            steps=self.steps, batch_size=128, lr=3e-3, seed=first, device="cpu",
        )  # fmt: skip
        losses = tidy(fit.losses[-50:].mean(0), {"seed": range(self.seeds)}, measure="final loss")
        speed = {"steps_per_second": fit.steps_per_second}
        return Results(losses, {"train": train, **checkpoint.to_arrays(fit.denoiser)}, speed)

    @staticmethod
    def network(seed: int) -> denoisers.Preconditioned:
        """Return an untrained denoiser of points; the seed is that of its first weights."""
        return networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2), 1.0), seed)

    @classmethod
    def trained(cls, results: Results) -> Any:
        """Return the denoisers of a run, stacked: ``trained(results)[0]`` is the first alone."""
        return checkpoint.from_arrays(results.arrays, cls.network(0))


@dataclass(frozen=True)
class ExcessError(Experiment):
    """Mean squared error that trained networks add to the error of the exact denoiser.

    Parameters
    ----------
    levels : int
        Noise levels, from 0.02 to 20, evenly on a logarithmic scale.
    points : int
        Fresh points that are denoised at each level.
    """

    levels: int = 19
    points: int = 2000

    sizes = {"smoke": {"levels": 7, "points": 500}}
    needs = (PointNetworks,)
    seconds = 2

    def run(self, session: Session) -> Results:
        """Excess error by level and seed, and the Bayes error by level."""
        stack = PointNetworks.trained(session.run(PointNetworks))
        levels = torch.logspace(-1.7, 1.3, self.levels).tolist()
        clean = ring().sample(self.points, session.generator(1))
        excess, bayes = [], []
        for i, sigma in enumerate(levels):
            noisy = noise.corrupt(clean, sigma, generator=session.generator(100 + i))
            exact = ring().denoiser(noisy, sigma)
            trained = stack(noisy.repeat(len(stack), 1), sigma).view(len(stack), *noisy.shape)
            excess.append((trained - exact).square().mean((1, 2)))
            bayes.append((exact - clean).square().mean())
        where = {"level": levels, "seed": range(len(stack))}
        return Results(
            [
                tidy(torch.stack(excess), where, measure="excess error"),
                tidy(torch.stack(bayes), {"level": levels}, measure="Bayes error"),
            ]
        )


@dataclass(frozen=True)
class Budgets(Experiment):
    """Samplers at equal numbers of evaluations: distance to the data, and to the exact flow.

    Every sampler starts from the same noise. Samples of trained networks are compared with data;
    with the exact denoiser, each sample is compared with the place where the exact flow takes it.

    Parameters
    ----------
    budgets : tuple of int, odd
        Evaluations of the network.
    samples : int
        For each network, and of the data that they are compared with.
    flow_steps : int
        Of Heun's method, for the flow that counts as exact.
    splits : int
        Random halves of data for the noise floor.
    """

    budgets: tuple[int, ...] = (5, 7, 11, 21, 41)
    samples: int = 1000
    flow_steps: int = 150
    splits: int = 20

    sizes = {"smoke": {"budgets": (5, 11, 21), "samples": 250, "flow_steps": 80, "splits": 5}}
    needs = (PointNetworks,)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Distances to the data and to the exact flow by method, budget and seed."""
        stack = PointNetworks.trained(session.run(PointNetworks))
        runs, size, exact = len(stack), self.samples, ring().denoiser
        data_points = ring().sample(size, session.generator(6))
        twice = ring().sample(2 * size, session.generator(7))
        floor = metrics.noise_floor(metrics.sliced_wasserstein, twice, repeats=self.splits)
        start = torch.cat(
            [noise.randn((size, 2), generator=session.generator(20 + r)) for r in range(runs)]
        )
        start = SIGMA_MAX * start
        flow = samplers.heun(exact, start, noise.karras(self.flow_steps, SIGMA_MAX, 0.02))
        tables = []
        for name in METHODS:
            distances, gaps = [], []
            for budget in self.budgets:
                drawn = sample(name, budget, stack, start, SIGMA_MAX, session.generator(8))
                distances.append(
                    [
                        metrics.sliced_wasserstein(part, data_points, projections=64)
                        for part in drawn.view(runs, size, 2)
                    ]
                )
                if name != "ddpm":  # it does not follow the flow
                    ends = sample(name, budget, exact, start, SIGMA_MAX, session.generator(8))
                    squared = (ends - flow).view(runs, size, 2).square().sum(-1)
                    gaps.append(squared.mean(-1).sqrt())
            where = {"budget": self.budgets, "seed": range(runs)}
            tables.append(tidy(distances, where, measure="to the data", method=name))
            if gaps:
                tables.append(tidy(torch.stack(gaps), where, measure="to the flow", method=name))
        return Results(tables, facts={"noise floor": [floor.mean, floor.low, floor.high]})


@dataclass(frozen=True)
class Likelihood(Experiment):
    """Negative log-likelihood of points from denoising errors (eq-i-mmse), against the exact one.

    Parameters
    ----------
    points : int
        Of the data; as many come from a Gaussian of standard deviation 2.
    levels : int
        Noise levels for each point.
    """

    points: int = 300
    levels: int = 256

    sizes = {"smoke": {"points": 100, "levels": 32}}
    needs = (PointNetworks,)
    seconds = 5

    def run(self, session: Session) -> Results:
        """Negative log-likelihoods in nats by measure and point; the first half are data."""
        network = PointNetworks.trained(session.run(PointNetworks))[0]
        points = ring().sample(self.points, session.generator(11))
        wide = 2.0 * noise.randn(points.shape, generator=session.generator(12))
        points = torch.cat([points, wide])
        exact = metrics.nll(
            ring().denoiser, points, points=self.levels, generator=session.generator(13)
        )
        trained = metrics.nll(
            network, points, points=self.levels, sigma_min=0.01, sigma_max=20.0,
            generator=session.generator(13),
        )  # fmt: skip
        measures = {
            "by its formula": -ring().log_prob(points.double()),
            "exact denoiser": exact.value,
            "error estimate": exact.error,
            "trained network": trained.value,
        }
        values = torch.stack([value.double() for value in measures.values()])
        where = {"measure": list(measures), "point": range(len(points))}
        return Results(tidy(values, where))
