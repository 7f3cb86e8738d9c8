"""Patches to train on, and crops that are kept out of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser
from companion.noise import Generator
from companion.noise.corruption import randint
from companion.objectives import Objective

MEMORY = 300_000_000
"""Bytes that all patches take at most."""


def symmetry(x: Tensor, which: int, inverse: bool = False) -> Tensor:
    """One of the eight symmetries of the square, 0 to 7, of (..., H, W); or its inverse."""
    if not inverse and which & 4:
        x = x.mT
    for bit, axis in ((1, -1), (2, -2)):
        if which & bit:
            x = x.flip(axis)
    return x.mT if inverse and which & 4 else x


@dataclass(frozen=True)
class RandomSymmetries:
    """An objective on a batch of which each image is turned or mirrored at random.

    Parameters
    ----------
    objective : Objective
        Called with the turned batch.
    """

    objective: Objective

    def __post_init__(self):
        checks.function("objective", self.objective)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each image of the batch (B, C, H, H), (B,)."""
        which = randint(8, (len(batch),), generator=generator).tolist()
        turned = torch.stack([symmetry(x, k) for x, k in zip(batch, which)])
        return self.objective(denoiser, turned, generator)


@dataclass(frozen=True)
class Crop:
    """A square of a page: ``pages[page][:, top:top + size, left:left + size]``."""

    page: int
    top: int
    left: int
    size: int

    def of(self, pages: Sequence[Any]) -> Any:
        """Cut it out."""
        top, left, size = self.top, self.left, self.size
        return pages[self.page][:, top : top + size, left : left + size]


def held_out_crops(
    pages: Sequence[np.ndarray], rng: np.random.Generator, most: int = 4, size: int = 96
) -> list[Crop]:
    """Choose squares that no patch will touch: of large pages a ninth at most, else whole pages.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays
    rng : numpy.random.Generator
    most : int
        Crops at most (default 4). Of small pages at most a tenth of the pages.
    size : int
        Largest side, in pixels (default 96).

    Returns
    -------
    list of Crop
        Empty where there is too little to hold anything back.
    """
    crops: list[Crop] = []
    for page in rng.permutation(len(pages)):
        height, width = pages[page].shape[1:]
        if min(height, width) >= 192:
            side = min(size, min(height, width) // 3) // 8 * 8
        elif len(crops) < len(pages) // 10:
            side = min(size, height, width)
        else:
            continue
        top, left = (int(rng.integers(n - side + 1)) for n in (height, width))
        crops.append(Crop(int(page), top, left, side))
        if len(crops) == most:
            break
    return crops


def patches(
    pages: Sequence[np.ndarray],
    rng: np.random.Generator,
    size: int = 64,
    without: Sequence[Crop] = (),
    overlap: float = 16.0,
) -> Tensor:
    """Cut square patches at random places out of pages.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays, of one number of channels
    rng : numpy.random.Generator
    size : int
        Side in pixels (default 64). Where no page is as large, the largest multiple of 8 that is.
    without : sequence of Crop
        Places that no patch may touch.
    overlap : float
        In how many patches a pixel is on average (default 16), if 300 MB hold them.

    Returns
    -------
    (N, C, size, size) float32 tensor

    Raises
    ------
    ValueError
        If there is no page.
    """
    if not pages:
        raise ValueError("pages: got none; allowed are one or more")
    size = min(size, max(min(p.shape[1:]) for p in pages) // 8 * 8)
    large = [i for i, p in enumerate(pages) if min(p.shape[1:]) >= size]
    areas = np.array([pages[i][0].size for i in large], dtype=float)
    total = int(max(64, overlap * areas.sum() / size**2))
    total = min(total, max(64, MEMORY // (4 * size**2 * len(pages[large[0]]))))
    drawn = [
        patch
        for page in rng.choice(large, total, p=areas / areas.sum())
        for patch in cut(pages[page], rng, size, 1, [c for c in without if c.page == page])
    ]
    if not drawn:  # nothing is left beside the crops
        return patches(pages, rng, size, (), overlap)
    return torch.from_numpy(np.stack(drawn))


def cut(
    page: np.ndarray, rng: np.random.Generator, size: int, count: int, holes: Sequence[Crop] = ()
) -> list[np.ndarray]:
    """Cut ``count`` squares of a page at random places; fewer where ``holes`` leave no room."""
    height, width = page.shape[1:]
    done = []
    for _ in range(count):
        for _ in range(50):
            top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
            if not any(_touch(c, top, left, size) for c in holes):
                done.append(page[:, top : top + size, left : left + size])
                break
    return done


def _touch(crop: Crop, top: int, left: int, size: int) -> bool:
    return (
        crop.top < top + size and top < crop.top + crop.size
        and crop.left < left + size and left < crop.left + crop.size
    )  # fmt: skip
