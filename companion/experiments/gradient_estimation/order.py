"""Order of convergence of gradient estimation, and its paths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion import data, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Order", "Paths"]

HIGH = 20.0


def down_to(steps: int) -> Tensor:
    """Return a log-linear schedule that ends above zero."""
    return noise.log_linear(steps, HIGH, 0.02, final_zero=False)


@dataclass(frozen=True)
class Order(Experiment):
    """Error against the exact flow of two spirals for more and more steps, by gamma.

    Parameters
    ----------
    gammas : tuple of float
        The errors of the first and the last are compared point by point.
    steps : tuple of int
        At least two; orders are read off the last two.
    points : int
    reference : int
        Steps of Heun's method that stand for the flow.
    """

    gammas: tuple[float, ...] = (1.0, 1.5, 2.0)
    steps: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320)
    points: int = 256
    reference: int = 800

    sizes = {"smoke": {"steps": (10, 20, 40), "points": 64, "reference": 100}}
    seconds = 4

    def run(self, session: Session) -> Results:
        """Median error by gamma and steps, order by gamma; cosine and sizes of two errors."""
        law = data.mixture("spirals")
        x = HIGH * torch.randn(self.points, 2, generator=session.generator(11), dtype=torch.float64)
        flow = samplers.heun(law.denoiser, x, down_to(self.reference))
        offsets = {}
        for g in self.gammas:
            for n in self.steps:
                end = samplers.gradient_estimation(law.denoiser, x, down_to(n), gamma=g)
                offsets[g, n] = end - flow
        errors = torch.tensor(
            [[float(offsets[g, n].norm(dim=1).median()) for n in self.steps] for g in self.gammas]
        ).double()
        half, last = self.steps[-2:]
        doublings = math.log2(last / half)
        orders = (errors[:, -2] / errors[:, -1]).log2() / doublings
        one, two = offsets[self.gammas[0], last], offsets[self.gammas[-1], last]
        calm = one.norm(dim=1) < one.norm(dim=1).quantile(0.75)
        pair = {
            "cosine": float(torch.cosine_similarity(one[calm], two[calm]).median()),
            "sizes": float(errors[-1, -1] / errors[0, -1]),
        }
        return Results(
            [
                tidy(errors, {"gamma": self.gammas, "steps": self.steps}, measure="error"),
                tidy(orders, {"gamma": self.gammas}, measure="order"),
                tidy(list(pair.values()), {"measure": pair}, steps=last),
            ]
        )


@dataclass(frozen=True)
class Paths(Experiment):
    """Paths from noise to two spirals: DDIM, gradient estimation and the converged flow.

    Parameters
    ----------
    gammas, steps : tuple of float, tuple of int
        What can be chosen in the player.
    points : int
    """

    gammas: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    steps: tuple[int, ...] = (5, 10, 20, 50)
    points: int = 100

    seconds = 1

    def run(self, session: Session) -> Results:
        """Arrays for each number of steps N, and ``target``, samples of the spirals.

        ``levels N`` (N + 1,), ``ddim N`` and ``flow N`` (N + 1, points, 2), and
        ``gradient_estimation N`` (gammas, N + 1, points, 2). ``arm`` (points,) is 0 or 1.
        """
        law = data.mixture("spirals")
        x = HIGH * torch.randn(self.points, 2, generator=session.generator(12))
        arrays = {"target": law.sample(600, session.generator(13))}
        for n in self.steps:
            sigmas = noise.log_linear(n, HIGH, 0.05)
            arrays[f"levels {n}"] = sigmas
            arrays[f"flow {n}"] = flow = flow_through(x, sigmas)
            arrays[f"ddim {n}"] = samplers.trajectory(samplers.ddim, law.denoiser, x, sigmas)
            sampler = samplers.gradient_estimation
            paths = [
                samplers.trajectory(sampler, law.denoiser, x, sigmas, gamma=g) for g in self.gammas
            ]
            arrays[f"gradient_estimation {n}"] = torch.stack(paths)
        # The flow of the most steps says which arm a point belongs to.
        nearest = torch.cdist(flow[-1].double(), law.means).argmin(1)
        arrays["arm"] = (nearest >= len(law.means) // 2).long()
        away = flow[-1].norm(dim=1).mean()
        return Results(tidy([away], {"measure": ["mean norm at the end"]}), arrays)


def flow_through(x: Tensor, sigmas: Tensor) -> Tensor:
    """Return the converged flow at the same levels, by a dozen steps of Heun between them."""
    law = data.mixture("spirals")
    states = [x]
    for s, below in pairwise(sigmas.tolist()):
        end = below == 0
        fine = noise.log_linear(12, s, 0.002 if end else below, final_zero=end)
        states.append(samplers.heun(law.denoiser, states[-1], fine))
    return torch.stack(states)
