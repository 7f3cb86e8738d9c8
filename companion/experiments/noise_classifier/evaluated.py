"""The states that Picard iteration evaluates, iteration by iteration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from companion.experiments.noise_classifier.picard import iterate

__all__ = ["evaluated"]


def evaluated(
    denoiser: Any, x: Tensor, sigmas: Tensor, form: str, generator: torch.Generator
) -> list[Tensor]:
    """Return what each iteration of DDIM's trajectory asks the denoiser for, the first guess first.

    The first guess is the same variance-preserving state at every level.

    Parameters
    ----------
    denoiser, x, sigmas, form, generator : as of ``iterate``

    Returns
    -------
    list of (N, B, *shape) tensors, at the N levels before the last one.
    """
    spread = ((1 + sigmas[:-1] ** 2) / (1 + sigmas[0] ** 2)).sqrt()
    first = spread.to(x).view(-1, *[1] * x.ndim) * x
    return [first, *(s.x[:-1] for s in iterate(denoiser, x, sigmas, "DDIM", form, generator))]
