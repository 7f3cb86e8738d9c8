"""Figures of chapter 4: from results to a figure, a function a figure."""

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
from torch import Tensor

from companion import noise, oracles, plotting, samplers
from companion.experiments.gradient_estimation.comparisons import image_values, whole
from companion.experiments.gradient_estimation.methods import SIGMA_MAX, variants
from companion.experiments.gradient_estimation.problems import DIGITS, EXACT, IDEAL, PROBLEMS
from companion.experiments.images import restored
from companion.experiments.results import Results

__all__ = [
    "LABELS",
    "SHORT",
    "admissible",
    "bands",
    "drawn",
    "field",
    "gamma",
    "ideal",
    "ideal_sets",
    "images",
    "levels",
    "order",
    "orthogonal",
    "player",
    "race",
    "reach",
    "schedules",
]

_METHODS = {
    "ddim": ("blue", "o", "DDIM", "DDIM"),
    "heun": ("green", "^", "Heun", "Heun"),
    "gradient_estimation": ("vermillion", "D", "gradient estimation, γ = 2", "γ = 2"),
    "ge-chosen": ("purple", "v", "gradient estimation, γ chosen", "γ chosen"),
    "dpm": ("orange", "s", "DPM-Solver++(2M)", "DPM++(2M)"),
    "unipc": ("sky", "P", "UniPC", "UniPC"),
    "deis": ("grey", "X", "DEIS", "DEIS"),
}
LABELS = {name: label for name, (*_, label, _) in _METHODS.items()}
"""What each method is called."""

SHORT = {name: short for name, (*_, short) in _METHODS.items()}
"""The same for narrow tables."""


def look(color: str, marker: str, **more: Any) -> dict[str, Any]:
    """Return a colour of the palette and a marker as arguments of ``ax.plot``."""
    return {"color": plotting.PALETTE[color], "marker": marker, **more}


LOOKS = {name: look(color, m, label=label) for name, (color, m, label, _) in _METHODS.items()}
GREY = plotting.PALETTE["grey"]
STEPS = (look("vermillion", "o"), look("blue", "s"), look("green", "^"), look("orange", "D"))
"""Looks of numbers of steps, the fewest first."""


def _budget_axis(ax: Axes, budgets: Sequence[int], **more: Any) -> None:
    ax.set(xscale="log", yscale="log", xlabel="evaluations", **more)
    ax.set_xticks(budgets, [str(n) for n in budgets])
    ax.xaxis.set_minor_locator(ticker.NullLocator())


# --- projection ----------------------------------------------------------------------------------


def field(sigmas: Sequence[float] = (0.15, 0.7, 5.0)) -> Figure:
    """Where the exact denoiser of a circle sends points, and where the projection does."""
    circle, turn = oracles.Sphere(1), torch.linspace(0, 2 * math.pi, 200)
    figure, axes = plt.subplots(1, len(sigmas), figsize=(3 * len(sigmas), 3.2), squeeze=False)
    for ax, sigma in zip(axes[0], sigmas):
        around = torch.arange(14) * 2 * math.pi / 14
        radii = torch.tensor([0.5, 1.6] if sigma < 1 else [4.0, 7.0])
        x = torch.cat([r * torch.stack([around.cos(), around.sin()], 1) for r in radii])
        ax.plot(turn.cos(), turn.sin(), color=plotting.PALETTE["sky"], linewidth=2.5)
        ax.scatter(*x.T, s=6, color=GREY)
        targets = (
            (circle.project(x), "black", 2.6),
            (circle.denoiser(x, sigma), "vermillion", 1.2),
        )
        for target, name, width in targets:
            color = plotting.PALETTE[name]
            ax.plot(*torch.stack([x, target]).permute(2, 0, 1), color=color, linewidth=width)
            ax.scatter(*target.T, s=14 * width, color=color, zorder=3)
        limit = 1.1 * float(x.abs().max())
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=f"σ = {sigma:g}")
        ax.axis("off")
    return figure


