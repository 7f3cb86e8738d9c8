"""Two modes in one dimension, where the error of a denoiser can be drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from companion import data, noise, objectives, samplers, training
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.continuations import (
    BATCH,
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    continue_training,
    with_controls,
)
from companion.experiments.noise_classifier.evaluated import evaluated
from companion.experiments.noise_classifier.picard import SIGMA_MAX, SIGMA_MIN
from companion.experiments.noise_classifier.points import DENOISING, noise_errors, point_network
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ModeMap"]


@dataclass(frozen=True)
class ModeMap(Experiment):
    """Error of a denoiser in one dimension, over place and noise level, before and after training.

    Parameters
    ----------
    steps, tune_steps : int
        Of the networks before; of the continuations with the loss.
    picard_steps : int
        Steps of the samplers that are drawn.
    seeds : int
    """

    steps: int = 600
    tune_steps: int = 100
    picard_steps: int = 50
    seeds: int = 8

    sizes = {"smoke": {"steps": 10, "tune_steps": 2, "picard_steps": 10, "seeds": 2}}
    seconds = 8

    def run(self, session: Session) -> Results:
        """Root mean square errors over seeds on a grid, and paths of samplers, as arrays."""
        modes = data.mixture("two_modes")
        samples = modes.sample(20_000, session.generator(60))
        seeds = [1000 * session.seed + r for r in range(self.seeds)]
        before = training.fit(
            [point_network(s, 1, 32) for s in seeds], DENOISING, samples, steps=self.steps,
            batch_size=BATCH, lr=3e-3, seed=seeds, device="cpu",
        ).denoiser  # fmt: skip
        loss = objectives.ContrastiveDiffusion(points=16, samples=4)
        goals = with_controls(DENOISING, loss, self.tune_steps, 0.1)
        stacks = {BEFORE: before} | continue_training(
            before, goals, [samples] * self.seeds, [s + 500 for s in seeds], lr=1e-3
        )
        place = torch.sinh(torch.linspace(-4.4, 4.4, 161))
        sigma = torch.logspace(math.log10(SIGMA_MIN), math.log10(SIGMA_MAX), 80)
        levels, places = torch.meshgrid(sigma, place, indexing="ij")
        maps = [
            noise_errors(stacks[m], modes, places.reshape(-1, 1), levels.flatten())
            for m in (BEFORE, SAME_COST, CONTRASTIVE)
        ]
        shown = torch.stack([e.square().mean(0).sqrt().view(levels.shape) for e in maps])
        sigmas = noise.log_linear(self.picard_steps, SIGMA_MAX, SIGMA_MIN)
        start = torch.tensor([[-14.0], [-5.0], [9.0], [19.0]])
        asked = evaluated(before[0], start, sigmas, "plain", session.generator(40))
        arrays = {
            "maps": shown,
            "place": place,
            "sigma": sigma,
            "sigmas": sigmas,
            "ddim": samplers.trajectory(samplers.ddim, before[0], start, sigmas)[..., 0],
            "picard": torch.stack(asked[:3])[..., 0],
        }
        median = {"method": [BEFORE, SAME_COST, CONTRASTIVE]}
        table = tidy(shown.flatten(1).median(1).values, median, measure="median error of the map")
        return Results(table, arrays)
