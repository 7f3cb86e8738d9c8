"""Exact answers in closed form: denoisers, densities, projections of mixtures, sets, spheres."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from companion import checks, devices
from companion.noise import Generator, expand, randn

__all__ = ["Empirical", "GaussianMixture", "Posterior", "Sphere"]


class Posterior(NamedTuple):
    """Distribution of ``x_0`` given ``x_sigma = x``: for a mixture, one more mixture each."""

    weights: Tensor
    """(B, K), summing to one over K."""
    means: Tensor
    """(B, K, D)."""
    stds: Tensor
    """(B, K)."""


def _check_points(x: Tensor, dim: int, name: str = "x") -> None:
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
        self.means = _numbers("means", means, "are numbers (K, D)")
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
        _check_points(x, self.dim)
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


class Empirical:
    """Equal mass on each point of a finite data set, and the exact denoiser of that.

    The data are streamed in blocks, with one pass for the posterior mean (an online softmax), so
    that the batch-by-data matrix is never formed: 256 queries against 60,000 images of 784 pixels
    need far less than a gigabyte. Squared distances are accumulated in float64: below
    ``sigma = 1e-2`` their rounding in float32 is larger than the differences that decide.

    Parameters
    ----------
    data : (N, *shape) tensor
        Kept as it is, on its device; queries are moved there and results moved back.
    block : int
        Data points a block (default 4096).
    """

    def __init__(self, data: Tensor, *, block: int = 4096):
        checks.batch("data", data, at_least=1)
        checks.finite("data", data)
        self.data = data
        self.block = checks.whole("block", block)
        self._flat = data.reshape(len(data), -1)
        # Where it is float32 (Metal) the smallest levels lose digits.
        self._wide = devices.wide(data.device)

    def __repr__(self) -> str:
        return f"Empirical({len(self.data)} points of shape {tuple(self.data.shape[1:])})"

    def _stream(self, x: Tensor, visit: Callable[[Tensor, Tensor, int], None]) -> None:
        """Call ``visit(squared distances (B, n), points (n, D), offset)`` block by block."""
        checks.tensor("x", x, f"(B, *{tuple(self.data.shape[1:])})")
        if x.shape[1:] != self.data.shape[1:]:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}; allowed is (B, *{tuple(self.data.shape[1:])})"
            )
        query = x.reshape(len(x), -1).to(self.data.device, self._wide)
        norm = query.square().sum(1, keepdim=True)
        for start in range(0, len(self._flat), self.block):
            points = self._flat[start : start + self.block].to(self._wide)
            distances = torch.addmm(norm + points.square().sum(1), query, points.T, alpha=-2)
            visit(distances.clamp_min_(0), points, start)

    def _moments(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """Posterior mean (B, D) and log of the summed weights (B,), in one pass."""
        s = torch.as_tensor(expand(sigma, x), dtype=self._wide, device=self.data.device)
        if not (s > 0).all():
            raise ValueError(f"sigma: got {s.min().item():g}; allowed are numbers above 0")
        scale = -0.5 / s.reshape(-1, 1) ** 2
        state: dict[str, Tensor] = {}

        def visit(distances: Tensor, points: Tensor, start: int) -> None:
            logits = distances * scale
            top = logits.amax(1, keepdim=True)
            if state:
                top = torch.maximum(top, state["top"])
                fade = (state["top"] - top).exp()
                state["mass"] *= fade
                state["sum"] *= fade
            else:
                state["mass"] = torch.zeros_like(top)
                state["sum"] = logits.new_zeros(len(x), points.shape[1])
            weights = logits.sub_(top).exp_()
            state["top"] = top
            state["mass"] += weights.sum(1, keepdim=True)
            state["sum"].addmm_(weights, points)

        self._stream(x, visit)
        log_mass = (state["mass"].log() + state["top"]).squeeze(1)
        return state["sum"] / state["mass"], log_mass

    def denoiser(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Posterior mean under the empirical distribution (eq-empirical-denoiser), (B, *shape).

        ``sigma`` must be above 0. As it falls to 0 the result falls onto ``project(x)``.
        """
        mean, _ = self._moments(x, sigma)
        return mean.to(x).reshape(x.shape)

    def log_prob(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Log density of ``x_sigma`` at ``x``, in nats, (B,); ``sigma`` must be above 0."""
        _, log_mass = self._moments(x, sigma)
        s = torch.as_tensor(sigma, device=log_mass.device, dtype=log_mass.dtype)
        constant = self._flat.shape[1] * (s.log() + 0.5 * math.log(2 * math.pi))
        return (log_mass - math.log(len(self.data)) - constant).to(x)

    def score(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Gradient of ``log_prob`` with respect to ``x``, (B, *shape); ``sigma`` above 0."""
        return (self.denoiser(x, sigma) - x) / expand(sigma, x) ** 2

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the data point nearest to each ``x`` (B, *shape), (B,) int64."""
        best: dict[str, Tensor] = {}

        def visit(distances: Tensor, _points: Tensor, start: int) -> None:
            value, index = distances.min(1)
            index = index + start
            if best:
                closer = value < best["value"]
                index = torch.where(closer, index, best["index"])
                value = torch.where(closer, value, best["value"])
            best["value"], best["index"] = value, index

        self._stream(x, visit)
        return best["index"].to(x.device)

    def project(self, x: Tensor) -> Tensor:
        """Nearest data point to each ``x``, (B, *shape)."""
        return self.data[self.nearest(x).to(self.data.device)].to(x)

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance of each ``x`` to the data set, (B,)."""
        return (x - self.project(x)).flatten(1).norm(dim=1)


class Sphere:
    """Uniform on a sphere, lying flat in a space of more dimensions: a manifold known exactly.

    The first ``dim + 1`` coordinates hold the sphere, the others are 0. The nearest point is unique
    closer than ``radius`` to the sphere (its reach), and not on the axis through its centre.

    Parameters
    ----------
    dim : int, at least 1
        Dimension of the sphere: 1 is a circle, 2 a ball's surface.
    ambient : int, optional
        Dimension of the space, at least ``dim + 1`` (default: that).
    radius : float, above 0 (default 1)
    """

    def __init__(self, dim: int = 1, ambient: int | None = None, radius: float = 1.0):
        self.dim = checks.whole("dim", dim)
        ambient = self.dim + 1 if ambient is None else ambient
        self.ambient = checks.whole("ambient", ambient, at_least=self.dim + 1)
        self.radius = checks.number("radius", radius, above=0)

    def __repr__(self) -> str:
        return f"Sphere(dim={self.dim}, ambient={self.ambient}, radius={self.radius:g})"

    def sample(self, n: int, generator: Generator = None, *, device=None, dtype=None) -> Tensor:
        """Draw ``n`` points, at least one, (n, ambient)."""
        n = checks.whole("n", n)
        return self.project(
            randn((n, self.ambient), generator=generator, device=device, dtype=dtype)
        )

    def _core(self, x: Tensor, name: str = "x") -> tuple[Tensor, Tensor]:
        """Part of ``x`` in the space of the sphere, 0 elsewhere, and its norm (B, 1)."""
        _check_points(x, self.ambient, name)
        core = torch.zeros_like(x)
        core[:, : self.dim + 1] = x[:, : self.dim + 1]
        return core, core.norm(dim=1, keepdim=True)

    def project(self, x: Tensor) -> Tensor:
        """Nearest point of the sphere to each ``x`` (B, ambient); on the axis, one of them."""
        core, norm = self._core(x)
        core[:, 0] += (norm == 0).to(x).squeeze(1)
        return self.radius * core / norm.where(norm > 0, 1)

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance of each ``x`` (B, ambient) to the sphere, (B,)."""
        core, norm = self._core(x)
        return torch.hypot(norm.squeeze(1) - self.radius, (x - core).norm(dim=1))

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """Part of ``v`` along the sphere at its point nearest to ``x``, (B, ambient)."""
        normal = self.project(x) / self.radius
        core, _ = self._core(v, "v")
        return core - (core * normal).sum(1, keepdim=True) * normal

    def denoiser(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Posterior mean (eq-ov-sphere), (B, ambient); ``sigma`` above 0.

        It points to ``project(x)`` and is shorter: ``x_0`` given ``x`` has the von Mises-Fisher
        distribution of concentration ``radius |x| / sigma^2``.
        """
        core, norm = self._core(x)
        s = torch.as_tensor(expand(sigma, x), dtype=devices.wide(x.device), device=x.device)
        if not (s > 0).all():
            raise ValueError(f"sigma: got {s.min().item():g}; allowed are numbers above 0")
        shrink = bessel_ratio(self.radius * norm.to(s) / s**2, (self.dim + 1) / 2)
        return (self.radius * shrink).to(x) * core / norm.where(norm > 0, 1)


def bessel_ratio(kappa: Tensor, order: float, terms: int = 64) -> Tensor:
    """``I_order(kappa) / I_{order-1}(kappa)``, the mean length of von Mises-Fisher.

    Backwards along its continued fraction, from a bound that is tight at large orders (Amos 1974,
    eq. 11), in the type of ``kappa``.
    """
    top = order + terms
    ratio = kappa / (top - 0.5 + ((top + 0.5) ** 2 + kappa**2) ** 0.5)
    for k in range(terms - 1, -1, -1):
        ratio = kappa / (2 * (order + k) + kappa * ratio)
    return ratio
