"""Flow on a square with a U-Net: too long to run with the book, so it is recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from companion import data, denoisers, metrics, networks, noise, samplers, training
from companion.experiments.experiment import Experiment
from companion.experiments.physics.methods import TRAINED, levels, objective
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Square"]

WEIGHTS = {"mean": 1e-6, "sample": 1e-6}
"""``c``; the residual counts in units of the source."""


@dataclass(frozen=True)
class Square(Experiment):
    """Darcy flow on a square: plain, both forms, and plain with the pressure solved again.

    Judged by what nobody trained on: the pressure solved again from the permeability, the
    coefficients of ``log K``, which are standard normal in the data, and a second discretisation.

    Parameters
    ----------
    cells, fields : int
        Of a side; fields that are trained on.
    channels : tuple of int
        Of ``networks.UNet``.
    evaluations, batch, lr
        Of the network in training for each sample of a batch; of ``training.fit``.
    seeds, samples, steps : int
        Networks of each kind, samples of each, steps of the sampler.
    """

    cells: int = 32
    fields: int = 10_000
    channels: tuple[int, ...] = (32, 64, 128)
    evaluations: int = 20_000
    batch: int = 128
    lr: float = 1e-3
    seeds: int = 3
    samples: int = 512
    steps: int = 100

    sizes = {
        "smoke": {"cells": 8, "fields": 12, "channels": (8, 8), "evaluations": 2, "batch": 4,
                  "seeds": 2, "samples": 4, "steps": 2},
        "long": {"fields": 2000, "channels": (16, 32, 32), "evaluations": 2000, "batch": 32,
                 "samples": 64, "steps": 50},
        "gpu": {},
    }  # fmt: skip
    recorded: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """What the fields are."""
        return f"Darcy flow at {self.cells} × {self.cells}"

    def run(self, session: Session) -> Results:
        """Residuals, pressure solved again, coefficients and distance, by method and seed."""
        square = data.darcy.Square(self.cells, terms=min(8, self.cells))
        fields = square.sample(self.fields, session.generator(50))
        fresh = square.sample(max(self.samples, 8), session.generator(51))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        found: dict[str, list[dict[str, float]]] = {}
        arrays: dict[str, Tensor] = {}
        for form in TRAINED:
            goal = objective(form, square.residual, WEIGHTS)
            for seed in range(self.seeds):
                make = partial(networks.UNet, square.shape, self.channels)
                first = networks.seeded(make, 1000 * session.seed + seed)
                network = training.fit(
                    denoisers.Preconditioned(first, 1.0), goal, fields,
                    steps=max(1, self.evaluations // goal.evaluations), batch_size=self.batch,
                    lr=self.lr, seed=1000 * session.seed + seed, mixed_precision="no",
                    device=device,
                ).denoiser  # fmt: skip
                x = self._draw(session, network, square, device, seed)
                ways = {form: x} | ({"end": square.repair(x)} if form == "none" else {})
                for way, drawn in ways.items():
                    found.setdefault(way, []).append(judged(square, drawn, fresh))
                    arrays.setdefault(way, drawn[:2])
        tables = [
            tidy([one[m] for one in listed], {"seed": range(self.seeds)}, measure=m, method=way)
            for way, listed in found.items()
            for m in listed[0]
        ]
        return Results(tables, arrays)

    def _draw(
        self, session: Session, network: Any, square: data.darcy.Square, device: str, seed: int
    ) -> Tensor:
        schedule = levels(self.steps)
        generator = session.generator(60 + seed)
        z = schedule[0] * noise.randn((self.samples, *square.shape), generator=generator)
        parts = [
            samplers.ddpm(network, part.to(device), schedule, generator=generator).cpu()
            for part in z.split(128)
        ]
        return torch.cat(parts)


def judged(square: data.darcy.Square, x: Tensor, fresh: Tensor) -> dict[str, float]:
    """Numbers of samples (n, 2, cells, cells)."""
    size = float(x[:, 0].std() / fresh[:, 0].std())
    z, outside = square.coefficients(square.physical(x.double())[:, 1])
    again = square.repair(x.double())[:, 0] - x[:, 0]
    residual = {
        faces: float(square.residual(x, faces=faces).square().mean().sqrt())
        for faces in ("mean", "harmonic")
    }
    return {
        "residual": residual["mean"],
        "residual over size": residual["mean"] / max(size, 1e-6),
        "residual of another discretisation": residual["harmonic"],
        "size": size,
        "solved again": float(again.square().mean().sqrt()),
        "coefficients": float(z.std()),
        "outside of the span": float(outside.mean()) / math.sqrt(2),
        "distance": metrics.sliced_wasserstein(x, fresh),
    }
