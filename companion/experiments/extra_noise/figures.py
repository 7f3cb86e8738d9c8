"""Figures of chapter 1: from results to a figure, a function a figure.

Those of its second page stand in ``detail_figures``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    FREE,
    NONE,
    STRONG,
    TRAINED,
    Arm,
)
from companion.experiments.extra_noise.chains import EPS_ARMS, gains, has, improvements, lengths
from companion.experiments.extra_noise.digits import CURVE, SIZES
from companion.experiments.extra_noise.drift import gaussian_width
from companion.experiments.extra_noise.effects import Effect, strongest
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.reasons import AGAINST, FEW, KINDS, Reason, of_arm
from companion.experiments.extra_noise.ring import RING
from companion.experiments.extra_noise.robustness import DDIM
from companion.experiments.results import Results

__all__ = [
    "collapse",
    "color",
    "diversity",
    "fit",
    "forest",
    "gauss",
    "look",
    "quality",
    "robust",
    "stability",
    "two_noises",
    "worth",
]

WIDTH = 5.6
"""Inches: so narrow that the text is legible on a phone."""
COLORS = {
    "none": "black",
    "B x_0": "sky",
    "B eps": "orange",
    "C": "green",
    "A": "blue",
    "A off": "grey",
    "D": "purple",
    "free": "vermillion",
    "rival": "grey",
}
SHOWN = (NONE, *STRONG, Arm("C", 0.3))
"""Arms that are drawn where all would be too many."""
Row = tuple[str, "Effect | None", str]
"""Name, effect (None: a heading) and colour of a row of a forest plot."""


def look(arm: Arm) -> dict[str, Any]:
    """Return the colour of a kind and the line of a strength, as arguments of ``ax.plot``."""
    line = ":" if arm.strength == 0.1 else "-"
    return {"color": color(arm.kind), "linestyle": line, "label": str(arm)}


def color(name: str) -> str:
    """Return a colour of the palette by what it stands for."""
    return plotting.PALETTE[COLORS[name]]


def forest(ax: Axes, rows: Sequence[Row], label: str) -> None:
    """Draw an interval a row, where 0 means no effect; a row without an effect is a heading."""
    for y, (_, effect, kind) in enumerate(rows):
        if effect is None or not effect.finite:
            continue
        mean, low, high = effect.shown
        ax.errorbar(
            mean, y, xerr=[[mean - low], [high - mean]], fmt="o", capsize=2.5, markersize=4,
            color=color(kind),
        )  # fmt: skip
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    for tick, (_, effect, _) in zip(ax.get_yticklabels(), rows):
        tick.set_fontweight("bold" if effect is None else "normal")
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(label)


def alone(rows: Sequence[Row], label: str) -> Figure:
    """Draw a forest plot that is a figure."""
    figure, ax = plt.subplots(figsize=(WIDTH, 0.7 + 0.235 * len(rows)))
    forest(ax, rows, label)
    return figure


def legend_above(figure: Figure, ax: Axes, columns: int = 2) -> None:
    """Put the legend of some axes above the figure, where it lies over no curve."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=columns)


def kind_rows(reason: Reason, experiment: str, kinds: Sequence[str]) -> list[Row]:
    """Effects of an experiment for some kinds of noise, each strength."""
    return [
        (", ".join(filter(None, (KINDS[kind], effect.label))), effect, kind)
        for kind in kinds
        for effect in reason.effects.get(kind, {}).get(experiment, [])
    ]


# --- input perturbation ---------------------------------------------------------------------------


