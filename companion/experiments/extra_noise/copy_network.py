"""One network on few images, measured along its training: a part of the record of memorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, noise, samplers, training
from companion.experiments.extra_noise.arms import Arm
from companion.experiments.image_search import halves, shared_setting
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DECAY", "SMOKE", "CopyNetwork", "CopySettings"]

DECAY = "weight decay"
"""Kind of an arm whose strength is AdamW's decay."""
SIGMA_MAX, SIGMA_MIN = 40.0, 0.02
"""Noise levels between which samples are drawn."""
SMOKE: dict[str, Any] = recipe(
    "digits", "smoke", few=20, stops=(2, 4), few_batch=8, chain=2, samples=70
)
"""Tiny sizes, of a network and of all."""


@dataclass(frozen=True)
class CopySettings(ImageExperiment):
    """What is trained on few images, and measured along the training.

    Parameters
    ----------
    few : int
        Images that are trained on.
    stops : tuple of int
        Steps of training after which everything is measured, increasing.
    few_batch, few_lr : int, float
        Of these trainings; the learning rate is constant, so that each stop is one that could have
        been chosen.
    chain : int
        Steps of Heun's method.
    samples : int
    """

    few: int = 300
    stops: tuple[int, ...] = (250, 500, 1000, 2000, 4000)
    few_batch: int = 32
    few_lr: float = 1e-3
    chain: int = 16
    samples: int = 384


@dataclass(frozen=True)
class CopyNetwork(CopySettings):
    """One arm with one seed.

    Parameters
    ----------
    kind, strength : str, float
        As of ``Arm``, or ``DECAY`` and AdamW's weight decay.
    number : int
        The seed is that many after the session's; each has images of its own.
    Others as of ``CopySettings``.
    """

    kind: str = "none"
    strength: float = 0.0
    number: int = 0

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Copies, distances, and the distance to the nearest image, by stop."""
        setting, seed = shared_setting(self), session.seed + self.number
        order = torch.randperm(len(setting.train), generator=torch.Generator().manual_seed(seed))
        images = setting.train[order[: self.few]]
        decay = self.strength if self.kind == DECAY else 0.0
        arm = Arm("none") if self.kind == DECAY else Arm(self.kind, self.strength)
        objective = arm.objective(noise.LogNormal(), setting.data_std, "edm")
        choose, report = halves(setting)
        net, done, tables = setting.network(seed), 0, []
        for stop in self.stops:
            # The optimiser begins anew at each stop, with a warm-up: alike for all arms.
            fit = training.fit(
                net, objective, images, steps=stop - done, batch_size=self.few_batch,
                lr=self.few_lr, decay="constant", weight_decay=decay, seed=seed + stop,
                device=setting.device,
            )  # fmt: skip
            net, done = fit.last, stop
            x = self._draw(setting, fit.denoiser, seed)
            nearest = torch.cdist(x.flatten(1), images.flatten(1)).amin(1).mean()
            values = {
                "copies": metrics.copies(x, images), "to the nearest image": float(nearest),
                "distance to choose by": choose(x), "Frechet distance": report(x),
            }  # fmt: skip
            where = {"kind": self.kind, "strength": self.strength, "seed": seed, "stop": stop}
            tables.append(tidy(list(values.values()), {"measure": values}, **where))
        return Results(tables, {}, {"floor": report(images), **setting.report()})

    def _draw(self, setting: Setting, net: Any, seed: int) -> Tensor:
        levels = noise.log_linear(self.chain, SIGMA_MAX, SIGMA_MIN)
        x = setting.draw(
            lambda part, _: samplers.heun(net, SIGMA_MAX * part, levels),
            setting.noise(self.samples, seed),
        )
        return x.clamp(-1, 1)
