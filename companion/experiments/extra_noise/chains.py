"""The paper's claims: exposure bias and quality by the length of the chain, live and on images."""

from __future__ import annotations

from collections.abc import Mapping
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
    "Conditions",
    "bias_change",
    "bias_growth",
    "bias_size",
    "excess",
    "gains",
    "has",
    "image_effect",
    "image_values",
    "improvements",
    "kept",
    "lengths",
    "perturbed",
    "raw_growth",
    "size",
    "versus_free",
    "width_gains",
]

EPS = STRONG[1]
"""B with the target eps, gamma = 0.3."""
PAPER = Arm("B eps", 0.1)
"""The paper's input perturbation."""
EPS_ARMS = tuple(arm for arm in B_ARMS if arm.target == "eps")
"""B with the paper's target."""
QUALITY_COMPARISONS = 22
"""Intervals in the figure of one problem, which hold together."""
GROWTHS = 2
"""Problems on which the growth of the exposure bias is decided."""


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


def biases(results: Results, steps: int, arm: Arm = NONE, denoiser: str = TRAINED) -> np.ndarray:
    """Return the exposure bias, logarithms of norm ratios, (levels, seeds)."""
    where = {"denoiser": denoiser, "steps": steps, **arm.where}
    return results.grid("level", "seed", measure="exposure bias", **where)


def size(bias: np.ndarray) -> np.ndarray:
    """Return the mean size over levels of a bias (levels, seeds), (seeds,)."""
    return np.abs(bias).mean(0)


def bias_size(results: Results, steps: int, arm: Arm = NONE, denoiser: str = TRAINED) -> np.ndarray:
    """Return the mean size over levels of the logarithm of the norm ratio, (seeds,)."""
    return size(biases(results, steps, arm, denoiser))


def excess(results: Results, exact: Results, steps: int, arm: Arm = NONE) -> np.ndarray:
    """Return the size of the exposure bias beyond that of the exact denoiser, (seeds,).

    The exact denoiser makes no error: what it shows, at the same levels of a chain of the same
    length, is due to the length of the steps.
    """
    return size(biases(results, steps, arm) - biases(exact, steps, denoiser=EXACT))


def bias_growth(results: Results, exact: Results) -> Effect:
    """Return the plain network's excess bias on the longest chain minus that on the shortest."""
    first, *_, last = lengths(results)
    long, short = (excess(results, exact, n) for n in (last, first))
    return difference(long, short, GROWTHS, 1, "norm")


def raw_growth(results: Results, denoiser: str = TRAINED) -> Effect:
    """Return the same without the comparison with an exact denoiser, as a difference."""
    first, *_, last = lengths(results)
    long, short = (size(biases(results, n, denoiser=denoiser)) for n in (last, first))
    return difference(long, short, 1, 1, "norm")


def bias_change(results: Results, exact: Results, steps: int, arm: Arm = EPS) -> Effect:
    """Return what training with an arm changes of the excess bias."""
    sizes = excess(results, exact, steps, arm), excess(results, exact, steps)
    return difference(*sizes, 1, -1, "norm")


# --- quality --------------------------------------------------------------------------------------


def distances(results: Results, steps: int, arm: Arm = NONE, denoiser: str = TRAINED) -> np.ndarray:
    """Return the distance of samples to the data, (seeds,)."""
    return results.values(measure="distance", denoiser=denoiser, steps=steps, **arm.where)


def gains(
    results: Results, comparisons: int = QUALITY_COMPARISONS
) -> dict[tuple[str, Arm, int], Effect]:
    """Return the change of the distance against the plain network on a chain of the same length.

    Returns
    -------
    dict, (TRAINED or FREE, arm, steps) -> Effect, for what was sampled.
    """
    return {
        (way, arm, n): difference(
            distances(results, n, arm, way),
            distances(results, n),
            comparisons,
            -1,
            label=arm.size,
        )
        for n in lengths(results)
        for arm in EXTRA
        for way in (TRAINED, FREE)
        if has(results, way, arm, steps=n)
    }


def versus_free(
    results: Results, arm: Arm = EPS, comparisons: int = QUALITY_COMPARISONS
) -> dict[int, Effect]:
    """Return the distance of training with an arm of B against its free rival, by steps."""
    return {
        n: difference(
            distances(results, n, arm),
            distances(results, n, arm, FREE),
            comparisons,
            -1,
            label=arm.size,
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


Conditions = dict[tuple[str, int], list[Effect]]
"""Problem with its length of training, and steps of the chain: an effect for each strength."""


def improvements(problems: Mapping[str, Results]) -> tuple[Conditions, Conditions]:
    """Return the change of the distance by input perturbation, over plain and over free.

    Parameters
    ----------
    problems : dict, name of a problem and its length of training -> its samples

    Returns
    -------
    Two dicts, (name, steps) -> an effect for each of ``EPS_ARMS``. All of one dict hold together.
    """
    places = [(name, n) for name, results in problems.items() for n in lengths(results)]
    number = len(places) * len(EPS_ARMS)
    plain: Conditions = {place: [] for place in places}
    free: Conditions = {place: [] for place in places}
    for name, results in problems.items():
        known = gains(results, number)
        for arm in EPS_ARMS:
            against = versus_free(results, arm, number)
            for n in lengths(results):
                plain[name, n].append(known[TRAINED, arm, n])
                free[name, n].append(against[n])
    return plain, free


def kept(problems: Mapping[str, Results]) -> Conditions:
    """Return what input perturbation changes of precision and recall, as for ``improvements``.

    With 100 steps, or else the middle one of the lengths of the chain. The claim of an effect is
    that of a fall.
    """
    measures = ("precision", "recall")
    number = len(problems) * len(EPS_ARMS) * len(measures)
    found: Conditions = {}
    for name, results in problems.items():
        listed = lengths(results)
        n = 100 if 100 in listed else listed[len(listed) // 2]
        for measure in measures:
            where = {"measure": measure, "denoiser": TRAINED, "steps": n}
            plain = results.values(**where, **NONE.where)
            found[f"{measure}, {name}", n] = [
                difference(
                    results.values(**where, **arm.where), plain, number, -1, "points", arm.size
                )
                for arm in EPS_ARMS
            ]
    return found


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


def perturbed(record: Results) -> Arm:
    """Return the input perturbation, with target eps, that an image record trained."""
    table = record.table
    trained = table[(table["denoiser"] == TRAINED) & (table["kind"] == PAPER.kind)]
    return Arm(PAPER.kind, float(trained["strength"].iloc[0])) if len(trained) else PAPER


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
