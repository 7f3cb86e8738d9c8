"""The learned sampler on images: on several networks, its error and its Frechet distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.gradient_estimation.learned_network import (
    SMOKE,
    LearnedNetwork,
    LearnedSettings,
)
from companion.experiments.images import recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LearnedImages"]


@dataclass(frozen=True)
class LearnedImages(LearnedSettings):
    """A learned sampler and fixed ones on U-Nets: error against the flow, Frechet distance.

    Parameters
    ----------
    seeds : int
        Networks; each has noise of its own.
    Others as of ``LearnedSettings``.
    """

    seeds: int = 5

    sizes = {"smoke": {**SMOKE, "seeds": 2}, "long": recipe("mnist", "long")}

    def parts(self, session: Session) -> list[LearnedNetwork]:
        """Return every network."""
        return [self.with_its(LearnedNetwork, network_seed=i) for i in range(self.seeds)]

    def run(self, session: Session) -> Results:
        """Error and Frechet distance by method, budget and network; levels, weights and cost."""
        parts = [session.run(part) for part in self.parts(session)]
        return Results([part.table for part in parts], {}, parts[0].facts)
