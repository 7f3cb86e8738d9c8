"""Differences of accuracy between ways, condition by condition, paired over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from companion.experiments.claims import LONGEST_ANSWER
from companion.experiments.results import Results
from companion.statistics import (
    Interval,
    best_of_others,
    combine,
    decide,
    detectable,
    paired_difference,
)

__all__ = [
    "POINT",
    "UNTUNED",
    "accuracies",
    "answer",
    "best",
    "corruptions",
    "differences",
    "judged",
    "matters",
    "noises",
    "on_images",
    "points",
    "told",
]

POINT = 0.01
"""Smallest difference of interest: one percentage point of accuracy."""

UNTUNED = ("one call", "sampled", "averaged")
"""Ways to purify for a classifier that stays as it is, without guidance."""


def noises(race: Results) -> list[str]:
    """Conditions with Gaussian noise, in their order."""
    return [str(c) for c in race.labels("condition") if str(c).startswith("noise")]


def corruptions(race: Results) -> list[str]:
    """Conditions with another corruption."""
    return [str(c) for c in race.labels("condition") if c != "none" and c not in noises(race)]


def accuracies(race: Results, way: str, condition: str) -> np.ndarray:
    """Accuracy of a way, one for each seed."""
    return race.values(measure="accuracy", way=way, condition=condition)


def best(race: Results, ways: Sequence[str], condition: str) -> np.ndarray:
    """Accuracy of the best of several ways; which one is best, the other seeds say."""
    table = np.stack([accuracies(race, way, condition) for way in ways])
    chosen = best_of_others(1 - table)
    return table[chosen, np.arange(table.shape[1])]


def differences(
    race: Results,
    conditions: Iterable[str],
    ways: Sequence[str],
    rivals: Sequence[str],
    comparisons: int | None = None,
) -> dict[str, Interval]:
    """Accuracy of the best of ``ways`` less that of the best of ``rivals``, for each condition.

    Intervals hold together over all conditions, or over so many ``comparisons``.
    """
    listed = list(conditions)
    number = len(listed) if comparisons is None else comparisons
    return {
        c: paired_difference(best(race, ways, c), best(race, rivals, c), comparisons=number)
        for c in listed
    }


def matters(interval: Interval, smallest: float = 2 * POINT) -> str:
    """Verdict on 'it makes a difference of two points', up or down."""
    sides = {decide(interval, smallest), decide(interval, -smallest)}
    if "supported" in sides:
        return "supported"
    return "not supported" if sides == {"not supported"} else "inconclusive"


def judged(found: Mapping[str, Interval]) -> dict[str, str]:
    """Verdict on 'a point better' under each condition."""
    return {condition: decide(interval, POINT) for condition, interval in found.items()}


def points(interval: Interval) -> str:
    """An interval of a difference in percentage points."""
    mean, low, high = (100 * v for v in interval[:3])
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def told(found: Mapping[str, Interval], verdict: str) -> str:
    """All differences in percentage points as a sentence; the power where the verdict is open."""
    text = "; ".join(f"{condition}: {points(i)}" for condition, i in found.items()) + " points."
    if verdict != "inconclusive":
        return text
    confidence = 1 - 0.05 / len(found)
    seen = max(detectable(i, confidence=confidence) for i in found.values())
    return (
        f"{text} With this number of seeds, {100 * seen:.1f} points would be seen with a power of "
        "80 % (at the widest scatter)."
    )


def on_images(
    images: Mapping[str, Results], ways: Sequence[str], rivals: Sequence[str], *, noisy: bool = True
) -> str:
    """Say the same differences of records of images, which decide nothing.

    Parameters
    ----------
    images : title -> Results of ``ImageRace``
    ways, rivals : as of ``differences``
    noisy : bool
        Whether with Gaussian noise too (default).
    """
    told = []
    for title, record in images.items():
        listed = (noises(record) if noisy else []) + corruptions(record)
        found = differences(record, listed, ways, rivals)
        seeds = next(iter(found.values())).n
        text = "; ".join(f"{condition}: {points(i)}" for condition, i in found.items())
        told.append(f" On {title}, which decides nothing here, {seeds} seeds: {text} points.")
    return "".join(told)


def deciding(found: Mapping[str, Interval], verdicts: Mapping[str, str]) -> Interval:
    """Difference that decides: the one nearest to another verdict, or furthest from the claim."""
    total = combine(verdicts.values())
    wanted = "not supported" if total == "depends" else total
    those = [found[c] for c, verdict in verdicts.items() if verdict == wanted]
    if total == "inconclusive":
        return max(those, key=lambda i: i.high - i.low)
    return (max if total == "not supported" else min)(those, key=lambda i: i.mean)


def answer(verdicts: Mapping[str, str], answers: Mapping[str, str]) -> str:
    """Plain answer: the one of the verdict, with the conditions where they differ.

    Parameters
    ----------
    verdicts : condition -> verdict
    answers : for "supported", "not supported", "inconclusive", and the claim itself, in the
        shortest words, for "depends"
    """
    kinds = set(verdicts.values())
    if len(kinds) == 1:
        return answers[kinds.pop()]
    yes, no = (_places(verdicts, v) for v in ("supported", "not supported"))
    count = list(verdicts.values()).count("supported")
    claim, number = answers["depends"], len(verdicts)
    options = [answers["inconclusive"]]
    if yes:
        rest = f"not with {no}" if no and "inconclusive" not in kinds else "not shown elsewhere"
        options = [f"{claim} with {yes}, {rest}.", f"{claim} with {yes} only.",
                   f"{claim} in {count} of {number} settings."]  # fmt: skip
    elif no:
        asked = claim[0].lower() + claim[1:]
        against = list(verdicts.values()).count("not supported")
        options = [f"Undecided whether {asked}; not with {no}.",
                   f"Undecided whether {asked}; not in {against} of {number} settings.",
                   *options]  # fmt: skip
    return next(o for o in options if len(o.split()) <= LONGEST_ANSWER)


def _places(verdicts: Mapping[str, str], verdict: str) -> str:
    names = ["clean images" if c == "none" else c for c, v in verdicts.items() if v == verdict]
    noisy = [c.removeprefix("noise ") for c in names if c.startswith("noise")]
    text = [*(["noise " + ", ".join(noisy)] if noisy else [])]
    return ", ".join([*text, *(c for c in names if not c.startswith("noise"))])
