"""Figures of chapter 4: from results to a figure, a function a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.gradient_estimation.comparisons import image_values, whole
from companion.experiments.gradient_estimation.geometry_figures import (
    GREY,
    WIDTH,
    admissible,
    arrows,
    bands,
    field,
    ideal,
    ideal_sets,
    look,
    orthogonal,
    reach,
)
from companion.experiments.gradient_estimation.problems import DIGITS, EXACT, IDEAL, PROBLEMS
from companion.experiments.results import Results

__all__ = [
    "LABELS",
    "SHORT",
    "admissible",
    "arrows",
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


LOOKS = {name: look(color, m, label=label) for name, (color, m, label, _) in _METHODS.items()}
STEPS = (look("vermillion", "o"), look("blue", "s"), look("green", "^"), look("orange", "D"))
"""Looks of numbers of steps, the fewest first."""


def _budget_axis(ax: Axes, budgets: Sequence[int], **more: Any) -> None:
    ax.set(xscale="log", yscale="log", xlabel="evaluations", **more)
    ax.set_xticks(budgets, [str(n) for n in budgets])
    ax.xaxis.set_minor_locator(ticker.NullLocator())


# --- gradient estimation -------------------------------------------------------------------------


def order(results: Results) -> Figure:
    """Error against steps by gamma, of ``Order``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
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
        start={"γ": 2.0},
        target=results.tensor("target"),
        groups=results.tensor("arm"),
    )


def _grid(panels: int, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Panels in two columns; of three, the free fourth place is for the legend."""
    rows = (panels + 1) // 2
    size = (WIDTH, 2.6 * rows)
    figure, grid = plt.subplots(rows, 2, figsize=size, sharey=sharey, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[panels:]:
        ax.axis("off")
        ax.grid(False)
    return figure, axes


def race(results: Results, measure: str = "error") -> Figure:
    """Error against the flow, or distance to the data, by evaluations, of ``Race``.

    Parameters
    ----------
    measure : {"error", "distance"}
        With distances, the range of as many real samples is shown.
    """
    figure, axes = _grid(len(PROBLEMS))
    budgets = whole(results, "budget", measure=measure)
    for ax, problem in zip(axes, PROBLEMS):
        for method, style in LOOKS.items():
            values = results.grid("budget", "seed", measure=measure, problem=problem, method=method)
            style = {**style, "label": SHORT[method], "markersize": 4}
            plotting.with_band(ax, budgets, values.T, **style)
        _budget_axis(ax, budgets, title=problem)
        if measure == "distance":
            real = results.values(measure="real data", problem=problem)
            ends = real.mean() - 2 * real.std(ddof=1), real.mean() + 2 * real.std(ddof=1)
            ax.axhspan(*ends, color="black", alpha=0.12, linewidth=0, label="real data")
            plotting.log_ticks(ax.yaxis)
        ax.minorticks_off()
    called = "error against the flow" if measure == "error" else "sliced Wasserstein distance"
    figure.supylabel(called, fontsize="medium")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center")
    return figure


def gamma(results: Results, measure: str = "error") -> Figure:
    """Error, or distance to the data, against gamma, a panel a problem, of ``GammaSweep``.

    Parameters
    ----------
    measure : {"error", "distance"}
    """
    figure, axes = _grid(len(PROBLEMS) + 1)
    for ax, problem in zip(axes, (*PROBLEMS, IDEAL)):
        for n, style in zip(whole(results, "steps"), STEPS):
            where = {"measure": measure, "problem": problem, "steps": n}
            values, x = results.grid("gamma", "seed", **where), results.labels("gamma")
            plotting.with_band(ax, x, values.T, markevery=5, label=f"N = {n}", **style)
        for g in (1.5, 2.0):
            ax.axvline(g, color=GREY, linestyle=":", linewidth=1)
        ax.set(title=problem, yscale="log" if measure == "error" else "linear")
        ax.minorticks_off()
    for ax in axes[2:]:
        ax.set_xlabel("γ")
    called = "error against the flow" if measure == "error" else "sliced Wasserstein distance"
    figure.supylabel(called, fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def levels(results: Results) -> Figure:
    """Gamma nearest to the flow's next step against noise level, of ``NearestToFlow``."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharey=True)
    for ax, problem in zip(axes, (EXACT, DIGITS)):
        for n, style in zip(whole(results, "steps"), STEPS):
            rows = results.where(problem=problem, steps=n)
            ax.plot(rows["level"], rows["value"], label=f"N = {n}", **style)
        for g in (1.5, 2.0):
            ax.axhline(g, color=GREY, linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="noise level σ", title=problem)
        ax.invert_xaxis()
    axes[0].set_ylabel("best γ")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def schedules(results: Results) -> Figure:
    """Error against evaluations for each schedule, a panel a gamma, of ``FourSchedules``."""
    gammas, budgets = results.labels("gamma"), whole(results, "budget")
    figure, axes = _grid(len(gammas), sharey=True)
    looks = (look("blue", "o"), look("sky", "s"), look("vermillion", "D"), look("green", "^"))
    for ax, g in zip(axes, gammas):
        for name, style in zip(results.labels("schedule"), looks):
            values = results.grid("budget", "seed", gamma=g, schedule=name)
            plotting.with_band(ax, budgets, values.T, label=name, **style)
        _budget_axis(ax, budgets, title="DDIM, γ = 1" if g == 1 else f"γ = {g:g}")
        ax.minorticks_off()
    figure.supylabel("error against the flow", fontsize="medium")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center")
    return figure


# --- images --------------------------------------------------------------------------------------


def images(records: Mapping[str, Results]) -> Figure:
    """Both measures against evaluations, a row a record of ``ImageRace``, a point a network."""
    size = (WIDTH, 0.9 + 2.7 * len(records))
    figure, grid = plt.subplots(len(records), 2, figsize=size, squeeze=False)
    for axes, (name, record) in zip(grid, records.items()):
        budgets = whole(record, "budget")
        for ax, measure in zip(axes, ("error", "Frechet distance")):
            for method in map(str, record.labels("method")):
                values = np.stack([image_values(record, measure, method, n) for n in budgets])
                style = LOOKS[method]
                means = np.exp(np.log(values).mean(1))
                ax.plot(budgets, means, color=style["color"], label=SHORT[method])
                dots = {"color": style["color"], "markersize": 4, "linestyle": "none"}
                ax.plot(budgets, values, style["marker"], **dots)
            called = "error" if measure == "error" else "Fréchet distance"
            _budget_axis(ax, budgets, title=called)
        axes[0].set_ylabel(name)
        axes[1].axhline(record.facts["floor"], color="black", linestyle=":")
        plotting.log_ticks(axes[1].yaxis)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def drawn(results: Results) -> Figure:
    """Images of few evaluations and of the flow, a row each, of ``DrawnDigits``."""
    rows = {name: results.tensor(name) for name in results.labels("row")}
    ax = plotting.image_grid(
        torch.stack(list(rows.values())),
        row_labels=list(rows),
        ax=plt.subplots(figsize=(WIDTH, 0.85 * len(rows)))[1],
    )
    return ax.get_figure(root=True)  # type: ignore[return-value]
