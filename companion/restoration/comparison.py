"""Errors without clean images, of ours and of the classic methods; with clean ones PSNR and SSIM.

Pages are (C, H, W) arrays in units of their noise: white, of level 1.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from companion import checks

Function = Callable[[np.ndarray], np.ndarray]
"""From a noisy page (C, H, W) to a clean one."""

UNIT = 0.1
"""What the noise level becomes for methods that expect values of about 0 to 1."""


@dataclass(frozen=True)
class Method:
    """A way to restore a page.

    Attributes
    ----------
    name : str
    function : called as ``function(page, parameter)``
    parameters : tuple of float
        What ``calibrated`` chooses from.
    """

    name: str
    function: Callable[[np.ndarray, float], np.ndarray]
    parameters: tuple[float, ...]


def _last(function: Callable) -> Callable[[np.ndarray, float], np.ndarray]:
    """Adapt a function of (H, W) or (H, W, C) values with noise of level ``UNIT``."""

    def adapted(page: np.ndarray, parameter: float) -> np.ndarray:
        image = UNIT * (page[0] if len(page) == 1 else np.moveaxis(page, 0, -1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = function(np.ascontiguousarray(image, dtype=np.float64), parameter)
        done = done[None] if done.ndim == 2 else np.moveaxis(done, -1, 0)
        return (done / UNIT).astype(np.float32)

    return adapted


def _axis(image: np.ndarray) -> int | None:
    return -1 if image.ndim == 3 else None


def _wavelets(image: np.ndarray, factor: float) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    return denoise_wavelet(
        image, sigma=factor * UNIT, mode="soft", method="BayesShrink", channel_axis=_axis(image),
        rescale_sigma=False, wavelet="db2",
    )  # fmt: skip


def _total_variation(image: np.ndarray, factor: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, weight=factor * UNIT, channel_axis=_axis(image))


def _non_local_means(image: np.ndarray, factor: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        image, h=factor * UNIT, sigma=UNIT, patch_size=5, patch_distance=6, fast_mode=True,
        channel_axis=_axis(image),
    )  # fmt: skip


def _bm3d(image: np.ndarray, factor: float) -> np.ndarray:
    from bm3d import bm3d

    return bm3d(image, factor * UNIT)


def classic_methods() -> list[Method]:
    """Wavelets, total variation, non-local means; BM3D where the package ``bm3d`` is installed.

    (``bm3d`` is free for non-commercial use only, so nothing here installs it.)
    """
    methods = [
        Method("wavelets", _last(_wavelets), (0.7, 1.0, 1.4)),
        Method("total variation", _last(_total_variation), (0.6, 0.8, 1.0, 1.3)),
        Method("non-local means", _last(_non_local_means), (0.5, 0.7, 0.9)),
    ]
    if importlib.util.find_spec("bm3d"):
        methods.append(Method("BM3D", _last(_bm3d), (1.0,)))
    return methods


def calibrated(method: Method, crops: Sequence[np.ndarray]) -> tuple[Function, float]:
    """Choose a method's parameter by its masked error, scikit-image's ``calibrate_denoiser``.

    Source: Batson & Royer 2019 (J-invariance).

    Returns
    -------
    function of a page, and the parameter
    """
    from skimage.restoration import calibrate_denoiser

    parameter = method.parameters[0]
    if len(method.parameters) > 1 and crops:
        total = np.zeros(len(method.parameters))
        for crop in crops:
            image = np.moveaxis(crop, 0, -1) if len(crop) > 1 else crop[0]
            _, (_, losses) = calibrate_denoiser(
                image,
                _first(method.function),
                {"parameter": list(method.parameters), "channel_axis": [_axis(image)]},
                extra_output=True,
            )
            total += np.asarray(losses)
        parameter = method.parameters[int(total.argmin())]
    return lambda page: method.function(page, parameter), parameter


def _first(function: Callable) -> Callable:
    """Adapt a function of (C, H, W) to images as scikit-image has them."""

    def adapted(image: np.ndarray, channel_axis: int | None = None, **options: Any) -> np.ndarray:
        page = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        done = function(np.ascontiguousarray(page, dtype=np.float32), **options)
        return done[0] if image.ndim == 2 else np.moveaxis(done, 0, -1)

    return adapted


def masked_error(function: Function, page: np.ndarray, stride: int = 3) -> float:
    """Mean squared error of the clean values, estimated from hidden pixels.

    Pixels of a grid are hidden (replaced by the mean of their neighbours), the page is restored,
    and the answer there is compared with the noisy values, which the answer cannot know; the
    variance of the noise, 1, is subtracted. Valid for noise that is independent from pixel to
    pixel. Source: Batson & Royer 2019; scikit-image's ``denoise_invariant``.

    Parameters
    ----------
    function : from a page to its restoration
    page : (C, H, W) array in units of its noise
    stride : int
        Step of the grid: ``stride^2`` restorations (default 3).
    """
    from skimage.restoration import denoise_invariant

    checks.function("function", function)
    image = np.moveaxis(page, 0, -1) if len(page) > 1 else page[0]
    options = {"channel_axis": _axis(image)}
    answer = denoise_invariant(
        image, _first(lambda p: function(p)), stride=stride, denoiser_kwargs=options
    )
    return float(((answer - image) ** 2).mean()) - 1.0


def sure(function: Function, page: np.ndarray, step: float = 0.1, seed: int = 0) -> float:
    """Mean squared error of the clean values by Stein's estimate, with all pixels seen.

    ``||f(y) - y||^2 / n - 1 + 2 div f / n``, the divergence along two random directions of signs.
    Valid for white Gaussian noise of level 1. Source: Stein 1981; Ramani, Blu & Unser 2008.

    Parameters
    ----------
    function, page : as for ``masked_error``
    step : float
        Length of the finite difference (default 0.1 of the noise).
    seed : int
        Of the directions.
    """
    rng = np.random.default_rng(checks.seed("seed", seed))
    answer = function(page)
    slopes = []
    for _ in range(2):
        direction = (rng.integers(0, 2, page.shape) * 2 - 1).astype(np.float32)
        slopes.append((direction * (function(page + step * direction) - answer)).mean() / step)
    return float(((answer - page) ** 2).mean() - 1.0 + 2.0 * np.mean(slopes))


def decibels(error: float) -> float:
    """Noise removed: ``-10 log10`` of an error in units of the noise (NaN if not above 0)."""
    return float(-10 * np.log10(error)) if error > 0 else float("nan")


def compare(functions: dict[str, Function], crops: Sequence[np.ndarray]):
    """Noise removed from crops by each method, without clean images.

    Returns
    -------
    pandas table, one row a method: decibels by masked pixels and by SURE, seconds a million values
    """
    import pandas as pd

    rows = []
    for name, function in functions.items():
        started = time.perf_counter()
        stein = [sure(function, crop) for crop in crops]
        seconds = (time.perf_counter() - started) / 3 / max(1, sum(c.size for c in crops)) * 1e6
        hidden = [masked_error(function, crop) for crop in crops]
        rows.append(
            (name, decibels(float(np.mean(hidden))), decibels(float(np.mean(stein))), seconds)
        )
    return pd.DataFrame(rows, columns=["method", "masked", "sure", "seconds"]).set_index("method")


def quality(clean: np.ndarray, restored: np.ndarray, reach: float) -> tuple[float, float]:
    """PSNR in decibels and SSIM of (N, C, H, W) values, for a range of grey values ``reach``."""
    from skimage.metrics import structural_similarity

    error = float(((restored - clean) ** 2).mean())
    psnr = float(10 * np.log10(reach**2 / error)) if error > 0 else float("inf")
    pages = zip(clean.reshape(-1, *clean.shape[2:]), restored.reshape(-1, *clean.shape[2:]))
    ssim = [structural_similarity(a, b, data_range=reach) for a, b in pages]
    return psnr, float(np.mean(ssim))
