"""Contested claims on images: the rules on made-up records, and what searches choose."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from companion.experiments import Results, Session, tidy
from companion.experiments import noise_classifier as nc
from companion.experiments.contested import UNDECIDED, Contested
from companion.experiments.image_search import CHOSEN_BY, balanced, best_trial, chosen

SEEDS = 5


def scattered(mean, scatter, failed=False, seed=0):
    """Values of seeds whose geometric mean is as given; the last is not a number if it failed."""
    noise = np.random.default_rng(seed).normal(size=SEEDS)
    values = mean * np.exp(scatter * (noise - noise.mean()))
    if failed:
        values[-1] = math.nan
    return values


# --- searches -------------------------------------------------------------------------------------


def search(**values):
    """Results of a search with a setting "x" that counts the trials."""
    parts = [
        tidy(listed, {"trial": range(len(listed))}, measure=CHOSEN_BY, method=method)
        for method, listed in values.items()
    ]
    trials = {m: [{"x": i} for i in range(len(listed))] for m, listed in values.items()}
    return Results(parts, facts={"trials": trials})


def test_a_search_chooses_the_least_distance_and_passes_over_what_failed():
    results = search(ours=[3.0, math.nan, 2.0], rival=[1.0, 4.0, math.nan])
    assert chosen(results) == {"ours": {"x": 2}, "rival": {"x": 0}}
    with pytest.raises(ValueError, match="method: got 'ours'; allowed is one with a trial"):
        best_trial(search(ours=[math.nan]), "ours")


def test_values_are_tried_about_equally_often():
    listed = balanced(("a", "b", "c"), 8, random.Random(0))
    assert sorted(listed) == sorted("aaabbbcc") and listed != sorted(listed)


def test_the_contrastive_loss_and_its_control_have_as_many_trials_at_the_same_cost():
    for config in (*nc.ImageSearch.planned("long"), *nc.ImageSearch.planned("smoke")):
        trials = config.trials()
        control, loss = trials[nc.SAME_COST], trials[nc.CONTRASTIVE]
        assert len(control) == len(loss) == len({str(t) for t in control})
        costs = [
            [t["steps"] * (config.batch + 8 * t.get("points", 0) * config.contrasted) for t in some]
            for some in (control, loss)
        ]
        assert max(costs[0]) <= config.evaluations >= max(costs[1])
        assert all(cost > 0.4 * config.evaluations for some in costs for cost in some)


def test_what_was_searched_is_used_only_on_the_same_networks(tiny_session):
    config = nc.ImageContrast.planned("smoke")[0]
    results = tiny_session.run(nc.ImageContrast)
    assert results.facts["searched"]
    found = chosen(tiny_session.run(nc.ImageSearch))
    assert results.facts["chosen"][nc.SAME_COST] == found[nc.SAME_COST]
    tuned = results.facts["chosen"][nc.CONTRASTIVE]
    assert all(tuned[name] == value for name, value in found[nc.CONTRASTIVE].items())
    other = tiny_session.run(replace(config, steps=config.steps + 1))
    assert not other.facts["searched"]
    assert other.facts["chosen"][nc.CONTRASTIVE]["weight"] == config.weight


@pytest.fixture(scope="module")
def tiny_session(tmp_path_factory):
    return Session("smoke", 0, memory=tmp_path_factory.mktemp("memory"))


# --- chapter 3 ------------------------------------------------------------------------------------

WIN = {nc.SAME_STEPS: 1.0, nc.SAME_COST: 1.0, nc.CONTRASTIVE: 0.8}
TIE = {nc.SAME_STEPS: 1.0, nc.SAME_COST: 1.0, nc.CONTRASTIVE: 1.0}
LOSS = {nc.SAME_STEPS: 1.0, nc.SAME_COST: 1.0, nc.CONTRASTIVE: 1.2}
ONLY_STEPS = {nc.SAME_STEPS: 1.0, nc.SAME_COST: 0.8, nc.CONTRASTIVE: 0.8}


def contrast(sequential, parallel, scatter=0.01, failed=None, searched=True):
    """A record of image_contrast: means of the methods, in sequence and in parallel."""
    parts = []
    for kind, means in (("sequential", sequential), ("semilinear", parallel)):
        for i, (method, mean) in enumerate(means.items()):
            for budget in (10, 20):
                values = scattered(mean, scatter, failed == method, seed=10 * i + budget)
                where = {"kind": kind, "sampler": "DDPM", "budget": budget, "method": method}
                parts.append(
                    tidy(values, {"seed": range(SEEDS)}, measure="Frechet distance", **where)
                )
    settings = {"seeds": SEEDS, "steps": 5600}
    return {"made up": Results(parts, settings=settings, facts={"searched": searched})}


@pytest.mark.parametrize(
    "record, verdict",
    [
        (contrast(WIN, WIN), "supported"),
        (contrast(TIE, TIE), "not supported"),
        (contrast(LOSS, LOSS), "not supported"),
        (contrast(ONLY_STEPS, ONLY_STEPS), "not supported"),
        (contrast(TIE, WIN), "depends"),
        (contrast(TIE, TIE, scatter=0.5), "inconclusive"),
        (contrast(WIN, WIN, failed=nc.CONTRASTIVE), "not supported"),
        (contrast(WIN, WIN, failed=nc.SAME_COST), "inconclusive"),
        (contrast(WIN, WIN, searched=False), UNDECIDED),
        ({"made up": None}, UNDECIDED),
        ({}, UNDECIDED),
    ],
)
def test_contrastive_fine_tuning_is_judged_at_equal_cost(record, verdict):
    found = nc.contested(record)
    assert found.verdict == verdict and found.change
    if verdict == UNDECIDED:
        assert "not searched" in found.evidence or "not yet recorded" in found.evidence
    else:
        assert "made up, 5 networks of 5,600 steps" in found.evidence
        assert "(Picard, semilinear)" in found.evidence and "(sequential)" in found.evidence


def test_a_verdict_that_is_said_wrongly_is_refused():
    with pytest.raises(ValueError, match="verdict: got 'maybe'; allowed are supported"):
        Contested("maybe", "Yes.", "", "This.")
    with pytest.raises(ValueError, match="answer: got 16 words; allowed are at most 15"):
        Contested("supported", 16 * "a ", "", "This.")
    with pytest.raises(ValueError, match=r"change: got .*; allowed is one sentence"):
        Contested("supported", "Yes.", "", "This. And that.")
    shown = Contested("supported", "Yes.", "Ratio 0.9.", "This.")._repr_markdown_()
    assert shown == "● **Yes.**\n\nRatio 0.9.\n\n*What would change our mind:* This."
