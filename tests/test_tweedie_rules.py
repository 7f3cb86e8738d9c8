"""The rules of chapter 2 on made-up results, where the verdict is plain."""

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments import tweedie as tw
from companion.experiments.claims import catalogue
from companion.experiments.tweedie import comparisons
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

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.tweedie.verdicts")

SEEDS = 8
LEVELS = [0.1, 0.5, 1.0, 4.0]
OTHERS = dict.fromkeys((CLEAN, NAIVE, SURE, AMBIENT, DIRECT), 1.0)
WIN, TIE, LOSS = ({**OTHERS, CONSISTENCY: mean} for mean in (0.5, 1.0, 2.0))
"""Mean error of each method: consistency is better than, as good as, worse than all others."""
SUPPORTED, PARTLY, NOT = "supported", "supported in part", "not supported"


def scattered(mean, number):
    """Values around a geometric mean, with a scatter of 1 % over seeds."""
    logs = np.random.default_rng(number).normal(size=SEEDS)
    return mean * np.exp(0.01 * (logs - logs.mean()))


def by_level(means, **where):
    """Errors of methods by seed and level."""
    return [
        tidy(
            np.stack([scattered(mean, 10 * i + k) for k in range(len(LEVELS))], 1),
            {"seed": range(SEEDS), "level": LEVELS},
            measure="error",
            method=method,
            **where,
        )
        for i, (method, mean) in enumerate(means.items())
    ]


def race(means):
    return Results(by_level(means), settings={"points": 5000})


def sweep(*each):
    """Errors at one noise after the other."""
    places = [{"noise": 0.3 * (i + 1), "points": 5000} for i in range(len(each))]
    return Results([t for means, at in zip(each, places) for t in by_level(means, **at)])


def mismatch(means, other=None):
    kinds = {"as assumed": TIE, "laplace": means, "uniform": other or means}
    return Results([table for kind, m in kinds.items() for table in by_level(m, kind=kind)])


def by_seed(measure, means, **where):
    return [
        tidy(scattered(mean, i), {"seed": range(SEEDS)}, measure=measure, method=method, **where)
        for i, (method, mean) in enumerate(means.items())
    ]


def memory(off, new=1.0):
    """Distances of training digits over those of held-out ones, by method; error on new digits."""
    tables = by_seed("error on new digits", {CLEAN: 1.0, CONSISTENCY: new})
    tables += by_seed("distance", off, images="train", sigma=1.5)
    tables += by_seed("distance", dict.fromkeys(off, 1.0), images="test", sigma=1.5)
    tables += by_seed("share found", {CLEAN: 0.5}, sigma=1.5)
    return Results(tables, settings={"extreme": [1.5], "digits": 16})


def images(means, failed=None):
    tables = []
    for measure, level in (("Frechet distance", {}), ("error", {"level": 0.5})):
        tables += by_seed(measure, means, noise=0.5, **level)
    table = Results(tables).table
    table.loc[(table["method"] == failed) & (table["seed"] == 0), "value"] = math.nan
    return Results(table, facts={"floor": 0.1})


def checked(claim, verdict):
    assert claim.verdict == verdict
    assert claim.answer and claim.evidence
    return claim


# --- each rule -----------------------------------------------------------------------------------


def test_the_distribution_is_not_measured():
    checked(rules.distribution(), NOT)


@pytest.mark.parametrize("naive, verdict", [(1e-4, NOT), (0.08, PARTLY), (1.0, PARTLY)])
def test_consistent_with_data(naive, verdict):
    rows = [
        tidy([value], {"ratio": [0.9]}, measure="defect", denoiser=name)
        for name, value in ((NAIVE_EXACT, naive), (GLUED, 0.08))
    ]
    assert checked(rules.consistent_with_data(Results(rows)), verdict).effect == naive


@pytest.mark.parametrize(
    "raced, swept, verdict",
    [
        (WIN, (WIN, WIN), SUPPORTED),
        (WIN, (WIN, TIE), PARTLY),
        ({**WIN, NAIVE: 0.4}, (WIN, WIN), PARTLY),
        (TIE, (WIN, WIN), NOT),
        (LOSS, (LOSS, LOSS), NOT),
    ],
)
def test_below_noise(raced, swept, verdict):
    claim = rules.below_noise(race(raced), sweep(*swept), {})
    checked(claim, verdict)
    low, high = claim.interval
    assert low < raced[CONSISTENCY] < high and claim.seeds == SEEDS


def test_the_answer_below_the_noise_says_against_whom():
    everybody = rules.below_noise(race(WIN), sweep(WIN, TIE), {}).answer
    somebody = rules.below_noise(race({**WIN, NAIVE: 0.4}), sweep(WIN, WIN), {}).answer
    assert "every rival" in everybody and "some rivals" in somebody


