"""Made-up noisy pictures for the tests of ``companion denoise``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def pictures(rng: np.random.Generator) -> tuple[Callable, Callable]:
    """Return a function that draws a noisy picture in grey values, and one that rounds it to bytes.

    Both share ``rng``: a file of tests has its own, so that no other file changes its pictures.
    """

    def grey(height=48, width=40, sigma=20.0):
        """A smooth picture with white noise, in grey values of 8 bit."""
        rows, columns = np.mgrid[:height, :width] / 48
        clean = 120 + 50 * np.sin(4 * rows) * np.cos(3 * columns)
        return clean + sigma * rng.standard_normal((height, width))

    def bytes8(*shape):
        return np.rint(grey(*shape)).clip(0, 255).astype(np.uint8)

    return grey, bytes8
