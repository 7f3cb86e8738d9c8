"""The rules of chapter 1 on made-up results, where the verdict is plain."""

import importlib
import math

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments.extra_noise import chains, tables
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXTRA,
    FREE,
    NONE,
    ONE_LEVEL,
    STRONG,
    TRAINED,
    Arm,
)
from companion.experiments.extra_noise.digits import BIG_ARMS, CURVE, SIZES
from companion.experiments.extra_noise.effects import Effect, difference, grade_groups, strongest
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.reasons import (
    FEW,
    NOT_APPLICABLE,
    augmentation,
    diversity,
    regularization,
    robustness,
    stability,
    worth,
)
from companion.experiments.extra_noise.ring import OUTLIER_ARMS
from companion.experiments.extra_noise.stability import TRIED
from companion.statistics import Interval

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.extra_noise.verdicts")

SEEDS = 8
LEVELS = (0.2, 0.8)
STEPS = (20, 100, 1000)
WIN, TIE, LOSS = 0.5, 1.0, 2.0
"""Factors of an error or a distance."""


def made_up(mean, number, failed=False):
    """Values with a centred scatter of 1 % over seeds; with ``failed`` the last is not a number."""
    scatter = np.random.default_rng(number).normal(size=SEEDS)
    values = mean * np.exp(0.01 * (scatter - scatter.mean()))
    if failed:
        values[-1] = math.nan
    return values


class Table:
    """Collects rows of made-up results."""

    def __init__(self):
        self.parts = []

    def add(self, mean, failed=False, **where):
        values = made_up(mean, len(self.parts), failed)
        self.parts.append(tidy(values, {"seed": range(SEEDS)}, **where))

    def results(self):
        return Results(self.parts)


def errors(factor, free=TIE, a=WIN, failed=None, sizes=SIZES):
    """Held-out errors: of extra noise, and of the free rival, over those of the plain network."""
    table = Table()

    def level_by_level(mean, broken=False, **where):
        for level in LEVELS:
            table.add(mean, broken, measure="held-out error", level=level, **where)

    for n in CURVE:
        base = n**-0.5
        plain = {"denoiser": TRAINED, **NONE.where, "digits": n}
        level_by_level(base, failed == NONE, **plain)
        for arm in EXTRA if n in SIZES else ():
            mean = base * (factor if n in sizes else 1.0)
            level_by_level(mean, failed == arm, denoiser=TRAINED, **arm.where, digits=n)
            if arm in B_ARMS:
                level_by_level(base * free, denoiser=FREE, **arm.where, digits=n)
        if n in SIZES:
            where = {"measure": "error at one level", "denoiser": TRAINED, "digits": n}
            table.add(base * a, **where, level=0.3, **NONE.where)
            table.add(base, **where, level=0.3, **ONE_LEVEL.where)
    return table.results()


def rivals(factor=TIE):
    table = Table()
    for name in RIVALS:
        for n in SIZES:
            mean = n**-0.5 * (factor if name == "dropout 0.3" else 1.1)
            for level in LEVELS:
                table.add(mean, measure="held-out error", rival=name, digits=n, level=level)
    return table.results()


def samples(arms=(NONE, *EXTRA), distance=TIE, free=TIE, recall=0.8, growth=1.0, failed=None):
    """Samples by arm and steps: distances and recall of extra noise, growth of the bias."""
    table = Table()
    for i, n in enumerate(STEPS):
        for arm in arms:
            where = {"denoiser": TRAINED, **arm.where, "steps": n}
            broken = failed == arm
            extra = arm != NONE
            table.add(distance if extra else 1.0, broken, measure="distance", **where)
            table.add(recall if extra else 0.8, broken, measure="recall", **where)
            table.add(recall if extra else 0.8, broken, measure="balance", **where)
            for level in LEVELS:
                mean = 0.1 * growth**i
                table.add(mean, broken, measure="exposure bias", level=level, **where)
        for arm in STRONG:
            where = {"denoiser": FREE, **arm.where, "steps": n}
            table.add(free, measure="distance", **where)
    return table.results()


