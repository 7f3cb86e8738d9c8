"""Ways to train and samplers with U-Nets on images; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from companion.experiments.four_noises.pair_network import AXES, SMOKE, PairNetwork, PairSettings
from companion.experiments.four_noises.sampling import best_schedules
from companion.experiments.images import recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["AXES", "ImagePairs"]


@dataclass(frozen=True)
class ImagePairs(PairSettings):
    """Seven ways to train and five to sample with U-Nets on images.

    Each network and sampler takes the better of two schedules, chosen by the other seeds.

    Parameters
    ----------
    trainings : tuple of str
        Ways to train; "denoising" is the first.
    seeds : int
        Two or more.
    Others as of ``PairSettings``.

    Attributes
    ----------
    network : PairNetwork subclass (class)
        What trains one network.
    """

    trainings: tuple[str, ...] = (
        "denoising", "perturbed", "contrastive", "both", "naive high", "ambient high",
        "consistent high",
    )  # fmt: skip
    seeds: int = 5

    network: ClassVar[type[PairNetwork]] = PairNetwork
    sizes = {
        "smoke": {
            **SMOKE, "seeds": 2,
            "trainings": ("denoising", "perturbed", "both", "consistent high"),
        },
        "long": recipe("mnist", "long", second_batch=64, samples=1536, budgets=(5, 10)),
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[PairNetwork]:
        """Return every network."""
        return [
            self.with_its(self.network, training=training, number=i)
            for i in range(self.seeds)
            for training in self.trainings
        ]

    def run(self, session: Session) -> Results:
        """Distances, log widths, chosen schedules by training, sampler, budget and seed."""
        parts = {part: session.run(part) for part in self.parts(session)}
        tables = [found.where(measure="log width") for found in parts.values()]
        tables = [table.drop(columns="schedule") for table in tables]
        seeds = range(session.seed, session.seed + self.seeds)
        for name in self.trainings:
            of = [found for part, found in parts.items() if part.training == name]
            cells = of[0].where(measure="log width")[["sampler", "budget"]].drop_duplicates()
            for sampler, n in cells.itertuples(index=False):
                where = {"sampler": sampler, "budget": n}
                columns = [f.where(measure="distances", **where)["value"] for f in of]
                tables += best_schedules(list(zip(*columns)), seeds, training=name, **where)
        first = next(iter(parts.values()))
        labels = {part.training: found.facts["label"] for part, found in parts.items()}
        return Results(tables, first.arrays, {**first.facts, "labels": labels})
