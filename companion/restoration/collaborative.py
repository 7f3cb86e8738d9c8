"""Collaborative filtering of similar patches: what a network is shown beside the noisy image.

Patches that look alike are stacked, and each stack is filtered in a basis in which it is sparse.
Source: Dabov, Foi, Katkovnik & Egiazarian, Image denoising by sparse 3-D transform-domain
collaborative filtering, 2007 (BM3D). This is its plain form: cosine bases within patches and across
the stack, a fixed number of patches, no window. It is some tenths of a decibel behind BM3D.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from companion import checks

SIDE, STRIDE = 8, 4
"""Side of a patch, and the step of the grid of patches for which similar ones are looked for."""

REACH = 12
"""How far away similar patches may be along each axis, in pixels."""

STACKED = (16, 32)
"""Patches in a stack, in the first and in the second pass."""

THRESHOLD = 2.7
"""Coefficients below this many noise levels are set to 0 in the first pass."""

AT_ONCE = 4096
"""Stacks that are filtered at once; bounds the memory."""


@lru_cache
def cosine_basis(n: int) -> Tensor:
    """Orthonormal discrete cosine transform of length ``n``, an (n, n) tensor."""
    k, i = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    basis = torch.cos(math.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    basis[0] = 1 / math.sqrt(n)
    return basis


def match(x: Tensor, count: int) -> Tensor:
    """Find the patches that are most like each patch of a grid, in squared distance.

    Parameters
    ----------
    x : (C, H, W) tensor
        H and W multiples of ``STRIDE``, at least 16.
    count : int
        Patches to find for each, itself among them.

    Returns
    -------
    (R, count) tensor of whole numbers
        Where they are: ``row * (W - SIDE + 1) + column`` of their upper left pixels.
    """
    height, width = x.shape[1:]
    across = width - SIDE + 1
    rows = torch.arange(0, height - SIDE + 1, STRIDE, device=x.device)
    columns = torch.arange(0, across, STRIDE, device=x.device)
    padded = functional.pad(x[None], (REACH,) * 4)[0]
    distances, shifts = [], []
    for dy in range(-REACH, REACH + 1):
        inside = ((rows + dy >= 0) & (rows + dy <= height - SIDE))[:, None]
        band = padded[:, REACH + dy : REACH + dy + height]
        for dx in range(-REACH, REACH + 1):
            d = (band[:, :, REACH + dx : REACH + dx + width] - x).square().sum(0)
            d = functional.avg_pool2d(d[None, None], STRIDE)
            d = functional.avg_pool2d(d, SIDE // STRIDE, 1)[0, 0]
            there = inside & (columns + dx >= 0) & (columns + dx <= width - SIDE)
            itself = -1.0 if dx == dy == 0 else 0.0  # first even among equals
            distances.append((d + itself).masked_fill(~there, math.inf).flatten())
            shifts.append(dy * across + dx)
    nearest = torch.stack(distances, 1).topk(count, 1, largest=False, sorted=False).indices
    own = (rows[:, None] * across + columns).flatten()
    return own[:, None] + torch.tensor(shifts, device=x.device)[nearest]


class CollaborativeFilter:
    """A linear filter of images, whose patches and gains were chosen from one of them.

    The first pass sets small coefficients of the stacks to 0; its result chooses the stacks of the
    second pass and their gains ``p / (p + sigma^2)``, with the power ``p`` of a coefficient
    (Wiener's filter). What is kept is the second pass, which is linear: ``filter(x)`` restores, and
    ``filter(v)`` is the derivative along ``v`` but for the choice of the gains.

    Parameters
    ----------
    x : (C, H, W) tensor
        The noisy image, at least 16 pixels high and wide.
    sigma : float
        Its noise level.
    """

    def __init__(self, x: Tensor, sigma: float):
        checks.tensor("x", x, "(C, H, W)", at_least=3)
        self.sigma = checks.number("sigma", sigma, above=0)
        self.shape = x.shape
        x = self._padded(x)
        cosine = cosine_basis(SIDE)
        within = torch.kron(cosine_basis(len(x)), torch.kron(cosine, cosine)).to(x)
        self._within = within
        patches = self._patches(x)
        first = self._pass(patches, match(x, STACKED[0]), self._thresholded, x.shape)
        self._places = match(first, STACKED[1])
        clean = self._patches(first)
        gains = [
            self._gain(clean[some] @ within.T).to(x.dtype) for some in self._places.split(AT_ONCE)
        ]
        self._gains = torch.cat(gains)

    def __call__(self, v: Tensor) -> Tensor:
        """Filter a (C, H, W) tensor of the same shape."""
        if v.shape != self.shape:
            raise ValueError(f"v: got shape {tuple(v.shape)}; allowed is {tuple(self.shape)}")
        v = self._padded(v)
        gains = iter(self._gains.split(AT_ONCE))

        def filtered(stacks: Tensor) -> tuple[Tensor, Tensor]:
            gain = next(gains)
            return stacks * gain, 1 / gain.square().sum((1, 2)).clamp_min(1e-6)

        done = self._pass(self._patches(v), self._places, filtered, v.shape)
        return done[:, : self.shape[1], : self.shape[2]]

    @staticmethod
    def _padded(x: Tensor) -> Tensor:
        extra = (0, -x.shape[2] % STRIDE, 0, -x.shape[1] % STRIDE)
        return functional.pad(x[None], extra, mode="reflect")[0] if any(extra) else x

    @staticmethod
    def _patches(x: Tensor) -> Tensor:
        """All patches of (C, H, W), as (places, C * 64)."""
        return functional.unfold(x[None], SIDE)[0].T.contiguous()

    def _gain(self, stacks: Tensor) -> Tensor:
        power = (cosine_basis(stacks.shape[1]).to(stacks) @ stacks).square()
        return power / (power + self.sigma**2)

    def _thresholded(self, stacks: Tensor) -> tuple[Tensor, Tensor]:
        kept = stacks.abs() > THRESHOLD * self.sigma
        return stacks * kept, 1 / kept.sum((1, 2)).clamp_min(1)

    def _pass(self, patches: Tensor, places: Tensor, filtered, shape: torch.Size) -> Tensor:
        """Filter stacks, and put their patches back as a mean weighted by stack."""
        across = cosine_basis(places.shape[1]).to(patches)
        total, weight = torch.zeros_like(patches), patches.new_zeros(len(patches))
        for some in places.split(AT_ONCE):
            stacks, weights = filtered(across @ (patches[some] @ self._within.T))
            back = (across.T @ stacks @ self._within) * weights[:, None, None]
            total.index_add_(0, some.flatten(), back.flatten(0, 1))
            weight.index_add_(
                0, some.flatten(), weights[:, None].expand(some.shape).flatten().to(weight)
            )
        size = shape[1:]
        total = functional.fold(total.T[None], size, SIDE)[0]
        weight = functional.fold(weight.expand(SIDE * SIDE, -1)[None], size, SIDE)[0]
        return total / weight
