"""Figures of chapter 9, each made from results."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.your_images.losses import AMBIENT, NOISE2SELF
from companion.experiments.your_images.race import FILTER, NOISY, OURS, RIVALS
from companion.statistics import mean_interval, paired_difference

__all__ = ["before_after", "levels_found", "losses", "pictures", "race", "uncertainty", "without"]

COLOURS = dict(
    zip(
        (OURS, FILTER, *reversed(RIVALS)),
        (plotting.PALETTE[c] for c in ("blue", "orange", "green", "vermillion", "purple")),
    )
)
MARKS = dict(zip(COLOURS, "osD^v"))


def _show(axes: Any, image: np.ndarray, title: str, **options: Any) -> None:
    axes.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 255, **options})
    axes.set_title(title, fontsize=14)
    axes.set_axis_off()


def pictures(race: Results) -> None:
    """One picture with its noise, restored by the tool and by non-local means, and the truth."""
    _, axes = plt.subplots(2, 2, figsize=(5.6, 6.0), layout="constrained")
    names = {"noisy": "noisy", "restored": OURS, "rival": RIVALS[-1], "clean": "truth, never seen"}
    for one, (key, title) in zip(axes.flat, names.items()):
        _show(one, race.arrays[key], title)


def race(results: Results) -> None:
    """PSNR over that of the noisy pictures, of each method at each level."""
    levels = results.labels("level", measure="psnr")
    figure, axes = plt.subplots(figsize=(5.6, 4.2), layout="constrained")
    for k, (name, colour) in enumerate(COLOURS.items()):
        means, low, high = [], [], []
        for level in levels:
            ours, noisy = (
                results.grid("picture", measure="psnr", level=level, method=m)
                for m in (name, NOISY)
            )
            gain = paired_difference(ours, noisy)
            means.append(gain.mean)
            low.append(gain.mean - gain.low)
            high.append(gain.high - gain.mean)
        places = np.arange(len(levels)) + 0.12 * (k - 2)
        axes.errorbar(
            places, means, [low, high], fmt=MARKS[name], color=colour, label=name, markersize=7
        )
    axes.set_xticks(range(len(levels)), [f"{v:g}" for v in levels])
    axes.set_xlabel("noise level, grey values of 255")
    axes.set_ylabel("PSNR gained, dB")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, fontsize=12)


def losses(results: Results) -> None:
    """The tool minus each other way to train a network of its size, picture by picture."""
    names = results.labels("picture")
    figure, axes = plt.subplots(figsize=(5.6, 4.0), layout="constrained")
    ours = results.grid("picture", method=OURS)
    for k, (rival, mark, colour) in enumerate(
        [(AMBIENT, "s", plotting.PALETTE["orange"]), (NOISE2SELF, "^", plotting.PALETTE["purple"])]
    ):
        gain = ours - results.grid("picture", method=rival)
        axes.plot(gain, np.arange(len(names)) + 0.16 * k - 0.08, mark, color=colour, markersize=8,
                  label=f"over {rival}")  # fmt: skip
        mean = mean_interval(gain) if len(gain) > 1 else None
        if mean is not None:
            axes.errorbar(mean.mean, len(names) + 0.16 * k - 0.08,
                          xerr=[[mean.mean - mean.low], [mean.high - mean.mean]],
                          fmt=mark, color=colour, markersize=8)  # fmt: skip
    axes.axvline(0, color="gray", linewidth=1)
    axes.set_yticks(range(len(names) + 1), [*names, "mean"])
    axes.invert_yaxis()
    axes.set_xlabel("PSNR of the tool minus that of the other, dB")
    figure.legend(loc="outside upper center", ncols=2, fontsize=12)


def levels_found(results: Results) -> None:
    """Estimated over true level, of single pictures and of the folder."""
    levels = results.labels("level", measure="folder")
    figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    for k, level in enumerate(levels):
        each = results.grid("draw", "picture", measure="one picture", level=level).mean(0)
        axes.plot(k + np.linspace(-0.15, 0.15, len(each)), each, "o", color="gray", alpha=0.6,
                  label="one picture" if k == 0 else None)  # fmt: skip
        whole = results.grid("draw", measure="folder", level=level).mean()
        axes.plot(k, whole, "_", color=plotting.PALETTE["blue"], markersize=34, markeredgewidth=4,
                  label="the folder" if k == 0 else None)  # fmt: skip
    axes.axhline(1, color="gray", linewidth=1)
    axes.set_xticks(range(len(levels)), [f"{v:g}" for v in levels])
    axes.set_xlabel("true noise level, grey values of 255")
    axes.set_ylabel("found / true")
    figure.legend(loc="outside upper center", ncols=2, fontsize=12)


def without(results: Results) -> None:
    """Stein's estimate of the PSNR against the true one, each method and picture."""
    level = results.settings["watched"]
    figure, axes = plt.subplots(figsize=(5.4, 5.0), layout="constrained")
    every = []
    for name, colour in COLOURS.items():
        true = results.grid("picture", measure="psnr", level=level, method=name)
        told = results.grid("picture", measure="estimated psnr", level=level, method=name)
        axes.plot(true, told, MARKS[name], color=colour, label=name, alpha=0.8)
        every += [*true, *told]
    ends = [min(every) - 0.5, max(every) + 0.5]
    axes.plot(ends, ends, color="gray", linewidth=1, zorder=0)
    axes.set_xlabel("true PSNR, dB")
    axes.set_ylabel("estimated without truth, dB")
    figure.legend(loc="outside upper center", ncols=2, fontsize=12)


def uncertainty(results: Results) -> None:
    """Predicted standard deviation beside the absolute error, on one scale."""
    figure, axes = plt.subplots(1, 2, figsize=(5.8, 3.6), layout="constrained")
    top = float(np.quantile(results.arrays["error"], 0.99))
    for one, key, title in zip(axes, ("uncertainty", "error"), ("predicted", "true error")):
        _show(one, results.arrays[key], title, vmax=top, cmap="magma")
    figure.colorbar(axes[1].images[0], ax=axes, shrink=0.75, label="grey values")


def before_after(hubble: Results) -> None:
    """A piece of the Hubble deep field as it is, and restored; dark values spread out."""
    _, axes = plt.subplots(1, 2, figsize=(5.8, 3.5), layout="constrained")
    for one, key in zip(axes, ("noisy", "restored")):
        _show(one, hubble.arrays[key], "as it is" if key == "noisy" else "restored", vmax=100)
