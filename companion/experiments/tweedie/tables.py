"""Tables of chapter 2, each from the results of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import (
    PEERS,
    SUMMARIES,
    digit_error_ratios,
    digit_frechet_ratios,
    error_ratio,
    failures,
    image_ratio,
    image_values,
    mismatch_costs,
    mismatch_ratios,
    race_ratios,
)
from companion.experiments.tweedie.images import STOPPED
from companion.experiments.tweedie.looks import label
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    METHODS,
    NAIVE,
    RIVALS,
    SURE,
)
from companion.experiments.tweedie.points import errors_of
from companion.statistics import mean_interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "ambient_weights",
    "digit_ratios",
    "digits",
    "images",
    "memory",
    "mismatch",
    "race",
    "ratios",
    "samples",
    "tuning",
    "variants",
]


def variants(found: Results) -> Styler:
    """Errors of fine-tuning with consistency over those of more ambient training."""
    names = [str(v) for v in found.labels("variant") if v != AMBIENT]
    number = len(SUMMARIES) * len(names)
    lines = {
        name: {
            title: f"{error_ratio(found, {'variant': name}, {'variant': AMBIENT}, s, number):.2f}"
            for s, title in SUMMARIES.items()
        }
        for name in names
    }
    return _table(lines, "fine-tuning with, over ambient only")


def ambient_weights(found: Results) -> Styler:
    """Errors of the ambient loss at s_n and below, by smallest noise that is added and weight."""
    places = found.table[["start", "weight"]].drop_duplicates()
    lines = {}
    for start, weight in places.itertuples(index=False):
        errors = errors_of(found, start=start, weight=weight)
        lines[f"t from s_n / {start:g}, {weight}"] = {
            "error at s_n": str(mean_interval(errors.at)),
            "error below": str(mean_interval(errors.below)),
        }
    return _table(lines, "distribution of t, weight")


def tuning(gradients: Results, variants: Results, weights: Results) -> Styler:
    """How many settings of each method were tried in this chapter, and how one was chosen."""
    tried = len(gradients.settings["weights"])
    others = len([v for v in variants.labels("variant") if v != AMBIENT])
    pairs = len(weights.table[["start", "weight"]].drop_duplicates())
    whose = len([g for g in gradients.labels("gradient") if g != AMBIENT])
    shown = "default, shown beside the exact denoiser"
    rows = [
        (label(CONSISTENCY), "weight of consistency", tried, "held-out noisy data"),
        (label(CONSISTENCY), "gradient, at each weight", whose, shown),
        (label(CONSISTENCY), "step, walk, draws, teacher", others, shown),
        ("ambient loss, with consistency or without", "smallest t, weight", pairs, shown),
        *((label(name), "none of its own", 1, "") for name in (SURE, NAIVE, CLEAN)),
    ]
    return plotting.table(pd.DataFrame(rows, columns=["method", "setting", "tried", "chosen by"]))


def race(found: Results) -> Styler:
    """Errors of every method: means over seeds with their intervals."""
    titles = {**SUMMARIES, "above": "above, rms"}
    lines = {}
    for method in found.labels("method"):
        errors = errors_of(found, method=method)
        lines[label(method)] = {
            title: str(mean_interval(getattr(errors, s))) for s, title in titles.items()
        }
    return _table(lines, "")


def ratios(found: Results) -> Styler:
    """Errors of ambient with consistency over those of each other method of the race."""
    known = race_ratios(found)
    lines = {
        label(name): {title: f"{known[name, s]:.2f}" for s, title in SUMMARIES.items()}
        for name in (*RIVALS, CLEAN)
    }
    return _table(lines, "over")


def samples(found: Results) -> Styler:
    """Width of the sampled modes, and distance of samples to real data."""
    titles = {
        "width": "width of the modes (1 is true)",
        "distance": "sliced Wasserstein",
        "width with new noise": "width with new noise, over noisy data's",
    }
    lines = {
        label(name): {
            title: str(mean_interval(found.values(measure=m, method=name)))
            for m, title in titles.items()
        }
        for name in found.labels("method")
    }
    return _table(lines, "")


def mismatch(found: Results) -> Styler:
    """Errors of consistency under each kind of noise, what it costs, and ratios to its peers."""
    known, costs, lines = mismatch_ratios(found), mismatch_costs(found), {}
    for kind in map(str, found.labels("kind")):
        errors = errors_of(found, kind=kind, method=CONSISTENCY)
        means = {"above": errors.above, "at s_n": errors.at, "below": errors.below}
        line = {title: f"{values.mean():.3f}" for title, values in means.items()}
        line["below, over as assumed"] = f"{costs[kind]:.2f}" if kind in costs else "1"
        line |= {f"geometric, over {label(p)}": f"{known[kind, p]:.2f}" for p in PEERS}
        lines[kind] = line
    return _table(lines, "noise")


def digits(found: Results) -> Styler:
    """Errors on clean test digits by level, and Frechet distances of samples."""
    lines = {}
    for name in found.labels("method"):
        means = found.grid("seed", "level", measure="error", method=name).mean(0)
        levels = found.labels("level", measure="error")
        lines[label(name)] = {
            **{f"σ = {level:g} s_n": f"{v:.3f}" for level, v in zip(levels, means)},
            "Fréchet": str(mean_interval(found.values(measure="Frechet distance", method=name))),
        }
    return _table(lines, "")


def digit_ratios(found: Results) -> Styler:
    """Consistency over the others on digits: error below s_n, and Frechet distance."""
    errors, distances = digit_error_ratios(found), digit_frechet_ratios(found)
    lines = {
        label(name): {
            "error below s_n": f"{errors[name]:.2f}",
            "Fréchet": f"{distances[name]:.2f}",
        }
        for name in errors
    }
    return _table(lines, "consistency over")


def memory(found: Results) -> Styler:
    """Copies among samples, and what comes back out of much noise."""
    lines = {}
    for name in found.labels("method", measure="distance"):
        line = {
            f"copies of {kind}": f"{_mean(found, 'share of copies', method=name, images=kind):.0%}"
            for kind in ("clean", "noisy")
        }
        for sigma in found.settings["extreme"]:
            where = {"method": name, "sigma": sigma}
            off = [f"{_mean(found, 'distance', images=i, **where):.2f}" for i in ("train", "test")]
            line[f"off, from σ = {sigma:g}"] = " / ".join(off)
            line[f"found, from σ = {sigma:g}"] = f"{_mean(found, 'share found', **where):.0%}"
        lines["trained on clean" if name == CLEAN else label(name)] = line
    return _table(lines, "")


def _mean(found: Results, measure: str, **where: object) -> float:
    return float(found.values(measure=measure, **where).mean())


def images(records: Mapping[str, Results]) -> Styler | None:
    """All methods of all records, and ambient with consistency over each; None without records."""
    lines = []
    for title, record in records.items():
        for s_n in (float(s) for s in record.labels("noise")):
            for method in (*METHODS, STOPPED):
                line = {"images": title, "s_n": f"{s_n:g}", "method": label(method)}
                measured = {"Frechet distance": "Fréchet", "error": "error at s_n / 2"}
                for measure, name in measured.items():
                    values = image_values(record, measure, method, s_n)
                    ratio = image_ratio(record, measure, method, s_n) if len(values) else ""
                    line[name] = _cell(values)
                    line[f"+ consistency over it, {name}"] = ratio if method != CONSISTENCY else ""
                if line["Fréchet"]:
                    lines.append(line)
        floor = f"{record.facts['floor']:.3g}"
        lines.append({"images": title, "method": "as many training images", "Fréchet": floor})
    return plotting.table(pd.DataFrame(lines).fillna("")) if lines else None


def _cell(values: np.ndarray) -> str:
    """Mean over seeds with its interval, or how many failed."""
    return (failures(values) or str(mean_interval(values))) if len(values) else ""


def _table(lines: Mapping[str, Mapping[str, str]], name: str) -> Styler:
    frame = pd.DataFrame.from_dict(lines, orient="index")
    return plotting.table(frame.rename_axis(name).reset_index())
