"""The contrastive diffusion loss with the choices that its official code makes, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from companion import noise, objectives
from companion.denoisers import Denoiser
from companion.noise import Generator, rand, randn

__all__ = ["DRAWS", "OFFICIAL_DRAWS", "AblatedContrast", "official_loss"]

OFFICIAL_DRAWS: dict[str, Any] = {
    "shared": False,
    "stratified": False,
    "antithetic": False,
    "levels": noise.LogLogistic(0.0, 3.0, 3.0),
}
"""How the official code draws levels and noise (commit 9dc26db, on points)."""

DRAWS: dict[str, dict[str, Any]] = {
    "shared, stratified, ± noise": {},
    "shared, stratified": {"antithetic": False},
    "shared": {"antithetic": False, "stratified": False},
    "stratified": {"antithetic": False, "shared": False},
    "neither, as the official code": OFFICIAL_DRAWS,
}
"""Ways to draw, each with its options."""


@dataclass(frozen=True)
class AblatedContrast(objectives.ContrastiveDiffusion):
    """``ContrastiveDiffusion`` whose choices can be undone.

    Parameters
    ----------
    shared : bool
        Use the same levels and the same noise in both terms of the ratio, and in the Gaussian
        subtracted from them (default). False: draws of their own, and the Gaussian's mean error,
        as in the official code.
    stratified : bool
        One level in each of ``points`` strata (default), or independent levels.
    antithetic : bool
        Take each noise with both signs (default), at twice the evaluations.
    both : bool
        Classify each sample clean and noised (default), or one of them by a coin and count it
        twice, at half the evaluations.
    preserving : bool
        Contrast with variance-preserving noise ``(x + t eps) / sqrt(1 + t^2)``, as the paper does
        (eq-nc-vp); default: with ``x + t eps``.
    contrast, levels, points, sigma_data, samples : as of ``ContrastiveDiffusion``
    """

    shared: bool = True
    stratified: bool = True
    antithetic: bool = True
    both: bool = True
    preserving: bool = False

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample: terms, points, signs, classes."""
        return 2 * self.points * (2 if self.antithetic else 1) * (2 if self.both else 1)

    def _draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Points to classify (n, *shape), their ``t`` (n,) and their class, 1 clean or -1."""
        n, one = len(x), [1] * (x.ndim - 1)
        wide = torch.promote_types(x.dtype, torch.float32)
        t = self.contrast.sample(n, generator=generator, device=x.device, dtype=wide)
        eps = randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        noisy = x + t.to(x.dtype).view(-1, *one) * eps
        if self.preserving:
            noisy = noisy * (1 + t**2).rsqrt().to(x.dtype).view(-1, *one)
        if self.both:
            sign = t.new_tensor([1.0, -1.0]).repeat(n)
            return torch.stack([x, noisy], 1).flatten(0, 1), t.repeat_interleave(2), sign
        clean = rand((n,), generator=generator, device=x.device) < 0.5
        return torch.where(clean.view(-1, *one), x, noisy), t, torch.where(clean, 1.0, -1.0).to(t)

    def ratio(
        self, denoiser: Denoiser, y: Tensor, t: Tensor, generator: Generator = None
    ) -> Tensor:
        """Estimate ``LLR_t(y)`` as of ``ContrastiveDiffusion.ratio``, with these choices.

        Returns
        -------
        (n,) tensor, float32 or wider. With variance-preserving noise it is the ratio of ``p`` to
        the distribution of ``(x + t eps) / sqrt(1 + t^2)``.
        """
        wide = torch.promote_types(y.dtype, torch.float32)
        shape = (len(y), 1 if self.shared else 2, self.points)
        u = rand(shape, generator=generator, device=y.device, dtype=wide)
        if self.stratified:
            u = (torch.arange(self.points).to(u) + u) / self.points
        s = self.levels.quantile(u)
        weight = 1 / self.levels.density(s)
        eps = randn((*shape, *y.shape[1:]), generator=generator, device=y.device, dtype=y.dtype)
        eps = torch.stack([eps, -eps], 3) if self.antithetic else eps.unsqueeze(3)

        # From here: (n, term, point, sign, *shape); the terms are the clean and the noised one.
        def over(v: Tensor) -> Tensor:
            return v.reshape(*v.shape, *[1] * (eps.ndim - v.ndim)).to(y.dtype)

        shrink = (1 + t**2).rsqrt() if self.preserving else torch.ones_like(t)
        scale = torch.stack([torch.ones_like(t), shrink], 1)[..., None]  # (n, 2, 1)
        added = torch.stack([torch.zeros_like(t), t], 1)[..., None]
        own = s / scale  # noise on top, in the units of the clean data
        level = (own**2 + added**2).sqrt()
        full = (len(y), 2, self.points, 2 if self.antithetic else 1, *y.shape[1:])
        noisy = (y.reshape(len(y), 1, 1, 1, *y.shape[1:]) + over(s) * eps) / over(scale)
        noisy = noisy.expand(full)
        flat = noisy.reshape(-1, *y.shape[1:])
        asked = level.unsqueeze(-1).expand(full[:4]).reshape(-1).to(y.dtype)
        answer = (flat - denoiser(flat, asked)).view(full)
        estimate = over(own / level) * (answer / over(level))

        square, dims = self.sigma_data**2, math.prod(y.shape[1:])
        variance = scale**2 * (square + added**2)  # of the Gaussian and of its noised self
        log_ratio = 0.5 * dims * (variance[:, 1, 0] / square).log()
        axes = tuple(range(4, eps.ndim))
        if self.shared:
            gaussian = over(s / (variance + s**2)) * noisy * over(scale)
            error = ((gaussian - estimate) * (2 * eps - gaussian - estimate)).to(t).sum(axes)
            length = y.flatten(1).to(t).square().sum(1)
            log_ratio = log_ratio - 0.5 * length * (1 / square - 1 / variance[:, 1, 0])
        else:
            error = (eps - estimate).to(t).square().sum(axes)
            error = error - (dims * variance / (variance + s**2)).unsqueeze(-1)
        integral = 0.5 * (weight * error.mean(-1)).mean(2)
        return log_ratio + integral[:, 1] - integral[:, 0]


def official_loss(points: int = 128, samples: int | None = 2, **options: Any) -> AblatedContrast:
    """Return the loss with the draws and the coin of the official code (as it runs on points).

    Parameters
    ----------
    points : int
        Levels for each ratio (default 128).
    samples : int, optional
        Of each batch (default 2).
    **options : further options of ``AblatedContrast``
    """
    given: dict[str, Any] = {**OFFICIAL_DRAWS, "both": False, **options}
    return AblatedContrast(points=points, samples=samples, **given)
