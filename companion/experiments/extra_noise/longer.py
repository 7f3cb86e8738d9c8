"""Input perturbation on digits after a longer training, beside its free rival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import B_ARMS, NONE
from companion.experiments.extra_noise.digits import (
    DATA_STD,
    LEVELS,
    MOST,
    Quality,
    digit_network,
    digit_sets,
    trained_on,
)
from companion.experiments.extra_noise.samples import by_arm, digits_of_runs
from companion.experiments.extra_noise.sampling import Chains
from companion.experiments.extra_noise.training import train
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LongerTraining"]

ARMS = tuple(arm for arm in B_ARMS if arm.target == "eps")
"""B with the paper's target."""


@dataclass(frozen=True)
class LongerTraining(Experiment):
    """Samples of digits after eight times the steps: plain, input perturbation, free rivals.

    Parameters
    ----------
    steps : int
        Of training; ``DigitNetworks`` has an eighth of them.
    batch_size : int
        Twice that of ``DigitNetworks``.
    chains : tuple of int
        Steps of DDPM.
    samples, classifier_steps : as of ``DigitSamples``
    seeds : int
    """

    steps: int = 4000
    batch_size: int = 64
    chains: tuple[int, ...] = (10, 20, 100)
    samples: int = 256
    classifier_steps: int = 200
    seeds: int = 8

    sizes = {
        "smoke": {
            "steps": 20, "chains": (5, 10), "samples": 16, "classifier_steps": 20, "seeds": 2,
        }
    }  # fmt: skip
    seconds = 40

    def run(self, session: Session) -> Results:
        """Frechet distance, precision, recall, exposure bias: by arm, steps and seed."""
        jobs = trained_on((NONE, *ARMS), MOST)
        networks = train(
            jobs, digit_sets(session, self.seeds), digit_network, LEVELS, DATA_STD,
            [1000 * session.seed + r for r in range(self.seeds)],
            steps=self.steps, batch_size=self.batch_size, lr=4e-3,
        )  # fmt: skip
        plain, quality = networks.pick((NONE, str(MOST))), Quality(self.classifier_steps)
        chains, tables = Chains(session, self.seeds), []
        clean = digits_of_runs(session, self.seeds, self.samples)
        for steps in self.chains:
            tables += by_arm(
                chains, networks.pick(*jobs), plain, (NONE, *ARMS), ARMS, steps, self.samples,
                clean, quality.measures,
            )  # fmt: skip
        return Results(tables, facts={"classifier": quality.classifier.describe()})
