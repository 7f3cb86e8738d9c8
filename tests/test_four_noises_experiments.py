"""Chapter 5: widths against samplers on exact Gaussians, its experiments, rules and tables."""

from __future__ import annotations

import itertools
import math

import matplotlib
import numpy as np
import pytest
import torch
from conftest import seeded

from companion import data, noise, objectives, samplers, statistics
from companion.experiments import Results, Session, tidy
from companion.experiments import four_noises as fn
from companion.experiments.experiment import find
from companion.experiments.four_noises import comparisons, sampling, stages
from companion.experiments.four_noises import verdicts as all_verdicts
from companion.experiments.four_noises.digits import principal_widths
from companion.experiments.four_noises.verdicts import (
    contrastive_off_path,
    noisy_data_hide_samplers,
    pairs_of_objectives,
    perturbation_and_steps,
    widths_add,
)
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


def test_schedule_of_the_smallest_finite_distance_is_chosen():
    values = [[[2.0, 2.0], [1.0, 1.5]], [[3.0, 3.0], [1.0, math.nan]], [[math.nan] * 2] * 2]
    dims = {"sampler": ["heun", "ddim", "ddpm"], "schedule": sampling.SCHEDULES, "seed": range(2)}
    tried = Results(tidy(values, dims, measure="distance", budget=5))
    chosen = {("heun", 5): "EDM", ("ddim", 5): "log-linear", ("ddpm", 5): "log-linear"}
    assert sampling.chosen_schedules(tried) == chosen


def test_principal_widths_are_standard_deviations():
    digits, _ = data.images("digits", "train")
    widths, directions = principal_widths(digits, 3)
    along = digits.flatten(1) @ directions.T
    assert torch.allclose(along.std(0), widths, rtol=1e-4)


# --- experiments at smoke size --------------------------------------------------------------------


@pytest.mark.parametrize(
    "experiment", [e for e in find("four_noises") if not e.recorded], ids=lambda e: e.name()
)
def test_each_experiment_runs_alone(experiment, smoke):
    results = smoke.run(experiment)
    assert np.isfinite(results.table.get("value", np.zeros(1))).all()
    assert len(results.table) or results.arrays


def test_budgets_are_changed_where_they_are_used(smoke):
    """A setting of one line reaches schedules, samples, the calculation and the figures."""
    pairs = smoke.run(fn.AllPairs(budgets=(3, 6)))
    predicted = smoke.run(fn.PredictedWidths(**{k: pairs.settings[k] for k in pairs.settings}))
    assert comparisons.budgets(pairs) == [3, 6] and comparisons.shown_budget(pairs) == 6
    assert len(fn.figures.all_pairs(pairs).axes) == 2
    assert len(fn.figures.predicted_widths(pairs, predicted).axes) == 2
    few = smoke.run(fn.SmallTrainingSet)
    assert len(fn.tables.guide(pairs, few)) == 2 + 2 + 2 + 1


def test_verdicts_and_tables_of_a_smoke_run(smoke):
    assert [claim.id for claim in all_verdicts(smoke)] == [
        "meet-widths-add", "meet-perturbation-and-steps", "meet-contrastive-off-path",
        "meet-noisy-data-hide-samplers", "meet-pairs",
    ]  # fmt: skip
    records = smoke.records(fn.ImagePairs).there()
    gains = fn.tables.image_factors(records, fn.image_gain)
    assert list(gains["training"])[-3:-1] == ["input perturbation", "perturbation + contrastive"]
    assert gains["Picard"].iloc[-1] == "–"  # not run on noisy data
    assert {"calculated", "added log width"} <= set(fn.tables.image_shifts(records))
    assert len(fn.tables.image_distances(records)) and len(
        fn.tables.image_readings(records, fn.image_gain)
    )


def test_tables_without_a_record_say_so():
    for table in (fn.tables.image_distances({}), fn.tables.image_factors({}, fn.image_gain)):
        assert table.iloc[0, 0] == "There is no record yet."


# --- rules on made-up results ---------------------------------------------------------------------

