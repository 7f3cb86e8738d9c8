"""Parallel sampling with one trained U-Net: Picard iteration, plain and accelerated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from companion import noise, progress, samplers
from companion.experiments.image_search import shared_setting
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.image_trial import SIGMA_MAX
from companion.experiments.noise_classifier.picard import iterate
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SMOKE", "WAYS", "PicardNetwork", "PicardSettings"]

WAYS = {
    "plain": ("plain", 0), "plain, Anderson": ("plain", 2),
    "semilinear": ("semilinear", 0), "semilinear, Anderson": ("semilinear", 2),
}  # fmt: skip
"""Form of the iteration, and how many earlier iterations it extrapolates from."""
SMOKE: dict[str, Any] = recipe("digits", "smoke", levels=4, depths=(1, 2), together=36, samples=72)
"""Tiny sizes, of a network and of all."""


@dataclass(frozen=True)
class PicardSettings(ImageExperiment):
    """Iterations until DDPM's steps are solved, and the samples that each iteration holds.

    On the plain networks that other experiments start from or compare with. The window is the whole
    trajectory. Anderson acceleration is that of ``samplers.picard`` (Tang et al. 2024).

    Parameters
    ----------
    levels : int
        Steps of DDPM.
    tolerance : float
        As of ``samplers.picard``.
    depths : tuple of int
        Iterations after which samples are measured.
    together : int
        Samples that are solved together: the slowest of them decides.
    samples : int
    """

    levels: int = 30
    tolerance: float = 0.01
    depths: tuple[int, ...] = (2, 4, 6, 8, 10, 12)
    together: int = 16
    samples: int = 128


@dataclass(frozen=True)
class PicardNetwork(PicardSettings):
    """All ways of iteration on one network.

    Parameters
    ----------
    number : int
        Of the network; its seed is that many after the session's.
    Others as of ``PicardSettings``.
    """

    number: int = 0

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Iterations, evaluations, error, and distances by iteration, by way."""
        setting, tables = shared_setting(self), []
        seed = session.seed + self.number
        net, z = setting.fit(setting.plain(), seed), setting.noise(self.samples, seed)
        for way in progress.track(list(WAYS), "iterations"):
            tables += self._solved(setting, net, z, way, seed)
        return Results(tables, {}, {"floor": setting.floor(self.samples), **setting.report()})

    def _solved(self, setting: Setting, net: Any, z: Tensor, way: str, seed: int) -> list:
        form, memory = WAYS[way]
        sigmas = noise.log_linear(self.levels, SIGMA_MAX, 0.02)
        held: dict[int, list[Tensor]] = {k: [] for k in self.depths}
        ends, counts = [], []
        for i, part in enumerate(z.split(self.together)):
            x = SIGMA_MAX * part.to(setting.device)

            def source(number: int = 1000 * seed + i) -> torch.Generator:
                return torch.Generator().manual_seed(number)

            steps = iterate(
                net, x, sigmas, "DDPM", form, source(), tolerance=self.tolerance, anderson=memory
            )
            for k in self.depths:
                held[k].append(steps[min(k, len(steps)) - 1].x[-1].cpu())
            with torch.no_grad():
                end = samplers.ddpm(net, x, sigmas, generator=source())
            error = float((steps[-1].x[-1] - end).square().mean().sqrt())
            counts.append([steps[-1].iteration, steps[-1].evaluations, error])
            ends.append(end.cpu())
        where = {"way": way, "seed": seed}
        names = ("iterations", "evaluations", "error")
        distances = [setting.frechet(torch.cat(x)) for x in held.values()]
        return [
            tidy(np.mean(counts, axis=0), {"measure": names}, **where),
            tidy(distances, {"iteration": self.depths}, measure="Frechet distance", **where),
            tidy([setting.frechet(torch.cat(ends))], {"measure": ["in sequence"]}, **where),
        ]
