"""Experiments of chapter 7: the Föllmer drift, exactly, learned, and without data."""

from companion.experiments.foellmer import figures, tables
from companion.experiments.foellmer.annealed import annealed
from companion.experiments.foellmer.densities import Sampling
from companion.experiments.foellmer.exact import Entropy, Girsanov, Identity
from companion.experiments.foellmer.summary import in_short
from companion.experiments.foellmer.verdicts import verdicts
from companion.experiments.foellmer.widths import Widths

__all__ = [
    "Entropy",
    "Girsanov",
    "Identity",
    "Sampling",
    "Widths",
    "annealed",
    "figures",
    "in_short",
    "tables",
    "verdicts",
]
