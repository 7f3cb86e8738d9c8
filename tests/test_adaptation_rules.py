"""Chapter 8: its rules on made-up results: wins, ties, losses, and what is open."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from companion.experiments.adaptation import comparisons, figures, summary, tables
from companion.experiments.adaptation.race import CEILING, EXACT, WAYS
from companion.experiments.claims import Claims
from companion.experiments.results import Results

rules = import_module("companion.experiments.adaptation.verdicts")

NOISES = ("noise 0.5", "noise 1", "noise 1.5")
OTHERS = ("blur", "contrast", "pixelation")


def made_up(gains=None, scatter=0.002, seeds=6):
    """Accuracy 0.8 everywhere, with gains by (way, condition), (way, None) or (None, condition)."""
    rng = np.random.default_rng(0)
    rows = []
    for way in (*WAYS, CEILING, EXACT):
        for c in ("none", *NOISES, *OTHERS):
            extra = sum((gains or {}).get(key, 0) for key in ((way, c), (way, None)))
            for seed in range(seeds):
                noise = scatter * rng.standard_normal()
                rows.append(("accuracy", c, way, seed, 0.8 + extra + noise))
                rows.append(("calibration error", c, way, seed, 0.1))
    names = ["measure", "condition", "way", "seed", "value"]
    return Results(pd.DataFrame(rows, columns=names), facts={"test images": 100})


def judged(gains=None, **more):
    race = made_up(gains, **more)
    made = (
        rules.comparison, rules.improves, rules.rival, rules.guidance, rules.consistently,
        rules.kinds, rules.unaligned, rules.tuned, rules.tuned_rival,
    )  # fmt: skip
    claims = Claims([*(rule(race) for rule in made), rules.benchmarks()])
    return race, claims, {c.id.removeprefix("adaptation-"): c for c in claims}


def test_where_nothing_differs_nothing_is_supported():
    _, claims, told = judged()
    assert {c.verdict for c in claims} == {"not supported", "not tested"}
    assert told["rival"].answer.endswith("a classifier trained with noise is as good.")


def test_where_all_is_noise_all_is_open():
    _, claims, _ = judged(scatter=0.08)
    assert {c.verdict for c in claims} == {"inconclusive", "not tested"}
    assert "power of 80 %" in claims[1].evidence


@pytest.mark.parametrize(
    "way, claims",
    [
        ("sampled", {"improves", "rival", "comparison"}),
        ("guided", {"rival", "guidance", "consistently", "kinds"}),
        ("tuned, sampled", {"unaligned", "fine-tune", "fine-tune-rival"}),
        ("sampled, ambient", {"comparison"}),
    ],
)
def test_a_win_supports_what_it_bears_on_and_nothing_else(way, claims):
    _, _, told = judged({(way, None): 0.05})
    won = {name for name, claim in told.items() if claim.verdict in ("supported", "depends")}
    assert won == claims


def test_a_loss_is_not_supported():
    _, _, told = judged({("sampled", None): -0.05, ("guided", None): -0.05})
    for name in ("improves", "guidance", "kinds", "consistently"):
        assert told[name].verdict == "not supported"
    assert told["improves"].effect < -4


def test_what_helps_with_noise_only_depends_and_says_so():
    _, _, told = judged({("sampled", c): 0.05 for c in NOISES})
    assert told["improves"].verdict == "depends"
    assert told["improves"].answer == (
        "A sampler before a classifier helps with noise 0.5, 1, 1.5 only."
    )


def test_a_cost_of_clean_data_counts_from_two_points_on():
    _, _, small = judged({(way, None): -0.01 for way in rules.PAIRS.values()})
    assert small["comparison"].verdict == "not supported"
    _, _, large = judged({(way, None): -0.04 for way in rules.PAIRS.values()})
    assert large["comparison"].verdict == "supported" and large["comparison"].effect < -3


def test_the_best_way_is_chosen_by_the_other_seeds():
    race = made_up({("averaged", None): 0.05})
    best = comparisons.best(race, ("sampled", "averaged"), "blur")
    assert np.allclose(best, comparisons.accuracies(race, "averaged", "blur"))


def test_the_box_follows_results_and_verdicts():
    race, claims, _ = judged()
    box = summary.box(race, claims)
    assert "gained no point" in box.works
    assert "never saw clean data costs under two points" in box.works
    assert "as good and costs no calls" in box.avoid
    race, claims, _ = judged({("sampled", None): 0.05})
    box = summary.box(race, claims)
    assert "helped with every corruption" in box.works and "85." in box.number
    assert box.avoid == "You can train the classifier with noise: it costs no calls."


def test_figures_and_tables_take_what_there_is():
    race = made_up({("one call", None): 0.1})
    for draw in (figures.against_nothing, figures.under_the_ceiling):
        assert draw(race).axes
    assert figures.mean_of_two().axes
    shown = tables.accuracy_table(race).to_html()
    assert "90." in shown and "clean" in shown and "6 seeds" in shown
    assert "0.0 points below" in tables.gap(race) and "-10.0 points" in tables.gap(race)
    for table in (tables.calibration_table(race), tables.mixture_table(race)):
        assert "%" in table.to_html()


def test_a_record_of_images_is_told_as_it_came_out():
    steps = {"steps": 10, "classifier_steps": 4, "second_steps": 3}
    gains = {("one call", "blur"): 0.1, ("trained with noise", "noise 1"): 0.1}
    told = summary.on_images(replace(made_up(gains), settings=steps))
    before, after = told.split(" One call against a classifier trained with noise: ")
    assert "better by a point or more: blur; certainly worse: nowhere (" in before
    assert "better by a point or more: blur; certainly worse: noise 1 (" in after
    assert "had 10 training steps and each classifier 7" in after
