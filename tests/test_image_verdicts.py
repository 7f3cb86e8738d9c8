"""Contested claims on images: the rules on made-up records, and what searches choose."""

import math
import random
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments import extra_noise as xn
from companion.experiments import noise_classifier as nc
from companion.experiments.contested import UNDECIDED, Contested, more_networks, needed
from companion.experiments.extra_noise import paper_verdicts, summary
from companion.experiments.image_search import CHOSEN_BY, balanced, best_trial, chosen
from companion.experiments.records import plain
from companion.statistics import Interval, detectable, mean_interval

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
        each = 8 * config.contrasted
        costs = [
            [t["tune_steps"] * (config.batch + t.get("points", 0) * each) for t in some]
            for some in (control, loss)
        ]
        assert max(costs[0]) <= config.evaluations >= max(costs[1])
        assert all(cost > 0.4 * config.evaluations for some in costs for cost in some)


def test_what_was_searched_is_used_only_on_the_same_networks(smoke):
    config = nc.ImageContrast.planned("smoke")[0]
    results = smoke.run(nc.ImageContrast)
    assert results.facts["searched"]
    found = chosen(smoke.run(nc.ImageSearch))
    assert results.facts["chosen"][nc.SAME_COST] == found[nc.SAME_COST]
    tuned = plain("chosen", results.facts["chosen"][nc.CONTRASTIVE])
    assert all(tuned[name] == value for name, value in found[nc.CONTRASTIVE].items())
    other = smoke.run(replace(config, steps=config.steps + 1))
    assert not other.facts["searched"]
    assert other.facts["chosen"][nc.CONTRASTIVE]["weight"] == config.weight


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


def test_the_evidence_also_compares_with_the_network_before():
    before = {nc.BEFORE: 0.5}
    told = nc.contested(contrast(WIN | before, WIN | before)).evidence
    assert "Over the network that both go on from: with the loss 1.60 [" in told
    assert "; denoising 2.00 [" in told
    assert "go on from" not in nc.contested(contrast(WIN, WIN)).evidence


# --- chapter 1 ------------------------------------------------------------------------------------

ARM = xn.Arm("B eps", 0.2)


def trial(means, free=1.0, scatter=0.01, failed=None, searched=True):
    """A record of image_trial: the mean with input perturbation on chains of 20, 100, 500 steps."""
    parts = []
    conditions = {("trained", xn.NONE): (1.0,) * 3, ("trained", ARM): means}
    conditions |= {("free", ARM): (free,) * 3}
    for i, ((way, arm), listed) in enumerate(conditions.items()):
        for n, mean in zip((20, 100, 500), listed):
            values = scattered(mean, scatter, failed == way and arm == ARM, seed=10 * i + n)
            where = {"denoiser": way, **arm.where, "steps": n}
            parts.append(tidy(values, {"seed": range(SEEDS)}, measure="Frechet distance", **where))
    settings = {"seeds": SEEDS, "steps": 5600}
    return {"made up": Results(parts, settings=settings, facts={"searched": searched})}


@pytest.mark.parametrize(
    "record, verdict",
    [
        (trial((1.0, 0.8, 0.7)), "supported"),
        (trial((0.8, 1.0, 1.0)), "not supported"),
        (trial((1.0, 1.0, 1.0)), "not supported"),
        (trial((1.2, 1.2, 1.2)), "not supported"),
        (trial((1.0, 1.0, 0.8)), "depends"),
        (trial((1.0, 1.0, 1.0), scatter=0.5), "inconclusive"),
        (trial((1.0, 0.8, 0.7), failed="trained"), "inconclusive"),
        (trial((1.0, 0.8, 0.7), searched=False), UNDECIDED),
        ({"made up": None}, UNDECIDED),
        ({}, UNDECIDED),
    ],
)
def test_input_perturbation_is_judged_on_long_chains(record, verdict):
    found = xn.contested(record)
    assert found.verdict == verdict and found.change
    if verdict == UNDECIDED:
        assert "not searched" in found.evidence or "not yet recorded" in found.evidence
    else:
        assert "γ = 0.2" in found.evidence and "with 500 steps" in found.evidence
        assert "On short chains" in found.evidence and "for free" in found.evidence


# --- how many networks would decide --------------------------------------------------------------


