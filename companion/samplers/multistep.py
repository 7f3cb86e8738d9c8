"""Multistep samplers: what was seen at earlier levels is extrapolated to where the step ends.

All are one update. In the terms of the denoiser, with ``r = sigma' / sigma``,

    x' = r x + (1 - r) D_hat,    D_hat = sum_j w_j D_j,    sum_j w_j = 1,

where ``D_0`` is the present answer and ``D_1, D_2`` those of the levels before. DDIM has
``w = (1)``. ``deis`` combines the noise that was seen in place of the denoised answers, as gradient
estimation does. The methods differ in the weights, which depend on the levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.samplers.sequential import (
    Callback,
    Step,
    differentiable,
    numbered_steps,
    step_of_noise,
)

__all__ = ["deis", "dpmpp_2m", "dpmpp_3m", "unipc"]


# --- the weights --------------------------------------------------------------------------------


def midpoint_weights(levels: Sequence[float], below: float) -> list[float]:
    """Weights of DPM-Solver++(2M): the answer at half of the step, on a line in ``log sigma``."""
    if len(levels) == 1:
        return [1.0]
    ratio = math.log(levels[1] / levels[0]) / math.log(levels[0] / below)
    return [1 + 1 / (2 * ratio), -1 / (2 * ratio)]


def third_order_weights(levels: Sequence[float], below: float) -> list[float]:
    """Weights of DPM-Solver++(3M): first and second differences of the answers.

    The weight of the second difference is half of what a parabola through the answers needs, as in
    the authors' code. So the method is of second order, with a small constant.
    """
    if len(levels) < 3:
        return midpoint_weights(levels, below)
    h = math.log(levels[0] / below)
    a, b = math.log(levels[1] / levels[0]) / h, math.log(levels[2] / levels[1]) / h
    r = math.exp(-h)
    # weights of the slope and of the bend in D_hat, which are made of the divided differences
    # (D_0 - D_1) / a and (D_1 - D_2) / b
    slope = ((r - 1) / h + 1) / (1 - r)
    bend = -((r - 1 + h) / h**2 - 0.5) / (1 - r)
    before = -(slope * a + bend) / (a + b)
    newest, before = (slope - before) / a, before / b
    return [1 + newest, before - newest, -before]


def polynomial_weights(levels: Sequence[float], below: float) -> list[float]:
    """Weights of DEIS: the mean, over the step, of a polynomial in ``log sigma``."""
    if len(levels) == 1:
        return [1.0]
    # Means of powers of log(s / level) over s from the level to the one below.
    h = math.log(below / levels[0])
    edge = below / (below - levels[0])
    first = edge * h - 1
    one = math.log(levels[1] / levels[0])
    if len(levels) == 2:
        return [1 - first / one, first / one]
    second = edge * h * h - 2 * first
    two = math.log(levels[2] / levels[0])
    w1 = (second - two * first) / (one * (one - two))
    w2 = (second - one * first) / (two * (two - one))
    return [1 - w1 - w2, w1, w2]


# --- the steps ----------------------------------------------------------------------------------


def step_of_answers(
    x: Tensor, answers: Sequence[Tensor], weights: Sequence[float], ratio: float
) -> Tensor:
    """``ratio x + (1 - ratio) sum_j w_j D_j``, a new tensor, in one operation for each answer.

    One to three answers, newest first; the weights' sum is 1.
    """
    if len(weights) == 1:
        return torch.lerp(answers[0], x, ratio)
    if len(weights) == 2:
        return torch.lerp(answers[1], answers[0], weights[0]).lerp_(x, ratio)
    first, _, third = weights
    rest = 1 - third
    if abs(rest) < 1e-3:  # the first two cancel out
        mixed = torch.mul(answers[2], third).add_(answers[1], alpha=weights[1])
        return mixed.add_(answers[0], alpha=first).lerp_(x, ratio)
    mixed = torch.lerp(answers[1], answers[0], first / rest)
    return mixed.lerp_(answers[2], third).lerp_(x, ratio)


# --- the samplers -------------------------------------------------------------------------------


def _denoised_steps(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    order: int,
    weights: Callable[[Sequence[float], float], list[float]],
    callback: Callback | None,
) -> Tensor:
    answers: list[Tensor] = []
    levels: list[float] = []
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        answers, levels = [denoised, *answers[: order - 1]], [sigma, *levels[: order - 1]]
        if below == 0:
            return denoised
        x = step_of_answers(x, answers, weights(levels, below), below / sigma)
    return x


@differentiable
def dpmpp_2m(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M): the denoised answer on a line in ``log sigma``, at half of the step.

    ``D_hat = D + (h / 2 h_before) (D - D_before)`` with ``h = log(sigma / sigma')``; the first step
    and a step to 0 are DDIM. Source: Lu et al. 2022, *DPM-Solver++*, algorithm 2.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) tensor
        State at ``sigmas[0]``.
    sigmas : (N + 1,) tensor, strictly decreasing; only the last may be 0
    grad : bool
        Record gradients, as in ``ddim`` (default: not).
    callback : called with a ``Step`` at each of the N levels (default: none)

    Returns
    -------
    State at ``sigmas[-1]``, (B, *shape); N evaluations.

    Raises
    ------
    ValueError
        If ``x`` is not a floating-point batch or ``sigmas`` is not a schedule.
    """
    return _denoised_steps(denoiser, x, sigmas, 2, midpoint_weights, callback)


