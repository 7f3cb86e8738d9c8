"""Figures of chapter 3's records on images: the search, and Picard iteration accelerated."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.noise_classifier.continuations import BEFORE, CONTRASTIVE, SAME_COST
from companion.experiments.results import Results
from companion.experiments.search_figure import search_curves

__all__ = ["accelerated", "search"]

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
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
