"""Effects: paired differences of two conditions, and the verdicts that they come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from companion.statistics import Interval, decide, detectable, paired_difference

__all__ = ["SMALLEST", "Effect", "any_of", "difference", "doubt", "every", "flipped", "strongest"]

UNITS = {"ratio": " %", "points": " points", "doublings": " doublings", "norm": " % of the norm"}
"""Units as they are shown."""

SMALLEST = {
    "ratio": 0.05,
    "points": 0.05,
    "doublings": math.log2(1.1),
    "norm": 0.01,
}
"""Smallest effects of interest, in the units of the results.

5 % of an error, a distance or a count, and 5 points of a share: less would change no choice of
method. Doublings: a tenth more data, which can be collected. Norm: 1 % of the norm of the predicted
noise, the size of the corrections by which epsilon scaling gains.
"""


@dataclass(frozen=True)
class Effect:
    """A paired difference, and the direction in which it bears a claim out.

    Parameters
    ----------
    interval : Interval
        Not finite if a seed failed in what it was made from.
    better : {1, -1}
        1: more is better; -1: less is.
    unit : {"ratio", "points", "doublings", "norm"}
        Of logarithms, shown in percent; of shares; of logarithms to base 2; of logarithms of a
        norm, shown in percent of it.
    label : str
        What distinguishes it from others, such as the strength of the noise.
    comparisons : int
        Intervals that hold together at 95 % (default 1).
    """

    interval: Interval
    better: int
    unit: str = "ratio"
    label: str = ""
    comparisons: int = 1

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
    def smallest(self) -> float:
        """The smallest effect of interest, with its sign."""
        size = SMALLEST[self.unit]
        return math.log1p(self.better * size) if self.unit == "ratio" else self.better * size

    @property
    def verdict(self) -> str:
        """What the interval says of the claim; nothing if a seed failed."""
        return decide(self.interval, self.smallest) if self.finite else "inconclusive"

    @property
    def holds(self) -> bool:
        """Whether the claim is supported."""
        return self.verdict == "supported"

    @property
    def power(self) -> str:
        """Smallest effect that so many seeds would show with a power of 80 %, as text."""
        if not self.finite:
            return "none, as a seed failed"
        size = detectable(self.interval, confidence=1 - 0.05 / self.comparisons)
        return _size(math.expm1(size) if self.unit == "ratio" else size, self.unit)

    @property
    def shown(self) -> tuple[float, float, float]:
        """Mean, low and high, in percent, points or doublings."""
        mean, low, high = self.interval[:3]
        if self.unit == "ratio":
            mean, low, high = (100 * math.expm1(min(v, 20)) for v in (mean, low, high))
        elif self.unit in ("points", "norm"):
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
        failed = Interval(math.nan, math.nan, math.nan, len(first))
        return Effect(failed, better, unit, label, number)
    interval = paired_difference(first, second, comparisons=number)
    return Effect(interval, better, unit, label, number)


def strongest(effects: Sequence[Effect]) -> Effect:
    """Return the effect that speaks most for a claim: of the strengths that were tried, say."""
    return max(effects, key=lambda e: e.low if e.finite else -math.inf)


def any_of(effects: Sequence[Effect]) -> str:
    """Verdict on a claim that one of several strengths, say, may bear out."""
    found = {effect.verdict for effect in effects}
    if "supported" in found:
        return "supported"
    return "not supported" if found == {"not supported"} else "inconclusive"


def every(verdicts: Iterable[str]) -> str:
    """Verdict on a claim that needs several things, from the verdict on each."""
    found = set(verdicts)
    if "not supported" in found:
        return "not supported"
    return "supported" if found == {"supported"} else "inconclusive"


def flipped(verdict: str) -> str:
    """Turn the verdict on 'it becomes worse' into that on 'it does not become worse'."""
    return {"supported": "not supported", "not supported": "supported"}.get(verdict, verdict)


def doubt(effect: Effect, verdict: str) -> str:
    """Say, where the verdict is 'inconclusive', which effect there was power for."""
    if verdict != "inconclusive":
        return ""
    smallest = _size(SMALLEST[effect.unit], effect.unit)
    return (
        f" Smallest effect of interest: {smallest}; with a power of 80 % these seeds show: "
        f"{effect.power}."
    )


def _size(size: float, unit: str) -> str:
    return f"{size if unit == 'doublings' else 100 * size:.2g}{UNITS[unit]}"
