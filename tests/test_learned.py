"""The learned sampler: its update against the fixed ones, its gain on held-out noise."""

import json

import numpy as np
import pytest
import torch
from conftest import randn, seeded, three

from companion import noise, samplers
from companion.samplers import LearnedSampler, learn, learning
from companion.samplers.learning import fixed

MIX = three()
SIGMA_MAX = 20.0


def schedule(steps):
    """Levels of a sampler that ends at 0."""
    return noise.log_linear(steps, SIGMA_MAX, 0.02).double()


def test_without_weights_it_is_ddim():
    sigmas, x = schedule(6), SIGMA_MAX * randn(30, 2)
    ours = LearnedSampler(tuple(sigmas[:-1].tolist()), (0.0,) * 6)
    assert torch.allclose(ours(MIX.denoiser, x), samplers.ddim(MIX.denoiser, x, sigmas), atol=1e-12)


def test_with_the_weights_of_2m_it_is_2m():
    sigmas, x = schedule(6), SIGMA_MAX * randn(30, 2)
    weights = [0.0]
    for i in range(1, 5):
        weights.append(samplers.multistep.midpoint_weights(
            [float(sigmas[i]), float(sigmas[i - 1])], float(sigmas[i + 1]))[0] - 1)  # fmt: skip
    ours = LearnedSampler(tuple(sigmas[:-1].tolist()), (*weights, 0.0))
    theirs = samplers.dpmpp_2m(MIX.denoiser, x, sigmas)
    assert torch.allclose(ours(MIX.denoiser, x), theirs, atol=1e-12)


def test_the_callback_sees_each_level():
    steps, learned = [], LearnedSampler((5.0, 1.0, 0.2), (0.0, 0.3, 0.1), (0.0, 0.0, 0.2))
    learned(MIX.denoiser, 5 * randn(3, 2), callback=steps.append)
    assert [(s.number, s.sigma) for s in steps] == [(0, 5.0), (1, 1.0), (2, 0.2)]


@pytest.mark.parametrize("steps", [3, 6])
def test_learning_halves_the_error_on_new_noise(steps):
    fresh = SIGMA_MAX * randn(500, 2, seed=5)
    exact = samplers.dpmpp_3m(MIX.denoiser, fresh, noise.log_linear(200, SIGMA_MAX, 2e-4))

    def away(end):
        return (end - exact).norm(dim=1).mean()

    learned = learn(MIX.denoiser, (2,), steps, sigma_max=SIGMA_MAX, generator=seeded(1))
    best = min(away(s(MIX.denoiser, fresh)) for s in fixed(steps, SIGMA_MAX))
    assert away(learned(MIX.denoiser, fresh)) < 0.5 * best
    assert learned.facts["error"] < learned.facts["start_error"]
    assert learned.steps == steps and learned.sigmas[0] == pytest.approx(SIGMA_MAX)


def test_it_is_never_worse_than_where_it_starts_on_held_out_noise():
    """Far too few samples: what is learned from them does not hold, and the start is kept."""
    learned = learn(MIX.denoiser, (2,), 8, sigma_max=SIGMA_MAX, samples=2, generator=seeded(3))
    assert learned.facts["error"] <= learned.facts["start_error"]


def test_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b = (learn(MIX.denoiser, (2,), 3, generator=seeded(2), samples=32) for _ in range(2))
    assert a.sigmas == b.sigmas and a.weights == b.weights
    assert torch.equal(before, torch.get_rng_state())


def test_a_denoiser_without_gradients_can_be_learned_from():
    def rounded(x, sigma):
        with torch.no_grad():
            return torch.from_numpy(MIX.denoiser(x, sigma).detach().numpy().copy())

    learned = learn(rounded, (2,), 3, sigma_max=SIGMA_MAX, generator=seeded(1))
    assert learned.facts["error"] < 0.5 * learned.facts["start_error"]


def test_several_numbers_of_steps_share_a_teacher_and_batches_change_nothing():
    calls = []

    def counted(x, sigma):
        calls.append(len(x))
        return MIX.denoiser(x, sigma)

    options = {"sigma_max": SIGMA_MAX, "samples": 32, "dtype": torch.float64, "iterations": 2}
    both = learn(counted, (2,), (2, 4), generator=seeded(1), batch_size=16, **options)
    total = both[2].facts["teacher_evaluations"] + sum(
        s.facts["evaluations"] for s in both.values()
    )
    assert total == sum(calls) and max(calls) == 16
    alone = learn(MIX.denoiser, (2,), 4, generator=seeded(1), **options)
    assert both[4].sigmas == pytest.approx(alone.sigmas, rel=1e-3)