def scales(one=0.8, none=0.2, ddim=0.5):
    table = Table()
    for measure in ("balance", "recall"):
        for scale, mean in ((0.0, none), (1.0, one)):
            table.add(mean, measure=measure, sampler="DDPM", noise_scale=scale)
        table.add(ddim, measure=measure, sampler="DDIM", noise_scale=math.nan)
    return table.results()


def walk(mean):
    table = Table()
    table.add(mean, measure="balance")
    return table.results()


def outliers(factor, filtered=0.1):
    table = Table()
    for arm in (NONE, *OUTLIER_ARMS):
        mean = 0.1 * (1.0 if arm == NONE else factor)
        table.add(mean, measure="samples astray", training="outliers", **arm.where)
    where = {"measure": "samples astray", "training": "filtered"}
    table.add(0.1 * filtered, **where, **NONE.where)
    return table.results()


def pushes(factor, samplers=WIN):
    table = Table()
    for level in LEVELS:
        for arm in (NONE, *EXTRA):
            mean = 0.5 * (1.0 if arm == NONE else factor)
            table.add(mean, measure="left", sampler="DDPM", level=level, **arm.where)
        for sampler in ("DDIM", "mean alone"):
            where = {"measure": "left", "sampler": sampler, "level": level}
            table.add(0.5 / samplers, **where, **NONE.where)
    return table.results()


def far(factor):
    table = Table()
    for level in (0.1, 1.9, 6.0):
        table.add(0.5 * factor, measure="relative error", level=level, **NONE.where)
        table.add(0.5, measure="relative error", level=level, **ONE_LEVEL.where)
    return table.results()


def gradients(factor, a=WIN):
    table = Table()
    for arm in (NONE, *EXTRA, ONE_LEVEL):
        mean = {NONE: a, ONE_LEVEL: 1.0}.get(arm, a * factor)
        table.add(mean, measure="noise scale", **arm.where)
    return table.results()


def failures(plain, extra, one_level=None):
    """Shares of runs that fail: with the plain objective, with extra noise, and without A."""
    table = Table()
    for clipped in (True, False):
        for arm in TRIED:
            mean = {NONE: plain, ONE_LEVEL: one_level or plain}.get(arm, extra)
            for rate in (0.01, 0.1):
                table.add(mean, measure="failed", clipped=clipped, rate=rate, **arm.where)
    return table.results()


# --- effects --------------------------------------------------------------------------------------


def test_an_effect_says_in_which_direction_it_holds():
    less = difference(made_up(0.5, 0), made_up(1.0, 1), 1, -1, label="γ = 0.1")
    assert less.holds and less.high > less.low > 0
    assert str(less).startswith("−50") and str(less).endswith("(γ = 0.1)")
    assert not difference(made_up(0.5, 0), made_up(1.0, 1), 1, 1).holds
    points = difference(made_up(0.9, 0), made_up(0.8, 1), 1, 1, "points")
    assert points.holds and points.shown[0] == pytest.approx(10, abs=0.1)


def test_more_comparisons_make_wider_intervals():
    a, b = made_up(0.99, 0), made_up(1.0, 1)
    one, many = (difference(a, b, n, -1).interval for n in (1, 40))
    assert many.low < one.low and many.high > one.high and many.mean == one.mean


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_an_effect_of_a_failed_seed_never_holds(bad):
    values = made_up(0.5, 0)
    values[2] = bad
    broken = difference(values, made_up(1.0, 1), 1, -1)
    assert not broken.holds and not broken.finite and str(broken) == "not finite"
    assert broken.claimed == {"seeds": SEEDS}
    fine = difference(made_up(2.0, 0), made_up(1.0, 1), 1, -1)
    assert strongest([broken, fine]) is fine and strongest([fine, broken]) is fine


