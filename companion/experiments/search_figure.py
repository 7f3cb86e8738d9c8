"""The figure of a search: the trials of every method, from the best to the worst."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.image_search import CHOSEN_BY
from companion.experiments.results import Results

__all__ = ["search_curves"]

COLORS = ("blue", "vermillion", "green", "orange", "purple")
MARKERS = "oDs^v"


def search_curves(
    results: Results, names: Mapping[str, str] | None = None, start: str | None = None
) -> Figure:
    """Draw the distance of each trial against its rank, a line a method.

    Parameters
    ----------
    results : Results of a search, with rows of ``CHOSEN_BY`` by method and trial
    names : dict, method -> its name in the legend (default: as it is called in the results)
    start : method that is one number, the network that all trials start from (default: none)
    """
    named = names or {}
    rows = results.where(measure=CHOSEN_BY)
    figure, ax = plt.subplots(figsize=(5.4, 3.4))
    methods = [m for m in rows["method"].unique() if m != start]
    for method, color, marker in zip(methods, COLORS, MARKERS):
        values = sorted(rows.loc[rows["method"] == method, "value"].dropna())
        ranks, hue = range(1, len(values) + 1), plotting.PALETTE[color]
        ax.plot(ranks, values, label=named.get(method, method), marker=marker, color=hue)
    if start is not None:
        before = rows.loc[rows["method"] == start, "value"].iloc[0]
        grey = plotting.PALETTE["grey"]
        ax.axhline(before, color=grey, linestyle="--", label=named.get(start, start))
    ax.set(yscale="log", xlabel="trials, from the best to the worst", ylabel="Fréchet distance")
    plotting.log_ticks(ax.yaxis)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=2)
    return figure
