"""Tables of chapter 2's records of images: the search, reasons, the bridge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import image_values
from companion.experiments.tweedie.few_clean import ratio_of
from companion.experiments.tweedie.image_network import IMAGE_METHODS
from companion.experiments.tweedie.image_search import CRITERION, TRIALS
from companion.experiments.tweedie.looks import label, three
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE
from companion.experiments.words import Text
from companion.statistics import Interval, mean_interval, paired_ratio

__all__ = [
    "about",
    "bridge",
    "bridge_reading",
    "errors_by_level",
    "reasons",
    "same_levels",
    "searched_plain",
    "settings",
    "shared_settings",
]

DEFAULTS = "as it is"
"""Name of the trial of a search that changes nothing."""

REASONS = {
    "bias": ("bias, σₙ/4", 0.25),
    "overshoot": ("overshoot, σₙ/4", 0.25),
    "top eigenvalue": ("top eigenvalue, σₙ/4", 0.25),
    "negative share": ("negative share, σₙ/4", 0.25),
    "drift": ("drift to the end", None),
    "left noise": ("left noise", None),
    "mode width": ("mode width", None),
}
"""What is shown of the reasons: the measure, its heading, and its level over that of the data."""


def about(records: Mapping[str, Results]) -> Text:
    """Say where the settings of the race on images come from."""
    chosen = [record.facts["chosen"] for record in records.values() if "chosen" in record.facts]
    if chosen:
        plain = {CLEAN, NAIVE}.issubset(chosen[0])
        names = [label(method) for method in TRIALS]
        said = f"The settings of {', '.join(names[:-1])} and {names[-1]} were searched alike, "
        if plain:
            said = "The settings of all methods were searched alike, chosen by the distance "
        said += "to noisy images alone. " if plain else "on noisy images alone. "
        if not plain:
            said += "Training on clean data and naive training keep the defaults. "
        return Text(f"{said}The networks here have other seeds than those of the search.")
    return Text(
        "The settings of this race were those of points; none was searched on images. A race with "
        "longer training, searched settings and EM is being made."
    )


def _one(found: Results, measure: str, method: str, trial: str) -> float:
    return found.value(measure=measure, method=method, trial=trial)


def settings(found: Results) -> Styler:
    """What the search chose, and what that gained on the criterion and on clean images."""
    rows = []
    for method in found.facts["names"]:
        names = [str(name) for name in found.labels("trial", method=method)]
        best = found.facts["names"][method]
        row: dict[str, object] = {
            "method": label(method), "trials": len(names), "chosen": best,
        }  # fmt: skip
        for measure, title in ((CRITERION, "noisy"), ("Frechet distance", "clean")):
            ends = [
                _one(found, measure, method, name) for name in (names[0], best) if name in names
            ]
            row[f"Fréchet, {title}"] = " → ".join(f"{v:.1f}" for v in ends)
        rows.append(row)
    return plotting.table(pd.DataFrame(rows), caption="Settings chosen on noisy images alone")


def searched_plain(race: Results, plain: Results) -> Styler:
    """Clean and naive training in full, with the chosen setting over the default, paired by seeds.

    Parameters
    ----------
    race : of ``ImageRace``, with the defaults
    plain : of ``ImagePlain``
    """
    rows, s_n = [], max(float(v) for v in race.labels("noise"))  # type: ignore[arg-type]
    for method, name in plain.facts["chosen"].items():
        row: dict[str, object] = {"method": label(method), "chosen": name}
        for title, measure in (("Fréchet", "Frechet distance"), ("error at σₙ/2", "error")):
            new, old = (image_values(found, measure, method, s_n) for found in (plain, race))
            ratio = ratio_of(new, old)
            row[f"{title}, over default"] = "" if ratio is None else f"{ratio:.2f}"
        rows.append(row)
    return plotting.table(pd.DataFrame(rows), caption="Clean and naive training in full")


def same_levels(found: Results) -> Text:
    """Compare consistency with the ambient loss at the same levels in training, of the search.

    Empty if both chose the same levels, or a training failed.
    """
    levels = {m: found.facts["chosen"].get(m, {}).get("added_mean") for m in (AMBIENT, CONSISTENCY)}
    if levels[AMBIENT] == levels[CONSISTENCY]:
        return Text()
    best = found.facts["names"][CONSISTENCY]
    trials = {AMBIENT: DEFAULTS, CONSISTENCY: best}
    if any(name not in found.labels("trial", method=m) for m, name in trials.items()):
        return Text()
    distances = [_one(found, "Frechet distance", m, name) for m, name in trials.items()]
    if not np.isfinite(distances).all():
        return Text()
    ratio = distances[1] / distances[0]
    return Text(
        "In the race, ambient only and consistency are trained at different noise levels: ambient "
        "only chose them in its search, and consistency had no such trial. Whether the levels are "
        "a part of the difference is tested below ('Both choices together'). In the search, with "
        "the default levels for both and one seed, samples with consistency at its best setting "
        f"are at {ratio:.1f} times the distance of ambient only."
    )


def reasons(found: Results) -> Styler:
    """What each method's denoisers do to images: means over seeds, and half of a 95 % interval."""
    rows = []
    for method in [m for m in IMAGE_METHODS if m in found.labels("method", measure="bias")]:
        row = {"method": label(method)}
        for measure, (title, level) in REASONS.items():
            row[title] = _plus_minus(_over_seeds(found, measure, method, level))
        rows.append(row)
    return plotting.table(pd.DataFrame(rows), caption="Why samples are as they are")


