"""What the rules of chapter 2 share: verdicts on 'no worse', on several rivals, on a limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from companion.experiments.claims import LONGEST_ANSWER
from companion.experiments.results import Results
from companion.statistics import Interval, decide, detectable

__all__ = [
    "BETTER",
    "EQUAL_COST",
    "WORSE",
    "Told",
    "but",
    "doubt",
    "every",
    "flipped",
    "seeds_of",
    "within",
]

BETTER = 0.95
"""Ratio of errors or distances that counts as better: 5 %; less would change no choice of method.
"""
WORSE = 1.05
"""Ratio that counts as worse: the same 5 % to the other side."""

EQUAL_COST = "all at equal network evaluations"
"""How rivals are compared, for the evidence of a claim."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def flipped(verdict: str) -> str:
    """Turn the verdict on 'it is worse' into that on 'it is no worse'."""
    return {"supported": "not supported", "not supported": "supported"}.get(verdict, verdict)


def every(verdicts: Iterable[str]) -> str:
    """Verdict on 'against all rivals', from the verdict against each."""
    listed = list(verdicts)
    if "not supported" in listed:
        return "not supported"
    return "supported" if set(listed) == {"supported"} else "inconclusive"


def within(interval: Interval, limit: float) -> str:
    """Verdict on 'at most ``limit``': the whole interval must lie on one side."""
    if interval.below(limit):
        return "supported"
    return "not supported" if interval.above(limit) else "inconclusive"


def but(verdicts: Mapping[str, str], otherwise: str) -> str:
    """Answer that names the conditions under which a claim fails; ``otherwise`` if too long."""
    failing = [name for name, verdict in verdicts.items() if verdict == "not supported"]
    undecided = list(verdicts.values()).count("inconclusive")
    settings = "setting" if undecided == 1 else "settings"
    rest = f"; {undecided} {settings} undecided" if undecided else ""
    answer = f"Yes, but not with {' or '.join(failing)}{rest}."
    return answer if len(answer.split()) <= LONGEST_ANSWER else otherwise


def doubt(
    intervals: Iterable[Interval],
    verdict: str,
    smallest: float,
    comparisons: int = 1,
    *,
    ratio: bool = True,
) -> str:
    """Say, where the verdict is 'inconclusive', which effects there was power for.

    Parameters
    ----------
    intervals : of ratios, or of differences, that the verdict rests on
    verdict : str
    smallest : float
        Smallest effect of interest.
    comparisons : int
        As the intervals were made with (default 1).
    ratio : bool
        Whether they are of ratios (default), so that effects are relative.
    """
    if verdict != "inconclusive":
        return ""
    listed = list(intervals)
    undecided = [i for i in listed if decide(i, smallest, reference=float(ratio)) == verdict]
    logs = [_logarithms(i) if ratio else i for i in undecided or listed]
    seen = max(detectable(i, confidence=1 - 0.05 / comparisons) for i in logs)
    seen = math.expm1(seen) if ratio else seen
    return (
        f" Smallest effect of interest: {abs(smallest - float(ratio)):.0%}. With this number of "
        f"seeds, an effect of {seen:.0%} or more would be seen with a power of 80 % (at the widest "
        "scatter among the undecided)."
    )


def seeds_of(results: Results) -> int:
    """Return how many seeds there are values of."""
    return int(results.table["seed"].nunique())


def _logarithms(ratio: Interval) -> Interval:
    return Interval(math.log(ratio.mean), math.log(ratio.low), math.log(ratio.high), ratio.n)
