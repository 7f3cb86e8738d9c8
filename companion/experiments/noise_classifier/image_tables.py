"""Tables of chapter 3's records of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from companion.experiments.image_search import CHOSEN_BY, best_trial, chosen
from companion.experiments.noise_classifier.comparisons import (
    cases,
    entropy_differences,
    kind_name,
    kind_ratios,
)
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
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
from companion.statistics import paired_ratio

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "NEARLY_NOTHING",
    "gradient_of_chosen",
    "image_by_iteration",
    "image_gradients",
    "image_iterations",
    "image_ratios",
    "image_samples",
    "image_test",
    "image_times",
    "image_trials",
]

NEARLY_NOTHING = 0.1
"""Share of denoising's gradient below which a loss beside it changes next to nothing."""

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


def image_trials(record: Results) -> Styler:
    """Return what the search of ``ImageSearch`` chose for each method, beside the start."""
    found: dict[str, Mapping[str, Any]] = {BEFORE: {}, **chosen(record)}
    rows = []
    for method, settings in found.items():
        number = 0 if method == BEFORE else best_trial(record, method)
        where = {"method": method, "trial": number}
        told = {name: _text(value) for name, value in settings.items()}
        distance = record.value(measure=CHOSEN_BY, **where)
        rows.append({"": SHORT[method], "distance": f"{distance:.3g}", **told})
    trials = _different(record)
    return shown(pd.DataFrame(rows).fillna("–"), f"The best trial of each method; {trials}")


def _or_dash(value: float) -> str:
    """Two digits; a dash where there is no value."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def _different(record: Results) -> str:
    """Say how many trials each method had; the same draw twice is one."""
    listed = {SHORT[method]: trials for method, trials in record.facts["trials"].items()}
    return ", ".join(
        f"{name}: {len({str(sorted(t.items())) for t in trials})} different trials"
        for name, trials in listed.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " to ".join(f"{v:g}" for v in value)
    return f"{value:g}"


def image_gradients(record: Results) -> Styler:
    """Return norms and cosine of the gradients of ``ImageGradients``, and what is told apart.

    Norms are those of the loss at weight 1, as a share of denoising's. Cross entropy is in nats;
    chance has ln 2.
    """
    objectives = [str(name) for name in record.labels("objective")]
    plain = objectives[0]

    def share(measure: str, name: str) -> str:
        over = record.value(measure=measure, objective=plain)
        size = record.value(measure=measure, objective=name)
        return f"{size / over:.2g}" if over else "–"

    rows = [
        {
            "contrast": name,
            "cross entropy": f"{record.value(measure='loss', objective=name) / 2:.3f}",
            "norm, one batch": share("of a batch", name),
            "norm of the mean": share("of the mean", name),
            "cosine": _or_dash(record.value(measure="cosine to denoising", objective=name)),
        }
        for name in objectives[1:]
    ]
    return shown(pd.DataFrame(rows), "The gradient of the loss, over that of denoising")


def gradient_of_chosen(search: Results, gradients: Results) -> str:
    """Say how strong the gradient of the loss is at the settings that the search chose.

    Both are of the same trained network; the share is that of the norm in a batch.
    """
    settings = chosen(search)[CONTRASTIVE]
    contrast = _text(settings["contrast"])
    if contrast not in gradients.labels("objective"):
        return f"The gradient at the chosen contrast, {contrast}, was not measured."
    norms = [
        gradients.value(measure="of a batch", objective=name)
        for name in (contrast, gradients.labels("objective")[0])
    ]
    share = settings["weight"] * norms[0] / norms[1]
    little = "So the best trial of the loss is nearly plain denoising."
    told = (
        f"The search chose contrast {contrast} and weight {settings['weight']:g}. There the loss "
        f"has {share:.2g} times the gradient of denoising in a batch."
    )
    return f"{told} {little}" if share < NEARLY_NOTHING else told


def image_iterations(records: Mapping[str, Results]) -> Styler | None:
    """Return the cost until the tolerance of ``ImagePicard``, and its ratio to the plain form."""

    def frame(record: Results) -> pd.DataFrame:
        rows, ways = [], [str(way) for way in record.labels("way")]
        for way in ways:
            row: dict[str, Any] = {"iteration": way}
            for measure in ("iterations", "evaluations"):
                cost, plain = (record.values(measure=measure, way=w) for w in (way, ways[0]))
                row[measure] = f"{cost.mean():.1f}"
                if way != ways[0]:
                    # Ways times measures, without the first way: these intervals hold together.
                    held = 2 * (len(ways) - 1)
                    row[f"{measure} over plain"] = paired_ratio(cost, plain, comparisons=held)
            rows.append(row)
        return pd.DataFrame(rows).astype(object).fillna("1")

    return _by_record(records, frame, "until no state moves more than the tolerance")


def image_by_iteration(records: Mapping[str, Results], most: int = 4) -> Styler | None:
    """Return the distance of what an iteration holds over that of the steps, of ``ImagePicard``.

    ``most`` is how many iterations are shown, the last ones. All intervals hold together.
    """

    def frame(record: Results) -> pd.DataFrame:
        measure = "Frechet distance"
        ways = [str(way) for way in record.labels("way")]
        depths = sorted(float(d) for d in record.labels("iteration", measure=measure))[-most:]  # type: ignore[arg-type]
        rows = []
        for way in ways:
            steps = record.values(measure="in sequence", way=way)
            row: dict[str, Any] = {"iteration": way}
            for depth in depths:
                held = record.values(measure=measure, way=way, iteration=depth)
                row[f"{depth:g}"] = paired_ratio(held, steps, comparisons=len(ways) * len(depths))
            rows.append(row)
        return pd.DataFrame(rows)

    return _by_record(records, frame, "distance over that of the same steps one after the other")


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
