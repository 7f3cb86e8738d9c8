"""Experiments of chapter 8: a denoiser in front of a classifier, with and without clean data."""

from companion.experiments.adaptation import figures, summary, tables
from companion.experiments.adaptation.images import ImageRace
from companion.experiments.adaptation.known import class_probabilities, digit_mixture
from companion.experiments.adaptation.line import Line, three_classes
from companion.experiments.adaptation.networks import DigitNetworks, MixtureNetworks
from companion.experiments.adaptation.purifiers import (
    EntropyGuided,
    marginal_entropy,
    raised,
    sampled,
)
from companion.experiments.adaptation.race import DigitRace, MixtureRace
from companion.experiments.adaptation.summary import in_short
from companion.experiments.adaptation.verdicts import verdicts

__all__ = [
    "DigitNetworks",
    "DigitRace",
    "EntropyGuided",
    "ImageRace",
    "Line",
    "MixtureNetworks",
    "MixtureRace",
    "class_probabilities",
    "digit_mixture",
    "figures",
    "in_short",
    "marginal_entropy",
    "raised",
    "sampled",
    "summary",
    "tables",
    "three_classes",
    "verdicts",
]
