"""Tables of chapter 2, each from the results of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.tweedie.ablations import GRADIENTS
from companion.experiments.tweedie.comparisons import (
    DIGIT_RIVALS,
    PEERS,
    SUMMARIES,
    digit_error_ratios,
    digit_frechet_ratios,
    error_ratio,
    failures,
    image_interval,
    image_ratio,
    image_values,
    mismatch_costs,
    mismatch_ratios,
    race_ratios,
)
from companion.experiments.tweedie.image_network import IMAGE_METHODS, STOPPED
from companion.experiments.tweedie.looks import label, three
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    NAIVE,
    RIVALS,
    SURE,
)
from companion.experiments.tweedie.points import errors_of
from companion.experiments.tweedie.variants import RECOMMENDED
from companion.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "ambient_weights",
    "digit_errors",
    "digits",
    "gradients",
    "image_ratios",
    "images",
    "memory",
    "mismatch",
    "mismatch_errors",
    "race",
    "ratios",
    "samples",
    "tuning",
    "variants",
]


TITLES = {"below": "rms below σₙ", "geometric": "geometric mean below σₙ", "at": "at σₙ"}
"""What sums up errors by level, as it stands over a column."""


def gradients(found: Results) -> Styler:
    """Error below the noise of each gradient over that of the ambient loss alone, by weight."""
    weights = found.labels("weight", gradient=GRADIENTS[0])
    number = len(GRADIENTS) * len(weights)
    lines = {
        f"'{name}'": {
            f"weight {weight:g}": error_ratio(
                found, {"gradient": name, "weight": weight}, {"gradient": AMBIENT}, "geometric",
                number,
            )
            for weight in weights
        }
        for name in GRADIENTS
    }  # fmt: skip
    return _table(lines, "gradient", "Three modes: error below σₙ over the ambient loss alone")


def variants(found: Results) -> Styler:
    """Errors of fine-tuning with consistency over those of more ambient training."""
    names = [str(v) for v in found.labels("variant") if v != AMBIENT]
    number = len(SUMMARIES) * len(names)
    lines = {
        "the module's own" if name == RECOMMENDED else name: {
            title: error_ratio(found, {"variant": name}, {"variant": AMBIENT}, s, number)
            for s, title in TITLES.items()
        }
        for name in names
    }
    return _table(lines, "variant", "Three modes: error over that of more ambient training")


def ambient_weights(found: Results) -> Styler:
    """Errors of the ambient loss at the noise and below, by least noise added and by weight."""
    places = found.table[["start", "weight"]].drop_duplicates()
    lines = {}
    for start, weight in places.itertuples(index=False):
        errors = errors_of(found, start=start, weight=weight)
        share = "σₙ" if start == 1 else f"σₙ / {start:g}"
        lines[f"t from {share}, {weight}"] = {
            "error at σₙ": three(mean_interval(errors.at)),
            "rms below σₙ": three(mean_interval(errors.below)),
        }
    return _table(lines, "levels, weight", "Three modes: error of the ambient loss alone")


def tuning(gradients: Results, variants: Results, weights: Results) -> Styler:
    """How many settings of each method were tried in this chapter, and how one was chosen."""
    tried = len(gradients.settings["weights"])
    others = len([v for v in variants.labels("variant") if v != AMBIENT])
    pairs = len(weights.table[["start", "weight"]].drop_duplicates())
    whose = len([g for g in gradients.labels("gradient") if g != AMBIENT])
    shown = "default of the module"
    rows = [
        (label(CONSISTENCY), "weight of consistency", tried, "held-out noisy data"),
        (label(CONSISTENCY), "gradient, at each weight", whose, shown),
        (label(CONSISTENCY), "step, walk, draws, teacher", others, shown),
        ("both ambient methods", "smallest t, weight", pairs, shown),
        *((label(name), "none of its own", 1, "") for name in (SURE, NAIVE, CLEAN)),
    ]
    frame = pd.DataFrame(rows, columns=["method", "setting", "tried", "chosen by"])
    return plotting.table(frame, caption="Settings tried for each method")


def race(found: Results) -> Styler:
    """Errors of every method: means over seeds with their intervals."""
    titles = {**TITLES, "above": "rms above σₙ"}
    lines = {}
    for method in found.labels("method"):
        errors = errors_of(found, method=method)
        lines[label(method)] = {
            title: three(mean_interval(getattr(errors, s))) for s, title in titles.items()
        }
    return _table(lines, "method", "Three modes: error against the exact denoiser")


def ratios(found: Results) -> Styler:
    """Errors of ambient with consistency over those of each other method of the race."""
    known = race_ratios(found)
    lines = {
        label(name): {title: known[name, s] for s, title in TITLES.items()}
        for name in (*RIVALS, CLEAN)
    }
    return _table(lines, "over", "Three modes: error with consistency, over that of another method")


def samples(found: Results) -> Styler:
    """Width of the sampled modes, and distance of samples to real data."""
    titles = {
        "width": "width",
        "distance": "sliced Wasserstein",
        "width with new noise": "width with new noise",
    }
    lines = {
        label(name): {
            title: three(mean_interval(found.values(measure=m, method=name)))
            for m, title in titles.items()
        }
        for name in found.labels("method")
    }
    return _table(lines, "samples of", "Three modes: how wide the sampled modes are")


def mismatch(found: Results) -> Styler:
    """What each kind of noise costs consistency, and its errors over those of its peers."""
    known, costs, lines = mismatch_ratios(found), mismatch_costs(found), {}
    for kind in map(str, found.labels("kind")):
        line: dict[str, str | Interval] = {"over as assumed": costs.get(kind, "")}
        lines[kind] = line | {f"over {label(p)}": known[kind, p] for p in PEERS}
    return _table(lines, "noise", "Three modes: error below σₙ with consistency")


def mismatch_errors(found: Results) -> Styler:
    """Errors of consistency under each kind of noise, above, at and below it."""
    lines = {}
    for kind in map(str, found.labels("kind")):
        errors = errors_of(found, kind=kind, method=CONSISTENCY)
        means = {"rms above σₙ": errors.above, "at σₙ": errors.at, "rms below σₙ": errors.below}
        lines[kind] = {title: three(mean_interval(values)) for title, values in means.items()}
    return _table(lines, "noise", "Three modes: error of ambient with consistency")


def digits(found: Results) -> Styler:
    """Frechet distances on digits, and ratios of consistency to each other method."""
    errors, distances, lines = digit_error_ratios(found), digit_frechet_ratios(found), {}
    for name in found.labels("method"):
        rival = name in DIGIT_RIVALS
        lines[label(name)] = {
            "Fréchet": three(mean_interval(found.values(measure="Frechet distance", method=name))),
            "consistency over it": distances[str(name)] if rival else "",
            "its error below σₙ": errors[str(name)] if rival else "",
        }
    return _table(lines, "method", "8 × 8 digits: Fréchet distance, and ratios of consistency")


def digit_errors(found: Results) -> Styler:
    """Errors on clean test digits by level: means over seeds."""
    levels, lines = found.labels("level", measure="error"), {}
    for name in found.labels("method"):
        means = found.grid("seed", "level", measure="error", method=name).mean(0)
        lines[label(name)] = {f"{level:g} σₙ": f"{v:.3f}" for level, v in zip(levels, means)}
    return _table(lines, "error at", "8 × 8 digits: error of a pixel, by noise level")


def memory(found: Results) -> tuple[Styler, Styler]:
    """What comes back out of much noise, and copies among samples."""
    back, copied = {}, {}
    for name in found.labels("method", measure="distance"):
        shown = "trained on clean" if name == CLEAN else label(name)
        line = {}
        for sigma in found.settings["extreme"]:
            where = {"method": name, "sigma": sigma}
            off = [f"{_mean(found, 'distance', images=i, **where):.2f}" for i in ("train", "test")]
            line[f"off, σ = {sigma:g}"] = " / ".join(off)
            line[f"found, σ = {sigma:g}"] = f"{_mean(found, 'share found', **where):.0%}"
        back[shown] = line
        copied[shown] = {
            f"of {kind} digits": f"{_mean(found, 'share of copies', method=name, images=kind):.0%}"
            for kind in ("clean", "noisy")
        }
    return (
        _table(back, "denoiser", "8 × 8 digits: what comes back out of much noise"),
        _table(copied, "denoiser", "8 × 8 digits: copies among its samples"),
    )


def _mean(found: Results, measure: str, **where: object) -> float:
    return float(found.values(measure=measure, **where).mean())


def image_ratios(records: Mapping[str, Results]) -> Styler | None:
    """Ambient with consistency over each other method; None without records."""
    lines: dict[str, dict[str, str | Interval]] = {}
    for title, record in records.items():
        for method in (*IMAGE_METHODS, STOPPED):
            line: dict[str, str | Interval] = {}
            for s_n, measure, name in _columns(record):
                ratio: Interval | str | None = image_interval(record, measure, method, s_n)
                if ratio is None and len(image_values(record, measure, method, s_n)):
                    ratio = image_ratio(record, measure, method, s_n)
                line[f"{name}, σₙ = {s_n:g}"] = ratio or ""
            if method != CONSISTENCY and any(line.values()):
                lines[_row(records, title, label(method))] = line
    return _records(lines, "over", records, "ambient with consistency over another method")


def images(records: Mapping[str, Results]) -> Styler | None:
    """Frechet distance and error of all methods; None without records."""
    lines: dict[str, dict[str, str | Interval]] = {}
    for title, record in records.items():
        for method in (*IMAGE_METHODS, STOPPED):
            line: dict[str, str | Interval] = {
                f"{name}, σₙ = {s_n:g}": _cell(image_values(record, measure, method, s_n))
                for s_n, measure, name in _columns(record)
            }
            if any(line.values()):
                lines[_row(records, title, label(method))] = line
        floor = f"{record.facts['floor']:.3g}"
        lines[_row(records, title, "training images")] = {
            f"{name}, σₙ = {s_n:g}": floor if name == "Fréchet" else ""
            for s_n, _, name in _columns(record)
        }
    return _records(lines, "method", records, "all methods")


def _columns(record: Results) -> list[tuple[float, str, str]]:
    """Noise of the data, measure and its name, for each column of a table of images."""
    measures = {"Frechet distance": "Fréchet", "error": "error"}
    noises = [float(s) for s in record.labels("noise")]  # type: ignore[arg-type]
    return [(s_n, measure, name) for s_n in noises for measure, name in measures.items()]


def _row(records: Mapping[str, Results], title: str, name: str) -> str:
    """Name of a row: with its record's, if there are several."""
    return name if len(records) == 1 else f"{title}, {name}"


