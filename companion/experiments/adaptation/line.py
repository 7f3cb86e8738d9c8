"""Three classes on a line, where every way to classify a noisy point is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise
from companion.experiments.adaptation.known import class_probabilities
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.oracles import GaussianMixture

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Line", "right", "three_classes"]


def three_classes() -> tuple[GaussianMixture, Tensor]:
    """Return two large classes at -1 and 1, a rare one in the middle, and their numbers."""
    return GaussianMixture([[-1.0], [0.0], [1.0]], 0.15, [0.45, 0.1, 0.45]), torch.arange(3)


def right(truth: Tensor, chosen: Tensor) -> Tensor:
    """Probability that a chosen class is right: truth ``p(class | y)`` (B, C), chosen (B,)."""
    return truth.gather(1, chosen[:, None])[:, 0]


@dataclass(frozen=True)
class Line(Experiment):
    """Accuracy of each way to classify a point on a line with noise, all exact.

    The classifier is the best one for clean points. A sample is from the exact posterior.

    Parameters
    ----------
    noises : tuple of float
        Levels, in units of the distance between neighbouring classes.
    draws : tuple of int
        Samples whose probabilities are averaged.
    points : int
    seeds : int
    """

    noises: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
    draws: tuple[int, ...] = (1, 4, 64)
    points: int = 2500
    seeds: int = 4

    sizes = {"smoke": {"noises": (0.5, 1.0), "points": 100, "seeds": 2}}
    seconds = 2

    def run(self, session: Session) -> Results:
        """Accuracy by way, level and seed."""
        mixture, owner = three_classes()
        tables = []
        for seed in range(self.seeds):
            generator = session.generator(850 + seed)
            clean = mixture.sample(self.points, generator, dtype=torch.float64)
            for level in self.noises:
                y = noise.corrupt(clean, level, generator=generator)
                ways = self._ways(mixture, owner, y, level, generator)
                dims = {"way": ways, "seed": [seed]}
                tables.append(
                    tidy([[float(v)] for v in ways.values()], dims, level=level, measure="accuracy")
                )
        return Results(tables)

    def _ways(
        self, mixture: GaussianMixture, owner: Tensor, y: Tensor, level: float, generator: Any
    ) -> dict[str, Tensor]:
        """Accuracy of each way: the mean probability that what it chooses is right."""
        truth = class_probabilities(mixture, owner, y, level)

        def classify(x: Tensor) -> Tensor:
            return class_probabilities(mixture, owner, x, 0.0)

        found = {
            "ceiling": truth.argmax(1),
            "nothing": classify(y).argmax(1),
            "one call": classify(mixture.denoiser(y, level)).argmax(1),
        }
        behind = mixture.posterior(y, level)
        for draws in self.draws:
            answers = []
            for _ in range(draws):
                index = torch.multinomial(behind.weights, 1, generator=generator)
                at = (torch.arange(len(y)), index[:, 0])
                z = torch.randn(y.shape, generator=generator, dtype=y.dtype)
                answers.append(classify(behind.means[at] + behind.stds[at][:, None] * z))
            found[f"mean of {draws}"] = torch.stack(answers).mean(0).argmax(1)
        return {way: right(truth, chosen).mean() for way, chosen in found.items()}
