"""Readings of chapter 4's results that rules and tables share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from companion.experiments.gradient_estimation.methods import PEERS
from companion.experiments.gradient_estimation.problems import PROBLEMS
from companion.experiments.gradient_estimation.rulings import less
from companion.experiments.results import Results
from companion.statistics import (
    Interval,
    best_of_others,
    mean_interval,
    paired_ratio,
)

__all__ = [
    "FEW",
    "against",
    "against_best_gamma",
    "ahead",
    "as_factor",
    "best_gamma",
    "compared",
    "comparisons_of",
    "few_budgets",
    "image_ratios",
    "image_values",
    "share_left",
    "shown_budgets",
    "whole",
    "within_real",
]

FEW = (5, 10)
"""Fewest and most network evaluations that the paper speaks of."""


def shown_budgets(results: Results) -> list[int]:
    """Return the budgets up to ten, which tables show."""
    return [n for n in whole(results, "budget", measure="error") if n <= FEW[1]]


def few_budgets(results: Results) -> list[int]:
    """Return the budgets at which the claims are judged, those that the paper speaks of."""
    return [n for n in shown_budgets(results) if n >= FEW[0]]


def whole(results: Results, column: str, **conditions: Any) -> list[int]:
    """Return the different entries of a column of whole numbers, such as budgets."""
    return [int(v) for v in results.where(**conditions)[column].dropna().drop_duplicates()]


def against(race: Results, method: str, peer: str, problem: str, budget: int) -> Interval:
    """Error of a method over that of a peer, paired over seeds: below 1 it is nearer to the flow.

    All comparisons of both forms of gradient estimation with all peers hold together.
    """
    number = comparisons_of(race)
    ours, theirs = (_errors(race)[problem, m, budget] for m in (method, peer))
    return compared(ours, theirs, number)


@lru_cache(maxsize=4)
def _errors(race: Results) -> dict[tuple[str, str, int], np.ndarray]:
    """Errors of all seeds, in their order, by problem, method and budget."""
    rows = race.where(measure="error").sort_values("seed", kind="stable")
    groups = rows.groupby(["problem", "method", "budget"], sort=False)["value"]
    return {(str(p), str(m), int(n)): v.to_numpy() for (p, m, n), v in groups}


def comparisons_of(race: Results) -> int:
    """Return how many comparisons with peers are looked at together."""
    return len(PROBLEMS) * len(shown_budgets(race)) * len(PEERS) * 2


def compared(ours: np.ndarray, theirs: np.ndarray, number: int) -> Interval:
    """Compare by the paired ratio; infinite if only ours failed, not a number if theirs did."""
    if np.isfinite([ours, theirs]).all():
        return paired_ratio(ours, theirs, comparisons=number)
    value = math.inf if np.isfinite(theirs).all() else math.nan
    return Interval(value, value, value, len(ours))


def as_factor(ratio: Interval) -> str:
    """Return a ratio with its interval as a text, three digits at most."""
    return f"{ratio:.2f}" if ratio.high < 10 else f"{ratio:.3g}"


def ahead(race: Results, method: str, problem: str, budget: int) -> tuple[str, Interval]:
    """Whether a method is nearer to the flow than every peer, and the ratio to the best of them.

    "supported" if it is nearer than each by 5 %, "not supported" if it is not nearer than one. A
    peer of which a seed failed is left out; a method of which one did is nearer than none.

    Parameters
    ----------
    race : Results of ``Race``
    method : one of ``METHODS``
    problem : one of ``PROBLEMS``
    budget : int
    """
    ratios = [against(race, method, peer, problem, budget) for peer in PEERS]
    ratios = [r for r in ratios if not math.isnan(r.mean)]
    verdicts = {less(r) for r in ratios}
    order = ("not supported", "inconclusive", "supported")
    verdict = next((v for v in order if v in verdicts), "inconclusive")
    those = [r for r in ratios if less(r) == verdict]
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    return verdict, max(those, key=lambda r: r.mean, default=nothing)


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


def best_gamma(
    sweep: Results, measure: str, problem: str, steps: int, *, comparisons: int = 1
) -> Interval:
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
    return mean_interval(gammas[place] + shift * (gammas[1] - gammas[0]), comparisons=comparisons)


def against_best_gamma(sweep: Results, gamma: float, comparisons: int) -> dict[Any, Interval]:
    """Error with the best gamma over that with a given one, by problem and number of steps.

    The best is chosen for each seed by the others, so that choosing is not rewarded.
    """
    ratios = {}
    for problem in PROBLEMS:
        for n in whole(sweep, "steps"):
            where = {"measure": "error", "problem": problem, "steps": n}
            errors = np.nan_to_num(sweep.grid("gamma", "seed", **where), nan=math.inf)
            chosen = errors[best_of_others(errors), np.arange(errors.shape[1])]
            given = sweep.values(gamma=gamma, **where)
            ratios[problem, n] = compared(chosen, given, comparisons)
    return ratios


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


def image_ratios(record: Results, budget: int) -> tuple[Interval, Interval]:
    """Ratio of the Frechet distance of gradient estimation to DDIM's and the best rival's.

    A seed is a network. The best rival is chosen by the same numbers.
    """
    at = {
        m: image_values(record, "Frechet distance", m, budget)
        for m in (str(m) for m in record.labels("method"))
    }
    best = min((at[m] for m in PEERS if m in at and m != "ddim"), key=lambda v: float(v.mean()))
    ours = at["gradient_estimation"]
    return compared(ours, at["ddim"], 1), compared(ours, best, 1)
