"""Tables of chapter 3, each from the results of an experiment."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import pandas as pd

from companion import plotting
from companion.experiments.noise_classifier.comparisons import (
    cases,
    good_after,
    point_cases,
    tally,
)
from companion.experiments.noise_classifier.continuations import (
    CONTRASTIVE,
    CONTROLS,
    SHORT,
)
from companion.experiments.noise_classifier.evidence import (
    entropy_ratios,
    kinds_of_samples,
    known_shares,
    mean_ratios,
)
from companion.experiments.noise_classifier.image_tables import (
    gradient_of_chosen,
    image_by_iteration,
    image_gradients,
    image_iterations,
    image_ratios,
    image_samples,
    image_test,
    image_times,
    image_trials,
)
from companion.experiments.noise_classifier.points import DATA
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

__all__ = [
    "accuracy",
    "classifiers",
    "digit_samples",
    "digit_test",
    "draws",
    "error_ratios",
    "errors",
    "good_iterations",
    "gradient_of_chosen",
    "image_by_iteration",
    "image_gradients",
    "image_iterations",
    "image_ratios",
    "image_samples",
    "image_test",
    "image_times",
    "image_trials",
    "iterations",
    "picard",
    "sample_ratios",
    "tallies",
    "telling",
    "times",
    "tuning",
    "visits",
]

PLACE = {"data": itemgetter("data"), "region": itemgetter("region")}


# --- the ratio and Picard iteration, with exact denoisers -----------------------------------------


def accuracy(results: Results) -> Styler:
    """Median errors of the ratio in nats and those that the metric expected, of ``Accuracy``."""
    found, expected = (
        results.grid("points", "t", measure=measure) for measure in ("error", "expected error")
    )
    levels = [int(n) for n in results.labels("points", measure="error")]
    cells = {
        f"t = {t:g}": [f"{a:.3f} (± {b:.3f})" for a, b in zip(found[:, i], expected[:, i])]
        for i, t in enumerate(results.labels("t", measure="error"))
    }
    frame = pd.DataFrame({"levels (evaluations)": [f"{n} ({4 * n})" for n in levels], **cells})
    return plotting.table(frame, caption="Ring: median error of the ratio in nats (expected)")


def draws(results: Results) -> Styler:
    """Median error of the ratio in nats for each way to draw at equal cost, of ``Accuracy``."""
    rows = results.where(measure="error by draws")
    frame = rows.pivot_table("value", "draws", "t", sort=False)
    frame.columns = [f"t = {t:g}" for t in frame]
    frame = frame.rename_axis("draws").reset_index()
    return plotting.table(frame, caption="Ring: median error of the ratio in nats, at equal cost")


def picard(results: Results) -> Styler:
    """Cost and error of Picard iteration with the exact denoiser, of ``ExactPicard``."""
    measures = ["iterations", "evaluations", "largest / start", "error", "seconds"]
    rows = results.where(measure=measures)
    frame = _by_window(rows, ["sampler", "form"], measures)
    return plotting.table(frame, caption="Spirals: Picard iteration with the exact denoiser")


def times(results: Results) -> Styler:
    """Depth, cost and time of DDPM on the spirals in sequence and in parallel."""
    measures = ["depth", "evaluations", "seconds", "distance at the end"]
    frame = _by_window(results.where(measure=measures), ["method", "form"], measures)
    frame["method"] = [SHORT.get(str(m), m) for m in frame["method"]]
    return plotting.table(frame, caption="Spirals: depth, cost and time of DDPM")


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


def visits(results: Results) -> Styler:
    """Shares of states and trajectories off the distribution, the error at all, of ``Visits``.

    Means over seeds.
    """
    keys = ["kind", "by", "iteration"]
    frame = results.table.pivot_table("value", keys, "measure", sort=False).reset_index()
    by = [
        f"Picard of DDIM, {row.by}, iteration {row.iteration}" if row.kind == "Picard" else row.by
        for row in frame.itertuples()
    ]
    shares = {
        "states off": frame["share off"],
        "trajectories off": frame["trajectories off"],
    }
    cells = {head: [f"{share:.0%}" for share in column] for head, column in shares.items()}
    frame = pd.DataFrame({"evaluated by": by, **cells, "error, all states": frame["error"]})
    return plotting.table(frame, caption="Spirals: where samplers evaluate a network")


def errors(results: Results) -> Styler:
    """Mean errors of the networks by region, of ``RegionErrors`` or ``LaterErrors``."""
    listed = cases(results, ("data", "region"), measure="error")
    frame = means(listed, results.labels("method"), PLACE)
    return plotting.table(frame, caption="Points: error of the noise estimate")


def error_ratios(results: Results) -> Styler:
    """Errors with the contrastive loss over those of both controls, by region.

    The ratios are paired over seeds; their intervals hold together at 95 %.
    """
    listed = cases(results, ("data", "region"), measure="error")
    frame = ratios(listed, PLACE)
    return shown(frame, "Points: error of the noise estimate with the contrastive loss")


def good_iterations(results: Results) -> Styler:
    """Iterations until samples of the spirals are within twice their last distance."""
    rows = results.where(measure="distance", data="spirals")
    forms, methods = rows["form"].unique(), rows["method"].unique()
    cells = {form: [good_after(results, form, method) for method in methods] for form in forms}
    frame = pd.DataFrame({"network": methods, **cells})
    return plotting.table(frame, caption="Spirals, DDPM: Picard iterations until samples are good")


def iterations(results: Results) -> Styler:
    """Picard iterations of DDPM until the tolerance, of ``ParallelSamples``."""
    rows = results.where(measure="iterations").copy()
    rows["place"] = rows["data"] + ", " + rows["form"]
    methods = [m for m in rows["method"].unique() if m in SHORT]
    frame = rows.pivot_table("value", "method", "place", sort=False).loc[methods].astype(int)
    frame = frame.rename_axis("network").rename_axis(columns=None).reset_index()
    return plotting.table(frame, caption="Picard iterations of DDPM until the tolerance")


def tallies(sequential: Results, parallel: Results) -> Styler:
    """In how many cases samples are better and worse than each control's.

    A case is better or worse if its interval, which holds together with the others of its kind,
    excludes no difference.
    """
    rows = []
    for kind, listed in zip(("sequential", "parallel"), point_cases(sequential, parallel)):
        for control in CONTROLS:
            found = tally(listed, control)
            each = [interval.mean for interval in found.ratios]
            rows.append(
                {
                    "against": f"{SHORT[control]}, {kind}",
                    "cases": len(listed),
                    "better": found.better,
                    "worse": found.worse,
                    "ratio of distances": f"{min(each):.3g} to {max(each):.3g}",
                }
            )
    caption = "Points: cases in which the contrastive loss has better samples"
    return plotting.table(pd.DataFrame(rows), caption=caption)


def sample_ratios(sequential: Results, parallel: Results, digits: Results) -> Styler:
    """Mean ratio of distances to each control, for each kind of samples."""
    kinds = kinds_of_samples(sequential, parallel, digits)
    found = {head: mean_ratios(kinds, control) for control, head in RATIOS.items()}
    rows = [
        {"samples": kind, "settings": len(some)} | {head: r[kind] for head, r in found.items()}
        for kind, some in kinds.items()
    ]
    caption = "Points and 8 × 8 digits: distance of samples to the data, with the contrastive loss"
    return shown(pd.DataFrame(rows), caption)


def classifiers(results: Results) -> Styler:
    """Cross entropy in nats of telling clean from noised points, of ``TrainedClassifiers``."""
    frame = results.table.pivot_table("value", "method", "data", sort=False)
    frame = frame.rename_axis("network").rename_axis(columns=None)
    caption = "Points: cross entropy of telling clean from noised, in nats"
    return plotting.table(frame.reset_index(), caption=caption)


def telling(trained: Results, test: Results) -> Styler:
    """What networks' classifiers know, and what the contrastive loss adds at equal evaluations."""
    number = len(DATA) + len(test.labels("t", measure="cross entropy"))
    gains = entropy_ratios(trained, "data", number)
    gains |= {f"digits, t = {t:g}": r for t, r in entropy_ratios(test, "t", number).items()}
    known = {name: f"{share:.0%}" for name, share in known_shares(trained).items()}
    head = "known, of the exact classifier's"
    rows = [
        {"data": name, head: known.get(name), "cross entropy, contrastive over control": ratio}
        for name, ratio in gains.items()
    ]
    caption = "Points and 8 × 8 digits: telling clean from noised"
    return shown(pd.DataFrame(rows), caption)


