"""Everything against everything: all measurements on points and digits in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.experiment import Experiment
from companion.experiments.four_noises.digits import CleanDigitSamples, NoisyDigitSamples
from companion.experiments.four_noises.points import PointSamples
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["AllPairs"]


@dataclass(frozen=True)
class AllPairs(Experiment):
    """Quality of every way to train with every sampler, on points and on digits.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations one after the other.
    samples : int
        For each seed.
    """

    budgets: tuple[int, ...] = (5, 10, 20)
    samples: int = 256

    sizes = {"smoke": {"samples": 16}}
    needs = (PointSamples, CleanDigitSamples, NoisyDigitSamples)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Distances and log widths by data, training, sampler, budget and seed.

        The distance is the sliced Wasserstein distance on points, the Frechet distance on digits,
        both to data that no network was trained on.
        """
        points = session.run(PointSamples(self.budgets, self.samples))
        clean = session.run(CleanDigitSamples(self.budgets, self.samples))
        noisy = session.run(NoisyDigitSamples(self.budgets, self.samples))
        labels = {
            "points": points.facts["labels"],
            "digits": clean.facts["labels"] | noisy.facts["labels"],
        }
        parts = {"points": [points], "digits": [clean, noisy]}
        tables = [part.table.assign(data=name) for name in parts for part in parts[name]]
        length = {"points": points.facts["length"], "digits": clean.facts["length"]}
        facts = {"labels": labels, "length": length, "classifier": clean.facts["classifier"]}
        return Results(tables, facts=facts)
