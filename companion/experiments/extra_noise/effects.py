"""Effects: paired differences of two conditions, each with the direction that bears a claim out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from companion.statistics import Interval, grade, paired_difference

__all__ = ["Effect", "difference", "grade_groups", "strongest"]

UNITS = {"ratio": " %", "points": " points", "doublings": " doublings"}


@dataclass(frozen=True)
class Effect:
    """A paired difference, and the direction in which it bears a claim out.

    Parameters
    ----------
    interval : Interval
        Not finite if a seed failed in what it was made from.
    better : {1, -1}
        1: more is better; -1: less is.
    unit : {"ratio", "points", "doublings"}
        Of logarithms, shown in percent; of shares; of logarithms to base 2.
    label : str
        What distinguishes it from others, such as the strength of the noise.
    """

    interval: Interval
    better: int
    unit: str = "ratio"
    label: str = ""

    @property
    def finite(self) -> bool:
        """Whether no seed failed."""
        return math.isfinite(self.interval.mean)

    @property
    def low(self) -> float:
        """The end of the interval on the side of doubt: above 0 if the claim holds."""
        i = self.interval
        return i.low if self.better > 0 else -i.high

    @property
    def high(self) -> float:
        """The other end: below 0 if the opposite of the claim holds."""
        i = self.interval
        return i.high if self.better > 0 else -i.low

    @property
    def holds(self) -> bool:
        """Whether the whole interval lies on the right side; never if a seed failed."""
        return self.low > 0

    @property
    def shown(self) -> tuple[float, float, float]:
        """Mean, low and high, in percent, points or doublings."""
        mean, low, high = self.interval[:3]
        if self.unit == "ratio":
            mean, low, high = (100 * math.expm1(min(v, 20)) for v in (mean, low, high))
        elif self.unit == "points":
            mean, low, high = 100 * mean, 100 * low, 100 * high
        return mean, low, high

    def __str__(self) -> str:
        label = f" ({self.label})" if self.label else ""
        if not self.finite:
            return f"not finite{label}"
        digits = 0 if max(map(abs, self.shown)) >= 100 else 1
        mean, low, high = (f"{v:+.{digits}f}".replace("-", "−") for v in self.shown)
        return f"{mean}{UNITS[self.unit]} [{low}, {high}]{label}"

    @property
    def claimed(self) -> dict[str, Any]:
        """Effect, interval and seeds of a claim; no interval if a seed failed."""
        if not self.finite:
            return {"seeds": self.interval.n}
        mean, low, high = self.shown
        return {"effect": mean, "interval": (low, high), "seeds": self.interval.n}


def difference(
    a: Any, b: Any, number: int, better: int, unit: str = "ratio", label: str = ""
) -> Effect:
    """Compare two conditions over seeds.

    Parameters
    ----------
    a, b : (n,) values; for ``unit="ratio"`` above 0
    number : int
        Comparisons that hold together at 95 %.
    better, unit, label : as of ``Effect``

    Returns
    -------
    Effect, of ``a - b``, or of ``log(a / b)`` for ``unit="ratio"``; not finite if a value is not
    finite, or has no logarithm.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if unit == "ratio":
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = np.log(first), np.log(second)
    if not np.isfinite([first, second]).all():
        return Effect(Interval(math.nan, math.nan, math.nan, len(first)), better, unit, label)
    interval = paired_difference(first, second, comparisons=number)
    return Effect(interval, better, unit, label)


def strongest(effects: Sequence[Effect]) -> Effect:
    """Return the effect that speaks most for a claim: of the strengths that were tried, say."""
    return max(effects, key=lambda e: e.low if e.finite else -math.inf)


def grade_groups(groups: Sequence[Sequence[Effect]]) -> str:
    """Return a verdict: an effect of a group holds in all groups, in some or in none."""
    holds = [strongest(group).holds for group in groups]
    return grade(all(holds), any(holds))
