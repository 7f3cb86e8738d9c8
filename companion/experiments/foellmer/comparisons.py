"""What the chapter compares, with intervals over seeds."""

from __future__ import annotations

import numpy as np

from companion.experiments.foellmer.densities import LEARNED
from companion.experiments.foellmer.parametrisations import LOSSES, RAW
from companion.experiments.foellmer.targets import DISTANCES
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval, paired_difference, ratio_interval

__all__ = [
    "SMOOTH",
    "collapse",
    "difference",
    "parameter_factor",
    "preconditioning",
    "smooth_over_pinned",
]

SMOOTH = ("OU drift", "OU score")
"""Networks of the Ornstein-Uhlenbeck process."""

WEIGHTS = "error of weights"


def log_errors(widths: Results, name: str, loss: str) -> np.ndarray:
    """Logarithm of the error, mean over widths, one for each seed."""
    where = {"measure": "error", "parametrisation": name, "loss": loss}
    return np.log(widths.grid("seed", "width", **where)).mean(1)


def smooth_over_pinned(widths: Results) -> dict[tuple[str, str], Interval]:
    """Error of an OU network over the pinned one's, by what it gives and loss.

    Geometric means over widths; the intervals hold together.
    """
    places = [(name, loss) for loss in LOSSES for name in SMOOTH]
    return {
        (name, loss): ratio_interval(
            np.exp(log_errors(widths, name, loss) - log_errors(widths, "pinned drift", loss)),
            comparisons=len(places),
        )
        for name, loss in places
    }


def preconditioning(widths: Results) -> dict[tuple[str, str], Interval]:
    """Error of the preconditioned network over each raw one's, as ``smooth_over_pinned``."""
    places = [(name, loss) for loss in LOSSES for name in RAW]
    return {
        (name, loss): ratio_interval(
            np.exp(log_errors(widths, "preconditioned", loss) - log_errors(widths, name, loss)),
            comparisons=len(places),
        )
        for name, loss in places
    }


def parameter_factor(widths: Results, name: str, loss: str) -> float:
    """Parameters that a network needs over those of the pinned one, for that one's middle error.

    Errors and numbers of parameters are interpolated as logarithms, means over seeds. NaN where no
    width reaches the error.
    """
    counts = np.log(widths.grid("width", measure="parameters"))
    mine, others = (
        np.log(widths.grid("seed", "width", measure="error", parametrisation=n, loss=loss)).mean(0)
        for n in (name, "pinned drift")
    )
    middle = len(counts) // 2
    below = np.flatnonzero(mine <= others[middle])
    if not len(below):
        return float("nan")
    at = int(below[0])
    if at == 0:
        return float(np.exp(counts[0] - counts[middle]))
    share = (mine[at - 1] - others[middle]) / (mine[at - 1] - mine[at])
    reached = counts[at - 1] + share * (counts[at] - counts[at - 1])
    return float(np.exp(reached - counts[middle]))


def difference(
    sampling: Results, first: str, second: str, place: str, comparisons: int, measure: str = WEIGHTS
) -> Interval:
    """Error of a method less that of another, on a target, paired over seeds."""
    a, b = (sampling.values(measure=measure, target=place, method=m) for m in (first, second))
    return paired_difference(a, b, comparisons=comparisons)


def collapse(sampling: Results) -> dict[tuple[str, str], Interval]:
    """Number of modes that are lost after training by the reverse KL, by method and target."""
    places = [(m, place) for m in LEARNED if m != "log-variance" for place in DISTANCES]
    return {
        (m, place): mean_interval(
            sampling.values(measure="lost modes", target=place, method=m), comparisons=len(places)
        )
        for m, place in places
    }
