"""Figures of chapter 8: from results to a figure, a function a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.adaptation.comparisons import accuracies, corruptions, noises
from companion.experiments.adaptation.known import class_probabilities
from companion.experiments.adaptation.line import three_classes
from companion.experiments.adaptation.race import CEILING, EXACT
from companion.experiments.adaptation.tables import LABELS
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval

__all__ = ["against_nothing", "mean_of_two", "on_the_line", "under_the_ceiling", "what_is_seen"]

WIDTH = 5.0
"""Inches. The text of a wider figure would be too small on a phone."""

COLORS = tuple(plotting.PALETTE[c] for c in ("blue", "orange", "green"))
MARKERS = ("o", "s", "D")


def mean_of_two(sigma: float = 0.8) -> Figure:
    """What is known of a point's class on the line, and where one call of D puts it."""
    mixture, owner = three_classes()
    y = torch.linspace(-2, 2, 401, dtype=torch.float64)[:, None]
    truth = class_probabilities(mixture, owner, y, sigma)
    clean = mixture.denoiser(y, sigma)
    seen = class_probabilities(mixture, owner, clean, 0.0).argmax(1)
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 5.4), sharex=True)
    for c, (color, name) in enumerate(zip(COLORS, ("left", "middle", "right"))):
        above.plot(y, truth[:, c], color=color, label=name)
        part = torch.where((seen == c)[:, None], clean, torch.nan)
        below.plot(y, part, color=color, linewidth=3)
    above.set(ylabel="p(class | y)", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3, title="class")
    for c, place in enumerate(mixture.means[:, 0].tolist()):
        below.axhline(place, color=COLORS[c], linewidth=0.8, linestyle=":")
    below.set(xlabel="what is seen, y", ylabel="one call, D(y)")
    return figure


def on_the_line(line: Results) -> Figure:
    """Accuracy of every exact way against the noise level."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.2))
    looks = {
        "ceiling": ("black", "-", "ceiling, p(class | y)"),
        "mean of 64": (plotting.PALETTE["green"], "--", "mean over 64 samples"),
        "mean of 4": (plotting.PALETTE["green"], "-.", "mean over 4 samples"),
        "mean of 1": (plotting.PALETTE["green"], ":", "one sample"),
        "nothing": (plotting.PALETTE["grey"], "-", "nothing"),
        "one call": (plotting.PALETTE["vermillion"], "-", "one call"),
    }
    for way, (color, style, label) in looks.items():
        table = line.where(way=way).groupby("level")["value"].mean()
        ax.plot(table.index, 100 * table, style, color=color, label=label)
    ax.set(xlabel="noise level", ylabel="accuracy, %", ylim=(25, 101))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def under_the_ceiling(race: Results) -> Figure:
    """Accuracy on the mixture for each way and noise level, with the ceiling."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.9))
    ways = [CEILING, EXACT, *LABELS]
    found = {
        c: {w: mean_interval(100 * accuracies(race, w, c)) for w in ways} for c in noises(race)
    }
    _rows(ax, found, [*(LABELS.get(w, w) for w in ways)], ways)
    for color, (_, row) in zip(COLORS, found.items()):
        ax.axvline(row[CEILING].mean, color=color, linewidth=0.8, linestyle=":")
    ax.set(xlabel="accuracy, %")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def against_nothing(race: Results) -> Figure:
    """Accuracy on digits of each way, less that with nothing in front."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 8.4))
    ways = [way for way in LABELS if way != "nothing"]
    for ax, conditions in ((above, noises(race)), (below, corruptions(race))):
        found = {
            c: {w: _gain(race, w, c) for w in ways}
            for c in conditions
        }  # fmt: skip
        _rows(ax, found, [LABELS[w] for w in ways], ways)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.legend(loc="upper center", bbox_to_anchor=(0.4, 1.14), ncols=3)
    below.set(xlabel="accuracy less that with nothing in front, points")
    return figure


def what_is_seen(race: Results) -> Figure:
    """A few test digits as the classifier sees them: corrupted, and cleaned."""
    middle = noises(race)[len(noises(race)) // 2]
    rows = {"clean": "none: seen", middle: f"{middle}: seen"}
    rows |= {
        "one call": f"{middle}: one call, clean",
        "one call, ambient": f"{middle}: one call, ambient",
        "sampled": f"{middle}: sampled",
    }
    rows |= {name: f"{name}: seen" for name in corruptions(race)}
    images = torch.stack([race.tensor(name) for name in rows.values()])
    ax = plotting.image_grid(images, row_labels=list(rows))
    return ax.figure  # type: ignore[return-value]


def _gain(race: Results, way: str, condition: str) -> Interval:
    gain = accuracies(race, way, condition) - accuracies(race, "nothing", condition)
    return mean_interval(100 * gain)


def _rows(
    ax: Axes, found: Mapping[str, Mapping[str, Interval]], names: Sequence[str], ways: Sequence[str]
) -> None:
    """Draw an interval for each way (a row, from the top) and condition (a marker)."""
    shifts = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else [0.0]
    for shift, color, marker, (condition, row) in zip(shifts, COLORS, MARKERS, found.items()):
        label: str | None = condition
        for i, way in enumerate(ways):
            at = row[way]
            bars = [[at.mean - at.low], [at.high - at.mean]]
            ax.errorbar([at.mean], [i + shift], xerr=bars, color=color, marker=marker,
                        linestyle="", markersize=4, label=label)  # fmt: skip
            label = None
    ax.set_yticks(range(len(ways)), names)
    ax.set_ylim(len(ways) - 0.5, -0.5)
