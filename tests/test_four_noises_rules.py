"""Chapter 5: every rule on made-up results: a win, a loss, a tie, noise."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from companion.experiments import Results, four_noises, tidy
from companion.experiments.claims import LONGEST_ANSWER
from companion.experiments.four_noises import comparisons, grading, sampling, stages
from companion.experiments.four_noises.verdicts import (
    contrastive_elsewhere,
    contrastive_off_path,
    noisy_data_hide_samplers,
    pairs_of_objectives,
    perturbation_and_gradient,
    perturbation_and_steps,
    widths_add,
    widths_objective,
    widths_sampler,
)
from companion.statistics import Interval

SEEDS, BUDGETS = 8, (5, 10, 20)
WIDTHS = {"ddim": -2.0, "ddpm": -4.0, "heun": 3.0, "gradient_estimation": 1.0, "picard": 5.0}
"""Log width of plain training times the budget."""
SHIFT = 0.05
WIN, LOSS, SMALL = math.log(0.8), math.log(1.25), math.log(0.99)


def example_pairs(effects=None, *, noise=0.01, failed=None, budgets=BUDGETS, widths=None):
    """All pairs whose gains add up but for ``effects``: (data, training, sampler, budget) -> log.

    A part of a key that is None stands for all. ``noise`` is the standard deviation over seeds,
    ``failed`` a training of which one seed is lost, ``widths`` effects on the log width.
    """
    rng, rows = np.random.default_rng(0), []
    places = itertools.product(("points", "digits"), stages.ALL, sampling.SAMPLERS, budgets)
    for place in places:
        where, training, sampler, n = place
        if sampler == "picard" and training in stages.NOISY:
            continue
        logs = 3 + noise * rng.normal(size=SEEDS) - 0.3 * (sampler == "heun")
        values = np.exp(logs + total(effects, place))
        if training == failed:
            values[-1] = math.nan
        rows += [("distance", *place, seed, value) for seed, value in enumerate(values)]
        if where == "digits" and training in comparisons.TRAININGS:
            width = WIDTHS[sampler] / n + SHIFT * (training == "perturbed") + total(widths, place)
            wide = width + 0.1 * noise * rng.normal(size=SEEDS)
            rows += [("log width", *place, seed, value) for seed, value in enumerate(wide)]
    columns = ["measure", "data", "training", "sampler", "budget", "seed", "value"]
    labels = {where: {name: name for name in stages.ALL} for where in ("points", "digits")}
    length = {"points": "10 and 5 steps of 4", "digits": "10 and 5 steps of 4"}
    return Results(pd.DataFrame(rows, columns=columns), facts={"labels": labels, "length": length})


def total(effects, place):
    return sum(
        effect
        for key, effect in (effects or {}).items()
        if all(a in (None, b) for a, b in zip(key, place))
    )


def wide(noise=0.01, widths=None):
    parts = [
        tidy(
            [[WIDTHS[s] / n + SHIFT * (t == "perturbed") for n in BUDGETS]],
            {"training": [t], "budget": BUDGETS}, measure="log width", sampler=s,
        )
        for t in comparisons.TRAININGS
        for s in sampling.SAMPLERS
    ]  # fmt: skip
    return comparisons.widths(example_pairs(noise=noise, widths=widths), Results(parts))


# --- widths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "widths, noise, verdict",
    [
        ({}, 0.01, "supported"),
        ({(None, "perturbed", None, None): 0.5}, 0.01, "supported"),  # alike with all
        ({(None, "perturbed", "ddim", None): 0.2}, 0.01, "not supported"),
        ({(None, "perturbed", "ddim", None): -0.2}, 0.01, "not supported"),
        ({(None, "perturbed", "picard", 5): 0.2}, 0.01, "depends"),
        ({(None, "perturbed", "picard", 20): 0.2}, 0.01, "supported"),  # DDIM once more
        ({}, 2.0, "inconclusive"),
    ],
)
def test_widths_add(widths, noise, verdict):
    claim = widths_add(wide(noise, widths), {})
    assert claim.verdict == verdict
    if verdict == "depends":
        assert "Picard" in claim.answer and "Picard" in str(claim.data)


@pytest.mark.parametrize(
    "widths, noise, verdict",
    [
        ({}, 0.01, "supported"),
        ({(None, None, None, None): 0.05}, 0.01, "supported"),  # small beside 0.5
        ({(None, None, None, None): 1.0}, 0.01, "not supported"),
        ({(None, None, None, None): 0.08}, 1.0, "inconclusive"),
    ],
)
def test_widths_of_samplers(widths, noise, verdict):
    claim = widths_sampler(wide(noise, widths))
    assert claim.verdict == verdict and claim.seeds == SEEDS


@pytest.mark.parametrize(
    "shift, noise, verdict",
    [
        (0.0, 0.01, "supported"),
        (0.05, 0.01, "not supported"),
        (-0.1, 0.01, "not supported"),  # narrower
        (-0.02, 1.0, "inconclusive"),
    ],
)
def test_widths_of_objectives(shift, noise, verdict):
    claim = widths_objective(wide(noise, {(None, "perturbed", None, None): shift}))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(1 + shift / SHIFT, abs=0.5)
    assert claim.answer.startswith("No") == (verdict == "not supported")
    assert ("power of 80 %" in claim.evidence) == (verdict == "inconclusive")


# --- better, no better, worse ---------------------------------------------------------------------


NOISE = 0.3


@pytest.mark.parametrize(
    "rule, training, sampler, budget",
    [
        (perturbation_and_steps, "perturbed", None, 5),
        (contrastive_off_path, "contrastive", "picard", None),
    ],
)
def test_better(rule, training, sampler, budget):
    """Wins, losses, ties, small effects and noise; one problem only; another sampler."""

    def verdict(effect=0.0, data=None, noise=0.01, **other):
        key = (data, training, other.get("sampler", sampler), other.get("budget", budget))
        return rule(example_pairs({key: effect}, noise=noise), {}).verdict

    assert verdict(WIN) == "supported"
    assert verdict(LOSS) == verdict() == verdict(SMALL) == "not supported"
    assert verdict(noise=NOISE) == "inconclusive"
    assert verdict(WIN, data="digits") == "depends"
    assert verdict(WIN, sampler="heun") == "not supported"
    # Plain training is the baseline with the same sampler: better samplers do not count.
    alike = {(None, None, "picard", None): WIN, (None, None, "ddpm", None): WIN}
    assert rule(example_pairs(alike), {}).verdict == "not supported"


@pytest.mark.parametrize(
    "rule, training, sampler",
    [
        (perturbation_and_gradient, "perturbed", "gradient_estimation"),
        (contrastive_elsewhere, "contrastive", None),
        (pairs_of_objectives, "both", None),
    ],
)
def test_not_better(rule, training, sampler):
    def verdict(effect=0.0, data=None, noise=0.01):
        effects = {(data, training, sampler, None): effect}
        if training == "both":
            effects[data, "consistent high", sampler, None] = effect
        return rule(example_pairs(effects, noise=noise), {}).verdict

    assert verdict(WIN) == "not supported"
    assert verdict(LOSS) == verdict() == verdict(SMALL) == "supported"
    assert verdict(noise=3.0) == "inconclusive"
    assert verdict(WIN, data="points") == "depends"


def test_few_steps_of_one_sampler():
    claim = perturbation_and_steps(example_pairs({("digits", "perturbed", "ddim", 5): WIN}), {})
    assert claim.verdict == "depends" and "digits (DDIM)" in claim.answer
    later = example_pairs({(None, "perturbed", None, 20): WIN})
    assert perturbation_and_steps(later, {}).verdict == "not supported"


def test_elsewhere_leaves_picard_out():
    there = example_pairs({(None, "contrastive", "picard", None): WIN})
    assert contrastive_elsewhere(there, {}).verdict == "supported"
    one = contrastive_elsewhere(example_pairs({(None, "contrastive", "heun", None): WIN}), {})
    assert one.verdict == "depends" and "Heun" in one.answer


def ambient(effect, trainings=("ambient low", "ambient high", "consistent high"), data=None):
    samplers = ("heun", "gradient_estimation")
    return {(data, t, s, None): effect for t in trainings for s in samplers}


@pytest.mark.parametrize(
    "effects, noise, verdict",
    [
        (ambient(LOSS), 0.01, "supported"),
        (ambient(WIN), 0.01, "not supported"),
        ({}, 0.01, "not supported"),
        ({}, NOISE, "inconclusive"),
        (ambient(LOSS, data="digits"), 0.01, "depends"),
        (ambient(LOSS, ["ambient low", "ambient high"]), 0.01, "depends"),
        ({(None, "ambient high", None, None): LOSS}, 0.01, "not supported"),  # DDIM as well
        ({(*key[:3], 5): LOSS for key in ambient(LOSS)}, 0.01, "not supported"),  # too coarse
    ],
)
def test_noisy_data_hide_samplers(effects, noise, verdict):
    claim = noisy_data_hide_samplers(example_pairs(effects, noise=noise), {})
    assert claim.verdict == verdict


def test_a_pair_is_compared_with_its_better_half():
    effects = {(None, "both", None, None): WIN, (None, "contrastive", None, None): WIN}
    assert pairs_of_objectives(example_pairs(effects), {}).verdict == "supported"
    one = pairs_of_objectives(example_pairs({(None, "both", None, None): WIN}), {})
    assert one.verdict == "depends" and one.interval[1] < 1  # type: ignore[index]


ON_BOTH = (
    perturbation_and_steps, perturbation_and_gradient, contrastive_off_path,
    contrastive_elsewhere, noisy_data_hide_samplers, pairs_of_objectives,
)  # fmt: skip


@pytest.mark.parametrize("rule", ON_BOTH)
def test_claims_say_what_decides(rule):
    """Both problems, the length of training, the number that decides first, as text as well."""
    claim = rule(example_pairs(), {})
    assert "points" in claim.evidence and "digits" in claim.evidence
    assert "10 and 5 steps of 4" in claim.evidence and "A seed has" in claim.evidence
    low, high = claim.interval or (0.0, 0.0)
    told = f"{Interval(claim.effect or 0.0, low, high, SEEDS):.2f}"
    assert claim.evidence.index(told) < claim.evidence.index(";")
    open_ = rule(example_pairs(noise=3.0), {})
    assert open_.verdict == "inconclusive"
    assert "Smallest effect of interest: 5%" in open_.evidence and "80 %" in open_.evidence


@pytest.mark.parametrize("rule", [perturbation_and_steps, perturbation_and_gradient])
def test_a_lost_seed_gives_no_verdict(rule):
    with pytest.raises(ValueError, match="not finite"):
        rule(example_pairs(failed="perturbed"), {})


# --- conditions together --------------------------------------------------------------------------


def factors(**means):
    return {("digits", k): Interval(m, m - 0.01, m + 0.01, SEEDS) for k, m in means.items()}


def test_the_number_shown_is_the_one_that_decides():
    for rule, means, place in (
        (grading.BETTER, {"a": 0.5, "b": 0.9}, "b"),  # holds; the weaker
        (grading.BETTER, {"a": 1.0, "b": 1.5}, "a"),  # fails; the nearer
        (grading.BETTER, {"a": 0.5, "b": 1.0, "c": 1.2}, "c"),  # depends; what breaks it
        (grading.NOT_BETTER, {"a": 1.0, "b": 0.98}, "b"),
        (grading.WORSE, {"a": 1.2, "b": 1.1}, "b"),
        (grading.EQUAL, {"a": 1.01, "b": 0.97}, "b"),
    ):
        assert grading.Effects(factors(**means), rule).deciding == ("digits", place)


def test_an_answer_names_the_condition_and_is_short():
    for count in (2, 6, 12):
        many = factors(**{f"x{i}": 0.5 if i % 2 else 1.2 for i in range(count)})
        answer = grading.Effects(many, grading.BETTER).answer({"depends": "It helps"})
        assert answer.startswith("It helps:") and len(answer.split()) <= LONGEST_ANSWER


def test_a_claim_that_denies_says_what_holds_where_it_is_false():
    some = factors(a=1.0) | {("points", "a"): Interval(0.5, 0.49, 0.51, SEEDS)}
    effects = grading.Effects(some, grading.NOT_BETTER)
    answers = {"depends": "It does not help", "exception": "It helps"}
    assert effects.answer(answers) == "It helps only on points."
    wide = some | {("lines", "a"): Interval(0.95, 0.7, 1.3, SEEDS)}  # undecided: no "only"
    assert grading.Effects(wide, grading.NOT_BETTER).answer(answers) == "It helps on points."


def test_an_answer_says_only_where_nothing_is_undecided():
    answers = {"depends": "It helps"}
    settled = factors(few=0.5, **{f"condition number {i}": 1.2 for i in range(5)})
    answer = grading.Effects(settled, grading.BETTER).answer(answers)
    assert answer == "It helps: only on digits (few)."
    wide = settled | {("points", "a"): Interval(0.95, 0.7, 1.3, SEEDS)}
    answer = grading.Effects(wide, grading.BETTER).answer(answers)
    assert answer == "It helps: in 1 of 7 settings; 1 undecided."


def test_what_is_settled_is_said_where_the_whole_is_open():
    some = factors(a=0.5) | {("points", "a"): Interval(0.95, 0.7, 1.3, SEEDS)}
    effects = grading.Effects(some, grading.BETTER)
    answer = effects.answer({"depends": "It helps", "inconclusive": "Undecided."})
    assert effects.verdict == "inconclusive"
    assert answer == "It helps: undecided on points; true on digits."


@pytest.mark.parametrize("rule", ["BETTER", "NOT_BETTER", "WORSE", "EQUAL"])
def test_twice_the_smallest_effect_both_ways_decides_nothing(rule):
    smallest = 2 * math.log(grading.LARGER)
    interval = Interval(1.0, math.exp(-smallest), math.exp(smallest), SEEDS)
    assert getattr(grading, rule).judge(interval) == "inconclusive"


# --- records, several master seeds ----------------------------------------------------------------


def record(effects=None, lost=None):
    """A record: 3 seeds, no Picard iteration on noisy data, one seed of ``lost`` not finite."""
    pairs = example_pairs(effects, budgets=(5, 10))
    table = pairs.where(measure="distance", data="digits", seed=[0, 1, 2]).drop(columns="data")
    table.loc[(table["training"] == lost) & (table["seed"] == 2), "value"] = math.nan
    return Results(
        table, {"widths": torch.ones(2)},
        {"labels": pairs.facts["labels"]["digits"], "floor": 1.0},
        settings={"seeds": 3, "low": 0.02},
    )  # fmt: skip


def test_records_stand_in_the_evidence():
    effects = {(None, "both", None, None): -0.5, (None, "perturbed", None, None): LOSS}
    images, pairs = {"MNIST": record(effects), "CIFAR-10": None}, example_pairs()
    evidence = pairs_of_objectives(pairs, images).evidence
    said = "MNIST, 3 seeds: over all samplers and budgets the distance of the pair is 0.6"
    assert said in evidence and "CIFAR" not in evidence
    evidence = perturbation_and_gradient(pairs, images).evidence
    assert "with gradient estimation the distance is 1.2" in evidence
    assert "the log width was not measured" in widths_add(wide(), images).evidence


def test_what_is_certain_on_images_is_said():
    effects = {
        (None, "perturbed", "heun", None): -0.5, (None, "ambient high", "ddim", None): -0.5,
        (None, "naive high", None, None): 0.5,
    }  # fmt: skip
    said = four_noises.tables.image_sentences
    found = said(record(effects))
    assert (
        "- Nearer: perturbed (Heun); contrastive (Picard); ambient high (DDIM).\n- Farther: naive"
        in found
    )
    assert "default levels" in found and "3 seeds" in found and "undecided" in found
    lost = said(record(effects, lost="ambient high"))
    assert (
        "perturbed (Heun); contrastive (Picard).\n- Farther" in lost
        and "default levels" not in lost
    )
    assert "- Farther: nothing.\n- All else is undecided." in said(record())


@pytest.mark.parametrize(
    "effects, ending",
    [
        ({}, "neither nearer nor farther."),
        ({(None, "ambient high", "ddim", None): -0.5}, "nearer with DDIM."),
        (
            {
                (None, "ambient high", "ddim", None): -0.5,
                (None, "ambient high", "heun", None): 0.5,
            },
            "nearer with DDIM; farther with Heun.",
        ),
    ],
)
def test_what_searched_levels_change_is_said_where_ambient_training_is_nearer(effects, ending):
    said = four_noises.tables.image_sentences
    ahead = record({(None, "ambient high", "ddim", None): -0.5})
    levels = levels_record(effects)
    found = str(said(ahead, levels))
    assert f"By these intervals it is {ending}" in found and "default levels" not in found
    assert ("the levels do not explain it" in found) == ("nearer with" in ending)
    assert "too narrow" not in found  # no width was measured
    assert "3 seeds. Ambient training over plain training is then: DDIM " in found
    assert "trained again" not in str(said(record(), levels))


@pytest.mark.parametrize("ambient, corrected", [(0.02, True), (-0.3, False)])
def test_a_width_that_ambient_training_corrects_is_named(ambient, corrected):
    levels = levels_record({(None, "ambient high", "ddim", None): -0.5})
    widths = [
        tidy([value] * 3, {"seed": range(3)}, measure="log width", training=training,
             sampler="ddim", budget=n)
        for training, value in (("denoising", -0.1), ("ambient high", ambient))
        for n in (5, 10)
    ]  # fmt: skip
    both = dataclasses.replace(levels, table=pd.concat([levels.table, *widths]))
    found = str(four_noises.tables.image_sentences(
        record({(None, "ambient high", "ddim", None): -0.5}), both
    ))  # fmt: skip
    assert ("DDIM -0.10 and +0.02 (0 is right)" in found) == corrected


def levels_record(effects):
    """As ``record``, of plain and ambient training only, and without Picard iteration."""
    of = record(effects)
    kept = of.table["training"].isin(["denoising", "ambient high"])
    kept &= of.table["sampler"] != "picard"
    names = {t: of.facts["labels"][t] for t in ("denoising", "ambient high")}
    return dataclasses.replace(of, table=of.table[kept], facts={**of.facts, "labels": names})


def test_a_record_with_a_lost_seed_leaves_it_out():
    images = {"MNIST": record(lost="contrastive")}
    assert "is not measured" in contrastive_off_path(example_pairs(), images).evidence
    assert "the pair was not measured" in pairs_of_objectives(example_pairs(), images).evidence
    table = four_noises.tables.image_factors(images, four_noises.image_gain)
    table = table.set_index("training")
    assert (table.loc["contrastive"].iloc[2:] == "–").all()
    assert table.loc["perturbed", "DDIM"].startswith(("0.9", "1.0"))


def test_verdicts_of_two_master_seeds(two_seeds):
    claims = four_noises.verdicts(two_seeds)
    assert [claim.id for claim in claims] == [
        "meet-widths-add", "meet-widths-sampler", "meet-widths-objective",
        "meet-perturbation-and-steps", "meet-perturbation-and-gradient",
        "meet-contrastive-off-path", "meet-contrastive-elsewhere",
        "meet-noisy-data-hide-samplers", "meet-pairs",
    ]  # fmt: skip
    assert {claim.seeds for claim in claims} == {4}


def test_calculated_shifts_of_both_signs_do_not_cancel():
    calculated = np.array([[0.0, 0.0], [0.1, -0.1]])
    measured = np.zeros((2, 2, 3))
    measured[1] = np.array([0.2, -0.2])[:, None]
    assert (
        comparisons.Widths([("ddim", 5), ("ddpm", 5)], calculated, measured).shift_slope.mean == 2
    )
