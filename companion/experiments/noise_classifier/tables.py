"""Tables of chapter 3: from results to frames, a function a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from companion.experiments.noise_classifier.comparisons import (
    Case,
    cases,
    entropy_differences,
    good_after,
    is_finite,
    kind_name,
    kind_ratios,
    point_cases,
    tally,
)
from companion.experiments.noise_classifier.continuations import (
    CONTRASTIVE,
    CONTROLS,
    SAME_COST,
    SAME_STEPS,
    SHORT,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.results import Results
from companion.statistics import Interval

__all__ = [
    "accuracy",
    "classifiers",
    "digit_samples",
    "digit_test",
    "draws",
    "errors",
    "good_iterations",
    "image_ratios",
    "image_samples",
    "image_test",
    "iterations",
    "picard",
    "tallies",
    "times",
    "tuning",
    "visits",
]

RATIOS = {SAME_STEPS: "contrastive / same steps", SAME_COST: "contrastive / same evaluations"}
DIFFERENCES = {
    SAME_STEPS: "loss, contrastive less same steps",
    SAME_COST: "less same evaluations",
}


# --- the ratio and Picard iteration, with exact denoisers -----------------------------------------


def accuracy(results: Results) -> pd.DataFrame:
    """Median errors of the ratio in nats and those that the metric expected, of ``Accuracy``."""
    found, expected = (
        results.grid("points", "t", measure=measure) for measure in ("error", "expected error")
    )
    levels = [int(n) for n in results.labels("points", measure="error")]
    cells = {
        f"t = {t:g}": [f"{a:.3f} (± {b:.3f})" for a, b in zip(found[:, i], expected[:, i])]
        for i, t in enumerate(results.labels("t", measure="error"))
    }
    return pd.DataFrame({"levels (evaluations)": [f"{n} ({4 * n})" for n in levels], **cells})


def draws(results: Results) -> pd.DataFrame:
    """Median error of the ratio in nats for each way to draw at equal cost, of ``Accuracy``."""
    rows = results.where(measure="error by draws")
    frame = rows.pivot_table("value", "draws", "t", sort=False)
    frame.columns = [f"t = {t:g}" for t in frame]
    return frame.rename_axis("draws, at equal cost").reset_index()


def picard(results: Results) -> pd.DataFrame:
    """Cost and error of Picard iteration with the exact denoiser, of ``ExactPicard``."""
    measures = ["iterations", "evaluations", "largest / start", "error", "seconds"]
    rows = results.where(measure=measures)
    return _by_window(rows, ["sampler", "form"], measures)


def times(results: Results) -> pd.DataFrame:
    """Depth, cost and time of DDPM on the spirals in sequence and in parallel."""
    measures = ["depth", "evaluations", "seconds", "distance at the end"]
    return _by_window(results.where(measure=measures), ["method", "form"], measures)


def _by_window(rows: pd.DataFrame, names: list[str], measures: list[str]) -> pd.DataFrame:
    whole = rows["window"].max()
    frame = rows.pivot_table("value", [*names, "window"], "measure", sort=False)[measures]
    frame = frame.reset_index().rename_axis(columns=None)
    frame["window"] = [
        "one step" if w == 1 else "whole" if w == whole else str(int(w)) for w in frame["window"]
    ]
    counts = [m for m in measures if m in ("iterations", "depth", "evaluations")]
    return frame.astype(dict.fromkeys(counts, int))


# --- networks on points ---------------------------------------------------------------------------


def visits(results: Results) -> pd.DataFrame:
    """Shares of states and trajectories off the distribution, the error at all, of ``Visits``.

    Means over seeds.
    """
    keys = ["kind", "by", "iteration"]
    frame = results.table.pivot_table("value", keys, "measure", sort=False).reset_index()
    by = [
        f"Picard, {row.by}, iteration {row.iteration}" if row.kind == "Picard" else row.by
        for row in frame.itertuples()
    ]
    shares = {
        "states off the distribution": frame["share off"],
        "trajectories with one": frame["trajectories off"],
    }
    cells = {head: [f"{share:.0%}" for share in column] for head, column in shares.items()}
    return pd.DataFrame({"evaluated by": by, **cells, "error there": frame["error"]})


def errors(results: Results) -> pd.DataFrame:
    """Errors of the networks by region, of ``RegionErrors`` or ``LaterErrors``.

    The ratios are paired over seeds; their intervals hold together at 95 %.
    """
    listed = cases(results, ("data", "region"), measure="error")
    return _comparison(
        listed,
        results.labels("method"),
        {"data": lambda where: where["data"], "error of the noise estimate": _region},
    )


def _region(where: Mapping[str, Any]) -> str:
    return where["region"]


def good_iterations(results: Results) -> pd.DataFrame:
    """Iterations until samples of the spirals are within twice their last distance."""
    rows = results.where(measure="distance", data="spirals")
    forms, methods = rows["form"].unique(), rows["method"].unique()
    cells = {form: [good_after(results, form, method) for method in methods] for form in forms}
    return pd.DataFrame({"iterations until good": methods, **cells})


def iterations(results: Results) -> pd.DataFrame:
    """Picard iterations of DDPM until the tolerance, of ``ParallelSamples``."""
    rows = results.where(measure="iterations").copy()
    rows["place"] = rows["data"] + ", " + rows["form"]
    methods = [m for m in rows["method"].unique() if m in SHORT]
    frame = rows.pivot_table("value", "method", "place", sort=False).loc[methods].astype(int)
    return frame.rename_axis("iterations, DDPM").rename_axis(columns=None).reset_index()


def tallies(sequential: Results, parallel: Results) -> pd.DataFrame:
    """In how many cases samples are better and worse than each control's.

    A case is better or worse if its interval, which holds together with the others of its kind,
    excludes no difference.
    """
    rows = []
    for kind, listed in zip(("sequential", "parallel"), point_cases(sequential, parallel)):
        for control in CONTROLS:
            found = tally(listed, control)
            means = [interval.mean for interval in found.ratios]
            rows.append(
                {
                    "contrastive loss against": f"{control}: {kind}",
                    "cases": len(listed),
                    "better": found.better,
                    "worse": found.worse,
                    "distance, over the control's": f"{min(means):.3f} to {max(means):.3f}",
                }
            )
    return pd.DataFrame(rows)


def classifiers(results: Results) -> pd.DataFrame:
    """Cross entropy in nats of telling clean from noised points, of ``TrainedClassifiers``."""
    frame = results.table.pivot_table("value", "method", "data", sort=False)
    frame = frame.rename_axis("clean or noised points: loss").rename_axis(columns=None)
    return frame.reset_index()


def tuning(points: Results, digits: Results) -> pd.DataFrame:
    """Count the settings that were tried for each training, on networks that are not compared.

    Of ``PointNetworks`` and ``DigitNetworks``; one that has no choice of its own was tried once.
    """
    tried = {method: chosen["tried"] for method, chosen in points.facts["chosen"].items()}
    on_digits = {CONTRASTIVE: len(digits.table)}
    return pd.DataFrame(
        {
            "settings tried": list(tried),
            "points": list(tried.values()),
            "digits": [on_digits.get(method, 1) for method in tried],
        }
    )


# --- digits ---------------------------------------------------------------------------------------


def digit_test(results: Results) -> pd.DataFrame:
    """Cross entropy in nats, and area under the curve in brackets, of ``DigitTest``."""
    methods = results.labels("method")
    cells = {f"t = {t:g}: loss (area)": _test(results, t, methods) for t in results.labels("t")}
    return pd.DataFrame({"held-out digits, clean or noised": methods, **cells})


def _test(results: Results, t: Any, methods: Sequence[Any]) -> list[str]:
    cells = []
    for method in methods:
        loss, area = (
            results.values(measure=measure, t=t, method=method).mean()
            for measure in ("cross entropy", "area")
        )
        cells.append(f"{loss:.3g} ({area:.3f})")
    return cells


def digit_samples(results: Results) -> pd.DataFrame:
    """Frechet distances of samples, and ratios whose intervals hold together at 95 %."""
    listed = cases(results, ("kind", "sampler", "budget"), measure="Frechet distance")
    methods = results.labels("method", measure="Frechet distance")
    return _comparison(listed, methods, {"Fréchet distance": _setting})


def _setting(where: Mapping[str, Any]) -> str:
    if where["kind"] == SEQUENTIAL:
        return f"{where['sampler']}, {int(where['budget'])} evaluations"
    return f"{kind_name(where['kind'])}, {int(where['budget'])} iterations"


# --- images: a row for each record ----------------------------------------------------------------


def image_samples(records: Mapping[str, Results]) -> pd.DataFrame:
    """Frechet distances of sequential samplers; each interval holds by itself."""
    frames = []
    for title, record in records.items():
        where = {"measure": "Frechet distance", "kind": SEQUENTIAL}
        frame = _comparison(
            cases(record, ("sampler", "budget"), **where),
            record.labels("method", **where),
            {"Fréchet distance": _setting},
            comparisons=1,
        )
        frame.insert(0, "images", title)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def image_ratios(records: Mapping[str, Results]) -> pd.DataFrame:
    """Mean ratio of each kind of sampling to the controls, and the time of Picard iteration.

    The times are those until the last iteration, for all seeds and trainings together, and those of
    the same steps one after the other, in seconds. Intervals of a record hold together at 95 %.
    """
    rows = []
    for title, record in records.items():
        ratios = kind_ratios(record)
        for kind in dict.fromkeys(kind for kind, _ in ratios):
            row = {"images": title, "ratio of Fréchet distances": kind_name(kind)}
            row |= {head: _text(ratios[kind, control]) for control, head in RATIOS.items()}
            rows.append(row | _seconds(record, kind))
    return pd.DataFrame(rows)


def _seconds(record: Results, kind: str) -> dict[str, str]:
    if kind == SEQUENTIAL:
        return {"in parallel": "", "in sequence": ""}
    parallel = record.where(measure="seconds", kind=kind)
    deepest = parallel["budget"].max()
    took = parallel.loc[parallel["budget"] == deepest, "value"].sum()
    sequence = record.where(measure="seconds in sequence", kind=kind)
    return {
        "in parallel": f"{took:.3g} s ({int(deepest)} iterations)",
        "in sequence": f"{sequence['value'].sum():.3g} s ({int(sequence['budget'].max())} steps)",
    }


def image_test(records: Mapping[str, Results]) -> pd.DataFrame:
    """Cross entropy (area under the curve) of telling images from noised ones, with differences.

    The intervals of a record hold together at 95 %.
    """
    rows = []
    for title, record in records.items():
        noises = record.labels("t", measure="cross entropy")
        methods = record.labels("method", measure="cross entropy")
        differences = entropy_differences(record, len(CONTROLS) * len(noises))
        for t in noises:
            row = {"images": title, "clean or noised: loss (area)": f"t = {t:g}"}
            row |= dict(zip([SHORT[str(m)] for m in methods], _test(record, t, methods)))
            row |= {head: str(differences[t, control]) for control, head in DIFFERENCES.items()}
            rows.append(row)
    return pd.DataFrame(rows)


# --- what several tables need ---------------------------------------------------------------------


def _comparison(
    listed: Sequence[Case],
    methods: Sequence[Any],
    names: Mapping[str, Callable[[Mapping[str, Any]], str]],
    comparisons: int | None = None,
) -> pd.DataFrame:
    """A row for each case: its names, the mean of each method, the ratios to both controls."""
    number = len(CONTROLS) * len(listed) if comparisons is None else comparisons
    rows = []
    for case in listed:
        results, where = case
        values = {m: results.values(method=m, **where) for m in methods}
        row: dict[str, Any] = {head: name(where) for head, name in names.items()}
        row |= {SHORT[str(m)]: v.mean() for m, v in values.items()}
        for control, head in RATIOS.items():
            row[head] = _text(tally([case], control, number).ratios[0])
        rows.append(row)
    return pd.DataFrame(rows)


def _text(interval: Interval) -> str:
    return f"{interval:.3f}" if is_finite(interval) else "not finite"
