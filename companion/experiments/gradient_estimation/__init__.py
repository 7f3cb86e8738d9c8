"""Experiments of chapter 4: denoising as projection (Permenter and Yuan 2024)."""

from companion.experiments.gradient_estimation import figures, learned_figures, summary, tables
from companion.experiments.gradient_estimation.comparisons import against, best_gamma
from companion.experiments.gradient_estimation.cost import StepCost
from companion.experiments.gradient_estimation.descent import (
    Descents,
    DigitPaths,
    StepIdentity,
    along_paths,
    guaranteed_fall,
)
from companion.experiments.gradient_estimation.drawn import DrawnDigits, digits_of_the_record
from companion.experiments.gradient_estimation.fall import Falls
from companion.experiments.gradient_estimation.gamma import (
    FourSchedules,
    GammaSweep,
    NearestToFlow,
    NearestToGradient,
)
from companion.experiments.gradient_estimation.geometry import Reach, TangentShare
from companion.experiments.gradient_estimation.ideal import IdealDenoiser
from companion.experiments.gradient_estimation.images import ImageRace
from companion.experiments.gradient_estimation.learned_images import LearnedImages
from companion.experiments.gradient_estimation.learned_race import LearnedRace
from companion.experiments.gradient_estimation.learned_transfer import LearnedTransfer
from companion.experiments.gradient_estimation.methods import official, variants
from companion.experiments.gradient_estimation.order import Order, Paths
from companion.experiments.gradient_estimation.pipeline import (
    InAPipeline,
    with_gradient_estimation,
)
from companion.experiments.gradient_estimation.pretrained import PretrainedRace, save_tiny_model
from companion.experiments.gradient_estimation.problems import DigitNetworks, PointNetworks
from companion.experiments.gradient_estimation.projection import lemma
from companion.experiments.gradient_estimation.race import PeersConverge, Race, SettingsTried
from companion.experiments.gradient_estimation.summary import in_short
from companion.experiments.gradient_estimation.verdicts import verdicts

__all__ = [
    "Descents",
    "DigitNetworks",
    "DigitPaths",
    "DrawnDigits",
    "Falls",
    "FourSchedules",
    "GammaSweep",
    "IdealDenoiser",
    "ImageRace",
    "InAPipeline",
    "LearnedImages",
    "LearnedRace",
    "LearnedTransfer",
    "NearestToFlow",
    "NearestToGradient",
    "Order",
    "Paths",
    "PeersConverge",
    "PointNetworks",
    "PretrainedRace",
    "Race",
    "Reach",
    "SettingsTried",
    "StepCost",
    "StepIdentity",
    "TangentShare",
    "against",
    "along_paths",
    "best_gamma",
    "digits_of_the_record",
    "figures",
    "guaranteed_fall",
    "in_short",
    "learned_figures",
    "lemma",
    "official",
    "save_tiny_model",
    "summary",
    "tables",
    "variants",
    "verdicts",
    "with_gradient_estimation",
]
