"""The digits of 8 x 8 pixels: training sets, networks, and what samples are measured by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from companion import data, denoisers, metrics, networks, noise
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import EXTRA, NONE, ONE_LEVEL, Arm
from companion.experiments.extra_noise.training import Job, Networks, train
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "BIG_ARMS",
    "CURVE",
    "DATA_STD",
    "LEVELS",
    "MOST",
    "SIZES",
    "DigitNetworks",
    "Quality",
    "digit_network",
    "digit_networks",
    "digit_sets",
    "held_out",
]

SIZES = (64, 256)
"""Sizes of the training set at which all arms are compared."""
CURVE = (64, 128, 256, 512, 1000)
"""Sizes of the plain network's learning curve."""
MOST = CURVE[-1]
LEVELS, DATA_STD = noise.LogNormal(-0.4, 1.1), 0.75
BIG_ARMS = (NONE, *(arm for arm in EXTRA if arm.strength == 0.3 or arm.kind == "B eps"))
"""Arms that are trained on ``MOST`` digits, and sampled."""
JOBS: tuple[Job, ...] = (
    *((arm, str(n)) for arm in (NONE, *EXTRA) for n in SIZES),
    *((arm, str(MOST)) for arm in BIG_ARMS),
    *((ONE_LEVEL, str(n)) for n in SIZES),
    *((NONE, str(n)) for n in CURVE if n not in (*SIZES, MOST)),
)


def digit_sets(session: Session, runs: int) -> dict[str, list[Tensor]]:
    """Return nested training sets of each size of ``CURVE``, some of each, by the size as text."""
    digits, _ = data.images("digits", "train")
    sets: dict[str, list[Tensor]] = {str(n): [] for n in CURVE}
    for r in range(runs):
        order = torch.randperm(len(digits), generator=session.generator(200 + r))
        for n in CURVE:
            sets[str(n)].append(digits[order[:n]])
    return sets


def held_out(number: int | None = None) -> Tensor:
    """Return test digits (number, 1, 8, 8); all of them by default."""
    return data.images("digits", "test")[0][:number]


def digit_network(number: int, dropout: float = 0.0) -> nn.Module:
    """Return a small denoiser of the 64 pixels of a digit, with first weights of its own."""
    make = partial(networks.MLP, (1, 8, 8), width=96, depth=1, dropout=dropout)
    return denoisers.Preconditioned(networks.seeded(make, number), DATA_STD)


@dataclass(frozen=True)
class DigitNetworks(Experiment):
    """Networks of every arm on few and on many digits, and the plain ones of a learning curve.

    Parameters
    ----------
    steps : int
        Of training, with batches of 32.
    seeds : int
    """

    steps: int = 500
    seeds: int = 8

    sizes = {"smoke": {"steps": 10, "seeds": 2}}
    seconds = 20

    def run(self, session: Session) -> Results:
        """Weights of all networks; the digits of each training set."""
        sets = digit_sets(session, self.seeds)
        trained = train(
            JOBS, sets, digit_network, LEVELS, DATA_STD,
            [1000 * session.seed + r for r in range(self.seeds)],
            steps=self.steps, batch_size=32, lr=4e-3,
        )  # fmt: skip
        count = [[len(x) for x in sets[name]] for name in sets]
        dims = {"digits": CURVE, "seed": range(self.seeds)}
        return Results(tidy(count, dims, measure="digits"), trained.to_arrays())


def digit_networks(session: Session, jobs: Sequence[Job] | None = None) -> Networks:
    """Return networks of ``DigitNetworks`` (default: all)."""
    listed = JOBS if jobs is None else jobs
    return Networks.of(session.run(DigitNetworks), digit_network(0), listed)


def trained_on(arms: Sequence[Arm], number: int) -> list[Job]:
    """Return the jobs of some arms on so many digits."""
    return [(arm, str(number)) for arm in arms]


class Quality:
    """What samples of digits are measured by, in the features of a classifier of digits.

    The classifier is trained on the training digits, and samples are compared with the test digits.

    Parameters
    ----------
    steps : int
        Of the classifier's training.
    """

    def __init__(self, steps: int):
        digits, labels = data.images("digits", "train")
        self.classifier = metrics.FeatureClassifier.train(
            digits, labels, steps=steps, held_out=data.images("digits", "test"),
            data="the training digits",
        )  # fmt: skip
        self._real = self.classifier.features(held_out())

    @property
    def measures(self) -> dict[str, Callable[[Tensor], float]]:
        """What says how good samples are, by name."""
        return {"distance": self.distance, "precision": self.precision, "recall": self.recall}

    def distance(self, x: Tensor) -> float:
        """Frechet distance of samples (n, 1, 8, 8) to the test digits."""
        return metrics.frechet_distance(self.classifier.features(x), self._real)

    def precision(self, x: Tensor) -> float:
        """Share of samples that lie where as many test digits lie."""
        return self._precision_recall(x).precision

    def recall(self, x: Tensor) -> float:
        """Share of as many test digits that lie where samples lie."""
        return self._precision_recall(x).recall

    def _precision_recall(self, x: Tensor) -> metrics.PrecisionRecall:
        real = self.classifier.features(held_out(len(x)))
        return metrics.precision_recall(real, self.classifier.features(x))

    def vendi(self, x: Tensor) -> float:
        """Vendi score: the effective number of different digits, exponential of an entropy."""
        features = nn.functional.normalize(self.classifier.features(x).double(), dim=1)
        spectrum = torch.linalg.eigvalsh(features.T @ features / len(features)).clamp_min(1e-12)
        return float((-(spectrum * spectrum.log()).sum()).exp())
