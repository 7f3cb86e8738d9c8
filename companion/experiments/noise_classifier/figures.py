"""Figures of chapter 3: from results to a figure, a function a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import data, metrics, noise, plotting
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.noise_classifier.loss import OFFICIAL_SCAN, OURS
from companion.experiments.noise_classifier.ratio import RANGE, reliability
from companion.experiments.noise_classifier.samples import EXACT
from companion.experiments.results import Results
from companion.statistics import mean_interval

__all__ = ["blow_up", "depth", "images", "jensen", "line", "mode_map", "ratio", "signal"]

WIDTH = 5.4
"""Inches of every figure, so that its text can be read on a phone."""


OFFICIAL_CONTRASTS = noise.LogLogistic(10.5, 1.5, 3.0)
"""Contrasts that the official code draws for images (commit 9dc26db)."""


def look(color: str, marker: str, **more: Any) -> dict[str, Any]:
    """Return a colour of the palette and a marker as arguments of ``ax.plot``."""
    return {"color": plotting.PALETTE[color], "marker": marker, **more}


METHODS = {
    BEFORE: look("grey", "v"),
    SAME_STEPS: look("sky", "s"),
    SAME_COST: look("blue", "o"),
    CONTRASTIVE: look("vermillion", "D"),
    EXACT: look("black", "^", label=EXACT),
}
DRAWS = {
    OURS: look("blue", "o"),
    "shared draws": look("sky", "s"),
    "independent draws, stratified": look("orange", "^"),
    OFFICIAL_SCAN: look("vermillion", "D"),
}
FORMS = {
    "plain": look("vermillion", "o"),
    "semilinear": look("blue", "s"),
    "plain, D = 0": {"color": "black", "linestyle": ":", "marker": ""},
}


def _legend_below(figure: Figure, ax: Axes, ncols: int = 2) -> None:
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=ncols)


def _styles(among: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    return {name: METHODS[name] for name in among}


# --- with exact denoisers -------------------------------------------------------------------------


def line(t: float = 0.6) -> Figure:
    """Draw 'clean or noised?' in one dimension: both densities, and what the denoiser answers."""
    modes = data.mixture("two_modes")
    figure, (top, low) = plt.subplots(
        2, 1, figsize=(WIDTH, 4.4), sharex=True, height_ratios=(1.2, 1)
    )
    x = torch.linspace(-2.6, 2.6, 400, dtype=torch.float64)[:, None]
    looks = {0.0: ("blue", "clean, $p$", "o"), t: ("orange", f"with noise {t:g}, $p_t$", "^")}
    for row, (level, (name, label, marker)) in enumerate(looks.items()):
        density = modes.log_prob(x, level).exp()
        color = plotting.PALETTE[name]
        top.plot(x[:, 0], density, color=color, label=label)
        top.fill_between(x[:, 0], density, color=color, alpha=0.2, linewidth=0)
        drawn = noise.corrupt(
            modes.sample(12, torch.Generator().manual_seed(1)), level,
            generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
        top.plot(drawn, torch.full((12,), -0.09 - 0.12 * row), marker, color=color, markersize=4)
    exact = torch.sigmoid(modes.log_prob(x) - modes.log_prob(x, t))
    low.plot(x[:, 0], exact, color="black", label="Bayes' rule")
    y = torch.linspace(-2.4, 2.4, 33, dtype=torch.float64)[:, None]
    told = metrics.log_likelihood_ratio(
        modes.denoiser, y, t, points=256, generator=torch.Generator().manual_seed(2), **RANGE
    ).value
    color = plotting.PALETTE["vermillion"]
    low.plot(y[:, 0], told.sigmoid(), "D", color=color, label="from the denoiser's answers")
    top.set(ylabel="density", yticks=[])
    low.set(xlabel="y", ylabel="probability of 'clean'", ylim=(-0.05, 1.05))
    handles = [h + g for h, g in zip(*(ax.get_legend_handles_labels() for ax in (top, low)))]
    figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure


def ratio(results: Results) -> Figure:
    """Estimated against exact ratios, and how often 'clean' is right, of ``SecretClassifier``."""
    exact, estimated, clean = (results.tensor(name) for name in ("exact", "estimated", "clean"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    noised = f"noise t = {results.settings['t']:g}"
    for part, color, label in ((clean, "blue", "clean"), (~clean, "orange", noised)):
        dots = {"s": 5, "alpha": 0.5, "color": plotting.PALETTE[color], "label": label}
        left.scatter(exact[part], estimated[part], **dots)
    ends = torch.stack([exact.min(), exact.max()])
    left.plot(ends, ends, color=plotting.PALETTE["grey"], linewidth=1)
    left.set(xscale="symlog", yscale="symlog")
    left.set(xlabel="exact ratio, nats", ylabel="estimated, nats")
    predicted, true, count = reliability(estimated, clean)
    half = 1.96 * (true * (1 - true) / count).sqrt()
    right.errorbar(predicted, true, half, fmt="o", color=plotting.PALETTE["blue"])
    right.plot([0, 1], [0, 1], color=plotting.PALETTE["grey"], linewidth=1)
    right.set(xlabel="predicted probability", ylabel="share of clean points")
    _legend_below(figure, left)
    return figure


def jensen(results: Results) -> Figure:
    """Loss against scale error, and the scale error of the least loss, of ``ScaleScan``."""
    scales = np.array(results.labels("scale", measure="loss"), dtype=float)
    points = [int(n) for n in results.labels("points", measure="loss")]
    shown = min(points, key=lambda n: abs(n - 16))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.0))
    for name, style in DRAWS.items():
        curves = results.grid("scale", "seed", measure="loss", draws=name, points=shown)
        gain = (curves - curves[len(scales) // 2]).T
        plotting.with_band(left, scales, gain, label=name, **style)
        best = [
            mean_interval(results.values(measure="best scale", draws=name, points=n))
            for n in points
        ]
        bars = [[i.mean - i.low for i in best], [i.high - i.mean for i in best]]
        right.errorbar(points, [i.mean for i in best], bars, label=name, **style)
    left.axvline(0, color=plotting.PALETTE["grey"], linewidth=1)
    left.set(xlabel="scale error a", ylabel="loss − loss at a = 0")
    right.axhline(0, color=plotting.PALETTE["grey"], linewidth=1)
    right.set(xscale="log", xlabel="points", ylabel="best scale error a")
    right.set_xticks(points, [str(n) for n in points])
    right.minorticks_off()
    _legend_below(figure, left, 1)
    return figure


def signal(results: Results) -> Figure:
    """Curvature of the loss against contrast, each curve over its maximum, of ``Signal``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.5))
    looks = (look("blue", "o"), look("green", "^"), look("vermillion", "D"))
    for name, style in zip(results.labels("data"), looks):
        rows = results.where(data=name)
        ax.plot(rows["t"], rows["value"] / rows["value"].max(), label=name, **style)
    ax.axvspan(*OFFICIAL_CONTRASTS.range, color=plotting.PALETTE["grey"], alpha=0.2, linewidth=0)
    ax.set(xscale="log", xlabel="contrast t", ylabel="curvature, relative")
    plotting.log_ticks(ax.xaxis, at=(1,))
    _legend_below(figure, ax, 1)
    return figure


