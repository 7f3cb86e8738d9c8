"""Noise against the shape of the data: tangent directions, and the reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from companion import data, oracles
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Reach", "TangentShare", "local_tangents", "relative_error", "tangent_share"]

SPHERES = ((1, 2), (1, 4), (1, 16), (1, 64), (4, 8), (4, 32), (4, 128), (16, 32), (16, 128))
"""Dimension of each sphere, and of the space around it."""

REACHING = ((1, 2), (1, 16), (1, 256), (32, 256))


def tangent_share(tangents: Tensor, generator: torch.Generator) -> float:
    """Share of the energy of noise in spans of orthonormal directions (B, d, n)."""
    eps = torch.randn(len(tangents), tangents.shape[2], generator=generator)
    along = torch.einsum("bdn,bn->bd", tangents, eps)
    return float(along.square().sum() / eps.square().sum())


def local_tangents(x: Tensor, neighbours: int, energy: float) -> Tensor:
    """Directions that hold ``energy`` of the variance of each point's neighbours, (B, d, n).

    Parameters
    ----------
    x : (B, n)
    neighbours : int
    energy : float in (0, 1)
        d is the median over the points of how many directions it takes.
    """
    near = torch.cdist(x, x).topk(neighbours + 1, largest=False).indices
    patches = x[near] - x[near].mean(1, keepdim=True)
    _, s, v = torch.linalg.svd(patches, full_matrices=False)
    held = s.square().cumsum(1) / s.square().sum(1, keepdim=True)
    d = int(((held < energy).sum(1) + 1).float().median())
    return v[:, :d]


def relative_error(K: Any, x: Tensor, sigma: float) -> Tensor:
    """Distance from the denoiser's answer to the projection, over the distance to K, (B,).

    The eta of eq-ov-error at each point of x.
    """
    nearest = K.project(x)
    away = (x - nearest).flatten(1).norm(dim=1)
    return (K.denoiser(x, sigma) - nearest).flatten(1).norm(dim=1) / away


@dataclass(frozen=True)
class TangentShare(Experiment):
    """How much of the noise points along the data: spheres, a swiss roll, digits.

    Parameters
    ----------
    points : int
        Of each set.
    energies : tuple of float
        Shares of the local variance of digits that count as directions along them.
    seeds : int
        Draws of noise at the same points.
    """

    points: int = 2000
    energies: tuple[float, ...] = (0.5, 0.7, 0.9)
    seeds: int = 8

    sizes = {"smoke": {"points": 200, "seeds": 2}}
    seconds = 2

    def run(self, session: Session) -> Results:
        """Share of energy along the data: set, dimension, ambient dimension, energy that counts."""
        rows: list[tuple[str, int, int, float | None, int, float]] = []
        for d, n in SPHERES:
            ball = oracles.Sphere(d, n)
            x = ball.sample(self.points, session.generator(1))
            gen = session.generator(2)
            for r in range(self.seeds):
                eps = torch.randn(x.shape, generator=gen)
                share = float(ball.tangent(x, eps).square().sum() / eps.square().sum())
                rows.append(("sphere", d, n, None, r, share))
        for n in (2, 8, 32):
            roll = torch.zeros(self.points, n)
            roll[:, :2] = data.points("swiss_roll", self.points, generator=session.generator(3))
            flat, gen = local_tangents(roll, 6, 0.9), session.generator(4)
            for r in range(self.seeds):
                rows.append(("swiss roll", 1, n, None, r, tangent_share(flat, gen)))
        digits = data.images("digits", "train")[0][: self.points].flatten(1)
        for energy in self.energies:
            flat, gen = local_tangents(digits, 20, energy), session.generator(5)
            for r in range(self.seeds):
                rows.append(("digits", flat.shape[1], 64, energy, r, tangent_share(flat, gen)))
        columns = ["set", "dimension", "ambient", "energy", "seed", "value"]
        table = pd.DataFrame(rows, columns=columns)
        table.insert(0, "measure", "share")
        return Results(table)


@dataclass(frozen=True)
class Reach(Experiment):
    """Exact denoisers of spheres against the projection, as noise approaches the reach.

    Parameters
    ----------
    levels : int
        Noise levels, sigma sqrt(n) from 0.05 to 8 times the radius.
    points : int
    """

    levels: int = 24
    points: int = 400

    sizes = {"smoke": {"levels": 8}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Median relative error by dimension, ambient dimension and level (over the reach)."""
        levels = torch.logspace(-1.3, 0.9, self.levels)
        tables = []
        for d, n in REACHING:
            ball = oracles.Sphere(d, n)
            x = ball.sample(self.points, session.generator(6), dtype=torch.float64)
            eps = torch.randn(x.shape, generator=session.generator(7), dtype=torch.float64)
            errors = [
                float(relative_error(ball, x + s * eps, s).median())
                for s in (levels / n**0.5).tolist()
            ]
            where = {"measure": "relative error", "dimension": d, "ambient": n}
            tables.append(tidy(errors, {"level": levels}, **where))
        return Results(tables)
