"""Chapter 2's experiments at their tiny sizes, alone, and the objective of its ablations."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import randn, seeded, three, tiny_mlp

from companion import noise, training
from companion.denoisers import Counted
from companion.experiments import tweedie as tw
from companion.experiments.experiment import find
from companion.experiments.tweedie import digits, exact, methods, mismatch, points
from companion.objectives import Consistency
from companion.oracles import GaussianMixture

S_N = 0.4
CLEAN = three()

VARIANTS = [
    tw.ConsistencyVariant(S_N, gradient="both", antithetic=False, steps=3),
    tw.ConsistencyVariant(S_N, gradient="upper", draws=1, walk=2),
    tw.ConsistencyVariant(
        S_N, noise.LogUniform(S_N, 2.0), gradient="all", ratios=noise.LogUniform(0.1, 0.9)
    ),
]


def noisy_data(n, dtype=torch.float64):
    return CLEAN.noisy(S_N).sample(n, seeded(), dtype=dtype)


# --- the objective of the ablations --------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"antithetic": False}, {"every": 3, "ratio": 0.5}])
def test_a_variant_without_options_is_the_plain_objective(settings):
    net, batch = tiny_mlp(output=0.1), noisy_data(12, torch.float32)
    losses, gradients = [], []
    for kind in (Consistency, tw.ConsistencyVariant):
        loss = kind(S_N, **settings)(net, batch, seeded(1))
        losses.append(loss)
        gradients.append(torch.autograd.grad(loss.mean(), list(net.parameters())))
    assert torch.equal(*losses)
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


@pytest.mark.parametrize("objective", VARIANTS, ids=lambda o: o.gradient)
def test_a_run_of_a_variant_in_a_stack_is_the_run_alone(objective):
    settings = {"steps": 4, "batch_size": 16, "lr": 1e-3}
    sets = [noisy_data(50, torch.float32), noisy_data(60, torch.float32)]
    nets = [tiny_mlp(r, output=0.1) for r in range(2)]
    stack = training.fit(nets, objective, sets, seed=3, **settings)
    for r, data in enumerate(sets):
        alone = training.fit(tiny_mlp(r, output=0.1), objective, data, seed=3 + r, **settings)
        assert torch.allclose(stack.losses[:, r], alone.losses, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "settings, calls",
    [
        ({"antithetic": False, "steps": 3, "walk": 2}, 9),
        ({"draws": 1}, 4),
        ({"sigmas": noise.LogUniform(S_N, 2.0), "walk": 3}, 5),
    ],
)
def test_variants_count_their_evaluations(settings, calls):
    objective, counted = tw.ConsistencyVariant(S_N, **settings), Counted(CLEAN.denoiser)
    objective(counted, noisy_data(7), seeded())
    assert counted.calls == calls == objective.evaluations


class Gained:
    """A denoiser with one trainable factor for the levels at and above, one for those below."""

    def __init__(self, split):
        self.split = split
        self.upper = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        self.lower = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def __call__(self, x, sigma):
        s = noise.expand(sigma, x)
        return torch.where(s >= self.split, self.upper, self.lower) * x


def test_gradients_flow_where_they_are_said_to():
    """For a linear denoiser both gradients can be written down (eq-tw-gaussian)."""
    s, ratio = S_N, 0.5
    y = randn(200_000, 1)
    y = y * math.sqrt(1 / y.square().mean().item())  # so that the mean square is exactly one
    r = ratio**2
    a, b = 0.7, 0.8  # above, below
    m = r + (1 - r) * a
    defect = b * m - a
    through_points = 2 * defect * b * (1 - r)
    expected = {
        "lower": (0, 2 * defect * m),
        "upper": (-2 * defect, 0),
        "both": (-2 * defect, 2 * defect * m),
        "all": (-2 * defect + through_points, 2 * defect * m),
    }
    for gradient, answer in expected.items():
        model = Gained(s)
        objective = tw.ConsistencyVariant(
            s, sigmas=noise.Discrete((s,)), ratio=ratio, gradient=gradient, weight="data"
        )
        objective(model, y, seeded(1)).mean().backward()
        measured = [0.0 if p.grad is None else p.grad.item() for p in (model.upper, model.lower)]
        assert measured == pytest.approx(answer, abs=0.01), gradient


def test_a_teacher_is_not_trained():
    student, teacher = tiny_mlp(0, output=0.1), tiny_mlp(1, output=0.1)
    batch = noisy_data(8, torch.float32)
    tw.ConsistencyVariant(S_N, teacher=teacher)(student, batch, seeded()).mean().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None for p in student.parameters())
    own = tw.ConsistencyVariant(S_N, teacher=student)(student, batch, seeded())
    assert torch.equal(own, Consistency(S_N)(student, batch, seeded()))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"ratios": noise.LogUniform(0.5, 1.5)}, "ratios: got LogUniform"),
        ({"steps": 0}, "steps: got 0"),
        ({"walk": 1.5}, "walk: got 1.5"),
        ({"gradient": "none"}, "gradient: got 'none'"),
        ({"draws": 3}, "draws: got 3"),
        ({"steps": 2}, "antithetic: allowed with steps=1 only"),
        ({"gradient": "all", "teacher": CLEAN.denoiser}, "teacher: allowed with"),
    ],
)
def test_bad_settings_of_a_variant(settings, message):
    with pytest.raises(ValueError, match=message):
        tw.ConsistencyVariant(S_N, **settings)


# --- what the experiments measure with -----------------------------------------------------------


def test_widths_of_known_points():
    x = tw.MODES.sample(60_000, seeded())
    wide = GaussianMixture(tw.MODES.means, 0.375).sample(60_000, seeded())
    assert exact.mode_widths(torch.cat([x, wide]), 2).tolist() == pytest.approx([1, 1.5], abs=0.02)


def test_errors_are_those_of_the_exact_denoiser(session):
    plan = points.PointExperiment(seeds=2, levels=3, tested=200)

    class Shifted:
        """Two runs: the exact denoiser, and one that is off by 0.1 everywhere."""

        def __call__(self, x, sigma):
            off = torch.zeros(len(x), 1)
            off[len(x) // 2 :] = 0.1
            return tw.MODES.denoiser(x, sigma) + off

    errors = plan.errors(session, Shifted())
    assert torch.allclose(errors, torch.tensor([[0.0] * 3, [0.1] * 3]), atol=1e-6)


def test_summaries_of_errors():
    levels = np.array([0.1, 0.5, 1.0, 2.0, 4.0])
    errors = points.Errors(levels, np.array([[1.0, 4.0, 5.0, 3.0, 4.0]]))
    assert errors.below == pytest.approx([math.sqrt(17 / 2)])
    assert errors.geometric == pytest.approx([2.0])
    assert errors.at == [5.0]
    assert errors.above == pytest.approx([math.sqrt(25 / 2)])


def test_noise_of_other_kinds_has_the_size_that_is_said():
    x = tw.MODES.sample(50_000, seeded())
    y = mismatch.signal_dependent(x, S_N, seeded(1))
    assert (y - x).square().mean().sqrt().item() == pytest.approx(S_N, rel=0.02)
    images = torch.zeros(4000, 1, 8, 8)
    noisy = digits.correlated(images, S_N, seeded(2))
    assert noisy.std().item() == pytest.approx(S_N, rel=0.02)
    neighbours = (noisy[..., 1:] * noisy[..., :-1]).mean() / noisy.var()
    assert neighbours.item() == pytest.approx(2 / 3, abs=0.02)  # of (1, 2, 1): 4 of 6
    assert [mismatch.belief(f) for f in (0.8, 1.2)] == ["20 % too small", "20 % too large"]


def test_methods_that_cost_twice_get_half_the_batch():
    counts = {}
    for method in methods.METHODS:
        objective = methods.objective(method, S_N, 1.0, 5.0)
        counted = Counted(CLEAN.denoiser)
        objective(counted, noisy_data(12), seeded())
        counts[method] = counted.evaluations / 12
    assert counts == {m: methods.EVALUATIONS.get(m, 1) for m in methods.METHODS}


def test_all_variants_cost_the_same():
    """Two evaluations a sample, as consistency in the race."""
    plan = tw.Variants()
    for name, options in plan.variants().items():
        objective = methods.objective("consistency", plan.noise, 1.0, 5.0, **options)
        counted = Counted(CLEAN.denoiser)
        objective(counted, noisy_data(24), seeded())
        assert counted.evaluations == 2 * 24, name


# --- the experiments -----------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", find("tweedie"), ids=lambda e: e.name())
def test_each_experiment_alone(smoke, experiment):
    results = smoke.run(experiment)
    # The smoke search has the defaults only: then nothing is trained anew.
    assert bool(len(results.table)) == (experiment is not tw.ImagePlain)
    assert np.isfinite(results.table["value"]).all()
    for array in results.arrays.values():
        assert np.isfinite(array).all()


def test_a_setting_reaches_what_an_experiment_needs(session):
    """The networks of Samples are those of a race with its noise."""
    asked = session.asked(tw.Samples(noise=0.5))
    race = session.asked(asked.like(tw.Race))
    assert (race.noise, race.points, race.weight) == (0.5, 200, None)


def test_samples_with_new_noise_are_compared_with_noisy_data(session):
    """Real data with new noise are noisy data."""
    found = session.run(tw.Samples(samples=2000, seeds=2))
    real = found.values(measure="width with new noise", method="real data").mean()
    assert real == pytest.approx(1, abs=0.05)


def test_what_was_tuned_is_counted(smoke):
    run = smoke.run
    table = tw.tables.tuning(run(tw.Gradients), run(tw.Variants), run(tw.AmbientWeights)).data
    asked = smoke.asked(tw.Gradients)
    assert list(table["tried"]) == [len(asked.weights), 4, 4, 1, 1, 1, 1]


def test_figures_and_tables(smoke):
    run, records = smoke.run, smoke.records(tw.ImageRace).there()
    for figure in (
        tw.figures.idea(),
        tw.figures.stop(run(tw.Stopping)),
        tw.figures.weight(),
        tw.figures.gaussian(),
        tw.figures.defects(run(tw.Defects)),
        tw.figures.gradients(run(tw.Gradients)),
        tw.figures.race(run(tw.Race)),
        tw.figures.sweep(run(tw.Sweep)),
        tw.figures.samples(run(tw.Samples)),
        tw.figures.mismatch(run(tw.Mismatch)),
        tw.figures.memory(run(tw.Memory)),
        tw.image_figures.race(records),
        tw.image_figures.pictures(records),
    ):
        assert figure.axes
        plt.close(figure)
    lengths = {
        tw.tables.gradients(run(tw.Gradients)): 4,
        tw.tables.variants(run(tw.Variants)): 4,
        tw.tables.ambient_weights(run(tw.AmbientWeights)): 1,
        tw.tables.tuning(run(tw.Gradients), run(tw.Variants), run(tw.AmbientWeights)): 7,
        tw.tables.race(run(tw.Race)): 6,
        tw.tables.ratios(run(tw.Race)): 5,
        tw.tables.samples(run(tw.Samples)): 10,
        tw.tables.mismatch(run(tw.Mismatch)): 6,
        tw.tables.mismatch_errors(run(tw.Mismatch)): 6,
        tw.tables.digits(run(tw.Digits)): 7,
        tw.tables.digit_errors(run(tw.Digits)): 7,
        **dict.fromkeys(tw.tables.memory(run(tw.Memory)), 4),
    }
    for table, length in lengths.items():
        assert len(table.data) == length
        assert "<table" in table.to_html()
    assert tw.tables.images({}) is None and tw.image_figures.race({}) is None
    assert tw.tables.image_ratios({}) is None and tw.image_figures.pictures({}) is None
    assert len(tw.in_short(smoke).claims) == len(tw.verdicts(smoke))