def errors_by_level(found: Results) -> Styler:
    """Errors of consistency and of ambient only by level, and their ratio, paired over seeds.

    The intervals of the ratios hold together.
    """
    levels = [float(v) for v in found.labels("level", measure="error")]  # type: ignore[arg-type]
    s_n = max(float(v) for v in found.labels("noise"))  # type: ignore[arg-type]
    rows = []
    for level in levels:
        where = {"measure": "error", "level": level, "noise": s_n}
        alone, both = (found.values(method=m, **where) for m in (AMBIENT, CONSISTENCY))
        row = {"level": f"{level:g} σₙ", label(AMBIENT): f"{np.mean(alone):.3f}"}
        row[label(CONSISTENCY)] = f"{np.mean(both):.3f}"
        row["ratio"] = _paired(both, alone, len(levels))
        rows.append(row)
    caption = f"Error on clean test images by noise level, σₙ = {s_n:g}"
    return plotting.table(pd.DataFrame(rows), caption=caption)


def _plus_minus(interval: Interval | None) -> str:
    """Mean and half of its interval, which needs less room than both ends; 4 decimals at most."""
    if interval is None:
        return ""
    half = (interval.high - interval.low) / 2
    places = min(4, max(0, -math.floor(math.log10(half)))) if half > 0 else 0
    return f"{interval.mean:.{places}f} ± {half:.{places}f}"


def _over_seeds(
    found: Results, measure: str, method: str, level: float | None, **where: float
) -> Interval | None:
    """Mean over seeds at a level, or at the lowest there is; None where it was not measured."""
    table = found.table
    rows = table[(table["measure"] == measure) & (table["method"] == method)]
    for column, value in where.items():
        rows = rows[np.isclose(rows[column], value)]
    if level is not None:
        rows = rows[np.isclose(rows["level"].fillna(np.inf), level)]
    elif rows["level"].notna().any():
        rows = rows[rows["level"] == rows["level"].min()]
    values = rows.sort_values("seed")["value"].to_numpy()
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    return mean_interval(values)


def shared_settings(race: Results, found: Results) -> Styler:
    """Consistency with the settings of the ambient loss beside both with their own settings.

    The ratios are paired over the seeds that both records have; each interval holds by itself.
    """
    seeds = [s for s in found.labels("seed") if s in race.labels("seed")]
    where = {"noise": float(found.settings["noise"]), "clean_share": 0.0, "seed": seeds}
    lines = {
        label(AMBIENT): (race, AMBIENT),
        "consistency, its own settings": (race, CONSISTENCY),
        "consistency, those of ambient too": (found, CONSISTENCY),
    }
    heads: dict[str, dict[str, Any]] = {
        "Fréchet": {"measure": "Frechet distance"},
        "error at σₙ/2": {"measure": "error", "level": 0.5},
    }
    rows = []
    for name, (record, method) in lines.items():
        row: dict[str, object] = {"method": name}
        for head, measure in heads.items():
            values, alone = (
                r.values(method=m, **measure, **where)
                for r, m in ((record, method), (race, AMBIENT))
            )
            row[head] = f"{np.mean(values):.3g}"
            row[f"{head}, ratio"] = "" if method == AMBIENT else _paired(values, alone)
        rows.append(row)
    return plotting.table(
        pd.DataFrame(rows), caption="Both choices together; ratios are over ambient only"
    )


