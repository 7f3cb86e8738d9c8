"""Fine-tuning of a trained U-Net: settings of the contrastive loss and of its control; recorded."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companion.experiments.image_search import balanced
from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    cost_factor,
)
from companion.experiments.noise_classifier.image_trial import SMOKE, SearchTrial, contrastive_loss
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageSearch"]


@dataclass(frozen=True)
class ImageSearch(ImageExperiment):
    """As many trials for the contrastive loss as for plain denoising, from one trained network.

    Both have the same number of trials, and no trial has more network evaluations than
    ``evaluations``. A trial is measured by the geometric mean of three Fréchet distances to the
    first half of the test images: DDIM, DDPM, and Picard iteration after ``depth`` iterations.

    Parameters
    ----------
    evaluations : int
        Network evaluations of the longest fine-tuning.
    shares : tuple of float
        Of these evaluations, that are spent: the steps of both.
    control_lrs : tuple of float
        Learning rates of plain denoising, each with each share: so many trials.
    lrs, weights, counts, contrasts : tuples
        Of the loss: learning rates, weights (those of ``ImageContrast``), levels of a ratio, and
        smallest and largest contrast. Each value is tried about equally often, in a random order.
    contrasted : int
        Samples of a batch that enter the loss.
    budgets : (int, int)
        Evaluations of DDIM and of DDPM.
    levels, depth : int, int
        Steps of the DDPM that is solved in parallel, and the iteration after which it is measured:
        late enough that its samples are no longer noise.
    samples, parallel : int
        Samples in sequence, and in parallel.
    """

    evaluations: int = 38_400
    shares: tuple[float, ...] = (0.5, 1.0)
    control_lrs: tuple[float, ...] = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
    lrs: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    weights: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    counts: tuple[int, ...] = (4, 16)
    contrasts: tuple[tuple[float, float], ...] = ((0.001, 0.02), (0.01, 0.2), (0.1, 2.0))
    contrasted: int = 2
    budgets: tuple[int, int] = (10, 20)
    levels: int = 20
    depth: int = 12
    samples: int = 512
    parallel: int = 256

    sizes = {
        "smoke": {
            **SMOKE, "evaluations": 60, "shares": (1.0,), "control_lrs": (1e-4, 1e-3),
            "counts": (2,),
        },
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[SearchTrial]:
        """Return the network before tuning, and every trial."""
        rows = [(m, i, trial) for m, some in self.trials().items() for i, trial in enumerate(some)]
        tuned = [self.with_its(SearchTrial, method=m, trial=i, **trial) for m, i, trial in rows]
        return [self.with_its(SearchTrial, method=BEFORE), *tuned]

    def run(self, session: Session) -> Results:
        """Distances and evaluations of each trial, by method; the settings are in the facts."""
        parts = [session.run(part) for part in self.parts(session)]
        return Results([part.table for part in parts], {}, {"trials": self.trials()})

    def trials(self) -> dict[str, list[dict[str, Any]]]:
        """Return the settings of every trial, by method: equally many."""
        control = [
            {"tune_lr": lr, "tune_steps": self._steps(share, 1.0)}
            for lr, share in itertools.product(self.control_lrs, self.shares)
        ]
        source, number = random.Random(0), len(control)
        names = ("tune_lr", "weight", "points", "contrast", "share")
        values = (self.lrs, self.weights, self.counts, self.contrasts, self.shares)
        columns = [balanced(each, number, source) for each in values]
        listed = []
        for row in zip(*columns):
            trial = dict(zip(names, row))
            loss = contrastive_loss(self, 1.0, trial["contrast"], trial["points"])
            trial["tune_steps"] = self._steps(trial.pop("share"), cost_factor(loss, self.batch))
            listed.append(trial)
        return {SAME_COST: control, CONTRASTIVE: listed}

    def _steps(self, share: float, factor: float) -> int:
        return max(1, int(share * self.evaluations / (self.batch * factor)))