def two_noises(gamma: float = 0.75) -> Figure:
    """Draw what is added to a point, and what the network sees of it.

    Parameters
    ----------
    gamma : float
        Strength; the default makes a right triangle of sides 1, 3/4 and 5/4.
    """
    k = float(np.hypot(1, gamma))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.95), sharex=True, sharey=True)
    turn = np.deg2rad(-8)
    first = np.array([np.cos(turn), np.sin(turn)])
    end = first + gamma * np.array([-first[1], first[0]])

    def arrow(ax: Axes, begin: np.ndarray, tip: np.ndarray, name: str) -> None:
        style = {"arrowstyle": "-|>", "color": color(name), "linewidth": 2, "shrinkB": 0}
        ax.annotate(
            "", tuple(tip), tuple(begin), arrowprops={**style, "shrinkA": 0, "mutation_scale": 14}
        )

    left, right = axes
    arrow(left, np.zeros(2), first, "A")
    arrow(left, first, end, "B eps")
    left.text(0.5, -0.27, "σ ε", color=color("A"), ha="center")
    left.text(1.16, 0.24, "σ γ ξ", color=color("B eps"))
    left.set_title("What is added")
    circle = {"fill": False, "linewidth": 1.2}
    right.add_patch(plt.Circle((0, 0), 1, linestyle="--", color="#666666", **circle))
    right.add_patch(plt.Circle((0, 0), k, color=color("free"), **circle))
    arrow(right, np.zeros(2), end, "free")
    right.text(0.22, 0.55, "k σ z", color=color("free"))
    right.text(0, -0.93, "told: σ", color="#444444", ha="center", va="bottom")
    right.text(0, -k - 0.08, "true: k σ", color=color("free"), ha="center", va="top")
    right.set_title("What the network sees")
    for ax in axes:
        ax.plot(0, 0, "o", color="black", markersize=7)
        ax.plot(*end, "o", color="#666666", markersize=7)
        ax.text(-0.1, 0.1, "x₀", ha="right")
        ax.text(end[0] + 0.07, end[1] + 0.06, "x")
        ax.set(xlim=(-1.35, 1.75), ylim=(-1.6, 1.35), aspect="equal")
        ax.axis("off")
    return figure


def gauss(data_std: float = 0.5) -> Figure:
    """Width of DDPM's samples by the number of steps, for Gaussian data, by formula."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.9))
    steps = [5, 7, 10, 14, 20, 30, 50, 100, 200, 500, 1000]
    for arm in (NONE, *B_ARMS):
        widths = [gaussian_width(n, arm, data_std) for n in steps]
        ax.plot(steps, widths, **{**look(arm), "label": str(arm) if arm.strength else "plain"})
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="steps of the chain", ylabel="width / true width")
    ticks = [5, 10, 20, 50, 100, 1000]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    legend_above(figure, ax, 3)
    return figure


def quality(problems: Mapping[str, Results]) -> Figure:
    """Change of the distance to the data by problem and chain: trained with B (ε), and for free."""
    plain, _ = improvements(problems)
    looks = [(TRAINED, EPS_ARMS[0], "s"), (TRAINED, EPS_ARMS[1], "o")]
    looks += [(FREE, EPS_ARMS[0], "s"), (FREE, EPS_ARMS[1], "o")]
    figure, axes = plt.subplots(len(problems), 1, figsize=(WIDTH, 0.7 + 1.75 * len(problems)))
    for ax, (name, results) in zip(np.atleast_1d(axes), problems.items()):
        known = gains(results, len(plain) * len(EPS_ARMS))
        for i, (way, arm, marker) in enumerate(looks):
            paint = color("free" if way == FREE else arm.kind)
            label = f"{'trained' if way == TRAINED else 'free'}, {arm.size}"
            for x, n in enumerate(lengths(results)):
                if not has(results, way, arm, steps=n) or not known[way, arm, n].finite:
                    continue
                mean, low, high = known[way, arm, n].shown
                ax.errorbar(
                    x + 0.15 * (i - 1.5), mean, yerr=[[mean - low], [high - mean]], fmt=marker,
                    color=paint, capsize=2.5, markersize=5, label=label,
                    markerfacecolor="white" if arm == EPS_ARMS[0] else paint,
                )  # fmt: skip
                label = "_"
        ax.axhline(0, color="black", linewidth=0.8)
        ax.grid(axis="x", visible=False)
        ax.set_xticks(range(len(lengths(results))), [f"{n} steps" for n in lengths(results)])
        ax.set(title=f"{name[0].upper()}{name[1:]}", ylabel="distance, %")
    legend_above(figure, np.atleast_1d(axes)[0])
    return figure


# --- the five reasons -----------------------------------------------------------------------------


def fit(reason: Reason) -> Figure:
    """Change of the held-out error: each kind at its better strength, and its rivals."""
    families = dict.fromkeys(name.rpartition(" ")[0].rstrip(",") for name in RIVALS)
    rows: list[Row] = []
    for i, n in enumerate(SIZES):
        digits = f"{n} digits"
        rows.append((f"Trained on {digits}", None, "none"))
        rows.append(("A, against one level", reason.best("A", digits), "A"))
        for kind in ("B x_0", "B eps", "C"):
            best = reason.best(kind, digits)
            rows.append((f"{KINDS[kind]}, {best.label}", best, kind))
            if free := reason.rivals.get(f"free {KINDS[kind]}, {digits}"):
                rows.append((f"free {KINDS[kind]}", strongest(free), "free"))
        for family in families:
            tried = [reason.rivals[name][i] for name in RIVALS if name.startswith(family)]
            rows.append((f"rival: {family}", strongest(tried), "rival"))
    return alone(rows, "change of the held-out error, %")


def worth(errors: Results) -> Figure:
    """Learning curve of the plain network, and where the other conditions meet it."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4))
    curve = np.stack([of_arm(errors, NONE, n) for n in CURVE], 1)
    plotting.with_band(ax, np.array(CURVE), curve, color="black", marker="o", label="plain")
    shown = [(arm, TRAINED, marker) for arm, marker in zip(SHOWN[1:], "ss^")]
    shown.insert(2, (STRONG[1], FREE, "D"))
    for n in SIZES:
        for i, (arm, way, marker) in enumerate(shown):
            y = float(np.exp(np.log(of_arm(errors, arm, n, way)).mean()))
            x = n * 1.03 ** (i - 1.5)
            paint = color("free" if way == FREE else arm.kind)
            name = f"{'free ' if way == FREE else ''}{KINDS[arm.kind]}"
            ax.plot(x, y, marker, color=paint, label=name if n == FEW else None)
            ax.hlines(y, x, CURVE[-1], color=paint, linewidth=0.8, alpha=0.6)
    ax.set(xscale="log", xlabel="digits in the training set")
    ax.set_ylabel("held-out error")
    ax.set_xticks(CURVE, [str(n) for n in CURVE])
    ax.minorticks_off()
    legend_above(figure, ax, 5)
    return figure


