"""Plain and ambient training with searched noise levels, for the meeting on images; recorded.

In ``ImagePairs`` both draw the default levels. Ambient training adds what it draws to the noise of
the data, so it sees high levels more often. Here both draw what a search has chosen for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from companion.experiments.four_noises.images import ImagePairs
from companion.experiments.four_noises.levels_network import (
    ADDED_MEAN,
    LEVELS_TRAININGS,
    LevelsNetwork,
)
from companion.experiments.four_noises.pair_network import SMOKE
from companion.experiments.four_noises.sampling import SAMPLERS

__all__ = ["ImageLevels"]


@dataclass(frozen=True)
class ImageLevels(ImagePairs):
    """Plain and ambient training with searched noise levels; all samplers but Picard iteration.

    Parameters
    ----------
    added_mean : float
        As of ``LevelsNetwork``.
    Others as of ``ImagePairs``.
    """

    trainings: tuple[str, ...] = LEVELS_TRAININGS
    samplers: tuple[str, ...] = SAMPLERS[:-1]
    added_mean: float = ADDED_MEAN

    network = LevelsNetwork
    sizes = {
        "smoke": {**SMOKE, "seeds": 2},
        "long": ImagePairs.sizes["long"],
        "gpu": ImagePairs.sizes["gpu"],
    }  # fmt: skip
