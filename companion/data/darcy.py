"""Darcy flow: pressure and permeability fields that solve ``-div(K grad p) = f`` exactly.

Fields are scaled to unit standard deviation, (p, f), (p, K) or (p, log K) as two channels. They are
solved for by sparse elimination in double precision, so that the residual of the same finite
volumes is at rounding. ``Line`` has 1 dimension, ``Square`` has 2.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.noise import randn

__all__ = ["Line", "Square"]

SCALE_DRAWS = 2000
"""Fields of a fixed seed from which the scales of the channels are computed."""


def cosines(cells: int, terms: int) -> Tensor:
    """Orthonormal cosines at the centres of the cells, (terms, cells): their mean square is 1."""
    x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    waves = torch.cos(math.pi * torch.arange(terms, dtype=torch.float64)[:, None] * x)
    waves[1:] *= math.sqrt(2)
    return waves


def _checked(name: str, x: Any, shape: tuple[int, ...]) -> Tensor:
    checks.tensor(name, x, f"(B, {', '.join(map(str, shape))})", at_least=0)
    if tuple(x.shape[1:]) != shape:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}; allowed is (B, *{shape})")
    return x


class Line:
    """Flow along a line, ``-(K p')' = f``, with ``p = 0`` at both ends.

    Finite volumes; ``K`` between two cells is their mean, so the residual is linear in ``p`` and
    in ``K``: bilinear.

    Parameters
    ----------
    cells : int, at least 4 (default 32)
    random : {"source", "permeability"}
        "source" (default): ``K`` is fixed and ``f`` random, the channels are (p, f), Gaussian, and
        the residual is linear. "permeability": ``f`` is 1 and ``K`` random, the channels are
        (p, K), and the residual is bilinear.
    terms : int
        Cosines of the random field, from the constant on (default 6).
    spread : float, above 0
        Standard deviation of ``log K`` (default 0.4).

    Raises
    ------
    TypeError, ValueError
        If an argument is outside of what is allowed.
    """

    def __init__(
        self, cells: int = 32, random: str = "source", terms: int = 6, spread: float = 0.4
    ):
        self.cells = checks.whole("cells", cells, at_least=4)
        self.random = checks.choice("random", random, ("source", "permeability"))
        self.terms = checks.whole("terms", terms, 1, self.cells)
        self.spread = checks.number("spread", spread, above=0)
        decay = 1 / (1 + torch.arange(self.terms, dtype=torch.float64))
        self.basis = decay[:, None] / decay.norm() * cosines(self.cells, self.terms)
        x = (torch.arange(self.cells, dtype=torch.float64) + 0.5) / self.cells
        self.fixed = 1 + 0.5 * torch.sin(2 * math.pi * x)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a sample, (2, cells)."""
        return (2, self.cells)

    def _raw(self, n: int, generator: torch.Generator | None) -> Tensor:
        z = randn((n, self.terms), generator=generator, device="cpu", dtype=torch.float64)
        field = z @ self.basis
        if self.random == "source":
            return torch.stack([self.solve(self.fixed.expand(n, -1), field), field], 1)
        permeability = (self.spread * field).exp()
        return torch.stack([self.solve(permeability, torch.ones_like(field)), permeability], 1)

    def solve(self, permeability: Tensor, source: Tensor) -> Tensor:
        """Pressure (B, cells), of ``K`` and ``f`` (B, cells) in their own units.

        All lines are one block-diagonal system of ``scipy.sparse``.
        """
        from scipy import sparse
        from scipy.sparse.linalg import spsolve

        k = _checked("permeability", permeability, (self.cells,)).double()
        f = _checked("source", source, (self.cells,)).double()
        faces = self._faces(k) * self.cells**2
        between = faces.clone()
        between[:, -1] = 0
        off = -between[:, 1:].reshape(-1).numpy()[:-1]
        matrix = sparse.diags([off, (faces[:, 1:] + faces[:, :-1]).reshape(-1).numpy(), off],
                              [-1, 0, 1], format="csc")  # fmt: skip
        solved = spsolve(matrix, f.reshape(-1).numpy(), permc_spec="NATURAL")
        return torch.from_numpy(np.asarray(solved)).view_as(f)

    @staticmethod
    def _faces(k: Tensor) -> Tensor:
        """``K`` on the faces, (B, cells + 1); twice as large at the ends, half a cell away."""
        return torch.cat([2 * k[:, :1], (k[:, 1:] + k[:, :-1]) / 2, 2 * k[:, -1:]], 1)

    @cached_property
    def scaling(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the channels, (2, 1) each, in the equation's units."""
        x = self._raw(SCALE_DRAWS, torch.Generator().manual_seed(0))
        return x.mean((0, 2))[:, None], x.std((0, 2))[:, None]

    def sample(self, n: int, generator: torch.Generator | None = None, *, dtype=None) -> Tensor:
        """Draw ``n`` samples, (n, 2, cells), scaled; type: torch's default."""
        mean, std = self.scaling
        x = (self._raw(checks.whole("n", n), generator) - mean) / std
        return x.to(dtype or torch.get_default_dtype())

    def physical(self, x: Tensor) -> Tensor:
        """Fields in the units of the equation, of scaled ones (B, 2, cells)."""
        mean, std = (part.to(x) for part in self.scaling)
        return _checked("x", x, self.shape) * std + mean

    def scaled(self, fields: Tensor) -> Tensor:
        """Undo ``physical``."""
        mean, std = (part.to(fields) for part in self.scaling)
        return (_checked("fields", fields, self.shape) - mean) / std

    def residual(self, x: Tensor) -> Tensor:
        """``-(K p')' - f`` of scaled samples (B, 2, cells), over the size of ``f``, (B, cells)."""
        p, second = self.physical(x).unbind(1)
        random = self.random == "permeability"
        k = second if random else self.fixed.to(p).expand_as(p)
        f = torch.ones_like(p) if random else second
        ends = torch.zeros_like(p[:, :1])
        flux = self._faces(k) * torch.cat([p, ends], 1).sub(torch.cat([ends, p], 1))
        return (flux[:, :-1] - flux[:, 1:]) * self.cells**2 - f

    def repair(self, x: Tensor) -> Tensor:
        """Solve for the pressure again, of the other channel of scaled samples (B, 2, cells).

        The projection along the pressure: afterwards the residual is at rounding. A permeability
        below 0.01 counts as that.
        """
        _, second = self.physical(x).double().unbind(1)
        if self.random == "source":
            p = self.solve(self.fixed.expand_as(second), second)
        else:
            second = second.clamp_min(0.01)
            p = self.solve(second, torch.ones_like(second))
        return self.scaled(torch.stack([p, second], 1)).to(x)


class Square:
    """Flow on the unit square, ``-div(K grad p) = f``, with no flux through its edges.

    ``f`` pours in at one corner and drains at the opposite one; ``p`` has mean 0, by a row of
    Lagrange's. ``log K`` is a sum of cosines with independent standard normal coefficients, and
    ``K`` between two cells is their mean. Channels are (p, log K), scaled. After the case study of
    Bastek et al. 2025, whose data are not used.

    Parameters
    ----------
    cells : int, at least 8
        In each direction (default 32).
    terms : int
        Cosines in each direction (default 8: 64 coefficients).
    spread : float, above 0
        Standard deviation of ``log K`` (default 1).
    """

    def __init__(self, cells: int = 32, terms: int = 8, spread: float = 1.0):
        self.cells = checks.whole("cells", cells, at_least=8)
        self.terms = checks.whole("terms", terms, 1, self.cells)
        self.spread = checks.number("spread", spread, above=0)
        self.waves = cosines(self.cells, self.terms)
        number = torch.arange(self.terms, dtype=torch.float64)
        decay = 1 / (1 + number[:, None].square() + number.square())
        self.decay = self.spread * decay / decay.norm()
        corner = max(1, self.cells // 8)
        self.source = torch.zeros(self.cells, self.cells, dtype=torch.float64)
        self.source[:corner, :corner] = 10.0
        self.source[-corner:, -corner:] = -10.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a sample, (2, cells, cells)."""
        return (2, self.cells, self.cells)

    def log_permeability(self, coefficients: Tensor) -> Tensor:
        """``log K`` (B, cells, cells) of coefficients (B, terms, terms)."""
        z = _checked("coefficients", coefficients, (self.terms, self.terms)).double()
        return torch.einsum("bkl,ki,lj->bij", z * self.decay, self.waves, self.waves)

    def coefficients(self, log_k: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (B, terms, terms) of ``log K``, and its size outside of their span, (B,)."""
        log_k = _checked("log_k", log_k, (self.cells, self.cells)).double()
        waves = self.waves / self.cells
        z = torch.einsum("bij,ki,lj->bkl", log_k, waves, waves) / self.decay
        left = log_k - self.log_permeability(z)
        return z, left.square().mean((1, 2)).sqrt()

    def solve(self, log_k: Tensor) -> Tensor:
        """Pressure (B, cells, cells), of ``log K``: one sparse elimination each."""
        from scipy import sparse
        from scipy.sparse.linalg import spsolve

        log_k = _checked("log_k", log_k, (self.cells, self.cells))
        n, total = self.cells, self.cells**2
        index = np.arange(total).reshape(n, n)
        first = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
        second = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
        mean = np.full(total, 1 / total)
        right = np.append(self.source.numpy().ravel(), 0.0)
        solved = []
        for k in log_k.double().exp().cpu():
            down, across = (k[1:] + k[:-1]) / 2, (k[:, 1:] + k[:, :-1]) / 2
            weight = torch.cat([down.reshape(-1), across.reshape(-1)]).numpy() * total
            links = sparse.coo_matrix((weight, (first, second)), (total, total))
            links = links + links.T
            laplacian = sparse.diags(np.asarray(links.sum(1)).ravel()) - links
            matrix = sparse.bmat([[laplacian, mean[:, None]], [mean[None], None]], format="csc")
            solved.append(torch.from_numpy(spsolve(matrix, right)[:-1]).view(n, n))
        return torch.stack(solved) if solved else log_k.double()

    @cached_property
    def scaling(self) -> Tensor:
        """Standard deviations of the channels, (2, 1, 1), in the equation's units."""
        z = randn((64, self.terms, self.terms), generator=torch.Generator().manual_seed(0),
                  device="cpu", dtype=torch.float64)  # fmt: skip
        pressure = self.solve(self.log_permeability(z)).std()
        return torch.stack([pressure, pressure.new_tensor(self.spread)])[:, None, None]

    def sample(self, n: int, generator: torch.Generator | None = None, *, dtype=None) -> Tensor:
        """Draw ``n`` samples, (n, 2, cells, cells), scaled; type: torch's default."""
        shape = (checks.whole("n", n), self.terms, self.terms)
        z = randn(shape, generator=generator, device="cpu", dtype=torch.float64)
        log_k = self.log_permeability(z)
        x = torch.stack([self.solve(log_k), log_k], 1) / self.scaling
        return x.to(dtype or torch.get_default_dtype())

    def physical(self, x: Tensor) -> Tensor:
        """Fields in the units of the equation, of scaled ones (B, 2, cells, cells)."""
        return _checked("x", x, self.shape) * self.scaling.to(x)

    def residual(self, x: Tensor, *, faces: str = "mean") -> Tensor:
        """``-div(K grad p) - f`` of scaled samples, (B, cells, cells).

        Parameters
        ----------
        x : (B, 2, cells, cells) tensor
        faces : {"mean", "harmonic"}
            ``K`` between two cells: as the data have it (default), or a second discretisation.
        """
        checks.choice("faces", faces, ("mean", "harmonic"))
        p, log_k = self.physical(x).unbind(1)
        k = log_k.exp()
        net = -self.source.to(p).expand_as(p)
        for dim in (1, 2):
            a, b = k.narrow(dim, 0, self.cells - 1), k.narrow(dim, 1, self.cells - 1)
            between = (a + b) / 2 if faces == "mean" else 2 * a * b / (a + b)
            flux = between * p.diff(dim=dim) * self.cells**2
            none = torch.zeros_like(p.narrow(dim, 0, 1))
            net = net - torch.cat([none, flux, none], dim).diff(dim=dim)
        return net

    def repair(self, x: Tensor) -> Tensor:
        """Solve for the pressure again, of the permeability of scaled samples."""
        log_k = self.physical(x)[:, 1].double()
        return (torch.stack([self.solve(log_k), log_k], 1) / self.scaling).to(x)