def orthogonal(shares: Results) -> Figure:
    """Share of noise along the data against codimension over dimension, of ``TangentShare``."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
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
                ax.annotate(text, place, (6, 3), textcoords="offset points", fontsize="small")
    ax.set(xscale="log", yscale="log", ylabel="share along the data")
    ax.set_xlabel("codimension / dimension, (n − d) / d")
    ax.legend()
    return figure


def reach(results: Results) -> Figure:
    """Relative error against noise over reach, of ``Reach``."""
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    groups = results.table.groupby(["dimension", "ambient"], sort=False)
    for ((d, n), rows), marker in zip(groups, "os^D"):
        label = f"sphere of dimension {d} in {n} dimensions"
        ax.plot(rows["level"], rows["value"], marker=marker, markevery=4, label=label)
    ax.axvline(1, color=GREY, linestyle=":")
    ax.set(xscale="log", yscale="log", ylabel="relative error (median)")
    ax.set_xlabel("noise / reach, σ √n / R")
    ax.legend(fontsize="small")
    return figure


def _two_panels(height: float, limits: tuple[float, float]) -> tuple[Figure, Any]:
    """Panels for the relative error and for the distance over what the noise level says."""
    figure, panels = plt.subplots(1, 2, figsize=(9, height))
    for ax, name in zip(panels, ("relative error", "dist / (√n σ)")):
        ax.set(xscale="log", xlabel="noise level σ", ylabel=name)
        ax.invert_xaxis()
    panels[1].set_ylim(limits)
    return figure, panels


def ideal(paths: Results) -> Figure:
    """Relative error and distance over noise: median, 90 % and all paths, of ``DigitPaths``."""
    figure, panels = _two_panels(3.1, (0, 2))
    x = paths.arrays["sigmas"][:-1]
    for ax, name, color in zip(panels, ("error", "ratio"), ("vermillion", "blue")):
        values, paint = paths.tensor(name), plotting.PALETTE[color]
        ax.plot(x, values.median(1).values, color=paint)
        for low, high, alpha in ((0.05, 0.95, 0.3), (0.0, 1.0, 0.12)):
            ends = values.quantile(torch.tensor([low, high]), dim=1)
            ax.fill_between(x, *ends, color=paint, alpha=alpha, linewidth=0)
    panels[1].axhline(1, color="black", linewidth=0.8)
    return figure


def admissible(descents: Results) -> Figure:
    """Distance over noise on the way down, against the band, of ``Descents``."""
    figure, ax = plt.subplots(figsize=(6.8, 3.5))
    nu = descents.settings["band"]
    ax.axhspan(1 / nu, nu, color=GREY, alpha=0.2, linewidth=0)
    looks = (look("blue", "o"), look("sky", "^"), look("green", "s"), look("vermillion", "D"))
    for name, style in zip(descents.labels("schedule"), looks):
        rows = descents.where(measure="median ratio", schedule=name)
        ax.plot(rows["level"], rows["value"], markersize=3.5, label=name, **style)
    ax.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="dist / (√n σ)")
    ax.invert_xaxis()
    ax.legend()
    return figure


# --- gradient estimation -------------------------------------------------------------------------


def order(results: Results) -> Figure:
    """Error against steps by gamma, of ``Order``."""
    figure, ax = plt.subplots(figsize=(6.2, 3.4))
    steps = whole(results, "steps", measure="error")
    looks = (plotting.method("ddim"), look("purple", "v"), plotting.method("gradient_estimation"))
    for g, style in zip(results.labels("gamma", measure="error"), looks):
        values = results.where(measure="error", gamma=g)["value"]
        ax.plot(steps, values, **{**style, "label": f"γ = {g:g}"})
    _budget_axis(ax, steps, ylabel="error against the flow")
    ax.set_xlabel("steps N")
    ax.minorticks_off()
    ax.legend()
    return figure


def player(results: Results) -> plotting.TrajectoryPlayer:
    """Paths of DDIM, gradient estimation and the flow, by gamma and steps, of ``Paths``."""
    gammas, steps = results.settings["gammas"], results.settings["steps"]
    paths, levels = {}, {}
    for n in steps:
        for i, g in enumerate(gammas):
            paths[g, n] = {
                "ddim": results.tensor(f"ddim {n}"),
                "gradient_estimation": results.tensor(f"gradient_estimation {n}")[i],
                "flow": results.tensor(f"flow {n}"),
            }
            levels[g, n] = results.tensor(f"levels {n}")
    return plotting.TrajectoryPlayer(
        paths,
        levels,
        title="Paths from noise to two spirals, with the exact denoiser",
        alt="Points that start in a wide cloud and move onto two spiral arms. With few steps those "
        "of DDIM crowd on the inner turns, gamma 2 fills the outer turns as the flow does, gamma 3 "
        "overshoots.",
        labels={"flow": "converged flow"},
        controls={"γ": gammas, "N": steps},
        target=results.tensor("target"),
        groups=results.tensor("arm"),
    )


def race(results: Results, measure: str = "error") -> Figure:
    """Error against the flow, or distance to the data, by evaluations, of ``Race``.

    Parameters
    ----------
    measure : {"error", "distance"}
        With distances, the range of as many real samples is shown.
    """
    figure, axes = plt.subplots(1, len(PROBLEMS), figsize=(10, 4.2))
    budgets = whole(results, "budget", measure=measure)
    for ax, problem in zip(axes, PROBLEMS):
        for method, style in LOOKS.items():
            values = results.grid("budget", "seed", measure=measure, problem=problem, method=method)
            plotting.with_band(ax, budgets, values.T, **style)
        _budget_axis(ax, budgets, title=problem)
        if measure == "distance":
            real = results.values(measure="real data", problem=problem)
            ends = real.mean() - 2 * real.std(ddof=1), real.mean() + 2 * real.std(ddof=1)
            ax.axhspan(*ends, color="black", alpha=0.12, linewidth=0, label="real data")
            ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5)))
            ax.yaxis.set_major_formatter(ticker.ScalarFormatter())
        ax.minorticks_off()
    axes[0].set_ylabel("error against the flow" if measure == "error" else "sliced Wasserstein")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize="small")
    return figure


def gamma(results: Results) -> Figure:
    """Error and distance against gamma, a column a problem, of ``GammaSweep``."""
    figure, axes = plt.subplots(2, 4, figsize=(10.5, 5), sharex=True)
    for column, problem in zip(axes.T, (*PROBLEMS, IDEAL)):
        for ax, measure, scale in zip(column, ("error", "distance"), ("log", "linear")):
            for n, style in zip(whole(results, "steps"), STEPS):
                where = {"measure": measure, "problem": problem, "steps": n}
                values, x = results.grid("gamma", "seed", **where), results.labels("gamma")
                plotting.with_band(ax, x, values.T, markevery=5, label=f"N = {n}", **style)
            for g in (1.5, 2.0):
                ax.axvline(g, color=GREY, linestyle=":", linewidth=1)
            ax.set_yscale(scale)
            ax.minorticks_off()
        column[0].set_title(problem)
        column[1].set_xlabel("γ")
    axes[0, 0].set_ylabel("error against the flow")
    axes[1, 0].set_ylabel("sliced Wasserstein")
    axes[0, 0].legend()
    return figure


def levels(results: Results) -> Figure:
    """Gamma nearest to the flow's next step against noise level, of ``NearestToFlow``."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for ax, problem in zip(axes, (EXACT, DIGITS)):
        for n, style in zip(whole(results, "steps"), STEPS):
            rows = results.where(problem=problem, steps=n)
            ax.plot(rows["level"], rows["value"], label=f"N = {n}", **style)
        for g in (1.5, 2.0):
            ax.axhline(g, color=GREY, linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="noise level σ", title=problem)
        ax.invert_xaxis()
    axes[0].set_ylabel("best γ")
    axes[0].legend()
    return figure


