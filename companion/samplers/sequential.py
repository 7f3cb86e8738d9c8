"""Samplers that take one noise level after the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, check_sigmas, corrupt, randn_like

__all__ = [
    "Callback",
    "Start",
    "Step",
    "ddim",
    "ddpm",
    "gradient_estimation",
    "heun",
    "partway",
    "trajectory",
]

S = TypeVar("S", bound=Callable[..., Any])


class Step(NamedTuple):
    """What a sampler tells its callback before it leaves a noise level."""

    number: int
    """Position in ``sigmas``, from 0."""
    sigma: float
    """The level, ``sigmas[number]``."""
    x: Tensor
    """State at that level, (B, *shape). It is not changed in place later."""
    denoised: Tensor
    """``D(x, sigma)``, (B, *shape)."""


Callback: TypeAlias = Callable[[Step], object]


def differentiable(sampler: S) -> S:
    """Let a sampler record gradients where its argument ``grad`` says so, and only there."""

    @functools.wraps(sampler)
    def run(*args: Any, **kwargs: Any) -> Any:
        grad = checks.instance("grad", kwargs.get("grad", False), bool, "True or False")
        with torch.set_grad_enabled(grad):
            return sampler(*args, **kwargs)

    return cast(S, run)


def numbered_steps(
    x: Tensor, sigmas: Tensor, callback: Callback | None
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Check what samplers are given; return number, level and the level below of each step."""
    checks.batch("x", x)
    if callback is not None:
        checks.function("callback", callback)
    return enumerate(pairwise(check_sigmas(sigmas)))


@differentiable
def ddim(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Euler steps on the probability-flow ODE (eq-ddim).

    ``x' = D + (sigma' / sigma) (x - D)``: keep the estimate, shrink the noise. Source: Song, Meng &
    Ermon 2021; in this convention Karras et al. 2022, algorithm 1 without its correction.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) tensor
        State at ``sigmas[0]``.
    sigmas : (N + 1,) tensor, strictly decreasing; only the last may be 0
    grad : bool
        Record gradients, of the result in ``x`` and in the denoiser's parameters (default: not).
        The memory grows with N.
    callback : called with a ``Step`` at each of the N levels (default: none)

    Returns
    -------
    State at ``sigmas[-1]``, (B, *shape); N evaluations.

    Raises
    ------
    ValueError
        If ``x`` is not a floating-point batch or ``sigmas`` is not a schedule.
    """
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        x = torch.lerp(denoised, x, below / sigma)
    return x


@differentiable
def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generator = None,
    noise_scale: float = 1.0,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling: the posterior of the next level, with ``x_0`` put at ``D`` (eq-ddpm).

    ``x' = D + r^2 (x - D) + noise_scale sigma' sqrt(1 - r^2) z`` with ``r = sigma' / sigma`` and
    fresh noise ``z``. Source: Ho et al. 2020, eqs. 6 and 7 (the posterior variance).

    Parameters
    ----------
    denoiser, x, sigmas, grad, callback : as in ``ddim``
    generator : source of the noise (default: torch's global generator)
    noise_scale : float, at least 0
        Factor of the fresh noise: 1 is DDPM (default), 0 its mean alone (not DDIM).
    """
    noise_scale = checks.number("noise_scale", noise_scale, at_least=0)
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        x, std = ddpm_step(x, denoised, sigma, below)
        if below > 0 and noise_scale > 0:
            x = x.add_(randn_like(x, generator), alpha=noise_scale * std)
    return x


def ddpm_step(x: Tensor, denoised: Tensor, sigma: float, below: float) -> tuple[Tensor, float]:
    """Mean (B, *shape) and standard deviation of one ancestral step (eq-ddpm)."""
    share = (below / sigma) ** 2
    return torch.lerp(denoised, x, share), below * math.sqrt(1 - share)


