"""Collaborative filtering of similar patches: what a network is shown beside the noisy image.

Patches that look alike are stacked, and each stack is filtered in a basis in which it is sparse.
Source: Dabov, Foi, Katkovnik & Egiazarian, Image denoising by sparse 3-D transform-domain
collaborative filtering, 2007 (BM3D). Its parts are here: the two passes, spline wavelets and
cosines within patches, Haar wavelets across a stack, the weights, the Kaiser window. One is not:
the paper stacks only patches that are near enough, here every stack has the same number.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from companion import checks

SIDE, STEP = 8, 3
"""Side of a patch, and the step of the grid of patches for which similar ones are looked for."""

REACH = 24
"""How far away similar patches may be along each axis, in pixels."""

STACKED = (16, 32)
"""Patches in a stack, in the first and in the second pass: powers of 2."""

THRESHOLD = 2.7
"""Coefficients below this many noise levels are set to 0 in the first pass."""

KAISER = 2.0
"""Shape of the Kaiser window with which patches are put back: their borders count less."""

AT_ONCE = 1024
"""Stacks that are filtered at once; bounds the memory."""

TOGETHER = 8
"""Patches of the grid, along each axis, for which similar ones are looked for at once."""


@lru_cache
def cosine_basis(n: int) -> Tensor:
    """Orthonormal discrete cosine transform of length ``n``, an (n, n) tensor."""
    k, i = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    basis = torch.cos(math.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    basis[0] = 1 / math.sqrt(n)
    return basis


@lru_cache
def haar_basis(n: int) -> Tensor:
    """Orthonormal Haar wavelets of length ``n``, a power of 2: an (n, n) tensor."""
    return _wavelets(n, (1.0, 1.0))


@lru_cache
def spline_basis(n: int) -> Tensor:
    """Biorthogonal spline wavelets 1.5 of length ``n``, a power of 2: an (n, n) tensor.

    Periodic; rows of length 1, not orthogonal. A difference of neighbours is Haar's, a mean looks
    at ten values. Source: Cohen, Daubechies & Feauveau, Biorthogonal bases of compactly supported
    wavelets, 1992.
    """
    return _wavelets(n, (3.0, -3.0, -22.0, 22.0, 128.0, 128.0, 22.0, -22.0, -3.0, 3.0))


def _wavelets(n: int, mean: tuple[float, ...]) -> Tensor:
    """Rows of length 1: a mean, then differences of pairs of means, from coarse to fine."""
    means, rows = torch.eye(n, dtype=torch.float64), []
    while len(means) > 1:
        rows.append(means[::2] - means[1::2])
        shifted = [m * means.roll(len(mean) // 2 - 1 - i, 0)[::2] for i, m in enumerate(mean)]
        means = torch.stack(shifted).sum(0)
    basis = torch.cat([means, *reversed(rows)])
    return functional.normalize(basis, dim=1).float()


def grid(length: int, device: torch.device | None = None) -> Tensor:
    """First pixels of the patches along an axis: every ``STEP``-th, and the last that fits."""
    last = length - SIDE
    places = torch.arange(0, last + STEP, STEP, device=device)
    return places.clamp_max(last)


def match(x: Tensor, count: int) -> Tensor:
    """Find the patches that are most like each patch of a grid, in squared distance.

    The distances of a few neighbours on the grid to all patches around them are one matrix
    product, ``|b|^2 / 2 - a . b``.

    Parameters
    ----------
    x : (C, H, W) tensor
        H and W at least 16.
    count : int
        Patches to find for each, itself among them (at most 81).

    Returns
    -------
    (R, count) tensor of whole numbers
        Where they are, the nearest first: ``row * (W - SIDE + 1) + column`` of their upper left
        pixels.
    """
    height, width = x.shape[1:]
    down, across, side = height - SIDE + 1, width - SIDE + 1, 2 * REACH + 1
    rows, columns = grid(height, x.device), grid(width, x.device)
    patches = _patches(x - x.mean()).unflatten(0, (down, across))
    around = functional.pad(patches, (0, 0, *(REACH,) * 4))
    halves = functional.pad(patches.square().sum(2) / 2, (REACH,) * 4, value=math.inf)
    found = rows.new_empty(len(rows), len(columns), count)
    for i in range(0, len(rows), TOGETHER):
        for j in range(0, len(columns), TOGETHER):
            own_rows, own_columns = rows[i : i + TOGETHER], columns[j : j + TOGETHER]
            top, left = int(own_rows[0]), int(own_columns[0])
            # each patch's window of places around it, in the coordinates of the group
            ys, xs = (own_rows - top).tolist(), (own_columns - left).tolist()
            here = (slice(top, top + ys[-1] + side), slice(left, left + xs[-1] + side))
            distances = torch.addmm(
                halves[here].reshape(1, -1),
                patches[own_rows][:, own_columns].flatten(0, 1),
                around[here].flatten(0, 1).T,
                alpha=-1,
            ).view(len(ys), len(xs), *halves[here].shape)
            windows = torch.stack([
                distances[k, m, y : y + side, z : z + side].flatten()
                for k, y in enumerate(ys)
                for m, z in enumerate(xs)
            ])  # fmt: skip
            windows[:, side * side // 2] = -math.inf  # itself, even among equals
            nearest = windows.topk(count, 1, largest=False).indices
            nearest = nearest.view(len(ys), len(xs), count)
            row = own_rows[:, None, None] + nearest // side - REACH
            column = own_columns[:, None] + nearest % side - REACH
            found[i : i + TOGETHER, j : j + TOGETHER] = row * across + column
    return found.flatten(0, 1)


def _patches(x: Tensor) -> Tensor:
    """All patches of (C, H, W), as (places, C * 64)."""
    return functional.unfold(x[None], SIDE)[0].T.contiguous()


class CollaborativeFilter:
    """A linear filter of images, whose patches and gains were chosen from one of them.

    The first pass sets small coefficients of the stacks to 0, in a basis of spline wavelets; its
    result chooses the stacks of the second pass and their gains ``p / (p + sigma^2)``, with the
    power ``p`` of a coefficient (Wiener's filter), in a basis of cosines. Across a stack, both
    have Haar wavelets; across the channels of colour images (not in the paper) cosines. What is
    kept is the second pass, which is linear: ``filter(x)`` restores, and ``filter(v)`` is the
    derivative along ``v`` but for the choice of the gains.

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
        channels = cosine_basis(len(x))
        splines, cosines = (
            torch.kron(channels, torch.kron(basis(SIDE), basis(SIDE))).to(x)
            for basis in (spline_basis, cosine_basis)
        )
        self._cosines = cosines
        places = match(x, STACKED[0])
        first = self._pass(_patches(x), places, splines, self._thresholded)
        self._places = match(first, STACKED[1])
        clean, across = _patches(first), haar_basis(STACKED[1]).to(x)
        powers = (
            (across @ (clean[some] @ cosines.T)).square() for some in self._places.split(AT_ONCE)
        )
        self._gains = torch.cat([power / (power + self.sigma**2) for power in powers])

    def __call__(self, v: Tensor) -> Tensor:
        """Filter a (C, H, W) tensor of the same shape."""
        if v.shape != self.shape:
            raise ValueError(f"v: got shape {tuple(v.shape)}; allowed is {tuple(self.shape)}")
        gains = iter(self._gains.split(AT_ONCE))

        def filtered(stacks: Tensor) -> tuple[Tensor, Tensor]:
            gain = next(gains)
            return stacks * gain, 1 / gain.square().sum((1, 2)).clamp_min(1e-6)

        return self._pass(_patches(v), self._places, self._cosines, filtered)

    def _thresholded(self, stacks: Tensor) -> tuple[Tensor, Tensor]:
        kept = stacks.abs() > THRESHOLD * self.sigma
        return stacks * kept, 1 / kept.sum((1, 2)).clamp_min(1)

    def _pass(self, patches: Tensor, places: Tensor, within: Tensor, filtered) -> Tensor:
        """Filter stacks, and put their patches back as a mean weighted by stack and window."""
        across = haar_basis(places.shape[1]).to(patches)
        back = torch.linalg.inv(within).T
        total, weight = torch.zeros_like(patches), patches.new_zeros(len(patches), 1)
        for some in places.split(AT_ONCE):
            stacks, weights = filtered(across @ (patches[some] @ within.T))
            restored = (across.T @ stacks @ back) * weights[:, None, None]
            total.index_add_(0, some.flatten(), restored.flatten(0, 1))
            shared = weights[:, None, None].expand(*some.shape, 1).flatten(0, 1)
            weight.index_add_(0, some.flatten(), shared.to(weight))
        line = torch.kaiser_window(SIDE, periodic=False, beta=KAISER).to(patches)
        window = torch.outer(line, line).flatten()
        total *= window.repeat(len(total.T) // len(window))
        size = self.shape[1:]
        summed = functional.fold(total.T[None], size, SIDE)[0]
        return summed / functional.fold((weight * window).T[None], size, SIDE)[0]
