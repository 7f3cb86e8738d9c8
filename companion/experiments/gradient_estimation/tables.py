"""Tables of chapter 4, with their captions: from results to a table, a function a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.gradient_estimation.comparisons import (
    against,
    ahead,
    as_factor,
    best_gamma,
    few_budgets,
    image_values,
    share_left,
    shown_budgets,
    whole,
)
from companion.experiments.gradient_estimation.descent import guaranteed_fall
from companion.experiments.gradient_estimation.figures import SHORT
from companion.experiments.gradient_estimation.methods import METHODS, PEERS
from companion.experiments.gradient_estimation.problems import PROBLEMS
from companion.experiments.gradient_estimation.race import best_setting
from companion.experiments.gradient_estimation.rulings import less
from companion.experiments.results import Results
from companion.statistics import Interval, paired_ratio

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "against_peers",
    "best_gammas",
    "falls",
    "ideal_sets",
    "images",
    "nearest_to_gradient",
    "settings",
    "standing",
    "trials",
    "two_ways",
]


def against_peers(race: Results) -> Styler:
    """Error of gradient estimation with gamma 2 over that of each peer, with few evaluations."""
    places = [(p, n) for p in PROBLEMS for n in shown_budgets(race)]
    ratios = [
        [against(race, "gradient_estimation", peer, *place) for peer in PEERS] for place in places
    ]
    return plotting.table(
        _frame(
            places, [[as_factor(ratio) for ratio in row] for row in ratios], map(SHORT.get, PEERS)
        ),
        caption="Spirals and digits: error with γ = 2 over that of each peer",
        bold=[[False, False, *map(_decided, row)] for row in ratios],
    )


def standing(race: Results) -> Styler:
    """Error of gradient estimation over DDIM's, and over the best peer's, with few evaluations."""
    places = [(p, n) for p in PROBLEMS for n in shown_budgets(race)]
    ratios = [
        [
            against(race, "gradient_estimation", "ddim", *place),
            ahead(race, "gradient_estimation", *place)[1],
            ahead(race, "ge-chosen", *place)[1],
        ]
        for place in places
    ]
    columns = ["γ = 2 over DDIM", "γ = 2 over the best other", "γ chosen over the best other"]
    return plotting.table(
        _frame(places, [[as_factor(ratio) for ratio in row] for row in ratios], columns),
        caption="Spirals and digits: error over that of another sampler, N evaluations",
        bold=[[False, False, *map(_decided, row)] for row in ratios],
    )


def _frame(places: list[tuple[str, int]], cells: list[list[str]], columns: Any) -> pd.DataFrame:
    """Rows by problem and number of evaluations; a problem's name stands once."""
    frame = pd.DataFrame(cells, columns=list(columns))
    names = [p if i == 0 or places[i - 1][0] != p else "" for i, (p, _) in enumerate(places)]
    frame.insert(0, "on", names)
    frame.insert(1, "N", [n for _, n in places])
    return frame


def _decided(ratio: Interval) -> bool:
    """Whether a ratio is clearly below 1, by 5 %, or is not."""
    return less(ratio) != "inconclusive"


def trials(tried: Results) -> Styler:
    """How many settings and schedules each method tried, by budget, of ``SettingsTried``."""
    data = tried.labels("data")
    lines = {
        SHORT[method]: {
            f"N = {n}": len(tried.where(data=data[0], method=method, budget=n))
            for n in whole(tried, "budget")
        }
        for method in METHODS
    }
    caption = "Spirals and digits, each: how many settings and schedules were tried"
    return plotting.table(pd.DataFrame(lines).T, caption=caption)


def falls(results: Results) -> Styler:
    """Fall of the distance in a step over that of the exact gradient, of ``Falls``."""
    rows = results.where(measure="fall")
    frame = rows.pivot_table(index="level", columns="problem", values="value", sort=False)
    frame.index = pd.Index([f"{level:.2g}" for level in frame.index], name="σ before the step")
    frame = frame.iloc[::2].rename_axis(columns=None)
    caption = "8 × 8 digits: fall of the distance in a step, over that of the exact gradient"
    return plotting.table(frame, caption=caption, digits=2)


def settings(tried: Results) -> Styler:
    """The setting of each method that was best, by data and budget, of ``SettingsTried``."""
    lines = {}
    for data in map(str, tried.labels("data")):
        for method in METHODS:
            cells = {}
            for n in whole(tried, "budget"):
                best = best_setting(tried, data, method, n)
                levels = f"{best['shape']} {best['sigma_max']:g}–{best['sigma_min']:g}"
                cells[f"N = {n}"] = ", ".join(filter(None, [best["variant"], levels]))
            lines[f"{data}: {SHORT[method]}"] = cells
    caption = "Spirals and digits: the chosen settings and schedules"
    return plotting.table(pd.DataFrame(lines).T, caption=caption)


