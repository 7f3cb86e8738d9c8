"""A contested claim on images: its verdict, and what would change our mind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from companion.experiments.claims import LONGEST_ANSWER, MARKS
from companion.experiments.results import Results
from companion.statistics import Interval, student

__all__ = ["UNDECIDED", "Contested", "more_networks", "needed", "undecided"]

UNDECIDED = "not tested"
"""Verdict where there is no record that decides."""


@dataclass(frozen=True)
class Contested:
    """What the records on images say of a claim, by a rule that was there before they were made.

    Parameters
    ----------
    verdict : str
        One of ``claims.VERDICTS``.
    answer : str
        At most 15 words.
    evidence : str
        What was measured, with its intervals; the conditions.
    change : str
        What would change our mind, one sentence.

    Raises
    ------
    ValueError
        If the verdict is another word, the answer too long, or ``change`` not one sentence.
    """

    verdict: str
    answer: str
    evidence: str
    change: str

    def __post_init__(self):
        if self.verdict not in MARKS:
            raise ValueError(f"verdict: got {self.verdict!r}; allowed are {', '.join(MARKS)}")
        words = len(self.answer.split())
        if words > LONGEST_ANSWER:
            raise ValueError(f"answer: got {words} words; allowed are at most {LONGEST_ANSWER}")
        if not self.change.endswith(".") or ". " in self.change:
            raise ValueError(f"change: got {self.change!r}; allowed is one sentence")

    def _repr_markdown_(self) -> str:
        return (
            f"{MARKS[self.verdict]} **{self.answer}**\n\n{self.evidence}\n\n"
            f"*What would change our mind:* {self.change}"
        )

    __str__ = _repr_markdown_


def undecided(images: Mapping[str, Results | None], why: str) -> str:
    """Say of the records that there are why they do not decide, and how long networks trained."""
    lines = [
        f"{title}: {why}; networks were trained for {r.settings['steps']:,} steps."
        for title, r in images.items()
        if r is not None
    ]
    return " ".join(lines) or "Images are not yet recorded."


MOST = 9999
"""The most values that ``needed`` counts."""


def needed(interval: Interval, smallest: float, comparisons: int = 1) -> int:
    """Return how many values, as scattered as those there are, would show the smallest effect.

    So many have an interval that excludes 0 with a power of 80 % if the effect is ``smallest``
    (``statistics.detectable`` turned around).

    Parameters
    ----------
    interval : Interval, finite, of a difference (or of logarithms), by ``mean_interval``
    smallest : float, not 0
        Effect of interest; its sign does not count.
    comparisons : int
        Intervals that hold together at 95 % (default 1).

    Returns
    -------
    int, at most ``MOST``.
    """
    tail = 0.05 / comparisons / 2
    reach = (interval.high - interval.low) / 2
    scatter = reach / -student(tail, interval.n - 1) * math.sqrt(interval.n)
    numbers = np.arange(2, MOST)
    seen = scatter / np.sqrt(numbers) * (student(0.8, numbers - 1) - student(tail, numbers - 1))
    enough = numbers[seen <= abs(smallest)]
    return int(enough[0]) if len(enough) else MOST


def more_networks(interval: Interval, smallest: float, comparisons: int = 1) -> str:
    """Say how many networks would show what so many did not; arguments as of ``needed``."""
    number = needed(interval, smallest, comparisons)
    about = "about" if number < MOST else "at least"
    return (
        f"More networks: {about} {number}, in place of {interval.n}, would show a difference of "
        f"{-math.expm1(-abs(smallest)):.0%}, at the scatter that these have."
    )
