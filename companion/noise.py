"""The corruption ``x_sigma = x_0 + sigma * eps``: random draws, noise schedules, laws of sigma.

A noise level is always a standard deviation ``sigma`` in the units of the data (the
variance-exploding convention of Karras et al. 2022). The other conventions in the literature are
changes of variable: ``log_snr``, ``sigma_from_log_snr``, ``to_variance_preserving``,
``from_variance_preserving``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Discrete",
    "Generator",
    "LevelDensity",
    "LogLogistic",
    "LogNormal",
    "LogUniform",
    "SigmaDistribution",
    "check_sigmas",
    "corrupt",
    "cosine",
    "ddpm",
    "ddpm_alphas_cumprod",
    "expand",
    "from_variance_preserving",
    "karras",
    "log_linear",
    "log_snr",
    "rand",
    "randint",
    "randn",
    "randn_like",
    "sigma_from_log_snr",
    "sigmas_from_alphas_cumprod",
    "to_variance_preserving",
]

Generator: TypeAlias = "torch.Generator | Sequence[torch.Generator] | None"
"""Where random numbers come from: one generator, or one for each of several stacked runs.

With R generators the leading dimension of what is drawn is split into R equal parts, one for each,
so that a run draws the same numbers alone as beside others. ``None`` is torch's global generator.
"""


# --- random draws -------------------------------------------------------------------------------


def _draw(function, shape, generator: Generator, device, dtype, *args) -> Tensor:
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        drawn = function(*args, tuple(shape), generator=generator, device=source, dtype=dtype)
        return drawn if device is None else drawn.to(device)
    runs = len(generator)
    if not runs or shape[0] % runs:
        raise ValueError(
            f"generator: {runs} generators cannot share a leading dimension of {shape[0]}; "
            "it must be a multiple of their number"
        )
    drawn = torch.empty(tuple(shape), device=generator[0].device, dtype=dtype)
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
    return randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def rand(shape, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
    """Draw numbers of ``shape`` uniformly from [0, 1)."""
    return _draw(torch.rand, shape, generator, device, dtype)


def randint(high: int, shape, *, generator: Generator = None, device=None) -> Tensor:
    """Draw int64 numbers of ``shape`` uniformly from 0, ..., ``high - 1``."""
    return _draw(torch.randint, shape, generator, device, torch.int64, high)


# --- the corruption and its conventions ---------------------------------------------------------


def expand(sigma: Tensor | float, x: Tensor) -> Tensor | float:
    """Make ``sigma`` broadcast against ``x``.

    Parameters
    ----------
    sigma : float, 0-d tensor or (B,) tensor
    x : (B, *shape) tensor

    Returns
    -------
    The float or 0-d tensor itself, or a (B, 1, ..., 1) tensor of the type and device of ``x``.

    Raises
    ------
    ValueError
        If ``sigma`` is a tensor of any other shape.
    """
    if not isinstance(sigma, Tensor):
        return float(sigma)
    if sigma.ndim == 0:
        return sigma.to(x)
    if sigma.shape != x.shape[:1]:
        raise ValueError(
            f"sigma: got shape {tuple(sigma.shape)} with x of shape {tuple(x.shape)}; "
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
    if eps is None:
        eps = randn_like(x, generator)
    elif eps.shape != x.shape:
        raise ValueError(f"eps: got shape {tuple(eps.shape)}; x has shape {tuple(x.shape)}")
    return x + expand(sigma, x) * eps


def log_snr(sigma: Tensor | float) -> Tensor | float:
    """Log signal-to-noise ratio ``alpha = -2 ln sigma`` of data of unit power (eq-log-snr)."""
    return -2 * (sigma.log() if isinstance(sigma, Tensor) else math.log(sigma))


def sigma_from_log_snr(alpha: Tensor | float) -> Tensor | float:
    """Noise level ``sigma = exp(-alpha / 2)`` of a log signal-to-noise ratio (eq-log-snr)."""
    return (-alpha / 2).exp() if isinstance(alpha, Tensor) else math.exp(-alpha / 2)


def to_variance_preserving(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Scale ``x_sigma`` to ``x_sigma / sqrt(1 + sigma^2)``, the state of DDPM papers (eq-vp)."""
    return x / (1 + expand(sigma, x) ** 2) ** 0.5


def from_variance_preserving(z: Tensor, sigma: Tensor | float) -> Tensor:
    """Undo ``to_variance_preserving``: ``z * sqrt(1 + sigma^2)`` (eq-vp)."""
    return z * (1 + expand(sigma, z) ** 2) ** 0.5


# --- schedules: the levels that a sampler visits ------------------------------------------------


