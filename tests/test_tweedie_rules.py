"""The rules of chapter 2 on made-up results, where the verdict is plain."""

import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments import tweedie as tw
from companion.experiments.claims import Claims, catalogue
from companion.experiments.tweedie import comparisons, grading
from companion.experiments.tweedie import mismatch as mm
from companion.experiments.tweedie.exact import GLUED, NAIVE_EXACT
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    DIRECT,
    METHODS,
    NAIVE,
    SURE,
)
from companion.experiments.tweedie.summary import summarise
from companion.statistics import Interval, detectable

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.tweedie.verdicts")

SEEDS = 8
LEVELS = [0.1, 0.5, 1.0, 4.0]
OTHERS = dict.fromkeys((CLEAN, NAIVE, SURE, AMBIENT, DIRECT), 1.0)
WIN, TIE, LOSS = ({**OTHERS, CONSISTENCY: mean} for mean in (0.5, 1.0, 2.0))
"""Mean error of each method: consistency is better than, as good as, worse than all others."""
SUPPORTED, NOT, DEPENDS, OPEN = "supported", "not supported", "depends", "inconclusive"
SURELY, NOISY = 0.01, 0.5
"""Scatter over seeds, of logarithms."""
BETTER_IF_SMALLER = [
    (0.5, SURELY, SUPPORTED),
    (1.0, SURELY, NOT),
    (2.0, SURELY, NOT),
    (0.98, SURELY, NOT),
    (0.9, NOISY, OPEN),
]
"""Ratio, scatter, verdict on 'it is smaller': a win, a tie, a loss, a small effect, noise."""
WORSE_IF_LARGER = [
    (2.0, SURELY, SUPPORTED),
    (1.0, SURELY, NOT),
    (0.5, SURELY, NOT),
    (1.1, NOISY, OPEN),
]


def scattered(mean, number, scatter=SURELY):
    """Values around a geometric mean, with a scatter over seeds."""
    logs = np.random.default_rng(number).normal(size=SEEDS)
    return mean * np.exp(scatter * (logs - logs.mean()))


def by_level(means, scatter=SURELY, **where):
    """Errors of methods by seed and level; all levels of a method scatter alike."""
    return [
        tidy(
            np.stack([scattered(mean, i, scatter)] * len(LEVELS), 1),
            {"seed": range(SEEDS), "level": LEVELS},
            measure="error",
            method=method,
            **where,
        )
        for i, (method, mean) in enumerate(means.items())
    ]


def race(means, scatter=SURELY):
    return Results(by_level(means, scatter), settings={"points": 5000})


def sweep(*each, scatter=SURELY):
    """Errors at one noise after the other."""
    places = [{"noise": 0.3 * (i + 1), "points": 5000} for i in range(len(each))]
    return Results([t for means, at in zip(each, places) for t in by_level(means, scatter, **at)])


def by_kind(kinds, scatter=SURELY):
    """Errors under each kind of noise; each has a scatter of its own."""
    tables = []
    for number, (kind, means) in enumerate(kinds.items()):
        for i, (method, mean) in enumerate(means.items()):
            values = np.stack([scattered(mean, 10 * number + i, scatter)] * len(LEVELS), 1)
            axes = {"seed": range(SEEDS), "level": LEVELS}
            tables.append(tidy(values, axes, measure="error", method=method, kind=kind))
    return Results(tables)


def mismatch(means, other=None, scatter=SURELY):
    kinds = {mm.ASSUMED: TIE, "laplace": means, "uniform": other or means}
    return by_kind(kinds, scatter)


def by_seed(measure, means, scatter=SURELY, **where):
    return [
        tidy(
            scattered(mean, i, scatter), {"seed": range(SEEDS)}, measure=measure, method=method,
            **where,
        )
        for i, (method, mean) in enumerate(means.items())
    ]  # fmt: skip


DEFECTS = Results(
    [
        tidy([value], {"ratio": [0.9]}, measure="defect", denoiser=name)
        for name, value in ((NAIVE_EXACT, 1e-4), (GLUED, 0.08))
    ]
)


def samples(noisy, scatter=SURELY, width=1.2):
    """Widths, with new noise (ambient only's is 4) and without (clean training's is 1.1)."""
    with_noise = {CONSISTENCY: 4 * noisy, AMBIENT: 4.0}
    widths = {CONSISTENCY: width, AMBIENT: 1.4, NAIVE: 1.6, CLEAN: 1.1}
    return Results(
        by_seed("width with new noise", with_noise, scatter) + by_seed("width", widths, scatter)
    )


def digits(means, scatter=SURELY):
    return Results(by_seed("Frechet distance", means, scatter))


