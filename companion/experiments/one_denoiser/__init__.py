"""Experiments of chapter 0: denoisers trained on data whose best denoiser is known, and sampled."""

from companion.experiments.one_denoiser import figures, tables
from companion.experiments.one_denoiser.digits import DigitNetworks, DigitSamples, HeldOut
from companion.experiments.one_denoiser.drawn import LargeDigits, large_digits, trained_record
from companion.experiments.one_denoiser.image_training import ImageTraining
from companion.experiments.one_denoiser.points import (
    Budgets,
    ExcessError,
    Likelihood,
    PointNetworks,
)
from companion.experiments.one_denoiser.summary import in_short

__all__ = [
    "Budgets",
    "DigitNetworks",
    "DigitSamples",
    "ExcessError",
    "HeldOut",
    "ImageTraining",
    "LargeDigits",
    "Likelihood",
    "PointNetworks",
    "figures",
    "in_short",
    "large_digits",
    "tables",
    "trained_record",
]
