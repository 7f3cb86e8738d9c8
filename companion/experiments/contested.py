"""A contested claim on images: its verdict, and what would change our mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from companion.experiments.claims import LONGEST_ANSWER, MARKS
from companion.experiments.results import Results

__all__ = ["UNDECIDED", "Contested", "undecided"]

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
