"""Readings of chapter 4's results that rules and tables share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from companion.experiments.gradient_estimation.methods import PEERS
from companion.experiments.gradient_estimation.problems import PROBLEMS
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval, paired_ratio

__all__ = [
    "FEW",
    "Tally",
    "against",
    "best_gamma",
    "compared",
    "few_budgets",
    "finite",
    "image_ratios",
    "image_values",
    "share_left",
    "tally",
    "whole",
    "within_real",
]

FEW = 10
"""Most network evaluations that count as few."""


class Tally(NamedTuple):
    """In how many comparisons a method is nearer to the flow and farther, of how many."""

    better: int
    worse: int
    number: int


def few_budgets(results: Results) -> list[int]:
    """Return the budgets at which the claims are judged."""
    return [n for n in whole(results, "budget", measure="error") if n <= FEW]


def whole(results: Results, column: str, **conditions: Any) -> list[int]:
    """Return the different entries of a column of whole numbers, such as budgets."""
    return [int(v) for v in results.where(**conditions)[column].dropna().drop_duplicates()]


def against(race: Results, method: str, peer: str, problem: str, budget: int) -> Interval:
    """Error of a method over that of a peer, paired over seeds: below 1 it is nearer to the flow.

    All comparisons of both forms of gradient estimation with all peers hold together.
    """
    number = len(PROBLEMS) * len(few_budgets(race)) * len(PEERS) * 2
    ours, theirs = (
        race.values(measure="error", problem=problem, method=m, budget=budget)
        for m in (method, peer)
    )
    return compared(ours, theirs, number)


def compared(ours: np.ndarray, theirs: np.ndarray, number: int) -> Interval:
    """Compare by the paired ratio; infinite if only ours failed, not a number if theirs did."""
    if np.isfinite([ours, theirs]).all():
        return paired_ratio(ours, theirs, comparisons=number)
    value = math.inf if np.isfinite(theirs).all() else math.nan
    return Interval(value, value, value, len(ours))


def finite(interval: Interval) -> Interval | None:
    """Return an interval, or None if a seed failed in what it was made from."""
    return interval if math.isfinite(interval.mean) else None


def tally(race: Results, method: str, peers: Sequence[str]) -> Tally:
    """Count the comparisons with peers, on all problems with few evaluations.

    A seed that failed counts against the method, and one of a peer's counts for neither.
    """
    ratios = [
        against(race, method, peer, problem, n)
        for problem in PROBLEMS
        for n in few_budgets(race)
        for peer in peers
    ]
    better, worse = sum(r.below(1.0) for r in ratios), sum(r.above(1.0) for r in ratios)
    return Tally(better, worse, len(ratios))


def within_real(race: Results, method: str, budgets: Sequence[int]) -> int:
    """Count problems and budgets at which samples are as near to the data as real ones.

    As near means a mean distance of at most two standard deviations above that of real samples.
    """
    count = 0
    for problem in PROBLEMS:
        real = race.values(measure="real data", problem=problem)
        limit = real.mean() + 2 * real.std(ddof=1)
        for n in budgets:
            values = race.values(measure="distance", problem=problem, method=method, budget=n)
            count += bool(values.mean() <= limit)
    return count


def best_gamma(sweep: Results, measure: str, problem: str, steps: int) -> Interval:
    """Return where the least value is, over seeds.

    Between values of gamma that were tried it is read off the parabola through three logarithms. A
    value at which a run failed is never the best.
    """
    where = {"measure": measure, "problem": problem, "steps": steps}
    gammas = np.array(sweep.labels("gamma", **where), dtype=float)
    logs = np.nan_to_num(np.log(sweep.grid("gamma", "seed", **where)), nan=np.inf)
    place = logs.argmin(0).clip(1, len(gammas) - 2)
    low, middle, high = (np.take_along_axis(logs, place[None] + k, 0)[0] for k in (-1, 0, 1))
    bend = np.maximum(low - 2 * middle + high, 1e-9)
    shift = np.where(np.isfinite(bend), 0.5 * (low - high) / bend, 0.0).clip(-1, 1)
    return mean_interval(gammas[place] + shift * (gammas[1] - gammas[0]))


def share_left(schedules: Results, budget: int) -> tuple[Interval, Interval]:
    """Error with gamma 2 over DDIM's, both log-linear; DDIM's there over that on its own schedule.

    The intervals hold together for both and for all few budgets.
    """
    fast, plain, even = (
        schedules.values(measure="error", schedule=name, gamma=g, budget=budget)
        for name, g in (("log-linear", 2.0), ("log-linear", 1.0), ("DDIM", 1.0))
    )
    number = 2 * len(few_budgets(schedules))
    return compared(fast, plain, number), compared(plain, even, number)


# --- images --------------------------------------------------------------------------------------


def image_values(record: Results, measure: str, method: str, budget: int) -> np.ndarray:
    """Return one value for each seed, of the setting that was best on the other seeds, (seeds,)."""
    where = {"measure": measure, "method": method, "budget": budget}
    grid = record.grid("variant", "sigma_min", "seed", **where)
    tried = grid.reshape(-1, grid.shape[-1])
    tried = np.where(np.isfinite(tried), tried, np.inf)
    seeds = range(tried.shape[1])
    chosen = []
    for s in seeds:
        others = [r for r in seeds if r != s] or [s]
        chosen.append(tried[tried[:, others].mean(1).argmin(), s])
    return np.array(chosen)


def image_ratios(record: Results, budget: int) -> tuple[float, float]:
    """Mean ratio of the Frechet distance of gradient estimation to DDIM's and the best rival's."""
    at = {
        m: image_values(record, "Frechet distance", m, budget)
        for m in (str(m) for m in record.labels("method"))
    }
    best = min((at[m] for m in PEERS if m in at and m != "ddim"), key=lambda v: float(v.mean()))
    ours = at["gradient_estimation"]
    return float((ours / at["ddim"]).mean()), float((ours / best).mean())
