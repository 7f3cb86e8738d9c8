"""One U-Net of the meeting, trained with searched noise levels: a part of ``ImageLevels``."""

from __future__ import annotations

from dataclasses import dataclass

from companion import noise
from companion.experiments.four_noises.pair_network import PairNetwork
from companion.experiments.four_noises.stages import TwoStages, two_stages
from companion.experiments.images import Setting

__all__ = ["ADDED_MEAN", "LEVELS_TRAININGS", "LevelsNetwork"]

LEVELS_TRAININGS = ("denoising", "ambient high")
"""Ways to train whose noise levels chapter 2 has searched."""

ADDED_MEAN = -0.4
"""Mean of the logarithm of the noise level that is drawn in training. The searches of chapter 2
(``tweedie.ImagePlainSearch`` and ``tweedie.ImageSearch``) chose it both for training on clean
images and for the ambient loss; -1.2 is EDM's default."""


@dataclass(frozen=True)
class LevelsNetwork(PairNetwork):
    """A network of the meeting, trained with other noise levels.

    Parameters
    ----------
    training : str
        Of ``LEVELS_TRAININGS``.
    added_mean : float
        Mean of the logarithm of the level that is drawn; ambient training adds it to the noise of
        the data.
    Others as of ``PairNetwork``.
    """

    added_mean: float = ADDED_MEAN

    def ways(self, setting: Setting) -> dict[str, TwoStages]:
        """Return the two ways to train, by name."""
        levels = noise.LogNormal(self.added_mean)
        ways = two_stages(
            levels, setting.data_std, self.data_noise, self.contrast, self.second_batch
        )
        return {name: ways[name] for name in LEVELS_TRAININGS}
