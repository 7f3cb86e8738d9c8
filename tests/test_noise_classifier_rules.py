"""The rules of chapter 3 on made-up results, where the verdict is plain."""

import importlib
import itertools
import math

import numpy as np
import pytest
from conftest import ROOT

from companion.experiments import Claims, Results, tidy
from companion.experiments.noise_classifier import comparisons, evidence, tables
from companion.experiments.noise_classifier.classifiers import CHANCE
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.regions import OFF_REGION, TRAINED_REGION
from companion.experiments.noise_classifier.samples import EXACT
from companion.experiments.noise_classifier.summary import summarise
from companion.statistics import Interval

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.noise_classifier.verdicts")

SEEDS = 8
WIN = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 0.5}
TIE = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 1.0}
LOSS = {SAME_STEPS: 1.0, SAME_COST: 1.0, CONTRASTIVE: 2.0}
ONLY_STEPS = {SAME_STEPS: 1.0, SAME_COST: 0.5, CONTRASTIVE: 0.5}
"""Mean of each method: the loss is better than both controls, ... than that of equal steps."""
NOISE = 1.0
"""Scatter over seeds (of logarithms) at which nothing can be decided."""
EFFECTS = [
    (WIN, 0.01, "supported"),
    (LOSS, 0.01, "not supported"),
    (TIE, 0.01, "not supported"),
    (ONLY_STEPS, 0.01, "not supported"),
    (TIE, NOISE, "inconclusive"),
]


def grid(**columns):
    """All combinations of the columns' values."""
    return [dict(zip(columns, values)) for values in itertools.product(*columns.values())]


def measured(measure, places, means, failed=None, scatter=0.01):
    """Values that scatter over seeds; one seed of the method ``failed`` is not a number.

    The scatter is centred, so that the geometric mean over seeds is the given mean.
    """
    rng, parts = np.random.default_rng(0), []
    for place in places:
        for method, mean in means.items():
            noise = rng.normal(size=SEEDS)
            values = mean * np.exp(scatter * (noise - noise.mean()))
            if method == failed:
                values[-1] = math.nan
            constants = {"measure": measure, "method": method, **place}
            parts.append(tidy(values, {"seed": range(SEEDS)}, **constants))
    return parts


def errors(means, before=(0.3, 6.0), failed=None, scatter=0.01):
    regions = {TRAINED_REGION: before[0], OFF_REGION: before[1], "Picard, iteration 2": before[1]}
    parts = []
    for place in grid(data=["spirals", "dinosaur"], region=list(regions)):
        parts += measured("error", [place], means, failed, scatter)
        sign = 1 if place["region"] == TRAINED_REGION else -1  # or the scatter would cancel
        parts += measured(
            "error", [place], {BEFORE: regions[place["region"]]}, None, sign * scatter
        )
    return Results(parts)


def later(means, scatter=0.01):
    places = grid(data=["spirals"], region=[TRAINED_REGION, OFF_REGION])
    return Results(measured("error", places, means, None, scatter))


def shares(mean, scatter):
    """Shares of seeds around a mean, which stays."""
    return np.clip(mean + scatter * np.linspace(-1, 1, SEEDS), 0.0, 1.0)


def visits(ddim, ddpm, plain=0.7, semilinear=0.5, scatter=0.01):
    """Shares of trajectories of two samplers, and of evaluations of both of Picard's forms."""
    rows = {
        ("sequential", "DDIM", 0): ddim,
        ("sequential", "DDPM", 0): ddpm,
        ("training", "noised data, as in training", 0): 0.05,
        ("Picard", "plain", 1): 0.9,
        ("Picard", "semilinear", 1): 0.9,
        ("Picard", "plain", 2): plain,
        ("Picard", "semilinear", 2): semilinear,
    }
    return Results(
        [
            tidy(
                shares(0.04 if measure == "share off" and kind == "sequential" else v, scatter),
                {"seed": range(SEEDS)}, measure=measure, kind=kind, by=by, iteration=i,
            )
            for (kind, by, i), v in rows.items()
            for measure in ("share off", "trajectories off")
        ]
    )  # fmt: skip


def sizes():
    return Results(
        [
            tidy([1.0, top], {"iteration": [1, 2]}, measure="size", sampler="DDPM", form=form)
            for form, top in (("plain", 800.0), ("semilinear", 1.0))
        ]
    )


