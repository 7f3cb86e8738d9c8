"""Figures of chapter 2, each from the results of an experiment."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from companion import noise, plotting, samplers
from companion.experiments.results import Results
from companion.experiments.tweedie.ablations import GRADIENTS
from companion.experiments.tweedie.digits import IDEAL_CLEAN
from companion.experiments.tweedie.exact import EXACT, GLUED
from companion.experiments.tweedie.image_figures import WIDTH, rows_of_pictures
from companion.experiments.tweedie.looks import LOOKS, label
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE
from companion.experiments.tweedie.mismatch import ASSUMED
from companion.experiments.tweedie.points import DISTANCE, MODES, NOISE, errors_of
from companion.experiments.tweedie.race import SWEPT
from companion.objectives.denoising import WEIGHTS

__all__ = [
    "defects",
    "gaussian",
    "gradients",
    "idea",
    "memory",
    "mismatch",
    "race",
    "samples",
    "stop",
    "sweep",
    "weight",
]

COLOR = plotting.PALETTE

FOLDED = 5.0
"""Inches of figures in folded cells, which are narrower than ``WIDTH``."""

EDGE: Any = {"color": COLOR["grey"], "linestyle": ":"}
"""How the noise of the data is marked."""


def _below(figure: Figure, ax: Any, ncols: int = 2) -> None:
    """Put the legend of one panel under all of them."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=ncols)


def idea(s_n: float = 2 * NOISE) -> Figure:
    """Draw one noisy point, its ways down, and the two answers that must agree."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    x, level = torch.tensor([[1.0, 1.2]], dtype=torch.float64), 0.75 * s_n
    down = noise.log_linear(20, s_n, level, final_zero=False)
    draws = torch.Generator().manual_seed(0)
    lower = samplers.ddpm(MODES.denoiser, x.repeat(2000, 1), down, generator=draws)
    now = MODES.denoiser(x, s_n)[0]
    panels = {"right": MODES, "too blurred below": MODES.noisy(s_n)}
    for ax, (title, believed) in zip(axes, panels.items()):
        answers = believed.denoiser(lower, level)
        for mean in MODES.means:
            ax.add_patch(plt.Circle(mean.tolist(), 0.5, color=COLOR["grey"], alpha=0.2))
        for there, answer in zip(lower[:25], answers):
            ax.plot(*zip(there, answer), color=COLOR["sky"], linewidth=0.8)
        dots: Any = {"linestyle": "", "zorder": 3}
        ax.plot(*x[0], "ks", markersize=8, label="noisy point", **dots)
        ax.plot(*lower[:25].T, "o", color=COLOR["sky"], label="a little later", **dots)
        ax.plot(*answers[:25].T, "^", color=COLOR["orange"], label="answers then", **dots)
        ax.plot(*now, "o", color=COLOR["blue"], markersize=9, label="answer now", **dots)
        ring: Any = {"color": COLOR["vermillion"], "markersize": 16, "markeredgewidth": 2.5}
        ax.plot(*answers.mean(0), "o", fillstyle="none", label="mean of those", **ring, **dots)
        ax.set(xlim=(-1.1, 2.0), ylim=(-0.7, 2.2), aspect="equal", title=title)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
    _below(figure, axes[0], 3)
    return figure


def stop(stopping: Results) -> Figure:
    """Draw clean points, noisy points, D of the noisy points, and samples down to no noise."""
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 1.8))
    panels = {
        "clean": ("clean", "black"), "seen": ("seen", "grey"),
        "stopped": ("stopped", "orange"), "wanted": ("wanted", "vermillion"),
    }  # fmt: skip
    for ax, (name, (title, color)) in zip(axes, panels.items()):
        plotting.scatter(ax, stopping.tensor(name), color=COLOR[color], limit=3)
        ax.set_title(title)
    return figure


def weight(s_n: float = NOISE) -> Figure:
    """Draw the weight of the error of D, and the noise of the target, against the noise level."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    t = torch.logspace(-1.5, 1.2, 200) * s_n
    sigma = (t**2 + s_n**2).sqrt()
    share, width = (t / sigma) ** 4, math.hypot(1.0, s_n)
    curves = {
        "EDM (here)": (WEIGHTS["edm"](t, width) * share, "green"),
        "noise (official)": (WEIGHTS["epsilon"](t, width) * share, "blue"),
        "data (official)": (WEIGHTS["data"](t, width) * share, "orange"),
        "SURE": (WEIGHTS["edm"](sigma, 1.0), "sky"),
    }
    for name, (values, color) in curves.items():
        axes[0].plot(sigma / s_n, values / values.max(), color=COLOR[color], label=name)
    axes[1].plot(sigma / s_n, sigma / t, color=COLOR["green"])
    for ax in axes:
        ax.axvline(1, **EDGE)
        ax.set(xscale="log", xlabel="σ / σₙ")
    axes[0].set_ylabel("weight of D's error")
    axes[1].set(yscale="log", ylabel="noise of the target / σₙ")
    plotting.log_ticks(axes[0].xaxis, axes[1].xaxis, axes[1].yaxis, at=(1,))
    _below(figure, axes[0])
    return figure


