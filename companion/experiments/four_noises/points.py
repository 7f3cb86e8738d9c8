"""Networks on the spirals: every way to train, with every sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn

from companion import data, denoisers, metrics, networks, noise
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.experiment import Experiment
from companion.experiments.four_noises.sampling import measure_all
from companion.experiments.four_noises.stages import (
    CLEAN,
    NOISY,
    StageSettings,
    length,
    train,
    two_stages,
)
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["PointNetworks", "PointSamples"]

DATA_STD, LOW = 1.0, 0.01
LEVELS = noise.LogNormal(-1.2, 1.6)


def cloud(session: Session) -> Tensor:
    """Return 4,000 points of the spirals, (4000, 2)."""
    return data.mixture("spirals").sample(4000, session.generator(3)).float()


def point_network(number: int, width: int) -> nn.Module:
    """Return a small denoiser with first weights of its own."""
    make = partial(networks.MLP, (2,), width=width)
    return denoisers.Preconditioned(networks.seeded(make, number), DATA_STD)


@dataclass(frozen=True)
class PointNetworks(StageSettings, Experiment):
    """Networks on the spirals, trained in all ways that are compared.

    Parameters
    ----------
    As of ``StageSettings``.
    """

    sizes = {"smoke": {"steps": 20, "second_steps": 15, "seeds": 2}}
    seconds = 22

    def run(self, session: Session) -> Results:
        """Weights of all networks by way to train, and its labels."""
        listed = two_stages(
            LEVELS, DATA_STD, self.data_noise, self.contrast, self.batch, self.contrast_weight,
            self.consistency_weight,
        )  # fmt: skip
        seeds = range(100 * session.seed, 100 * session.seed + self.seeds)
        make = partial(point_network, width=self.width)
        weights = to_arrays(train(make, listed, cloud(session), self, seeds))
        return Results(pd.DataFrame(), weights, {"labels": {k: w.label for k, w in listed.items()}})


def sliced(target: Tensor, seeds: int, projections: int) -> Callable[[Tensor], Tensor]:
    """Return the sliced Wasserstein distance of samples of all seeds to points, (seeds,)."""

    def distance(x: Tensor) -> Tensor:
        measure = partial(metrics.sliced_wasserstein, projections=projections)
        return torch.tensor([float(measure(part, target)) for part in x.view(seeds, -1, 2)])

    return distance


@dataclass(frozen=True)
class PointSamples(Experiment):
    """Sliced Wasserstein distance of samples of the spirals, for every training and sampler.

    The distance is to points that no network was trained on. Each network and sampler takes the
    better of two schedules, chosen by the other seeds.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations one after the other.
    samples : int
        For each seed.
    projections : int
        Of the distance.
    """

    budgets: tuple[int, ...] = (5, 10, 20)
    samples: int = 256
    projections: int = 32

    sizes = {"smoke": {"samples": 16, "projections": 4}}
    needs = (PointNetworks,)
    seconds = 18

    def run(self, session: Session) -> Results:
        """Distances by training, sampler, budget and seed; which schedule was chosen."""
        trained = session.run(PointNetworks)
        seeds, width = trained.settings["seeds"], trained.settings["width"]
        untrained = point_network(0, width)
        clean, noisy = (
            {name: from_arrays(trained.arrays, untrained, name) for name in names}
            for names in (CLEAN, NOISY)
        )
        fresh = data.mixture("spirals").sample(1000, session.generator(4)).float()
        distance = sliced(fresh, seeds, self.projections)
        z = torch.randn((seeds * self.samples, 2), generator=session.generator(5))
        noises = partial(session.generator, 7)
        tables = measure_all(clean, z, self.budgets, LOW, distance, noises)
        tables += measure_all(noisy, z, self.budgets, LOW, distance, noises, without=["picard"])
        facts = {"labels": trained.facts["labels"], "length": length(trained)}
        return Results(tables, facts=facts)
