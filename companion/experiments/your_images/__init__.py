"""Experiments of chapter 9: your own noisy images."""

from companion.experiments.your_images import figures, tables
from companion.experiments.your_images.folders import ManyPictures, OnePhotograph, OneSky
from companion.experiments.your_images.levels import Hubble, Levels
from companion.experiments.your_images.losses import Losses
from companion.experiments.your_images.pictures import as_folder, noisy, pieces, psnr
from companion.experiments.your_images.race import Race
from companion.experiments.your_images.summary import in_short
from companion.experiments.your_images.verdicts import verdicts

__all__ = [
    "Hubble",
    "Levels",
    "Losses",
    "ManyPictures",
    "OnePhotograph",
    "OneSky",
    "Race",
    "as_folder",
    "figures",
    "in_short",
    "noisy",
    "pieces",
    "psnr",
    "tables",
    "verdicts",
]