def memory(off, new=1.0, scatter=SURELY):
    """Distances of training digits over those of held-out ones, by method; error on new digits."""
    tables = by_seed("error on new digits", {CLEAN: 1.0, CONSISTENCY: new}, scatter)
    tables += by_seed("distance", off, scatter, images="train", sigma=1.5)
    tables += by_seed("distance", dict.fromkeys(off, 1.0), images="test", sigma=1.5)
    tables += by_seed("share found", {CLEAN: 0.5}, sigma=1.5)
    return Results(tables, settings={"extreme": [1.5], "digits": 16})


def images(means, failed=None, scatter=SURELY):
    tables = []
    for measure, level in (("Frechet distance", {}), ("error", {"level": 0.5})):
        tables += by_seed(measure, means, scatter, noise=0.5, **level)
    table = Results(tables).table
    table.loc[(table["method"] == failed) & (table["seed"] == 0), "value"] = math.nan
    return Results(table, facts={"floor": 0.1})


def checked(claim, verdict):
    assert claim.verdict == verdict, str(claim)
    assert claim.answer and claim.evidence
    assert ("Smallest effect of interest" in claim.evidence) == (verdict == OPEN)
    return claim


# --- each rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signal, scatter, verdict",
    [
        (1.5, SURELY, NOT),
        (1.0, SURELY, SUPPORTED),
        (0.8, SURELY, SUPPORTED),
        (1.0, NOISY, OPEN),
    ],
)
def test_distribution(signal, scatter, verdict):
    kinds = {mm.ASSUMED: TIE, mm.SIGNAL: {**TIE, AMBIENT: signal}}
    checked(rules.distribution(by_kind(kinds, scatter)), verdict)


@pytest.mark.parametrize("mean, scatter, verdict", BETTER_IF_SMALLER)
def test_consistent_with_data(mean, scatter, verdict):
    claim = rules.consistent_with_data(samples(mean, scatter), DEFECTS)
    assert checked(claim, verdict).seeds == SEEDS


@pytest.mark.parametrize(
    "raced, swept, scatter, verdict",
    [
        (WIN, (WIN, WIN), SURELY, SUPPORTED),
        (WIN, (WIN, TIE), SURELY, DEPENDS),
        ({**WIN, NAIVE: 0.4}, (WIN, WIN), SURELY, DEPENDS),
        (TIE, (TIE, TIE), SURELY, NOT),
        (LOSS, (LOSS, LOSS), SURELY, NOT),
        (TIE, (TIE, TIE), NOISY, OPEN),
    ],
)
def test_below_noise(raced, swept, scatter, verdict):
    claim = rules.below_noise(race(raced, scatter), sweep(*swept, scatter=scatter), {})
    checked(claim, verdict)
    low, high = claim.interval
    assert low < raced[CONSISTENCY] / raced[AMBIENT] < high and claim.seeds == SEEDS


def test_an_answer_names_where_a_claim_fails():
    answer = rules.below_noise(race(WIN), sweep(WIN, TIE), {}).answer
    assert answer == "Yes, but not with noise at 0.27 of the distance between modes."
    answer = rules.below_noise(race({**WIN, NAIVE: 0.4}), sweep(WIN, WIN), {}).answer
    assert answer == "Yes, but not with full training."
    some = {"a": SUPPORTED, "b": NOT, "c": OPEN}
    assert grading.but(some, "") == "Yes, but not with b; 1 setting undecided."
    assert grading.but(dict.fromkeys(map(str, range(20)), NOT), "Too many.") == "Too many."


def test_what_is_proved_names_a_test_that_is_there():
    claim = checked(rules.provable(), "proved")
    file, name = claim.proof.split("::")
    assert f"def {name}(" in (Path(__file__).parent.parent / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "width, scatter, verdict",
    [
        (1.3, SURELY, NOT),
        (0.77, SURELY, NOT),  # too narrow is as wrong as too wide
        (1.1, SURELY, SUPPORTED),
        (1.0, SURELY, SUPPORTED),
        (1.1, NOISY, OPEN),
    ],
)
def test_clean_samples(width, scatter, verdict):
    checked(rules.clean_samples(samples(1.0, scatter, width)), verdict)


@pytest.mark.parametrize("mean, scatter, verdict", WORSE_IF_LARGER)
def test_sure(mean, scatter, verdict):
    checked(rules.sure(race({**TIE, SURE: mean}, scatter)), verdict)


def test_sure_may_be_worse_at_one_level_only():
    results = race({**TIE, SURE: 2.0})
    table = results.table
    table.loc[(table["method"] == SURE) & (table["level"] > 1), "value"] /= 2
    claim = checked(rules.sure(replace(results, table=table)), DEPENDS)
    assert claim.answer == "At equal cost SURE is worse at the noise of the data only."


