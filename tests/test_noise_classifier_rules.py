"""The rules of chapter 3 on made-up results, where the verdict is plain."""

import importlib
import itertools
import math

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments.noise_classifier import comparisons, tables
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.regions import OFF_REGION, TRAINED_REGION
from companion.experiments.noise_classifier.samples import EXACT

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.noise_classifier.verdicts")

SEEDS = 8
WIN = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 0.5}
TIE = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 1.0}
LOSS = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 2.0}
ONLY_STEPS = {SAME_STEPS: 1.0, SAME_COST: 0.5, CONTRASTIVE: 0.5}
"""Mean of each method: the loss is better than both controls, ... than that of equal steps."""


def grid(**columns):
    """All combinations of the columns' values."""
    return [dict(zip(columns, values)) for values in itertools.product(*columns.values())]


def measured(measure, places, means, failed=None):
    """Values with a scatter of 1 % over seeds; one seed of the method ``failed`` is not a number.

    The scatter is centred, so that the geometric mean over seeds is the given mean.
    """
    rng, parts = np.random.default_rng(0), []
    for place in places:
        for method, mean in means.items():
            scatter = rng.normal(size=SEEDS)
            values = mean * np.exp(0.01 * (scatter - scatter.mean()))
            if method == failed:
                values[-1] = math.nan
            constants = {"measure": measure, "method": method, **place}
            parts.append(tidy(values, {"seed": range(SEEDS)}, **constants))
    return parts


def errors(means, before=(0.3, 6.0), failed=None):
    regions = {TRAINED_REGION: before[0], OFF_REGION: before[1], "Picard, iteration 2": before[1]}
    parts = []
    for place in grid(data=["spirals", "dinosaur"], region=list(regions)):
        parts += measured("error", [place], means, failed)
        parts += measured("error", [place], {BEFORE: regions[place["region"]]})
    return Results(parts)


def later(means):
    places = grid(data=["spirals"], region=[TRAINED_REGION, OFF_REGION])
    return Results(measured("error", places, means))


def visits(sequential, picard):
    rows = {
        ("sequential", "DDIM", 0): sequential,
        ("training", "noised data, as in training", 0): 0.004,
        ("Picard", "plain", 2): picard,
    }
    return Results(
        [
            tidy([v, 1.0], {"measure": ["share off", "error"]}, kind=k, by=b, iteration=i)
            for (k, b, i), v in rows.items()
        ]
    )


def sizes(plain, semilinear):
    return Results(
        [
            tidy([1.0, top], {"iteration": [1, 2]}, measure="size", sampler="DDPM", form=form)
            for form, top in (("plain", plain), ("semilinear", semilinear))
        ]
    )


def parallel(means, failed=None):
    places = grid(data=["spirals", "dinosaur"], form=["plain", "semilinear"])
    iterations = [{**place, "iteration": k} for place in places for k in (2, 4)]
    parts = measured("distance", iterations, means, failed)
    exact = [place for place in iterations if place["data"] == "spirals"]
    parts += measured("distance", exact, {EXACT: 0.1})
    for place in places:
        depths = {SAME_STEPS: 12, SAME_COST: 12, CONTRASTIVE: 10}
        parts.append(tidy(list(depths.values()), {"method": depths}, measure="iterations", **place))
    return Results(parts)


def sequential(means, failed=None):
    places = grid(data=["spirals", "dinosaur"], sampler=["DDIM", "DDPM"], budget=[10, 20])
    return Results(measured("distance", places, means, failed))


def digits(means, failed=None):
    places = grid(kind=["sequential", "plain"], sampler=["DDPM"], budget=[2, 4])
    return Results(measured("Frechet distance", places, means, failed))


def test_of_noise(means, failed=None):
    parts = [
        part
        for measure in ("cross entropy", "area")
        for part in measured(measure, grid(t=[0.05, 0.1]), means, failed)
    ]
    return Results(parts)


test_of_noise.__test__ = False  # made-up results, not a test


def accuracy(*medians):
    """Median errors at 0.1, 0.3 and 1, with the most points; ten times as large with fewer."""
    values = [[10 * m, m] for m in medians]
    dims = {"t": [0.1, 0.3, 1.0], "points": [16, 64]}
    return Results(tidy(values, dims, measure="error"))


def classifier(area, best=0.9):
    areas = tidy([area, best], {"classifier": ["denoiser", "Bayes"]}, measure="area")
    return Results([areas, tidy([0.01], {"classifier": ["denoiser"]}, measure="calibration error")])