def test_a_verdict_asks_for_one_strength_in_every_group():
    good = Effect(Interval(1.0, 0.5, 1.5, 8), 1)
    bad = Effect(Interval(1.0, -0.5, 2.5, 8), 1)
    assert grade_groups([[bad, good], [good]]) == "supported"
    assert grade_groups([[bad, good], [bad]]) == "supported in part"
    assert grade_groups([[bad], [bad, bad]]) == "not supported"


def test_worth_is_read_off_the_learning_curve():
    sizes = (100, 200, 400)
    curve = np.array([[0.4, 0.2, 0.1]] * 5)
    error = np.array([0.4, 0.2, math.sqrt(0.2 * 0.1), 0.05, 0.9])
    assert worth(error, curve, sizes) == pytest.approx([100, 200, 200 * 2**0.5, 400, 100])
    # A curve that rises again is worth what it was worth before.
    bent = np.array([[0.4, 0.2, 0.3]])
    assert worth(np.array([0.2]), bent, sizes) == pytest.approx([400])
    assert np.isnan(worth(np.array([math.nan]), curve[:1], sizes)).all()


# --- the chat-bot's reasons -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "factor, free, a, verdict",
    [
        (WIN, TIE, WIN, "supported"),
        (WIN, TIE, LOSS, "supported in part"),
        (WIN, WIN / 2, WIN, "supported in part"),  # what B does is free
        (TIE, TIE, TIE, "not supported"),
        (LOSS, TIE, LOSS, "not supported"),
    ],
)
def test_regularization(factor, free, a, verdict):
    reason = regularization(errors(factor, free, a), rivals(0.9))
    claim = rules.regularizes(reason)
    assert claim.verdict == verdict and claim.seeds == SEEDS and claim.answer
    assert rules.best_rival(reason) == "dropout 0.3" and "dropout 0.3" in claim.evidence
    assert reason.verdict("D") == NOT_APPLICABLE


def test_regularization_on_one_size_only_is_a_part():
    reason = regularization(errors(WIN, sizes=(FEW,)), rivals())
    assert reason.verdict("C") == "supported in part"
    assert reason.kinds("supported in part") == ["B (x₀)", "B (ε)", "C"]
    answer = "In part, by many noise levels, input noise (x₀), input noise (ε), noise on data."
    assert rules.regularizes(reason).answer == answer
    reason = robustness(outliers(TIE), pushes(TIE), far(WIN))
    assert rules.makes_robust(reason).answer == "In part, by many noise levels."


@pytest.mark.parametrize("failed", [Arm("C", 0.1), Arm("C", 0.3), NONE])
def test_regularization_with_a_failed_seed(failed):
    reason = regularization(errors(WIN, failed=failed), rivals())
    # The other strength of C still wins; without the plain network nothing can be compared.
    expected = "not supported" if failed == NONE else "supported"
    assert reason.verdict("C") == expected
    claim = rules.regularizes(reason)
    assert claim.verdict == ("supported in part" if failed == NONE else "supported")


@pytest.mark.parametrize(
    "recall, one, balance, verdict",
    [
        (0.9, 0.8, 0.2, "supported"),
        (0.9, 0.8, 0.9, "supported in part"),
        (0.8, 0.8, 0.9, "not supported"),
        (0.5, 0.8, 0.9, "not supported"),
    ],
)
def test_exploration(recall, one, balance, verdict):
    ring, digits = samples(recall=recall), samples(BIG_ARMS, recall=recall)
    reason = diversity(ring, digits, scales(one), walk(balance))
    claim = rules.explores(reason)
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(60, abs=1)  # D, 1 against 0, in points
    assert reason.verdict("D") == "supported"
    behind = diversity(ring, digits, scales(one, ddim=0.9), walk(balance))
    assert behind.verdict("D") == "supported in part"


