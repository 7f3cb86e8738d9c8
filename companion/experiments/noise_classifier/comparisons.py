"""The contrastive loss against its controls, paired over seeds: for rules and for tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from companion.experiments.noise_classifier.continuations import BEFORE, CONTRASTIVE, CONTROLS
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.noise_classifier.regions import OFF_REGION, TRAINED_REGION
from companion.experiments.results import Results
from companion.statistics import Interval, paired_difference, paired_ratio

__all__ = [
    "Case",
    "Tally",
    "all_cases",
    "best_accuracy",
    "cases",
    "counts",
    "entropy_differences",
    "finite",
    "good_after",
    "is_finite",
    "kind_name",
    "kind_ratios",
    "mean_ratio",
    "point_cases",
    "tally",
    "within",
    "worse_off",
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
            _compared(
                paired_ratio,
                results.values(method=CONTRASTIVE, **where),
                results.values(method=control, **where),
                number,
            )
            for results, where in listed
        ]
    )


def mean_ratio(listed: Sequence[Case], control: str, comparisons: int) -> Interval:
    """Geometric mean of the ratio to a control over all cases, paired over seeds.

    Not finite where a seed failed, as in a ``Tally``.
    """
    first, second = (
        np.mean([np.log(r.values(method=m, **where)) for r, where in listed], axis=0)
        for m in (CONTRASTIVE, control)
    )
    difference = _compared(paired_difference, first, second, comparisons)
    return difference.exp() if is_finite(difference) else difference


def is_finite(interval: Interval) -> bool:
    """Whether no seed failed in what an interval was made from."""
    return math.isfinite(interval.mean)


def finite(interval: Interval) -> Interval | None:
    """Return an interval, or None if a seed failed in what it was made from."""
    return interval if is_finite(interval) else None


def _compared(
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
    kinds = [str(kind) for kind in record.labels("kind", measure="Frechet distance")]
    listed = {
        kind: cases(record, ("sampler", "budget"), measure="Frechet distance", kind=kind)
        for kind in kinds
    }
    return {
        (kind, control): mean_ratio(listed[kind], control, len(CONTROLS) * len(kinds))
        for kind in kinds
        for control in CONTROLS
    }


def entropy_differences(results: Results, comparisons: int) -> dict[tuple[float, str], Interval]:
    """Cross entropy with the loss less that of each control, (t, control) -> Interval in nats.

    Not finite where a seed failed, as in a ``Tally``.
    """
    return {
        (t, control): _compared(
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


def worse_off(errors: Results) -> dict[str, float]:
    """Error with more noise than admitted over that of the training distribution, by data."""
    times = {}
    for name in errors.labels("data"):
        off, trained = (
            errors.values(measure="error", data=name, region=region, method=BEFORE)
            for region in (OFF_REGION, TRAINED_REGION)
        )
        times[str(name)] = float((off / trained).mean())
    return times


def all_cases(sequential: Results, parallel: Results, digits: Results) -> list[list[Case]]:
    """Return the settings in which samples are compared, by experiment."""
    on_digits = cases(digits, ("kind", "sampler", "budget"), measure="Frechet distance")
    return [*point_cases(sequential, parallel), on_digits]


def counts(listed: list[list[Case]], control: str) -> tuple[int, int]:
    """Settings that are better and worse than a control; intervals hold for each experiment."""
    tallies = [tally(kind, control) for kind in listed]
    return sum(t.better for t in tallies), sum(t.worse for t in tallies)


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


def best_accuracy(accuracy: Results) -> dict[str, Any]:
    """Effect and data of a claim: median error with the most levels, at the middle noise."""
    noises = accuracy.labels("t", measure="error")
    t, most = noises[len(noises) // 2], max(accuracy.labels("points", measure="error"))
    return {
        "effect": accuracy.value(measure="error", t=t, points=most),
        "data": f"ring, nats, t = {t:g}, {4 * int(most)} evaluations",
    }


def kind_name(kind: str) -> str:
    """Return a kind of sampling as it is called on the page."""
    return kind if kind == SEQUENTIAL else f"Picard, {kind}"
