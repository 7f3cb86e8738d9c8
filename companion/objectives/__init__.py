"""Objectives: what a denoiser is trained for.

Each is an object called as ``objective(denoiser, batch, generator=None)`` and returns the loss of
each sample, (B,).
"""

from companion.objectives.contrastive import ContrastiveDiffusion
from companion.objectives.control import LogVariance, ReverseKL
from companion.objectives.denoising import DenoisingScoreMatching, Objective
from companion.objectives.extra_noise import InputPerturbation, NoisyData, Relabelled, relabelled
from companion.objectives.physics import PhysicsInformed, PosteriorVariance, physics_levels
from companion.objectives.tweedie import AmbientTweedie, Consistency, Sum, Sure, reverse_steps

__all__ = [
    "AmbientTweedie",
    "Consistency",
    "ContrastiveDiffusion",
    "DenoisingScoreMatching",
    "InputPerturbation",
    "LogVariance",
    "NoisyData",
    "Objective",
    "PhysicsInformed",
    "PosteriorVariance",
    "Relabelled",
    "ReverseKL",
    "Sum",
    "Sure",
    "physics_levels",
    "relabelled",
    "reverse_steps",
]
