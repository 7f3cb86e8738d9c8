"""Photon-like noise made plain: the generalised Anscombe transform and its exact inverse.

Photon counts through a camera are ``y = gain * Poisson(x / gain) + N(0, read^2)``: variance
``gain * x + read^2``. ``Anscombe.forward`` gives them unit variance at (nearly) every level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from companion import checks

EXACT_UP_TO = 200.0
"""Photons up to which the inverse is tabulated; above, its asymptotic form is as good."""


@dataclass(frozen=True)
class Anscombe:
    """Generalised Anscombe transform of values with variance ``gain * (x - offset) + read^2``.

    ``f(y) = 2 sqrt(max(u + 3/8 + r^2, 0))`` with ``u = (y - offset) / gain`` photons and the read
    noise ``r = read / gain``. Source: Starck, Murtagh & Bijaoui 1998.

    Parameters
    ----------
    gain : float above 0
        Grey values a photon.
    read : float, at least 0
        Standard deviation of the noise at zero light, in grey values (default 0).
    offset : float
        Grey value of zero light (default 0).
    """

    gain: float
    read: float = 0.0
    offset: float = 0.0

    def __post_init__(self):
        checks.number("gain", self.gain, above=0)
        checks.number("read", self.read, at_least=0)
        checks.number("offset", self.offset)

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Transform grey values; noise of variance about 1 comes out."""
        photons = (y - self.offset) / self.gain
        return 2 * np.sqrt(np.maximum(photons + 3 / 8 + (self.read / self.gain) ** 2, 0))

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Expected transformed values ``E f(y)`` of photons on a grid, and that grid."""
        grid = np.concatenate([np.linspace(0, 5, 101), np.geomspace(5.1, EXACT_UP_TO, 150)])
        nodes, weights = np.polynomial.hermite_e.hermegauss(25)
        weights = weights / weights.sum()
        read = self.read / self.gain
        counts = np.arange(int(EXACT_UP_TO + 10 * math.sqrt(EXACT_UP_TO)) + 10)
        values = np.maximum(counts[:, None] + read * nodes + 3 / 8 + read**2, 0)
        of_count = 2 * np.sqrt(values) @ weights
        return stats.poisson.pmf(counts, grid[:, None]) @ of_count, grid

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Exact unbiased inverse: the grey value ``x`` with ``E[f(y) | x] = z``.

        What a denoiser gives in transformed values is a mean of ``f(y)``; the plain inverse of
        ``f`` would be too dark. By a table of the expectation up to 200 photons, above it by the
        asymptotic form ``(z / 2)^2 - 1/8 - r^2``. Values below ``E[f(y) | 0]`` give 0 photons.
        Source: Makitalo & Foi 2011 and 2013.
        """
        means, photons = self._table
        z = np.asarray(z, dtype=np.float64)
        far = (z / 2) ** 2 - 1 / 8 - (self.read / self.gain) ** 2
        near = np.interp(z, means, photons)
        return self.offset + self.gain * np.where(z < means[-1], near, far)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Derivative of the inverse, grey values a unit of ``z``: for the spread of an estimate."""
        return (self.inverse(z + 0.01) - self.inverse(z - 0.01)) / 0.02
