"""Diagnosis of the noise in a folder, before any training: what it is, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from companion import checks
from companion.data.folders import Folder, Picture
from companion.restoration.noise_estimate import (
    channel_correlation,
    eigenvalue_sigma,
    neighbour_correlation,
    variance_against_mean,
    wavelet_sigma,
)
from companion.restoration.variance_stabilization import Anscombe

__all__ = ["Noise", "Units", "estimate"]

CORRELATED = 0.1
"""Correlation of neighbours from which noise is said not to be white."""

SHARED = 0.3
"""Correlation of the channels from which the report says that they share noise."""

GROWS = 1.5
"""Ratio of the noise's variance, bright to dark, from which it is said to depend on the signal."""

SPREAD = 1.25
"""Ratio of the noise levels of a folder, 9th to 1st tenth, up to which they are taken for one."""

UNEVEN = 2.0
"""Ratio of the noise levels within a file from which the report speaks of it."""

CLIPPED = 0.01
"""Share of pixels at black or white from which the report speaks of clipping."""


@dataclass(frozen=True)
class Units:
    """Grey values of one picture as multiples of its noise, around 0."""

    sigma: float
    """Noise level: in grey values, or after the transform if there is one."""
    mean: float = 0.0
    stabilizer: Anscombe | None = None

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Grey values to units of the noise."""
        if self.stabilizer is not None:
            y = self.stabilizer.forward(y)
        return np.asarray(y / self.sigma - self.mean, dtype=np.float32)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Units of the noise to grey values; of a transform the exact unbiased inverse."""
        y = (np.asarray(z, dtype=np.float64) + self.mean) * self.sigma
        return y if self.stabilizer is None else self.stabilizer.inverse(y)

    def spread(self, z: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Standard deviations at ``z`` in grey values, to first order."""
        y = (np.asarray(z, dtype=np.float64) + self.mean) * self.sigma
        slope = 1.0 if self.stabilizer is None else self.stabilizer.slope(y)
        return slope * self.sigma * deviation


@dataclass
class Noise:
    """What ``estimate`` found.

    Attributes
    ----------
    names : list of str
        Of the pictures.
    wavelet, eigenvalue : (N,) arrays
        Two estimates of the noise level of each, in grey values.
    sigmas : (N,) array
        The levels that are used: in grey values, after the transform if there is a ``stabilizer``.
    correlation : (right, below)
        Of the noise of neighbouring pixels, 0 if it is white.
    means, variances : (n,) arrays
        Variance of the noise at grey levels, of the whole folder.
    stabilizer : Anscombe or None
        The transform for photon-like noise.
    clipped : float
        Share of pixels at the ends of the files' range.
    source : str
        Where ``sigmas`` are from.
    uneven : list of (low, high)
        Of each picture the least and the greatest level among its channels and pages.
    shared : float
        Correlation of the noise of two channels, 0 if each has its own.
    """

    names: list[str]
    wavelet: np.ndarray
    eigenvalue: np.ndarray
    sigmas: np.ndarray
    correlation: tuple[float, float]
    means: np.ndarray
    variances: np.ndarray
    stabilizer: Anscombe | None
    clipped: float
    source: str
    center: float = 0.0
    line: tuple[float, float] = (0.0, 0.0)
    uneven: list[tuple[float, float]] = field(default_factory=list)
    shared: float = 0.0
    sentences: list[str] = field(default_factory=list)

    def units(self, picture: int) -> Units:
        """How picture number ``picture`` is brought to units of its noise."""
        return Units(float(self.sigmas[picture]), self.center, self.stabilizer)

    @cached_property
    def table(self):
        """The estimates of each picture, a pandas table."""
        import pandas as pd

        return pd.DataFrame(
            {
                "picture": self.names,
                "wavelets": self.wavelet,
                "eigenvalues": self.eigenvalue,
                "used": self.sigmas if self.stabilizer is None else np.nan,
            }
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def estimate(noisy: Folder, sigma: float | str | Mapping[str, float] = "auto") -> Noise:
    """Diagnose the noise of a folder.

    Parameters
    ----------
    noisy : Folder
        As ``companion.data.folders.folder`` returns it. Pictures without any noise move to its
        ``skipped``.
    sigma : "auto", number, or mapping of file name to number
        Known noise levels, in the files' own grey values (25 of 255 in a file of 8 bit). Default:
        estimated.

    Returns
    -------
    Noise
        Its ``sentences`` say in plain words what was found and what it costs.

    Raises
    ------
    ValueError
        If a level is missing or not above 0, or there is no noise at all.
    """
    checks.instance("noisy", noisy, Folder, "what companion.data.folders.folder returns")
    given = _given(noisy, sigma)
    both = [_levels(q) for q in noisy.pictures]
    wavelet, eigen = (np.array([_typical(one) for one in kind]) for kind in zip(*both))
    uneven = [_unevenness(*one) for one in both]
    least = np.minimum(wavelet, eigen)
    if given is None:
        loud = least > np.array([_rounding(q) for q in noisy.pictures])
        _drop(noisy, ~loud)
        wavelet, eigen, least = wavelet[loud], eigen[loud], least[loud]
        uneven = [one for one, kept in zip(uneven, loud) if kept]
    pages = [page for q in noisy.pictures for page in q.values]
    one_scale = len({q.dtype for q in noisy.pictures}) == 1
    limits = noisy.pictures[0].range
    scale = variance_against_mean(pages, limits=limits) if one_scale else (np.empty(0),) * 3
    noise = Noise(
        [q.name for q in noisy.pictures], wavelet, eigen, least,
        neighbour_correlation(pages, limits=limits if one_scale else None),
        scale[0], scale[1], None, _clipped(noisy), "estimated for each", uneven=uneven,
        shared=channel_correlation(pages, limits if one_scale else None),
    )  # fmt: skip
    grows = _fit_line(noise, scale[2])
    if given is not None:
        noise.sigmas, noise.source = given, "given"
    elif grows:
        _stabilize(noise, noisy)
    elif one_scale and np.quantile(least, 0.9) <= SPREAD * np.quantile(least, 0.1):
        noise.sigmas, noise.source = np.full(len(least), np.median(least)), "estimated for all"
    noise.center = _center(noise, noisy)
    noise.sentences = _sentences(noise, grows)
    return noise


def _given(noisy: Folder, sigma: float | str | Mapping[str, float]) -> np.ndarray | None:
    if isinstance(sigma, str):
        checks.choice("sigma", sigma, ("auto",))
        return None
    names = [q.name for q in noisy.pictures]
    if isinstance(sigma, Mapping):
        missing = [name for name in names if name not in sigma]
        if missing:
            raise ValueError(
                f"sigma: got no level for {', '.join(missing[:5])} ({len(missing)} of "
                f"{len(names)} pictures); allowed is a table with one for each file"
            )
        return np.array([checks.number(f"sigma of {n}", sigma[n], above=0) for n in names])
    level = checks.number("sigma", sigma, above=0)
    kinds = sorted({str(q.dtype) for q in noisy.pictures})
    if len(kinds) > 1:
        raise ValueError(
            f"sigma: got one level, {level:g}, for files of {' and '.join(kinds)}, whose grey "
            "values differ; allowed are 'auto' and a table of file and sigma"
        )
    return np.full(len(names), level)


def _levels(picture: Picture) -> tuple[list[float], list[float]]:
    """Two estimates of each channel of each page: by wavelets and by eigenvalues; NaN if blank."""
    channels = [channel[None] for page in picture.values for channel in page]
    limits = picture.range
    return (
        [wavelet_sigma(one, limits) for one in channels],
        [eigenvalue_sigma(one, limits=limits) for one in channels],
    )


def _typical(levels: list[float]) -> float:
    """Mean of the channels and pages that are not blank; 0 if all are."""
    there = [level for level in levels if np.isfinite(level)]
    return float(np.mean(there)) if there else 0.0


def _unevenness(wavelet: list[float], eigen: list[float]) -> tuple[float, float]:
    """Least and greatest level among channels and pages."""
    least = [min(a, b) for a, b in zip(wavelet, eigen) if np.isfinite([a, b]).all()]
    return (min(least), max(least)) if least else (0.0, 0.0)


def _rounding(picture: Picture) -> float:
    """Level up to which there is no noise but rounding."""
    return 0.35 if picture.dtype.kind in "ui" else 1e-6 * float(np.ptp(picture.values))


def _drop(noisy: Folder, quiet: np.ndarray) -> None:
    """Skip pictures without noise."""
    if quiet.all():
        raise ValueError(
            f"sigma: got 'auto', and no noise was found in {noisy.path}: there is nothing to "
            "remove; allowed is also the level itself, such as 5"
        )
    for picture, none in zip(noisy.pictures, quiet):
        if none:
            noisy.skipped[picture.name] = "no noise was found in it"
    noisy.pictures = [q for q, none in zip(noisy.pictures, quiet) if not none]


def _clipped(noisy: Folder) -> float:
    total = hit = 0
    for q in noisy.pictures:
        low, high = q.range or (q.values.min(), q.values.max())
        hit += int(((q.values <= low) | (q.values >= high)).sum())
        total += q.values.size
    return hit / total


def _fit_line(noise: Noise, counts: np.ndarray) -> bool:
    """Fit variance = gain * mean + rest; say whether the noise grows with the signal."""
    m, v = noise.means, noise.variances
    if len(m) < 4 or np.ptp(m) == 0:
        return False
    gain, rest = np.polyfit(m, v, 1, w=np.sqrt(counts))
    noise.line = float(gain), float(rest)
    low, high = gain * m.min() + rest, gain * m.max() + rest
    straight = np.corrcoef(m, v)[0, 1]
    return bool(gain > 0 and straight > 0.8 and high > GROWS * max(low, 1e-12))


def _stabilize(noise: Noise, noisy: Folder) -> None:
    """Take the transform that the line of variance against mean says, and its noise level."""
    gain, rest = noise.line
    read, offset = (np.sqrt(rest), 0.0) if rest >= 0 else (0.0, -rest / gain)
    noise.stabilizer = Anscombe(gain, float(read), float(offset))
    levels = []
    for q in noisy.pictures:
        pages = [noise.stabilizer.forward(page) for page in q.values]
        ends = None
        if q.range is not None:
            low, high = noise.stabilizer.forward(np.array(q.range, q.values.dtype))
            ends = float(low), float(high)
        both = [min(wavelet_sigma(p, ends), eigenvalue_sigma(p, limits=ends)) for p in pages]
        levels.append(_typical(both))
    noise.sigmas = np.full(len(levels), max(float(np.median(levels)), 1e-3))
    noise.source = "estimated after the transform"


def _center(noise: Noise, noisy: Folder) -> float:
    return float(
        np.mean([noise.units(i).forward(q.values).mean() for i, q in enumerate(noisy.pictures)])
    )


def _sentences(noise: Noise, grows: bool) -> list[str]:
    """Say what was found, each thing with what it costs."""
    number = lambda values: f"{np.median(values):.3g}"  # noqa: E731
    said = [
        f"Noise level, median of {len(noise.names)} pictures, in grey values: "
        f"{number(noise.wavelet)} by wavelets, {number(noise.eigenvalue)} by eigenvalues of "
        "patches."
    ]
    if noise.source == "given":
        said.append(f"The given level is used: {number(noise.sigmas)} (median).")
        ratio = np.median(noise.sigmas) / np.median(np.minimum(noise.wavelet, noise.eigenvalue))
        if not 0.7 < ratio < 1.4:
            said.append(
                f"It is {ratio:.2g} times the estimate. If it is too high, detail is lost; if too "
                "low, noise stays."
            )
    elif noise.source == "estimated for each":
        said.append(
            f"It differs from picture to picture ({noise.sigmas.min():.3g} to "
            f"{noise.sigmas.max():.3g}), so each has its own level; an estimate of a single "
            "picture is less certain."
        )
    elif noise.source == "estimated for all":
        said.append(f"One level is used for all: {noise.sigmas[0]:.3g}.")
    said.append(_about_channels(noise))
    right, below = (round(c, 2) + 0.0 for c in noise.correlation)  # no minus zero
    if max(right, below) > CORRELATED:
        said.append(
            f"The noise is not white: neighbouring pixels correlate by {right:.2f} (right) and "
            f"{below:.2f} (below). The training takes correlated noise for structure, so part of "
            "it stays, and the comparison below is too kind to every method. Raw files, before "
            "demosaicing, resizing and JPEG, would help. (Texture as fine as noise looks the same.)"
        )
    else:
        said.append(
            f"The noise is white: neighbouring pixels correlate by {right:.2f} (right) and "
            f"{below:.2f} (below)."
        )
    if noise.shared > SHARED:
        said.append(
            f"The colours share noise: their channels correlate by {noise.shared:.2f}, as in "
            "photographs whose colours a camera has filled in. Methods take it for three noises, "
            "so part of it stays, and the comparison below is too kind to every method. (Texture "
            "as fine as noise looks the same.)"
        )
    said.append(_about_signal(noise, grows))
    if noise.clipped > CLIPPED:
        said.append(
            f"{noise.clipped:.0%} of the values are at black or white, where noise is cut off. "
            "There the result is drawn towards grey by up to half the noise level."
        )
    return [sentence for sentence in said if sentence]


def _about_channels(noise: Noise) -> str:
    """Say if the channels or pages of a file differ in their noise."""
    found = [(name, *ends) for name, ends in zip(noise.names, noise.uneven)]
    found = [(name, low, high) for name, low, high in found if high > UNEVEN * low > 0]
    if not found:
        return ""
    name, low, high = max(found, key=lambda one: one[2] / one[1])
    number = f"{len(found)} pictures" if len(found) > 1 else "one picture"
    return (
        f"In {number} the channels or pages have different noise, such as {name} ({low:.3g} to "
        f"{high:.3g}), but a file has one level: its quieter parts are blurred, its louder ones "
        "stay noisy. Save channels or pages as files of their own."
    )


def _about_signal(noise: Noise, grows: bool) -> str:
    if not len(noise.means):
        return "Whether the noise depends on the signal cannot be seen in these pictures."
    gain, rest = noise.line
    dark, bright = (max(gain * m + rest, 0) ** 0.5 for m in (noise.means.min(), noise.means.max()))
    if not grows:
        return "The noise does not depend on the signal (variance against mean is level)."
    found = f"The noise grows with the signal, from {dark:.3g} in the dark to {bright:.3g}"
    if noise.stabilizer is None:
        return (
            f"{found}. The one given level does not fit: dark places are blurred, bright ones "
            "stay noisy. Without --sigma a transform makes the noise even."
        )
    return (
        f"{found}: photons. A generalised Anscombe transform (gain {noise.stabilizer.gain:.3g}, "
        f"read noise {noise.stabilizer.read:.3g}) makes it even, and its exact unbiased inverse "
        "brings the result back."
    )
