"""Chapter 5: widths against samplers on exact Gaussians, its experiments and tables."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import torch
from conftest import seeded

from companion import data, metrics, noise, objectives, samplers, statistics
from companion.experiments import Results, Session
from companion.experiments import four_noises as fn
from companion.experiments.experiment import find
from companion.experiments.four_noises import comparisons, digits, sampling, stages
from companion.experiments.four_noises.digits import principal_widths
from companion.experiments.four_noises.levels_network import ADDED_MEAN
from companion.experiments.four_noises.pair_network import PairNetwork
from companion.experiments.records import load, records_folder
from companion.oracles import GaussianMixture

matplotlib.use("Agg")

WIDE, LOW = 40.0, 0.001
"""Noise levels from far above the data to far below."""


# --- equations -----------------------------------------------------------------------------------


def exact(c):
    return GaussianMixture([[0.0]], c).denoiser


def log_width(sampler, denoiser, c, sigmas, **options):
    width = torch.tensor([c], dtype=torch.float64)
    return fn.width_after(sampler, denoiser, width, sigmas, **options).item()


@pytest.mark.parametrize("c", [0.2, 1.0])
@pytest.mark.parametrize(
    "sampler, options, slope",
    [
        ("ddim", {}, -1 / 4),
        ("ddpm", {}, -1 / 2),
        ("gradient_estimation", {"gamma": 2.0}, 1 / 4),
        ("gradient_estimation", {"gamma": 1.0}, -1 / 4),
        ("gradient_estimation", {"gamma": 1.5}, 0.0),
        ("heun", {}, 0.0),
    ],
)
def test_log_width_of_a_sampler_falls_with_the_step(c, sampler, options, slope):
    """Checks eq-fn-steps, as the step goes to 0."""
    slopes = []
    for steps in (400, 800):
        sigmas = noise.log_linear(steps, WIDE, LOW).double()
        h = math.log(WIDE / LOW) / (steps - 1)
        slopes.append(log_width(sampler, exact(c), c, sigmas, **options) / h)
    assert slopes[1] == pytest.approx(slope, abs=0.01)
    assert abs(slopes[1] - slope) < max(abs(slopes[0] - slope), 1e-3)


@pytest.mark.parametrize("c", [0.2, 1.0])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun", "gradient_estimation"])
def test_calculated_width_is_that_of_samples(c, sampler):
    """Checks eq-ddpm and the others by their samples, with few steps."""
    few, g = noise.log_linear(8, WIDE, LOW).double(), seeded()
    start = (c**2 + few[0] ** 2).sqrt() * torch.randn(40_000, 1, generator=g).double()
    options = {"generator": g} if sampler == "ddpm" else {}
    drawn = getattr(samplers, sampler)(exact(c), start, few, **options)
    calculated = log_width(sampler, exact(c), c, few)
    assert math.log(float(drawn.std()) / c) == pytest.approx(calculated, abs=0.015)


def test_exact_denoiser_of_a_gaussian():
    x, sigma = torch.randn(5, 1, generator=seeded()).double(), torch.tensor(0.7).double()
    assert torch.allclose(fn.gaussian(0.4)(x, sigma), exact(0.4)(x, sigma))


@pytest.mark.parametrize("c", [0.2, 0.75])
@pytest.mark.parametrize("gamma", [0.05, 0.1, 0.4])
def test_input_perturbation_widens_the_flow(c, gamma):
    """Checks eq-fn-perturbed on the converged flow of the exact perturbed denoiser."""
    sigmas = noise.log_linear(2000, WIDE, 1e-4).double()
    measured = log_width("heun", fn.perturbed(exact(c), gamma), c, sigmas)
    k2, ratio = 1 + gamma**2, (WIDE / c) ** 2
    width = 0.5 * math.log1p(ratio) - math.log1p(k2 * ratio) / (2 * k2)
    assert measured == pytest.approx(width, abs=2e-4)
    if gamma < 0.2:
        short = gamma**2 * (math.log(WIDE / c) - 0.5)
        assert short == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("steps, left", [(20, 0.25), (50, 0.15), (200, 0.05)])
def test_balance_takes_the_width_of_ddim_to_zero(steps, left):
    """Checks eq-fn-balance: with this gamma most of DDIM's log width is gone."""
    c, low = 0.75, 0.02
    sigmas = noise.log_linear(steps, WIDE, low).double()
    plain = log_width("ddim", exact(c), c, sigmas)
    balanced = fn.perturbed(exact(c), fn.balance(c, low, steps, WIDE))
    assert abs(log_width("ddim", balanced, c, sigmas)) < left * abs(plain)


