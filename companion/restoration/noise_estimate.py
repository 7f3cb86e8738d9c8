"""What the noise of an image is like: its level, its colour, and whether it depends on the signal.

All functions take one page (C, H, W) or several, and never need clean images. Pixels that show no
noise, because they are at black or white or in a blank area, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import ndimage

from companion import checks

Limits = tuple[float, float]

BLANK = 9
"""Side of a square of equal pixels, at the darkest or brightest value, that counts as blank."""

FEWEST = 200
"""Patches or wavelet coefficients without cut pixels that an estimate needs; else it takes all."""


def cut(channel: np.ndarray, limits: Limits | None = None) -> np.ndarray:
    """Where a channel shows no noise: at black or white, or in a blank area; (H, W) bool.

    Parameters
    ----------
    channel : (H, W) array
    limits : (low, high), optional
        Black and white of the scale. Without them, and beside them, the smallest and largest value
        of the channel count where all of a square of ``BLANK`` pixels has it.
    """
    low, high = channel.min(), channel.max()
    found = np.zeros(channel.shape, bool)
    for end in (low, high):
        at = channel == end
        if min(channel.shape) >= BLANK and at.sum() >= BLANK**2:
            found |= ndimage.binary_opening(at, np.ones((BLANK, BLANK)))
    if limits is not None:
        found |= (channel <= limits[0]) | (channel >= limits[1])
    return found


def _mean(levels: Sequence[float]) -> float:
    """Mean of the channels that are not blank; NaN if all are."""
    there = [level for level in levels if math.isfinite(level)]
    return float(np.mean(there)) if there else math.nan


def _page(name: str, page: np.ndarray) -> np.ndarray:
    checks.instance(name, page, np.ndarray, "an array (C, H, W)")
    if page.ndim != 3 or min(page.shape[1:]) < 8:
        raise ValueError(
            f"{name}: got shape {page.shape}; allowed is (C, H, W) of 8 pixels or more"
        )
    return page


def wavelet_sigma(page: np.ndarray, limits: Limits | None = None) -> float:
    """Noise level by the median absolute wavelet coefficient of the finest diagonal band.

    As scikit-image's ``estimate_sigma``, which it is where no pixel is cut; the mean over channels.
    Source: Donoho & Johnstone 1994. It reads fine texture as noise.

    Parameters
    ----------
    page : (C, H, W) array
    limits : (low, high), optional
        Black and white of the scale.

    Returns
    -------
    float, NaN if all channels are blank
    """
    return _mean([_wavelet_sigma(channel, limits) for channel in _page("page", page)])


def _wavelet_sigma(channel: np.ndarray, limits: Limits | None) -> float:
    import pywt
    from skimage.restoration import estimate_sigma

    if np.ptp(channel) == 0:
        return math.nan
    without = cut(channel, limits)
    if not without.any():
        return float(estimate_sigma(channel))
    diagonal = pywt.dwt2(channel.astype(np.float64), "db2")[1][2]
    # A coefficient sees 4 x 4 pixels; number k those from 2 k - 2 on.
    padded = np.pad(without, ((2, 4), (2, 4)), mode="symmetric")
    seen = ndimage.maximum_filter(padded, 4, origin=-2)[::2, ::2]
    kept = diagonal[~seen[: diagonal.shape[0], : diagonal.shape[1]]]
    if len(kept) < FEWEST:
        return float(estimate_sigma(channel))
    return float(np.median(np.abs(kept)) / 0.6744897501960817)


def eigenvalue_sigma(
    page: np.ndarray, size: int = 7, most: int = 40_000, limits: Limits | None = None
) -> float:
    """Noise level by the smallest eigenvalues of the covariance of patches.

    Structure takes few directions of the space of patches, white noise takes all. From the largest
    on, eigenvalues are dropped until the mean of those left is their median; that is the variance.
    Source: Chen, Zhu & Heng 2015, algorithm 1. Less misled by texture than ``wavelet_sigma``.

    Parameters
    ----------
    page : (C, H, W) array
    size : int
        Side of a patch in pixels (default 7).
    most : int
        Patches used at most, evenly spread (default 40,000).
    limits : (low, high), optional
        Black and white of the scale.

    Returns
    -------
    float, the mean over channels that are not blank; NaN if all are
    """
    levels = []
    for channel in _page("page", page):
        if np.ptp(channel) == 0:
            levels.append(math.nan)
            continue
        patches = np.lib.stride_tricks.sliding_window_view(channel, (size, size))
        patches = patches.reshape(-1, size * size)
        without = cut(channel, limits)
        if without.any():
            spoiled = np.lib.stride_tricks.sliding_window_view(without, (size, size))
            whole = ~spoiled.any((2, 3)).ravel()
            patches = patches[whole] if whole.sum() >= FEWEST else patches
        patches = patches[:: max(1, len(patches) // most)].astype(np.float64)
        values = np.linalg.eigvalsh(np.cov(patches, rowvar=False))[::-1].clip(0)
        for first in range(len(values)):
            left = values[first:]
            if left.mean() <= np.median(left) * (1 + 1e-9):
                break
        levels.append(math.sqrt(left.mean()))
    return float(np.mean(levels))


def _flat_patches(
    pages: Sequence[np.ndarray], size: int, share: float, limits: Limits | None = None
) -> np.ndarray:
    """The flattest patches of each page, (n, size, size), their planes taken away."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    plane = np.stack([np.ones(size * size), rows.ravel(), columns.ravel()])
    plane /= np.linalg.norm(plane, axis=1, keepdims=True)
    found = []
    for page in pages:
        for channel in page:
            view = np.lib.stride_tricks.sliding_window_view(channel, (size, size))
            view = view[::size, ::size].reshape(-1, size * size).astype(np.float64)
            view = view - (view @ plane.T) @ plane
            spread = view.var(1)
            without = cut(channel, limits)
            spoiled = np.lib.stride_tricks.sliding_window_view(without, (size, size))
            positive = (spread > 0) & ~spoiled[::size, ::size].any((2, 3)).ravel()
            view, spread = view[positive], spread[positive]
            keep = max(1, int(share * len(view)))
            found.append(view[np.argsort(spread)[:keep]] if len(view) else view)
    return np.concatenate(found).reshape(-1, size, size) if found else np.empty((0, size, size))