def schedules(results: Results) -> Figure:
    """Error against evaluations for each schedule, a panel a gamma, of ``FourSchedules``."""
    gammas, budgets = results.labels("gamma"), whole(results, "budget")
    figure, axes = plt.subplots(1, len(gammas), figsize=(10, 3.6), sharey=True, squeeze=False)
    looks = (look("blue", "o"), look("sky", "s"), look("vermillion", "D"), look("green", "^"))
    for ax, g in zip(axes[0], gammas):
        for name, style in zip(results.labels("schedule"), looks):
            values = results.grid("budget", "seed", gamma=g, schedule=name)
            plotting.with_band(ax, budgets, values.T, label=name, **style)
        _budget_axis(ax, budgets, title="DDIM, γ = 1" if g == 1 else f"γ = {g:g}")
        ax.minorticks_off()
    axes[0, 0].set_ylabel("error against the flow")
    axes[0, 0].legend(fontsize="small")
    return figure


# --- images --------------------------------------------------------------------------------------


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
    figure, panels = _two_panels(3.3, (0.5, 1.5))
    colors = ("grey", "blue", "vermillion", "green")
    for (name, (x, *curves)), color in zip(bands(paths, records).items(), colors):
        paint = plotting.PALETTE[color]
        for ax, (low, middle, high) in zip(panels, curves):
            ax.plot(x, middle, color=paint, label=name)
            ax.fill_between(x, low, high, color=paint, alpha=0.25, linewidth=0)
    panels[0].legend(fontsize="small")
    return figure