def parallel(means, failed=None, scatter=0.01):
    places = grid(data=["spirals", "dinosaur"], form=["plain", "semilinear"])
    iterations = [{**place, "iteration": k} for place in places for k in (2, 4)]
    parts = measured("distance", iterations, means, failed, scatter)
    exact = [place for place in iterations if place["data"] == "spirals"]
    return Results([*parts, *measured("distance", exact, {EXACT: 0.1})])


def reached(depths, noisy=()):
    """Distances that are good from an iteration on: (form, method) -> that iteration.

    For those that are ``noisy`` it is the first or the last, by seed.
    """
    parts = []
    for data in ("spirals", "dinosaur"):
        for (form, method), depth in depths.items():
            if method == EXACT and data != "spirals":
                continue
            first = np.where(np.arange(SEEDS) % 2, 2, 10) if form in noisy else depth
            for k in (2, 4, 6, 8, 10):
                values = np.where(k >= np.broadcast_to(first, SEEDS), 0.1, 9.0)
                where = {"data": data, "form": form, "method": method, "iteration": k}
                parts.append(tidy(values, {"seed": range(SEEDS)}, measure="distance", **where))
    return Results(parts)


def sequential(means, failed=None, scatter=0.01):
    places = grid(data=["spirals", "dinosaur"], sampler=["DDIM", "DDPM"], budget=[10, 20])
    return Results(measured("distance", places, means, failed, scatter))


def digits(means, failed=None, scatter=0.01):
    places = grid(kind=["sequential", "plain", "semilinear"], sampler=["DDPM"], budget=[2, 4])
    return Results(measured("Frechet distance", places, means, failed, scatter))


def test_of_noise(means, failed=None, scatter=0.01):
    parts = [
        part
        for measure in ("cross entropy", "area")
        for part in measured(measure, grid(t=[0.05, 0.1]), means, failed, scatter)
    ]
    return Results(parts)


test_of_noise.__test__ = False  # made-up results, not a test


def trained(means=TIE, scatter=0.01, known=(0.5, 0.5), spread=0.001):
    """Cross entropies on points; ``known`` is what the network knows of the exact one's, by data.

    The networks before know these shares, which differ by ``spread`` from seed to seed.
    """
    parts = measured("cross entropy", grid(data=["spirals", "dinosaur"]), means, None, scatter)
    for data, share in zip(("spirals", "dinosaur"), known):
        wobble = share + spread * np.linspace(-1, 1, SEEDS)
        for method, loss in ((BEFORE, CHANCE - wobble), (EXACT, np.full(SEEDS, CHANCE - 1.0))):
            where = {"measure": "cross entropy", "data": data, "method": method}
            parts.append(tidy(loss, {"seed": range(SEEDS)}, **where))
    return Results(parts)


def reading(true, spread):
    values = np.stack([true + spread * np.linspace(-1, 1, SEEDS), np.full(SEEDS, 0.5)])
    dims = {"changed": ["true level", "told level"], "seed": range(SEEDS)}
    return Results(tidy(values, dims, measure="elasticity"))


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
    "before, scatter, verdict",
    [
        ((0.3, 6.0), 0.01, "supported"),
        ((6.0, 0.3), 0.01, "not supported"),
        ((0.3, 0.3), 0.01, "not supported"),
        ((0.3, 0.6), NOISE, "inconclusive"),
    ],
)
def test_ood(before, scatter, verdict):
    claim = rules.ood(errors(TIE, before, scatter=scatter))
    assert claim.verdict == verdict and claim.seeds == SEEDS
    if scatter < NOISE:
        assert claim.effect == pytest.approx(before[1] / before[0], rel=0.05)


@pytest.mark.parametrize(
    "ddim, ddpm, scatter, verdict, answer",
    [
        (0.9, 0.8, 0.01, "supported", "every step-by-step sampler"),
        (0.1, 0.2, 0.01, "not supported", "fewer than half"),
        (0.05, 0.05, 0.01, "not supported", "fewer than half"),
        (0.1, 0.9, 0.01, "depends", "only by DDPM"),
        (0.48, 0.48, 0.5, "inconclusive", "either side of half"),
    ],
)
def test_inevitable(ddim, ddpm, scatter, verdict, answer):
    claim = rules.inevitable(visits(ddim, ddpm, scatter=scatter))
    assert claim.verdict == verdict and answer in claim.answer
    decisive = ddpm if verdict != "supported" else min(ddim, ddpm)  # the weakest, or strongest
    assert claim.effect == pytest.approx(decisive, abs=0.02)