@pytest.mark.parametrize("comparisons", [1, 4])
@pytest.mark.parametrize("smallest", [0.05, -0.2])
def test_so_many_networks_show_the_smallest_effect_and_one_less_does_not(comparisons, smallest):
    values = np.random.default_rng(1).normal(scale=0.15, size=SEEDS)
    number = needed(mean_interval(values, comparisons=comparisons), smallest, comparisons)
    seen = []
    for n in (number, number - 1):  # so many values with the same standard deviation
        standard = (np.arange(n) - (n - 1) / 2) / np.std(np.arange(n), ddof=1)
        interval = mean_interval(standard * values.std(ddof=1), comparisons=comparisons)
        seen.append(detectable(interval, confidence=1 - 0.05 / comparisons))
    assert seen[0] <= abs(smallest) < seen[1]


def test_no_number_of_networks_shows_what_is_far_too_small():
    assert needed(Interval(0.0, -1.0, 1.0, SEEDS), 1e-6) == 9999


def test_what_is_not_decided_asks_for_more_networks():
    wide = contrast(TIE, TIE, scatter=0.5)
    assert "More networks: about" in nc.contested(wide).change
    assert "in place of 5, would show a difference of 5%" in nc.contested(wide).change
    assert "More networks" in xn.contested(trial((1.0, 1.0, 1.0), scatter=0.5)).change
    failed = trial((1.0, 0.8, 0.7), failed="trained")
    assert "A strength, found" in xn.contested(failed).change
    assert "A setting of the loss" in nc.contested(contrast(WIN, WIN, failed=nc.SAME_COST)).change
    assert "A setting of the loss" in nc.contested(contrast(LOSS, LOSS)).change
    assert "at least 9999" in more_networks(Interval(0.0, -9.0, 9.0, SEEDS), 0.01)


def test_the_box_of_the_chapter_says_what_images_say():
    assert "On images: Yes: on long chains" in summary.caveat(trial((1.0, 0.8, 0.7)))
    assert "Images are not recorded yet" in summary.caveat({})
    assert "seeds, 20 steps" in summary.caveat(trial((1.0, 0.8, 0.7), searched=False))


def test_the_words_of_a_record_are_about_the_strength_that_it_trained():
    (record,) = trial((1.0, 0.8, 0.7)).values()
    assert "trained against plain" in paper_verdicts.image_quality(record)


def test_every_kind_of_noise_has_as_many_trials_as_the_plain_network(smoke):
    for config in (*xn.NoiseSearch.planned("long"), *xn.NoiseSearch.planned("smoke")):
        numbers = {len(listed) for listed in config.trials().values()}
        assert len(numbers) == 1 and len(config.parts(smoke)) == 3 * numbers.pop()


def test_the_trial_has_the_strengths_that_were_searched(smoke):
    found = chosen(smoke.run(xn.NoiseSearch))
    results = smoke.run(xn.ImageTrial)
    told = plain("facts", {"arms": results.facts["arms"], "lrs": results.facts["arm_lrs"]})
    assert told["arms"] == [[kind, found[kind]["strength"]] for kind in ("none", "B eps", "C")]
    assert told["lrs"] == [found[kind]["tune_lr"] for kind in ("none", "B eps", "C")]
    assert results.facts["searched"]
    fresh = smoke.run(replace(xn.ImageTrial.planned("smoke")[0], continued=0))
    assert not fresh.facts["searched"]


def test_memorisation_is_shown_along_the_training(smoke):
    results = smoke.run(xn.ImageCopies)
    frame = xn.image_figures.stopped(results)
    assert frame["training"].tolist() == ["plain", "C, s = 0.05", "weight decay 0.1"]
    assert list(results.labels("stop")) == [2, 4]
    figure = xn.image_figures.memorised(results)
    assert all(len(ax.get_lines()) == 3 for ax in figure.axes)
    plt.close(figure)
    assert "No training copies" in xn.image_figures.copying(results)


def test_copies_are_told_at_the_end_and_where_the_plain_training_stops():
    ways = {("none", 0.0): (0.0, 0.5), ("C", 0.05): (0.0, 0.25)}
    rows = [
        tidy([[v, v] for v in found], {"stop": (500, 4000), "seed": range(2)}, measure=measure,
             kind=kind, strength=strength)
        for (kind, strength), copies in ways.items()
        for measure, found in (("copies", copies), ("distance to choose by", (1.0, 2.0)))
    ]  # fmt: skip
    told = xn.image_figures.copying(Results(rows, settings={"few": 30}))
    assert told.startswith("30 images, 4,000 steps.")
    assert "plain 50% [50%, 50%]; C, s = 0.05 25% [25%, 25%]" in told
    assert "The plain training, stopped where the distance is least: 0% [0%, 0%]." in told


