"""Experiments of chapter 1: extra noise in training (Ning et al. 2023)."""

from companion.experiments.extra_noise import detail_figures, figures, image_figures, tables
from companion.experiments.extra_noise.arms import NONE, Arm
from companion.experiments.extra_noise.chains import EPS, bias_change, bias_growth, gains, lengths
from companion.experiments.extra_noise.copies import Copies, PerfectLearner, learned_from_noisy
from companion.experiments.extra_noise.digits import SIZES, DigitNetworks
from companion.experiments.extra_noise.diversity import NoiseScale, OneLevelWalk
from companion.experiments.extra_noise.drift import MeanAlone, ScaledNoise, gaussian_width
from companion.experiments.extra_noise.effects import Effect, difference, strongest
from companion.experiments.extra_noise.errors import DigitErrors, RivalErrors
from companion.experiments.extra_noise.exact_digits import ExactDigits
from companion.experiments.extra_noise.image_copies import ImageCopies
from companion.experiments.extra_noise.image_verdict import contested
from companion.experiments.extra_noise.images import ImageTrial
from companion.experiments.extra_noise.longer import LongerTraining
from companion.experiments.extra_noise.noise_search import NoiseSearch
from companion.experiments.extra_noise.ring import RING, RingNetworks
from companion.experiments.extra_noise.robustness import FarErrors, Outliers, Pushes
from companion.experiments.extra_noise.samples import DigitSamples, ExactSamples, RingSamples
from companion.experiments.extra_noise.stability import FailedRuns, GradientNoise
from companion.experiments.extra_noise.summary import (
    answers,
    in_short,
    limits,
    listing,
    mentor,
    on_images,
)
from companion.experiments.extra_noise.verdicts import best_rival, problems, trial, verdicts

__all__ = [
    "EPS",
    "NONE",
    "RING",
    "SIZES",
    "Arm",
    "Copies",
    "DigitErrors",
    "DigitNetworks",
    "DigitSamples",
    "Effect",
    "ExactDigits",
    "ExactSamples",
    "FailedRuns",
    "FarErrors",
    "GradientNoise",
    "ImageCopies",
    "ImageTrial",
    "LongerTraining",
    "MeanAlone",
    "NoiseScale",
    "NoiseSearch",
    "OneLevelWalk",
    "Outliers",
    "PerfectLearner",
    "Pushes",
    "RingNetworks",
    "RingSamples",
    "RivalErrors",
    "ScaledNoise",
    "answers",
    "best_rival",
    "bias_change",
    "bias_growth",
    "contested",
    "detail_figures",
    "difference",
    "figures",
    "gains",
    "gaussian_width",
    "image_figures",
    "in_short",
    "learned_from_noisy",
    "lengths",
    "limits",
    "listing",
    "mentor",
    "on_images",
    "problems",
    "strongest",
    "tables",
    "trial",
    "verdicts",
]