def record(means, failed=None):
    """An image record: sequential samples and Picard iteration, and the test of noise."""
    methods = {BEFORE: 1.0, **means}
    places = grid(kind=["sequential", "plain"], sampler=["DDPM"], budget=[2, 4])
    parts = measured("Frechet distance", places, methods, failed)
    for measure in ("seconds", "seconds in sequence"):
        parts += measured(measure, grid(kind=["plain"], sampler=["DDPM"], budget=[4]), methods)
    for measure in ("cross entropy", "area"):
        parts += measured(measure, grid(t=[0.002]), methods, failed)
    return Results(parts, settings={"seeds": SEEDS})


# --- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, leaves, verdict",
    [
        ((0.3, 6.0), 0.5, "supported"),
        ((0.3, 6.0), 0.05, "supported in part"),
        ((0.3, 0.3), 0.5, "not supported"),
    ],
)
def test_ood(before, leaves, verdict):
    claim = rules.ood(errors(TIE, before), visits(leaves, 0.7))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(before[1] / before[0], rel=0.05)


@pytest.mark.parametrize(
    "shares, plain, verdict",
    [
        ((0.05, 0.7), 1.5, "supported"),
        ((0.05, 0.7), 800.0, "supported in part"),
        ((0.5, 0.7), 1.5, "not supported"),
    ],
)
def test_parallel_ood(shares, plain, verdict):
    claim = rules.parallel_ood(visits(*shares), sizes(plain, 1.0), parallel(TIE))
    assert claim.verdict == verdict and claim.effect == plain


@pytest.mark.parametrize(
    "means, verdict",
    [
        (WIN, "supported"),
        (ONLY_STEPS, "supported in part"),
        (TIE, "not supported"),
        (LOSS, "not supported"),
    ],
)
def test_objective(means, verdict):
    claim = rules.objective(errors(means), later(means))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(means[CONTRASTIVE] / means[SAME_COST], rel=0.05)
    assert claim.interval[0] < claim.effect < claim.interval[1] and claim.seeds == SEEDS


@pytest.mark.parametrize(
    "medians, area, verdict",
    [
        ((0.01, 0.02, 0.05), 0.895, "supported"),
        ((0.01, 0.02, 0.05), 0.8, "supported in part"),
        ((0.01, 0.02, 0.5), 0.895, "supported in part"),
        ((0.2, 0.3, 0.5), 0.895, "not supported"),
    ],
)
def test_ratio(medians, area, verdict):
    claim = rules.ratio(accuracy(*medians), classifier(area))
    assert claim.verdict == verdict and claim.effect == pytest.approx(medians[1])
    # Within a tenth of a nat with 64 levels of four evaluations, or not with what was tried.
    assert ("256 evaluations for t = 0.1" in claim.evidence) == (medians[0] < 0.1)
    assert ("more than tried for t = 1" in claim.evidence) == (medians[2] > 0.1)


@pytest.mark.parametrize(
    "means, verdict",
    [
        (WIN, "supported"),
        (ONLY_STEPS, "not supported"),
        (TIE, "not supported"),
        (LOSS, "not supported"),
    ],
)
def test_samplers(means, verdict):
    claim = rules.samplers(sequential(means), parallel(means), digits(means), {})
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(means[CONTRASTIVE] / means[SAME_COST], rel=0.02)
    assert "20 settings" in claim.evidence and "-2 (spirals, plain)" in claim.evidence


def test_samplers_that_are_better_on_points_only():
    claim = rules.samplers(sequential(WIN), parallel(WIN), digits(LOSS), {})
    assert claim.verdict == "supported in part"
    assert "better in 16, worse in 4" in claim.evidence


@pytest.mark.parametrize(
    "medians, verdict",
    [((0.01, 0.02, 0.05), "supported in part"), ((0.2, 0.02, 0.05), "not supported")],
)
def test_disguise(medians, verdict):
    claim = rules.disguise(accuracy(*medians), classifier(0.89))
    assert claim.verdict == verdict and claim.effect == pytest.approx(-0.01)


@pytest.mark.parametrize(
    "means, verdict",
    [
        (WIN, "supported"),
        (ONLY_STEPS, "supported in part"),
        (TIE, "not supported"),
        (LOSS, "not supported"),
    ],
)
def test_distinguish(means, verdict):
    claim = rules.distinguish(test_of_noise(means), {})
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(means[CONTRASTIVE] - means[SAME_COST], abs=0.03)