def test_the_differences_are_the_derivatives(monkeypatch):
    """Gauss-Newton's matrix and right side, against those of autograd."""
    monkeypatch.setattr(learning, "PROBE", 1e-6)
    z, end = randn(6, 2), randn(6, 2, seed=1)
    fit = learning.Fit(learning.Asked(MIX.denoiser), 4, 3, SIGMA_MAX)
    values = fit.numbers(LearnedSampler((20.0, 4.0, 1.0, 0.2), (0.0, 0.3, 0.4, 0.1), (0.0,) * 4))

    def away(row):
        logs = torch.log(torch.tensor(SIGMA_MAX)) - torch.cat(
            [row[:1] * 0, row[:3].exp().cumsum(0)]
        )
        s, c, e = logs.exp(), row[3:6], row[6:]
        x, seen = SIGMA_MAX * z, []
        for i in range(4):
            seen.append(MIX.denoiser(x, s[i]))
            mixed = seen[i]
            if i > 0:
                mixed = mixed + c[i - 1] * (seen[i] - seen[i - 1])
            if i > 1:
                mixed = mixed + e[i - 2] * (seen[i - 1] - seen[i - 2])
            ratio = s[i + 1] / s[i] if i < 3 else 0.0
            x = ratio * x + (1 - ratio) * mixed
        return x - end

    here = torch.from_numpy(values)
    slopes = torch.autograd.functional.jacobian(away, here)
    off = away(here)
    weight = 1 / off.norm(dim=1)
    matrix, side = fit.normal(values, [(z, end)], 0.0)
    assert torch.allclose(
        torch.from_numpy(matrix), torch.einsum("bdp,bdq,b->pq", slopes, slopes, weight), atol=1e-4
    )
    assert torch.allclose(
        torch.from_numpy(side), -torch.einsum("bdp,bd,b->p", slopes, off, weight), atol=1e-4
    )


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_of_every_order(order, steps):
    learned = learn(MIX.denoiser, (2,), steps, order=order, samples=16, generator=seeded(0))
    assert len(learned.sigmas) == len(learned.weights) == steps
    assert learned(MIX.denoiser, 80 * randn(4, 2)).isfinite().all()


def test_saved_and_read(tmp_path):
    learned = LearnedSampler((5.0, 1.0), (0.0, 0.4), facts={"error": 0.1})
    learned.save(tmp_path / "two.json")
    assert LearnedSampler.load(tmp_path / "two.json") == learned
    assert json.loads((tmp_path / "two.json").read_text())["weights"] == [0.0, 0.4]
    assert list(tmp_path.iterdir()) == [tmp_path / "two.json"]
    (tmp_path / "half.json").write_text('{"sigmas": [5')
    with pytest.raises(ValueError, match=r"half.json is not a learned sampler"):
        LearnedSampler.load(tmp_path / "half.json")


def test_bad_settings():
    for sigmas in ((), (1.0, 2.0), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="sigmas: got"):
            LearnedSampler(sigmas, (0.0,) * len(sigmas))
    with pytest.raises(ValueError, match="weights: got 1 numbers; allowed are 2"):
        LearnedSampler((2.0, 1.0), (0.0,))
    with pytest.raises(ValueError, match="order: got 4"):
        learn(MIX.denoiser, (2,), 3, order=4)
    with pytest.raises(ValueError, match="denoiser: got"):
        learn(lambda x, s: x[:, :1], (2,), 3)
    with pytest.raises(ValueError, match="steps: got none"):
        learn(MIX.denoiser, (2,), ())


def test_a_denoiser_that_is_not_finite_leaves_the_start():
    def broken(x, sigma):
        return MIX.denoiser(x, sigma) / (float(sigma) > 0.7)

    learned = learn(broken, (2,), 3, sigma_max=SIGMA_MAX, samples=4, generator=seeded(1))
    assert learned.facts["iterations"] == 0


def test_unipc_is_a_case_of_three_answers():
    """eq-ov-learned holds it: its corrector uses what the next step knows as well."""
    from companion.samplers import multistep

    sigmas, x = schedule(6), SIGMA_MAX * randn(30, 2)
    levels = sigmas.tolist()[:-1]
    weights, second = [0.0] * 6, [0.0] * 6
    for i in range(1, 6):
        before = levels[max(0, i - 2) : i][::-1]
        changed = np.zeros(3)  # of the step before, by its corrector: D_i, D_{i-1}, D_{i-2}
        corrector = multistep._corrector(before, levels[i], "bh2")
        changed[: len(corrector)] += corrector
        predictor = multistep._predictor(before, levels[i], "bh2")
        changed[1 : 1 + len(predictor)] -= predictor
        below = levels[i + 1] if i < 5 else 0.0
        share = below / levels[i] * (1 - levels[i] / levels[i - 1]) / (1 - below / levels[i])
        here = multistep._predictor([levels[i], levels[i - 1]], below, "bh2") if below else [1.0]
        mixed = share * changed + np.array([*here, 0.0, 0.0][:3])
        weights[i], second[i] = mixed[0] - 1, -mixed[2]
    ours = LearnedSampler(tuple(levels), tuple(weights), tuple(second))
    theirs = samplers.unipc(MIX.denoiser, x, sigmas)
    assert torch.allclose(ours(MIX.denoiser, x), theirs, atol=1e-12)