def _lag_one(patches: np.ndarray) -> tuple[float, float]:
    """Correlation with the neighbour on the right and the one below."""
    variance = (patches**2).mean()
    right = (patches[:, :, 1:] * patches[:, :, :-1]).mean() / variance
    below = (patches[:, 1:] * patches[:, :-1]).mean() / variance
    return float(right), float(below)


def neighbour_correlation(
    pages: Sequence[np.ndarray],
    size: int = 8,
    share: float = 0.1,
    limits: Limits | None = None,
) -> tuple[float, float]:
    """Correlation of the noise of neighbouring pixels: right and below; 0 for white noise.

    Of the flattest patches, with a plane fitted to each taken away. What this does to white noise
    (a small negative correlation) is measured on white noise and subtracted.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays
    size : int
        Side of a patch in pixels (default 8).
    share : float
        Of the patches of a page that is used, the flattest (default 0.1).
    limits : (low, high), optional
        Black and white of the scale.

    Returns
    -------
    right, below : float
        Values above about 0.1 mean noise that is not white (or texture that is as fine as noise).
    """
    pages = [_page("pages", page) for page in checks.listed("pages", pages, "arrays (C, H, W)")]
    share = checks.number("share", share, above=0, at_most=1)
    patches = _flat_patches(pages, size, share, limits)
    if not len(patches):
        return 0.0, 0.0
    white = np.random.default_rng(0).standard_normal((1, 512, 512))
    expected = _lag_one(_flat_patches([white], size, share))
    right, below = (a - b for a, b in zip(_lag_one(patches), expected))
    return right, below


def channel_correlation(pages: Sequence[np.ndarray], limits: Limits | None = None) -> float:
    """Correlation of the noise of two channels of one pixel, 0 if each has noise of its own.

    By the signs of the diagonal differences of 2 x 2 pixels, at smooth places: if they agree with
    probability ``p``, Gaussian noise correlates by ``-cos(pi p)``.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays
    limits : (low, high), optional
        Black and white of the scale.

    Returns
    -------
    float, the mean over pairs of channels; 0 with one channel. Fine texture counts as noise.
    """
    agree = total = 0
    for page in checks.listed("pages", pages, "arrays (C, H, W)"):
        squares = [_squares(channel, limits) for channel in _page("pages", page)]
        for (_, a, at), (_, b, also) in combinations(squares, 2):
            both = at & also & (a != 0) & (b != 0)
            agree += int((np.sign(a[both]) == np.sign(b[both])).sum())
            total += int(both.sum())
    return -math.cos(math.pi * agree / total) if total else 0.0


def _squares(
    channel: np.ndarray, limits: Limits | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smoothed mean and diagonal difference of 2 x 2 pixels, and which places are smooth."""
    x = channel[: channel.shape[0] // 2 * 2, : channel.shape[1] // 2 * 2].astype(np.float64)
    a, b, c, d = x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]
    mean, difference = (a + b + c + d) / 4, (a - b - c + d) / 2
    smooth = ndimage.gaussian_filter(mean, 1.5)
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    seen = ndimage.maximum_filter(cut(channel, limits), 5)[::2, ::2]
    usable = ~seen[: mean.shape[0], : mean.shape[1]]
    chosen = usable & (slope <= np.median(slope[usable])) if usable.any() else usable
    return smooth, difference, chosen


def variance_against_mean(
    pages: Sequence[np.ndarray], bins: int = 12, limits: Limits | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variance of the noise at grey levels: where it grows with them, noise is photon-like.

    The diagonal difference of 2 x 2 pixels has the variance of the noise, their mean is the grey
    level. Only the half of the places that is smoothest counts. In each bin of grey levels the
    variance is estimated by the median absolute difference.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays, of the same grey scale
    bins : int
        Of equally many places (default 12).
    limits : (low, high), optional
        Black and white of the scale: bins that noise carries across them are left out.

    Returns
    -------
    means, variances, counts : (n,) arrays, n of at most ``bins``
    """
    pages = [_page("pages", page) for page in checks.listed("pages", pages, "arrays (C, H, W)")]
    bins = checks.whole("bins", bins, 2)
    levels: list[np.ndarray] = []
    differences: list[np.ndarray] = []
    for channel in (c for page in pages for c in page):
        smooth, difference, chosen = _squares(channel, limits)
        if chosen.any():
            levels.append(smooth[chosen])
            differences.append(difference[chosen])
    if not levels:
        return np.empty(0), np.empty(0), np.empty(0)
    level, difference = np.concatenate(levels), np.concatenate(differences)
    edges = np.unique(np.quantile(level, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, level, "right") - 1, 0, max(0, len(edges) - 2))
    found = []
    for i in range(max(1, len(edges) - 1)):
        inside = place == i
        if inside.sum() < 50:
            continue
        mean, spread = level[inside].mean(), (np.median(np.abs(difference[inside])) / 0.6745) ** 2
        reach = 2.5 * math.sqrt(spread)
        if limits and (mean - reach < limits[0] or mean + reach > limits[1]):
            continue
        found.append((mean, spread, inside.sum()))
    means, variances, counts = np.array(found).reshape(-1, 3).T
    return means, variances, counts
