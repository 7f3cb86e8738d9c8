"""Figures of chapter 0, each made from results."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from companion import data, plotting
from companion.experiments.results import Results

__all__ = [
    "budgets",
    "excess_error",
    "large_digits",
    "likelihood",
    "one_point",
    "posterior",
    "training",
]

WIDTH = 5.6
"""Inches: so narrow that the text is legible on a phone."""


def one_point(levels: tuple[float, float] = (0.3, 1.5)) -> Figure:
    """Draw what the exact denoiser answers for one noisy point, at two noise levels.

    Parameters
    ----------
    levels : a small and a large noise level
    """
    ring = data.mixture("ring")
    x = torch.tensor([[1.25, 0.75]], dtype=torch.float64)
    grey, red = plotting.PALETTE["grey"], plotting.PALETTE["vermillion"]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.1))
    for ax, sigma in zip(axes, levels):
        plotting.density(ax, ring, 0.05, limit=1.7)
        weights, _, _ = ring.posterior(x, sigma)
        for weight, mean in zip(weights[0].tolist(), ring.means.tolist()):
            line = {"color": plotting.PALETTE["blue"], "linewidth": 0.3 + 5 * weight}
            ax.plot(*zip(x[0].tolist(), mean), alpha=0.3 + 0.7 * weight, **line)
        answer = ring.denoiser(x, sigma)[0].tolist()
        ax.plot(*x[0], "o", color=grey, markersize=9, label="noisy point")
        ax.plot(*answer, "D", color=red, markersize=8, label="answer")
        ax.set_title(f"σ = {sigma:g}")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def posterior(levels: tuple[float, ...] = (0.2, 0.5, 1.0)) -> Figure:
    """Draw two modes on a line with noise, and the exact denoiser with its standard deviation.

    Parameters
    ----------
    levels : tuple of up to three noise levels
    """
    two = data.mixture("two_modes")
    line = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    figure, (left, right) = plt.subplots(2, 1, figsize=(WIDTH, 5.6))
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
    figure.legend(loc="outside upper center", ncols=len(levels))
    return figure


def excess_error(results: Results) -> Figure:
    """Draw the error that no denoiser can avoid, and what training adds to it."""
    levels = results.labels("level")
    exact = plotting.method("exact")
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
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
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def budgets(results: Results) -> Figure:
    """Draw the distance of samples to the data, and to the exact flow, against evaluations."""
    panels = {
        "to the data": ("trained networks", "sliced Wasserstein distance"),
        "to the flow": ("exact denoiser", "distance from the exact flow"),
    }
    numbers = results.labels("budget")
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.8))
    for ax, (measure, (title, ylabel)) in zip(axes, panels.items()):
        table = results.where(measure=measure)
        plotting.lines(ax, table, x="budget", by="method", log="xy")
        ax.set(title=title, xlabel="evaluations", ylabel=ylabel)
        ax.set_xticks(numbers, [str(n) for n in numbers])
        ax.minorticks_off()
    _, low, high = results.facts["noise floor"]
    axes[0].axhspan(low, high, color=plotting.PALETTE["grey"], alpha=0.25, label="noise floor")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


def likelihood(results: Results) -> Figure:
    """Draw estimated against exact negative log-likelihoods, of data and of wider points."""
    exact = results.grid("point", measure="by its formula")
    half = len(exact) // 2
    ends = [exact.min(), exact.max()]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharex=True, sharey=True)
    for ax, name in zip(axes, ("exact denoiser", "trained network")):
        estimate = results.grid("point", measure=name)
        for part, color in ((slice(0, half), "blue"), (slice(half, None), "orange")):
            dots = {"s": 6, "alpha": 0.6, "color": plotting.PALETTE[color]}
            ax.scatter(exact[part], estimate[part], **dots)
        ax.plot(ends, ends, color=plotting.PALETTE["grey"], linewidth=1)
        ax.set(xlabel="exact, nats", title=name, xscale="symlog", yscale="symlog")
    axes[0].set_ylabel("estimated, nats")
    return figure


def large_digits(results: Results, columns: int = 5) -> Figure:
    """Draw samples so large that a digit is read on a phone, of ``LargeDigits``."""
    samples = results.tensor("samples")
    rows = -(-len(samples) // columns)
    figure, ax = plt.subplots(figsize=(WIDTH, WIDTH * rows / columns))
    plotting.image_grid(samples, columns=columns, ax=ax)
    return figure


def training(results: Results) -> Figure:
    """Draw the Fréchet distance of samples against the time of training, of ``ImageTraining``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    colors = [name for name in plotting.PALETTE if name not in ("grey", "black")]
    for i, network in enumerate(results.labels("network")):
        where = {"network": network}
        seconds, distance = (
            results.where(measure=m, **where)["value"].to_numpy()
            for m in ("seconds", "Frechet distance")
        )
        order = seconds.argsort()
        color = plotting.PALETTE[colors[i % len(colors)]]
        marker = "osD^vP"[i % 6]
        ax.plot(
            seconds[order], distance[order], color=color, marker=marker, label=_called(str(network))
        )
    floor = results.facts["floor"]
    ax.axhline(floor, color=plotting.PALETTE["grey"], linestyle="--", label="real images")
    ax.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="Fréchet distance")
    plotting.log_ticks(ax.xaxis, ax.yaxis)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _called(network: str) -> str:
    """Name of an entry of ``ImageTraining.tried`` in a legend."""
    return network.replace("unet", "U-Net").replace("patches", "transformer")
