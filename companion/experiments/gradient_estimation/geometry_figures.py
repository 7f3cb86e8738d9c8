"""Figures of chapter 4 about projection and descent: from results to a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from companion import noise, oracles, plotting, samplers
from companion.experiments.results import Results

__all__ = [
    "GREY",
    "WIDTH",
    "admissible",
    "arrows",
    "bands",
    "field",
    "ideal",
    "ideal_sets",
    "look",
    "orthogonal",
    "reach",
]

WIDTH = 5.0
"""Inches. The text of a wider figure would be too small on a phone."""

GREY = plotting.PALETTE["grey"]
"""Colour of what is only there to compare with."""


def look(color: str, marker: str, **more: Any) -> dict[str, Any]:
    """Return a colour of the palette and a marker as arguments of ``ax.plot``."""
    return {"color": plotting.PALETTE[color], "marker": marker, **more}


# --- the idea ------------------------------------------------------------------------------------


def arrows(gamma: float = 2.0, levels: Sequence[float] = (2.5, 1.0, 0.3)) -> Figure:
    """One step of gradient estimation beside the flow: two directions and their extrapolation.

    Parameters
    ----------
    gamma : float
    levels : three noise levels: the one before, the present one, the next
    """
    law = oracles.GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], [0.1, 0.1])
    state, states, directions = torch.tensor([[1.3125, 2.5]]), [], []
    for high, low in pairwise(levels):
        directions.append((state - law.denoiser(state, high)) / high)
        fine = noise.log_linear(30, high, low, final_zero=False)
        states.append(samplers.trajectory(samplers.heun, law.denoiser, state, fine)[:, 0])
        state = states[-1][-1:]
    old, new = directions
    figure, ax = plt.subplots(figsize=(WIDTH, 2.8))
    marks = [states[0][0], *(part[-1] for part in states)]
    ax.plot(*_across(torch.cat(states)), color="black", linewidth=2.5)
    ax.plot(*_across(torch.stack(marks)), "o", color="black", markersize=6)
    told = (
        ("direction before", "grey", old),
        ("direction now: DDIM", "blue", new),
        (f"extrapolated, γ = {gamma:g}", "vermillion", gamma * new + (1 - gamma) * old),
    )
    for name, color, direction in told:
        paint = plotting.PALETTE[color]
        end = _across(marks[1] + (levels[2] - levels[1]) * direction[0])
        arrow = {"arrowstyle": "-|>", "linewidth": 2.2, "mutation_scale": 15, "shrinkB": 0}
        ax.annotate("", end, _across(marks[1]), arrowprops={**arrow, "color": paint})
        shift: Any = {"textcoords": "offset points", "va": "center", "color": paint}
        ax.annotate(name, end, (6, 0), **shift)
    for mark, sigma in zip(marks, levels):
        ax.annotate(f"σ = {sigma:g}", _across(mark), (-10, 11), textcoords="offset points")
    middle = _across(states[0][len(states[0]) // 2])
    ax.annotate("the flow", middle, (-10, -18), textcoords="offset points", ha="right")
    ax.set(xlim=(2.6, -0.85), ylim=(0.35, 1.45))
    ax.axis("off")
    return figure


def _across(states: Tensor) -> tuple[Any, Any]:
    """Places in the picture, which runs from left to right, (..., 2) -> two arrays."""
    return states[..., 1].numpy(), states[..., 0].numpy()


# --- projection ----------------------------------------------------------------------------------


def field(sigmas: Sequence[float] = (0.15, 0.7, 5.0)) -> Figure:
    """Where the exact denoiser of a circle sends points, and where the projection does."""
    circle, turn = oracles.Sphere(1), torch.linspace(0, 2 * math.pi, 200)
    size = (WIDTH, 1.1 * WIDTH / len(sigmas))
    figure, axes = plt.subplots(1, len(sigmas), figsize=size, squeeze=False)
    for ax, sigma in zip(axes[0], sigmas):
        around = torch.arange(14) * 2 * math.pi / 14
        radii = torch.tensor([0.5, 1.6] if sigma < 1 else [4.0, 7.0])
        x = torch.cat([r * torch.stack([around.cos(), around.sin()], 1) for r in radii])
        ax.plot(turn.cos(), turn.sin(), color=plotting.PALETTE["sky"], linewidth=2.5)
        ax.scatter(*x.T, s=6, color=GREY)
        targets = (
            (circle.project(x), "black", 2.2),
            (circle.denoiser(x, sigma), "vermillion", 1.0),
        )
        for target, name, width in targets:
            color = plotting.PALETTE[name]
            ax.plot(*torch.stack([x, target]).permute(2, 0, 1), color=color, linewidth=width)
            ax.scatter(*target.T, s=8 * width, color=color, zorder=3)
        limit = 1.1 * float(x.abs().max())
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=f"σ = {sigma:g}")
        ax.axis("off")
    return figure


def orthogonal(shares: Results) -> Figure:
    """Share of noise along the data against codimension over dimension, of ``TangentShare``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    line = np.logspace(-0.1, 2.2, 50)
    ax.plot(line, 1 / (1 + line), color=GREY, zorder=1, label="d / n")
    looks = {"sphere": ("blue", "o"), "swiss roll": ("green", "^"), "digits": ("vermillion", "D")}
    for name, (color, marker) in looks.items():
        rows = shares.where(set=name)
        keys = ["dimension", "ambient", "energy"]
        rows = rows.groupby(keys, dropna=False, as_index=False)["value"].mean()
        where = (rows["ambient"] - rows["dimension"]) / rows["dimension"]
        ax.scatter(where, rows["value"], label=name, **look(color, marker))
        for at, row in zip(where, rows.itertuples()):
            if name == "digits":
                text, place = f"d = {row.dimension} ({row.energy:.0%})", (at, row.value)
                ax.annotate(text, place, (7, 3), textcoords="offset points")
    ax.set(xscale="log", yscale="log", ylabel="share along the data")
    ax.set_xlabel("codimension / dimension, (n − d) / d")
    ax.minorticks_off()
    ax.legend(loc="lower left")
    return figure


