"""Tables of chapter 3's records of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from companion.experiments.noise_classifier.comparisons import (
    cases,
    entropy_differences,
    kind_name,
    kind_ratios,
)
from companion.experiments.noise_classifier.continuations import (
    CONTROLS,
    SAME_COST,
    SAME_STEPS,
    SHORT,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.noise_classifier.table_parts import (
    RATIOS,
    losses,
    means,
    ratios,
    setting,
    shown,
)
from companion.experiments.results import Results

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["image_ratios", "image_samples", "image_test", "image_times"]

DIFFERENCES = {SAME_STEPS: "less same steps", SAME_COST: "less same evaluations"}


def image_samples(records: Mapping[str, Results]) -> Styler | None:
    """Frechet distances of sequential samplers; each interval holds by itself."""

    def frame(record: Results) -> pd.DataFrame:
        where = {"measure": "Frechet distance", "kind": SEQUENTIAL}
        listed = cases(record, ("sampler", "budget"), **where)
        found = means(listed, record.labels("method", **where), {"samples": setting})
        return found.join(ratios(listed, {}, 1))

    return _by_record(records, frame, "Fréchet distance, step by step")


def image_ratios(records: Mapping[str, Results]) -> Styler | None:
    """Mean ratio of each kind of sampling to the controls; those of a record hold together."""

    def frame(record: Results) -> pd.DataFrame:
        found = kind_ratios(record)
        rows = [
            {"samples": kind_name(kind)} | {head: found[kind, c] for c, head in RATIOS.items()}
            for kind in dict.fromkeys(kind for kind, _ in found)
        ]
        return pd.DataFrame(rows)

    return _by_record(records, frame, "Fréchet distance with the contrastive loss")


def image_times(records: Mapping[str, Results]) -> Styler | None:
    """Time of Picard iteration until its last iteration, and of the same steps in sequence."""

    def frame(record: Results) -> pd.DataFrame:
        kinds = dict.fromkeys(kind for kind, _ in kind_ratios(record) if kind != SEQUENTIAL)
        rows = [{"samples": kind_name(kind)} | _seconds(record, kind) for kind in kinds]
        return pd.DataFrame(rows)

    return _by_record(records, frame, "time of sampling")


def _seconds(record: Results, kind: str) -> dict[str, str]:
    parallel = record.where(measure="seconds", kind=kind)
    deepest = parallel["budget"].max()
    took = parallel.loc[parallel["budget"] == deepest, "value"].sum()
    sequence = record.where(measure="seconds in sequence", kind=kind)
    return {
        "in parallel": f"{took:.3g} s ({int(deepest)} iterations)",
        "in sequence": f"{sequence['value'].sum():.3g} s ({int(sequence['budget'].max())} steps)",
    }


def image_test(records: Mapping[str, Results]) -> Styler | None:
    """Cross entropy (area) of telling images from noised ones, with differences in nats."""

    def frame(record: Results) -> pd.DataFrame:
        noises = record.labels("t", measure="cross entropy")
        methods = record.labels("method", measure="cross entropy")
        differences = entropy_differences(record, len(CONTROLS) * len(noises))
        rows = []
        for t in noises:
            row: dict[str, Any] = {"t": f"{t:g}"}
            row |= dict(zip([SHORT[str(m)] for m in methods], losses(record, t, methods)))
            row |= {head: differences[t, control] for control, head in DIFFERENCES.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    return _by_record(records, frame, "telling clean images from noised ones", 0.0)


def _by_record(
    records: Mapping[str, Results],
    frame: Callable[[Results], pd.DataFrame],
    what: str,
    nothing: float = 1.0,
) -> Styler | None:
    """One table of all records: their name is in the caption, or in a column if there are more."""
    frames = {title: frame(record) for title, record in records.items()}
    if len(frames) < 2:
        return next((shown(f, f"{title}: {what}", nothing) for title, f in frames.items()), None)
    named = [f.assign(images=title) for title, f in frames.items()]
    return shown(pd.concat(named, ignore_index=True), f"Images: {what}", nothing)
