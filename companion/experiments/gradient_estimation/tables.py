"""Tables of chapter 4: from results to frames, a function a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from companion.experiments.gradient_estimation.comparisons import (
    against,
    ahead,
    best_gamma,
    few_budgets,
    image_values,
    share_left,
    shown_budgets,
    whole,
)
from companion.experiments.gradient_estimation.descent import guaranteed_fall
from companion.experiments.gradient_estimation.figures import LABELS, SHORT
from companion.experiments.gradient_estimation.methods import METHODS, PEERS
from companion.experiments.gradient_estimation.problems import PROBLEMS
from companion.experiments.gradient_estimation.race import best_setting
from companion.experiments.results import Results
from companion.statistics import paired_ratio

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


def against_peers(race: Results) -> pd.DataFrame:
    """Error of gradient estimation with gamma 2 over that of each peer, with few evaluations."""
    return pd.DataFrame(
        {
            f"{problem}, {n}": {
                SHORT[p]: f"{against(race, 'gradient_estimation', p, problem, n):.2f}"
                for p in PEERS
            }
            for problem in PROBLEMS
            for n in shown_budgets(race)
        }
    ).T


def standing(race: Results) -> pd.DataFrame:
    """Where gradient estimation is ahead of every peer, and its error over the best peer's."""
    words = {"supported": "ahead", "not supported": "not ahead", "inconclusive": "open"}
    lines = {}
    for problem in PROBLEMS:
        for n in shown_budgets(race):
            both = {m: ahead(race, m, problem, n) for m in ("gradient_estimation", "ge-chosen")}
            lines[f"{problem}, {n}"] = {
                SHORT[m]: f"{words[verdict]}: {ratio:.2f}" for m, (verdict, ratio) in both.items()
            }
    return pd.DataFrame(lines).T


def trials(tried: Results) -> pd.DataFrame:
    """How many settings and schedules each method tried, by budget, of ``SettingsTried``."""
    data = tried.labels("data")
    lines = {
        SHORT[method]: {
            f"N = {n}": len(tried.where(data=data[0], method=method, budget=n))
            for n in whole(tried, "budget")
        }
        for method in METHODS
    }
    return pd.DataFrame(lines).T.rename_axis("trials, for each data set")


def falls(results: Results) -> pd.DataFrame:
    """Fall of the distance in a step over that of the exact gradient, of ``Falls``."""
    rows = results.where(measure="fall")
    frame = rows.pivot_table(index="level", columns="problem", values="value", sort=False)
    frame.index = pd.Index([f"σ = {level:.2g}" for level in frame.index], name="before the step")
    return frame.iloc[::2].rename_axis(columns=None)


def settings(tried: Results) -> pd.DataFrame:
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
    return pd.DataFrame(lines).T


def best_gammas(sweep: Results) -> pd.DataFrame:
    """Best gamma by error and by distribution, with its interval, of ``GammaSweep``."""
    lines = {}
    for measure, called in (("error", "error"), ("distance", "distribution")):
        for problem in map(str, sweep.labels("problem")):
            lines[f"{called}: {problem}"] = {
                f"N = {n}": f"{best_gamma(sweep, measure, problem, n):.2f}"
                for n in whole(sweep, "steps")
            }
    return pd.DataFrame(lines).T.rename_axis("best γ by")


def nearest_to_gradient(results: Results) -> pd.DataFrame:
    """Cosine of successive directions, best gamma and what 2 leaves, by steps."""
    frame = results.table.pivot_table(index="steps", columns="measure", values="value")
    names = {
        "least cosine": "least cosine",
        "best gamma": "best γ",
        "error with gamma 2": "error with γ = 2, over DDIM's",
    }
    return frame[list(names)].rename(columns=names).rename_axis("N").rename_axis(columns=None)


def two_ways(schedules: Results) -> pd.DataFrame:
    """Share of the error that each of the two ways leaves, of ``FourSchedules``."""
    left = {n: share_left(schedules, n) for n in few_budgets(schedules)}
    ways = ("by γ = 2, on the log-linear schedule", "by the log-linear schedule, with DDIM")
    frame = pd.DataFrame(
        {f"N = {n}": dict(zip(ways, (i.mean for i in pair))) for n, pair in left.items()}
    )
    return frame.rename_axis("share of the error that is left, on digits")


def ideal_sets(records: Mapping[str, Results]) -> pd.DataFrame:
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
    return pd.DataFrame(lines).T


def images(records: Mapping[str, Results]) -> pd.DataFrame:
    """Means over seeds, and the ratio to DDIM on the same noise, of records with ``Contest``."""
    budgets = sorted({n for record in records.values() for n in whole(record, "budget")})
    lines = []
    for name, record in records.items():
        for measure, called in (("Frechet distance", "Fréchet distance"), ("error", "error")):
            head = {"": f"{name}, {called}"}
            for method in map(str, record.labels("method")):
                cells = {
                    f"N = {n}": _cell(record, measure, method, n) for n in whole(record, "budget")
                }
                lines.append({**head, "sampler": LABELS[method], **cells})
            if measure == "Frechet distance" and "floor" in record.facts:
                floor = f"{record.facts['floor']:.3g}"
                cells = {f"N = {n}": floor for n in whole(record, "budget")}
                lines.append({**head, "sampler": "as many training images", **cells})
    return pd.DataFrame(lines, columns=["", "sampler", *(f"N = {n}" for n in budgets)]).fillna("")


def _cell(record: Results, measure: str, method: str, budget: int) -> str:
    values, plain = (image_values(record, measure, m, budget) for m in (method, "ddim"))
    text = f"{values.mean():.3g}"
    both = np.concatenate([values, plain])
    if method == "ddim" or len(values) < 2 or not (np.isfinite(both) & (both > 0)).all():
        return text
    return f"{text} · {paired_ratio(values, plain):.2f}"
