"""What a run costs beside its training, by a trial on one page; what is left is for training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from companion import checks
from companion.data.folders import Folder
from companion.restoration.comparison import classic_methods
from companion.restoration.guided import Guided, suited
from companion.restoration.pipeline import ASKED, SQUARE
from companion.restoration.restore import MARGIN as EDGE
from companion.restoration.restore import TILE, deviation, restore, untrained

LEAST = 0.25
"""Share of the minutes that the training gets, at least, however large the folder is."""

MARGIN = 1.15
"""Factor on what the trial says: pages differ, and other programs take their share."""

GRID = 4
"""Step of the grid of ``deviation``, which takes ``GRID^2`` derivatives."""

ALIKE = 26
"""Derivatives that two posterior samples cost, of 12 steps each, with the mean."""

SHOWN_PIXELS = 1024**2
"""Pixels up to which a picture has posterior samples."""


@dataclass(frozen=True)
class Costs:
    """Seconds of each part of a run that comes after the training."""

    restoring: float
    maps: float
    """Of the maps of uncertainty."""
    samples: float
    """Posterior samples, of a few pictures."""
    comparing: float
    """With the classic methods: on crops, and with true pictures on all."""
    report: float = 5.0

    @property
    def total(self) -> float:
        """All of it, with a margin."""
        parts = (self.restoring, self.maps, self.samples, self.comparing, self.report)
        return MARGIN * sum(parts)


def trial(noisy: Folder, seconds: float, *, sampled: int, crops: int, truth: bool) -> Costs:
    """Restore a piece of a page with an untrained network, and by each classic method.

    Parameters
    ----------
    noisy : Folder
    seconds : float
        Of the whole run: the piece has 128 x 128 pixels at most, from 5 minutes on 256 x 256.
    sampled : int
        Pictures of which posterior samples are drawn.
    crops : int
        Crops of 96 x 96 on which methods are compared.
    truth : bool
        Whether the classic methods restore every picture too.
    """
    checks.instance("noisy", noisy, Folder, "what companion.data.folders.folder returns")
    side = 256 if seconds >= 300 else 128
    c = noisy.channels
    largest = max(noisy.pages(), key=np.size)
    height, width = (min(side, n) for n in largest.shape[1:])
    piece = np.random.default_rng(0).standard_normal((c, height, width)).astype(np.float32)
    page, share = torch.from_numpy(piece), 1 / piece.size
    denoiser = Guided(untrained(c)).eval()
    denoiser.to("cuda" if torch.cuda.is_available() else "cpu")
    restore(suited(denoiser, page[:, :32, :32]), page[:, :32, :32])  # warms up
    deviation(denoiser, page[:, :32, :32], grid=1)
    whole = share * _timed(lambda: restore(suited(denoiser, page), page))
    one = share * _timed(lambda: deviation(denoiser, page, grid=1))  # and the filter's choice
    each = max(0.0, share * _timed(lambda: deviation(denoiser, page, grid=2)) - one) / 3
    filters = {m: share * _timed(partial(m.function, piece, 1.0)) for m in classic_methods()}

    sizes = [q.values.size for q in noisy.pictures]
    asked_for = sum(q.values[:, :, 0, 0].size * tiled(*q.values.shape[2:]) for q in noisy.pictures)
    drawn = [
        q.values[0].size for q in noisy.pictures[:sampled] if q.values[0, 0].size <= SHOWN_PIXELS
    ]
    seen = min(crops * 96 * 96 * c, sum(sizes))
    asked = 12  # evaluations of a method: 9 with hidden pixels, 3 of Stein's estimate
    trusted = min(ASKED, len(noisy.pages())) * min(SQUARE**2 * c, max(sizes))
    compared = seen * (
        asked * whole + sum((asked + len(m.parameters)) * s for m, s in filters.items())
    )
    return Costs(
        restoring=(asked_for + trusted) * whole,
        maps=asked_for * (one - each + GRID**2 * each),
        samples=sum(drawn) * (one - each + ALIKE * each),
        comparing=compared + (sum(sizes) * sum(filters.values()) if truth else 0.0),
    )


def tiled(height: int, width: int) -> int:
    """Pixels of all tiles of a page, which overlap."""
    counts = (len(range(0, n - TILE, TILE - 2 * EDGE)) + 1 for n in (height, width))
    rows, columns = (k * min(n, TILE) for k, n in zip(counts, (height, width)))
    return rows * columns


def _timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def divide(minutes: float, spent: float, costs: Costs, pages: int) -> tuple[float, str]:
    """Divide the time: seconds for the training, and what is said before it begins.

    Parameters
    ----------
    minutes : float
        Of the whole run.
    spent : float
        Seconds since it began.
    costs : Costs
    pages : int
    """
    whole = 60 * checks.number("minutes", minutes, above=0)
    left = whole - spent - costs.total
    training = max(LEAST * whole, left)
    parts = (
        f"{_minutes(costs.restoring)} to restore {pages} page{'s' if pages > 1 else ''}, "
        f"{_minutes(costs.maps)} for the maps of their uncertainty, "
        f"{_minutes(costs.samples + costs.comparing + costs.report)} for samples and comparison"
    )
    if left >= LEAST * whole:
        return training, f"The time: {_minutes(training)} for training; {parts}."
    return training, (
        f"{minutes:g} minutes are too few for this folder. By a trial it takes {parts}. The "
        f"training gets {_minutes(training)}, and all of it takes about "
        f"{_minutes(spent + training + costs.total)}. It goes on; a stop (Ctrl-C) loses nothing, "
        "and restored pictures are in denoised/ as soon as they are done."
    )


def _minutes(seconds: float) -> str:
    """A time in words: seconds below 2 minutes, hours from 2 on."""
    if seconds < 120:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