def blow_up(results: Results) -> Figure:
    """Size of the largest state by iteration for both samplers, of ``ExactPicard``."""
    names = results.labels("sampler", measure="size")
    figure, axes = plt.subplots(1, len(names), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for ax, sampler in zip(axes[0], names):
        for form, style in FORMS.items():
            rows = results.where(measure="size", sampler=sampler, form=form)
            ax.plot(rows["iteration"], rows["value"], label=form, **style)
        ax.set(yscale="log", xlabel="iteration", title=sampler)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("largest state / start")
    plotting.log_ticks(axes[0, 0].yaxis, at=(1,))
    _legend_below(figure, axes[0, 0], 3)
    return figure


# --- networks -------------------------------------------------------------------------------------


def mode_map(results: Results) -> Figure:
    """Error over place and noise level before and after training, of ``ModeMap``."""
    names = results.labels("method")
    sigma, place, sigmas = (results.tensor(name) for name in ("sigma", "place", "sigmas"))
    ddim, states = (torch.asinh(results.tensor(name)) for name in ("ddim", "picard"))
    figure = plt.figure(figsize=(WIDTH, 5.6))
    axes = [figure.add_subplot(2, 2, place + 1) for place in range(len(names))]
    for ax, name, shown in zip(axes, names, results.tensor("maps")):
        mesh = ax.pcolormesh(
            sigma, torch.asinh(place), shown.clamp(0.01, 100).log10().T, shading="nearest",
            vmin=-2, vmax=2, cmap="cividis", rasterized=True,
        )  # fmt: skip
        ax.plot(sigmas[:-1], ddim[:-1], color="white", linewidth=1.2)
        for state, marker in zip(states, "os^"):
            ax.scatter(
                sigmas[:-1, None].expand_as(state), state, s=4, marker=marker,
                color=plotting.PALETTE["orange"], linewidths=0,
            )  # fmt: skip
        title = str(name).replace(", ", ",\n").replace("with the ", "with the\n")
        ax.set(xscale="log", xlabel="noise level σ", ylabel="x", title=title, ylim=(-4.4, 4.4))
        ax.invert_xaxis()
        plotting.log_ticks(ax.xaxis, at=(1,))
        ticks = [-30, -10, -3, 0, 3, 10, 30]
        ax.set_yticks([math.asinh(v) for v in ticks], [str(v) for v in ticks])
        ax.grid(False)
    bar = figure.colorbar(mesh, ax=axes, label="error of the noise estimate", location="bottom")
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["0.01", "0.1", "1", "10", "100"])
    return figure


