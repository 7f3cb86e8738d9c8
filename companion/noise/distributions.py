"""Distributions of ``sigma``: how training draws noise levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from companion import checks
from companion.noise.corruption import Generator, rand, randint, randn

__all__ = [
    "Discrete",
    "LevelDensity",
    "LogLogistic",
    "LogNormal",
    "LogUniform",
    "SigmaDistribution",
]


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
    """A distribution of levels that can stand under an integral over ``alpha = -2 ln sigma``."""

    def quantile(self, u: Tensor) -> Tensor:
        """Levels below which a share ``1 - u`` of the draws lies: alpha grows with ``u``."""
        ...

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha`` (not of sigma) at these levels."""
        ...


def check_distribution(name: str, value: Any, part: str = "sample") -> None:
    """Raise a ``TypeError`` unless a value is a distribution of levels that has this method."""
    if isinstance(value, type) or not callable(getattr(value, part, None)):
        example = "LogNormal()" if part == "sample" else "LogUniform() or noise.LogLogistic()"
        raise TypeError(
            f"{name}: got {checks.shown(value)}; allowed is a distribution of noise levels, such "
            f"as noise.{example}"
        )


@dataclass(frozen=True)
class LogNormal:
    """``ln sigma ~ N(mean, std^2)`` (Karras et al. 2022, table 1: mean -1.2, std 1.2)."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self):
        checks.number("mean", self.mean)
        checks.number("std", self.std, above=0)

    @property
    def range(self) -> tuple[float, float]:
        """Levels at 3.29 standard deviations, between which 99.9 % of the draws lie."""
        return math.exp(self.mean - 3.29 * self.std), math.exp(self.mean + 3.29 * self.std)

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        z = randn((checks.whole("n", n, 0),), generator=generator, device=device, dtype=dtype)
        return z.mul_(self.std).add_(self.mean).exp_()


@dataclass(frozen=True)
class LogUniform:
    """``ln sigma`` uniform between ``ln sigma_min`` and ``ln sigma_max``."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self):
        checks.number("sigma_max", self.sigma_max, above=0)
        checks.number("sigma_min", self.sigma_min, above=0, below=self.sigma_max)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest level."""
        return self.sigma_min, self.sigma_max

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        u = rand((checks.whole("n", n, 0),), generator=generator, device=device, dtype=dtype)
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return u.mul_(high - low).add_(low).exp_()

    def quantile(self, u: Tensor) -> Tensor:
        """Levels at the shares ``u`` of log SNR: ``sigma_max`` at 0, ``sigma_min`` at 1."""
        checks.tensor("u", u, "(n,)", at_least=0)
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (high + u * (low - high)).exp()

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha = -2 ln sigma``, the same at all levels."""
        checks.tensor("sigma", sigma, "(n,)", at_least=0)
        return torch.full_like(sigma, 0.5 / math.log(self.sigma_max / self.sigma_min))


@dataclass(frozen=True)
class LogLogistic:
    """``alpha = -2 ln sigma`` logistic, cut off ``clip`` scales from its middle.

    The distribution of levels in information-theoretic diffusion (Kong et al. 2023) and in the
    official code of the contrastive diffusion loss (Wu et al. 2024).

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
        checks.number("location", self.location)
        checks.number("scale", self.scale, above=0)
        checks.number("clip", self.clip, above=0)

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
        checks.tensor("u", u, "(n,)", at_least=0)
        share = self._tail + (1 - 2 * self._tail) * u
        return (-0.5 * (self.location + self.scale * torch.logit(share))).exp()

    def density(self, sigma: Tensor) -> Tensor:
        """Density of ``alpha = -2 ln sigma`` at levels within the range."""
        checks.tensor("sigma", sigma, "(n,)", at_least=0)
        z = (-2 * sigma.log() - self.location) / self.scale
        bell = torch.sigmoid(z) * torch.sigmoid(-z)
        return bell / (self.scale * (1 - 2 * self._tail))

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        n = checks.whole("n", n, 0)
        return self.quantile(rand((n,), generator=generator, device=device, dtype=dtype))


@dataclass(frozen=True)
class Discrete:
    """Uniform over a list of levels, as DDPM's training draws its timesteps."""

    sigmas: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "sigmas", checks.numbers("sigmas", self.sigmas, above=0))

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest level."""
        return min(self.sigmas), max(self.sigmas)

    def sample(self, n: int, *, generator: Generator = None, device=None, dtype=None) -> Tensor:
        """Draw ``n`` noise levels, an (n,) tensor."""
        n = checks.whole("n", n, 0)
        index = randint(len(self.sigmas), (n,), generator=generator, device=device)
        return torch.tensor(self.sigmas, device=index.device, dtype=dtype)[index]