def gaussian() -> Figure:
    """Draw what consistency hands down for one Gaussian whose variance of y is mistaken."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    lower, noises = torch.logspace(-1.5, 0, 100), torch.logspace(-1, 0.45, 100)
    colors = {-0.1: "blue", -0.02: "sky", 0.0: "black", 0.02: "orange", 0.1: "vermillion"}
    for mistake, color in colors.items():
        believed = (1 + mistake) * (1 + 1**2) - 1**2  # variance of y, less that of the noise
        a = believed / (believed + 1)
        name = f"{mistake:+.0%}" if mistake else "exact"
        look: Any = {"color": COLOR[color], "label": name}
        axes[0].plot(lower, a / (lower**2 + (1 - lower**2) * a), **look)
        axes[1].plot(noises, (1 + mistake) * (1 + noises**2) - noises**2, **look)
    axes[0].axvline(1, **EDGE)
    axes[0].set(xscale="log", xlabel="s / σₙ", ylabel="slope a(s)")
    axes[1].set(xscale="log", xlabel="σₙ / width of the data", ylim=(0, 2))
    axes[1].set_ylabel("variance that is sampled")
    plotting.log_ticks(axes[0].xaxis, axes[1].xaxis, at=(1,))
    _below(figure, axes[0], 5)
    return figure


def defects(found: Results) -> Figure:
    """Draw the defect of exact denoisers against the ratio of levels."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ratios = found.labels("ratio")
    for level, color, marker in zip(
        found.labels("level", denoiser=EXACT), ("sky", "blue", "purple"), "^os"
    ):
        line = found.grid("ratio", denoiser=EXACT, level=level)
        look: Any = {"color": COLOR[color], "marker": marker}
        ax.plot(ratios, line, label=f"exact, s = {level:g} σₙ", **look)
    look = {"color": COLOR["vermillion"], "linestyle": "--", "marker": "D"}
    caught = found.grid("ratio", denoiser=GLUED)
    ax.plot(ratios, caught, label="naive below, s = σₙ", **look)
    ax.set(xlabel="s′ / s", ylabel="defect (root mean square)", yscale="log", ylim=(1e-4, None))
    _below(figure, ax)
    return figure


def gradients(found: Results) -> Figure:
    """Draw the error of the four gradients against the weight, and the held-out losses."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.9))
    weights = [float(w) for w in found.labels("weight", gradient=GRADIENTS[0])]
    for name, color, marker in zip(GRADIENTS, ("vermillion", "green", "blue", "purple"), "D^os"):
        columns = [np.log10(errors_of(found, gradient=name, weight=w).geometric) for w in weights]
        look: Any = {"color": COLOR[color], "marker": marker, "label": name}
        plotting.with_band(axes[0], weights, np.stack(columns, 1), **look)
    alone = np.log10(errors_of(found, gradient=AMBIENT).geometric).mean()
    axes[0].axhline(alone, color="black", linestyle="--", label="ambient only")
    axes[0].set(xscale="log", xlabel="weight λ", ylim=(-2.3, 0.3))
    axes[0].set_ylabel("log₁₀ of the error below σₙ")
    for loss, color, marker in (("ambient", "green", "^"), ("consistency", "vermillion", "D")):
        where = {"measure": "held-out loss", "loss": loss}
        change = [
            found.value(gradient=GRADIENTS[0], weight=w, **where)
            - found.value(gradient=AMBIENT, **where)
            for w in weights
        ]
        axes[1].plot(weights, change, color=COLOR[color], marker=marker, label=f"{loss} loss")
    axes[1].axhline(0, color="black", linewidth=0.8)
    axes[1].axvline(found.facts["weight"], **EDGE)
    axes[1].set(xscale="log", xlabel="weight λ", ylabel="change of held-out loss")
    plotting.log_ticks(axes[0].xaxis, axes[1].xaxis, at=(1,))
    axes[0].set_title("four gradients")
    axes[1].set_title("what a user sees")
    handles = [h + g for h, g in zip(*(ax.get_legend_handles_labels() for ax in axes))]
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def race(found: Results) -> Figure:
    """Draw the error of every method by level, and over that of training on clean data."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    ceiling = errors_of(found, method=CLEAN).values
    for method in found.labels("method"):
        errors = errors_of(found, method=method)
        plotting.with_band(axes[0], errors.levels, errors.values, **LOOKS[str(method)])
        if method != CLEAN:
            over = errors.values / ceiling
            plotting.with_band(axes[1], errors.levels, over, **LOOKS[str(method)])
    for ax in axes:
        ax.axvline(1, **EDGE)
        ax.set(xscale="log", yscale="log", xlabel="σ / σₙ")
    axes[1].axhline(1, color="black", linewidth=0.8)
    axes[1].set(ylim=(0.6, 30), title="over clean training's")
    axes[0].set_title("error of D")
    plotting.log_ticks(*(axis for ax in axes for axis in (ax.xaxis, ax.yaxis)), at=(1,))
    _below(figure, axes[0])
    return figure


