"""Figures of chapter 6: from results to a figure, a function a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion import oracles, plotting
from companion.experiments.physics.circle import FORMS, KAPPA, WEIGHTS, minimiser
from companion.experiments.physics.lines import EQUATIONS
from companion.experiments.physics.methods import LABELS
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval, paired_difference

__all__ = ["bias", "fields", "gap", "idea", "pareto"]

WIDTH = 5.0
"""Inches. The text of a wider figure would be too small on a phone."""

ROUNDING = 1e-4
"""A smaller residual is drawn here."""

LOOKS = {
    "none": ("blue", "o"), "mean": ("orange", "s"), "sample": ("green", "^"),
    "end": ("vermillion", "D"), "late": ("purple", "v"), "always": ("grey", "X"),
}  # fmt: skip


def look(method: str) -> dict[str, Any]:
    """Colour, marker and label of a method."""
    color, marker = LOOKS[method]
    return {"color": plotting.PALETTE[color], "marker": marker, "label": LABELS[method]}


def idea(sigma: float = 0.8) -> Figure:
    """One noisy point, the best estimate of its clean point, and where the mean form pulls it."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.6))
    exact = oracles.VonMises(KAPPA)
    angle = torch.linspace(-np.pi, np.pi, 400)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    x = torch.tensor([[-0.55, 1.35]])
    logits = exact.log_prob(circle) - (x - circle).square().sum(1) / (2 * sigma**2)
    ax.plot(*circle.T, color="#BBBBBB", linewidth=1)
    size = 40 * (logits - logits.max()).exp()
    ax.scatter(
        circle[:, 0],
        circle[:, 1],
        s=size,
        color=plotting.PALETTE["sky"],
        label="where it may come from",
    )
    best = exact.denoiser(x, sigma)[0]
    moved = minimiser(exact, WEIGHTS["mean"])(x, sigma)[0]
    ax.plot(*x[0], "X", color="black", markersize=9, label="noisy point")
    ax.plot(
        *best, "o", color=plotting.PALETTE["blue"], markersize=9, label="best estimate, the mean"
    )
    ax.plot(*moved, "s", color=plotting.PALETTE["orange"], markersize=9, label="mean form")
    arrow = {"arrowstyle": "->", "color": plotting.PALETTE["orange"], "linewidth": 1.8}
    ax.annotate("", tuple(moved.tolist()), tuple(best.tolist()), arrowprops=arrow)
    ax.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.2, 1.6))
    ax.set_axis_off()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def bias(exact: Results, circle: Results) -> Figure:
    """Added mean cosine against c of both minima, with that of trained networks."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4))
    ax.axhline(0, color="black", linewidth=1)
    n = max(circle.labels("points", measure="cosine"))
    plain = exact.values(measure="cosine", form="none", c=0.0)
    for form in FORMS:
        color = look(form)["color"]
        weights = exact.labels("c", measure="cosine", form=form)
        lines = [
            paired_difference(exact.values(measure="cosine", form=form, c=c), plain)
            for c in weights
        ]
        ax.plot(weights, [i.mean for i in lines], color=color, label=f"{LABELS[form]}, exact")
        ax.fill_between(
            weights, [i.low for i in lines], [i.high for i in lines], color=color, alpha=0.2
        )
        both = (circle.values(measure="cosine", method=m, points=n) for m in (form, "none"))
        label = {"label": f"{LABELS[form]}, networks"}
        _bar(ax, WEIGHTS[form], paired_difference(*both), **(look(form) | label))
    ax.set(xscale="log", xlabel="weight c of the residual", ylabel="added mean cosine")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def gap(lines: Results) -> Figure:
    """Residual of the exact denoiser against the noise level, of both equations."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    looks = {"linear": ("blue", "o"), "bilinear": ("vermillion", "s")}
    for equation in EQUATIONS:
        color, marker = looks[equation]
        rows = lines.where(measure="gap", equation=equation)
        label = f"{equation} equation"
        ax.plot(
            rows["sigma"], rows["value"], color=plotting.PALETTE[color], marker=marker, label=label
        )
    ax.set(
        xscale="log", yscale="log", xlabel=r"noise level $\sigma$", ylabel="residual of the mean"
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def pareto(circle: Results, lines: Results) -> Figure:
    """Residual against distance to the data, of every method, a panel a problem."""
    figure, grid = plt.subplots(3, 1, figsize=(WIDTH, 9))
    n = max(circle.labels("points", measure="residual"))
    places: list[tuple[str, Results, Mapping[str, Any]]] = [
        ("circle", circle, {"points": n}),
        *((f"{e} equation", lines, {"equation": e}) for e in EQUATIONS),
    ]
    for ax, (title, results, where) in zip(grid, places):
        for method in LOOKS:
            weighted = "equation" in where and method in FORMS
            dims: list[dict[str, Any]] = [{}]
            if weighted:
                key = {"measure": "distance by weight", "method": method, **where}
                dims = [{"c": c} for c in results.labels("c", **key)]
            ending = " by weight" if weighted else ""
            found = [
                [
                    mean_interval(results.values(measure=m + ending, method=method, **where, **one))
                    for m in ("residual", "distance")
                ]
                for one in dims
            ]
            ax.plot(
                [max(x.mean, ROUNDING) for x, _ in found], [y.mean for _, y in found],
                linewidth=1, **(look(method) | {"marker": ""}),
            )  # fmt: skip
            for x, y in found:
                _bar(ax, max(x.mean, ROUNDING), y, **look(method))
        if "equation" in where:
            floor = results.value(measure="floor", equation=where["equation"])
            ax.axhline(floor, color="black", linewidth=0.8)
        ax.set(title=title, xscale="log", ylabel="distance to the data", ylim=(0, None))
    grid[-1].set_xlabel("residual of samples (left end: at rounding)")
    handles = [Line2D([], [], linestyle="", **look(method)) for method in LOOKS]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def fields(lines: Results) -> Figure:
    """Three samples of the bilinear equation by four methods: pressure, permeability."""
    methods = ("none", "mean", "sample", "end")
    figure, grid = plt.subplots(4, 2, figsize=(WIDTH, 7), sharex=True, sharey="col")
    for row, method in zip(grid, methods):
        for ax, channel in zip(row, (0, 1)):
            ax.plot(lines.arrays[method][:, channel].T, linewidth=1.4)
        row[0].set_ylabel(LABELS[method].split(",")[-1].strip().removesuffix(" at the end"))
    for ax, name in zip(grid[0], ("pressure", "permeability")):
        ax.set_title(name)
    for ax in grid[-1]:
        ax.set_xlabel("cell")
    return figure


def _bar(ax: Axes, at: float, interval: Interval, **look: Any) -> None:
    bars = [[interval.mean - interval.low], [interval.high - interval.mean]]
    ax.errorbar([at], [interval.mean], yerr=bars, linestyle="", capsize=3, **look)
