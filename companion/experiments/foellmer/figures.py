"""Figures of chapter 7: from results to a figure, a function a figure."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.foellmer.densities import METHODS
from companion.experiments.foellmer.exact import LINE
from companion.experiments.foellmer.parametrisations import PARAMETRISATIONS
from companion.experiments.foellmer.targets import DISTANCES, target
from companion.experiments.results import Results
from companion.samplers import foellmer_times

__all__ = ["bounds", "error_by_parameters", "modes", "two_pictures"]

WIDTH = 5.0
"""Inches. The text of a wider figure would be too small on a phone."""

LOOKS: dict[str, dict[str, Any]] = {
    "pinned drift": {"color": plotting.PALETTE["vermillion"], "marker": "D"},
    "OU drift": {"color": plotting.PALETTE["green"], "marker": "^"},
    "OU score": {"color": plotting.PALETTE["orange"], "marker": "s"},
    "preconditioned": {"color": plotting.PALETTE["blue"], "marker": "o"},
}


TITLES = {"even": "all levels alike", "Girsanov": "Girsanov's weights"}
"""Of the losses."""


def two_pictures(steps: int = 300, paths: int = 24, seed: int = 1) -> Figure:
    """Draw paths pinned at 0, and the same paths as data whose noise falls.

    Parameters
    ----------
    steps : int
        Of the paths.
    paths, seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    times = foellmer_times(steps, 8.0, 0.03).double()
    end = LINE.sample(paths, generator, dtype=torch.float64)[:, 0]
    bridges = [torch.zeros_like(end)]
    for start, stop in pairwise(times):  # a bridge: pinned at its end as well
        left, step = 1 - start, stop - start
        z = torch.randn(paths, generator=generator, dtype=torch.float64)
        bridges.append(
            bridges[-1] + (end - bridges[-1]) * step / left + (step * (1 - stop) / left).sqrt() * z
        )
    states = torch.stack(bridges)
    sigma = ((1 - times[1:-1]) / times[1:-1]).sqrt()
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    for k in range(paths):
        look = {"color": plotting.PALETTE["grey"], "linewidth": 0.6, "alpha": 0.7, "zorder": 1}
        if k < 2:
            name = ("blue", "vermillion")[k]
            look = {"color": plotting.PALETTE[name], "linewidth": 1.6, "zorder": 2}
        above.plot(times, states[:, k], **look)
        below.plot(sigma, states[1:-1, k] / times[1:-1], **look)
    above.set(xlabel="time t", ylabel="$X_t$", title="pinned: from 0 to the data")
    below.set(xscale="log", xlabel="noise level σ", ylabel="$X_t / t$ = data + noise",
        title="smoothed: the same paths, from noise to the data", ylim=(-9, 9))  # fmt: skip
    below.invert_xaxis()
    ticks = [5, 2, 1, 0.5, 0.2, 0.1]
    below.set_xticks(ticks, [f"{v:g}" for v in ticks])
    below.minorticks_off()
    return figure


def bounds(results: Results) -> Figure:
    """Draw the bound on the KL divergence of samples, and the divergence, for each drift."""
    names = [n for n in results.labels("drift") if n != "exact"]
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for measure, name, shift in (("bound", "sky", -0.18), ("KL", "blue", 0.18)):
        values = [results.value(drift=n, measure=measure) for n in names]
        label = {"bound": "Girsanov's bound", "KL": "KL divergence of samples"}[measure]
        at = [k + shift for k in range(len(names))]
        ax.barh(at, values, height=0.34, color=plotting.PALETTE[name], label=label)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlabel="nats")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def error_by_parameters(results: Results) -> Figure:
    """Draw the error of the denoiser against the number of parameters, a panel for each loss."""
    counts = results.grid("width", measure="parameters")
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.8), sharex=True)
    for ax, (loss, title) in zip(axes, TITLES.items()):
        for name in PARAMETRISATIONS:
            where = {"measure": "error", "parametrisation": name, "loss": loss}
            plotting.with_band(
                ax, counts, results.grid("seed", "width", **where), label=name, **LOOKS[name]
            )
        ax.set(xscale="log", yscale="log", ylabel="error of the denoiser", title=title)
    axes[1].set_xlabel("parameters")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def modes(results: Results, place: str = "far") -> Figure:
    """Draw samples of every method for one density, those of the first seed."""
    mixture = target(DISTANCES[place])
    limit = DISTANCES[place] + 1.2
    figure, grid = plt.subplots(3, 2, figsize=(WIDTH, 7.4))
    fresh = mixture.sample(500, torch.Generator().manual_seed(0))
    shown = {"the density": fresh} | {m: results.tensor(f"{place} {m}") for m in METHODS}
    for ax, (name, x) in zip(grid.flat, shown.items()):
        plotting.density(ax, mixture, 0.05, limit=limit)
        color = plotting.PALETTE["grey" if name == "the density" else "vermillion"]
        plotting.scatter(ax, x, color=color, size=4, limit=limit)
        ax.set_title(name)
    return figure
