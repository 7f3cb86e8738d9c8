"""Data: points in the plane, images, and data corrupted once and for all.

Points are scaled to unit standard deviation, images to [-1, 1], so that a noise level ``sigma``
means about the same thing everywhere.
"""

from companion.data import darcy, frozen_noise, image_sets, point_sets
from companion.data.frozen_noise import FrozenNoise
from companion.data.image_sets import DataError, data_folder, images
from companion.data.point_sets import mixture, points

__all__ = [
    "DISTRIBUTIONS",
    "IMAGES",
    "MIXTURES",
    "POINTS",
    "DataError",
    "FrozenNoise",
    "darcy",
    "data_folder",
    "images",
    "mixture",
    "points",
]

POINTS = point_sets.POINTS
"""Names that ``points`` knows."""

MIXTURES = point_sets.MIXTURES
"""Names that ``mixture`` knows."""

IMAGES = image_sets.IMAGES
"""Names that ``images`` knows, with the title that a figure made on them carries."""

DISTRIBUTIONS = frozen_noise.DISTRIBUTIONS
"""Distributions of the noise that ``FrozenNoise`` knows."""