def test_published_systems_are_not_judged():
    checked(rules.sure_approximation(), "not tested")


@pytest.mark.parametrize(
    "kinds, scatter, verdict",
    [
        ((WIN, WIN), SURELY, SUPPORTED),
        ((WIN, TIE), SURELY, DEPENDS),
        ((TIE, TIE), SURELY, NOT),
        ((LOSS, LOSS), SURELY, NOT),
        ((WIN, {**WIN, NAIVE: 0.4}), SURELY, DEPENDS),
        ((TIE, TIE), NOISY, OPEN),
    ],
)
def test_robust(kinds, scatter, verdict):
    claim = checked(rules.robust(mismatch(*kinds, scatter=scatter)), verdict)
    assert "laplace" in claim.evidence and "as assumed" not in claim.evidence


@pytest.mark.parametrize(
    "levels, scatter, verdict",
    [
        ((WIN, WIN), SURELY, SUPPORTED),
        ((WIN, TIE), SURELY, DEPENDS),
        ((TIE, LOSS), SURELY, NOT),
        ((TIE, TIE), NOISY, OPEN),
    ],
)
def test_robust_levels(levels, scatter, verdict):
    checked(rules.robust_levels(sweep(*levels, scatter=scatter)), verdict)


@pytest.mark.parametrize("mean, scatter, verdict", BETTER_IF_SMALLER)
def test_remember(mean, scatter, verdict):
    checked(rules.remember(memory({CLEAN: mean}, scatter=scatter)), verdict)


@pytest.mark.parametrize(
    "off, scatter, verdict",
    [
        (0.1, SURELY, SUPPORTED),
        (0.7, SURELY, NOT),
        (1.2, SURELY, NOT),
        (0.3, NOISY, OPEN),
    ],
)
def test_memorise(off, scatter, verdict):
    checked(rules.memorise(memory({CLEAN: off}, scatter=scatter)), verdict)


@pytest.mark.parametrize(
    "off, scatter, verdict",
    [
        (0.95, SURELY, SUPPORTED),
        (0.7, SURELY, NOT),
        (0.4, SURELY, NOT),
        (0.8, NOISY, OPEN),
    ],
)
def test_less_memory(off, scatter, verdict):
    checked(rules.less_memory(memory({CLEAN: 0.7, CONSISTENCY: off}, scatter=scatter)), verdict)


@pytest.mark.parametrize(
    "new, scatter, verdict",
    [
        (1.5, SURELY, NOT),
        (1.0, SURELY, SUPPORTED),
        (0.5, SURELY, SUPPORTED),
        (1.0, NOISY, OPEN),
    ],
)
def test_competitive(new, scatter, verdict):
    checked(rules.competitive(memory({CLEAN: 0.7}, new, scatter=scatter)), verdict)


@pytest.mark.parametrize("mean, scatter, verdict", BETTER_IF_SMALLER)
def test_outperform(mean, scatter, verdict):
    claim = rules.outperform(digits({**TIE, CONSISTENCY: mean}, scatter), {"MNIST": None})
    assert "not yet recorded" in checked(claim, verdict).evidence


def test_one_set_of_images_is_no_range():
    checked(rules.outperform_range(digits(WIN), {"MNIST": None}), "not tested")


@pytest.mark.parametrize(
    "means, scatter, verdict",
    [
        (WIN, SURELY, SUPPORTED),
        (TIE, SURELY, DEPENDS),
        (LOSS, SURELY, DEPENDS),
        (TIE, NOISY, OPEN),
    ],
)
def test_outperform_range(means, scatter, verdict):
    record = images(means, scatter=scatter)
    claim = checked(rules.outperform_range(digits(WIN), {"MNIST": record}), verdict)
    assert "MNIST with noise 0.5" in claim.evidence
    if verdict == DEPENDS:
        assert claim.answer == "Yes, but not with MNIST with noise 0.5."


def test_no_range_if_no_set_gains_and_none_for_certain_if_a_training_failed():
    checked(rules.outperform_range(digits(LOSS), {"MNIST": images(TIE)}), NOT)
    broken = {"MNIST": images(WIN, failed=CONSISTENCY)}
    assert "failed" in checked(rules.outperform_range(digits(WIN), broken), OPEN).evidence


