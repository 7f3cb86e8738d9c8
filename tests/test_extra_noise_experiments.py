"""Chapter 1: its experiments at their tiny sizes, with what tables and figures show."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from companion import data, metrics, networks
from companion.experiments import extra_noise as xn
from companion.experiments.experiment import find
from companion.experiments.extra_noise import (
    arms,
    digits,
    errors,
    exact_digits,
    ring,
    sampling,
    training,
)

NAMES = [e.name() for e in find("extra_noise")]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- experiments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_measures_finite_numbers(smoke, name):
    (experiment,) = find(name)
    before = torch.random.get_rng_state()
    results = smoke.run(experiment)
    if not experiment.recorded:  # those also measure the speed of random matrices
        assert torch.equal(before, torch.random.get_rng_state())
    assert len(results.table) and np.isfinite(results.table["value"]).all()
    assert not {"condition", "key"} & set(results.table)  # plain columns, no compound names
    assert results.summary() is not None


def test_arms_ask_for_what_they_say():
    levels = ring.LEVELS
    assert xn.NONE.objective(levels, 1.0) == arms.Arm("none").objective(levels, 1.0)
    assert xn.Arm("B eps", 0.1).objective(levels, 1.0).target == "eps"
    assert xn.Arm("C", 0.2).objective(levels, 1.0).s == 0.2
    assert arms.ONE_LEVEL.objective(levels, 1.0).sigmas.range == (arms.SMALL, arms.SMALL)
    assert str(xn.Arm("B x_0", 0.3)) == "B (x₀), γ = 0.3" and str(xn.NONE) == "none"


def test_networks_come_back_from_their_arrays_job_by_job():
    trained = training.train(
        [(xn.Arm("C", 0.3), "a"), (xn.NONE, "a")], {"a": [torch.randn(20, 2)] * 2},
        ring.ring_network, ring.LEVELS, 1.0, [0, 1], steps=2, batch_size=4,
    )  # fmt: skip
    from companion.experiments import Results, tidy

    results = Results(tidy([0.0], {"seed": [0]}), trained.to_arrays())
    jobs = list(trained.stacks)
    assert jobs[0] == (xn.NONE, "a")  # in the order of the arms
    back = training.Networks.of(results, ring.ring_network(9), jobs)
    x = torch.randn(8, 2)
    assert torch.equal(back.pick(*jobs)(x, 0.5), trained.pick(*jobs)(x, 0.5))
    alone = [back.pick(job)(part, 0.5) for job, part in zip(jobs, x.split(4))]
    assert torch.allclose(torch.cat(alone), trained.pick(*jobs)(x, 0.5), atol=1e-6)


def test_all_jobs_of_a_run_share_their_noise(smoke):
    chains = sampling.Chains(smoke, 3)
    x = chains.start(5, (2,), jobs=2).view(2, 3, 5, 2)
    assert torch.equal(x[0], x[1]) and not torch.equal(x[0, 0], x[0, 1])
    out = chains.ddpm(ring.RING.denoiser, chains.start(5, (2,), 2), 4, jobs=2).view(2, 3, 5, 2)
    assert torch.equal(out[0], out[1]) and not torch.equal(out[0, 0], out[0, 1])


def test_an_exact_denoiser_has_no_exposure_bias_at_the_first_level(smoke):
    chains = sampling.Chains(smoke, 2)
    truth = ring.ring_truth(smoke, 4000).expand(2, -1, -1)
    start = chains.start(4000, (2,))
    _, exposure = chains.watched(ring.RING.denoiser, start, 10, 1, truth)
    assert exposure.levels[0] == pytest.approx(sampling.TOP) and len(exposure.levels) == 10
    assert exposure.ratios[0].shape == (1, 2) and exposure.ratios[0].abs().max() < 0.03


def test_no_two_runs_and_no_two_uses_share_noise(smoke):
    chains = sampling.Chains(smoke, 20)
    seeds = [g.initial_seed() for use in sampling.NUMBERS for g in chains.generators(use)]
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) < smoke.generator(1000).initial_seed()  # the next master seed's first


def test_the_exposure_bias_is_measured_at_the_same_levels_on_every_chain(smoke):
    chains = sampling.Chains(smoke, 1)
    truth = ring.ring_truth(smoke, 4)[None]
    watched = {
        n: chains.watched(ring.RING.denoiser, chains.start(4, (2,)), n, 1, truth)[1].levels
        for n in (20, 100, 1000)
    }
    assert watched[20] == pytest.approx(sampling.chain(20)[:-1].tolist())
    for n in (100, 1000):
        assert watched[n] == pytest.approx(watched[20], rel=0.25)


def test_the_exact_denoiser_of_a_normal_distribution_is_exact():
    data = torch.randn(50, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    denoiser, sample = exact_digits.gaussian_like(data)
    x, flat = torch.randn(5, 1, 2, 2), data.flatten(1)
    covariance = torch.cov(flat.T)
    gain = covariance @ torch.linalg.inv(covariance + 0.49 * torch.eye(4))
    expected = flat.mean(0) + (x.flatten(1) - flat.mean(0)) @ gain.T
    assert torch.allclose(denoiser(x, 0.7).flatten(1), expected, atol=1e-5)
    many = sample(torch.randn(100_000, 1, 2, 2, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(torch.cov(many.flatten(1).T), covariance, atol=0.03)


def test_the_filter_throws_outliers_away(smoke):
    sets = ring.ring_sets(smoke, 2)
    outside = {
        name: np.mean([metrics.modes_covered(x, ring.RING).outside for x in of_runs])
        for name, of_runs in sets.items()
    }
    assert outside["outliers"] > outside["clean"] + 0.03
    assert outside["filtered"] < outside["clean"] + 0.02


def test_measures_of_the_ring_on_the_ring_itself(smoke):
    x = ring.ring_truth(smoke, 4000)
    assert ring.mode_width(x) == pytest.approx(1, abs=0.05)
    assert ring.balance(x) > 0.98 > ring.balance(x[x[:, 0] > 0])


def test_diversity_of_digits_is_that_of_the_samples():
    quality = digits.Quality(steps=20)
    real = digits.held_out(100)
    same = real[:1].expand(100, -1, -1, -1)
    assert abs(quality.vendi(same) - 1) < 1e-3 < quality.vendi(real) - 1.1
    assert quality.recall(real) == 1 and quality.recall(same) < 0.1
    test, _ = data.images("digits", "test")
    assert abs(quality.distance(test)) < 1e-3 < quality.distance(same)
    assert quality.precision(real) == 1


def test_training_sets_of_digits_are_nested(smoke):
    sets = digits.digit_sets(smoke, 2)
    for small, large in zip(digits.CURVE, digits.CURVE[1:]):
        for a, b in zip(sets[str(small)], sets[str(large)]):
            assert len(a) == small and torch.equal(a, b[:small])


def test_errors_at_the_levels_that_are_asked(smoke):
    results = smoke.run(xn.DigitErrors(levels=(0.2, 0.8)))
    rows = results.where(measure="held-out error")
    assert sorted(rows["level"].unique()) == [0.2, 0.8]
    free = results.grid("seed", "level", denoiser="free", digits=64, kind="B x_0", strength=0.3)
    assert free.shape == (2, 2)


def test_rivals_differ_from_each_other(smoke):
    results = smoke.run(xn.RivalErrors)
    means = results.table.groupby("rival")["value"].mean()
    assert set(means.index) == set(errors.RIVALS) and means.nunique() == len(means)


def test_the_perfect_learner_copies_and_noise_on_its_data_only_hides_it(smoke):
    results = smoke.run(xn.PerfectLearner(steps=30))
    share = results.table.set_index("learner")["value"]
    assert share["none"] == 1 and share["C, s = 0.3"] < 0.5
    assert share["C, s = 0.3, denoised from s"] == 1


def test_the_mean_alone_ends_where_the_formula_says(smoke):
    c, results = 0.4, smoke.run(xn.MeanAlone(data_std=0.4, steps=50, points=2000))
    end = results.where(sampler="mean alone").iloc[-1]
    exact = (c**2 + end["level"] ** 2) / math.hypot(c, sampling.TOP)
    assert end["value"] == pytest.approx(exact, rel=0.1)


def test_no_run_of_a_small_rate_fails_and_a_huge_one_does(smoke):
    results = smoke.run(xn.FailedRuns(rates=(1e-4, 3.0)))
    failed = results.table.groupby("rate")["value"].mean()
    assert failed.iloc[0] == 0 and failed.iloc[1] > 0.5


def test_gradient_noise_of_copies_is_that_of_single_samples(smoke):
    """The trace of the covariance, against gradients that are taken one by one."""
    experiment = xn.GradientNoise(batches=40, each=8)
    network = networks.seeded(lambda: ring.ring_network(3), 0)
    objective = xn.NONE.objective(ring.LEVELS, 1.0)
    trace, scale = experiment._statistics(smoke, network, objective, 0)
    first = sampling.Chains(smoke, 1).generators("gradient")[0]
    batch = ring.RING.sample(320, first).view(40, 8, 2)
    numbers = torch.randint(2**60, (40,), generator=first).tolist()
    gradients = []
    for number, part in zip(numbers, batch):
        loss = objective(network, part, torch.Generator().manual_seed(number)).mean()
        parts = torch.autograd.grad(loss, list(network.parameters()))
        gradients.append(torch.cat([g.flatten() for g in parts]))
    alone = 8 * torch.stack(gradients).var(0).sum()
    assert trace == pytest.approx(float(alone), rel=1e-3) and scale > 0


# --- tables and figures ---------------------------------------------------------------------------


def test_tables_have_a_row_for_each_case(smoke):
    trial, known = xn.trial(smoke), smoke.run(xn.DigitErrors)
    assert xn.tables.reasons(trial.reasons).shape == (5, 1 + 5)
    assert len(xn.tables.effects(trial.reasons)) == 5 * 5
    assert xn.tables.undone(known).shape == (4, 1 + 2)
    worth = xn.tables.worth(known)
    assert worth.shape == (6, 1 + 4) and worth["64, free rival"].isna().sum() == 2
    samples_of_ring, samples_of_digits = smoke.run(xn.RingSamples), smoke.run(xn.DigitSamples)
    exact, exact_digits = smoke.run(xn.ExactSamples), smoke.run(xn.ExactDigits)
    quality = xn.tables.quality(samples_of_ring, samples_of_digits, exact)
    assert quality.shape == (7, 1 + 3) and not quality.iloc[-1].isna().any()
    assert xn.tables.longer(smoke.run(xn.LongerTraining)).shape == (6, 1 + 2)
    known = {"ring": (samples_of_ring, exact), "digits": (samples_of_digits, exact_digits)}
    bias = xn.tables.bias(known)
    assert bias.shape == (4, 2 + 3 + 1) and bias["change"].isna().sum() == 2
    falls = xn.tables.kept({"digits": samples_of_digits})
    assert list(falls) == ["problem", "measure", "γ = 0.1", "γ = 0.3"] and len(falls) == 2
    assert xn.tables.tuning()["settings tried"].tolist() == [1, 2, 2, 2, 1, 2, 2, 2, 1, 1]
    assert len(xn.tables.copies(smoke.run(xn.PerfectLearner))) == 5


def test_images_in_tables(smoke):
    record = smoke.run(xn.ImageTrial)
    for measure in ("Frechet distance", "exposure bias", "precision", "recall"):
        frame = xn.tables.images({"one": record, "two": record}, measure)
        assert frame.shape == (2 * 5, 2 + 2)  # plain, two arms, the rival, and against it
    assert list(xn.tables.images({"one": record}, "test error"))[2:] == ["σ = 0.8"]
    assert xn.tables.images({}, "recall").empty
    assert xn.tables.overfitting(record).startswith("σ = 0.8: ")
    shown = record.arrays["free: B (ε), γ = 0.1"]
    assert shown.shape == (2, 8, 1, 8, 8) and shown.dtype == np.uint8


def test_figures_show_what_was_measured(smoke):
    trial, known = xn.trial(smoke), smoke.run(xn.DigitErrors)
    chains = [smoke.run(e) for e in (xn.RingSamples, xn.DigitSamples, xn.ExactSamples)]
    scales = smoke.run(xn.NoiseScale)
    first, second = xn.figures, xn.detail_figures
    failed = smoke.run(xn.FailedRuns)
    figures = {
        1: [
            first.gauss(),
            first.fit(trial.regularization),
            first.worth(known),
            first.diversity(trial.diversity),
            first.robust(trial.robustness),
            second.overfitting(known),
            second.all_errors(trial.regularization),
            second.far(smoke.run(xn.FarErrors)),
            second.pushes(smoke.run(xn.Pushes)),
            second.all_distances("ring", chains[0]),
        ],
        2: [
            first.stability(trial.stability),
            second.drift(smoke.run(xn.MeanAlone)),
            second.gradients(smoke.run(xn.GradientNoise), failed),
        ],
        3: [first.quality(xn.problems(smoke))],
        4: [second.scan(scales)],
        6: [first.collapse(scales), second.exposure(*chains, smoke.run(xn.ExactDigits))],
    }
    for panels, listed in figures.items():
        for figure in listed:
            assert len(figure.axes) == panels
            assert all(ax.lines or ax.collections or not ax.axison for ax in figure.axes)
            assert figure.get_figwidth() == first.WIDTH  # so that a phone shows legible text
    assert len(first.two_noises().axes) == 2
    player = second.player(smoke.run(xn.ScaledNoise), xn.RING.sample(10))
    assert "noise_scale" in player._repr_html_()


def test_all_claims_are_judged(smoke):
    from companion.experiments import extra_noise

    claims = extra_noise.verdicts(smoke)
    assert len(claims) == 11 and all(claim.answer for claim in claims)


def test_the_chapter_in_words(smoke):
    box = xn.in_short(smoke)
    assert len(box.claims) == 11 and "8 × 8" in box.caveat
    limits = xn.limits(smoke)
    assert "trained for 10 steps" in limits and "σ = 0.1 to" in limits
    assert xn.mentor(xn.trial(smoke)).count("> - ") == 5
    assert "MNIST" in xn.on_images(smoke)