SEEDS, BUDGETS = 8, (5, 10, 20)
NAMES = {"points": stages.ALL, "digits": stages.ALL}


def example_pairs(effects=None, failed=None, budgets=BUDGETS):
    """All pairs whose gains add up but for ``effects``, (training, sampler, budget) -> log factor.

    A part of a key that is None stands for all. With ``failed`` one seed of that training is lost.
    """
    rng, parts = np.random.default_rng(0), []
    places = itertools.product(("points", "digits"), stages.ALL, sampling.SAMPLERS, budgets)
    for where, training, sampler, n in places:
        if sampler == "picard" and training in stages.NOISY:
            continue
        value = 3 + 0.01 * rng.normal(size=SEEDS) - 0.3 * (sampler == "heun")
        for key, effect in (effects or {}).items():
            if all(a in (None, b) for a, b in zip(key, (training, sampler, n))):
                value = value + effect
        values = np.exp(value)
        if training == failed:
            values[-1] = math.nan
        columns = {"data": where, "training": training, "sampler": sampler, "budget": n}
        parts.append(tidy(values, {"seed": range(SEEDS)}, measure="distance", **columns))
        if where == "digits" and training in comparisons.TRAININGS:
            width = WIDTHS[sampler] / n + 0.05 * (training == "perturbed")
            wide = width + 0.001 * rng.normal(size=SEEDS)
            parts.append(tidy(wide, {"seed": range(SEEDS)}, measure="log width", **columns))
    labels = {where: {name: name for name in names} for where, names in NAMES.items()}
    return Results(parts, facts={"labels": labels})


WIDTHS = {"ddim": -2.0, "ddpm": -4.0, "heun": 3.0, "gradient_estimation": 1.0, "picard": 5.0}


def calculated(shift=0.05, off=0.0):
    parts = [
        tidy(
            [[WIDTHS[s] / n + off + shift * (t == "perturbed") for n in BUDGETS]],
            {"training": [t], "budget": BUDGETS}, measure="log width", sampler=s,
        )
        for t in comparisons.TRAININGS
        for s in sampling.SAMPLERS
    ]  # fmt: skip
    return Results(parts)


@pytest.mark.parametrize(
    "shift, off, verdict",
    [(0.05, 0, "supported"), (0.2, 0, "supported in part"), (0.05, 1.0, "not supported")],
)
def test_widths_add(shift, off, verdict):
    claim = widths_add(example_pairs(), calculated(shift, off), {})
    assert claim.verdict == verdict and claim.answer
    assert claim.effect == pytest.approx(abs(off) or 0.0, abs=0.12)


HELP = {("perturbed", "ddim", 5): -0.3}
CANCEL = {("perturbed", "gradient_estimation", None): 0.3}


@pytest.mark.parametrize(
    "effects, verdict",
    [
        (HELP | CANCEL, "supported"),
        (HELP, "supported in part"),
        (CANCEL, "supported in part"),
        ({}, "not supported"),
        ({("perturbed", "ddim", None): 0.3, ("perturbed", "ddpm", None): 0.3}, "not supported"),
    ],
)
def test_perturbation_and_steps(effects, verdict):
    claim = perturbation_and_steps(example_pairs(effects), {})
    assert claim.verdict == verdict and claim.seeds == SEEDS
    if effects == HELP | CANCEL:
        ends = claim.interval or (0.0,)
        assert ends[0] < math.exp(0.3) < ends[-1]


@pytest.mark.parametrize(
    "effects, verdict",
    [
        ({("contrastive", "picard", 5): -0.3, ("contrastive", "picard", 10): -0.3}, "supported"),
        ({("contrastive", "picard", 5): -0.3}, "supported in part"),
        (
            {("contrastive", "picard", None): -0.3, ("contrastive", "heun", None): -0.3},
            "supported in part",
        ),
        ({("contrastive", "picard", 20): -0.3}, "not supported"),  # there it has converged
        ({("contrastive", None, None): -0.3}, "not supported"),  # helps all alike
        ({("contrastive", "picard", None): 0.3}, "not supported"),
    ],
)
def test_contrastive_off_path(effects, verdict):
    assert contrastive_off_path(example_pairs(effects), {}).verdict == verdict


