"""What the rules of chapter 5 share: effects under several conditions, judged together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from companion.experiments.claims import LONGEST_ANSWER
from companion.statistics import Interval, combine, decide, detectable

__all__ = [
    "BETTER", "EQUAL", "LARGER", "NOT_BETTER", "SMALLER", "WORSE", "Effects", "Rule",
    "equal", "power", "under",
]  # fmt: skip

SMALLER = 0.95
"""Factor of a distance that counts as better: 5 %; less would change no choice of method."""
LARGER = 1 / SMALLER
"""Factor that counts as worse: the same to the other side. It is also used for widths."""

FLIPPED = {"supported": "not supported", "not supported": "supported"}


def equal(interval: Interval, factor: float = LARGER) -> str:
    """Verdict on 'the same': no ``factor`` above or below 1 that matters."""
    sides = {decide(interval, limit, reference=1) for limit in (factor, 1 / factor)}
    if "supported" in sides:
        return "not supported"
    return "supported" if sides == {"not supported"} else "inconclusive"


def under(interval: Interval, limit: float) -> str:
    """Verdict on 'less than ``limit``': the whole interval must lie on one side."""
    if interval.below(limit):
        return "supported"
    return "not supported" if interval.above(limit) else "inconclusive"


def power(interval: Interval, verdict: str, smallest: float) -> str:
    """Say, where the verdict is 'inconclusive', which difference there was power for."""
    if verdict != "inconclusive":
        return ""
    return (
        f" Smallest difference of interest: {smallest:g}. With this number of seeds, one of "
        f"{detectable(interval):.2g} or more would be seen with a power of 80 %."
    )


class Rule(NamedTuple):
    """How one factor is judged.

    Parameters
    ----------
    judge : from an interval of a factor to a verdict
    short : from the same to a number, larger the further it is from what is claimed
    smallest : smallest effect of interest, as a factor
    """

    judge: Callable[[Interval], str]
    short: Callable[[Interval], float]
    smallest: float


BETTER = Rule(lambda i: decide(i, SMALLER, reference=1), lambda i: i.mean, SMALLER)
"""It becomes less, by 5 % at least."""
NOT_BETTER = Rule(
    lambda i: FLIPPED.get(BETTER.judge(i), BETTER.judge(i)), lambda i: -i.mean, SMALLER
)
"""It does not become less by 5 %."""
WORSE = Rule(lambda i: decide(i, LARGER, reference=1), lambda i: -i.mean, LARGER)
"""It becomes more, by 5 % at least."""
EQUAL = Rule(equal, lambda i: abs(math.log(i.mean)), LARGER)
"""It changes by less than 5 %, up or down."""

Place = tuple[str, str]
"""Problem, such as "digits", and condition, such as "DDIM"."""


@dataclass(frozen=True)
class Effects:
    """Factors under several conditions, and the rule that judges each of them.

    Attributes
    ----------
    factors : dict, (problem, condition) -> Interval of a factor
        All hold together: made with ``comparisons=len(factors)``.
    rule : Rule
    """

    factors: Mapping[Place, Interval]
    rule: Rule

    @property
    def verdicts(self) -> dict[Place, str]:
        """Verdict under each condition."""
        return {place: self.rule.judge(interval) for place, interval in self.factors.items()}

    @property
    def verdict(self) -> str:
        """Verdict over all conditions."""
        return combine(self.verdicts.values())

    @property
    def deciding(self) -> Place:
        """The condition whose number decides.

        The one nearest to another verdict where all agree; where it depends, the one that is
        furthest from what is claimed; where it is open, the widest of those that are open.
        """
        total = self.verdict
        wanted = "not supported" if total == "depends" else total
        places = [p for p, verdict in self.verdicts.items() if verdict == wanted]
        if total == "inconclusive":
            return max(places, key=lambda p: _width(self.factors[p]))
        nearest = min if total == "not supported" else max
        return nearest(places, key=lambda p: self.rule.short(self.factors[p]))

    @property
    def told(self) -> str:
        """The deciding factor first, then the others, as a sentence."""
        first = self.deciding
        order = [first, *(place for place in self.factors if place != first)]
        return "; ".join(f"{name(p)}: {self.factors[p]:.2f}" for p in order) + "." + self._power()

    def places(self, verdict: str) -> str:
        """Name the conditions of a verdict; a problem alone stands for all of its conditions."""
        named = []
        for problem in dict.fromkeys(place[0] for place in self.factors):
            mine = {p[1]: v for p, v in self.verdicts.items() if p[0] == problem}
            those = [condition for condition, v in mine.items() if v == verdict]
            if those and len(those) == len(mine):
                named.append(problem)
            elif those:
                named.append(f"{problem} ({', '.join(those)})")
        return " and ".join(named)

    def answer(self, answers: Mapping[str, str]) -> str:
        """Return the answer for the verdict; one that names the conditions where they differ.

        ``exception``, if it is there, says in plain words what holds where the claim is false.
        """
        claim, kinds = answers["depends"], set(self.verdicts.values())
        if len(kinds) == 1:
            return answers[self.verdict]
        yes, no, unknown = map(self.places, ("supported", "not supported", "inconclusive"))
        if self.verdict == "depends":
            count = list(self.verdicts.values()).count("supported")
            open_ = list(self.verdicts.values()).count("inconclusive")
            exception, only = answers.get("exception"), "" if open_ else "only "
            undecided = f"; {open_} undecided" if open_ else ""
            options = [
                *([f"{exception} {only}on {no}."] if exception else []),
                f"{claim}: true on {yes}; false on {no}.",
                *([] if open_ else [f"{claim}: only on {yes}.", f"{claim}: not on {no}."]),
                f"{claim}: in {count} of {len(self.factors)} settings{undecided}.",
            ]
        else:
            settled = f"true on {yes}" if yes else f"false on {no}"
            options = [
                f"{claim}: undecided on {unknown}; {settled}.",
                f"{claim}: {settled}, else undecided.",
                f"{claim}: undecided on {unknown}.",
                answers["inconclusive"],
            ]
        return next(o for o in options if len(o.split()) <= LONGEST_ANSWER)

    def _power(self) -> str:
        open_ = [i for p, i in self.factors.items() if self.verdicts[p] == "inconclusive"]
        if self.verdict != "inconclusive":
            return ""
        confidence = 1 - 0.05 / len(self.factors)
        seen = max(detectable(_logarithms(i), confidence=confidence) for i in open_)
        return (
            f" Smallest effect of interest: {abs(self.rule.smallest - 1):.0%}. With this number of "
            f"seeds, an effect of {math.expm1(seen):.0%} or more would be seen with a power of "
            "80 % (at the widest scatter)."
        )


def name(place: Place) -> str:
    """Return a condition as text."""
    return ", ".join(filter(None, place))


def _logarithms(factor: Interval) -> Interval:
    return Interval(math.log(factor.mean), math.log(factor.low), math.log(factor.high), factor.n)


def _width(factor: Interval) -> float:
    return factor.high / factor.low