def depth(results: Results) -> Figure:
    """Distance of samples of the spirals by Picard iteration, of ``ParallelSamples``."""
    forms = results.labels("form", measure="distance")
    figure, axes = plt.subplots(1, len(forms), figsize=(WIDTH, 4.2), sharey=True, squeeze=False)
    for ax, form in zip(axes[0], forms):
        rows = results.where(measure="distance", data="spirals", form=form)
        _by_iteration(ax, rows, "iteration", form)
    axes[0, 0].set_ylabel("distance to the data")
    _legend_below(figure, axes[0, 0], 1)
    return figure


def images(records: Mapping[str, Results]) -> Figure:
    """Distance of samples of U-Nets by Picard iteration, a line of panels for each record."""
    figure, axes = plt.subplots(
        len(records), 2, figsize=(WIDTH, 1.2 + 2.8 * len(records)), sharey="row", squeeze=False
    )
    for line, (title, record) in zip(axes, records.items()):
        kinds = record.labels("kind", measure="Frechet distance")
        forms = [str(kind) for kind in kinds if kind != SEQUENTIAL]
        for ax in line[len(forms) :]:
            ax.set_visible(False)
        for ax, form in zip(line, forms):
            rows = record.where(measure="Frechet distance", kind=form)
            _by_iteration(ax, rows, "budget", form, band=0.1)
            for method in rows["method"].unique():
                last = record.values(
                    measure="Frechet distance in sequence", kind=form, method=method
                )
                color = METHODS[method]["color"]
                ax.axhline(last.mean(), color=color, linestyle="--", linewidth=0.8)
        line[0].set_ylabel(f"Fréchet distance,\n{title}")
        plotting.log_ticks(line[0].yaxis)
    _legend_below(figure, axes[0, 0], 1)
    return figure


def _by_iteration(ax: Axes, rows: Any, x: str, title: str, **line: Any) -> None:
    styles = _styles(rows["method"].unique())
    plotting.lines(ax, rows, x, by="method", log="y", styles=styles, **line)
    ax.set(xlabel="iteration", title=title)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    plotting.log_ticks(ax.yaxis, at=(1,))
