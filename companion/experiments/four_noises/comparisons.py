"""Do gains add up? Gains, interactions and widths from results, for rules, tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from companion.experiments.four_noises.calculation import gaussian, perturbed, width_after
from companion.experiments.four_noises.sampling import (
    PICARD_LEVELS,
    SAMPLERS,
    options_of,
    schedule,
)
from companion.experiments.results import Results
from companion.statistics import (
    Interval,
    best_of_others,
    interaction,
    mean_interval,
    paired_difference,
    ratio_interval,
)

__all__ = [
    "READINGS",
    "Widths",
    "all_logs",
    "averaged",
    "best_pair",
    "budgets",
    "cells",
    "factor",
    "gain",
    "image_gain",
    "image_interaction",
    "image_logs",
    "image_widths",
    "interactions",
    "labels",
    "logs",
    "lost_gain",
    "over_better_half",
    "reading",
    "same_sampler",
    "shown_budget",
    "widths",
]

NEITHER = ("denoising", "ddim")
"""Training and sampler that changes are compared with."""
READINGS = ("add up", "help each other", "cancel")

Cell = tuple[str, str, int]
"""Training, sampler and budget."""
Logs = dict[tuple[str, str, str, int], np.ndarray]
"""Log distances of all seeds for (data, training, sampler, budget)."""


def labels(pairs: Results, data: str) -> dict[str, str]:
    """Return the ways to train that were measured on data, with their labels."""
    return {str(k): str(v) for k, v in pairs.facts["labels"][data].items()}


def budgets(results: Results) -> list[int]:
    """Return the budgets, from the smallest up."""
    return sorted(int(str(n)) for n in results.labels("budget", measure="distance"))


def shown_budget(results: Results) -> int:
    """Return the budget in the middle, which tables show."""
    listed = budgets(results)
    return listed[len(listed) // 2]


# --- on points and digits ------------------------------------------------------------------------


def logs(pairs: Results, data: str, training: str, sampler: str, budget: int) -> np.ndarray:
    """Log distance for each seed."""
    where = {"data": data, "training": training, "sampler": sampler, "budget": budget}
    return np.log(pairs.values(measure="distance", **where))


def all_logs(pairs: Results) -> Logs:
    """Return the log distances of all seeds, at each place."""
    table = pairs.where(measure="distance").sort_values("seed", kind="stable")
    groups = table.groupby(["data", "training", "sampler", "budget"], sort=False)["value"]
    return {(d, t, s, int(n)): np.log(v.to_numpy()) for (d, t, s, n), v in groups}


def gain(
    pairs: Results,
    data: str,
    pair: tuple[str, str],
    budget: int,
    against: tuple[str, str],
    comparisons: int = 1,
) -> Interval:
    """Log distance of a training and sampler less that of ``against``; below 0 is better."""
    first, second = (logs(pairs, data, *one, budget) for one in (pair, against))
    return paired_difference(first, second, comparisons=comparisons)


def cells(pairs: Results, data: str) -> list[Cell]:
    """Return all trainings, samplers and budgets that were run, without the references."""
    table = pairs.where(measure="distance", data=data)
    there = table[["training", "sampler", "budget"]].drop_duplicates()
    changed = {
        (t, s, int(n))
        for t, s, n in there.itertuples(index=False)
        if t != NEITHER[0] and s != NEITHER[1]
    }
    return [c for c in product(labels(pairs, data), SAMPLERS, budgets(pairs)) if c in changed]


def interactions(pairs: Results) -> dict[tuple[str, str, str, int], Interval]:
    """Return eq-fn-interaction for (data, training, sampler, budget); all hold together."""
    keys = [(str(data), *cell) for data in pairs.labels("data") for cell in cells(pairs, str(data))]
    by_place = all_logs(pairs)
    plain, ddim = NEITHER
    return {
        (data, training, sampler, n): interaction(
            by_place[data, training, sampler, n],
            by_place[data, plain, sampler, n],
            by_place[data, training, ddim, n],
            by_place[data, plain, ddim, n],
            comparisons=len(keys),
        )
        for data, training, sampler, n in keys
    }


def reading(interval: Interval) -> str:
    """Return in words what an interaction says."""
    return "help each other" if interval.high < 0 else "cancel" if interval.low > 0 else "add up"


def factor(interval: Interval) -> str:
    """Return an interval of logarithms as factors, as text."""
    factors = interval.exp()
    return f"{factors:.2f}" if factors.high < 1e3 else f"{factors:.1g}"


def same_sampler(
    logs_: Logs, data: str, training: str, cells_: list[tuple[str, int]]
) -> np.ndarray:
    """Log distance over that of plain training with the same sampler and budget, for each seed.

    Parameters
    ----------
    logs_ : of ``all_logs``
    data, training : str
    cells_ : list of (sampler, budget), over which the mean is taken within each seed
    """
    plain = NEITHER[0]
    ratios = [logs_[data, training, s, n] - logs_[data, plain, s, n] for s, n in cells_]
    return np.mean(ratios, axis=0)


def lost_gain(logs_: Logs, data: str, training: str, cells_: list[tuple[str, int]]) -> np.ndarray:
    """Mean interaction (eq-fn-interaction) of a training with better samplers, for each seed."""
    ddim = [same_sampler(logs_, data, training, [(NEITHER[1], n)]) for _, n in cells_]
    return np.mean(
        [same_sampler(logs_, data, training, [c]) - d for c, d in zip(cells_, ddim)], axis=0
    )


def over_better_half(
    logs_: Logs, data: str, pair: str, halves: tuple[str, ...], cells_: list[tuple[str, int]]
) -> np.ndarray:
    """Log distance of a pair of objectives over that of its better half, for each seed.

    In each cell the half is chosen by the other seeds; the mean over cells is taken within each
    seed.
    """
    ratios = []
    for s, n in cells_:
        scores = np.array([logs_[data, half, s, n] for half in halves])
        best = np.take_along_axis(scores, best_of_others(scores)[None], 0)[0]
        ratios.append(logs_[data, pair, s, n] - best)
    return np.mean(ratios, axis=0)


def best_pair(
    pairs: Results, options: list[tuple[str, str]], budget: int, data: str = "digits"
) -> tuple[str, str]:
    """Return the training and sampler of the smallest mean log distance."""
    return min(options, key=lambda o: float(logs(pairs, data, o[0], o[1], budget).mean()))


# --- widths --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Widths:
    """Calculated and measured log widths of plain training (first) and input perturbation.

    Attributes
    ----------
    places : list of (sampler, budget), C of them
    calculated : (2, C)
    measured : (2, C, seeds)
    """

    places: list[tuple[str, int]]
    calculated: np.ndarray
    measured: np.ndarray

    @property
    def std(self) -> float:
        """Standard deviation of the measured log width over trainings, samplers and budgets."""
        return float(self.measured.mean(-1).std(ddof=1))

    @property
    def miss(self) -> float:
        """Root mean square difference of calculation and measurement."""
        return float(np.sqrt(np.square(self.measured.mean(-1) - self.calculated).mean()))

    @property
    def calculated_shift(self) -> np.ndarray:
        """What input perturbation should add to the log width, (C,)."""
        return self.calculated[1] - self.calculated[0]

    @property
    def shifts(self) -> list[Interval]:
        """What it adds, for each place."""
        return [paired_difference(b, a) for a, b in zip(*self.measured)]

    @property
    def miss_ratio(self) -> Interval:
        """Root mean square miss of plain training over the standard deviation of the measured.

        Both are over samplers and budgets within each seed.
        """
        plain = self.measured[0]
        miss = np.sqrt(np.square(plain - self.calculated[0][:, None]).mean(0))
        return ratio_interval(miss / plain.std(0, ddof=1))

    @property
    def shift_slope(self) -> Interval:
        """Slope of measured on calculated shifts by least squares, through the origin; 1 is exact.

        It is taken over samplers and budgets within each seed. Calculated shifts of both signs do
        not cancel in it, as they would in a ratio of means.
        """
        added, expected = self.measured[1] - self.measured[0], self.calculated_shift
        return mean_interval(expected @ added / np.square(expected).sum())

    def sums(self) -> dict[tuple[str, int], Interval]:
        """Return the shift with each sampler over that with DDIM at the same budget, as factors.

        They hold together. Picard iteration that has converged is DDIM and is left out.
        """
        added = dict(zip(self.places, self.measured[1] - self.measured[0]))
        ddim = NEITHER[1]
        listed = [
            (s, n) for s, n in self.places
            if s != ddim and (ddim, n) in added and (s != "picard" or n < PICARD_LEVELS)
        ]  # fmt: skip
        return {
            (s, n): paired_difference(added[s, n], added[ddim, n], comparisons=len(listed)).exp()
            for s, n in listed
        }


TRAININGS = ("denoising", "perturbed")


def widths(pairs: Results, predicted: Results) -> Widths:
    """Return the widths of the digits, from ``AllPairs`` and ``PredictedWidths``."""
    places = [(s, n) for s in SAMPLERS for n in budgets(pairs)]
    where = [[{"training": t, "sampler": s, "budget": n} for s, n in places] for t in TRAININGS]
    measured = [
        [pairs.values(measure="log width", data="digits", **one) for one in row] for row in where
    ]
    calculated = [[predicted.value(measure="log width", **one) for one in row] for row in where]
    return Widths(places, np.array(calculated), np.array(measured))


def image_widths(record: Results) -> Widths | None:
    """Return the widths of a record, where all of a place are finite; None if there are none."""
    wide = record.tensor("widths").double()
    linear = (gaussian(wide), perturbed(gaussian(wide)))
    low, places, calculated, measured = record.settings["low"], [], [], []
    for sampler, n in product(SAMPLERS, budgets(record)):
        rows = [image_logs(record, t, sampler, n, "log width") for t in TRAININGS]
        if not np.isfinite(rows).all():
            continue
        sigmas = schedule(sampler, n, low).double()
        both = [width_after(sampler, d, wide, sigmas, **options_of(sampler, n)) for d in linear]
        places.append((sampler, n))
        calculated.append(torch.stack(both).mean(1).tolist())
        measured.append(rows)
    if not places:
        return None
    return Widths(places, np.array(calculated).T, np.array(measured).swapaxes(0, 1))


# --- on images -----------------------------------------------------------------------------------


def image_logs(
    record: Results, training: str, sampler: str, budget: int, measure: str = "distance"
) -> np.ndarray:
    """Log distance (or log width) of a record for each seed; NaN where there is none."""
    where = {"training": training, "sampler": sampler, "budget": budget}
    try:
        values = record.values(measure=measure, **where)
    except KeyError:
        return np.full(record.table["seed"].nunique(), np.nan)
    return values if measure == "log width" else np.log(values)


def image_gain(record: Results, training: str, sampler: str, budget: int) -> np.ndarray:
    """Log distance over that of plain training with the same sampler, for each seed."""
    plain = image_logs(record, NEITHER[0], sampler, budget)
    return image_logs(record, training, sampler, budget) - plain


def image_interaction(record: Results, training: str, sampler: str, budget: int) -> np.ndarray:
    """Log interaction of a training and a sampler for each seed."""
    ddim = image_gain(record, training, NEITHER[1], budget)
    return image_gain(record, training, sampler, budget) - ddim


def averaged(values: list[np.ndarray]) -> str:
    """Mean over cells for each seed, then a factor with its interval over seeds."""
    finite = [v for v in values if np.isfinite(v).all()]
    return factor(mean_interval(np.mean(finite, axis=0))) if finite else "not measured"