def best_gammas(sweep: Results, measure: str = "error") -> Styler:
    """Best gamma by error or by distance, with its interval, of ``GammaSweep``."""
    lines = {
        problem: {
            f"N = {n}": f"{best_gamma(sweep, measure, problem, n):.2f}"
            for n in whole(sweep, "steps")
        }
        for problem in map(str, sweep.labels("problem"))
    }
    called = "error against the flow" if measure == "error" else "distance to the data"
    caption = f"Spirals and digits: the γ with the least {called}, N steps"
    return plotting.table(pd.DataFrame(lines).T, caption=caption)


def nearest_to_gradient(results: Results) -> Styler:
    """Cosine of successive directions, best gamma and what 2 leaves, by steps."""
    frame = results.table.pivot_table(index="steps", columns="measure", values="value")
    names = {
        "least cosine": "least cosine of two directions",
        "best gamma": "best γ",
        "error with gamma 2": "error with γ = 2 over DDIM's",
    }
    frame = frame[list(names)].rename(columns=names).rename_axis("N").rename_axis(columns=None)
    caption = "8 × 8 digits, ideal denoiser: directions as estimates of the gradient"
    return plotting.table(frame, caption=caption)


def two_ways(schedules: Results) -> Styler:
    """Share of the error that each of the two ways leaves, of ``FourSchedules``."""
    few = few_budgets(schedules)
    left = [share_left(schedules, n) for n in few]
    ways = ("γ = 2 instead of DDIM, both log-linear", "log-linear schedule, for DDIM")
    frame = pd.DataFrame(
        [[f"{pair[i]:.2f}" for pair in left] for i in (0, 1)],
        columns=[f"N = {n}" for n in few],
        index=ways,
    )
    bold = [[_decided(pair[i]) for pair in left] for i in (0, 1)]
    caption = "8 × 8 digits, networks: share of the error that is left"
    return plotting.table(frame, caption=caption, bold=bold)


def ideal_sets(records: Mapping[str, Results]) -> Styler:
    """Constants of the error model of each record of ``IdealDenoiser``."""
    lines = {}
    for name, record in records.items():
        low, eta, high = record.where(measure="eta of a path")["value"]
        nu = record.value(measure="nu")
        lines[name] = {
            "η of a path, median (quartiles)": f"{eta:.2f} ({low:.2f} to {high:.2f})",
            "η, worst": f"{record.value(measure='eta, worst'):.2f}",
            "ν": f"{nu:.2f}",
            "guaranteed fall": f"{guaranteed_fall(eta, nu):.2f}",
        }
    caption = "Whole training sets: the constants of the error model"
    return plotting.table(pd.DataFrame(lines).T, caption=caption)


def images(name: str, record: Results, measure: str, most: int = 100) -> Styler:
    """Means over networks, and the ratio to DDIM on the same noise, of a record with ``Contest``.

    Parameters
    ----------
    name : str
        What the images are.
    record : Results
    measure : {"Frechet distance", "error"}
    most : int
        Evaluations up to which columns are shown (default 100).
    """
    budgets = [n for n in whole(record, "budget") if n <= most]
    methods = list(map(str, record.labels("method")))
    values = {(m, n): image_values(record, measure, m, n) for m in methods for n in budgets}
    ratios = {(m, n): _ratio(v, values["ddim", n]) for (m, n), v in values.items()}
    lines = {
        SHORT[m]: {f"N = {n}": _cell(values[m, n], ratios[m, n]) for n in budgets} for m in methods
    }
    bold = [[_is_decided(ratios[m, n]) for n in budgets] for m in methods]
    if measure == "Frechet distance" and "floor" in record.facts:
        floor = f"{record.facts['floor']:.3g}"
        lines["as many training images"] = {f"N = {n}": floor for n in budgets}
        bold.append([False] * len(budgets))
    called = "Fréchet distance" if measure == "Frechet distance" else "error against the flow"
    caption = f"{name}: {called}, and its ratio to DDIM's"
    return plotting.table(pd.DataFrame(lines).T, caption=caption, bold=bold)


def _ratio(values: np.ndarray, plain: np.ndarray) -> Interval | None:
    """Ratio to DDIM's over networks; None for DDIM itself, and where a network failed."""
    both = np.concatenate([values, plain])
    if values is plain or len(values) < 2 or not (np.isfinite(both) & (both > 0)).all():
        return None
    return paired_ratio(values, plain)


def _cell(values: np.ndarray, ratio: Interval | None) -> str:
    text = f"{values.mean():.3g}"
    return text if ratio is None else f"{text} · {as_factor(ratio)}"


def _is_decided(ratio: Interval | None) -> bool:
    return ratio is not None and ratio.excludes(1.0)
