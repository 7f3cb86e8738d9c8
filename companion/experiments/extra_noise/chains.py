"""The paper's claims: exposure bias and quality by the length of the chain, live and on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXACT,
    EXTRA,
    FREE,
    NONE,
    STRONG,
    TRAINED,
    Arm,
)
from companion.experiments.extra_noise.effects import Effect, difference
from companion.experiments.results import Results

__all__ = [
    "EPS",
    "EPS_ARMS",
    "PAPER",
    "PLAIN",
    "Condition",
    "bias_change",
    "bias_growth",
    "bias_size",
    "gains",
    "has",
    "image_effect",
    "image_values",
    "improves",
    "lengths",
    "versus_free",
    "width_gains",
]

EPS = STRONG[1]
"""B with the target eps, gamma = 0.3."""
PAPER = Arm("B eps", 0.1)
"""The paper's input perturbation."""
BIAS_COMPARISONS, QUALITY_COMPARISONS = 12, 22


def lengths(results: Results) -> list[int]:
    """Return the lengths of the chain, increasing."""
    return sorted({int(n) for n in results.table["steps"].dropna()})


def has(results: Results, denoiser: str, arm: Arm, **where: Any) -> bool:
    """Whether results have a condition."""
    table = results.table
    chosen = np.ones(len(table), bool)
    for column, value in {"denoiser": denoiser, **arm.where, **where}.items():
        chosen &= (table[column] == value).to_numpy()
    return bool(chosen.any())


# --- exposure bias --------------------------------------------------------------------------------


def bias_size(results: Results, steps: int, arm: Arm = NONE, denoiser: str = TRAINED) -> np.ndarray:
    """Return the mean size over levels of the logarithm of the norm ratio, (seeds,)."""
    where = {"denoiser": denoiser, "steps": steps, **arm.where}
    return np.abs(results.grid("level", "seed", measure="exposure bias", **where)).mean(0)


def bias_growth(results: Results, comparisons: int = BIAS_COMPARISONS) -> Effect:
    """Return the plain network's exposure bias on the longest chain against the shortest."""
    first, *_, last = lengths(results)
    sizes = bias_size(results, last), bias_size(results, first)
    return difference(*sizes, comparisons, 1)


def bias_change(results: Results, steps: int, arm: Arm = EPS) -> Effect:
    """Return what training with an arm changes of the exposure bias."""
    sizes = bias_size(results, steps, arm), bias_size(results, steps)
    return difference(*sizes, BIAS_COMPARISONS, -1)


# --- quality --------------------------------------------------------------------------------------


def distances(results: Results, steps: int, arm: Arm = NONE, denoiser: str = TRAINED) -> np.ndarray:
    """Return the distance of samples to the data, (seeds,)."""
    return results.values(measure="distance", denoiser=denoiser, steps=steps, **arm.where)


def gains(results: Results) -> dict[tuple[str, Arm, int], Effect]:
    """Return the change of the distance against the plain network on a chain of the same length.

    Returns
    -------
    dict, (TRAINED or FREE, arm, steps) -> Effect, for what was sampled.
    """
    return {
        (way, arm, n): difference(
            distances(results, n, arm, way), distances(results, n), QUALITY_COMPARISONS, -1
        )
        for n in lengths(results)
        for arm in EXTRA
        for way in (TRAINED, FREE)
        if has(results, way, arm, steps=n)
    }


def versus_free(results: Results, arm: Arm = EPS) -> dict[int, Effect]:
    """Return the distance of training with an arm of B against its free rival, by steps."""
    return {
        n: difference(
            distances(results, n, arm), distances(results, n, arm, FREE), QUALITY_COMPARISONS, -1
        )
        for n in lengths(results)
    }


def width_gains(results: Results, arm: Arm = EPS) -> dict[int, Effect]:
    """Return the change of the error of the width with the exact denoiser, by steps."""

    def error(n: int, one: Arm) -> np.ndarray:
        widths = results.values(measure="width", denoiser=EXACT, steps=n, **one.where)
        return np.abs(widths - 1)

    return {
        n: difference(error(n, arm), error(n, NONE), QUALITY_COMPARISONS, -1, "points")
        for n in lengths(results)
    }


def improves(results: Results, arms: Sequence[Arm], denoiser: str = TRAINED) -> list[int]:
    """Return the lengths of the chain on which one of some arms gives better samples."""
    known = gains(results)
    return [
        n
        for n in lengths(results)
        if any((denoiser, arm, n) in known and known[denoiser, arm, n].holds for arm in arms)
    ]


EPS_ARMS = tuple(arm for arm in B_ARMS if arm.target == "eps")
"""B with the paper's target."""


# --- images ---------------------------------------------------------------------------------------

Condition = tuple[str, Arm]
"""TRAINED or FREE, and an arm."""
PLAIN: Condition = (TRAINED, NONE)


def image_values(record: Results, measure: str, condition: Condition, at: Mapping) -> np.ndarray:
    """Return a measure of a condition of an image record, (seeds,); ``at`` are steps or level."""
    way, arm = condition
    if measure == "exposure bias":
        return bias_size(record, at["steps"], arm, way)
    return record.values(measure=measure, denoiser=way, **arm.where, **at)


def image_effect(
    record: Results, measure: str, a: Condition, b: Condition, at: Mapping
) -> Effect | None:
    """Compare two conditions of an image record; None if one was not tried.

    Each interval is of 95 % by itself.
    """
    if not all(has(record, *condition) for condition in (a, b)):
        return None
    better, unit = (1, "points") if measure in ("precision", "recall") else (-1, "ratio")
    first, second = (image_values(record, measure, condition, at) for condition in (a, b))
    return difference(first, second, 1, better, unit)
