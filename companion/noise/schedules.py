"""Schedules: the noise levels that a sampler visits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import checks

__all__ = [
    "check_sigmas",
    "cosine",
    "ddpm",
    "ddpm_alphas_cumprod",
    "karras",
    "log_linear",
    "sigmas_from_alphas_cumprod",
]


def check_sigmas(sigmas: Tensor | Sequence[float]) -> list[float]:
    """Return a schedule as floats, or say what is wrong with it.

    A schedule is one-dimensional, finite, strictly decreasing, at least two entries long; only its
    last entry may be 0.
    """
    if isinstance(sigmas, (Tensor, np.ndarray)):
        values = sigmas.tolist()
        if sigmas.ndim != 1:
            raise ValueError(f"sigmas: got shape {tuple(sigmas.shape)}; allowed is one dimension")
    elif isinstance(sigmas, Sequence) and not isinstance(sigmas, str):
        values = list(sigmas)
    else:
        raise TypeError(
            f"sigmas: got {checks.shown(sigmas)}; allowed are decreasing numbers, such as "
            "noise.log_linear(20)"
        )
    wrong = [v for v in values if not isinstance(v, Real) or isinstance(v, bool)]
    if wrong:
        raise TypeError(f"sigmas: got {checks.shown(wrong[0])} among them; allowed are numbers")
    if len(values) < 2:
        raise ValueError(f"sigmas: got {len(values)} entries; allowed are two or more")
    for i, (high, low) in enumerate(pairwise(values)):
        if not (math.isfinite(high) and low < high):
            raise ValueError(
                f"sigmas: entries {i} and {i + 1} are {high:g} and {low:g}; "
                "allowed is a strictly decreasing, finite sequence"
            )
    if not values[-1] >= 0:
        raise ValueError(f"sigmas: the last entry is {values[-1]:g}; allowed is 0 or more")
    return values


def _schedule(
    curve, steps: int, sigma_max: float, sigma_min: float, final_zero: bool, upper=math.inf
) -> Tensor:
    """Build a schedule from ``curve``: float64 positions in [0, 1] -> decreasing sigmas."""
    steps = checks.whole("steps", steps)
    sigma_max = checks.number("sigma_max", sigma_max, above=0)
    sigma_min = checks.number("sigma_min", sigma_min, above=0, below=sigma_max)
    if sigma_max > upper * (1 + 1e-9):
        raise ValueError(f"sigma_max: got {sigma_max!r}; this schedule ends at {upper:g}")
    levels = steps if final_zero else steps + 1
    positions = torch.linspace(0, 1, levels, dtype=torch.float64)
    sigmas = curve(positions)
    sigmas[0] = sigma_max
    if levels > 1:
        sigmas[-1] = sigma_min
    if final_zero:
        sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
    sigmas = sigmas.to(torch.get_default_dtype())
    if not (sigmas.diff() < 0).all():
        raise ValueError(
            f"steps: got {steps} between {sigma_max:g} and {sigma_min:g}, too many for "
            f"{sigmas.dtype}: neighbouring levels are equal; allowed are fewer, or a wider range"
        )
    return sigmas


def log_linear(
    steps: int, sigma_max: float = 80.0, sigma_min: float = 0.002, final_zero: bool = True
) -> Tensor:
    """Noise levels at equal ratios (Permenter & Yuan 2024: the schedule of their sampler).

    Parameters
    ----------
    steps : int, at least 1
        Sampling steps; the schedule has ``steps + 1`` entries.
    sigma_max, sigma_min : float, in the units of the data
        Largest and smallest positive level. With ``steps=1`` and ``final_zero`` only
        ``sigma_max`` is used.
    final_zero : bool
        End at 0 (default), or at ``sigma_min``.

    Returns
    -------
    (steps + 1,) tensor, strictly decreasing, in torch's default type.

    Raises
    ------
    ValueError
        If ``steps`` is below 1, or not ``0 < sigma_min < sigma_max``.
    """
    return _schedule(
        lambda u: torch.exp(math.log(sigma_max) * (1 - u) + math.log(sigma_min) * u),
        steps,
        sigma_max,
        sigma_min,
        final_zero,
    )


def karras(
    steps: int,
    sigma_max: float = 80.0,
    sigma_min: float = 0.002,
    final_zero: bool = True,
    rho: float = 7.0,
) -> Tensor:
    """Noise levels at equal distances of ``sigma^(1/rho)`` (Karras et al. 2022, eq. 5).

    Parameters are those of ``log_linear``; ``rho`` > 0 shortens the steps near ``sigma_min``.
    """
    rho = checks.number("rho", rho, above=0)
    return _schedule(
        lambda u: ((1 - u) * sigma_max ** (1 / rho) + u * sigma_min ** (1 / rho)) ** rho,
        steps,
        sigma_max,
        sigma_min,
        final_zero,
    )


def ddpm_alphas_cumprod(
    train_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> Tensor:
    """Cumulated signal power of DDPM's linear betas, (train_steps,) (Ho et al. 2020)."""
    train_steps = checks.whole("train_steps", train_steps, 2)
    beta_start = checks.number("beta_start", beta_start, above=0, below=1)
    beta_end = checks.number("beta_end", beta_end, above=0, below=1)
    betas = torch.linspace(beta_start, beta_end, train_steps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def check_alphas_cumprod(value: Any) -> Tensor:
    """Return a training schedule's signal powers as a tensor (T,), T at least 2.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor or array, or does not decrease from below 1 to 0 or above.
    """
    if not isinstance(value, (Tensor, np.ndarray)):
        raise TypeError(f"alphas_cumprod: got {checks.shown(value)}; allowed is a tensor or array")
    value = torch.as_tensor(value)
    if value.ndim != 1 or len(value) < 2:
        raise ValueError(
            f"alphas_cumprod: got {checks.shown(value)}; allowed is a tensor of one dimension with "
            "two or more entries"
        )
    if not ((value.diff() < 0).all() and value[0] < 1 and value[-1] >= 0):
        raise ValueError(
            f"alphas_cumprod: got {value[0]:g} to {value[-1]:g}; allowed is a decreasing sequence "
            "below 1 and not below 0"
        )
    return value


def sigmas_from_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    """Noise levels ``sqrt((1 - a) / a)`` of variance-preserving signal powers ``a`` (eq-vp)."""
    checks.tensor("alphas_cumprod", alphas_cumprod, "(T,)")
    if not ((alphas_cumprod >= 0) & (alphas_cumprod <= 1)).all():
        low, high = (end.item() for end in alphas_cumprod.aminmax())
        raise ValueError(
            f"alphas_cumprod: got {low:g} to {high:g}; allowed are numbers from 0 to 1"
        )
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def ddpm(
    steps: int,
    sigma_max: float | None = None,
    sigma_min: float | None = None,
    final_zero: bool = True,
    alphas_cumprod: Tensor | None = None,
) -> Tensor:
    """Noise levels at equal distances of the training timestep (Ho et al. 2020).

    Between whole timesteps ``log sigma`` is interpolated linearly.

    Parameters
    ----------
    steps, final_zero : as in ``log_linear``
    sigma_max, sigma_min : float, optional
        Part of the training range to use; default: all of it.
    alphas_cumprod : (T,) decreasing tensor or array, optional
        The training schedule; default: ``ddpm_alphas_cumprod()``. A last one of 0 (zero terminal
        SNR) is left out: its level is infinite.
    """
    if alphas_cumprod is None:
        alphas_cumprod = ddpm_alphas_cumprod()
    train = sigmas_from_alphas_cumprod(check_alphas_cumprod(alphas_cumprod).double().cpu())
    # At zero terminal SNR the last level is infinite; its neighbour is the largest to be asked.
    train = train[train.isfinite()].log()
    low, high = train[0].exp().item(), train[-1].exp().item()
    sigma_max = high if sigma_max is None else sigma_max
    sigma_min = low if sigma_min is None else sigma_min
    sigma_max = checks.number("sigma_max", sigma_max, above=0)
    sigma_min = checks.number("sigma_min", sigma_min, above=0, below=sigma_max)
    if sigma_min < low * (1 - 1e-9):
        raise ValueError(f"sigma_min: got {sigma_min!r}; this schedule starts at {low:g}")

    def curve(u: Tensor) -> Tensor:
        ends = interpolate(torch.tensor([sigma_max, sigma_min]).double().log(), train)
        t = ends[0] * (1 - u) + ends[1] * u
        below = t.long().clamp(0, len(train) - 2)
        return torch.lerp(train[below], train[below + 1], t - below).exp()

    return _schedule(curve, steps, sigma_max, sigma_min, final_zero, upper=high)


def interpolate(value: Tensor, grid: Tensor) -> Tensor:
    """Fractional index of ``value`` in the increasing 1-D ``grid``, clamped to its ends."""
    above = torch.searchsorted(grid, value.contiguous()).clamp(1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    return (above - 1 + (value - low) / (high - low)).clamp(0, len(grid) - 1)


def cosine(
    steps: int, sigma_max: float = 80.0, sigma_min: float = 0.002, final_zero: bool = True
) -> Tensor:
    """Noise levels at equal angles ``arctan(sigma)`` (Nichol & Dhariwal 2021).

    A variance-preserving state with signal ``cos(angle)`` has the level ``sigma = tan(angle)``.
    The paper's offset and clipping only fix the ends, here ``sigma_max`` and ``sigma_min``.
    Parameters are those of ``log_linear``.
    """
    return _schedule(
        lambda u: torch.tan(math.atan(sigma_max) * (1 - u) + math.atan(sigma_min) * u),
        steps,
        sigma_max,
        sigma_min,
        final_zero,
    )
