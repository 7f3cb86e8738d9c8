"""Objectives: what a denoiser is trained for.

Each is an object called as ``objective(denoiser, batch, generator=None)`` and returns the loss of
each sample, (B,).
"""

from companion.objectives.contrastive import ContrastiveDiffusion
from companion.objectives.denoising import DenoisingScoreMatching, Objective
from companion.objectives.extra_noise import InputPerturbation, NoisyData, Relabelled, relabelled

__all__ = [
    "ContrastiveDiffusion",
    "DenoisingScoreMatching",
    "InputPerturbation",
    "NoisyData",
    "Objective",
    "Relabelled",
    "relabelled",
]
