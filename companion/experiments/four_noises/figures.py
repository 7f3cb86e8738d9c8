"""Figures of chapter 5: from results to a figure, a function a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.four_noises.calculation import DENOISERS
from companion.experiments.four_noises.comparisons import (
    budgets,
    interactions,
    labels,
    shown_budget,
    widths,
)
from companion.experiments.four_noises.sampling import SAMPLERS
from companion.experiments.four_noises.summary import changes
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval

__all__ = [
    "all_pairs",
    "helps_most",
    "interaction_forest",
    "predicted_widths",
    "widths_of_gaussian",
]

WIDTH = 5.0
"""Inches. The text of a wider figure would be too small on a phone."""

Place = tuple[Any, Any]


def widths_of_gaussian(gaussian: Results) -> Figure:
    """Log width against steps, and against gamma, from ``GaussianWidths``."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(WIDTH, 6.6))
    steps = gaussian.labels("steps", measure="log width")
    for sampler in gaussian.labels("sampler", measure="log width"):
        look = plotting.method(str(sampler))
        for denoiser, line in zip(DENOISERS, ("-", "--")):
            where = {"measure": "log width", "sampler": sampler, "denoiser": denoiser}
            left.plot(steps, gaussian.grid("steps", **where), line, **look)
            look["label"] = None
    left.axhline(0, color="black", linewidth=0.8)
    left.set(xscale="log", xlabel="steps", ylabel="log width")
    ticks = [5, 10, 20, 50, 100]
    left.set_xticks(ticks, list(map(str, ticks)))
    left.minorticks_off()
    left.legend()
    colors = ("blue", "orange", "green", "vermillion")
    balanced = gaussian.labels("steps", measure="log width by gamma")
    for n, color in zip(balanced, map(plotting.PALETTE.get, colors)):
        table = gaussian.where(measure="log width by gamma", steps=n)
        right.plot(table["gamma"], table["value"].abs(), color=color, label=f"{n} steps")
        best = gaussian.where(measure="at the balance", steps=n)
        right.plot(best["gamma"], best["value"].abs(), "o", color=color)
    right.set(xlabel=r"$\gamma$ in training", ylabel="|log width|, DDIM")
    right.legend()
    return figure


def predicted_widths(pairs: Results, predicted: Results) -> Figure:
    """Measured against calculated log widths, and the shift by input perturbation."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(WIDTH, 7))
    wide, listed = widths(pairs, predicted), budgets(pairs)
    measured = wide.measured.mean(-1)
    for j, sampler in enumerate(SAMPLERS):
        look = plotting.method(sampler) | {"linestyle": ""}
        mine = [i for i, (name, _) in enumerate(wide.places) if name == sampler]
        left.plot(wide.calculated[0, mine], measured[0, mine], **look)
        look["label"] = None
        left.plot(wide.calculated[1, mine], measured[1, mine], markerfacecolor="none", **look)
        for i in mine:
            at = listed.index(wide.places[i][1]) * (len(SAMPLERS) + 1) + j
            _bar(right, wide.shifts[i], at, upright=True, capsize=3, **look)
            right.plot([at], [wide.calculated_shift[i]], "x", color="black")
    ends = [wide.calculated.min(), wide.calculated.max()]
    left.plot(ends, ends, color="grey", linewidth=0.8)
    left.set(xlabel="calculated log width", ylabel="measured log width")
    left.legend()
    middle = [k * (len(SAMPLERS) + 1) + 2 for k in range(len(listed))]
    right.set_xticks(middle, [f"{n} evaluations" for n in listed])
    right.axhline(0, color="grey", linewidth=0.8)
    right.set(ylabel="added log width", ylim=(min(0.0, right.get_ylim()[0]), None))
    return figure


def all_pairs(pairs: Results, data: str = "digits") -> Figure:
    """Distance of every way to train (rows) and sample (markers), a panel for each budget."""
    listed = budgets(pairs)
    size = (WIDTH, 0.6 + 3.5 * len(listed))
    figure, grid = plt.subplots(len(listed), 1, figsize=size, sharex=True, squeeze=False)
    for n, ax in zip(listed, grid[:, 0]):
        table = pairs.where(measure="distance", data=data, budget=n)
        groups = table.groupby(["training", "sampler"], sort=False)["value"]
        _rows(ax, {k: mean_interval(v) for k, v in groups}, SAMPLERS, labels(pairs, data), 0.14)
        ax.set(title=f"{n} evaluations", xscale="log")
        ticks = [20, 30, 50, 100]
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.minorticks_off()
    handles = grid[0, 0].get_legend_handles_labels()
    grid[-1, 0].set_xlabel("Fréchet distance")
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def helps_most(pairs: Results) -> Figure:
    """Distance after one change over that without, at the fewest and the most evaluations."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.9))
    few, *_, many = budgets(pairs)
    looks: Any = ({"color": plotting.PALETTE["vermillion"], "marker": "D"},
             {"color": plotting.PALETTE["blue"], "marker": "o"})  # fmt: skip
    for n, look, shift in zip((few, many), looks, (-0.14, 0.14)):
        named: Any = {"label": f"{n} evaluations"}
        at, places, names = 0.0, [], []
        for kind, factors in changes(pairs, n).items():
            for name, factor in factors.items():
                _bar(ax, factor, at + shift, linestyle="", markersize=5, **look, **named)
                named = {}
                places.append(at)
                names.append(f"{kind}: {name}")
                at += 1
            at += 0.6
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="distance over that before")
    ticks = [0.5, 0.7, 1, 1.5, 2, 3]
    ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
    ax.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def interaction_forest(pairs: Results, data: str = "digits") -> Figure:
    """Interactions as factors at the middle budget: a row a training, an interval a sampler."""
    figure, ax = plt.subplots(figsize=(WIDTH, 5.2))
    n, names = shown_budget(pairs), labels(pairs, data)
    intervals = {
        (training, sampler): interval.exp()
        for (where, training, sampler, budget), interval in interactions(pairs).items()
        if where == data and budget == n
    }
    del names["denoising"]
    _rows(ax, intervals, SAMPLERS[1:], names, 0.17)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="← help   interaction   cancel →")
    ticks = [0.7, 0.8, 1, 1.25, 1.5, 2]
    ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
    ax.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _rows(
    ax: Axes,
    intervals: Mapping[Place, Interval],
    samplers: tuple[str, ...],
    names: Mapping[str, str],
    apart: float,
) -> None:
    """Draw an interval for each training (a row, from the top) and sampler (a marker)."""
    for j, sampler in enumerate(samplers):
        look = plotting.method(sampler) | {"linestyle": ""}
        for i, training in enumerate(names):
            if (training, sampler) not in intervals:
                continue
            at = i + apart * (j - (len(samplers) - 1) / 2)
            _bar(ax, intervals[training, sampler], at, markersize=5, **look)
            look["label"] = None
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.set_ylim(len(names) - 0.5, -0.5)


def _bar(ax: Axes, interval: Interval, at: float, *, upright: bool = False, **look: Any) -> None:
    """Draw an interval as a marker with bars."""
    mean = interval.mean
    bars = [[mean - interval.low], [interval.high - mean]]
    if upright:
        ax.errorbar([at], [mean], yerr=bars, **look)
    else:
        ax.errorbar([mean], [at], xerr=bars, **look)
