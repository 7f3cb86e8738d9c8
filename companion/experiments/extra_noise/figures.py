"""Figures of chapter 1: from results to a figure, a function a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXTRA,
    FREE,
    NONE,
    ONE_LEVEL,
    SMALL,
    STRONG,
    TRAINED,
    Arm,
)
from companion.experiments.extra_noise.chains import gains, has, lengths
from companion.experiments.extra_noise.digits import CURVE, SIZES
from companion.experiments.extra_noise.drift import gaussian_width
from companion.experiments.extra_noise.effects import Effect
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.reasons import FEW, KINDS, Reason, of_arm
from companion.experiments.extra_noise.ring import RING
from companion.experiments.extra_noise.robustness import DDIM, DDPM, MEAN
from companion.experiments.extra_noise.sampling import TOP
from companion.experiments.extra_noise.stability import TRIED, WATCHED
from companion.experiments.results import Results

__all__ = [
    "collapse",
    "diversity",
    "drift",
    "exposure",
    "far",
    "fit",
    "gauss",
    "player",
    "quality",
    "robust",
    "scan",
    "stability",
    "worth",
]

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
    color = plotting.PALETTE[COLORS[arm.kind]]
    return {"color": color, "linestyle": line, "label": str(arm)}


def color(name: str) -> str:
    """Return a colour of the palette by what it stands for."""
    return plotting.PALETTE[COLORS[name]]


def forest(ax: Axes, rows: Sequence[Row], label: str, size: str = "small") -> None:
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
    ax.tick_params(axis="y", labelsize=size)
    ax.set_xlabel(label)


def _rows(reason: Reason, experiment: str, kinds: Sequence[str]) -> list[Row]:
    """Effects of an experiment for some kinds of noise, each strength."""
    return [
        (f"{KINDS[kind]} {effect.label}".strip(), effect, kind)
        for kind in kinds
        for effect in reason.effects[kind].get(experiment, [])
    ]


def _curves(results: Results, ax: Axes, arms: Sequence[Arm], measure: str, **where: Any) -> None:
    """Draw a measure against the level for some arms, with 95 % bands over seeds."""
    for arm in arms:
        values = results.grid("seed", "level", measure=measure, **where, **arm.where)
        levels = np.array(results.labels("level", measure=measure, **where, **arm.where))
        plotting.with_band(ax, levels, values, **look(arm))


# --- 1 and 4 --------------------------------------------------------------------------------------


def fit(errors: Results, reason: Reason) -> Figure:
    """Held-out over training error by level, and the change of the held-out error."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 7.4), width_ratios=[1, 1.2])
    levels = np.array(errors.labels("level", measure="training error"))
    for arm in SHOWN:
        where = {"denoiser": TRAINED, "digits": FEW, **arm.where}
        unseen, seen = (
            errors.grid("seed", "level", measure=m, **where)
            for m in ("held-out error", "training error")
        )
        plotting.with_band(left, levels, unseen / seen, **look(arm))
    left.set(xscale="log", xlabel="noise level σ", ylabel="held-out error / training error")
    left.legend(fontsize="small")
    rows: list[Row] = []
    for i, n in enumerate(SIZES):
        digits = f"{n} digits"
        rows.append((digits, None, "none"))
        rows.append(("A against one small level", reason.effects["A"][digits][0], "A"))
        for kind in ("B x_0", "B eps", "C"):
            rows += [(f"{KINDS[kind]}, {e.label}", e, kind) for e in reason.effects[kind][digits]]
            free = reason.rivals.get(f"free {KINDS[kind]}, {digits}", [])
            rows += [(f"free {KINDS[kind]}, {e.label}", e, "free") for e in free]
        rows += [(name, reason.rivals[name][i], "rival") for name in RIVALS]
    forest(right, rows, "held-out error, %", "x-small")
    return figure


def worth(errors: Results) -> Figure:
    """Learning curve of the plain network, and where the other conditions meet it."""
    figure, ax = plt.subplots(figsize=(7, 4))
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
    ax.set(xscale="log", xlabel="training digits")
    ax.set_ylabel("held-out error (geometric mean over levels)")
    ax.set_xticks(CURVE, [str(n) for n in CURVE])
    ax.minorticks_off()
    ax.legend(fontsize="small")
    return figure


# --- 2 --------------------------------------------------------------------------------------------