def _records(
    lines: Mapping[str, Mapping[str, str | Interval]], name: str, records: Mapping, what: str
) -> Styler | None:
    if not lines:
        return None
    title = next(iter(records)) if len(records) == 1 else "Images"
    heads = list(dict.fromkeys(head for line in lines.values() for head in line))
    filled = {row: {head: line.get(head, "") for head in heads} for row, line in lines.items()}
    return _table(filled, name, f"{title}: {what}")


def _cell(values: np.ndarray) -> str:
    """Mean over seeds with its interval, or how many failed."""
    return (failures(values) or three(mean_interval(values))) if len(values) else ""


def _table(lines: Mapping[str, Mapping[str, str | Interval]], name: str, caption: str) -> Styler:
    """Rows by their names; ratios as intervals, bold where they exclude 1."""
    frame = pd.DataFrame.from_dict(
        {row: {head: _shown(cell) for head, cell in line.items()} for row, line in lines.items()},
        orient="index",
    )
    bold = [[False, *(_decided(line[head]) for head in frame)] for line in lines.values()]
    return plotting.table(frame.rename_axis(name).reset_index(), caption=caption, bold=bold)


def _shown(cell: str | Interval) -> str:
    return three(cell) if isinstance(cell, Interval) else cell


def _decided(cell: str | Interval) -> bool:
    return isinstance(cell, Interval) and cell.excludes(1.0)
