"""The corruption ``x_sigma = x_0 + sigma * eps``: random draws, and other conventions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from companion import checks

__all__ = [
    "Generator",
    "corrupt",
    "expand",
    "from_variance_preserving",
    "log_snr",
    "rand",
    "randint",
    "randn",
    "randn_like",
    "sigma_from_log_snr",
    "to_variance_preserving",
]

Generator: TypeAlias = "torch.Generator | Sequence[torch.Generator] | None"


# --- random draws -------------------------------------------------------------------------------


def _draw(function, shape, generator: Generator, device, dtype, *args) -> Tensor:
    checks.generator("generator", generator)
    try:
        shape = torch.Size(shape)
    except TypeError:
        raise TypeError(
            f"shape: got {checks.shown(shape)}; allowed are whole numbers, such as (8, 2)"
        ) from None
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        drawn = function(*args, shape, generator=generator, device=source, dtype=dtype)
        return drawn if device is None else drawn.to(device)
    runs = len(generator)
    if not runs or shape[0] % runs:
        raise ValueError(
            f"generator: {runs} generators cannot share a leading dimension of {shape[0]}; "
            "it must be a multiple of their number"
        )
    drawn = torch.empty(shape, device=generator[0].device, dtype=dtype)
    for part, g in zip(drawn.chunk(runs), generator):
        function(*args, part.shape, generator=g, out=part)
    return drawn if device is None else drawn.to(device)


def randn(shape, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
    """Draw standard normal numbers of ``shape``.

    A generator on another device than ``device`` is used where it lives and the result is moved:
    a CPU generator gives the same numbers to every device.
    """
    return _draw(torch.randn, shape, generator, device, dtype)


def randn_like(x: Tensor, generator: Generator = None) -> Tensor:
    """Draw standard normal numbers of the shape, type and device of ``x``."""
    checks.tensor("x", x, at_least=0)
    return randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def rand(shape, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
    """Draw numbers of ``shape`` uniformly from [0, 1)."""
    return _draw(torch.rand, shape, generator, device, dtype)


def randint(high: int, shape, *, generator: Generator = None, device=None) -> Tensor:
    """Draw int64 numbers of ``shape`` uniformly from 0, ..., ``high - 1``."""
    high = checks.whole("high", high)
    return _draw(torch.randint, shape, generator, device, torch.int64, high)


# --- the corruption and its conventions ---------------------------------------------------------


def expand(
    sigma: Tensor | float, x: Tensor, *, name: str = "sigma", positive: bool = False
) -> Tensor | float:
    """Make ``sigma`` broadcast against ``x``, after a look at both.

    Parameters
    ----------
    sigma : float, 0-d tensor or (B,) tensor, at least 0
    x : (B, *shape) floating-point tensor
    name : str
        Of ``sigma`` in errors.
    positive : bool
        Whether ``sigma`` must be above 0 (default False).

    Returns
    -------
    The float or 0-d tensor itself, or a (B, 1, ..., 1) tensor of the type and device of ``x``.

    Raises
    ------
    TypeError
        If ``x`` is no floating-point tensor.
    ValueError
        If ``sigma`` is a tensor of any other shape, negative, infinite or NaN.
    """
    checks.tensor("x", x, at_least=0)
    checks.level(name, sigma, positive)
    if not isinstance(sigma, Tensor):
        return float(sigma)
    if sigma.ndim == 0:
        return sigma.to(x)
    if sigma.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: got shape {tuple(sigma.shape)} with x of shape {tuple(x.shape)}; "
            f"allowed are a float, a 0-d tensor, or shape ({x.shape[0] if x.ndim else 'B'},)"
        )
    return sigma.to(x).reshape(-1, *[1] * (x.ndim - 1))


def corrupt(
    x: Tensor, sigma: Tensor | float, *, generator: Generator = None, eps: Tensor | None = None
) -> Tensor:
    """Add noise: ``x + sigma * eps`` with ``eps`` standard normal (eq-corruption).

    Parameters
    ----------
    x : (B, *shape) tensor
    sigma : float, 0-d tensor or (B,) tensor, in the units of ``x``
    generator : source of ``eps`` (default: torch's global generator)
    eps : (B, *shape) tensor, optional. Noise to use instead of drawing it.
    """
    scale = expand(sigma, x)
    if eps is None:
        eps = randn_like(x, generator)
    else:
        checks.like("eps", eps, x)
    return x + scale * eps


def log_snr(sigma: Tensor | float) -> Tensor | float:
    """Log signal-to-noise ratio ``alpha = -2 ln sigma`` of data of unit power (eq-log-snr)."""
    checks.level("sigma", sigma, positive=True)
    return -2 * (sigma.log() if isinstance(sigma, Tensor) else math.log(sigma))


def sigma_from_log_snr(alpha: Tensor | float) -> Tensor | float:
    """Noise level ``sigma = exp(-alpha / 2)`` of a log signal-to-noise ratio (eq-log-snr)."""
    if isinstance(alpha, Tensor):
        return (-alpha / 2).exp()
    return math.exp(-checks.number("alpha", alpha) / 2)


def to_variance_preserving(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Scale ``x_sigma`` to ``x_sigma / sqrt(1 + sigma^2)``, the state of DDPM papers (eq-vp)."""
    return x / (1 + expand(sigma, x) ** 2) ** 0.5


def from_variance_preserving(z: Tensor, sigma: Tensor | float) -> Tensor:
    """Undo ``to_variance_preserving``: ``z * sqrt(1 + sigma^2)`` (eq-vp)."""
    checks.tensor("z", z, at_least=0)
    return z * (1 + expand(sigma, z) ** 2) ** 0.5
