"""Figures of the second page of chapter 1, a function a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.extra_noise.arms import (
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
from companion.experiments.extra_noise.digits import SIZES
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.figures import (
    SHOWN,
    WIDTH,
    Row,
    alone,
    color,
    legend_above,
    look,
)
from companion.experiments.extra_noise.reasons import FEW, KINDS, Reason
from companion.experiments.extra_noise.robustness import DDIM, DDPM, MEAN
from companion.experiments.extra_noise.sampling import TOP
from companion.experiments.extra_noise.stability import TRIED, WATCHED
from companion.experiments.results import Results

__all__ = [
    "all_distances",
    "all_errors",
    "drift",
    "exposure",
    "far",
    "gradients",
    "overfitting",
    "player",
    "pushes",
    "scan",
]


def _curves(results: Results, ax: Axes, arms: Sequence[Arm], measure: str, **where: Any) -> None:
    """Draw a measure against the level for some arms, with 95 % bands over seeds."""
    for arm in arms:
        values = results.grid("seed", "level", measure=measure, **where, **arm.where)
        levels = np.array(results.labels("level", measure=measure, **where, **arm.where))
        plotting.with_band(ax, levels, values, **look(arm))


# --- errors ---------------------------------------------------------------------------------------


def overfitting(errors: Results) -> Figure:
    """Held-out over training error by level, on few digits; of ``DigitErrors``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.7))
    levels = np.array(errors.labels("level", measure="training error"))
    for arm in SHOWN:
        where = {"denoiser": TRAINED, "digits": FEW, **arm.where}
        unseen, seen = (
            errors.grid("seed", "level", measure=m, **where)
            for m in ("held-out error", "training error")
        )
        plotting.with_band(ax, levels, unseen / seen, **look(arm))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="noise level σ", ylabel="held-out / training error")
    legend_above(figure, ax)
    return figure


def all_errors(reason: Reason) -> Figure:
    """Change of the held-out error: each kind at each strength, and every rival."""
    rows: list[Row] = []
    for i, n in enumerate(SIZES):
        digits = f"{n} digits"
        rows.append((f"Trained on {digits}", None, "none"))
        rows.append(("A, against one level", reason.effects["A"][digits][0], "A"))
        for kind in ("B x_0", "B eps", "C"):
            rows += [(f"{KINDS[kind]}, {e.label}", e, kind) for e in reason.effects[kind][digits]]
            free = reason.rivals.get(f"free {KINDS[kind]}, {digits}", [])
            rows += [(f"free {KINDS[kind]}, {e.label}", e, "free") for e in free]
        rows += [(name, reason.rivals[name][i], "rival") for name in RIVALS]
    return alone(rows, "change of the held-out error, %")


def far(results: Results) -> Figure:
    """Relative error by distance from the data, of ``FarErrors``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.5))
    levels = np.array(results.labels("level"))
    labels = {NONE: ("many levels", "A"), ONE_LEVEL: (f"one level, σ = {SMALL:g}", "A off")}
    for arm, (label, kind) in labels.items():
        values = results.grid("seed", "level", **arm.where)
        plotting.with_band(ax, levels, values, color=color(kind), marker="o", label=label)
    bound = np.exp(-(levels**2) / (2 * SMALL**2))
    ax.plot(levels, bound, ":", color="black", label="share trained beyond")
    ax.set(xscale="log", xlabel="distance scale σ", ylabel="relative error", ylim=(0, 1.05))
    legend_above(figure, ax)
    return figure


# --- the noise of the sampler ---------------------------------------------------------------------


def drift(results: Results) -> Figure:
    """Paths of three samplers, and the spread of Gaussian data by level; of ``MeanAlone``."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    levels = np.array(results.labels("level"))
    colors = {DDIM: "blue", DDPM: "orange", MEAN: "vermillion"}
    for name, paint in colors.items():
        wide, faint = (0.7, 0.6) if name == DDPM else (1.3, 1.0)
        path = results.arrays[name]
        lines = top.plot(levels, path, color=plotting.PALETTE[paint], linewidth=wide, alpha=faint)
        lines[0].set_label(name)
    top.set(xscale="log", yscale="symlog", xlabel="noise level σ", ylabel="state x")
    c = results.settings["data_std"]
    true = np.hypot(c, levels)
    bottom.plot(levels, true, color="black", label="true spread")
    paint = plotting.PALETTE["vermillion"]
    bottom.plot(levels, true**2 / np.hypot(c, TOP), color=paint, label="mean alone, formula")
    for first, (name, marker) in enumerate(zip(colors, "os^")):
        marks = slice(6 * first, None, 18)
        spread = results.where(sampler=name)["value"].to_numpy()
        paint = plotting.PALETTE[colors[name]]
        bottom.plot(levels[marks], spread[marks], marker, color=paint, label=name)
    bottom.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="spread")
    for ax in (top, bottom):
        ax.invert_xaxis()
    legend_above(figure, bottom)
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
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2))
    titles = {
        "balance": "balance of the modes",
        "width": "width of the modes",
        "recall": "recall, digits",
        "Vendi": "Vendi score, digits",
    }
    for ax, (measure, title) in zip(axes.flat, titles.items()):
        scales = np.array(results.labels("noise_scale", measure=measure, sampler=DDPM))
        values = results.grid("seed", "noise_scale", measure=measure, sampler=DDPM)
        plotting.with_band(ax, scales, values, color=color("D"), marker="o", label=DDPM)
        ddim = results.values(measure=measure, sampler=DDIM).mean()
        ax.axhline(ddim, color=plotting.PALETTE["blue"], linestyle="--", label=DDIM)
        ax.set_title(title, fontweight="normal")
    for ax in axes[1]:
        ax.set_xlabel("noise_scale")
    axes.flat[1].axhline(1, color="black", linewidth=0.8)
    legend_above(figure, axes.flat[0])
    return figure