def collapse(results: Results) -> Figure:
    """Samples of the ring with the fresh noise of DDPM scaled, and of DDIM; of ``NoiseScale``."""
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.4), sharex=True, sharey=True)
    for ax, name in zip(axes, ("0", "0.5", "1", "1.25", DDIM)):
        for mean in RING.means:
            circle = plt.Circle(tuple(mean.tolist()), 2 * float(RING.stds[0]), color="#DDDDDD")
            ax.add_patch(circle)
        if name in results.arrays:
            ax.scatter(*results.arrays[name].T, s=3, color=plotting.PALETTE["blue"])
        title = name if name == DDIM else f"noise_scale = {name}"
        ax.set(title=title, xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal", xticks=[])
        ax.set_yticks([])
        ax.title.set_fontsize("small")
    return figure


def drift(results: Results) -> Figure:
    """Paths of three samplers, and the spread of Gaussian data by level; of ``MeanAlone``."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
    levels = np.array(results.labels("level"))
    colors = {DDIM: "blue", DDPM: "orange", MEAN: "vermillion"}
    for name, paint in colors.items():
        wide, faint = (0.7, 0.6) if name == DDPM else (1.3, 1.0)
        path = results.arrays[name]
        lines = left.plot(levels, path, color=plotting.PALETTE[paint], linewidth=wide, alpha=faint)
        lines[0].set_label(name)
    left.set(xscale="log", yscale="symlog", xlabel="noise level σ", ylabel="state x (symlog)")
    c = results.settings["data_std"]
    true = np.hypot(c, levels)
    right.plot(levels, true, color="black", label="true spread")
    paint = plotting.PALETTE["vermillion"]
    right.plot(levels, true**2 / np.hypot(c, TOP), color=paint, label="mean alone, formula")
    for first, (name, marker) in enumerate(zip(colors, "os^")):
        marks = slice(6 * first, None, 18)
        spread = results.where(sampler=name)["value"].to_numpy()
        paint = plotting.PALETTE[colors[name]]
        right.plot(levels[marks], spread[marks], marker, color=paint, label=name)
    right.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="spread")
    for ax in (left, right):
        ax.invert_xaxis()
        ax.legend(fontsize="small")
    return figure


def player(results: Results, target: Any) -> plotting.TrajectoryPlayer:
    """Return paths onto the ring that a reader can play, of ``ScaledNoise``."""
    scales, steps = results.settings["scales"], results.settings["steps"]
    arrays = results.arrays
    return plotting.TrajectoryPlayer(
        {
            (s, n): {"ddpm": arrays[f"{s:g}, {n}"], "ddim": arrays[f"{DDIM}, {n}"]}
            for s in scales
            for n in steps
        },
        {(s, n): arrays[f"levels, {n}"] for s in scales for n in steps},
        title="DDPM with its fresh noise scaled, beside DDIM",
        alt="Points that start in a wide cloud and move onto eight spots on a ring. Without fresh "
        "noise DDPM's points rush to the middle and end in a few narrow places; with all of it "
        "they fill the spots as DDIM's do.",
        labels={"ddpm": "DDPM, noise scaled"},
        controls={"noise_scale": scales, "N": steps},
        target=target,
    )


def scan(results: Results) -> Figure:
    """Diversity against the scale of the fresh noise, and of DDIM; of ``NoiseScale``."""
    figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9))
    titles = {
        "balance": "balance of the modes",
        "width": "width of the modes",
        "recall": "recall",
        "Vendi": "Vendi score",
    }
    for ax, (measure, title) in zip(axes, titles.items()):
        scales = np.array(results.labels("noise_scale", measure=measure, sampler=DDPM))
        values = results.grid("seed", "noise_scale", measure=measure, sampler=DDPM)
        plotting.with_band(ax, scales, values, color=color("D"), marker="o", label=DDPM)
        ddim = results.values(measure=measure, sampler=DDIM).mean()
        ax.axhline(ddim, color=plotting.PALETTE["blue"], linestyle="--", label=DDIM)
        ax.set(title=title, xlabel="noise_scale")
    axes[1].axhline(1, color="black", linewidth=0.8)
    axes[0].legend(fontsize="small")
    return figure


def diversity(reason: Reason) -> Figure:
    """Change of the balance of the modes and of recall, for each kind of noise."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9))
    for ax, name in zip(axes, ("balance, ring", "recall, digits")):
        rows = _rows(reason, name, list(KINDS))
        for effect in reason.effects["D"][f"{name}, against {DDIM}"]:
            rows.append(("D, 1 against DDIM", effect, "D"))
        forest(ax, rows, f"{name}, points")
    return figure


# --- 3 and 5 --------------------------------------------------------------------------------------


def robust(pushes: Results, reason: Reason) -> Figure:
    """Share of a push that is left, and the change of samples astray after outliers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7))
    levels = np.array(pushes.labels("level"), float)
    lines = [(DDPM, arm, {"marker": "o", **look(arm)}) for arm in SHOWN]
    for name, paint in ((DDIM, "blue"), (MEAN, "vermillion")):
        style = {"marker": "s", "label": f"none, {name}", "color": plotting.PALETTE[paint]}
        lines.append((name, NONE, style))
    for sampler, arm, style in lines:
        values = pushes.grid("seed", "level", sampler=sampler, **arm.where)
        plotting.with_band(left, levels, values, band=0.1, **style)
    left.set(xscale="log", xlabel="level σ of the push", ylabel="share left")
    left.set_xticks(levels, [f"{v:g}" for v in levels])
    left.minorticks_off()
    left.invert_xaxis()
    left.legend(fontsize="x-small")
    rows = _rows(reason, "samples astray", ("B x_0", "B eps", "C"))
    rows.append(("rival: outliers filtered", reason.rivals["outliers filtered"][0], "rival"))
    forest(right, rows, "samples astray, %")
    return figure


def far(results: Results) -> Figure:
    """Relative error by distance from the data, of ``FarErrors``."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
    levels = np.array(results.labels("level"))
    labels = {NONE: ("many levels", "A"), ONE_LEVEL: (f"one level, σ = {SMALL:g}", "A off")}
    for arm, (label, kind) in labels.items():
        values = results.grid("seed", "level", **arm.where)
        plotting.with_band(ax, levels, values, color=color(kind), marker="o", label=label)
    bound = np.exp(-(levels**2) / (2 * SMALL**2))
    ax.plot(levels, bound, ":", color="black", label="share trained beyond")
    ax.set(xscale="log", xlabel="distance scale σ", ylabel="relative error", ylim=(0, 1.05))
    ax.legend()
    return figure


def stability(gradients: Results, failures: Results, reason: Reason) -> Figure:
    """Failed runs by learning rate, gradient noise scales, and variances by level."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=[1, 1.1, 1])
    first, second, third = axes
    rates = failures.labels("rate")
    for arm in TRIED:
        failed = failures.grid("rate", "seed", clipped=False, **arm.where).mean(1)
        first.plot(rates, failed, marker="o", **look(arm))
    failed = failures.grid("rate", "seed", clipped=True, **NONE.where).mean(1)
    first.plot(rates, failed, "kx", label="none, clipped")
    first.set(xscale="log", xlabel="learning rate", ylabel="share of failed runs")
    first.legend(fontsize="x-small")
    rows = _rows(reason, "gradient noise scale", ("A", "B x_0", "B eps", "C"))
    forest(second, rows, "gradient noise scale, %")
    _curves(gradients, third, WATCHED, "variance")
    third.set(xscale="log", yscale="log", xlabel="noise level σ")
    third.set_ylabel("variance of the gradient")
    third.legend(fontsize="x-small")
    return figure


# --- chains ---------------------------------------------------------------------------------------


def gauss(data_std: float = 0.5) -> Figure:
    """Width of DDPM's samples by the number of steps, for Gaussian data, by formula."""
    figure, ax = plt.subplots(figsize=(6.6, 3.5))
    steps = [5, 7, 10, 14, 20, 30, 50, 100, 200, 500, 1000]
    for arm in (NONE, *B_ARMS):
        ax.plot(steps, [gaussian_width(n, arm, data_std) for n in steps], **look(arm))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="steps", ylabel="width / true width")
    ticks = [5, 10, 20, 50, 100, 1000]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.legend(fontsize="small")
    return figure