def sweep(found: Results) -> Figure:
    """Draw the error below s_n against the noise of the data and the number of data."""
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2), sharey="row")
    s_n, number = found.settings["noise"], found.settings["points"]
    noises = sorted(float(s) for s in found.labels("noise", points=number))
    counts = sorted(int(n) for n in found.labels("points", noise=s_n))
    columns: Any = (
        ([{"noise": s, "points": number} for s in noises], [s / DISTANCE for s in noises]),
        ([{"noise": s_n, "points": n} for n in counts], counts),
    )
    for row, summary in enumerate(("below", "geometric")):
        for column, (places, at) in enumerate(columns):
            ax = axes[row, column]
            for method in SWEPT:
                values = [getattr(errors_of(found, method=method, **p), summary) for p in places]
                plotting.with_band(ax, at, np.stack(values, 1), **LOOKS[method])
            ax.set(xscale="log", yscale="log")
            ax.minorticks_off()
            plotting.log_ticks(ax.yaxis, at=(1,))
            ax.set_xticks(at, [f"{v:,}" if column else f"{v:.2f}"[1:] for v in at])
    axes[0, 0].set_ylabel("rms error below σₙ")
    axes[1, 0].set_ylabel("geometric mean below σₙ")
    axes[1, 0].set_xlabel("σₙ / distance of modes")
    axes[1, 1].set_xlabel("number of data")
    _below(figure, axes[0, 0])
    return figure


def samples(found: Results) -> Figure:
    """Draw samples of the first seed, with circles at two standard deviations of the modes."""
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.9))
    turn = torch.linspace(0, 2 * math.pi, 60)
    titles = {
        "real data": ("real data", "black"), CONSISTENCY: ("+ consistency", None),
        AMBIENT: (label(AMBIENT), None), NAIVE: (label(NAIVE), None),
        "stop at s_n, return x": ("stop, return x", "orange"),
        "stop at s_n, return D": ("stop, return D", "orange"),
    }  # fmt: skip
    for ax, (name, (title, color)) in zip(axes.flat, titles.items()):
        shade = COLOR[color] if color else LOOKS[name]["color"]
        plotting.scatter(ax, found.tensor(name), color=shade, limit=2.4)
        for mean in MODES.means:
            circle = mean[0] + 0.5 * turn.cos(), mean[1] + 0.5 * turn.sin()
            ax.plot(*circle, color="black", linewidth=0.6)
        ax.set_title(title)
    return figure


def mismatch(found: Results) -> Figure:
    """Draw the error by level under each kind of noise."""
    kinds = [str(kind) for kind in found.labels("kind")]
    rows = math.ceil(len(kinds) / 2)
    figure, axes = plt.subplots(
        rows, 2, figsize=(FOLDED, 0.8 + 2.2 * rows), sharex=True, sharey=True, squeeze=False
    )
    reference = errors_of(found, kind=ASSUMED, method=CONSISTENCY)
    for ax, kind in zip(axes.flat, kinds):
        mean = reference.values.mean(0)
        ax.plot(reference.levels, mean, color=COLOR["grey"], linestyle="--", linewidth=1)
        for method in SWEPT:
            errors = errors_of(found, kind=kind, method=method)
            plotting.with_band(ax, errors.levels, errors.values, **LOOKS[method])
        ax.axvline(1, **EDGE)
        ax.set(xscale="log", yscale="log", title=kind)
        plotting.log_ticks(ax.xaxis, ax.yaxis, at=(1,))
    for ax in axes[-1]:
        ax.set_xlabel("σ / σₙ")
    for ax in axes[:, 0]:
        ax.set_ylabel("error of D")
    _below(figure, axes[0, 0])
    return figure


def memory(found: Results) -> Figure:
    """Draw training digits, the same in much noise, and what sampling downwards brings back."""
    sigma = found.settings["extreme"][0]
    pictures = {
        "training": found.tensor("training"), f"σ = {sigma:g}": found.tensor("noisy") / 2,
        "trained on clean": found.tensor(CLEAN), "trained on noisy": found.tensor(CONSISTENCY),
        IDEAL_CLEAN: found.tensor(IDEAL_CLEAN),
    }  # fmt: skip
    return rows_of_pictures(pictures, FOLDED)
