"""Samples of the networks on points, in parallel and in sequence: their distance to the data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, noise
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.continuations import CONTRASTIVE, SAME_COST, TRAINED
from companion.experiments.noise_classifier.picard import (
    FORMS,
    SAMPLERS,
    SIGMA_MAX,
    SIGMA_MIN,
    draw,
    in_sequence,
    iterate,
    schedule_of_cost,
)
from companion.experiments.noise_classifier.points import (
    DATA,
    PointNetworks,
    distributions,
    point_networks,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["EXACT", "ParallelSamples", "SequentialSamples", "distances"]

EXACT = "exact"


def distances(x: Tensor, truth: Tensor, runs: int, projections: int) -> Tensor:
    """Sliced Wasserstein distance to the data for each run, (R,), of samples (R * n, 2)."""
    return torch.tensor(
        [
            metrics.sliced_wasserstein(part, truth, projections=projections)
            for part in x.view(runs, -1, 2)
        ]
    )


@dataclass(frozen=True)
class ParallelSamples(Experiment):
    """What Picard iteration of DDPM holds for samples, iteration by iteration, on points.

    Parameters
    ----------
    steps : int
        Of the sampler. The window is the whole trajectory; for times also a fifth of it.
    depths : tuple of int
        Iterations after which samples are measured.
    samples : int
        For each seed.
    projections : int
        Of the sliced Wasserstein distance.
    """

    steps: int = 50
    depths: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 16, 20)
    samples: int = 128
    projections: int = 24

    sizes = {"smoke": {"steps": 10, "depths": (2, 4), "samples": 16, "projections": 4}}
    needs = (PointNetworks,)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Distances by depth, iterations until the tolerance, and times on the spirals."""
        nets, _ = point_networks(session, TRAINED)
        runs = len(nets["spirals"][TRAINED[0]])
        mixtures = distributions(session)
        sigmas = noise.log_linear(self.steps, SIGMA_MAX, SIGMA_MIN)
        z = SIGMA_MAX * torch.randn(runs * self.samples, 2, generator=session.generator(91))
        tables = []
        for name in DATA:
            truth = mixtures[name].sample(2000, session.generator(90))
            methods: dict[str, Any] = dict(nets[name])
            if name == "spirals":
                methods[EXACT] = mixtures[name].denoiser
            for form in FORMS:
                for method, denoiser in methods.items():
                    steps = iterate(denoiser, z, sigmas, "DDPM", form, session.generator(92))
                    states = [steps[min(k, len(steps)) - 1].x[-1] for k in self.depths]
                    found = [distances(x, truth, runs, self.projections) for x in states]
                    where = {"data": name, "form": form, "method": method}
                    dims = {"iteration": self.depths, "seed": range(runs)}
                    tables.append(tidy(torch.stack(found), dims, measure="distance", **where))
                    tables.append(tidy([len(steps)], {"measure": ["iterations"]}, **where))
            if name == "spirals":
                tables += self._times(session, nets[name], z, sigmas, truth, runs)
        return Results(tables)

    def _times(
        self, session: Session, nets: Any, z: Tensor, sigmas: Tensor, truth: Tensor, runs: int
    ) -> list:
        tables: list = []

        def note(method: str, form: str, window: int, depth: int, cost: int, x: Tensor) -> None:
            distance = float(distances(x, truth, runs, self.projections).mean())
            measured = [depth, cost, time.perf_counter() - began, distance]
            names = {"measure": ["depth", "evaluations", "seconds", "distance at the end"]}
            where = {"data": "spirals", "form": form, "method": method, "window": window}
            tables.append(tidy(measured, names, **where))

        for method in (SAME_COST, CONTRASTIVE):
            began = time.perf_counter()
            x = in_sequence(nets[method], z, sigmas, "DDPM", session.generator(92))
            note(method, "steps", 1, self.steps, self.steps, x)
            for form in FORMS:
                for window in (self.steps, self.steps // 5):
                    began = time.perf_counter()
                    last = iterate(
                        nets[method], z, sigmas, "DDPM", form, session.generator(92), window=window
                    )[-1]
                    note(method, form, window, last.iteration, last.evaluations, last.x[-1])
        return tables


@dataclass(frozen=True)
class SequentialSamples(Experiment):
    """Samples of sequential samplers on points, at several budgets.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations.
    samples : int
        For each seed.
    projections : int
        Of the sliced Wasserstein distance.
    """

    budgets: tuple[int, ...] = (10, 20, 50)
    samples: int = 128
    projections: int = 24

    sizes = {"smoke": {"budgets": (10,), "samples": 16, "projections": 4}}
    needs = (PointNetworks,)
    seconds = 6

    def run(self, session: Session) -> Results:
        """Distances to the data, by data, sampler, budget, method and seed."""
        nets, _ = point_networks(session, TRAINED)
        runs = len(nets["spirals"][TRAINED[0]])
        x = SIGMA_MAX * torch.randn(runs * self.samples, 2, generator=session.generator(91))
        tables = []
        for name, mixture in distributions(session).items():
            truth = mixture.sample(2000, session.generator(90))
            found = torch.empty(len(SAMPLERS), len(self.budgets), len(TRAINED), runs)
            for i, sampler in enumerate(SAMPLERS):
                for j, budget in enumerate(self.budgets):
                    schedule = schedule_of_cost(sampler, budget, SIGMA_MAX, SIGMA_MIN)
                    for k, method in enumerate(TRAINED):
                        samples = draw(
                            sampler, nets[name][method], x / SIGMA_MAX, schedule,
                            session.generator(93),
                        )  # fmt: skip
                        found[i, j, k] = distances(samples, truth, runs, self.projections)
            dims: dict = {"sampler": list(SAMPLERS), "budget": self.budgets, "method": TRAINED}
            dims["seed"] = range(runs)
            tables.append(tidy(found, dims, measure="distance", data=name))
        return Results(tables)