def test_records_of_images_are_evidence_and_failed_seeds_are_told():
    live, record = digits(WIN), images(WIN)
    told = rules.outperform(live, {"MNIST": record, "CIFAR-10": None}).evidence
    assert "MNIST with noise 0.5: 0.50" in told and "CIFAR-10" not in told
    told = rules.below_noise(race(WIN), sweep(WIN), {"MNIST": record}).evidence
    assert "On images, at half that noise, over ambient only: MNIST with noise 0.5: 0.50" in told
    broken = images(WIN, failed=CONSISTENCY)
    assert "1 of 8 failed" in rules.outperform(live, {"MNIST": broken}).evidence
    assert comparisons.image_ratio(images(WIN, failed=NAIVE), "error", NAIVE, 0.5) == ""
    table = tw.tables.images({"MNIST": images(WIN, failed=SURE)}).data
    shown = list(table["Fréchet, σₙ = 0.5"])
    assert shown.count("1 of 8 failed") == 1 and len(table) == len(METHODS) + 1
    both = tw.tables.image_ratios({"MNIST": record, "CIFAR-10": broken}).data
    assert list(both["over"]).count("CIFAR-10, naive") == 1 and len(both) == 2 * 4
    assert list(both["error, σₙ = 0.5"]).count("1 of 8 failed") == 4


# --- in short ------------------------------------------------------------------------------------

WORSE, BETTER, EVEN = (Interval(m, 0.9 * m, 1.1 * m, 3) for m in (2.0, 0.5, 1.0))


@pytest.mark.parametrize(
    "raced, ratios, works, use",
    [
        (WIN, [BETTER], "Yes for errors", "Use both losses."),
        (LOSS, [WORSE, EVEN], "No for errors", "the ambient loss alone"),
        (TIE, [WORSE, BETTER], "No for errors", "Compare with the ambient loss"),
        (WIN, [], "Yes for errors", "Compare with the ambient loss"),
    ],
)
def test_in_short_says_what_was_found(raced, ratios, works, use):
    claims = Claims(
        [
            rules.below_noise(race(raced), sweep(raced), {}),
            rules.clean_samples(samples(1.0, width=1.4)),
        ]
    )
    below = comparisons.race_ratios(race(raced))[AMBIENT, "geometric"]
    box = summarise(claims, below, ratios)
    assert works in box.works and "worse than after training on clean data" in box.works
    assert use in box.use and f"points{'; Fréchet' if ratios else '.'}" in box.number


# --- what the rules share ------------------------------------------------------------------------


def test_verdict_against_all_rivals():
    assert grading.every([SUPPORTED, SUPPORTED]) == SUPPORTED
    assert grading.every([SUPPORTED, OPEN]) == OPEN
    assert grading.every([SUPPORTED, OPEN, NOT]) == NOT


def test_an_effect_that_would_have_been_shown_is_told_only_in_doubt():
    wide, narrow = (Interval(1.0, 1 / f, f, SEEDS) for f in (1.5, 1.02))
    assert grading.doubt([wide], NOT, 0.95) == ""
    told = grading.doubt([narrow, wide], OPEN, 0.95)
    effect = math.expm1(detectable(Interval(0.0, -math.log(1.5), math.log(1.5), SEEDS)))
    assert "interest: 5%" in told and f"effect of {effect:.0%} or more" in told
    assert "interest: 5%" in grading.doubt([Interval(0.0, -0.2, 0.2, 8)], OPEN, -0.05, ratio=False)


# --- comparisons ---------------------------------------------------------------------------------


def test_ratios_are_those_of_the_means():
    means = {**OTHERS, CONSISTENCY: 0.5, NAIVE: 2.0}
    ratios = comparisons.race_ratios(race(means))
    assert ratios[NAIVE, "below"].mean == pytest.approx(0.25, rel=0.01)
    assert ratios[CLEAN, "at"].mean == pytest.approx(0.5, rel=0.01)
    costs = comparisons.mismatch_costs(mismatch(LOSS, WIN))
    assert {k: round(v.mean, 1) for k, v in costs.items()} == {"laplace": 2.0, "uniform": 0.5}


def test_errors_on_digits_count_the_levels_below_the_noise():
    results = Results(by_level(WIN))
    table = results.table
    table.loc[(table["level"] >= 1) & (table["method"] == CONSISTENCY), "value"] = 100.0
    ratios = comparisons.digit_error_ratios(replace(results, table=table))
    assert ratios[AMBIENT].mean == pytest.approx(0.5, rel=0.01)


def test_all_claims_of_the_chapter_are_judged(smoke):
    known = {claim for claim in catalogue() if claim.startswith("tweedie-")}
    assert {claim.id for claim in tw.verdicts(smoke)} == known


def test_the_rules_take_several_master_seeds(two_seeds):
    claims = {claim.id: claim for claim in tw.verdicts(two_seeds)}
    assert claims["tweedie-below-noise"].seeds == 2 * two_seeds.run(tw.Race).settings["seeds"]
    assert claims["tweedie-outperform"].seeds == 2 * two_seeds.run(tw.Digits).settings["seeds"]