def test_interaction_is_zero_when_gains_add_and_says_when_they_do_not():
    """Checks eq-fn-interaction on tables with a known answer."""
    g = seeded()
    run, first, second = torch.randn(3, 8, generator=g).double()
    scatter = 0.01 * torch.randn(4, 8, generator=g).double()
    adding = (run + first + second, run + first, run + second, run)
    assert statistics.interaction(*adding).mean == pytest.approx(0, abs=1e-12)
    noisy = [t + e for t, e in zip(adding, scatter)]
    assert not statistics.interaction(*noisy).excludes(0.0)
    cancelling = statistics.interaction(noisy[0] + 0.3, *noisy[1:])
    assert cancelling.low > 0 and not cancelling.excludes(0.3)
    wide = statistics.interaction(noisy[0] + 0.3, *noisy[1:], comparisons=50)
    assert wide.low < cancelling.low
    with pytest.raises(ValueError, match=r"'neither': 7.*equal numbers"):
        statistics.interaction(run, run, run, run[:7])


# --- training and sampling -----------------------------------------------------------------------


def test_second_stages_cost_what_they_say():
    """A third or fewer of the steps, by the evaluations of each objective."""
    ways = fn.two_stages(noise.LogNormal(), 1.0, (0.1, 0.3), (0.05, 0.5), 64)
    assert tuple(ways) == stages.ALL
    for way in ways.values():
        parts = getattr(way.second, "objectives", ()) if way.cost > 1 else ()
        extra = 0.0
        for part in parts:
            if isinstance(part, objectives.ContrastiveDiffusion):
                extra += part.evaluations * 2 / 64
            elif isinstance(part, objectives.Consistency):
                extra += part.evaluations
        assert way.cost == 1 + extra
    assert [w.data_noise for w in ways.values()] == [0, 0, 0, 0, 0.1, 0.3, 0.3, 0.3]


@pytest.mark.parametrize("sampler", sampling.SAMPLERS)
@pytest.mark.parametrize("budget", [5, 10])
def test_a_budget_is_evaluations_one_after_the_other(sampler, budget):
    calls = []

    def counted(x, sigma):
        calls.append(len(x))
        return fn.gaussian(1.0)(x, sigma)

    z = torch.randn(3, 2, generator=seeded())
    fn.draw(sampler, counted, z, budget, 0.02, generator=seeded())
    used = len(calls)
    assert used == budget or (sampler == "heun" and used in (budget, budget - 1))
    assert max(calls) == (3 * sampling.PICARD_LEVELS if sampler == "picard" else 3)


def test_other_seeds_choose_the_schedule():
    """A seed's own luck does not count; a schedule that fails is not chosen."""
    got = Results(sampling.best_schedules([[1.0, 5.0, 5.0], [3.0, 4.0, 2.5]], range(3), budget=5))
    assert list(got.values(measure="EDM chosen")) == [1, 1, 0]
    assert list(got.values(measure="distance")) == [3.0, 4.0, 5.0]
    for lost, chosen in (([math.nan, 1.0, 1.0], [2.0] * 3), ([1e9] * 3, [2.0] * 3)):
        got = Results(sampling.best_schedules([lost, [2.0] * 3], range(3)))
        assert list(got.values(measure="distance")) == chosen


def test_nothing_is_measured_against_what_was_trained_on(monkeypatch, smoke):
    """The classifier sees the training digits only; distances are to the test digits."""
    seen = []
    train = metrics.FeatureClassifier.train

    def spy(images, labels, **options):
        seen.append((images, options["held_out"][0]))
        return train(images, labels, **options)

    monkeypatch.setattr(metrics.FeatureClassifier, "train", spy)
    measures = digits.DigitMeasures(0, 2, 2)
    clean, test = (data.images("digits", part)[0] for part in ("train", "test"))
    assert torch.equal(seen[0][0], clean) and torch.equal(seen[0][1], test)
    assert measures.frechet(torch.cat([test, test])).max() < 1e-3
    assert measures.frechet(torch.cat([clean[:364], clean[:364]])).min() > 1e-3