def test_the_interval_of_a_share_does_not_leave_0_to_1():
    rows = [
        tidy([[0.0, 1.0]], {"stop": (9,), "seed": range(2)}, measure=measure, kind="none",
             strength=0.0)
        for measure in ("copies", "distance to choose by", "Frechet distance")
    ]  # fmt: skip
    frame = xn.image_figures.stopped(Results(rows, settings={"few": 30}))
    assert frame["copies, at the end"].tolist() == ["0.50 [0.00, 1.00]"]


@pytest.mark.parametrize("module, search", [(nc, nc.ImageSearch), (xn, xn.NoiseSearch)])
def test_a_search_is_drawn_from_the_best_trial_to_the_worst(smoke, module, search):
    results = smoke.run(search)
    figure = module.image_figures.search(results)
    lines = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    ranked = [line for line in lines if len(line) == 2 and line == sorted(line)]
    assert len(ranked) >= len(results.facts["trials"])
    plt.close(figure)


def test_tables_and_figures_of_chapter_3_show_what_was_measured(smoke):
    trials = nc.tables.image_trials(smoke.run(nc.ImageSearch)).data
    assert trials[""].tolist() == ["before", "same evaluations", "contrastive"]
    gradients = nc.tables.image_gradients(smoke.run(nc.ImageGradients)).data
    assert gradients["contrast"].tolist() == ["0.001 to 0.02", "0.01 to 0.2", "0.1 to 2"]
    picard = smoke.run(nc.ImagePicard)
    ways = nc.tables.image_iterations({"one": picard}).data
    assert len(ways) == 4 and ways["iterations"].astype(float).max() <= 4
    assert picard.where(measure="error")["value"].max() < picard.settings["tolerance"] == 0.01
    stopped = nc.tables.image_by_iteration({"one": picard}).data.set_index("iteration")
    held, steps = (
        picard.values(measure=m, way="plain", **at)
        for m, at in (("Frechet distance", {"iteration": 2}), ("in sequence", {}))
    )
    assert len(stopped) == 4
    ratio = np.exp(np.log(held / steps).mean())
    assert float(stopped.loc["plain", "2"].split()[0]) == pytest.approx(ratio, rel=0.01)
    figure = nc.image_figures.accelerated(picard)
    assert len(figure.axes[0].get_lines()) >= 5
    plt.close(figure)


@pytest.mark.parametrize(
    "module, experiment, rows",
    [
        (xn, xn.ImageTrial, ["plain", "B (ε), γ = ", "C, s = ", "free: B (ε), γ = "]),
        (nc, nc.ImageContrast, ["before", "same steps", "same evaluations", "contrastive"]),
    ],
)
def test_samples_of_each_network_are_drawn(smoke, module, experiment, rows):
    figure = module.image_figures.drawn(smoke.run(experiment))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(rows) and all(a.startswith(b) for a, b in zip(labels, rows))
    plt.close(figure)


@pytest.mark.parametrize("norm, nearly", [(0.01, True), (5.0, False)])
def test_the_page_says_how_strong_the_chosen_loss_is(norm, nearly):
    trials = {nc.CONTRASTIVE: [{"weight": 2.0, "contrast": [0.01, 0.2]}]}
    search = Results(
        tidy([1.0], {"trial": [0]}, measure=CHOSEN_BY, method=nc.CONTRASTIVE),
        facts={"trials": trials},
    )
    names = ["denoising", "0.01 to 0.2"]
    gradients = Results(tidy([0.5, norm], {"objective": names}, measure="of a batch"))
    told = nc.tables.gradient_of_chosen(search, gradients)
    assert f"has {2 * norm / 0.5:.2g} times" in told and ("nearly plain" in told) == nearly
    elsewhere = Results(tidy([0.5, norm], {"objective": ["denoising", "1 to 2"]}, measure="loss"))
    assert "not measured" in nc.tables.gradient_of_chosen(search, elsewhere)


# --- both -----------------------------------------------------------------------------------------


def test_a_verdict_that_is_said_wrongly_is_refused():
    with pytest.raises(ValueError, match="verdict: got 'maybe'; allowed are supported"):
        Contested("maybe", "Yes.", "", "This.")
    with pytest.raises(ValueError, match="answer: got 16 words; allowed are at most 15"):
        Contested("supported", 16 * "a ", "", "This.")
    with pytest.raises(ValueError, match=r"change: got .*; allowed is one sentence"):
        Contested("supported", "Yes.", "", "This. And that.")
    shown = Contested("supported", "Yes.", "Ratio 0.9.", "This.")._repr_markdown_()
    assert shown == "● **Yes.**\n\nRatio 0.9.\n\n*What would change our mind:* This."
