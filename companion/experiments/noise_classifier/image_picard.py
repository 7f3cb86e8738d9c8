"""Parallel sampling with trained U-Nets: Picard iteration and Anderson acceleration; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.images import recipe
from companion.experiments.noise_classifier.picard_network import (
    SMOKE,
    PicardNetwork,
    PicardSettings,
)
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImagePicard"]


@dataclass(frozen=True)
class ImagePicard(PicardSettings):
    """Iterations until DDPM's steps are solved, and the samples that each iteration holds.

    Parameters
    ----------
    seeds : int
    Others as of ``PicardSettings``.
    """

    seeds: int = 5

    sizes = {
        "smoke": {**SMOKE, "seeds": 2},
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[PicardNetwork]:
        """Return every network."""
        return [self.with_its(PicardNetwork, number=i) for i in range(self.seeds)]

    def run(self, session: Session) -> Results:
        """Iterations, evaluations, error, and distances by iteration, by way and seed."""
        parts = [session.run(part) for part in self.parts(session)]
        return Results([part.table for part in parts], {}, parts[0].facts)
