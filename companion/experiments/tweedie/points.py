"""Three modes in the plane, what is seen of them, and the error against their exact denoiser."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from companion import data, networks, oracles
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results
from companion.experiments.tweedie.methods import Training

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "DISTANCE",
    "MODES",
    "NOISE",
    "SMOKE",
    "Errors",
    "PointExperiment",
    "errors_of",
    "noisy_sets",
]


def _modes() -> oracles.GaussianMixture:
    angle = torch.arange(3, dtype=torch.float64) * (2 * math.pi / 3)
    return oracles.GaussianMixture(1.3 * torch.stack([angle.cos(), angle.sin()], 1), 0.25)


MODES = _modes()
"""Distribution of the clean data: three Gaussians of standard deviation 0.25 in the plane."""

DISTANCE = float((MODES.means[0] - MODES.means[1]).norm())
"""Distance between two modes."""

NOISE = 0.3
"""Standard deviation of the noise in the data, in most experiments."""

SMOKE: dict[str, Any] = {
    "points": 200, "seeds": 2, "steps": 3, "batch": 48, "levels": 5, "tested": 50,
}  # fmt: skip
"""Shared settings at the profile smoke."""

P = TypeVar("P", bound="PointExperiment")


def noisy_sets(sets: Sequence[Tensor], s_n: float, seed: int, seeds: int) -> list[Tensor]:
    """Return what is seen of clean data sets: noise of size s_n, drawn once for each seed."""
    return [data.FrozenNoise(x, s_n, seed=100 * seed + r % seeds).noisy for r, x in enumerate(sets)]


@dataclass(frozen=True)
class PointExperiment(Experiment):
    """Base class of the experiments on points: the settings that they share.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data.
    points : int
        Noisy points of a training set.
    seeds : int
    steps, batch : int
        Of training, for one network evaluation a sample.
    levels : int
        Noise levels at which errors are measured, from a tenth of ``noise`` to ten times that.
    tested : int
        Points for each seed and level.
    """

    noise: float = NOISE
    points: int = 5000
    seeds: int = 8
    steps: int = 720
    batch: int = 240
    levels: int = 13
    tested: int = 1000

    sizes = {"smoke": SMOKE}

    def like(self, other: type[P], **settings: Any) -> P:
        """Return another experiment on points with the shared settings of this one."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(PointExperiment)}
        return other(**{**shared, **settings})

    @property
    def ratios(self) -> Tensor:
        """Levels at which errors are measured, in units of the noise in the data."""
        return torch.logspace(-1, 1, self.levels)

    def training(self, share: float = 1.0) -> Training:
        """Return what the methods share; ``share`` of the steps."""
        steps = max(2, round(share * self.steps)) if share < 1 else self.steps
        make = partial(networks.MLP, 2, width=48, depth=2)
        return Training(make, 1.0, 5.0, steps, self.batch, 1e-2, self.seeds)

    def clean_sets(self, session: Session, points: int | None = None) -> list[Tensor]:
        """Return clean training sets, one for each seed."""
        n = self.points if points is None else points
        return [MODES.sample(n, session.generator(100 + r)) for r in range(self.seeds)]

    def noisy(self, session: Session, sets: Sequence[Tensor], s_n: float | None = None) -> list:
        """Return what is seen of clean sets."""
        return noisy_sets(sets, self.noise if s_n is None else s_n, session.seed, self.seeds)

    @torch.no_grad()
    def errors(
        self, session: Session, denoiser: Any, s_n: float | None = None, runs: int | None = None
    ) -> Tensor:
        """Root mean square error of a coordinate against the exact denoiser.

        Parameters
        ----------
        session : Session
        denoiser : Stack of ``runs`` denoisers (default: one for each seed)
        s_n : float, optional
            Noise whose multiples the levels are (default: ``noise``).

        Returns
        -------
        (runs, levels) tensor; on fresh clean points with fresh noise, the same for all methods.
        """
        runs = self.seeds if runs is None else runs
        s_n = self.noise if s_n is None else s_n
        numbers = [r % self.seeds for r in range(runs)]
        x = torch.cat([MODES.sample(self.tested, session.generator(200 + r)) for r in numbers])
        eps = torch.cat(
            [torch.randn(self.tested, 2, generator=session.generator(300 + r)) for r in numbers]
        )
        columns = []
        for sigma in (s_n * self.ratios).tolist():
            noisy = x + sigma * eps
            off = (denoiser(noisy, sigma) - MODES.denoiser(noisy, sigma)).square()
            columns.append(off.view(runs, -1).mean(1).sqrt())
        return torch.stack(columns, 1)

    def axes(self) -> dict[str, Any]:
        """Return the dimensions of ``errors``, for ``tidy``; levels in units of ``noise``."""
        return {"seed": range(self.seeds), "level": self.ratios}


@dataclass(frozen=True)
class Errors:
    """Errors of one method by level, and what sums them up, one value for each seed.

    Parameters
    ----------
    levels : (L,) array, in units of the noise in the data
    values : (seeds, L) array
    """

    levels: np.ndarray
    values: np.ndarray

    @property
    def below(self) -> np.ndarray:
        """Root mean square over the levels below s_n: ruled by those just below."""
        return np.sqrt((self.values[:, self.levels < 0.99] ** 2).mean(1))

    @property
    def geometric(self) -> np.ndarray:
        """Geometric mean over the levels below s_n: all levels count alike."""
        return np.exp(np.log(self.values[:, self.levels < 0.99]).mean(1))

    @property
    def at(self) -> np.ndarray:
        """Error at s_n."""
        return self.values[:, self._edge]

    @property
    def above(self) -> np.ndarray:
        """Root mean square over the levels above s_n."""
        return np.sqrt((self.values[:, self._edge + 1 :] ** 2).mean(1))

    @property
    def _edge(self) -> int:
        return int(np.abs(self.levels - 1).argmin())


def errors_of(results: Results, **conditions: Any) -> Errors:
    """Read the errors by level of one method from the results of an experiment on points."""
    conditions = {"measure": "error", **conditions}
    levels = np.array(results.labels("level", **conditions), dtype=float)
    return Errors(levels, results.grid("seed", "level", **conditions))