def test_principal_widths_are_standard_deviations():
    digits, _ = data.images("digits", "train")
    widths, directions = principal_widths(digits, 3)
    along = digits.flatten(1) @ directions.T
    assert torch.allclose(along.std(0), widths, rtol=1e-4)


# --- experiments at smoke size --------------------------------------------------------------------


@pytest.mark.parametrize(
    "experiment", [e for e in find("four_noises") if not e.recorded], ids=lambda e: e.name()
)
def test_every_experiment_measures_finite_numbers(experiment, smoke):
    results = smoke.run(experiment)
    assert np.isfinite(results.table.get("value", np.zeros(1))).all()
    assert len(results.table) or results.arrays


def test_budgets_are_changed_where_they_are_used(smoke):
    """A setting of one line reaches schedules, samples, the calculation and the figures."""
    pairs = smoke.run(fn.AllPairs(budgets=(3, 6)))
    predicted = smoke.run(fn.PredictedWidths(pairs.settings["budgets"]))
    assert comparisons.budgets(pairs) == [3, 6] and comparisons.shown_budget(pairs) == 6
    assert len(fn.figures.all_pairs(pairs).axes) == 2
    assert len(fn.figures.predicted_widths(pairs, predicted).axes) == 2
    assert len(fn.figures.helps_most(pairs).axes) == 1
    few = smoke.run(fn.SmallTrainingSet)
    assert len(fn.tables.guide(pairs, few).data) == 2 + 2 + 2 + 1


def test_tables_of_a_smoke_run(smoke):
    pairs = smoke.run(fn.AllPairs)
    tried = fn.tables.trials(pairs, "points").data
    assert (tried["schedules tried"] == 2).all() and len(tried) == len(stages.ALL)
    records = smoke.records(fn.ImagePairs).there()
    gains = fn.tables.image_factors(records, fn.image_gain)
    assert list(gains["training"])[-3:-1] == ["input perturbation", "perturbation + contrastive"]
    assert gains["Picard"].iloc[-1] == "–"  # not run on noisy data
    assert {"calculated", "added log width"} <= set(fn.tables.image_shifts(records))
    assert len(fn.tables.image_distances(records)) and len(
        fn.tables.image_readings(records, fn.image_gain)
    )


def test_searched_levels_train_other_networks_than_the_default(smoke):
    """Only the levels differ; the record says what the sentence and the table need."""
    levels = smoke.run(fn.ImageLevels)
    assert set(levels.labels("training")) == {"denoising", "ambient high"}
    assert "picard" not in levels.labels("sampler")
    assert levels.facts["labels"].keys() == {"denoising", "ambient high"}
    asked = smoke.asked(fn.ImageLevels)
    part, *_ = asked.parts(smoke)
    way, default = (
        w(asked.setting())["denoising"] for w in (part.ways, asked.with_its(PairNetwork).ways)
    )
    assert way.first.sigmas.mean == ADDED_MEAN != default.first.sigmas.mean


def test_the_levels_are_those_that_the_searches_of_chapter_2_chose():
    for name, method in (("plain_search", "clean"), ("search", "ambient")):
        found = load(f"tweedie.image_{name}-mnist-long", records_folder())
        assert found.facts["chosen"][method] == {"added_mean": ADDED_MEAN}


def test_tables_without_a_record_say_so():
    for table in (fn.tables.image_distances({}), fn.tables.image_factors({}, fn.image_gain)):
        assert table.iloc[0, 0] == "There is no record yet."


def test_a_session_of_another_seed_trains_other_networks(tmp_path):
    weights = [
        Session("smoke", seed, memory=tmp_path)
        .run(fn.PointNetworks)
        .arrays["denoising.network.input.weight"]
        for seed in (0, 1)
    ]
    assert not np.allclose(*weights)
