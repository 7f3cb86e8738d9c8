"""Experiments of chapter 2: the clean from the noisy (Daras et al. 2024)."""

from companion.experiments.tweedie import few_clean, figures, image_figures, image_tables, tables
from companion.experiments.tweedie.ablations import ConsistencyVariant
from companion.experiments.tweedie.comparisons import memory_gap, new_digit_ratio
from companion.experiments.tweedie.digits import Digits, Memory
from companion.experiments.tweedie.exact import Defects, Stopping
from companion.experiments.tweedie.image_plain import ImagePlain, ImagePlainSearch
from companion.experiments.tweedie.image_search import ImageSearch
from companion.experiments.tweedie.image_shared import ImageSharedSettings
from companion.experiments.tweedie.images import ImageBridge, ImageFewClean, ImageRace
from companion.experiments.tweedie.methods import objective
from companion.experiments.tweedie.mismatch import Mismatch
from companion.experiments.tweedie.points import DISTANCE, MODES, NOISE
from companion.experiments.tweedie.race import Race, Samples, Sweep
from companion.experiments.tweedie.searched_race import races, with_searched
from companion.experiments.tweedie.summary import in_short
from companion.experiments.tweedie.variants import (
    AmbientNetworks,
    AmbientWeights,
    Gradients,
    Variants,
)
from companion.experiments.tweedie.verdicts import verdicts

__all__ = [
    "DISTANCE",
    "MODES",
    "NOISE",
    "AmbientNetworks",
    "AmbientWeights",
    "ConsistencyVariant",
    "Defects",
    "Digits",
    "Gradients",
    "ImageBridge",
    "ImageFewClean",
    "ImagePlain",
    "ImagePlainSearch",
    "ImageRace",
    "ImageSearch",
    "ImageSharedSettings",
    "Memory",
    "Mismatch",
    "Race",
    "Samples",
    "Stopping",
    "Sweep",
    "Variants",
    "few_clean",
    "figures",
    "image_figures",
    "image_tables",
    "in_short",
    "memory_gap",
    "new_digit_ratio",
    "objective",
    "races",
    "tables",
    "verdicts",
    "with_searched",
]
