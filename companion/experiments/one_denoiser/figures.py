"""Figures of chapter 0, each made from results."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from companion import data, plotting
from companion.experiments.results import Results

__all__ = ["budgets", "excess_error", "likelihood", "posterior"]


def posterior(levels: tuple[float, ...] = (0.2, 0.5, 1.0)) -> Figure:
    """Draw two modes on a line with noise, and the exact denoiser with its standard deviation.

    Parameters
    ----------
    levels : tuple of up to three noise levels
    """
    two = data.mixture("two_modes")
    line = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9))
    for sigma, name in zip(levels, ("blue", "vermillion", "green")):
        color = plotting.PALETTE[name]
        left.plot(line, two.log_prob(line, sigma).exp(), color=color, label=f"σ = {sigma:g}")
        mean = two.denoiser(line, sigma)[:, 0]
        (slope,) = torch.gradient(mean, spacing=(line[:, 0],))
        std = sigma * slope.sqrt()
        right.plot(line, mean, color=color)
        right.fill_between(line[:, 0], mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    left.set(xlabel="x", ylabel="density of $x_σ$")
    right.set(xlabel="x", ylabel="$D(x, σ)$")
    left.legend()
    return figure


def excess_error(results: Results) -> Figure:
    """Draw the error that no denoiser can avoid, and what training adds to it."""
    levels = results.labels("level")
    exact = plotting.method("exact")
    figure, ax = plt.subplots(figsize=(6, 3.2))
    ax.plot(
        levels,
        results.grid("level", measure="Bayes error"),
        label="Bayes error",
        color=exact["color"],
        marker=exact["marker"],
    )
    excess = results.grid("seed", "level", measure="excess error")
    blue = plotting.PALETTE["blue"]
    plotting.with_band(ax, levels, excess, label="added by training", color=blue)
    ax.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="mean squared error")
    ax.legend()
    return figure


def budgets(results: Results) -> Figure:
    """Draw the distance of samples to the data, and to the exact flow, against evaluations."""
    panels = {
        "to the data": ("trained networks", "sliced Wasserstein distance"),
        "to the flow": ("exact denoiser", "distance from the exact flow"),
    }
    numbers = results.labels("budget")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for ax, (measure, (title, ylabel)) in zip(axes, panels.items()):
        table = results.where(measure=measure)
        plotting.lines(ax, table, x="budget", by="method", log="xy")
        ax.set(title=title, xlabel="evaluations", ylabel=ylabel)
        ax.set_xticks(numbers, [str(n) for n in numbers])
        ax.minorticks_off()
    _, low, high = results.facts["noise floor"]
    axes[0].axhspan(low, high, color=plotting.PALETTE["grey"], alpha=0.25, label="noise floor")
    axes[0].legend(fontsize=8)
    return figure


def likelihood(results: Results) -> Figure:
    """Draw estimated against exact negative log-likelihoods, of data and of wider points."""
    exact = results.grid("point", measure="by its formula")
    half = len(exact) // 2
    ends = [exact.min(), exact.max()]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharex=True, sharey=True)
    for ax, name in zip(axes, ("exact denoiser", "trained network")):
        estimate = results.grid("point", measure=name)
        for part, color in ((slice(0, half), "blue"), (slice(half, None), "orange")):
            dots = {"s": 6, "alpha": 0.6, "color": plotting.PALETTE[color]}
            ax.scatter(exact[part], estimate[part], **dots)
        ax.plot(ends, ends, color=plotting.PALETTE["grey"], linewidth=1)
        ax.set(xlabel="exact, nats", title=name, xscale="symlog", yscale="symlog")
    axes[0].set_ylabel("estimated, nats")
    return figure
