"""Mixtures of Gaussians: densities, denoisers and posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from companion import checks, devices
from companion.noise import expand, randn

__all__ = ["GaussianMixture", "Posterior"]


class Posterior(NamedTuple):
    """Distribution of ``x_0`` given ``x_sigma = x``: for a mixture, one more mixture each."""

    weights: Tensor
    """(B, K), summing to one over K."""
    means: Tensor
    """(B, K, D)."""
    stds: Tensor
    """(B, K)."""


def check_points(x: Tensor, dim: int, name: str = "x") -> None:
    checks.tensor(name, x, f"(B, {dim})", at_least=0)
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}; allowed is (B, {dim})")


def _numbers(name: str, value: Any, allowed: str) -> Tensor:
    """Numbers in double precision, or an error that names them."""
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: got {checks.shown(value)}; allowed {allowed}") from None


class GaussianMixture:
    """Mixture of isotropic Gaussians: everything about its denoising is known exactly.

    Parameters
    ----------
    means : (K, D) tensor or nested sequence
    stds : (K,) tensor, sequence or float, above 0
        Standard deviation of each component, the same in every direction.
    weights : (K,) tensor or sequence, optional
        Positive; normalised to sum to one. Default: equal.

    Notes
    -----
    Under noise ``sigma`` it stays a mixture, with variances ``stds^2 + sigma^2``. Results have the
    type and device of ``x``. Logits are formed from differences, never from expanded squares, and
    the score without cancellation, so that both hold from ``sigma`` 1e-4 to 1e4 in float32.
    """

    def __init__(
        self,
        means: Tensor | Sequence,
        stds: Tensor | Sequence | float,
        weights: Tensor | Sequence | None = None,
    ):
        self.means = _numbers("means", means, "are numbers (K, D)").clone()
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"means: got shape {tuple(self.means.shape)}; allowed is (K, D)")
        checks.finite("means", self.means)
        k = len(self.means)
        stds = _numbers("stds", stds, f"is a float or ({k},)")
        if stds.ndim > 1 or (stds.ndim == 1 and len(stds) != k):
            raise ValueError(f"stds: got shape {tuple(stds.shape)}; allowed is a float or ({k},)")
        if not ((stds > 0) & stds.isfinite()).all():
            raise ValueError(f"stds: got {stds.tolist()}; allowed are finite numbers above 0")
        self.stds = stds.expand(k).clone()
        w = _numbers("weights", [1.0] * k if weights is None else weights, f"are {k} numbers")
        if w.shape != (k,) or not ((w > 0) & w.isfinite()).all():
            raise ValueError(f"weights: got {w.tolist()}; allowed are {k} positive numbers")
        self.weights = w / w.sum()

    @property
    def dim(self) -> int:
        """Dimension D of the space."""
        return self.means.shape[1]

    def __repr__(self) -> str:
        return f"GaussianMixture({len(self.means)} components in {self.dim} dimensions)"

    def sample(
        self, n: int, generator: torch.Generator | None = None, *, device=None, dtype=None
    ) -> Tensor:
        """Draw ``n`` points, at least one, (n, D)."""
        n = checks.whole("n", n)
        kinds = (torch.Generator, type(None))
        checks.instance("generator", generator, kinds, "None or a torch.Generator")
        where = device if generator is None else generator.device
        kind = devices.wide(torch.empty(0, device=where).device)
        weights = self.weights.to(device=where, dtype=kind)
        index = torch.multinomial(weights, n, replacement=True, generator=generator)
        z = randn((n, self.dim), generator=generator, device=where, dtype=kind)
        x = self.means.to(z)[index] + self.stds.to(z)[index, None] * z
        return x.to(device=device, dtype=dtype or torch.get_default_dtype())

    def noisy(self, sigma: float) -> GaussianMixture:
        """Return the distribution of ``x_sigma``: the mixture convolved with N(0, sigma^2 I)."""
        checks.number("sigma", sigma, at_least=0)
        return GaussianMixture(self.means, (self.stds**2 + sigma**2).sqrt(), self.weights)

    def _components(self, x: Tensor, sigma: Tensor | float):
        """Differences (B, K, D), variances (1 or B, K) and joint log densities (B, K)."""
        check_points(x, self.dim)
        s = expand(sigma, x)
        variances = self.stds.to(x) ** 2 + s**2  # (K,) or (B, K)
        differences = x[:, None, :] - self.means.to(x)
        quadratic = differences.square().sum(-1) / variances
        log_joint = (
            self.weights.to(x).log()
            - 0.5 * quadratic
            - 0.5 * self.dim * (variances.log() + math.log(2 * math.pi))
        )
        return differences, variances, log_joint

    def posterior(self, x: Tensor, sigma: Tensor | float) -> Posterior:
        """Distribution of ``x_0`` given ``x_sigma = x`` (B, D): a mixture for each sample."""
        differences, variances, log_joint = self._components(x, sigma)
        shrink = (self.stds.to(x) ** 2 / variances).expand(len(x), -1)
        stds = shrink.sqrt() * torch.as_tensor(expand(sigma, x), dtype=x.dtype, device=x.device)
        means = self.means.to(x) + shrink[..., None] * differences
        return Posterior(log_joint.softmax(-1), means, stds)

    def denoiser(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Posterior mean ``E[x_0 | x_sigma = x]`` (eq-mixture-denoiser), (B, D)."""
        weights, means, _ = self.posterior(x, sigma)
        return torch.einsum("bk,bkd->bd", weights, means)

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Log density of ``x_sigma`` at ``x`` (B, D), in nats, (B,)."""
        return self._components(x, sigma)[2].logsumexp(-1)

    def score(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Gradient of ``log_prob`` with respect to ``x``, (B, D)."""
        differences, variances, log_joint = self._components(x, sigma)
        return -torch.einsum("bk,bkd->bd", log_joint.softmax(-1) / variances, differences)
