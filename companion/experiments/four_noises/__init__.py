"""Experiments of chapter 5: four uses of noise on the same network, data, compute and seeds."""

from companion.experiments.four_noises import figures, summary, tables
from companion.experiments.four_noises.calculation import (
    GaussianWidths,
    balance,
    gaussian,
    perturbed,
    width_after,
)
from companion.experiments.four_noises.comparisons import image_gain, image_interaction, widths
from companion.experiments.four_noises.digit_networks import CleanDigitNetworks, NoisyDigitNetworks
from companion.experiments.four_noises.digits import (
    CleanDigitSamples,
    NoisyDigitSamples,
    PredictedWidths,
    SmallTrainingSet,
)
from companion.experiments.four_noises.image_levels import ImageLevels
from companion.experiments.four_noises.images import ImagePairs
from companion.experiments.four_noises.pairs import AllPairs
from companion.experiments.four_noises.points import PointNetworks, PointSamples
from companion.experiments.four_noises.sampling import SAMPLERS, draw
from companion.experiments.four_noises.stages import train, two_stages
from companion.experiments.four_noises.summary import in_short
from companion.experiments.four_noises.verdicts import verdicts

__all__ = [
    "SAMPLERS",
    "AllPairs",
    "CleanDigitNetworks",
    "CleanDigitSamples",
    "GaussianWidths",
    "ImageLevels",
    "ImagePairs",
    "NoisyDigitNetworks",
    "NoisyDigitSamples",
    "PointNetworks",
    "PointSamples",
    "PredictedWidths",
    "SmallTrainingSet",
    "balance",
    "draw",
    "figures",
    "gaussian",
    "image_gain",
    "image_interaction",
    "in_short",
    "perturbed",
    "summary",
    "tables",
    "train",
    "two_stages",
    "verdicts",
    "width_after",
    "widths",
]
