"""Sampling a density that can only be evaluated: drifts and annealing at equal evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion import denoisers, networks, objectives, samplers, training
from companion.experiments.experiment import Experiment
from companion.experiments.foellmer.annealed import annealed
from companion.experiments.foellmer.targets import (
    DISTANCES,
    LOG_Z,
    log_density,
    lost_modes,
    modes_error,
    target,
)
from companion.experiments.results import Results, tidy
from companion.oracles import GaussianMixture

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LEARNED", "METHODS", "Sampling"]

LEARNED = {
    "PIS": (objectives.ReverseKL, "pinned", 2),
    "DDS": (objectives.ReverseKL, "variance_preserving", 2),
    "log-variance": (objectives.LogVariance, "pinned", 1),
}
"""Loss, form of the steps, and evaluations a path: a gradient counts as one more."""

METHODS = ("annealed", "Monte Carlo drift", *LEARNED)


@dataclass(frozen=True)
class Sampling(Experiment):
    """Modes, ln Z and weights of five methods at equal evaluations of the density.

    Parameters
    ----------
    budget : int
        Evaluations for each seed, training included.
    samples : int
        Drawn from each learned drift.
    steps : int
        Of the process.
    batch : int
        Paths a training step.
    width : int
        Of the network's two hidden layers.
    lr : float
    stages : int
        Of the annealing; it has as many particles as the budget allows.
    draws : int
        Of the Monte Carlo drift; it has as many samples as the budget allows.
    seeds : int
    """

    budget: int = 50_000
    samples: int = 2000
    steps: int = 20
    batch: int = 128
    width: int = 32
    lr: float = 1e-3
    stages: int = 20
    draws: int = 16
    seeds: int = 8

    sizes = {"smoke": {"budget": 1200, "samples": 100, "steps": 5, "batch": 32, "seeds": 2}}
    seconds = 45

    def run(self, session: Session) -> Results:
        """Measures by target, method and seed; samples of the first seed."""
        tables, arrays = [], {}
        for place, distance in DISTANCES.items():
            density = partial(log_density, distance=distance)
            for name in METHODS:
                rows, first = self._measure(name, density, target(distance), session)
                for measure, values in rows.items():
                    where = {"target": place, "method": name, "measure": measure}
                    tables.append(tidy(values, {"seed": range(self.seeds)}, **where))
                arrays[f"{place} {name}"] = first[:500].float()
        return Results(tables, arrays)

    def _measure(self, name: str, density, mixture: GaussianMixture, session: Session):
        """Values of each measure by seed, and samples of the first."""
        runs = range(self.seeds)
        generators = [session.generator(50 + r) for r in runs]
        if name == "annealed":
            particles = self.budget // (self.stages + 1)
            made = [annealed(density, particles, self.stages, g) for g in generators]
            rows = {
                "error of ln Z": [abs(m.log_z - LOG_Z) for m in made],
                "error of weights": [modes_error(m.x, mixture) for m in made],
                "lost modes": [lost_modes(m.x, mixture) for m in made],
            }
            return rows, made[0].x
        if name == "Monte Carlo drift":
            count = max(1, self.budget // (self.steps * self.draws))
            start = torch.zeros(self.seeds * count, 2)
            paths = samplers.foellmer_from_density(
                density, start, self.times(), draws=self.draws, generator=generators
            )
        else:
            start = torch.zeros(self.seeds * self.samples, 2)
            form = LEARNED[name][1]
            with torch.no_grad():
                paths = samplers.controlled(
                    self._fit(name, density, session.seed), start, self.times(), form=form,
                    generator=generators,
                )  # fmt: skip
        logs = paths.log_weights(density).view(self.seeds, -1).double()
        x = paths.x.view(self.seeds, -1, 2)
        weights = logs.softmax(1)
        log_z = logs.logsumexp(1) - math.log(logs.shape[1])
        rows = {
            "error of ln Z": (log_z - LOG_Z).abs(),
            "error of weights": [modes_error(x[r], mixture) for r in runs],
            "lost modes": [lost_modes(x[r], mixture) for r in runs],
            "error after weighting": [modes_error(x[r], mixture, weights[r]) for r in runs],
            "effective share": 1 / weights.square().sum(1) / logs.shape[1],
        }
        return rows, x[0]

    def times(self) -> Tensor:
        """Times of the steps, the same for all."""
        return samplers.foellmer_times(self.steps, 5.0, 0.1)

    def _fit(self, name: str, density, seed: int):
        """Train all seeds side by side, with what the budget leaves."""
        loss, form, cost = LEARNED[name]
        make = partial(networks.MLP, 2, width=self.width, depth=2)
        first = 1000 * seed
        nets = [
            denoisers.Preconditioned(networks.seeded(make, first + r), 1.0)
            for r in range(self.seeds)
        ]
        steps = (self.budget - self.samples) // (cost * self.batch)
        return training.fit(
            nets, loss(density, self.times(), form), torch.zeros(8, 2), steps=steps,  # type: ignore[arg-type]
            batch_size=self.batch, lr=self.lr, ema=0.99, seed=first, device="cpu",
        ).denoiser  # fmt: skip