@pytest.mark.parametrize(
    "plain, semilinear, scatter, verdict",
    [
        (0.7, 0.5, 0.01, "supported"),
        (0.04, 0.04, 0.01, "not supported"),
        (0.0, 0.0, 0.001, "not supported"),
        (0.7, 0.04, 0.01, "depends"),
        (0.15, 0.15, 0.4, "inconclusive"),
    ],
)
def test_parallel_ood(plain, semilinear, scatter, verdict):
    results = visits(0.1, 0.1, plain, semilinear, 0.01)
    table, rng = results.table.copy(), np.random.default_rng(0)
    picard = table["kind"] == "Picard"
    table.loc[picard, "value"] += scatter * rng.normal(size=picard.sum())
    claim = rules.parallel_ood(Results(table))
    assert claim.verdict == verdict
    if verdict == "depends":
        assert claim.answer.endswith("only in its plain form.")


@pytest.mark.parametrize(
    "network, exact, noisy, verdict",
    [
        ((10, 8), (4, 4), (), "supported"),
        ((4, 4), (10, 8), (), "not supported"),
        ((8, 8), (8, 8), (), "not supported"),
        ((8, 8), (8, 4), (), "depends"),
        ((8, 8), (6, 6), ("plain", "semilinear"), "inconclusive"),
    ],
)
def test_problematic(network, exact, noisy, verdict):
    forms = ("plain", "semilinear")
    depths = {(form, SAME_STEPS): k for form, k in zip(forms, network)}
    results = reached(depths, noisy).table
    other = reached({(form, EXACT): k for form, k in zip(forms, exact)}).table
    claim = rules.problematic(Results([results, other]), sizes())
    assert claim.verdict == verdict and "800 times the start" in claim.evidence
    if verdict == "depends":
        assert "only in the semilinear form" in claim.answer and claim.effect == pytest.approx(2)


@pytest.mark.parametrize("means, scatter, verdict", EFFECTS)
def test_objective(means, scatter, verdict):
    claim = rules.objective(errors(means, scatter=scatter), later(means, scatter))
    assert claim.verdict == verdict and claim.seeds == SEEDS
    assert claim.interval[0] < claim.effect < claim.interval[1]
    if scatter < NOISE:
        assert claim.effect == pytest.approx(means[CONTRASTIVE] / means[SAME_COST], rel=0.05)
    else:
        assert "a power of 80 %" in claim.evidence


def test_objective_that_helps_after_longer_training_only():
    claim = rules.objective(errors(TIE), later(WIN))
    assert claim.verdict == "depends" and "only on spirals, trained for longer" in claim.answer
    assert claim.effect == pytest.approx(0.5, rel=0.05)


def test_identities_are_proved_by_tests_that_there_are():
    claims = [
        rules.ratio(accuracy(0.01, 0.02, 0.5), classifier(0.895)),
        rules.ratio_ood(),
        rules.density(accuracy(0.01, 0.02, 0.5), errors(TIE)),
    ]
    for claim in claims:
        path, name = claim.proof.split("::")
        assert claim.verdict == "proved" and f"def {name}(" in (ROOT / path).read_text()
    # Within a tenth of a nat with 64 levels of four evaluations, or not with what was tried.
    assert "256 evaluations for t = 0.1" in claims[0].evidence
    assert "more than tried for t = 1" in claims[0].evidence
    assert "20 times (spirals)" in claims[2].evidence


@pytest.mark.parametrize("means, scatter, verdict", EFFECTS)
def test_samplers(means, scatter, verdict):
    results = (f(means, scatter=scatter) for f in (sequential, parallel, digits))
    claim = rules.samplers(*results, {})
    assert claim.verdict == verdict
    if scatter < NOISE:
        assert claim.effect == pytest.approx(means[CONTRASTIVE] / means[SAME_COST], rel=0.02)


def test_samplers_that_are_better_on_points_only():
    claim = rules.samplers(sequential(WIN), parallel(WIN), digits(LOSS), {})
    assert claim.verdict == "depends"
    assert claim.answer.endswith("only of points in sequence and points in parallel.")


