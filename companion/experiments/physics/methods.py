"""What chapter 6 compares: ways to train, and corrections when sampling, on any residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from companion import objectives, training

__all__ = [
    "CORRECTED",
    "LABELS",
    "LATE",
    "TRAINED",
    "Corrected",
    "fit_all",
    "gauss_newton",
    "levels",
    "objective",
    "weights",
]

TRAINED = ("none", "mean", "sample")
"""Ways to train, at equal network evaluations."""
CORRECTED = ("end", "late", "always")
"""What may be done to the plain network's samples, at no evaluation more."""
LABELS = {
    "none": "plain", "mean": "mean form", "sample": "sample form",
    "end": "plain, projected at the end", "late": "plain, guided at low noise",
    "always": "plain, guided at all levels",
}  # fmt: skip
"""Short name of a way to obey the equation -> the name that is shown."""

LATE = 0.3
"""Noise level from which on late guidance acts."""

Residual = Callable[[Tensor], Tensor]


def gauss_newton(residual: Residual, x: Tensor, damping: float = 1e-8) -> Tensor:
    """Nearest point where the residual, made linear at ``x`` (B, *shape), is 0 (eq-ph-step).

    ``x - J' (J J' + damping)^-1 R``; for one equation it is the best step along ``-grad R^2``.
    """
    shape = x.shape[1:]

    def flat(one: Tensor) -> Tensor:
        return residual(one.view(1, *shape)).reshape(-1)

    points = x.flatten(1)
    wrong = residual(x).reshape(len(x), -1, 1)
    jacobian = vmap(jacrev(flat))(points)
    gram = jacobian @ jacobian.mT
    scale = damping * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    gram = gram + scale[:, None, None] * torch.eye(gram.shape[-1], dtype=x.dtype)
    return x - (jacobian.mT @ torch.linalg.solve(gram, wrong)).view_as(x)


class Corrected:
    """A denoiser whose answers are corrected at noise levels up to ``below`` (after CoCoGen)."""

    def __init__(self, denoiser: Any, correct: Callable[[Tensor], Tensor], below: float):
        self.denoiser, self.correct, self.below = denoiser, correct, below

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        denoised = self.denoiser(x, sigma)
        return self.correct(denoised) if float(sigma) <= self.below else denoised


def fit_all(
    make: Callable[[int], nn.Module],
    sets: Sequence[tuple[Any, Tensor]],
    evaluations: int,
    seeds: Sequence[int],
    **options: Any,
) -> Any:
    """Train a network for each objective and data set, and each seed, at equal evaluations.

    Parameters
    ----------
    make : from a seed to an untrained network
    sets : pairs of an objective of one form, and its data
    evaluations : of the network for each sample of a batch
    seeds : the same for each pair
    **options : of ``training.fit``
    """
    cost = {one.evaluations for one, _ in sets}
    if len(cost) != 1:
        raise ValueError(f"sets: got objectives of {cost} evaluations; allowed is one number")
    nets = [make(seed) for _ in sets for seed in seeds]
    return training.fit(
        nets, [one for one, _ in sets for _ in seeds], [x for _, x in sets for _ in seeds],
        steps=max(1, evaluations // cost.pop()), seed=list(seeds) * len(sets), device="cpu",
        **options,
    ).denoiser  # fmt: skip


def objective(form: str, residual: Residual, weights: dict[str, float], **more: Any) -> Any:
    """Return the objective of a way to train."""
    if form == "none":
        return objectives.PhysicsInformed(residual, 0.0, **more)
    return objectives.PhysicsInformed(residual, weights[form], form, **more)


def levels(steps: int) -> Tensor:
    """Noise levels of a sampler, down to 0: the official code's."""
    return torch.cat([objectives.physics_levels(steps), torch.zeros(1)])


def weights(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """``w`` and ``v`` of the official code at each level (B,)."""
    variance = objectives.PosteriorVariance(tuple(objectives.physics_levels().tolist()))
    return (1 / sigma**2).clamp_max(5.0), variance(sigma)