def exposure(ring: Results, digits: Results, *exact: Results) -> Figure:
    """Exposure bias by level, problem and length of the chain."""
    chains = lengths(ring)
    figure, axes = plt.subplots(
        2, len(chains), figsize=(3.5 * len(chains), 5.2), sharex=True, sharey="row", squeeze=False
    )
    for line, name, results, known in zip(axes, ("ring", "digits"), (ring, digits), exact):
        for ax, steps in zip(line, chains):
            where = {"measure": "exposure bias", "steps": steps}
            shown = [arm for arm in (NONE, *STRONG) if has(results, TRAINED, arm, **where)]
            for arm in shown:
                there = {**where, "denoiser": TRAINED, **arm.where}
                values = results.grid("seed", "level", **there)
                levels = np.array(results.labels("level", **there))
                plotting.with_band(ax, levels, values, band=0.12, **look(arm))
            if steps in lengths(known):
                rows = known.where(**where, **NONE.where).groupby("level", sort=False)["value"]
                mean, paint = rows.mean(), plotting.PALETTE["blue"]
                ax.plot(mean.index, mean, "--", color=paint, label="exact denoiser")
            ax.axhline(0, color="black", linewidth=0.8)
            ax.set(xscale="log", title=f"{name}, {steps} steps")
        line[0].set_ylabel("ln norm ratio")
    axes[0, 0].invert_xaxis()
    for ax in axes[1]:
        ax.set_xlabel("noise level σ")
    axes[0, 0].legend(fontsize="x-small")
    return figure


def quality(ring: Results, digits: Results) -> Figure:
    """Change of the distance to the data by length of the chain, for each arm and free rival."""
    figure, axes = plt.subplots(1, 2, figsize=(8.8, 6.8))
    for ax, (name, results) in zip(axes, (("ring", ring), ("digits", digits))):
        known = gains(results)
        rows: list[Row] = []
        for steps in lengths(results):
            rows.append((f"{steps} steps", None, "none"))
            for arm in EXTRA:
                for way, title, kind in (
                    (TRAINED, str(arm), arm.kind),
                    (FREE, f"free {arm}", "free"),
                ):
                    if (way, arm, steps) in known:
                        rows.append((title, known[way, arm, steps], kind))
        forest(ax, rows, "distance to the data, %", "x-small")
        ax.set_title(name)
    return figure
