"""The ambient loss of a mixture of noisy and clean images.

The clean ones teach at all levels, the noisy ones above their own. Source: Daras, Cherapanamjeri &
Daskalakis, How Much is a Noisy Image Worth, 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, SigmaDistribution, expand, randn_like
from companion.noise.distributions import check_distribution
from companion.objectives.denoising import check_batch

CLEAN_SHARE = 0.5
"""Of the clean images in batches, at least: their loss is less noisy."""


def mixed(noisy: Tensor, clean: Tensor) -> Tensor:
    """Put patches together, with their own noise level, 1 or 0, as a last channel.

    Parameters
    ----------
    noisy, clean : (N, C, H, W) and (M, C, H, W) tensors, in units of the noise

    Returns
    -------
    (N + k M, C + 1, H, W) tensor
        The clean ones are repeated until they are half of all.
    """
    repeats = max(1, round(len(noisy) * CLEAN_SHARE / (1 - CLEAN_SHARE) / len(clean)))
    both = torch.cat([noisy, clean.repeat(repeats, 1, 1, 1)])
    own = torch.zeros(len(both), 1, *both.shape[2:])
    own[: len(noisy)] = 1
    return torch.cat([both, own], 1)


@dataclass(frozen=True)
class MixedAmbient:
    """``AmbientTweedie`` of images that say their own noise level in their last channel.

    The level ``sigma = sqrt(1 + t^2)`` is drawn alike for all; a clean image gets all of that
    noise anew, a noisy one what is missing. With the weight ``sigma^2 / a^2`` on the error of the
    denoiser, ``a`` the added noise, the level counts as "epsilon" does for noisy images.

    Parameters
    ----------
    added : distribution of ``t``, the noise added to noisy images
    """

    added: SigmaDistribution

    def __post_init__(self):
        check_distribution("added", self.added)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each image of the batch (B, C + 1, H, W), (B,)."""
        check_batch(batch, generator)
        y, own = batch[:, :-1], batch[:, -1, 0, 0]
        t = self.added.sample(len(y), generator=generator, device=y.device, dtype=y.dtype)
        sigma = (1 + t.square()).sqrt()
        added = (sigma.square() - own.square()).sqrt()
        e = randn_like(y, generator)
        x = y + expand(added, y) * e
        share = expand((added / sigma) ** 2, y)
        error = expand(added, y) * e + share * (denoise(denoiser, x, sigma) - x)
        return error.square().flatten(1).mean(1) / added.square()
