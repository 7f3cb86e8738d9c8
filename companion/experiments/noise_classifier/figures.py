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

from companion import noise, plotting
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.noise_classifier.loss import OFFICIAL_SCAN, OURS
from companion.experiments.noise_classifier.ratio import reliability
from companion.experiments.noise_classifier.samples import EXACT
from companion.experiments.results import Results
from companion.statistics import mean_interval

__all__ = ["blow_up", "depth", "images", "jensen", "mode_map", "ratio", "signal"]

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


def _legend_below(figure: Figure, ax: Axes) -> None:
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize="small")


def _styles(among: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    return {name: METHODS[name] for name in among}


# --- with exact denoisers -------------------------------------------------------------------------


def ratio(results: Results) -> Figure:
    """Estimated against exact ratios, and how often 'clean' is right, of ``SecretClassifier``."""
    exact, estimated, clean = (results.tensor(name) for name in ("exact", "estimated", "clean"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    noised = f"noise t = {results.settings['t']:g}"
    for part, color, label in ((clean, "blue", "clean"), (~clean, "orange", noised)):
        dots = {"s": 5, "alpha": 0.5, "color": plotting.PALETTE[color], "label": label}
        left.scatter(exact[part], estimated[part], **dots)
    ends = torch.stack([exact.min(), exact.max()])
    left.plot(ends, ends, color=plotting.PALETTE["grey"], linewidth=1)
    left.set(xscale="symlog", yscale="symlog")
    left.set(xlabel="exact ratio, nats", ylabel="estimated, nats")
    left.legend(markerscale=2, loc="upper left")
    predicted, true, count = reliability(estimated, clean)
    half = 1.96 * (true * (1 - true) / count).sqrt()
    right.errorbar(predicted, true, half, fmt="o", color=plotting.PALETTE["blue"])
    right.plot([0, 1], [0, 1], color=plotting.PALETTE["grey"], linewidth=1)
    right.set(xlabel="predicted probability of 'clean'", ylabel="share of clean points")
    return figure


def jensen(results: Results) -> Figure:
    """Loss against scale error, and the scale error of the least loss, of ``ScaleScan``."""
    scales = np.array(results.labels("scale", measure="loss"), dtype=float)
    points = [int(n) for n in results.labels("points", measure="loss")]
    shown = min(points, key=lambda n: abs(n - 16))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
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
    _legend_below(figure, left)
    return figure


def signal(results: Results) -> Figure:
    """Curvature of the loss against contrast, each curve over its maximum, of ``Signal``."""
    figure, ax = plt.subplots(figsize=(6.4, 3.3))
    looks = (look("blue", "o"), look("green", "^"), look("vermillion", "D"))
    for name, style in zip(results.labels("data"), looks):
        rows = results.where(data=name)
        ax.plot(rows["t"], rows["value"] / rows["value"].max(), label=name, **style)
    ax.axvspan(*OFFICIAL_CONTRASTS.range, color=plotting.PALETTE["grey"], alpha=0.2, linewidth=0)
    ax.set(xscale="log", xlabel="contrast t", ylabel="curvature, relative")
    ax.legend(fontsize="small")
    return figure


def blow_up(results: Results) -> Figure:
    """Size of the largest state by iteration for both samplers, of ``ExactPicard``."""
    names = results.labels("sampler", measure="size")
    figure, axes = plt.subplots(1, len(names), figsize=(9, 3.3), sharey=True, squeeze=False)
    for ax, sampler in zip(axes[0], names):
        for form, style in FORMS.items():
            rows = results.where(measure="size", sampler=sampler, form=form)
            ax.plot(rows["iteration"], rows["value"], label=form, **style)
        ax.set(yscale="log", xlabel="iteration", title=sampler)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("largest state / start")
    axes[0, 0].legend()
    return figure


# --- networks -------------------------------------------------------------------------------------


def mode_map(results: Results) -> Figure:
    """Error over place and noise level before and after training, of ``ModeMap``."""
    names = results.labels("method")
    sigma, place, sigmas = (results.tensor(name) for name in ("sigma", "place", "sigmas"))
    ddim, states = (torch.asinh(results.tensor(name)) for name in ("ddim", "picard"))
    figure, axes = plt.subplots(1, len(names), figsize=(10.5, 3.6), sharey=True)
    for ax, name, shown in zip(axes, names, results.tensor("maps")):
        mesh = ax.pcolormesh(
            sigma, torch.asinh(place), shown.clamp(0.01, 100).log10().T, shading="nearest",
            vmin=-2, vmax=2, cmap="cividis", rasterized=True,
        )  # fmt: skip
        ax.plot(sigmas[:-1], ddim[:-1], color="white", linewidth=1.2)
        for state, marker in zip(states[:, 1:-1], "os^"):
            ax.scatter(
                sigmas[1:-1, None].expand_as(state), state, s=4, marker=marker,
                color=plotting.PALETTE["orange"], linewidths=0,
            )  # fmt: skip
        ax.set(xscale="log", xlabel="noise level σ", title=name, ylim=(-4.4, 4.4))
        ax.title.set_fontsize("small")
        ax.invert_xaxis()
        ticks = [-30, -10, -3, -1, 0, 1, 3, 10, 30]
        ax.set_yticks([math.asinh(v) for v in ticks], [str(v) for v in ticks])
        ax.grid(False)
    axes[0].set_ylabel("x")
    bar = figure.colorbar(mesh, ax=axes, label="error of the noise estimate")
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["0.01", "0.1", "1", "10", "100"])
    return figure


def depth(results: Results) -> Figure:
    """Distance of samples of the spirals by Picard iteration, of ``ParallelSamples``."""
    forms = results.labels("form", measure="distance")
    figure, axes = plt.subplots(1, len(forms), figsize=(9, 3.6), sharey=True, squeeze=False)
    for ax, form in zip(axes[0], forms):
        rows = results.where(measure="distance", data="spirals", form=form)
        _by_iteration(ax, rows, "iteration", form)
    axes[0, 0].set_ylabel("sliced Wasserstein")
    _legend_below(figure, axes[0, 0])
    return figure


def images(records: Mapping[str, Results]) -> Figure:
    """Distance of samples of U-Nets by Picard iteration, a line of panels for each record."""
    figure, axes = plt.subplots(
        len(records), 2, figsize=(9, 3.3 * len(records)), sharey="row", squeeze=False
    )
    for line, (title, record) in zip(axes, records.items()):
        kinds = record.labels("kind", measure="Frechet distance")
        forms = [str(kind) for kind in kinds if kind != SEQUENTIAL]
        for ax in line[len(forms) :]:
            ax.set_visible(False)
        for ax, form in zip(line, forms):
            rows = record.where(measure="Frechet distance", kind=form)
            _by_iteration(ax, rows, "budget", f"{title}: {form}", band=0.1)
            ax.title.set_fontsize("small")
            for method in rows["method"].unique():
                last = record.values(
                    measure="Frechet distance in sequence", kind=form, method=method
                )
                color = METHODS[method]["color"]
                ax.axhline(last.mean(), color=color, linestyle="--", linewidth=0.8)
        line[0].set_ylabel("Fréchet distance")
    _legend_below(figure, axes[0, 0])
    return figure


def _by_iteration(ax: Axes, rows: Any, x: str, title: str, **line: Any) -> None:
    styles = _styles(rows["method"].unique())
    plotting.lines(ax, rows, x, by="method", log="y", styles=styles, **line)
    ax.set(xlabel="iteration", title=title)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
