"""The gradient of the contrastive loss beside that of denoising, on a trained U-Net; recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from companion import progress
from companion.experiments.image_search import SEARCHED
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.image_trial import contrastive_loss, loss_weight
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageGradients"]

PLAIN = "denoising"


@dataclass(frozen=True)
class ImageGradients(ImageExperiment):
    """Size and direction of the loss's gradient on a trained network, by contrast.

    Both losses get batches of their own, so that what they have in common is not their batches.

    Parameters
    ----------
    contrasts : tuple of (float, float)
        Smallest and largest contrast, pixels in [-1, 1].
    points, contrasted : int
        Levels of a ratio; samples of a batch that enter the loss.
    batches : int
        Even.
    """

    contrasts: tuple[tuple[float, float], ...] = ((0.001, 0.02), (0.01, 0.2), (0.1, 2.0))
    points: int = 16
    contrasted: int = 2
    batches: int = 64

    sizes = {
        "smoke": recipe("digits", "smoke", points=2, contrasted=1, batches=4),
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Norms, cosine and cross entropy, by objective (contrast as text, or denoising)."""
        setting = self.setting()
        seed = session.seed + SEARCHED
        net = setting.fit(setting.plain(), seed).train().requires_grad_(True)
        losses: dict[str, Any] = {PLAIN: (setting.plain(), 1.0)}
        for low, high in self.contrasts:
            loss = contrastive_loss(self, setting.data_std, (low, high), self.points)
            losses[f"{low:g} to {high:g}"] = (loss, loss_weight(1.0, setting))
        means, tables = {}, []
        for i, (name, (loss, weight)) in enumerate(progress.track(list(losses.items()), "losses")):
            found = list(self._gradients(setting, net, loss, weight, 100 * seed + i))
            values, gradients = zip(*found)
            first, second = (torch.stack(gradients[k::2]).mean(0) for k in (0, 1))
            means[name] = (first + second) / 2
            # Of two independent halves the product has no bias by noise; a square has.
            square = float(first @ second)
            rms = float(torch.stack([g.square().sum() for g in gradients]).mean().sqrt())
            both = float(means[name] @ means[PLAIN])
            scale = float(means[name].norm() * means[PLAIN].norm())
            measured = {
                "of a batch": rms, "of the mean": max(0.0, square) ** 0.5,
                "cosine to denoising": both / scale if scale else float("nan"),
                "loss": float(np.mean(values)),
            }  # fmt: skip
            tables += [tidy([v], {"objective": [name]}, measure=m) for m, v in measured.items()]
        return Results(tables, {}, setting.report())

    def _gradients(
        self, setting: Setting, net: Any, loss: Any, weight: float, number: int
    ) -> Iterator[tuple[float, Tensor]]:
        """Loss of a batch without the weight, and its gradient with it, batch by batch."""
        source = torch.Generator().manual_seed(number)
        for _ in range(self.batches):
            chosen = torch.randint(len(setting.train), (self.batch,), generator=source)
            net.zero_grad()
            value = loss(net, setting.train[chosen].to(setting.device), source).mean()
            (weight * value).backward()
            parts = [p.grad.detach().flatten() for p in net.parameters() if p.grad is not None]
            yield float(value.detach()), torch.cat(parts).cpu()
