"""Chapter 3: its equations against exact answers, its experiments at their tiny sizes, alone."""

import importlib.util
import math
import random
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import seeded
from torch.nn.functional import softplus

from companion import data, denoisers, metrics, networks, noise, objectives, oracles, samplers
from companion.experiments import Session
from companion.experiments import noise_classifier as nc
from companion.experiments.experiment import find
from companion.experiments.noise_classifier import continuations, loss, picard, points, ratio
from companion.experiments.noise_classifier.classifiers import CHANCE
from companion.experiments.noise_classifier.evaluated import evaluated

RING = data.mixture("ring")


# --- the equations -------------------------------------------------------------------------------


def test_the_part_of_the_noise_that_was_added_last():
    """eq-nc-composed, by regressing the last noise on what the denoiser sees."""
    t, s, n = 0.4, 0.7, 50_000
    x = RING.sample(n, seeded(), dtype=torch.float64)
    first, last = torch.randn(2, n, 2, generator=seeded(1), dtype=torch.float64)
    w, r = x + t * first + s * last, math.hypot(t, s)
    estimate = s / r * denoisers.epsilon(RING.denoiser, w, r)
    # A conditional mean leaves a residual that is orthogonal to every function of w.
    residual = last - estimate
    for function in (estimate, torch.tanh(w), w.sin()):
        assert (residual * function).mean(0).abs().max() < 5 * function.std() / n**0.5
    # And a sampled posterior agrees at one point.
    noised = RING.noisy(t)
    torch.testing.assert_close(s * estimate, w - noised.denoiser(w, s), atol=1e-9, rtol=1e-9)


def test_the_ratio_is_the_posterior_of_being_clean():
    """eq-nc-ratio through sigmoid is Bayes' rule for two equally frequent classes."""
    t = 0.3
    x = RING.sample(40, seeded()) + 0.2 * torch.randn(40, 2, generator=seeded(1))
    ratio = metrics.log_likelihood_ratio(
        RING.denoiser, x, t, points=600, generator=seeded(2), sigma_min=0.01, sigma_max=20.0
    )
    clean, noised = RING.log_prob(x.double()).exp(), RING.log_prob(x.double(), t).exp()
    exact = clean / (clean + noised)
    assert (torch.sigmoid(ratio.value) - exact).abs().mean() < 0.03
    # The same from two separate likelihoods of the two denoisers, with draws of their own.
    kw = {"points": 600, "sigma_min": 0.01, "sigma_max": 20.0}
    one = metrics.nll(RING.denoiser, x, generator=seeded(3), **kw)
    two = metrics.nll(denoisers.Noised(RING.denoiser, t), x, generator=seeded(4), **kw)
    gap = (two.value - one.value - ratio.value).abs()
    expected = (one.error**2 + two.error**2 + ratio.error**2).sqrt()
    assert (gap < 6 * expected).all()


def test_the_ratio_depends_on_answers_off_the_training_distribution():
    """A denoiser that is right wherever training goes gives another ratio for noised points."""
    normal = oracles.GaussianMixture(torch.zeros(1, 1), 1.0)

    def wrong_off(x, sigma):
        # x^2 / (1 + sigma^2) is chi-squared with one degree: 10.83 is beyond 999 of 1,000.
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1)
        off = x.square() > 10.83 * (1 + level**2)
        return torch.where(off, 0.0, normal.denoiser(x, sigma))

    x, t = torch.tensor([[0.5], [8.0]]), 5.0  # one as data are, one as noised data are
    right, wrong = (
        metrics.log_likelihood_ratio(d, x, t, points=500, generator=seeded()).value
        for d in (normal.denoiser, wrong_off)
    )
    exact = normal.log_prob(x.double()) - normal.log_prob(x.double(), t)
    torch.testing.assert_close(right, exact, atol=0.3, rtol=0.1)
    change = (wrong - right).abs()
    assert change[0] < 0.3 and change[1] > 3.0


