"""From intervals under several conditions to one verdict, and to a claim that shows why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from companion.experiments.claims import Claim
from companion.experiments.results import Results
from companion.statistics import Interval, combine, decide, detectable

__all__ = [
    "SMALLEST",
    "Ruling",
    "at_least",
    "at_most",
    "between",
    "by_verdict",
    "choose",
    "claim",
    "finite",
    "in_words",
    "less",
    "listed",
    "rule",
    "seeds",
]

SMALLEST = 0.95
"""Smallest ratio of errors that matters: 5 %, about what one more step in twenty brings."""

ONE_BY_ONE = 8
"""Most conditions whose numbers evidence lists."""


class Ruling(NamedTuple):
    """A verdict over several conditions, and the interval that decides."""

    verdict: str
    key: Any
    """The condition whose interval is shown."""
    interval: Interval
    intervals: Mapping[Any, Interval]
    verdicts: Mapping[Any, str]
    """The verdict under each condition."""


def rule(
    intervals: Mapping[Any, Interval], judge: Callable[[Interval], str], *, lower: bool = True
) -> Ruling:
    """Judge each condition, and ``choose``.

    Parameters
    ----------
    intervals : mapping of condition to Interval
    judge : from an interval to a verdict
    lower : bool
        Whether lower numbers favour the claim (default True).
    """
    return choose(intervals, {k: judge(i) for k, i in intervals.items()}, lower=lower)


def choose(
    intervals: Mapping[Any, Interval], verdicts: Mapping[Any, str], *, lower: bool = True
) -> Ruling:
    """Combine the verdicts under all conditions, and choose the interval that shows why.

    Among the conditions with the verdict that comes out, that is the most favourable one where it
    is "not supported", and else the least favourable one. Where it depends, it is the least
    favourable one of all that are decided.

    Parameters
    ----------
    intervals, verdicts : mapping of condition to Interval, and to a verdict
    lower : bool
        Whether lower numbers favour the claim (default True).
    """
    verdict = combine(verdicts.values())
    keys = [k for k, v in verdicts.items() if v == verdict]
    keys = keys or [k for k, v in verdicts.items() if v != "inconclusive"]
    pick = min if (verdict == "not supported") == lower else max
    key = pick(keys, key=lambda k: _number(intervals[k].mean))
    return Ruling(verdict, key, intervals[key], intervals, verdicts)


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value


# --- from an interval to a verdict ---------------------------------------------------------------


def less(interval: Interval) -> str:
    """Whether a ratio of errors is below 1, by 5 % at least."""
    return decide(interval, SMALLEST, reference=1.0)


def at_most(interval: Interval, limit: float) -> str:
    """Whether a number is at most a limit: the whole interval lies below it, above it, or neither.

    For claims that something is nearly so, where the limit says how nearly.
    """
    if interval.high <= limit:
        return "supported"
    return "not supported" if interval.low > limit else "inconclusive"


def at_least(interval: Interval, limit: float) -> str:
    """Whether a number is at least a limit, as ``at_most``."""
    mean, low, high, n = interval
    return at_most(Interval(-mean, -high, -low, n), -limit)


# --- from a verdict to a claim -------------------------------------------------------------------


def claim(
    name: str, ruling: Ruling, answers: Mapping[str, str], evidence: str, *, smallest: str,
    ratio: bool = False, comparisons: int | None = None, **more: Any,
) -> Claim:  # fmt: skip
    """Make the claim of a ruling.

    Parameters
    ----------
    name : str
        Its id.
    ruling : Ruling
    answers : mapping of verdict to a plain answer
    evidence : str
    smallest : str
        The smallest effect of interest, which an inconclusive claim tells, with the power.
    ratio : bool
        Whether the intervals are of ratios (default False).
    comparisons : int, optional
        What the intervals were made with (default: the number of conditions).
    **more : fields of Claim
    """
    if ruling.verdict == "inconclusive":
        power = _power(ruling.interval, ratio, comparisons or len(ruling.intervals))
        evidence = f"{evidence} The smallest effect of interest is {smallest}; {power}."
    return Claim(
        name, ruling.verdict, evidence, answer=answers[ruling.verdict],
        interval=finite(ruling.interval), **more,
    )  # fmt: skip


def _power(interval: Interval, ratio: bool, comparisons: int) -> str:
    if finite(interval) is None:
        return "a seed failed, so that there was no power"
    if ratio:
        logs = [math.log(v) for v in (interval.mean, interval.low, interval.high)]
        interval = Interval(logs[0], logs[1], logs[2], interval.n)
    effect = detectable(interval, confidence=1 - 0.05 / comparisons)
    size = f"{math.expm1(effect):.0%}" if ratio else f"{effect:.2g}"
    return f"one of {size} would have been seen with a power of 80 %"


def finite(interval: Interval) -> Interval | None:
    """Return an interval, or None if a seed failed in what it was made from."""
    return interval if math.isfinite(interval.mean) else None


def by_verdict(ruling: Ruling) -> tuple[str, str, str]:
    """Conditions at which it is supported, not supported and open, as texts."""
    return tuple(
        in_words(k for k, v in ruling.verdicts.items() if v == verdict)
        for verdict in ("supported", "not supported", "inconclusive")
    )  # type: ignore[return-value]


def listed(ruling: Ruling, spec: str, before: str = "") -> str:
    """Return the numbers of all conditions as a sentence, or how many if there are too many."""
    if len(ruling.intervals) > ONE_BY_ONE:
        counts = [list(ruling.verdicts.values()).count(v) for v in ("supported", "not supported")]
        return f"Of {len(ruling.intervals)} cases {counts[0]} hold and {counts[1]} do not"
    return "All: " + ", ".join(
        f"{interval.mean:{spec}} ({before}{key})" for key, interval in ruling.intervals.items()
    )


def between(levels: Iterable[float]) -> str:
    """Return a range of noise levels as a text, the highest first."""
    known = list(levels)
    return f"{max(known):.2g} to {min(known):.2g}" if known else "none"


def in_words(conditions: Iterable[Any]) -> str:
    """Several conditions as a text."""
    *first, last = [*map(str, conditions)] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def seeds(results: Results) -> int:
    """Return the number of seeds."""
    return int(results.table["seed"].nunique())