def test_samples_of_the_plain_form_do_not_count():
    kinds = evidence.kinds_of_samples(sequential(TIE), parallel(TIE), digits(TIE))
    assert {name: len(some) for name, some in kinds.items()} == {
        "points in sequence": 8, "points in parallel": 4,
        "digits in sequence": 2, "digits in parallel": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "loss, noisy, verdict",
    [
        ((4, 4), (), "supported"),
        ((10, 10), (), "not supported"),
        ((8, 8), (), "not supported"),
        ((8, 4), (), "depends"),
        ((8, 8), ("plain", "semilinear"), "inconclusive"),
    ],
)
def test_speed(loss, noisy, verdict):
    forms = ("plain", "semilinear")
    with_loss = reached({(form, CONTRASTIVE): k for form, k in zip(forms, loss)}, noisy).table
    control = reached({(form, SAME_COST): 6 if noisy else 8 for form in forms}).table
    claim = rules.speed(Results([with_loss, control]))
    assert claim.verdict == verdict
    if verdict == "supported":
        assert claim.effect == pytest.approx(0.5)


def test_who_is_never_as_good_counts_as_one_step_later():
    results = reached({("plain", SAME_STEPS): 10, ("plain", EXACT): 12})
    places = ("spirals", "plain")
    assert (evidence.quality_depths(results, *places, EXACT, SAME_STEPS) == 12).all()
    assert (evidence.quality_depths(results, *places, SAME_STEPS, SAME_STEPS) == 10).all()


@pytest.mark.parametrize(
    "known, spread, verdict",
    [
        ((0.99, 1.0), 0.001, "supported"),
        ((0.5, 0.7), 0.001, "not supported"),
        ((0.0, 0.0), 0.001, "not supported"),
        ((0.99, 0.5), 0.001, "depends"),
        ((0.9, 0.9), 0.5, "inconclusive"),
    ],
)
def test_disguise(known, spread, verdict):
    claim = rules.disguise(trained(known=known, spread=spread))
    assert claim.verdict == verdict
    weakest = verdict == "supported"
    assert claim.effect == pytest.approx((min if weakest else max)(known), abs=0.01)


@pytest.mark.parametrize("means, scatter, verdict", EFFECTS)
def test_distinguish(means, scatter, verdict):
    claim = rules.distinguish(test_of_noise(means, None, scatter), trained(means, scatter), {})
    assert claim.verdict == verdict
    if scatter < NOISE:
        assert claim.effect == pytest.approx(means[CONTRASTIVE] / means[SAME_COST], rel=0.03)


def test_distinguish_on_digits_only():
    claim = rules.distinguish(test_of_noise(WIN), trained(TIE), {})
    assert claim.verdict == "depends" and "digits, t = 0.05 and digits, t = 0.1" in claim.answer


@pytest.mark.parametrize(
    "true, spread, verdict",
    [
        (1.0, 0.01, "supported"),
        (-0.5, 0.01, "not supported"),
        (0.0, 0.01, "not supported"),
        (0.5, 1.0, "inconclusive"),
    ],
)
def test_predicts_level(true, spread, verdict):
    claim = rules.predicts_level(reading(true, spread))
    assert claim.verdict == verdict and claim.effect == pytest.approx(true)


@pytest.mark.parametrize("means, scatter, verdict", EFFECTS)
def test_consistently(means, scatter, verdict):
    results = (f(means, scatter=scatter) for f in (sequential, parallel, digits))
    assert rules.consistently(*results).verdict == verdict


def test_one_kind_that_loses_refutes_consistently():
    claim = rules.consistently(sequential(WIN), parallel(WIN), digits(LOSS))
    assert claim.verdict == "not supported" and claim.effect == pytest.approx(2, rel=0.03)
    assert "digits" in claim.data and "Of 16 settings 12 gain" in claim.evidence


def test_what_is_shown_decides():
    """No interval that allows twice the smallest effect both ways comes with another verdict."""
    found = {"wide": Interval(1.0, 0.8, 1.25, 8), "narrow": Interval(1.0, 0.99, 1.01, 8)}
    decision = comparisons.decide_each(found, 0.95)
    assert decision.verdict == "inconclusive" and decision.decisive == "wide"
    assert comparisons.decide_each({"narrow": found["narrow"]}, 0.95).verdict == "not supported"


# --- seeds that failed, and records ---------------------------------------------------------------