@pytest.mark.parametrize("ratio", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_noise_in_the_ratio_raises_the_loss(ratio, sign):
    """eq-nc-jensen: to second order by half its variance times sigmoid (1 - sigmoid)."""
    std = 0.2
    noisy = ratio + std * torch.randn(2_000_000, generator=seeded(), dtype=torch.float64)
    share = torch.sigmoid(torch.tensor(ratio, dtype=torch.float64))
    found = softplus(sign * noisy).mean() - softplus(torch.tensor(sign * ratio))
    expected = 0.5 * share * (1 - share) * std**2
    assert found.item() == pytest.approx(expected.item(), rel=0.1)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("semilinear", [False, True])
def test_one_picard_iteration_is_the_printed_sum(stochastic, semilinear):
    """eq-nc-picard and eq-nc-semilinear, written out state by state."""
    sigmas = noise.log_linear(6, 10.0, 0.1, final_zero=False).double()
    x = 10 * torch.randn(5, 2, generator=seeded(), dtype=torch.float64)
    iterates = []
    samplers.picard(
        RING.denoiser, x, sigmas, tolerance=0, max_iterations=2, stochastic=stochastic,
        semilinear=semilinear, generator=seeded(1), callback=lambda step: iterates.append(step.x),
    )  # fmt: skip
    ratio = sigmas[1:] / sigmas[:-1]
    a = ratio**2 if stochastic else ratio
    g = seeded(1)
    added = [
        s * (1 - r**2).sqrt() * torch.randn(5, 2, generator=g, dtype=torch.float64)
        if stochastic
        else torch.zeros(5, 2, dtype=torch.float64)
        for s, r in zip(sigmas[1:], ratio)
    ]
    c = (1 + sigmas**2).rsqrt()
    states = [c[0] * x / scale for scale in c]
    for iterate in iterates:
        denoised = [RING.denoiser(states[j], sigmas[j]) for j in range(6)]
        new = [x]
        for k in range(1, 7):
            if semilinear:
                state = a[:k].prod() * x
                for j in range(k):
                    state = state + a[j + 1 : k].prod() * ((1 - a[j]) * denoised[j] + added[j])
            else:
                state = c[0] * x
                for j in range(k):
                    step = denoised[j] + a[j] * (states[j] - denoised[j]) + added[j]
                    state = state + c[j + 1] * step - c[j] * states[j]
                state = state / c[k]
            new.append(state)
        # The first state of a window is kept as it was solved.
        torch.testing.assert_close(iterate[1:], torch.stack(new[1:]))
        states = list(iterate)


@pytest.mark.parametrize("form", picard.FORMS)
def test_the_states_that_are_shown_are_those_that_the_denoiser_is_asked_for(form):
    sigmas = noise.log_linear(6, 10.0, 0.1).double()
    x, asked = 10 * torch.randn(5, 2, generator=seeded(), dtype=torch.float64), []

    def denoiser(y, sigma):
        asked.append(y.view(5, -1, 2).transpose(0, 1))
        return RING.denoiser(y, sigma)

    shown = evaluated(denoiser, x, sigmas, form, seeded(1))
    assert len(asked) == len(shown) - 1  # the last state is not asked for
    for states, seen in zip(shown, asked):
        torch.testing.assert_close(states[-len(seen) :], seen)


def test_the_largest_term_of_the_series():
    """eq-nc-series: its terms reach e^u / sqrt(2 pi u) before it converges to e^-u."""
    for u in (5.0, 10.0, 20.0):
        terms = torch.tensor([u**m / math.factorial(m) for m in range(120)], dtype=torch.float64)
        assert terms.max().item() == pytest.approx(
            math.exp(u) / math.sqrt(2 * math.pi * u), rel=0.06
        )
    signs = (-1.0) ** torch.arange(120, dtype=torch.float64)
    five = torch.tensor([5.0**m / math.factorial(m) for m in range(120)], dtype=torch.float64)
    assert (signs * five).sum().item() == pytest.approx(math.exp(-5.0), rel=1e-6)


# --- what the experiments are made of -------------------------------------------------------------


@pytest.mark.parametrize("sampler", picard.SAMPLERS)
@pytest.mark.parametrize("budget", [5, 10, 20])
def test_a_budget_is_what_the_sampler_costs(sampler, budget):
    schedule = picard.schedule_of_cost(sampler, budget, 20.0, 0.02)
    counted = denoisers.Counted(RING.denoiser)
    x = picard.draw(sampler, counted, torch.randn(4, 2, generator=seeded()), schedule, seeded(1))
    assert x.shape == (4, 2) and counted.calls == budget - (sampler == "Heun" and budget % 2 == 0)


@pytest.mark.parametrize("options", [{"points": 2, "samples": 4}, {"points": 3, "samples": None}])
def test_the_controls_cost_what_the_loss_costs(options):
    """Network evaluations of all steps, counted: equal to rounding of the number of steps."""
    contrastive = objectives.ContrastiveDiffusion(**options)
    goals = continuations.with_controls(
        objectives.DenoisingScoreMatching(), contrastive, 10, 0.1, batch=16
    )
    spent = {}
    for method, (objective, steps) in goals.items():
        counted = denoisers.Counted(RING.denoiser)
        objective(counted, RING.sample(16, seeded()), seeded(1))
        spent[method] = steps * counted.evaluations
    assert goals[nc.SAME_STEPS][1] == goals[nc.CONTRASTIVE][1] == 10
    assert spent[nc.SAME_COST] == pytest.approx(spent[nc.CONTRASTIVE], abs=8)
    assert spent[nc.CONTRASTIVE] > 2 * spent[nc.SAME_STEPS]


def test_the_classifier_of_exact_ratios():
    """Area and cross entropy of two unit Gaussians at -1 and 1, whose ratio is 2 x."""
    clean = torch.arange(4000) < 2000
    x = torch.randn(4000, generator=seeded(), dtype=torch.float64) + torch.where(clean, 1.0, -1.0)
    assert ratio.auc(2 * x, clean) == pytest.approx(0.9214, abs=0.01)  # Phi(sqrt 2)
    assert ratio.auc(torch.zeros(4000), clean) == 0.5
    assert ratio.cross_entropy(torch.zeros(8)) == pytest.approx(2 * math.log(2))
    exact = ratio.cross_entropy(2 * x)
    assert exact < min(ratio.cross_entropy(a * 2 * x) for a in (0.5, 2.0))
    predicted, true, count = ratio.reliability(2 * x, clean)
    assert count.sum() == 4000
    assert ((predicted - true).abs() < 4 * (0.25 / count).sqrt()).all()
    predicted, true, _ = ratio.reliability(6 * x, clean)  # too sure of itself
    assert (predicted - true).abs().max() > 0.1


def test_the_labelled_points_carry_their_exact_ratio(session):
    t, n = 0.3, 2000
    y, exact = ratio.labelled(session, RING, t, n, 5)
    torch.testing.assert_close(exact, RING.log_prob(y.double()) - RING.log_prob(y.double(), t))
    # The second half is noised: E[p / p_t] = 1 under p_t, and not under p.
    odds = exact.exp()
    assert odds[n:].mean().item() == pytest.approx(1.0, abs=0.15) and odds[:n].mean() > 1.5


def test_the_best_scale_is_that_of_the_parabola():
    scales = torch.linspace(-0.3, 0.3, 13)
    losses = torch.stack([3 * (scales - a) ** 2 + 1 for a in (-0.1, 0.0, 0.2)], 1)
    torch.testing.assert_close(
        loss.best_scale(scales, losses), torch.tensor([-0.1, 0.0, 0.2]), atol=2e-3, rtol=0
    )


def test_a_scaled_denoiser_has_a_scaled_noise_estimate():
    x, sigma = RING.sample(300, seeded()), torch.full((300,), 0.5)
    scaled = loss.Scaled(loss.InParts(RING.denoiser, size=64))
    torch.testing.assert_close(scaled(x, sigma), RING.denoiser(x, sigma))
    scaled.factor = 1.2
    expected = 1.2 * denoisers.epsilon(RING.denoiser, x, sigma)
    torch.testing.assert_close(denoisers.epsilon(scaled, x, sigma), expected)


def test_the_error_of_a_scaled_denoiser_is_the_scale(session):
    """|eps_hat - exact| is 0.2 |exact|; with more noise than admitted the exact one is larger."""
    spirals = data.mixture("spirals")

    class Twice:
        def __len__(self):
            return 2

        def __call__(self, x, sigma):
            return x - 1.2 * (x - spirals.denoiser(x, sigma))

    where = points.on_distribution(session, spirals, 200, 63)
    off = points.off_distribution(session, spirals, 200, 63)
    errors = points.rms(Twice(), spirals, where)
    eps = denoisers.epsilon(spirals.denoiser, *where).square().sum(1).mean().sqrt()
    torch.testing.assert_close(errors, (0.2 * eps).expand(2))
    assert (points.rms(Twice(), spirals, off) > 3 * errors).all()


def test_networks_are_handed_on_as_they_were_trained(smoke):
    """Each run has weights of its own; a continuation that moves nothing starts from them."""
    stacks, _ = points.point_networks(smoke)
    assert set(stacks) == set(points.DATA) and set(stacks["spirals"]) == set(points.METHODS)
    before, x = stacks["spirals"][nc.BEFORE], torch.randn(5, 2, generator=seeded())
    answers = torch.stack([before[r](x, 0.7) for r in range(len(before))])
    assert len(answers) == 2 and not torch.equal(answers[0], answers[1])
    torch.testing.assert_close(before(x.repeat(2, 1), 0.7).view(2, 5, 2), answers)
    objective = objectives.DenoisingScoreMatching()
    kept = continuations.continue_training(
        before, {"one step": (objective, 1)}, [RING.sample(200, seeded())] * 2, [0, 1], lr=1e-12
    )
    torch.testing.assert_close(kept["one step"](x.repeat(2, 1), 0.7).view(2, 5, 2), answers)


# --- the experiments -----------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", find("noise_classifier"), ids=lambda e: e.name())
def test_every_experiment_measures_finite_numbers(smoke, experiment):
    results = smoke.run(experiment)
    assert len(results.table) and np.isfinite(results.table["value"]).all()
    assert all(np.isfinite(array).all() for array in results.arrays.values())
    keys = [column for column in results.table if column != "value"]
    assert not results.table.duplicated(keys).any()  # every measurement has a place of its own


@pytest.mark.parametrize("experiment", [nc.RegionErrors, nc.ExactPicard, nc.DigitScan])
def test_another_seed_gives_other_numbers_and_the_same_seed_the_same(smoke, experiment, tmp_path):
    value = {
        seed: Session("smoke", seed, memory=tmp_path).run(experiment).table["value"].to_numpy()
        for seed in (0, 1)
    }
    timed = smoke.run(experiment).table.get("measure") == "seconds"
    again = smoke.run(experiment).table["value"].to_numpy()
    np.testing.assert_array_equal(value[0][~timed], again[~timed])
    shared = min(map(len, value.values()))
    assert (value[0][:shared] != value[1][:shared]).any()


def test_a_setting_is_followed(smoke):
    results = smoke.run(nc.Accuracy(noise=(0.2,), points=(4, 8, 16)))
    table = nc.tables.accuracy(results).data
    assert list(table) == ["levels (evaluations)", "t = 0.2"] and len(table) == 3
    assert list(nc.within(results, math.inf).values()) == [4]
    assert list(nc.within(results, 0.0).values()) == [0]


def test_the_exact_denoiser_classifies_as_well_as_bayes(smoke):
    classifier = smoke.run(nc.SecretClassifier(probes=300, points=64))
    areas = [classifier.value(measure="area", classifier=c) for c in ("denoiser", "Bayes")]
    assert areas[0] == pytest.approx(areas[1], abs=0.03) and areas[1] > 0.8


def test_classifiers_and_answers_of_networks_that_know_nothing_or_all(smoke):
    """The exact denoiser beats chance, and an untrained answer follows the level it is told."""
    trained = smoke.run(nc.TrainedClassifiers)
    exact = trained.values(data="dinosaur", method="exact")
    assert (exact < CHANCE).all() and len(exact) == 2
    reading = smoke.run(nc.LevelReading)
    true, told = (reading.values(changed=c).mean() for c in ("true level", "told level"))
    assert told > true + 0.3


def test_verdicts_of_several_master_seeds_together(two_seeds):
    """Seeds of all of them count, and what has none is averaged."""
    claims = {claim.id: claim for claim in nc.verdicts(two_seeds)}
    assert claims["classifier-inevitable"].seeds == claims["classifier-objective"].seeds == 4


def test_all_claims_are_decided_at_any_profile(smoke):
    claims = nc.verdicts(smoke)
    assert len(claims) == 14 and all(claim.answer for claim in claims)
    assert len(nc.in_short(smoke).claims) == 14


def test_the_picture_of_the_test_shows_bayes_rule():
    top, low = nc.figures.line().axes
    exact, told = low.get_lines()
    expected = np.interp(told.get_xdata(), exact.get_xdata(), exact.get_ydata())
    assert np.abs(told.get_ydata() - expected).max() < 0.15
    plt.close(top.figure)


def test_tables_have_a_row_for_each_case(smoke):
    errors = nc.tables.errors(smoke.run(nc.RegionErrors)).data
    assert len(errors) == 2 * 5 and "official setting" in errors
    assert len(nc.tables.error_ratios(smoke.run(nc.LaterErrors)).data) == 5
    parallel, sequential = smoke.run(nc.ParallelSamples), smoke.run(nc.SequentialSamples)
    counts = nc.tables.tallies(sequential, parallel).data
    assert counts["cases"].tolist() == [8, 8, 8, 8]
    assert (counts["better"] + counts["worse"] <= counts["cases"]).all()
    assert nc.tables.iterations(parallel).data.shape == (3, 1 + 4)
    assert nc.tables.good_iterations(parallel).data.shape == (4, 1 + 2)
    windows = nc.tables.times(parallel).data["window"].tolist()
    assert windows == 2 * ["one step", *2 * ["whole", "2"]]
    assert len(nc.tables.picard(smoke.run(nc.ExactPicard)).data) == 2 * 2 * 2
    visits = nc.tables.visits(smoke.run(nc.Visits)).data
    assert "Picard of DDIM, semilinear, iteration 2" in set(visits["evaluated by"])
    assert list(visits)[1:3] == ["states off", "trajectories off"]
    trained, digits = smoke.run(nc.TrainedClassifiers), smoke.run(nc.DigitSamples)
    assert nc.tables.classifiers(trained).data.shape == (5, 1 + 2)
    tuning = nc.tables.tuning(smoke.run(nc.PointNetworks), smoke.run(nc.DigitNetworks)).data
    assert tuning["points"].tolist() == [1, 1, 1] and tuning["digits"].tolist() == [1, 1, 1]
    assert len(nc.tables.digit_samples(digits).data) == 4 + 2 * 2
    assert nc.tables.digit_test(smoke.run(nc.DigitTest)).data.shape == (4, 3)
    assert len(nc.tables.telling(trained, smoke.run(nc.DigitTest)).data) == 2 + 2
    assert len(nc.tables.sample_ratios(sequential, parallel, digits).data) == 4
    assert len(nc.tables.draws(smoke.run(nc.Accuracy)).data) == len(nc.DRAWS)
    images = smoke.records(nc.ImageContrast).there()
    (run,) = [results for title, results in images.items() if title.endswith("smoke run")]
    assert len(nc.tables.image_samples({"digits": run}).data) == 2
    assert len(nc.tables.image_ratios({"digits": run}).data) == 3
    assert len(nc.tables.image_times({"digits": run}).data) == 2
    assert len(nc.tables.image_test({"digits": run}).data) == 1
    assert nc.tables.image_ratios({}) is None


FIGURES = {
    "ratio": (nc.SecretClassifier, 2), "jensen": (nc.ScaleScan, 2), "signal": (nc.Signal, 1),
    "blow_up": (nc.ExactPicard, 2), "mode_map": (nc.ModeMap, 4), "depth": (nc.ParallelSamples, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figures_show_what_was_measured(smoke, name):
    experiment, panels = FIGURES[name]
    figure = getattr(nc.figures, name)(smoke.run(experiment))
    assert len(figure.axes) == panels and all(ax.has_data() for ax in figure.axes)
    assert all(ax.get_xlabel() for ax in figure.axes)
    plt.close(figure)


def test_the_depth_figure_draws_the_means(smoke):
    results = smoke.run(nc.ParallelSamples)
    figure = nc.figures.depth(results)
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    where = {"measure": "distance", "data": "spirals", "form": "semilinear"}
    mean = results.grid("iteration", "seed", method=nc.CONTRASTIVE, **where).mean(1)
    np.testing.assert_allclose(lines[nc.CONTRASTIVE].get_ydata(), mean)
    assert set(lines) == {nc.SAME_STEPS, nc.SAME_COST, nc.CONTRASTIVE, "exact"}
    plt.close(figure)


def test_the_figure_of_images_has_a_line_of_panels_for_each_record(smoke):
    results = smoke.run(nc.ImageContrast)
    figure = nc.figures.images({"one": results, "two": results})
    assert [ax.get_title() for ax in figure.axes] == 2 * ["plain", "semilinear"]
    assert "two" in figure.axes[2].get_ylabel()
    plt.close(figure)


# --- the benchmark --------------------------------------------------------------------------------

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "contrastive.py"


def test_the_benchmark_runs():
    sizes = ["--device", "cpu", "--rounds", "2", "--sizes", "2x4", "--steps", "4", "--train", "2"]
    done = subprocess.run([sys.executable, SCRIPT, *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert any("2 x       4" in row for row in rows) and any("semilinear" in row for row in rows)


def test_the_benchmarks_loop_has_the_loss_of_the_batched_call(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_contrastive", SCRIPT)
    assert spec and spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "LEVELS", noise.LogLogistic(1.0, 1.0, 3.0))
    net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 8), 1.0), 0)
    random.seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = RING.sample(600, seeded())
        one = benchmark.loop(net, x, 8)
        other = benchmark.batched(net, x.repeat(20, 1), 8)
    assert one == pytest.approx(other, rel=0.15)