@differentiable
def dpmpp_3m(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(3M): as ``dpmpp_2m`` with the answers of three levels.

    Steps one and two are those of ``dpmpp_2m``; a step to 0 is DDIM. It converges with second
    order: the published weight of the second difference is half of a parabola's. Source: Lu et al.
    2022, in the multistep form of their code. Parameters are those of ``dpmpp_2m``; N evaluations.
    """
    return _denoised_steps(denoiser, x, sigmas, 3, third_order_weights, callback)


@differentiable
def deis(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    order: int = 2,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """DEIS: a polynomial in ``log sigma`` through the noise that was seen, integrated exactly.

    ``x' = x + (sigma' - sigma) sum_j w_j eps_j``. With ``order=2`` it is gradient estimation with
    the ``gamma`` of eq-ov-gamma. Source: Zhang & Chen 2023, *Fast Sampling of Diffusion Models with
    Exponential Integrator* (tAB-DEIS, in ``log rho``).

    Parameters
    ----------
    denoiser, x, sigmas, grad, callback : as in ``dpmpp_2m``
    order : {1, 2, 3}
        Levels that are used; 1 is DDIM (default 2). A step to 0 is DDIM.
    """
    order = checks.whole("order", order, 1, 3)
    removed: list[Tensor] = []  # x - D = sigma eps, of each level
    levels: list[float] = []
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        if below == 0:
            return denoised
        removed = [x - denoised, *removed[: order - 1]]
        levels = [sigma, *levels[: order - 1]]
        x = step_of_noise(x, removed, levels, polynomial_weights(levels, below), below)
    return x


@differentiable
def unipc(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    variant: str = "bh2",
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """UniPC of order 2: each new answer first corrects the step that led to it.

    The predictor is a step of two levels. When the next level's answer is there, the same step is
    taken again with it (the corrector), at no further evaluation. Source: Zhao et al. 2023,
    *UniPC*, with ``B(h) = h`` ("bh1") or ``exp(h) - 1`` ("bh2").

    Parameters
    ----------
    denoiser, x, sigmas, grad, callback : as in ``dpmpp_2m``
    variant : {"bh1", "bh2"}
        The authors recommend "bh1" for few steps (default "bh2", as in diffusers).

    Returns
    -------
    State at ``sigmas[-1]``, (B, *shape); N evaluations. ``Step.x`` of the callback is the state at
    which the network was evaluated, before its correction.
    """
    checks.choice("variant", variant, ("bh1", "bh2"))
    answers: list[Tensor] = []
    levels: list[float] = []
    start = x  # corrected state at the level before
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        if below == 0:
            return denoised
        if answers:
            weights = _corrector(levels, sigma, variant)
            x = step_of_answers(start, [denoised, *answers], weights, sigma / levels[0])
        answers, levels, start = [denoised, *answers[:1]], [sigma, *levels[:1]], x
        x = step_of_answers(x, answers, _predictor(levels, below, variant), below / sigma)
    return x


def _predictor(levels: Sequence[float], below: float, variant: str) -> list[float]:
    """Weights of the newest answer and the one before."""
    if len(levels) == 1:
        return [1.0]
    h = math.log(levels[0] / below)
    ratio = math.log(levels[1] / levels[0]) / h
    scale = 1.0 if variant == "bh2" else h / -math.expm1(-h)
    return [1 + scale / (2 * ratio), -scale / (2 * ratio)]


def _corrector(levels: Sequence[float], below: float, variant: str) -> list[float]:
    """Weights of the answer at the level that was reached, at the one it came from, before that."""
    h = math.log(levels[0] / below)
    scale = 1.0 if variant == "bh2" else h / -math.expm1(-h)
    if len(levels) == 1:
        return [scale / 2, 1 - scale / 2]
    node = -math.log(levels[1] / levels[0]) / h
    # Order conditions of the two differences: phi-functions of -h over B(-h).
    base = -h if variant == "bh1" else math.expm1(-h)
    phi_1 = math.expm1(-h) / -h - 1
    phi_2 = phi_1 / -h - 0.5
    # rho_0 + rho_1 = phi_1 / base,  node rho_0 + rho_1 = 2 phi_2 / base
    first = (phi_1 - 2 * phi_2) / base / (1 - node)
    before, reached = first / node * scale, (phi_1 / base - first) * scale
    return [reached, 1 - reached - before, before]
