"""The contrastive loss against its controls, paired over seeds: for rules and for tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from companion.experiments.noise_classifier.continuations import BEFORE, CONTRASTIVE, CONTROLS
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.results import Results
from companion.statistics import (
    Interval,
    combine,
    decide,
    detectable,
    paired_difference,
    paired_ratio,
)

__all__ = [
    "Case",
    "Decision",
    "Tally",
    "before_ratios",
    "cases",
    "compared",
    "decide_each",
    "entropy_differences",
    "finite",
    "good_after",
    "is_finite",
    "kind_name",
    "kind_ratios",
    "mean_ratio",
    "point_cases",
    "ratio_text",
    "tally",
    "within",
]

Case = tuple[Results, dict[str, Any]]
"""Results, and the conditions that leave one value for each method and seed."""


@dataclass(frozen=True)
class Tally:
    """In how many cases the contrastive loss is better and worse than a control.

    Attributes
    ----------
    ratios : list of Interval
        Of the loss to the control, for each case; all hold together at 95 %. Infinite where a
        seed of the loss failed, not a number where one of the control did.
    """

    ratios: list[Interval]

    @property
    def better(self) -> int:
        """Cases whose interval lies below 1."""
        return sum(i.below(1.0) for i in self.ratios)

    @property
    def worse(self) -> int:
        """Cases whose interval lies above 1."""
        return sum(i.above(1.0) for i in self.ratios)


def cases(results: Results, columns: Sequence[str], **conditions: Any) -> list[Case]:
    """Return a case for each combination of ``columns`` among the values that meet conditions."""
    frame = results.where(method=CONTRASTIVE, **conditions)[list(columns)].drop_duplicates()
    return [(results, {**conditions, **row}) for row in frame.to_dict("records")]


def tally(listed: Sequence[Case], control: str, comparisons: int | None = None) -> Tally:
    """Compare with a control in every case.

    Parameters
    ----------
    listed : sequence of Case
    control : method that the loss is compared with
    comparisons : int, optional
        Intervals that hold together (default: one for each case and control).
    """
    number = len(CONTROLS) * len(listed) if comparisons is None else comparisons
    return Tally(
        [
            compared(
                paired_ratio,
                results.values(method=CONTRASTIVE, **where),
                results.values(method=control, **where),
                number,
            )
            for results, where in listed
        ]
    )


def mean_ratio(
    listed: Sequence[Case], control: str, comparisons: int, method: str = CONTRASTIVE
) -> Interval:
    """Geometric mean of the ratio of a method to a control over all cases, paired over seeds.

    Not finite where a seed failed, as in a ``Tally``.
    """
    first, second = (
        np.mean([np.log(r.values(method=m, **where)) for r, where in listed], axis=0)
        for m in (method, control)
    )
    difference = compared(paired_difference, first, second, comparisons)
    return difference.exp() if is_finite(difference) else difference


def is_finite(interval: Interval) -> bool:
    """Whether no seed failed in what an interval was made from."""
    return math.isfinite(interval.mean)


def finite(interval: Interval) -> Interval | None:
    """Return an interval, or None if a seed failed in what it was made from."""
    return interval if is_finite(interval) else None


def compared(
    compare: Callable[..., Interval], loss: np.ndarray, control: np.ndarray, comparisons: int
) -> Interval:
    """Compare over seeds; infinite if only the loss failed, not a number if the control did."""
    if np.isfinite([loss, control]).all():
        return compare(loss, control, comparisons=comparisons)
    value = math.inf if np.isfinite(control).all() else math.nan
    return Interval(value, value, value, len(loss))


def kind_ratios(record: Results) -> dict[tuple[str, str], Interval]:
    """Return the mean ratio of each kind of sampling of an image record to each control.

    Returns
    -------
    dict, (kind, control) -> Interval, not finite where a seed failed. All hold together at 95 %.
    """
    listed = _kinds(record)
    return {
        (kind, control): mean_ratio(found, control, len(CONTROLS) * len(listed))
        for kind, found in listed.items()
        for control in CONTROLS
    }


def before_ratios(record: Results, method: str) -> dict[str, Interval]:
    """Return the mean ratio of each kind of sampling to the network that a method went on from.

    Returns
    -------
    dict, kind -> Interval, as of ``kind_ratios``; empty if that network was not measured. All hold
    together at 95 %.
    """
    if BEFORE not in record.labels("method", measure="Frechet distance"):
        return {}
    listed = _kinds(record)
    return {k: mean_ratio(found, BEFORE, len(listed), method) for k, found in listed.items()}


def _kinds(record: Results) -> dict[str, list[Case]]:
    """Cases of each kind of sampling of an image record."""
    return {
        str(kind): cases(record, ("sampler", "budget"), measure="Frechet distance", kind=kind)
        for kind in record.labels("kind", measure="Frechet distance")
    }


def entropy_differences(results: Results, comparisons: int) -> dict[tuple[float, str], Interval]:
    """Cross entropy with the loss less that of each control, (t, control) -> Interval in nats.

    Not finite where a seed failed, as in a ``Tally``.
    """
    return {
        (t, control): compared(
            paired_difference,
            results.values(measure="cross entropy", t=t, method=CONTRASTIVE),
            results.values(measure="cross entropy", t=t, method=control),
            comparisons,
        )
        for t in results.labels("t", measure="cross entropy")
        for control in CONTROLS
    }


def point_cases(sequential: Results, parallel: Results) -> tuple[list[Case], list[Case]]:
    """Return the cases of ``SequentialSamples`` and of ``ParallelSamples``."""
    return (
        cases(sequential, ("data", "sampler", "budget"), measure="distance"),
        cases(parallel, ("data", "form", "iteration"), measure="distance"),
    )


def good_after(parallel: Results, form: str, method: str) -> int:
    """Return the first depth at which the mean distance on the spirals is within twice the last.

    The last depth, if a seed has failed there.
    """
    where = {"measure": "distance", "data": "spirals", "form": form, "method": method}
    mean = parallel.grid("iteration", "seed", **where).mean(1)
    depths = parallel.labels("iteration", **where)
    good = mean <= 2 * mean[-1]
    return int(depths[int(good.argmax()) if good.any() else -1])


def within(accuracy: Results, nats: float) -> dict[float, int]:
    """Return for each noise the fewest levels whose median error is below; 0 if there are none."""
    found = {}
    for t in accuracy.labels("t", measure="error"):
        rows = accuracy.where(measure="error", t=t)
        enough = rows.loc[rows["value"] < nats, "points"]
        found[float(t)] = int(enough.min()) if len(enough) else 0
    return found


def kind_name(kind: str) -> str:
    """Return a kind of sampling as it is called on the page."""
    return kind if kind == SEQUENTIAL else f"Picard, {kind}"


# --- from conditions to a verdict -----------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """Verdict on a claim about several conditions, and the interval that decides it.

    Attributes
    ----------
    verdict : str
    each : dict, condition -> verdict
    found : dict, condition -> Interval
    decisive : str
        The condition whose interval is shown: the weakest effect for "supported", the strongest
        for "not supported" and "depends", the strongest undecided one for "inconclusive".
    smallest, reference : float
        Smallest effect of interest, and no effect.
    comparisons : int
        Intervals that hold together at 95 %, those of ``found`` among them.
    """

    verdict: str
    each: dict[str, str]
    found: dict[str, Interval]
    decisive: str
    smallest: float
    reference: float
    comparisons: int

    @property
    def interval(self) -> Interval | None:
        """The interval that decides; None if a seed failed in it."""
        return finite(self.found[self.decisive])

    @property
    def listed(self) -> str:
        """Every condition's interval, the decisive one first."""
        order = sorted(self.found, key=lambda name: name != self.decisive)
        return ", ".join(f"{ratio_text(self.found[name])} ({name})" for name in order)

    def where(self, verdict: str = "supported") -> str:
        """Conditions with a verdict, as a list in words."""
        names = [name for name, one in self.each.items() if one == verdict]
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))

    @property
    def power(self) -> str:
        """What could have been seen, if nothing was decided; else an empty text."""
        interval = self.interval
        if self.verdict != "inconclusive" or interval is None or interval.low == interval.high:
            return ""
        ratio = self.reference == 1.0
        if ratio:
            logs = [math.log(v) for v in interval[:3]]
            interval = Interval(logs[0], logs[1], logs[2], interval.n)
        seen = detectable(interval, confidence=1 - 0.05 / self.comparisons)
        if ratio:
            seen = math.expm1(seen)
        return (
            f" The smallest effect of interest is {abs(self.smallest - self.reference):.0%}; "
            f"differences of {seen:.0%} are seen with a power of 80 %."
        )


