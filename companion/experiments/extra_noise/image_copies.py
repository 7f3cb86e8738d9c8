"""Few images: early stopping against extra noise and weight decay; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.extra_noise.copy_network import (
    DECAY,
    SMOKE,
    CopyNetwork,
    CopySettings,
)
from companion.experiments.images import recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageCopies"]


@dataclass(frozen=True)
class ImageCopies(CopySettings):
    """Share of copies and quality of samples along the training on few images, by arm.

    Early stopping needs no arm: it is the plain network at the stop that one half of the test
    images chooses. Every arm may stop early so. The strengths are not searched.

    Parameters
    ----------
    arms : tuple of (kind, strength)
        As of ``CopyNetwork``; the first is ("none", 0).
    seeds : int
    Others as of ``CopySettings``.
    """

    arms: tuple[tuple[str, float], ...] = (
        ("none", 0.0), ("B eps", 0.1), ("C", 0.05), (DECAY, 0.1),
    )  # fmt: skip
    seeds: int = 3

    sizes = {
        "smoke": {
            **SMOKE, "seeds": 2, "arms": (("none", 0.0), ("C", 0.05), (DECAY, 0.1)),
        },
        "long": recipe("mnist", "long", few=60, seeds=5),
    }  # fmt: skip

    def parts(self, session: Session) -> list[CopyNetwork]:
        """Return every arm of every seed."""
        return [
            self.with_its(CopyNetwork, kind=kind, strength=strength, number=i)
            for i in range(self.seeds)
            for kind, strength in self.arms
        ]

    def run(self, session: Session) -> Results:
        """Copies and distances by arm, stop and seed."""
        parts = [session.run(part) for part in self.parts(session)]
        return Results([part.table for part in parts], {}, parts[0].facts)