@pytest.mark.parametrize("width, verdict", [(1.0, SUPPORTED), (1.3, PARTLY), (1.7, NOT)])
def test_provable(width, verdict):
    means = {CONSISTENCY: width, AMBIENT: 1.4, NAIVE: 1.6, CLEAN: 1.1}
    checked(rules.provable(Results(by_seed("width", means))), verdict)


@pytest.mark.parametrize("error, verdict", [(2.0, PARTLY), (1.0, NOT), (0.5, NOT)])
def test_sure(error, verdict):
    checked(rules.sure(race({**TIE, SURE: error})), verdict)


@pytest.mark.parametrize(
    "kinds, swept, verdict",
    [
        ((WIN, WIN), WIN, SUPPORTED),
        ((WIN, WIN), TIE, PARTLY),
        ((WIN, TIE), WIN, PARTLY),
        ((TIE, TIE), WIN, NOT),
        ((LOSS, LOSS), LOSS, NOT),
    ],
)
def test_robust(kinds, swept, verdict):
    claim = checked(rules.robust(mismatch(*kinds), sweep(swept)), verdict)
    assert "laplace" in claim.evidence and "as assumed" not in claim.evidence


@pytest.mark.parametrize("off, verdict", [(0.1, SUPPORTED), (0.7, PARTLY), (1.0, NOT), (1.2, NOT)])
def test_memorise(off, verdict):
    checked(rules.memorise(memory({CLEAN: off, CONSISTENCY: 0.9})), verdict)


@pytest.mark.parametrize(
    "off, new, verdict",
    [(0.95, 1.0, SUPPORTED), (0.95, 1.5, PARTLY), (0.7, 1.0, NOT), (0.4, 1.0, NOT)],
)
def test_less_memory(off, new, verdict):
    checked(rules.less_memory(memory({CLEAN: 0.7, CONSISTENCY: off}, new)), verdict)


@pytest.mark.parametrize("means, verdict", [(WIN, PARTLY), (TIE, NOT), (LOSS, NOT)])
def test_outperform(means, verdict):
    claim = rules.outperform(Results(by_seed("Frechet distance", means)), {"MNIST": None})
    assert "not yet recorded" in checked(claim, verdict).evidence


def test_records_of_images_are_evidence_and_failed_seeds_are_told():
    digits, record = Results(by_seed("Frechet distance", WIN)), images(WIN)
    told = rules.outperform(digits, {"MNIST": record, "CIFAR-10": None}).evidence
    assert "MNIST, s_n = 0.5: 0.50" in told and "CIFAR-10" not in told
    told = rules.below_noise(race(WIN), sweep(WIN), {"MNIST": record}).evidence
    assert "On images, error at s_n / 2 over ambient only: MNIST, s_n = 0.5: 0.50" in told
    broken = images(WIN, failed=CONSISTENCY)
    assert "1 of 8 failed" in rules.outperform(digits, {"MNIST": broken}).evidence
    assert comparisons.image_ratio(images(WIN, failed=NAIVE), "error", NAIVE, 0.5) == ""
    table = tw.tables.images({"MNIST": images(WIN, failed=SURE)}).data
    assert list(table["Fréchet"]).count("1 of 8 failed") == 1 and len(table) == len(METHODS) + 1


# --- comparisons ---------------------------------------------------------------------------------


def test_ratios_are_those_of_the_means():
    means = {**OTHERS, CONSISTENCY: 0.5, NAIVE: 2.0}
    ratios = comparisons.race_ratios(race(means))
    assert ratios[NAIVE, "below"].mean == pytest.approx(0.25, rel=0.01)
    assert ratios[CLEAN, "at"].mean == pytest.approx(0.5, rel=0.01)
    costs = comparisons.mismatch_costs(mismatch(LOSS, WIN))
    assert {k: round(v.mean, 1) for k, v in costs.items()} == {"laplace": 2.0, "uniform": 0.5}


def test_errors_on_digits_count_the_levels_below_the_noise():
    digits = Results(by_level(WIN))
    table = digits.table
    table.loc[(table["level"] >= 1) & (table["method"] == CONSISTENCY), "value"] = 100.0
    ratios = comparisons.digit_error_ratios(replace(digits, table=table))
    assert ratios[AMBIENT].mean == pytest.approx(0.5, rel=0.01)


def test_all_claims_of_the_chapter_are_judged(smoke):
    known = {claim for claim in catalogue() if claim.startswith("tweedie-")}
    assert {claim.id for claim in tw.verdicts(smoke)} == known