def tuning(points: Results, digits: Results) -> Styler:
    """Count the settings that were tried for each training, on networks that are not compared."""
    tried = {method: chosen["tried"] for method, chosen in points.facts["chosen"].items()}
    on_digits = {CONTRASTIVE: len(digits.table)}
    frame = pd.DataFrame(
        {
            "training": list(tried),
            "points": list(tried.values()),
            "digits": [on_digits.get(method, 1) for method in tried],
        }
    )
    return plotting.table(frame, caption="Settings tried for each training")


# --- digits ---------------------------------------------------------------------------------------


def digit_test(results: Results) -> Styler:
    """Cross entropy in nats, and area under the curve in brackets, of ``DigitTest``."""
    methods = results.labels("method")
    cells = {f"t = {t:g}: loss (area)": losses(results, t, methods) for t in results.labels("t")}
    frame = pd.DataFrame({"network": methods, **cells})
    return plotting.table(frame, caption="8 × 8 digits: telling held-out digits from noised ones")


def digit_samples(results: Results) -> Styler:
    """Frechet distances of samples, and ratios whose intervals hold together at 95 %."""
    listed = cases(results, ("kind", "sampler", "budget"), measure="Frechet distance")
    methods = results.labels("method", measure="Frechet distance")
    found = means(listed, methods, {"samples": setting})
    frame = found.join(ratios(listed, {}))
    return shown(frame, "8 × 8 digits: Fréchet distance, and its ratio with the contrastive loss")
