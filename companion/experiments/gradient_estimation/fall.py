"""Whether trained networks, too, descend the distance to the data, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.descent import digit_set
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import (
    DIGITS,
    IDEAL,
    DigitNetworks,
    PointNetworks,
    ideal_problem,
    problems,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Falls", "fall_by_step"]


def fall_by_step(K: Any, denoiser: Any, x: Tensor, sigmas: Tensor) -> Tensor:
    """How far each step of DDIM comes down, over what the exact gradient would do, (N, B).

    Parameters
    ----------
    K : with ``distance``
        The data.
    denoiser : of x
    x : (B, ...) states at ``sigmas[0]``
    sigmas : (N + 1,) noise levels

    Returns
    -------
    (N, B). A step along the exact gradient of eq-ov-projection takes the share beta of the
    distance away, and has the value 1. A step that does not come nearer has 0.
    """
    states = samplers.trajectory(samplers.ddim, denoiser, x, sigmas)
    away = torch.stack([K.distance(state) for state in states])
    beta = (1 - sigmas[1:] / sigmas[:-1])[:, None]
    return (1 - away[1:] / away[:-1]) / beta


@dataclass(frozen=True)
class Falls(Experiment):
    """Steps of DDIM against steps along the gradient of the distance to the training digits.

    Parameters
    ----------
    steps : int
    samples : int
        For each seed.
    images : int
        Training digits that the distance is measured to.
    seeds : int
        Of the networks and of the noise; of the noise alone with the best denoiser.
    """

    steps: int = 20
    samples: int = 64
    images: int = 1433
    seeds: int = 8

    sizes = {"smoke": {"steps": 8, "samples": 8, "images": 200, "seeds": 2}}
    needs = (PointNetworks, DigitNetworks)
    seconds = 2

    def run(self, session: Session) -> Results:
        """Mean fall by problem, level before the step and seed.

        ``spacing`` is the noise level whose distance is the median one of a test digit.
        """
        K, sigmas = digit_set(self.images), noise.log_linear(self.steps, SIGMA_MAX, 0.02)[:-1]
        tables = []
        for problem in (problems(session, self.seeds)[DIGITS], ideal_problem(self.images)):
            z = problem.noise(session, 32, self.samples * self.seeds)
            falls = fall_by_step(K, problem.denoiser, SIGMA_MAX * z, sigmas)
            by_seed = falls.view(len(sigmas) - 1, self.seeds, -1).mean(2)
            dims = {"level": sigmas[:-1], "seed": range(self.seeds)}
            tables.append(tidy(by_seed, dims, measure="fall", problem=problem.name))
            if problem.name != IDEAL:
                spacing = K.distance(problem.unseen).median() / math.sqrt(problem.unseen[0].numel())
                tables.append(tidy([float(spacing)], {"measure": ["spacing"]}))
        return Results(tables)
