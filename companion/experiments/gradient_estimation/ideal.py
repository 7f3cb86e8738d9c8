"""The ideal denoiser of whole training sets against the projection; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from companion import data, noise, oracles, progress
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.descent import HIGH, LOW, along_paths
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["BANDS", "QUARTILES", "IdealDenoiser"]

BANDS = (0.0, 0.05, 0.5, 0.95, 1.0)
"""Shares of the paths below each of the curves that are kept."""

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class IdealDenoiser(Experiment):
    """Constants of the error model for the ideal denoiser of a whole training set.

    Parameters
    ----------
    data : str
        Data set, a name of ``data.IMAGES``.
    images : int
        Of its training set.
    steps, paths : int
        Of DDIM.
    batch : int
        Paths that are followed together.
    """

    data: str = "mnist"
    images: int = 60_000
    steps: int = 50
    paths: int = 1024
    batch: int = 128

    recorded: ClassVar[bool] = True
    sizes = {
        "smoke": {"data": "digits", "images": 100, "steps": 5, "paths": 8, "batch": 8},
        "long": [
            {"data": "mnist", "images": 60_000, "paths": 1024},
            {"data": "cifar10", "images": 50_000, "paths": 512},
        ],
        "gpu": [
            {"data": "mnist", "images": 60_000, "paths": 1024},
            {"data": "cifar10", "images": 50_000, "paths": 512},
        ],
    }

    @property
    def title(self) -> str:
        """What the images are."""
        return data.IMAGES[self.data]

    def run(self, session: Session) -> Results:
        """Constants; arrays ``error`` and ``ratio``, a curve for each of ``BANDS`` (5, steps)."""
        images, _ = data.images(self.data, "train")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        K = oracles.Empirical(images[: self.images].to(device))
        gen = torch.Generator().manual_seed(session.seed)
        sigmas = noise.log_linear(self.steps, HIGH, LOW, final_zero=False)
        parts = []
        for _ in progress.track(range(self.paths // self.batch), "paths"):
            x = HIGH * torch.randn(self.batch, *images.shape[1:], generator=gen)
            parts.append([t.cpu() for t in along_paths(K, x.to(device), sigmas)])
        error, ratio, _ = (torch.cat(each, 1) for each in zip(*parts))
        most = error.amax(0).quantile(torch.tensor(QUARTILES))
        worst = [float(error.max()), float(torch.maximum(ratio, 1 / ratio).max())]
        shares = torch.tensor(BANDS)
        return Results(
            [
                tidy(most, {"share": QUARTILES}, measure="eta of a path"),
                tidy(worst, {"measure": ("eta, worst", "nu")}),
            ],
            {
                "sigmas": sigmas,
                "error": error.quantile(shares, 1),
                "ratio": ratio.quantile(shares, 1),
            },
        )