def images(records: Mapping[str, Results]) -> Figure:
    """Both measures against evaluations, a row a record of ``ImageRace``, a point a network."""
    size = (10, 4.2 * len(records))
    figure, grid = plt.subplots(len(records), 2, figsize=size, squeeze=False)
    for axes, (name, record) in zip(grid, records.items()):
        budgets = whole(record, "budget")
        for ax, measure in zip(axes, ("error", "Frechet distance")):
            for method in map(str, record.labels("method")):
                values = np.stack([image_values(record, measure, method, n) for n in budgets])
                style = LOOKS[method]
                means = np.exp(np.log(values).mean(1))
                ax.plot(budgets, means, color=style["color"], label=style["label"])
                dots = {"color": style["color"], "markersize": 4, "linestyle": "none"}
                ax.plot(budgets, values, style["marker"], **dots)
            called = "error against the flow" if measure == "error" else "Fréchet distance"
            _budget_axis(ax, budgets, title=name, ylabel=called)
        axes[1].axhline(record.facts["floor"], color="black", linestyle=":")
        axes[0].legend(fontsize="x-small")
    return figure


def drawn(record: Results, noise_of: torch.Generator, count: int = 14) -> Figure | None:
    """Images from the network in a record of ``ImageRace``, of few evaluations and of the flow.

    Returns None if the record has no network.
    """
    unet = restored(record)
    if unet is None:
        return None
    z = SIGMA_MAX * torch.randn(count, *record.facts["shape"], generator=noise_of)
    rows = {}
    for n in (5, 10):
        for method in ("ddim", "gradient_estimation"):
            levels = noise.log_linear(n, SIGMA_MAX, 0.1)
            rows[f"{SHORT[method]}, {n}"] = variants(method, n)[""](unet, z, levels)
    rows["the flow"] = samplers.heun(unet, z, noise.log_linear(60, SIGMA_MAX, 0.01))
    stack = torch.cat(list(rows.values())).clamp(-1, 1)
    ax = plotting.image_grid(stack, columns=count, row_labels=list(rows))
    figure = ax.figure
    assert isinstance(figure, Figure)
    return figure
