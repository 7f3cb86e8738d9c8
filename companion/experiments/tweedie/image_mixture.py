"""The bridge between points and images: a mixture fitted to images, whose denoiser is known."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from companion.experiments.images import Setting
from companion.oracles import GaussianMixture

__all__ = ["fitted", "of_mixture"]


def fitted(images: Tensor, components: int, rounds: int = 10, seed: int = 0) -> GaussianMixture:
    """Fit a mixture of round Gaussians to images by k-means.

    Parameters
    ----------
    images : (N, C, H, W) tensor
    components : int
        At most N.
    rounds : int
        Of k-means (default 10).
    seed : int
        Of the images that it starts from.

    Returns
    -------
    GaussianMixture in C H W dimensions: of each cluster its mean, its share, and its root mean
    square distance from the mean a pixel.
    """
    flat = images.flatten(1)
    start = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))[:components]
    means = flat[start].clone()
    for _ in range(rounds):
        nearest = torch.cat([torch.cdist(part, means).argmin(1) for part in flat.split(4096)])
        counts = torch.bincount(nearest, minlength=components)
        sums = torch.zeros_like(means).index_add_(0, nearest, flat)
        means = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), means)
    off = (flat - means[nearest]).square().mean(1)
    spread = torch.zeros(components).index_add_(0, nearest, off) / counts.clamp_min(1)
    there = (counts > 1) & (spread > 0)
    return GaussianMixture(means[there], spread[there].sqrt(), counts[there].double())


def of_mixture(setting: Setting, mixture: GaussianMixture) -> Setting:
    """Return a setting whose training and test images are draws of a mixture.

    The classifier stays the one that was trained on the images.
    """
    setting.classifier  # noqa: B018  (trained on the images, before they are replaced)
    drawn = copy.copy(setting)
    for number, name in enumerate(("train", "test")):
        generator = torch.Generator().manual_seed(number)
        count = len(getattr(setting, name))
        points = mixture.sample(count, generator=generator, dtype=torch.float32)
        setattr(drawn, name, points.reshape(count, *setting.shape))
    drawn.data_std = float(drawn.train.std())
    # samples are clamped before they are compared, so these are as well
    vars(drawn)["_real"] = drawn.classifier.features(drawn.test.clamp(-1, 1))
    return drawn
