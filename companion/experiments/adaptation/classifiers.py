"""Small classifiers of all seeds as one stack, their training, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from companion.networks import Linear, seeded
from companion.progress import track
from companion.stack import Stack

__all__ = ["Classifier", "accuracy", "calibration_error", "new_classifiers", "trained"]

BINS = 10
"""Bins of the calibration error."""


class Classifier(nn.Module):
    """A multilayer perceptron from images to logits of ``classes`` classes.

    Parameters
    ----------
    pixels, classes : int
    width : int
        Hidden units of its two hidden layers.
    """

    def __init__(self, pixels: int, classes: int, width: int = 96):
        super().__init__()
        self.layers = nn.Sequential(
            Linear(pixels, width), nn.SiLU(), Linear(width, width), nn.SiLU(),
            Linear(width, classes),
        )  # fmt: skip

    def forward(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Logits (B, classes) of images ``x`` (B, *shape); ``sigma`` is for ``Stack`` only."""
        return self.layers(x.flatten(1))


def new_classifiers(pixels: int, classes: int, width: int, seeds: list[int]) -> Stack:
    """Return untrained classifiers, one for each seed, as a stack."""
    return Stack([seeded(partial(Classifier, pixels, classes, width), seed) for seed in seeds])


def trained(
    stack: Stack,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    seen: Callable[[Tensor], Tensor] | None = None,
    batch: int = 64,
    lr: float = 3e-3,
) -> Stack:
    """Train classifiers of all seeds with AdamW and the cross-entropy; the stack stays as it was.

    Parameters
    ----------
    stack : Stack of R classifiers
        To go on from.
    images, labels : (N, *shape) and (N,)
    steps, batch : int
        Optimiser steps, and images a step and seed.
    seed : int
        Of the batches.
    seen : function (R * batch, *shape) -> the same shape, optional
        What is done to a batch before the classifiers see it (default: nothing).
    lr : float
        First learning rate, with half a cosine to 0.

    Returns
    -------
    Stack of R, frozen
    """
    copy = Stack([stack[r] for r in range(stack.runs)]).requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(copy.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), "classifiers"):
        index = torch.randint(len(images), (stack.runs * batch,), generator=generator)
        x = images[index]
        if seen is not None:
            with torch.no_grad():
                x = seen(x)
        # A mean over a seed's images, a sum over seeds: each learns as if it were alone.
        loss = nn.functional.cross_entropy(copy(x, 0.0), labels[index]) * stack.runs
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return copy.requires_grad_(False)


def accuracy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose most probable class is right: (R, N, classes), (N,) -> (R,)."""
    return (probabilities.argmax(-1) == labels).double().mean(-1)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Tensor:
    """Expected calibration error: (R, N, classes), (N,) -> (R,).

    Images are sorted into bins by the probability of their most probable class; the error is the
    mean distance between that probability and the share that is right, weighted by the images in a
    bin. Source: Guo et al. 2017, *On calibration of modern neural networks*.
    """
    sure, chosen = probabilities.double().max(-1)
    right = (chosen == labels).double()
    place = (sure * bins).long().clamp(max=bins - 1)
    errors = [((place == b) * (right - sure)).sum(-1).abs() / right.shape[-1] for b in range(bins)]
    return torch.stack(errors).sum(0)
