"""Objectives: what a denoiser is trained for.

Each is an object called as ``objective(denoiser, batch, generator=None)`` and returns the loss of
each sample, (B,).
"""

from companion.objectives.denoising import DenoisingScoreMatching, Objective

__all__ = ["DenoisingScoreMatching", "Objective"]
