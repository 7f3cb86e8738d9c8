"""What the rules of chapter 3 decide from: intervals by condition, and evidence in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from companion.experiments.claims import LONGEST_ANSWER, Claim
from companion.experiments.noise_classifier.classifiers import CHANCE
from companion.experiments.noise_classifier.comparisons import (
    Case,
    Decision,
    cases,
    compared,
    entropy_differences,
    kind_name,
    kind_ratios,
    mean_ratio,
    point_cases,
    ratio_text,
    within,
)
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    CONTROLS,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.noise_classifier.picard import FORMS
from companion.experiments.noise_classifier.points import DATA
from companion.experiments.noise_classifier.regions import OFF_REGION, TRAINED_REGION
from companion.experiments.noise_classifier.samples import EXACT
from companion.experiments.results import Results
from companion.statistics import Interval, mean_interval, paired_difference, paired_ratio

__all__ = [
    "claim",
    "entropy_ratios",
    "image_tests_in_words",
    "images_in_words",
    "in_words",
    "iteration_ratios",
    "kinds_of_samples",
    "known_shares",
    "levels_in_words",
    "mean_ratios",
    "more_visits",
    "off_cases",
    "off_ratios",
    "quality_depths",
    "setting_name",
    "short",
    "steps_in_words",
    "trajectories_off",
]


def trajectories_off(visits: Results) -> dict[str, Interval]:
    """Share of trajectories with a state off the distribution, by sequential sampler."""
    names = visits.labels("by", kind="sequential")
    return {
        name: mean_interval(
            visits.values(measure="trajectories off", kind="sequential", by=name),
            comparisons=len(names),
        )
        for name in names
    }


def more_visits(visits: Results, iteration: int) -> dict[str, Interval]:
    """Share of evaluations off the distribution less that of DDIM in sequence, by Picard's form."""
    step = visits.values(measure="share off", kind="sequential", by="DDIM")
    return {
        f"{form} form": paired_difference(
            visits.values(measure="share off", kind="Picard", by=form, iteration=iteration),
            step,
            comparisons=len(FORMS),
        )
        for form in FORMS
    }


def off_cases(errors: Results, later: Results) -> dict[str, list[Case]]:
    """Return the regions off the distribution, by networks."""

    def off(results: Results, **where: Any) -> list[Case]:
        regions = [r for r in results.labels("region") if r != TRAINED_REGION]
        return cases(results, ("data", "region"), measure="error", region=regions, **where)

    found = {str(name): off(errors, data=name) for name in errors.labels("data")}
    return {**found, "spirals, trained for longer": off(later)}


def mean_ratios(listed: Mapping[str, list[Case]], control: str) -> dict[str, Interval]:
    """Mean ratio to a control for each group of cases; the intervals hold together."""
    return {name: mean_ratio(some, control, len(listed)) for name, some in listed.items()}


def iteration_ratios(
    parallel: Results, method: str, control: str, reference: str, names: tuple[str, ...] = DATA
) -> dict[str, Interval]:
    """Iterations until samples are as good as those of ``reference``, over those of a control.

    By data and form. The intervals hold together at 95 %.
    """
    places = [(name, form) for name in names for form in FORMS]
    return {
        f"{name}, {form} form": paired_ratio(
            *(quality_depths(parallel, name, form, m, reference) for m in (method, control)),
            comparisons=len(places),
        )
        for name, form in places
    }


def known_shares(trained: Results) -> dict[str, Interval]:
    """Nats below chance of networks' classifiers over those of the exact denoiser's, by data."""
    known = {}
    for name in DATA:
        network, exact = (
            CHANCE - trained.values(measure="cross entropy", data=name, method=method)
            for method in (BEFORE, EXACT)
        )
        known[name] = mean_interval(network / exact, comparisons=len(DATA))
    return known


def entropy_ratios(results: Results, column: str, comparisons: int) -> dict[Any, Interval]:
    """Cross entropy with the loss over that of equal evaluations, for each entry of ``column``.

    Not finite where a seed failed, as in a ``Tally``.
    """
    ratios = {}
    for key in results.labels(column, measure="cross entropy"):
        where = {"measure": "cross entropy", column: key}
        loss, control = (results.values(method=m, **where) for m in (CONTRASTIVE, SAME_COST))
        ratios[key] = compared(paired_ratio, loss, control, comparisons)
    return ratios


def off_ratios(errors: Results) -> dict[str, Interval]:
    """Error with more noise than admitted over that of the training distribution, by data.

    Of the networks before they are continued. The intervals hold together at 95 %.
    """
    names = [str(name) for name in errors.labels("data")]
    ratios = {}
    for name in names:
        off, trained = (
            errors.values(measure="error", data=name, region=region, method=BEFORE)
            for region in (OFF_REGION, TRAINED_REGION)
        )
        ratios[name] = compared(paired_ratio, off, trained, len(names))
    return ratios


