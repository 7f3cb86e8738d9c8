"""What the exact denoiser says: stopping at the noise of the data, and the defect of long steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, noise, objectives, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.points import MODES, NOISE

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["EXACT", "GLUED", "NAIVE_EXACT", "Defects", "Stopping"]

EXACT = "exact"
GLUED = "naive below"
NAIVE_EXACT = "naive"
"""Denoisers: of the clean data; that down to s_n and naive below; of the noisy data."""


@dataclass(frozen=True)
class Stopping(Experiment):
    """Clean data, noisy data, their exact D(y, s_n), and samples down to no noise.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data.
    points : int
    """

    noise: float = 2 * NOISE
    points: int = 2000

    sizes = {"smoke": {"points": 200}}
    seconds = 2

    def run(self, session: Session) -> Results:
        """Widths of the modes; points (n, 2) of each kind."""
        x = MODES.sample(self.points, session.generator(1))
        y = data.FrozenNoise(x, self.noise, seed=session.seed).noisy
        start = 8 * torch.randn(self.points, 2, generator=session.generator(2))
        clouds = {
            "clean": x,
            "seen": y,
            "stopped": MODES.denoiser(y, self.noise),
            "wanted": samplers.heun(MODES.denoiser, start, noise.log_linear(24, 8.0, 0.01)),
        }
        widths = {name: float(mode_widths(cloud, 1)) for name, cloud in clouds.items()}
        table = tidy(list(widths.values()), {"condition": widths}, measure="width")
        return Results(table, {name: cloud.float() for name, cloud in clouds.items()})


def mode_widths(x: Tensor, runs: int) -> Tensor:
    """Standard deviation about the nearest mode, over the true one, of each run's points, (R,)."""
    near = torch.cdist(x.double(), MODES.means).amin(1).square().view(runs, -1)
    return (near.mean(1) / 2).sqrt() / float(MODES.stds[0])


@dataclass(frozen=True)
class Defects(Experiment):
    """Consistency defect of exact denoisers against the length of the step.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data.
    ratios : tuple of float in (0, 1)
        ``s' / s`` of the steps.
    points, draws : int
        States x_s, and draws of the step from each.
    """

    noise: float = NOISE
    ratios: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    points: int = 800
    draws: int = 64

    sizes = {"smoke": {"ratios": (0.05, 0.5, 0.9), "points": 50, "draws": 8}}
    seconds = 10

    def run(self, session: Session) -> Results:
        """Root mean square defects, by denoiser, upper level in units of ``noise``, and ratio."""
        seen = MODES.noisy(self.noise)

        def glued(x: Tensor, sigma: Any) -> Tensor:
            above = torch.as_tensor(noise.expand(sigma, x)) >= self.noise
            return torch.where(above, MODES.denoiser(x, sigma), seen.denoiser(x, sigma))

        cases = [(EXACT, MODES.denoiser, MODES, level) for level in (0.5, 1.0, 2.0)]
        cases += [(GLUED, glued, MODES, 1.0), (NAIVE_EXACT, seen.denoiser, seen, 0.5)]
        tables = []
        for name, denoiser, states, level in cases:
            found = [
                self._defect(session, denoiser, level * self.noise, ratio, states)
                for ratio in self.ratios
            ]
            tables.append(
                tidy(found, {"ratio": self.ratios}, measure="defect", denoiser=name, level=level)
            )
        return Results(tables)

    def _defect(
        self, session: Session, denoiser: Any, s: float, ratio: float, states: Any
    ) -> float:
        """Root mean square of E[D(x_s', s') | x_s] - D(x_s, s), without bias."""
        shape = (self.points, 2)
        x = states.noisy(s).sample(self.points, session.generator(3), dtype=torch.float64)
        level = torch.full((self.points,), s, dtype=torch.float64)
        upper = denoiser(x, level)
        halves = torch.zeros(2, *shape, dtype=torch.float64)  # independent of each other
        for i in range(self.draws):
            z = torch.randn(shape, generator=session.generator(4 + i), dtype=torch.float64)
            for mirrored in (z, -z):
                lower = objectives.reverse_steps(
                    denoiser, x, level, ratio * level, z=mirrored, denoised=upper
                )
                halves[i % 2] += (denoiser(lower, ratio * level) - upper) / self.draws
        return float((halves[0] * halves[1]).mean().clamp_min(0).sqrt())