def reach(results: Results) -> Figure:
    """Relative error against noise over reach, of ``Reach``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.7))
    groups = results.table.groupby(["dimension", "ambient"], sort=False)
    for ((d, n), rows), marker in zip(groups, "os^D"):
        label = f"dimension {d} in {n}"
        ax.plot(rows["level"], rows["value"], marker=marker, markevery=4, label=label)
    ax.axvline(1, color=GREY, linestyle=":")
    ax.set(xscale="log", yscale="log", ylabel="relative error (median)")
    ax.set_xlabel("noise / reach, σ √n / R")
    figure.legend(title="spheres", loc="outside lower center", ncols=2)
    return figure


def _two_panels(height: float, limits: tuple[float, float]) -> tuple[Figure, Any]:
    """Panels for the relative error and for the distance over what the noise level says."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, height))
    for ax, name in zip(panels, ("relative error", "dist / (√n σ)")):
        ax.set(xscale="log", xlabel="noise level σ", title=name)
        ax.minorticks_off()
        ax.invert_xaxis()
    panels[1].set_ylim(limits)
    return figure, panels


def ideal(paths: Results) -> Figure:
    """Relative error and distance over noise: median, 90 % and all paths, of ``DigitPaths``."""
    figure, panels = _two_panels(2.7, (0, 2))
    x = paths.arrays["sigmas"][:-1]
    for ax, name, color in zip(panels, ("error", "ratio"), ("vermillion", "blue")):
        values, paint = paths.tensor(name), plotting.PALETTE[color]
        ax.plot(x, values.median(1).values, color=paint)
        for low, high, alpha in ((0.05, 0.95, 0.3), (0.0, 1.0, 0.12)):
            ends = values.quantile(torch.tensor([low, high]), dim=1)
            ax.fill_between(x, *ends, color=paint, alpha=alpha, linewidth=0)
    panels[1].axhline(1, color="black", linewidth=0.8)
    return figure


def bands(paths: Results, records: Mapping[str, Results]) -> dict[str, tuple[Tensor, ...]]:
    """Levels, and 5 %, median and 95 % of error and ratio: of the digits and of each record."""
    shares = torch.tensor([0.05, 0.5, 0.95])
    digits = (paths.tensor(name).quantile(shares, 1) for name in ("error", "ratio"))
    listed = {"digits (8 × 8)": (paths.tensor("sigmas")[:-1], *digits)}
    for name, record in records.items():
        error, ratio = (record.tensor(key)[1:4] for key in ("error", "ratio"))
        listed[name] = (record.tensor("sigmas")[:-1], error, ratio)
    return listed


def ideal_sets(paths: Results, records: Mapping[str, Results]) -> Figure:
    """``ideal`` for whole training sets, of ``DigitPaths`` and records of ``IdealDenoiser``."""
    figure, panels = _two_panels(3.2, (0.5, 1.5))
    colors = ("grey", "blue", "vermillion", "green")
    for (name, (x, *curves)), color in zip(bands(paths, records).items(), colors):
        paint = plotting.PALETTE[color]
        for ax, (low, middle, high) in zip(panels, curves):
            ax.plot(x, middle, color=paint, label=name)
            ax.fill_between(x, low, high, color=paint, alpha=0.25, linewidth=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def admissible(descents: Results) -> Figure:
    """Distance over noise on the way down, against the band, of ``Descents``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.9))
    nu = descents.settings["band"]
    ax.axhspan(1 / nu, nu, color=GREY, alpha=0.2, linewidth=0)
    looks = (look("blue", "o"), look("sky", "^"), look("green", "s"), look("vermillion", "D"))
    for name, style in zip(descents.labels("schedule"), looks):
        rows = descents.where(measure="median ratio", schedule=name)
        ax.plot(rows["level"], rows["value"], markersize=3.5, label=name, **style)
    ax.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="dist / (√n σ)")
    ax.minorticks_off()
    ax.invert_xaxis()
    figure.legend(loc="outside lower center", ncols=2)
    return figure