def kinds_of_samples(
    sequential: Results, parallel: Results, digits: Results
) -> dict[str, list[Case]]:
    """Return the settings in which samples are compared, by what is sampled and how.

    Picard iteration counts in its semilinear form: before the plain form converges, a ratio
    compares how large two failures are.
    """
    columns = ("kind", "sampler", "budget")
    points, iterations = point_cases(sequential, parallel)
    return {
        "points in sequence": points,
        "points in parallel": [c for c in iterations if c[1]["form"] == "semilinear"],
        "digits in sequence": cases(digits, columns, measure="Frechet distance", kind=SEQUENTIAL),
        "digits in parallel": cases(digits, columns, measure="Frechet distance", kind="semilinear"),
    }


def quality_depths(
    parallel: Results, data: str, form: str, method: str, reference: str
) -> np.ndarray:
    """Return for each seed the iterations until samples are as good as those of ``reference``.

    That is, until their distance is within twice the one that ``reference`` ends with for the same
    seed. Whoever does not get there counts as one more step of the depths that are measured.
    """
    where = {"measure": "distance", "data": data, "form": form}
    depths = np.array(sorted(parallel.labels("iteration", method=method, **where)), dtype=float)
    found = np.stack(
        [parallel.values(method=method, iteration=d, **where) for d in depths.tolist()]
    )
    last = parallel.values(method=reference, iteration=float(depths[-1]), **where)
    good = np.concatenate([found <= 2 * last, np.ones_like(found[:1], dtype=bool)])
    beyond = 2 * depths[-1] - depths[-2]
    return np.append(depths, beyond)[good.argmax(0)]


# --- in words -------------------------------------------------------------------------------------


def levels_in_words(accuracy: Results, nats: float) -> str:
    """Evaluations from which the ratio is right."""
    listed = ", ".join(
        f"{4 * n} evaluations for t = {t:g}" if n else f"more than tried for t = {t:g}"
        for t, n in within(accuracy, nats).items()
    )
    return f"Its median error is below {nats:g} nat from {listed} on."


def steps_in_words(points: Results, digits: Results) -> str:
    """How long networks were trained, of ``PointNetworks`` and ``DigitNetworks``."""
    listed = [
        f"{results.settings['steps']:,} and {results.settings['tune_steps']:,} ({name})"
        for name, results in (("points", points), ("digits", digits))
    ]
    return f"Steps of training, and further ones with the loss: {', '.join(listed)}."


def setting_name(kind: str, where: Mapping[str, Any]) -> str:
    """Return a setting in which samples are compared as it is called in evidence."""
    parts = [kind, where.get("data"), where.get("sampler")]
    count = where["iteration"] if "form" in where else where["budget"]
    return ", ".join([*map(str, filter(None, parts)), f"{count:g}"])


def images_in_words(images: Mapping[str, Results | None]) -> str:
    """Mean ratios of all image records."""
    lines = []
    for title, record in images.items():
        if record is None:
            continue
        ratios = kind_ratios(record)
        parts = [
            f"{kind_name(kind)}: to equal steps {ratio_text(ratios[kind, SAME_STEPS])}, "
            f"to equal evaluations {ratio_text(ratios[kind, SAME_COST])}"
            for kind in dict.fromkeys(kind for kind, _ in ratios)
        ]
        lines.append(
            f"U-Nets on {title} ({record.settings['seeds']} seeds, from their record), ratio of "
            f"Fréchet distances: {'; '.join(parts)}."
        )
    return " ".join(lines) or "Images are not yet recorded."


def image_tests_in_words(images: Mapping[str, Results | None]) -> str:
    """Cross entropies of all image records less those of the controls, in nats."""
    lines = []
    for title, record in images.items():
        if record is None:
            continue
        noises = record.labels("t", measure="cross entropy")
        found = entropy_differences(record, len(CONTROLS) * len(noises))
        parts = [
            f"t = {t:g}: equal steps {found[t, SAME_STEPS]:.2f}, "
            f"equal evaluations {found[t, SAME_COST]:.2f}"
            for t in noises
        ]
        lines.append(
            f"U-Nets on {title}, from their record, nats less the control's: {'; '.join(parts)}."
        )
    return " ".join(lines) or "Images are not yet recorded."


def claim(
    name: str,
    found: Decision,
    answers: Mapping[str, str],
    evidence: str,
    *,
    data: str,
    results: Results,
    figure: str | None = None,
) -> Claim:
    """Put a decision into a claim that shows the interval that decides."""
    one = f"{data}, {found.decisive}" if len(found.found) > 1 and data != found.decisive else data
    return Claim(
        name,
        found.verdict,
        evidence + found.power,
        answer=answers[found.verdict],
        interval=found.interval,
        seeds=int(results.table["seed"].nunique()),
        data=one,
        figure=figure,
    )


def short(answer: str, otherwise: str) -> str:
    """Return an answer, or another where it has too many words."""
    return answer if len(answer.split()) <= LONGEST_ANSWER else otherwise


def in_words(found: Mapping[str, Interval]) -> str:
    """Return ratios, each with its condition."""
    return ", ".join(f"{ratio_text(interval)} ({name})" for name, interval in found.items())