def bridge(found: Results) -> Styler:
    """Errors against the exact denoiser of a mixture by level, and distances of samples.

    Means over seeds and half of a 95 % interval; each ratio's interval holds by itself.
    """
    rows = []
    for title, where in _measured(found):
        row = {"measure": title}
        for method in found.labels("method", measure="exact error"):
            level = where.get("level")
            row[label(method)] = _plus_minus(
                _over_seeds(found, str(where["measure"]), str(method), level)
            )
        rows.append({**row, "consistency / ambient": _ratio(found, **where)})
    return plotting.table(pd.DataFrame(rows), caption="A mixture fitted to the images")


def _measured(found: Results) -> list[tuple[str, dict[str, Any]]]:
    """What the bridge measures: errors from low levels to high ones, and the distance last."""
    levels = sorted(float(v) for v in found.labels("level", measure="exact error"))  # type: ignore[arg-type]
    errors = [(f"error at {v:g} σₙ", {"measure": "exact error", "level": v}) for v in levels]
    return [*errors, ("Fréchet distance", {"measure": "Frechet distance"})]


def bridge_reading(found: Results) -> Text:
    """Say at which levels consistency is better, and which errors samples follow.

    Samples follow the errors at a level if both put the methods in the same order, by means over
    seeds. Empty if a training failed; orders are told of three methods or more.
    """
    ratios, orders = {}, {}
    methods = [str(m) for m in found.labels("method", measure="exact error")]
    for title, where in _measured(found):
        values = {m: found.values(method=m, **where) for m in methods}
        if not np.isfinite(list(values.values())).all():
            return Text()
        ratios[title] = paired_ratio(values[CONSISTENCY], values[AMBIENT])
        means = {m: values[m].mean() for m in methods}
        orders[title] = sorted(methods, key=means.__getitem__)
    *errors, distance = ratios
    than = "than ambient only"
    verdicts = {
        f"Consistency has a lower error {than}": [t for t in errors if ratios[t].high < 1],
        f"Consistency has a higher error {than}": [t for t in errors if ratios[t].low > 1],
        "Both errors are too near to tell": [
            t for t in errors if ratios[t].low <= 1 <= ratios[t].high
        ],
    }
    said = [f"{begin} {_levels(titles)}." for begin, titles in verdicts.items() if titles]
    if len(methods) > 2:
        same = [t for t in errors if orders[t] == orders[distance]]
        other = [t for t in errors if t not in same]
        if same:
            said.append(
                "Ordered by the distance of their samples, the methods are in the order of their "
                f"errors {_levels(same)}."
            )
        if other:
            at = _levels(other)
            said.append(
                f"{at[0].upper()}{at[1:]}, errors put them in another order"
                + ("." if same else " than distances.")
            )
    return Text(" ".join(said))


def _levels(titles: list[str]) -> str:
    """Say levels as "at 0.1 and 0.5 σₙ"."""
    *most, last = [title.removeprefix("error at ").removesuffix(" σₙ") for title in titles]
    return f"at {', '.join(most)}{' and ' if most else ''}{last} σₙ"


def _ratio(found: Results, **where: object) -> str:
    """Consistency over ambient only where both are measured in one record."""
    both, alone = (found.values(method=m, **where) for m in (CONSISTENCY, AMBIENT))
    return _paired(both, alone)


def _paired(values: np.ndarray, others: np.ndarray, comparisons: int = 1) -> str:
    """Ratio over seeds as text; empty with one seed, or if a training failed."""
    found = ratio_of(values, others, comparisons)
    return "" if found is None else three(found)
