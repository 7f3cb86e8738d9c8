"""Consistency with the settings that the search chose for the ambient loss; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.tweedie.image_network import ImageNetwork
from companion.experiments.tweedie.image_search import ImageSearch, chosen
from companion.experiments.tweedie.images import Networks
from companion.experiments.tweedie.methods import AMBIENT, CONSISTENCY

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageSharedSettings"]


@dataclass(frozen=True)
class ImageSharedSettings(Networks, ImageExperiment):
    """Consistency that takes over what the ambient loss chose, such as its levels in training.

    The ambient loss is a part of consistency, but the search changed one setting at a time. So
    consistency had no trial of its own choice together with that of the ambient loss. Seeds as in
    ``ImageRace``, which has both methods with their own settings.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data.
    seeds, levels, solver_steps, samples, tested, looked : as of ``ImageRace``
    """

    noise: float = 0.5
    seeds: int = 3
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024
    looked: int = 4

    needs = (ImageSearch,)
    sizes = {
        "smoke": recipe(
            "digits", "smoke", levels=(0.5, 1.0), seeds=2, solver_steps=3, samples=64, tested=40,
            looked=1,
        ),
        "long": recipe("mnist", "long", samples=4096),
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each seed; where both chose a setting, that of consistency holds."""
        settings = {**chosen(session, AMBIENT, self.lr), **chosen(session, CONSISTENCY, self.lr)}
        return [
            self.with_its(ImageNetwork, method=CONSISTENCY, network_seed=seed, **settings)
            for seed in range(session.seed, session.seed + self.seeds)
        ]