def collapse(results: Results) -> Figure:
    """Samples of the ring with the fresh noise of DDPM scaled, and of DDIM; of ``NoiseScale``."""
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.9), sharex=True, sharey=True)
    axes.flat[-1].axis("off")
    for ax, name in zip(axes.flat, ("0", "0.5", "1", "1.25", DDIM)):
        for mean in RING.means:
            circle = plt.Circle(tuple(mean.tolist()), 2 * float(RING.stds[0]), color="#DDDDDD")
            ax.add_patch(circle)
        if name in results.arrays:
            ax.scatter(*results.arrays[name].T, s=3, color=plotting.PALETTE["blue"])
        title = name if name == DDIM else f"noise × {name}"
        ax.set(title=title, xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal", xticks=[])
        ax.set_yticks([])
        ax.title.set_fontweight("normal")
        ax.spines[:].set_visible(False)
    return figure


def diversity(reason: Reason) -> Figure:
    """Change of the balance of the modes and of recall, for each kind of noise."""
    rows: list[Row] = []
    for name, title in (
        ("balance, ring", "Balance of the modes, ring"),
        ("recall, digits", "Recall, digits"),
    ):
        rows += [(title, None, "none"), *kind_rows(reason, name, list(KINDS))]
        against = reason.effects["D"][f"{name}{AGAINST}{DDIM}"]
        rows += [(f"D, against {DDIM}", effect, "D") for effect in against]
    return alone(rows, "change, percentage points")


def robust(reason: Reason) -> Figure:
    """Change of samples astray, of what is left of a push, and of errors far from the data."""
    rows: list[Row] = [("Samples astray after outliers", None, "none")]
    rows += kind_rows(reason, "samples astray", ("B x_0", "B eps", "C"))
    rows.append(("rival: filter", reason.rivals["outliers filtered"][0], "rival"))
    rows.append(("What is left of a push", None, "none"))
    rows += kind_rows(reason, "left of a push", ("B x_0", "B eps", "C"))
    for experiment, effects in reason.effects["D"].items():
        rows += [(f"D{AGAINST}{experiment.partition(AGAINST)[2]}", e, "D") for e in effects]
    rows.append(("Error far from the data", None, "none"))
    rows += kind_rows(reason, "error far from the data", ("A",))
    return alone(rows, "change, %")


def stability(reason: Reason) -> Figure:
    """Change of the gradient noise scale and of the share of failed runs."""
    kinds = ("A", "B x_0", "B eps", "C")
    scale, failed = (
        kind_rows(reason, name, kinds) for name in ("gradient noise scale", "failed runs")
    )
    failed.append(("rival: clipping", reason.rivals["gradient clipping"][0], "rival"))
    sizes = [len(scale), len(failed)]
    height = 1.4 + 0.235 * sum(sizes)
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, height), height_ratios=sizes)
    forest(axes[0], scale, "change of the gradient noise scale, %")
    forest(axes[1], failed, "change of the share of failed runs, points")
    return figure