def pushes(results: Results) -> Figure:
    """Share of a push that is left at the end, by its level; of ``Pushes``."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.2))
    levels = np.array(results.labels("level"), float)
    lines = [(DDPM, arm, {"marker": "o", **look(arm)}) for arm in SHOWN]
    for name, paint in ((DDIM, "blue"), (MEAN, "vermillion")):
        style = {"marker": "s", "label": f"none, {name}", "color": plotting.PALETTE[paint]}
        lines.append((name, NONE, style))
    for sampler, arm, style in lines:
        values = results.grid("seed", "level", sampler=sampler, **arm.where)
        plotting.with_band(ax, levels, values, band=0.1, **style)
    ax.set(xscale="log", xlabel="level σ of the push", ylabel="share left")
    ax.set_xticks(levels, [f"{v:g}" for v in levels])
    ax.minorticks_off()
    ax.invert_xaxis()
    legend_above(figure, ax)
    return figure


def gradients(known: Results, failures: Results) -> Figure:
    """Failed runs by learning rate, and variances of gradients by level."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 7))
    rates = failures.labels("rate")
    for arm in TRIED:
        failed = failures.grid("rate", "seed", clipped=False, **arm.where).mean(1)
        name = f"one level, σ = {SMALL:g}" if arm == ONE_LEVEL else str(arm)
        top.plot(rates, failed, marker="o", **{**look(arm), "label": name})
    failed = failures.grid("rate", "seed", clipped=True, **NONE.where).mean(1)
    top.plot(rates, failed, "kx", label="none, clipped")
    top.set(xscale="log", xlabel="learning rate", ylabel="share of failed runs")
    _curves(known, bottom, WATCHED, "variance")
    bottom.set(xscale="log", yscale="log", xlabel="noise level σ")
    bottom.set_ylabel("variance of the gradient")
    legend_above(figure, top)
    return figure


# --- chains ---------------------------------------------------------------------------------------


def exposure(ring: Results, digits: Results, *exact: Results) -> Figure:
    """Exposure bias by level, problem and length of the chain."""
    chains = lengths(ring)
    figure, axes = plt.subplots(
        len(chains), 2, figsize=(WIDTH, 0.8 + 2 * len(chains)), sharex=True, sharey="col",
        squeeze=False,
    )  # fmt: skip
    for line, name, results, known in zip(axes.T, ("ring", "digits"), (ring, digits), exact):
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
            ax.title.set_fontweight("normal")
    for ax in axes[:, 0]:
        ax.set_ylabel("ln norm ratio")
    axes[0, 0].invert_xaxis()
    for ax in axes[-1]:
        ax.set_xlabel("noise level σ")
    legend_above(figure, axes[0, 0])
    return figure


def all_distances(name: str, results: Results) -> Figure:
    """Change of the distance to the data by length of the chain: every arm and free rival."""
    known = gains(results)
    rows: list[Row] = []
    for steps in lengths(results):
        rows.append((f"{name}, {steps} steps", None, "none"))
        for arm in EXTRA:
            ways = ((TRAINED, str(arm), arm.kind), (FREE, f"free {arm}", "free"))
            for way, title, kind in ways:
                if (way, arm, steps) in known:
                    rows.append((title, known[way, arm, steps], kind))
    return alone(rows, "change of the distance to the data, %")