@pytest.mark.parametrize(
    "astray, left, error, verdict",
    [
        (WIN, WIN, WIN, "supported"),
        (TIE, WIN, WIN, "supported in part"),
        (TIE, TIE, WIN, "supported in part"),
        (TIE, TIE, TIE, "not supported"),
        (LOSS, LOSS, LOSS, "not supported"),
    ],
)
def test_robustness(astray, left, error, verdict):
    reason = robustness(outliers(astray), pushes(left), far(error))
    claim = rules.makes_robust(reason)
    assert claim.verdict == verdict and claim.effect == pytest.approx(-90, abs=1)
    assert reason.verdict("D") == "supported"
    assert robustness(outliers(1), pushes(1, LOSS), far(1)).verdict("D") == "not supported"


@pytest.mark.parametrize(
    "factor, free, a, verdict",
    [
        (0.8, TIE, 0.8, "supported in part"),  # A cannot be worth more than the largest set
        (0.8, 0.6, 0.8, "supported in part"),  # what B does is free
        (TIE, TIE, TIE, "not supported"),
        (1.2, TIE, 1.2, "not supported"),
    ],
)
def test_augmentation(factor, free, a, verdict):
    known = errors(factor, free, a)
    assert rules.augments(augmentation(known), known).verdict == verdict


def test_augmentation_counts_clean_digits():
    known = errors(0.8)  # an error of n^-1/2 times 0.8 is that of n / 0.64
    reason = augmentation(known)
    claim = rules.augments(reason, known)
    assert reason.verdict("C") == reason.verdict("B x_0") == "supported"
    assert 2**claim.effect == pytest.approx(1 / 0.64, rel=0.02)
    assert f"are worth {FEW / 0.64:.0f} clean ones" in claim.evidence
    against_free = augmentation(errors(0.8, free=0.6))
    assert against_free.verdict("C") == "supported"
    assert against_free.verdict("B eps") == "supported in part"


def test_augmentation_with_a_failed_seed():
    known = errors(0.8, failed=Arm("C", 0.3))
    assert augmentation(known).verdict("C") == "supported"  # by the other strength
    broken = errors(0.8, failed=NONE)
    claim = rules.augments(augmentation(broken), broken)
    assert augmentation(broken).verdict("C") == "not supported" and claim.interval is None


@pytest.mark.parametrize(
    "factor, failed, verdict",
    [
        (WIN, (0.8, 0.4, 0.9), "supported"),
        (WIN, (0.8, 0.8, 0.9), "supported in part"),
        (TIE, (0.8, 0.8, 0.8), "not supported"),
        (LOSS, (0.4, 0.8, 0.4), "not supported"),
    ],
)
def test_stability(factor, failed, verdict):
    reason = stability(gradients(factor, WIN if factor == WIN else TIE), failures(*failed))
    assert rules.stabilizes(reason).verdict == verdict
    assert not reason.rivals["gradient clipping"][0].holds


# --- the paper ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ring, digits, verdict",
    [
        (2.0, 2.0, "supported"),
        (1.0, 2.0, "supported in part"),
        (1.0, 1.0, "not supported"),
        (0.5, 0.5, "not supported"),
    ],
)
def test_accumulation(ring, digits, verdict):
    claim = rules.accumulation(samples(growth=ring), samples(growth=digits), {})
    assert claim.verdict == verdict and "not yet recorded" in claim.evidence
    assert claim.effect == pytest.approx(100 * (digits**2 - 1), abs=5)
    if verdict == "supported in part":
        assert claim.answer.startswith("On digits")


@pytest.mark.parametrize(
    "distance, free, verdict",
    [
        (WIN, TIE, "supported"),
        (WIN, WIN, "supported in part"),
        (WIN, WIN / 2, "supported in part"),
        (TIE, TIE, "not supported"),
        (LOSS, TIE, "not supported"),
    ],
)
def test_perturbation(distance, free, verdict):
    claim = rules.perturbation(samples(distance=distance, free=free), {})
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(100 * (distance - 1), abs=2)


