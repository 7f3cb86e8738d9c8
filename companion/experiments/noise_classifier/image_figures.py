"""Figures of chapter 3's records on images: the search, samples, Picard iteration accelerated."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SHORT,
)
from companion.experiments.results import Results
from companion.experiments.search_figure import search_curves

__all__ = ["accelerated", "drawn", "search"]

NAMES = {
    BEFORE: "before", SAME_COST: "plain denoising", CONTRASTIVE: "with the contrastive loss",
}  # fmt: skip
LOOKS = {
    "plain": ("vermillion", "o", "--"), "plain, Anderson": ("vermillion", "D", "-"),
    "semilinear": ("blue", "s", "--"), "semilinear, Anderson": ("blue", "^", "-"),
}  # fmt: skip


def search(results: Results) -> Figure:
    """Draw the trials of ``ImageSearch``, those of each method from the best to the worst."""
    return search_curves(results, NAMES, BEFORE)


def drawn(results: Results) -> Figure:
    """Draw samples of the most steps in ``ImageContrast``, of its first network, a row a method."""
    most = max(int(name.rpartition(": ")[2]) for name in results.arrays)
    rows = {
        SHORT[name.rpartition(": ")[0]]: results.tensor(name).float()
        for name in results.arrays
        if name.endswith(f": {most}")
    }
    ax = plotting.image_grid(torch.stack([*rows.values()]), row_labels=[*rows])
    return ax.get_figure(root=True)  # type: ignore[return-value]


def accelerated(results: Results) -> Figure:
    """Draw the distance of what each iteration holds for samples, of ``ImagePicard``."""
    figure, ax = plt.subplots(figsize=(5.4, 3.6))
    styles = {
        way: {"color": plotting.PALETTE[color], "marker": marker, "linestyle": line}
        for way, (color, marker, line) in LOOKS.items()
    }
    rows = results.where(measure="Frechet distance")
    plotting.lines(ax, rows, x="iteration", by="way", log="y", styles=styles)
    end = results.where(measure="in sequence")["value"].mean()
    ax.axhline(end, color=plotting.PALETTE["grey"], linewidth=1, label="step by step")
    ax.set(xlabel="iteration", ylabel="Fréchet distance")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    plotting.log_ticks(ax.yaxis)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