@differentiable
def heun(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's second-order steps on the probability-flow ODE (eq-heun).

    Each step costs two evaluations, the step to ``sigma = 0`` one. Source: Karras et al. 2022,
    algorithm 1. Parameters are those of ``ddim``; 2 N - 1 evaluations when ``sigmas`` ends at 0.
    """
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        euler = torch.lerp(denoised, x, below / sigma)
        if below > 0:
            slope = (x - denoised) / sigma + (euler - denoise(denoiser, euler, below)) / below
            x = x.add(slope, alpha=(below - sigma) / 2)
        else:
            x = euler
    return x


@differentiable
def gradient_estimation(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    gamma: float = 2.0,
    grad: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Descend along ``gamma eps_hat + (1 - gamma) eps_hat_before`` (eq-gradient-estimation).

    The noise seen at the level before enters with a negative weight: the direction is extrapolated
    to where the step ends. The first step is DDIM. Source: Permenter & Yuan 2024, eq. 12.

    Parameters
    ----------
    denoiser, x, sigmas, grad, callback : as in ``ddim``
    gamma : float
        Weight of the present direction: 2 (default) is the paper's choice, 1 is DDIM.
    """
    gamma = checks.number("gamma", gamma)
    weights = [1.0]
    removed: list[Tensor] = []  # x - D = sigma eps, of this level and the one before
    levels: list[float] = []
    for i, (sigma, below) in numbered_steps(x, sigmas, callback):
        denoised = denoise(denoiser, x, sigma)
        if callback is not None:
            callback(Step(i, sigma, x, denoised))
        removed, levels = [x - denoised, *removed[:1]], [sigma, *levels[:1]]
        x = step_of_noise(x, removed, levels, weights, below)
        weights = [gamma, 1 - gamma]
    return x


def step_of_noise(
    x: Tensor,
    removed: Sequence[Tensor],
    levels: Sequence[float],
    weights: Sequence[float],
    below: float,
) -> Tensor:
    """``x + (below - sigma) sum_j w_j eps_j``, a new tensor, in one operation for each noise.

    Newest first; ``removed`` is ``eps_j`` times its level.
    """
    length = below - levels[0]
    x = x.add(removed[0], alpha=length * weights[0] / levels[0])
    for noise, level, weight in zip(removed[1:], levels[1:], weights[1:]):
        x.add_(noise, alpha=length * weight / level)
    return x


class Start(NamedTuple):
    """Where sampling starts that does not start from noise alone."""

    x: Tensor
    """State at ``sigmas[0]``, (B, *shape)."""
    sigmas: Tensor
    """Levels from there on, (n + 1,)."""


def partway(
    x0: Tensor, sigmas: Tensor, strength: float = 0.6, *, generator: Generator = None
) -> Start:
    """Start part of the way down a schedule, from data with noise: image to image.

    ``x0 + sigma eps`` at the level from which a share ``strength`` of the steps is left. What the
    noise covers is drawn anew, what it does not cover stays (SDEdit, Meng et al. 2022).

    Parameters
    ----------
    x0 : (B, *shape) tensor
        Data to start from, not always of the distribution that the denoiser knows: a sketch.
    sigmas : (N + 1,) tensor
        The whole schedule.
    strength : float above 0, at most 1
        Share of the N steps to take, rounded down but at least one (default 0.6). With 1 all.
    generator : source of the noise (default: torch's global generator)

    Returns
    -------
    Start
        ``(x, sigmas)`` as the samplers take them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from companion import noise, oracles
    >>> law = oracles.GaussianMixture([[0.0, 0.0]], 1.0)
    >>> start = partway(torch.ones(3, 2), noise.log_linear(20), 0.5)
    >>> len(start.sigmas), ddim(law.denoiser, *start).shape
    (11, torch.Size([3, 2]))
    """
    checks.batch("x0", x0)
    strength = checks.number("strength", strength, above=0, at_most=1)
    levels = check_sigmas(sigmas)
    steps = max(1, int((len(levels) - 1) * strength + 1e-9))
    left = torch.as_tensor(sigmas)[-steps - 1 :]
    return Start(corrupt(x0, float(left[0]), generator=generator), left)


def trajectory(sampler: Callable[..., Tensor], denoiser: Denoiser, x: Tensor, sigmas: Tensor, **kw):
    """Run a sampler and keep every state: (N + 1, B, *shape), from ``sigmas[0]`` to ``[-1]``.

    ``kw`` goes to the sampler.
    """
    checks.function("sampler", sampler)
    states: list[Tensor] = []
    last = sampler(denoiser, x, sigmas, callback=lambda step: states.append(step.x), **kw)
    return torch.stack([*states, last])