def test_a_failed_seed_of_the_loss_counts_against_it():
    failed = digits(WIN, failed=CONTRASTIVE)
    claim = rules.samplers(sequential(WIN), parallel(WIN), failed, {})
    assert claim.verdict == "depends" and "points in sequence" in claim.answer
    assert "not finite (digits in sequence)" in claim.evidence
    claim = rules.consistently(sequential(WIN), parallel(WIN), failed)
    assert claim.verdict == "not supported" and claim.interval is None
    claim = rules.objective(errors(WIN, failed=CONTRASTIVE), later(TIE))
    assert claim.verdict == "not supported"
    claim = rules.distinguish(test_of_noise(WIN, failed=CONTRASTIVE), trained(TIE), {})
    assert claim.verdict == "not supported"


def test_a_failed_seed_of_a_control_decides_nothing():
    results = [f(WIN, SAME_COST) for f in (sequential, parallel, digits)]
    claim = rules.samplers(*results, {})
    assert claim.verdict == "inconclusive" and claim.interval is None
    claim = rules.distinguish(test_of_noise(WIN, failed=SAME_COST), trained(WIN), {})
    assert claim.verdict == "inconclusive"


def test_a_failed_seed_leaves_the_last_depth():
    assert comparisons.good_after(parallel(TIE), "plain", SAME_COST) == 2
    assert comparisons.good_after(parallel(TIE, SAME_COST), "plain", SAME_COST) == 4


def test_records_are_told_and_shown_with_a_failed_seed_or_without():
    images = {"made up": record(LOSS), "failed": record(WIN, CONTRASTIVE), "missing": None}
    claim = rules.samplers(sequential(TIE), parallel(TIE), digits(TIE), images)
    assert claim.evidence.count("from their record") == 2
    assert "to equal evaluations not finite" in claim.evidence
    assert "U-Nets on made up" in rules.distinguish(test_of_noise(TIE), trained(), images).evidence
    there = {title: results for title, results in images.items() if results}
    ratios = tables.image_ratios(there).data.set_index(["images", "samples"])
    assert ratios.loc[("made up", "sequential"), "over same steps"].startswith("2.00 [1.9")
    assert (ratios.loc["failed"]["over same evaluations"] == "not finite").all()
    times = tables.image_times(there).data.set_index(["images", "samples"])
    assert times.loc[("made up", "Picard, plain"), "in sequence"].endswith("s (4 steps)")
    samples = tables.image_samples(there).data
    assert list(samples["samples"][:2]) == ["DDPM, 2 evaluations", "DDPM, 4 evaluations"]
    assert samples.loc[0, "contrastive"] == pytest.approx(2.0, rel=0.02)
    assert list(tables.image_test(there).data["images"]) == ["made up", "failed"]


@pytest.mark.parametrize(
    "means, scatter, works, use",
    [
        (WIN, 0.01, "Yes: at equal training cost", "You sample in parallel"),
        (LOSS, 0.01, "No: on points and 8 × 8 digits, at equal", "without the loss"),
        (TIE, NOISE, "Not decided", "without the loss"),
    ],
)
def test_in_short_says_what_was_found(means, scatter, works, use):
    results = [f(means, scatter=scatter) for f in (sequential, parallel, digits)]
    kinds = evidence.kinds_of_samples(*results)
    cost, steps = (
        evidence.mean_ratios(kinds, control)["points in parallel"]
        for control in (SAME_COST, SAME_STEPS)
    )
    box = summarise(Claims([rules.samplers(*results, {})]), cost, steps)
    assert box.works.startswith(works) and use in box.use
    assert comparisons.ratio_text(cost) in box.number


def test_a_long_list_of_conditions_does_not_break_an_answer():
    everything = {name: Interval(0.5, 0.49, 0.51, 8) for name in ("one", "two", "three")}
    found = comparisons.decide_each({**everything, "four": Interval(1.0, 0.99, 1.01, 8)}, 0.95)
    long = f"At equal cost better samples only of {found.where()}, in every one of all the settings"
    assert evidence.short(long, "In some.") == "In some."
    assert evidence.short(found.where(), "In some.") == "one, two and three"


def test_intervals_hold_together():
    """More comparisons widen each interval around the same mean."""
    listed = comparisons.cases(sequential(TIE), ("data", "sampler", "budget"), measure="distance")
    assert len(listed) == 8
    together = comparisons.tally(listed, SAME_COST)
    alone = comparisons.tally(listed, SAME_COST, comparisons=1)
    for wide, narrow in zip(together.ratios, alone.ratios):
        assert wide.mean == narrow.mean and wide.high > narrow.high
    assert together.better == together.worse == 0