AMBIENT = {
    (t, s, None): 0.3
    for t in ("ambient low", "ambient high")
    for s in ("heun", "gradient_estimation")
}


@pytest.mark.parametrize(
    "effects, verdict",
    [
        (AMBIENT, "supported"),
        ({("ambient high", "heun", 10): 0.3}, "supported in part"),
        ({("ambient high", "heun", 5): 0.3}, "not supported"),  # few evaluations do not count
        ({}, "not supported"),
        ({key: -0.3 for key in AMBIENT}, "not supported"),
    ],
)
def test_noisy_data_hide_samplers(effects, verdict):
    assert noisy_data_hide_samplers(example_pairs(effects), {}).verdict == verdict


@pytest.mark.parametrize(
    "effects, verdict",
    [
        ({}, "supported"),
        ({("both", None, None): 0.3}, "supported"),
        ({("both", "heun", None): -0.3}, "supported in part"),
        ({("both", None, None): -0.3}, "not supported"),
        # Better than one half only is not better than the better half.
        ({("both", None, None): -0.3, ("contrastive", None, None): -0.3}, "supported"),
    ],
)
def test_pairs_of_objectives(effects, verdict):
    assert pairs_of_objectives(example_pairs(effects), {}).verdict == verdict


@pytest.mark.parametrize("rule", [perturbation_and_steps, contrastive_off_path])
def test_a_lost_seed_gives_no_verdict(rule):
    with pytest.raises(ValueError, match="not finite"):
        rule(example_pairs(failed="perturbed"), {})


def record(effects=None, lost=None):
    """A record: 3 seeds, no Picard iteration on noisy data, one seed of ``lost`` not finite."""
    pairs = example_pairs(effects, budgets=(5, 10))
    table = pairs.where(measure="distance", data="digits", seed=[0, 1, 2]).drop(columns="data")
    table.loc[(table["training"] == lost) & (table["seed"] == 2), "value"] = math.nan
    labels = pairs.facts["labels"]["digits"]
    tried = {"sampler": ["ddim"], "schedule": sampling.SCHEDULES}
    choice = tidy([[1.0, 2.0]], tried, measure="distance of a schedule", budget=5, seed=0)
    return Results(
        [table, choice], {"widths": torch.ones(2)}, {"labels": labels, "floor": 1.0},
        settings={"seeds": 3, "low": 0.02},
    )  # fmt: skip


def test_records_stand_in_the_evidence():
    images = {"MNIST": record({("both", None, None): -0.5, **CANCEL}), "CIFAR-10": None}
    pairs = example_pairs()
    evidence = pairs_of_objectives(pairs, images).evidence
    assert (
        "MNIST, 3 seeds: over all samplers and budgets the distance of the pair is 0.6" in evidence
    )
    assert "CIFAR" not in evidence
    evidence = perturbation_and_steps(pairs, images).evidence
    assert "interaction with gradient estimation is 1.3" in evidence
    assert "the log width was not measured" in widths_add(pairs, calculated(), images).evidence


def test_a_record_with_a_lost_seed_leaves_it_out():
    images = {"MNIST": record(lost="contrastive")}
    assert "is not measured" in contrastive_off_path(example_pairs(), images).evidence
    assert "the pair was not measured" in pairs_of_objectives(example_pairs(), images).evidence
    table = fn.tables.image_factors(images, fn.image_gain).set_index("training")
    assert (table.loc["contrastive"].iloc[2:] == "–").all()
    assert table.loc["perturbed", "DDIM"].startswith("1.0")


def test_a_session_of_another_seed_trains_other_networks(tmp_path):
    weights = [
        Session("smoke", seed, memory=tmp_path)
        .run(fn.PointNetworks)
        .arrays["denoising.network.input.weight"]
        for seed in (0, 1)
    ]
    assert not np.allclose(*weights)
