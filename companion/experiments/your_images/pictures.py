"""Pictures that ship with scikit-image, in grey, with noise of a known level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from companion.data.folders import Folder, Picture

__all__ = ["PIECES", "as_folder", "grey", "many", "noisy", "one", "pieces", "psnr", "sky"]

PIECES = {
    "camera": (90, 190),
    "astronaut": (20, 170),
    "coins": (60, 100),
    "brick": (100, 100),
    "chelsea": (60, 130),
    "page": (40, 60),
    "gravel": (100, 100),
    "coffee": (130, 220),
}
"""Upper left corners of the pieces of pictures on which the book measures live."""

WHOLE = (
    *("camera", "astronaut", "chelsea", "coffee", "rocket", "coins", "moon", "page", "brick"),
    *("grass", "gravel", "cell", "hubble_deep_field", "immunohistochemistry", "retina", "clock"),
)
LARGE_PIECES = {"astronaut": (20, 160), "coffee": (100, 60), "chelsea": (20, 120)}


def grey(name: str) -> np.ndarray:
    """A picture of scikit-image, grey values from 0 to 255."""
    from skimage import data
    from skimage.color import rgb2gray

    image = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    image = image if image.ndim == 2 else 255 * rgb2gray(image[..., :3])
    return np.rint(np.asarray(image, dtype=float))


def cut(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A square of a picture."""
    return image[top : top + side, left : left + side]


def pieces(side: int, count: int | None = None) -> dict[str, np.ndarray]:
    """Squares at full resolution of ``PIECES``."""
    return {name: cut(grey(name), *PIECES[name], side) for name in list(PIECES)[:count]}


def many() -> dict[str, np.ndarray]:
    """20 different pictures of 256 x 256: 16 whole ones made smaller, and 4 pieces."""
    from skimage.transform import resize

    found = {}
    for name in WHOLE:
        image = grey(name)
        n = min(image.shape)
        top, left = ((length - n) // 2 for length in image.shape)
        found[name] = resize(cut(image, top, left, n), (256, 256), anti_aliasing=True)
    for name, place in {**LARGE_PIECES, "motorcycle": (200, 300)}.items():
        found[f"{name} piece"] = cut(grey(name), *place, 256)
    return {name: np.rint(image).clip(0, 255) for name, image in found.items()}


def one() -> dict[str, np.ndarray]:
    """100 pieces of 128 x 128 of one photograph of a retina, 1411 x 1411."""
    whole, corners = grey("retina"), range(65, 65 + 1280, 128)
    return {f"{r}-{c}": cut(whole, r, c, 128) for r in corners for c in corners}


def sky() -> dict[str, np.ndarray]:
    """100 pieces of 87 x 87 of one photograph of the sky, the Hubble deep field, 872 x 1000.

    What counts as the truth has a grain of its own.
    """
    whole, side = grey("hubble_deep_field"), 87
    corners = [(side * i, 100 * j) for i in range(10) for j in range(10)]
    return {f"{r}-{c}": cut(whole, r, c, side) for r, c in corners}


def noisy(clean: dict[str, np.ndarray], sigma: float, seed: int) -> dict[str, np.ndarray]:
    """Add white Gaussian noise; not clipped, not rounded."""
    rng = np.random.default_rng(seed)
    return {n: (p + sigma * rng.standard_normal(p.shape)) for n, p in clean.items()}


def as_folder(pictures: dict[str, np.ndarray], dtype: Any = np.float32) -> Folder:
    """What ``restoration.folder`` would read, of pictures that are in memory."""
    made = [
        Picture(Path(f"{n}.npy"), p.astype(np.float32)[None, None], np.dtype(dtype), p.shape)
        for n, p in pictures.items()
    ]
    return Folder(Path("memory"), made, {})


def psnr(clean: np.ndarray, restored: np.ndarray) -> float:
    """Peak signal to noise ratio of grey values from 0 to 255, in decibels."""
    return float(10 * np.log10(255**2 / ((restored.clip(0, 255) - clean) ** 2).mean()))
