"""Figures of chapter 2's records of images: the race, its samples, and the search."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import image_values
from companion.experiments.tweedie.image_network import IMAGE_METHODS, STOPPED
from companion.experiments.tweedie.image_search import CRITERION
from companion.experiments.tweedie.looks import LOOKS, label
from companion.experiments.tweedie.methods import CLEAN

__all__ = ["WIDTH", "pictures", "race", "rows_of_pictures", "search"]

WIDTH = 5.4
"""Inches of every figure, so that its text can be read on a phone."""

SEARCHED = {
    CRITERION: ("to noisy images, decides", "full"),
    "Frechet distance": ("to clean images", "none"),
}
"""What is drawn of the search: the measure, its name in the legend, how its points are filled."""


def race(records: Mapping[str, Results]) -> Figure | None:
    """Draw distances of samples and errors by method, a row for each record and noise."""
    places = [
        (title, record, float(s_n))  # type: ignore[arg-type]
        for title, record in records.items()
        for s_n in record.labels("noise")
    ]
    if not places:
        return None
    size = WIDTH, 0.5 + 2.5 * len(places)
    figure, axes = plt.subplots(len(places), 2, figsize=size, squeeze=False, sharey="row")
    for (title, record, s_n), (left, right) in zip(places, axes):
        names = [m for m in (*IMAGE_METHODS, STOPPED) if m in record.labels("method")]
        distances = {m: image_values(record, "Frechet distance", m, s_n) for m in names}
        clean = image_values(record, "error", CLEAN, s_n)
        over = {
            m: image_values(record, "error", m, s_n) / clean
            for m in names
            if m not in (CLEAN, STOPPED)
        }
        _rows(left, names, distances)
        _rows(right, names, over)
        left.axvline(record.facts["floor"], color="black", linestyle=":")
        right.axvline(1, color="black", linestyle="--")
        left.set(xscale="log", title=f"{title}, σₙ = {s_n:g}")
        plotting.log_ticks(left.xaxis)
    axes[-1, 0].set_xlabel("Fréchet distance")
    axes[-1, 1].set_xlabel("error over clean's")
    return figure


def _rows(ax: Axes, names: list[str], values: Mapping[str, np.ndarray]) -> None:
    """A row for each method, from the top: a point for each seed, a bar at their mean."""
    for place, method in enumerate(names):
        if method in values:
            look = {"color": LOOKS[method]["color"], "linestyle": "none"}
            mean = np.exp(np.log(values[method]).mean())
            ax.plot(mean, place, "|", markersize=16, markeredgewidth=2, **look)
            at = np.full(len(values[method]), place)
            ax.plot(values[method], at, "o", markersize=4, alpha=0.7, **look)
    ax.set_yticks(range(len(names)), [label(name).replace(" + ", "\n+ ") for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)


def pictures(records: Mapping[str, Results]) -> Figure | None:
    """Draw sampled images of the first record at its largest noise, of the first seed."""
    if not records:
        return None
    record = next(iter(records.values()))
    s_n = max(float(s) for s in record.labels("noise"))  # type: ignore[arg-type]
    names = [m for m in IMAGE_METHODS if m in record.labels("method")]
    rows = {m: record.tensor(f"{m} {s_n:g}")[:8].float() / 127.5 - 1 for m in names}
    return rows_of_pictures({label(name): x for name, x in rows.items()})


def rows_of_pictures(rows: Mapping[str, torch.Tensor], width: float = WIDTH) -> Figure:
    """Draw up to eight pictures of each kind in a row, with its name beside it.

    Parameters
    ----------
    rows : dict, name -> (N, C, H, W) pictures with pixels in [-1, 1]
    width : float
        In inches.
    """
    shown = min(8, *map(len, rows.values()))
    stack = torch.stack([x[:shown].clamp(-1, 1) for x in rows.values()])
    figure, ax = plt.subplots(figsize=(width, 0.3 + (width - 1.7) / shown * len(rows)))
    plotting.image_grid(stack, row_labels=[name.replace(" + ", "\n+ ") for name in rows], ax=ax)
    return figure


def search(found: Results) -> Figure:
    """Draw what chose for all trials, and the distance to clean images, which did not."""
    methods = [m for m in found.facts["names"] if m in found.labels("method")]
    rows = (len(methods) + 1) // 2
    size = 6.8, 0.9 + 2.1 * rows
    figure, axes = plt.subplots(rows, 2, figsize=size, squeeze=False, sharex=True)
    for ax, method in zip(axes.flat, methods):
        names = [str(name) for name in found.labels("trial", method=method)]
        chosen = names.index(found.facts["names"].get(method, names[0]))
        for measure, (title, fill) in SEARCHED.items():
            values = [found.value(measure=measure, method=method, trial=name) for name in names]
            ax.plot(
                values, range(len(names)), "o", fillstyle=fill, color=LOOKS[method]["color"],
                label=title,
            )  # fmt: skip
        ax.axhspan(chosen - 0.4, chosen + 0.4, color=plotting.PALETTE["grey"], alpha=0.2, lw=0)
        ax.set_yticks(range(len(names)), [_setting(name) for name in names])
        ax.set(title=label(method), xscale="log", ylim=(len(names) - 0.5, -0.5))
        plotting.log_ticks(ax.xaxis)
    for ax in axes[-1]:
        ax.set_xlabel("Fréchet distance")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _setting(name: str) -> str:
    """Name of a trial in words: an underscore is a space, a minus a minus."""
    return name.replace("_", " ").replace("-", "−").replace(" True", "")