def test_perturbation_with_a_failed_seed():
    other = samples(distance=WIN, failed=Arm("B eps", 0.1))
    assert rules.perturbation(other, {}).verdict == "supported"  # by the other strength
    assert rules.perturbation(other, {}).interval is None
    assert rules.perturbation(samples(distance=WIN, failed=NONE), {}).verdict == "not supported"


@pytest.mark.parametrize(
    "distance, recall, failed, verdict",
    [
        (WIN, 0.8, None, "supported"),
        (TIE, 0.8, None, "supported in part"),
        (WIN, 0.6, None, "not supported"),
        (WIN, 0.8, Arm("B eps", 0.3), "not supported"),
    ],
)
def test_recall(distance, recall, failed, verdict):
    digits = samples(BIG_ARMS, distance=distance, recall=recall, failed=failed)
    reason = diversity(samples(), digits, scales(), walk(0.5))
    assert rules.recall(reason, digits, {}).verdict == verdict


def test_what_was_not_tested_says_so():
    assert {rules.times().verdict, rules.celeba().verdict} == {"not tested"}


# --- records of images ----------------------------------------------------------------------------


def record(failed=None, free=True):
    """An image record of three seeds: B with target eps is worse, its free rival as the plain."""
    table, paper = Table(), chains.PAPER
    means = {(TRAINED, NONE): 1.0, (TRAINED, paper): LOSS, (TRAINED, Arm("C", 0.05)): TIE}
    means |= {(FREE, paper): TIE} if free else {}
    for (way, arm), mean in means.items():
        where = {"denoiser": way, **arm.where}
        broken = failed == (way, arm)
        for n in (20, 100):
            table.add(mean, broken, measure="Frechet distance", **where, steps=n)
            table.add(0.8, broken, measure="recall", **where, steps=n)
            for level in LEVELS:
                bias = 0.1 * n / 20
                table.add(bias, measure="exposure bias", **where, steps=n, level=level)
        for level in LEVELS:
            table.add(mean, measure="test error", **where, level=level)
            table.add(mean / 2, measure="training error", **where, level=level)
    return Results(table.parts, settings={"seeds": SEEDS})


def test_records_are_told_in_words():
    told = {"made up": record(), "missing": None}
    evidence = rules.perturbation(samples(), told).evidence
    assert "made up, 8 seeds: trained against plain, +100" in evidence
    assert "missing" not in evidence and "free against plain" in evidence
    growth = rules.accumulation(samples(), samples(), told).evidence
    assert "100 steps against 20" in growth
    without = rules.perturbation(samples(), {"made up": record(free=False)}).evidence
    assert "against free" not in without


def test_tables_of_records():
    frame = tables.images({"made up": record()}, "Frechet distance").set_index("Fréchet distance")
    assert list(frame) == ["images", "20 steps", "100 steps"]
    assert frame.loc["B (ε), γ = 0.1 against plain", "20 steps"].startswith("+10")
    assert frame.loc["free B (ε), γ = 0.1 against plain", "20 steps"].startswith(("+0", "−0"))
    assert frame.loc["B (ε), γ = 0.1 against free", "20 steps"].startswith("+10")
    broken = {"made up": record(failed=(TRAINED, NONE))}
    frame = tables.images(broken, "Frechet distance")
    assert (frame["20 steps"] == "not finite").sum() == 4
    assert "σ = 0.2: +100" in tables.overfitting(record())


def test_records_of_different_chains_share_a_table():
    one, other = record(), record()
    fewer = Results(other.table[other.table["steps"] != 100], settings=other.settings)
    frame = tables.images({"one": one, "fewer": fewer}, "recall")
    assert list(frame)[2:] == ["20 steps", "100 steps"]
    assert frame.loc[frame["images"] == "fewer", "100 steps"].isna().all()
