"""One number or a few: gradient estimation in the units of the learned weights.

The learned sampler combines denoised answers, gradient estimation the noise that was seen. With
``r = s_{i+1} / s_i`` and the change ``d_i = D_i - D_{i-1}`` of the answers, gradient estimation is

    x' = r x + (1 - r) (D_i + (gamma - 1) u_i),    u_i = d_i - (gamma - 1) (1 - r_{i-1}) u_{i-1}

(eq-ov-in-answers). Where the answers change evenly, ``u = d / (1 + (gamma - 1) (1 - r))``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["carried_on", "even_gamma", "even_weight", "gamma_carried_on", "midpoint_carried_on"]


def even_weight(gamma: float, ratio: float) -> float:
    """Weight ``c`` of the last change that ``gamma`` amounts to, where answers change evenly.

    ``ratio`` is that of a level to the one before, between 0 and 1.
    """
    return (gamma - 1) / (1 + (gamma - 1) * (1 - ratio))


def even_gamma(weight: float, ratio: float) -> float:
    """Inverse of ``even_weight``: with weight 1/2 it is ``1 + 1 / (1 + ratio)``."""
    return 1 + weight / (1 - weight * (1 - ratio))


def _gaps(sigmas: Sequence[float]) -> np.ndarray:
    """Changes of an answer that is linear in the logarithm of the level, in units of its slope."""
    return -np.diff(np.log(np.asarray(sigmas, dtype=float)))


def carried_on(
    sigmas: Sequence[float], weights: Sequence[float], second: Sequence[float] = ()
) -> np.ndarray:
    """Share of the last change that is carried on, at each level but the first, (N - 1,).

    For answers that are linear in the logarithm of the level: ``c_i + e_i d_{i-1} / d_i``.
    """
    gaps = _gaps(sigmas)
    before = np.concatenate([[0.0], gaps[:-1]])
    second = list(second) or [0.0] * len(weights)
    return np.asarray(weights)[1:] + np.asarray(second)[1:] * before / gaps


def gamma_carried_on(sigmas: Sequence[float], gamma: float) -> np.ndarray:
    """The same for gradient estimation, (N - 1,)."""
    gaps, levels = _gaps(sigmas), np.asarray(sigmas, dtype=float)
    carried, u = [], 0.0
    for i, gap in enumerate(gaps):
        shrunk = 1 - levels[i] / levels[i - 1] if i else 0.0
        u = gap - (gamma - 1) * shrunk * u
        carried.append((gamma - 1) * u / gap)
    return np.array(carried)


def midpoint_carried_on(sigmas: Sequence[float]) -> np.ndarray:
    """The same for DPM-Solver++(2M), whose last step, to 0, is DDIM, (N - 1,)."""
    gaps = _gaps(sigmas)
    return np.append(gaps[1:] / (2 * gaps[:-1]), 0.0)
