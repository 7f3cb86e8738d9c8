"""Sphere and circle: manifolds whose denoisers are known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from companion import checks, devices
from companion.noise import Generator, expand, rand, randn
from companion.oracles.mixtures import check_points

__all__ = ["Sphere", "VonMises"]


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
        check_points(x, self.ambient, name)
        core = torch.zeros_like(x)
        core[:, : self.dim + 1] = x[:, : self.dim + 1]
        return core, core.norm(dim=1, keepdim=True)

    def project(self, x: Tensor) -> Tensor:
        """Nearest point of the sphere to each ``x`` (B, ambient); on the axis, one of them."""
        core, norm = self._core(x)
        first = torch.nn.functional.one_hot(torch.tensor(0), self.ambient).to(x)
        core = core + (norm == 0).to(x) * first
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


class VonMises:
    """Density ``exp(kappa e . x)`` on the unit circle: most of it around the direction ``e``.

    Everything about its denoising is known: with ``b = kappa e + x / sigma^2``, ``x_0`` given ``x``
    is von Mises again, of concentration ``|b|`` and direction ``b / |b|`` (eq-ph-von-mises).

    Parameters
    ----------
    kappa : float, at least 0
        Concentration; 0 is uniform.
    direction : two numbers, not both 0 (default (1, 0))
        Of the largest density; its length does not matter.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    Results have the type and device of ``x``; they are computed in double precision.
    """

    dim = 2

    def __init__(self, kappa: float, direction: Sequence[float] = (1.0, 0.0)):
        self.kappa = checks.number("kappa", kappa, at_least=0)
        pair = checks.numbers("direction", direction)
        if len(pair) != 2 or not any(pair):
            raise ValueError(f"direction: got {pair}; allowed are two numbers, not both 0")
        length = math.hypot(*pair)
        self.direction = (pair[0] / length, pair[1] / length)

    def __repr__(self) -> str:
        x, y = self.direction
        return f"VonMises(kappa={self.kappa:g}, direction=({x:g}, {y:g}))"

    @property
    def mean_length(self) -> float:
        """Length of the mean, ``I_1(kappa) / I_0(kappa)``: mean cosine of the angle to ``e``."""
        return float(bessel_ratio(torch.tensor(self.kappa, dtype=torch.float64), 1))

    def sample(
        self, n: int, generator: torch.Generator | None = None, *, device=None, dtype=None
    ) -> Tensor:
        """Draw ``n`` points, at least one, (n, 2): by the table of its distribution function."""
        n = checks.whole("n", n)
        checks.instance("generator", generator, (torch.Generator, type(None)), "a torch.Generator")
        angles = torch.linspace(-math.pi, math.pi, 2**14 + 1, dtype=torch.float64)
        density = (self.kappa * (angles.cos() - 1)).exp()
        table = torch.cat([density.new_zeros(1), ((density[1:] + density[:-1]) / 2).cumsum(0)])
        u = table[-1] * rand((n,), generator=generator, device="cpu", dtype=torch.float64)
        above = torch.searchsorted(table, u).clamp(1, len(table) - 1)
        share = (u - table[above - 1]) / (table[above] - table[above - 1])
        angle = torch.lerp(angles[above - 1], angles[above], share)
        angle = angle + math.atan2(self.direction[1], self.direction[0])
        x = torch.stack([angle.cos(), angle.sin()], 1)
        return x.to(device=device, dtype=dtype or torch.get_default_dtype())

    def _pull(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """``b`` (B, 2) and its length (B, 1), in double precision."""
        check_points(x, 2)
        s = torch.as_tensor(expand(sigma, x), dtype=devices.wide(x.device), device=x.device)
        if not (s > 0).all():
            raise ValueError(f"sigma: got {s.min().item():g}; allowed are numbers above 0")
        b = self.kappa * s.new_tensor(self.direction) + x.to(s) / s**2
        return b, b.norm(dim=1, keepdim=True)

    def denoiser(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Posterior mean ``(I_1 / I_0)(|b|) b / |b|`` (eq-ph-von-mises), (B, 2)."""
        b, length = self._pull(x, sigma)
        return (bessel_ratio(length, 1) * b / length.where(length > 0, 1)).to(x)

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Log density of ``x_sigma`` at ``x`` (B, 2), in nats, (B,).

        At ``sigma = 0`` (default) for points of the circle, and for a unit of its length.
        """
        if not isinstance(sigma, Tensor) and sigma == 0:
            check_points(x, 2)
            cosine = x.double() @ torch.tensor(self.direction, dtype=torch.float64, device=x.device)
            return (self.kappa * cosine - math.log(2 * math.pi) - self._log_bessel()).to(x)
        _, length = self._pull(x, sigma)
        s = torch.as_tensor(sigma, dtype=length.dtype, device=length.device)
        length = length.squeeze(1)
        gauss = (x.to(length).square().sum(1) + 1) / (2 * s**2) + (2 * math.pi * s**2).log()
        return (torch.special.i0e(length).log() + length - gauss - self._log_bessel()).to(x)

    def score(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Gradient of ``log_prob`` with respect to ``x``, (B, 2); ``sigma`` above 0."""
        return (self.denoiser(x, sigma) - x) / expand(sigma, x) ** 2

    def project(self, x: Tensor) -> Tensor:
        """Nearest point of the circle to each ``x`` (B, 2); of the centre one of them."""
        return Sphere(1).project(x)

    def _log_bessel(self) -> float:
        kappa = torch.tensor(self.kappa, dtype=torch.float64)
        return float(torch.special.i0e(kappa).log() + kappa)


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