@pytest.mark.parametrize(
    "medians, verdict",
    [
        ((0.01, 0.02, 0.05), "supported"),
        ((0.2, 0.02, 0.05), "supported in part"),
        ((0.2, 0.3, 0.5), "not supported"),
    ],
)
def test_density(medians, verdict):
    claim = rules.density(accuracy(*medians), errors(TIE))
    assert claim.verdict == verdict and "20 times as large" in claim.evidence


@pytest.mark.parametrize(
    "points, on_digits, verdict, share",
    [
        (WIN, WIN, "supported", 1.0),
        (WIN, LOSS, "supported in part", 0.8),
        (TIE, WIN, "not supported", 0.2),
        (LOSS, LOSS, "not supported", 0.0),
    ],
)
def test_consistently(points, on_digits, verdict, share):
    claim = rules.consistently(sequential(points), parallel(points), digits(on_digits))
    assert claim.verdict == verdict and claim.effect == pytest.approx(share)


def test_every_claim_answers_in_plain_words():
    claims = [
        rules.ood(errors(TIE), visits(0.05, 0.7)),
        rules.predicts_level(),
        rules.samplers(sequential(TIE), parallel(TIE), digits(TIE), {}),
    ]
    assert all(claim.answer.endswith(".") and claim.quote for claim in claims)


# --- seeds that failed, and records ---------------------------------------------------------------


def test_a_failed_seed_of_the_loss_counts_against_it():
    failed = digits(WIN, failed=CONTRASTIVE)
    claim = rules.samplers(sequential(WIN), parallel(WIN), failed, {})
    assert claim.verdict == "supported in part"
    assert "better in 16, worse in 4" in claim.evidence
    assert claim.interval is None and "against equal steps is not finite" in claim.evidence
    claim = rules.consistently(sequential(WIN), parallel(WIN), failed)
    assert claim.verdict == "supported in part"
    claim = rules.objective(errors(WIN, failed=CONTRASTIVE), later(WIN))
    assert claim.verdict == "not supported" and claim.interval is None
    claim = rules.distinguish(test_of_noise(WIN, failed=CONTRASTIVE), {})
    assert claim.verdict == "not supported" and claim.effect is None


def test_a_failed_seed_of_a_control_is_no_gain():
    claim = rules.samplers(
        sequential(WIN, SAME_COST), parallel(WIN, SAME_COST), digits(WIN, SAME_COST), {}
    )
    assert claim.verdict == "not supported"
    assert "against equal evaluations better in 0, worse in 0" in claim.evidence
    claim = rules.distinguish(test_of_noise(WIN, failed=SAME_COST), {})
    assert claim.verdict == "supported in part"


def test_a_failed_seed_leaves_the_last_depth():
    assert comparisons.good_after(parallel(TIE), "plain", SAME_COST) == 2
    assert comparisons.good_after(parallel(TIE, SAME_COST), "plain", SAME_COST) == 4


def test_records_are_told_and_shown_with_a_failed_seed_or_without():
    images = {"made up": record(LOSS), "failed": record(WIN, CONTRASTIVE), "missing": None}
    claim = rules.samplers(sequential(TIE), parallel(TIE), digits(TIE), images)
    assert claim.evidence.count("from their record") == 2
    assert "to equal evaluations not finite" in claim.evidence
    assert "U-Nets on made up" in rules.distinguish(test_of_noise(TIE), images).evidence
    there = {title: results for title, results in images.items() if results}
    ratios = tables.image_ratios(there).set_index(["images", "ratio of Fréchet distances"])
    made_up = ratios.loc[("made up", "sequential"), "contrastive / same steps"]
    assert made_up.startswith("2.000 [1.9")
    assert (ratios.loc["failed"]["contrastive / same evaluations"] == "not finite").all()
    assert ratios.loc[("made up", "Picard, plain"), "in sequence"].endswith("s (4 steps)")
    samples = tables.image_samples(there)
    assert list(samples["Fréchet distance"][:2]) == ["DDPM, 2 evaluations", "DDPM, 4 evaluations"]
    assert samples.loc[0, "contrastive"] == pytest.approx(2.0, rel=0.02)
    assert list(tables.image_test(there)["images"]) == ["made up", "failed"]


def test_intervals_hold_together():
    """More comparisons widen each interval around the same mean."""
    listed = comparisons.cases(sequential(TIE), ("data", "sampler", "budget"), measure="distance")
    assert len(listed) == 8
    together = comparisons.tally(listed, SAME_COST)
    alone = comparisons.tally(listed, SAME_COST, comparisons=1)
    for wide, narrow in zip(together.ratios, alone.ratios):
        assert wide.mean == narrow.mean and wide.high > narrow.high
    assert together.better == together.worse == 0