def decide_each(
    found: Mapping[Any, Interval],
    smallest: float,
    *,
    reference: float = 1.0,
    every: bool = False,
    comparisons: int | None = None,
) -> Decision:
    """Decide a claim under each condition, and together.

    Parameters
    ----------
    found : dict, condition -> Interval, all of which hold together
    smallest, reference : as of ``statistics.decide`` (default reference: 1, of ratios)
    every : bool
        Whether the claim says that it holds under every condition, so that one without refutes it.
    comparisons : int, optional
        Intervals that hold together, where there are more than those of ``found`` (default).
    """
    intervals = {str(name): interval for name, interval in found.items()}
    each = {name: decide(i, smallest, reference=reference) for name, i in intervals.items()}
    verdict = combine(each.values())
    if every and "not supported" in each.values():
        verdict = "not supported"
    sign = 1.0 if smallest > reference else -1.0

    def strength(name: str) -> float:
        mean = sign * intervals[name].mean
        return -math.inf if math.isnan(mean) else mean

    wanted = {"depends": "supported"}.get(verdict, verdict)
    names = [name for name in each if each[name] == wanted]
    weakest = verdict == "supported" or every
    decisive = (min if weakest else max)(names or list(each), key=strength)
    together = len(intervals) if comparisons is None else comparisons
    return Decision(verdict, each, intervals, decisive, smallest, reference, together)


def ratio_text(interval: Interval) -> str:
    """Return a number with its interval as it is shown: three significant digits of the mean."""
    if not is_finite(interval):
        return "not finite"
    size = abs(interval.mean)
    places = 2 - math.floor(math.log10(size)) if size else 2
    return format(interval, f".{min(3, max(0, places))}f")