def check_sigmas(sigmas: Tensor | Sequence[float]) -> list[float]:
    """Return a schedule as floats, or say what is wrong with it.

    A schedule is one-dimensional, finite, strictly decreasing, at least two entries long; only its
    last entry may be 0.
    """
    values = sigmas.tolist() if isinstance(sigmas, Tensor) else list(sigmas)
    if not isinstance(values, list) or any(isinstance(v, list) for v in values):
        shape = tuple(sigmas.shape) if isinstance(sigmas, Tensor) else "nested"
        raise ValueError(f"sigmas: got shape {shape}; allowed is one dimension")
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
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise ValueError(f"steps: got {steps!r}; allowed is a whole number of at least 1")
    if not (0 < sigma_min < sigma_max < math.inf):
        raise ValueError(
            f"sigma_min, sigma_max: got {sigma_min!r} and {sigma_max!r}; "
            "allowed is 0 < sigma_min < sigma_max < inf"
        )
    if sigma_max > upper * (1 + 1e-9):
        raise ValueError(f"sigma_max: got {sigma_max!r}; this schedule ends at {upper:g}")
    levels = int(steps) if final_zero else int(steps) + 1
    positions = torch.linspace(0, 1, levels, dtype=torch.float64)
    sigmas = curve(positions)
    sigmas[0] = sigma_max
    if levels > 1:
        sigmas[-1] = sigma_min
    if final_zero:
        sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
    return sigmas.to(torch.get_default_dtype())


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
    if not rho > 0:
        raise ValueError(f"rho: got {rho!r}; allowed is a number above 0")
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
    betas = torch.linspace(beta_start, beta_end, train_steps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def sigmas_from_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    """Noise levels ``sqrt((1 - a) / a)`` of variance-preserving signal powers ``a`` (eq-vp)."""
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
    alphas_cumprod : (T,) decreasing tensor, optional
        The training schedule; default: ``ddpm_alphas_cumprod()``.
    """
    if alphas_cumprod is None:
        alphas_cumprod = ddpm_alphas_cumprod()
    train = sigmas_from_alphas_cumprod(alphas_cumprod.double().cpu()).log()
    low, high = train[0].exp().item(), train[-1].exp().item()
    sigma_max = high if sigma_max is None else sigma_max
    sigma_min = low if sigma_min is None else sigma_min
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


# --- laws of sigma in training ------------------------------------------------------------------


class SigmaDistribution(Protocol):
    """How training draws noise levels."""

    @property
    def range(self) -> tuple[float, float]:
        """Levels between which all but about one in a thousand draws lie."""
        ...

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        ...


class LevelDensity(SigmaDistribution, Protocol):
    """A law of levels that can stand under an integral over ``alpha = -2 ln sigma``."""

    def quantile(self, u: Tensor) -> Tensor:
        """Levels below which a share ``1 - u`` of the draws lies: alpha grows with ``u``."""
        ...

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha`` (not of sigma) at these levels."""
        ...


@dataclass(frozen=True)
class LogNormal:
    """``ln sigma ~ N(mean, std^2)`` (Karras et al. 2022, table 1: mean -1.2, std 1.2)."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self):
        if not self.std > 0:
            raise ValueError(f"std: got {self.std!r}; allowed is a number above 0")

    @property
    def range(self) -> tuple[float, float]:
        """Levels at 3.29 standard deviations, between which 99.9 % of the draws lie."""
        return math.exp(self.mean - 3.29 * self.std), math.exp(self.mean + 3.29 * self.std)

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        z = randn((n,), generator=generator, device=device, dtype=dtype)
        return z.mul_(self.std).add_(self.mean).exp_()


@dataclass(frozen=True)
class LogUniform:
    """``ln sigma`` uniform between ``ln sigma_min`` and ``ln sigma_max``."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self):
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"sigma_min, sigma_max: got {self.sigma_min!r} and {self.sigma_max!r}; "
                "allowed is 0 < sigma_min < sigma_max < inf"
            )

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest level."""
        return self.sigma_min, self.sigma_max

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        u = rand((n,), generator=generator, device=device, dtype=dtype)
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return u.mul_(high - low).add_(low).exp_()

    def quantile(self, u: Tensor) -> Tensor:
        """Levels at the shares ``u`` of log SNR: ``sigma_max`` at 0, ``sigma_min`` at 1."""
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (high + u * (low - high)).exp()

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha = -2 ln sigma``, the same at all levels."""
        return torch.full_like(sigma, 0.5 / math.log(self.sigma_max / self.sigma_min))


@dataclass(frozen=True)
class LogLogistic:
    """``alpha = -2 ln sigma`` logistic, cut off ``clip`` scales from its middle.

    The law of levels in information-theoretic diffusion (Kong et al. 2023) and in the official code
    of the contrastive diffusion loss (Wu et al. 2024).

    Parameters
    ----------
    location, scale : float
        Of log SNR (default 4 and 4: that code's for CIFAR-10).
    clip : float, above 0 (default 3)
    """

    location: float = 4.0
    scale: float = 4.0
    clip: float = 3.0

    def __post_init__(self):
        for name, value in (("scale", self.scale), ("clip", self.clip)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value!r}; allowed is a finite number above 0")

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest level."""
        reach = self.clip * self.scale
        return math.exp(-(self.location + reach) / 2), math.exp(-(self.location - reach) / 2)

    @property
    def _tail(self) -> float:
        return 1 / (1 + math.exp(self.clip))

    def quantile(self, u: Tensor) -> Tensor:
        """Levels at the shares ``u`` of log SNR: the largest at 0, the smallest at 1."""
        share = self._tail + (1 - 2 * self._tail) * u
        return (-0.5 * (self.location + self.scale * torch.logit(share))).exp()

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha = -2 ln sigma`` at levels within the range."""
        z = (-2 * sigma.log() - self.location) / self.scale
        bell = torch.sigmoid(z) * torch.sigmoid(-z)
        return bell / (self.scale * (1 - 2 * self._tail))

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        return self.quantile(rand((n,), generator=generator, device=device, dtype=dtype))


@dataclass(frozen=True)
class Discrete:
    """Uniform over a list of levels, as DDPM's training draws its timesteps."""

    sigmas: tuple[float, ...]

    def __post_init__(self):
        values = tuple(float(s) for s in self.sigmas)
        if not values or not all(0 < s < math.inf for s in values):
            raise ValueError(
                f"sigmas: got {self.sigmas!r}; allowed are one or more positive numbers"
            )
        object.__setattr__(self, "sigmas", values)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest level."""
        return min(self.sigmas), max(self.sigmas)

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        index = randint(len(self.sigmas), (n,), generator=generator, device=device)
        return torch.tensor(self.sigmas, device=index.device, dtype=dtype)[index]
