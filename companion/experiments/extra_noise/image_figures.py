"""Figures and tables of chapter 1's records on images: the search, samples, and memorisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.extra_noise.arms import TRAINED, Arm
from companion.experiments.extra_noise.copy_network import DECAY
from companion.experiments.image_search import CHOSEN_BY
from companion.experiments.results import Results
from companion.experiments.search_figure import search_curves
from companion.experiments.words import Text
from companion.statistics import Interval, mean_interval

__all__ = ["copying", "drawn", "memorised", "search", "stopped"]

NAMES = {"none": "plain", "B eps": "B (ε)", "C": "C"}
LOOKS = {
    "none": ("black", "o"), "B eps": ("blue", "s"), "C": ("green", "^"),
    DECAY: ("orange", "D"),
}  # fmt: skip

SOME = 0.01
"""Share of copies in samples above which a training is said to copy."""


def name(kind: str, strength: float) -> str:
    """Return what an arm is called in a legend or a row."""
    if kind == "none":
        return "plain"
    return f"{DECAY} {strength:g}" if kind == DECAY else str(Arm(kind, strength))


def search(results: Results) -> Figure:
    """Draw the trials of ``NoiseSearch``, those of each kind from the best to the worst."""
    return search_curves(results, NAMES)


def drawn(results: Results) -> Figure:
    """Draw samples of the longest chain of ``ImageTrial``, of its first seed, a row a network."""
    samples = {str(name): results.tensor(name)[-1] for name in results.arrays}
    rows = {_condition(name): x.float() / 127.5 - 1 for name, x in samples.items()}
    ax = plotting.image_grid(torch.stack([*rows.values()]), row_labels=[*rows])
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _condition(name: str) -> str:
    """Name of a network on the page, from the name of its samples in a record: "free: B, ..."."""
    way, _, arm = name.partition(": ")
    return "plain" if arm == "none" else arm if way == TRAINED else f"{way}: {arm}"


def memorised(results: Results) -> Figure:
    """Draw copies and quality against the steps of training, by arm, of ``ImageCopies``."""
    figure, axes = plt.subplots(2, 1, figsize=(5.4, 5.6), sharex=True)
    labels = {"copies": "share of copies", "Frechet distance": "Fréchet distance"}
    for ax, (measure, ylabel) in zip(axes, labels.items()):
        for kind, strength in _arms(results):
            color, marker = LOOKS[kind]
            where = {"measure": measure, "kind": kind, "strength": strength}
            values = results.grid("seed", "stop", **where)
            hue = plotting.PALETTE[color]
            stops = results.labels("stop", **where)
            plotting.with_band(
                ax, stops, values, label=name(kind, strength), color=hue, marker=marker
            )
        ax.set(ylabel=ylabel, xscale="log")
    axes[1].set(xlabel="steps of training", yscale="log")
    plotting.log_ticks(axes[1].xaxis, axes[1].yaxis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def stopped(results: Results) -> pd.DataFrame:
    """Return quality and copies of each arm, where it is stopped early and at the end.

    The stop is chosen for each seed by one half of the test images, and measured by the other.
    """
    rows = []
    for kind, strength in _arms(results):
        where = {"kind": kind, "strength": strength}
        at = _chosen(results, where)
        row = {"training": name(kind, strength)}
        for head, chosen in (("stopped early", at), ("at the end", np.full_like(at, -1))):
            for measure, label in (("Frechet distance", "distance"), ("copies", "copies")):
                values = results.grid("seed", "stop", measure=measure, **where)
                picked = values[np.arange(len(values)), chosen]
                interval = _share(picked) if measure == "copies" else mean_interval(picked)
                row[f"{label}, {head}"] = format(interval, ".2f")
        rows.append(row)
    return pd.DataFrame(rows)


def copying(results: Results) -> Text:
    """Say which trainings copy by the last stop, and what stopping the plain one early does.

    A training copies if more than ``SOME`` of its samples are copies there, on the mean over seeds.
    """
    last = max(int(stop) for stop in results.labels("stop"))  # type: ignore[call-overload]
    ends, chosen = {}, {}
    for kind, strength in _arms(results):
        where = {"kind": kind, "strength": strength}
        copies = results.grid("seed", "stop", measure="copies", **where)
        at = _chosen(results, where)
        ends[name(kind, strength)] = _share(copies[:, -1])
        chosen[name(kind, strength)] = _share(copies[np.arange(len(at)), at])
    begin = f"{results.settings['few']} images, {last:,} steps."
    if max(share.mean for share in ends.values()) <= SOME:
        return Text(
            f"{begin} No training copies by then, so there is nothing to prevent. It would take "
            "fewer images or a longer training."
        )
    told = "; ".join(f"{arm} {share:.0%}" for arm, share in ends.items())
    return Text(
        f"{begin} Share of samples that are copies at the end: {told}. The plain training, stopped "
        f"where the distance is least: {chosen[name('none', 0.0)]:.0%}. The distance that "
        "chooses does not count copies."
    )


def _chosen(results: Results, where: dict[str, Any]) -> np.ndarray:
    """For each seed the stop, by its number, that one half of the test images chooses."""
    return results.grid("seed", "stop", measure=CHOSEN_BY, **where).argmin(1)


def _share(values: np.ndarray) -> Interval:
    """Mean of shares with its interval, which does not leave 0 to 1."""
    found = mean_interval(values)
    return found._replace(low=max(0.0, found.low), high=min(1.0, found.high))


def _arms(results: Results) -> list[tuple[str, float]]:
    rows = results.table[["kind", "strength"]].drop_duplicates()
    return [(str(kind), float(strength)) for kind, strength in rows.itertuples(index=False)]
