"""The multistep samplers against diffusers' schedulers, exact weights, and the exact flow."""

import math

import diffusers
import pytest
import torch
from conftest import seeded, tiny_mlp

from companion import data, denoisers, noise, samplers
from companion.samplers import multistep

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

ALL = [samplers.dpmpp_2m, samplers.dpmpp_3m, samplers.unipc, samplers.deis]


@pytest.fixture(scope="module")
def network():
    return tiny_mlp(width=32, depth=3, sigma_data=0.7, output=0.2).double()


def start(sigma=40.0):
    gen = seeded()
    return sigma * torch.randn(64, 2, generator=gen, dtype=torch.float64)


def theirs(scheduler, denoiser, x, sigmas):
    """A scheduler of diffusers on our levels, with states in its variance-preserving scale."""
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = sigmas.clone()
    signal = 1 / (1 + sigmas**2).sqrt()
    z = x * signal[0]
    for i, t in enumerate(scheduler.timesteps):
        eps = denoisers.epsilon(denoiser, z / signal[i], float(sigmas[i]))
        z = scheduler.step(eps, t, z).prev_sample
    return z / signal[-1]


DPM = diffusers.DPMSolverMultistepScheduler
PEERS = [
    (samplers.dpmpp_2m, {}, DPM, {"solver_order": 2, "algorithm_type": "dpmsolver++"}),
    (samplers.dpmpp_3m, {}, DPM, {"solver_order": 3, "algorithm_type": "dpmsolver++"}),
    (samplers.unipc, {"variant": "bh1"}, diffusers.UniPCMultistepScheduler, {"solver_type": "bh1"}),
    (samplers.unipc, {}, diffusers.UniPCMultistepScheduler, {"solver_type": "bh2"}),
    (samplers.deis, {"order": 2}, diffusers.DEISMultistepScheduler, {"solver_order": 2}),
    (samplers.deis, {"order": 3}, diffusers.DEISMultistepScheduler, {"solver_order": 3}),
]


@pytest.mark.parametrize("ours, options, peer, settings", PEERS)
@pytest.mark.parametrize("schedule", [noise.log_linear, noise.karras])
def test_against_diffusers(network, ours, options, peer, settings, schedule):
    """Same network, same levels, same noise: every step's result to 1e-5 of the scale."""
    sigmas = schedule(16, sigma_max=40.0, sigma_min=0.02, final_zero=False).double()
    if peer is not diffusers.DEISMultistepScheduler:
        settings = {**settings, "final_sigmas_type": "sigma_min"}
    scheduler = peer(lower_order_final=False, **settings)
    other = theirs(scheduler, network, start(), sigmas)
    own = ours(network, start(), sigmas, **options)
    torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampler", ALL)
def test_a_step_to_zero_is_the_denoised_answer(network, sampler):
    steps = []
    end = sampler(network, start(), noise.log_linear(6, 40.0, 0.02), callback=steps.append)
    torch.testing.assert_close(end, steps[-1].denoised)
    assert [step.number for step in steps] == list(range(6))


@pytest.mark.parametrize("sampler", ALL)
def test_one_level_is_ddim(network, sampler):
    sigmas = torch.tensor([40.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(
        sampler(network, start(), sigmas), samplers.ddim(network, start(), sigmas)
    )


@pytest.mark.parametrize(
    "sampler, order",
    [(samplers.dpmpp_2m, 2), (samplers.dpmpp_3m, 2), (samplers.unipc, 2), (samplers.deis, 2)],
)
def test_order_of_convergence_on_the_exact_flow(sampler, order):
    """Halving the steps multiplies the error by 2 to the order (a little less is allowed)."""
    mixture = data.mixture("ring")
    x = start(20.0)[:32]

    def levels(n):
        return noise.log_linear(n, 20.0, 0.1, final_zero=False).double()

    exact = samplers.heun(mixture.denoiser, x, levels(1500))
    errors = [
        float((sampler(mixture.denoiser, x, levels(n)) - exact).norm(dim=1).median())
        for n in (80, 160)
    ]
    assert math.log2(errors[0] / errors[1]) > order - 0.35


def parabola_weights(levels, below):
    """Weights that integrate a parabola in log sigma through three answers, numerically."""
    s = torch.linspace(math.log(below), math.log(levels[0]), 200_001, dtype=torch.float64)
    moments = [torch.trapezoid(below / s.exp() * s**k, s) for k in range(3)]
    nodes = torch.tensor(levels, dtype=torch.float64).log()
    right = torch.stack(moments) / (1 - below / levels[0])
    return torch.linalg.solve(torch.stack([nodes**k for k in range(3)]), right)


def test_weights_of_the_third_order_method_are_half_way_to_a_parabola():
    """Why dpmpp_3m converges with second order: half of the second difference is missing."""
    levels, below = [1.0, 1.7, 3.4], 0.4
    full = parabola_weights(levels, below)
    published = torch.tensor(multistep.third_order_weights(levels, below), dtype=torch.float64)
    nodes = torch.tensor(levels, dtype=torch.float64).log()
    assert float(published.sum()) == pytest.approx(1)
    assert float(full.sum()) == pytest.approx(1, abs=1e-8)
    # Both are exact for a line; for a parabola through 0 and the present level the published
    # weights give half of what is missing from a line's value at the present level.
    assert float(published @ nodes) == pytest.approx(float(full @ nodes), abs=1e-8)
    assert float(published @ nodes**2) == pytest.approx(0.5 * float(full @ nodes**2), abs=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_weights_of_deis_are_the_mean_of_a_polynomial(count):
    levels, below = [1.0, 1.7, 3.4][:count], 0.4
    weights = multistep.polynomial_weights(levels, below)
    s = torch.linspace(below, 1.0, 200_001, dtype=torch.float64)
    for power in range(count):
        mean = torch.trapezoid(s.log() ** power, s) / (1 - below)
        estimate = sum(w * math.log(level) ** power for w, level in zip(weights, levels))
        assert estimate == pytest.approx(float(mean), abs=1e-8)


def test_deis_of_order_two_is_gradient_estimation_with_its_gamma(network):
    """eq-ov-gamma, the second."""
    sigmas = noise.log_linear(12, 40.0, 0.02, final_zero=False).double()
    ratio = float(sigmas[1] / sigmas[0])
    h = -math.log(ratio)
    gamma = 1 + (1 - (1 + h) * ratio) / (h * (1 - ratio))
    other = samplers.gradient_estimation(network, start(), sigmas, gamma=gamma)
    torch.testing.assert_close(samplers.deis(network, start(), sigmas), other)


@pytest.mark.parametrize(
    "weights", [(1.0,), (1.7, -0.7), (1.4, -0.6, 0.2), (0.8, -0.8, 1.0), (0.0, 0.0, 1.0)]
)
def test_a_step_is_the_weighted_sum_and_changes_nothing_that_was_given(weights):
    x, *answers = given = [start() for _ in range(1 + len(weights))]
    kept = [tensor.clone() for tensor in given]
    step = multistep.step_of_answers(x, answers, weights, 0.3)
    mixed = sum(w * answer for w, answer in zip(weights, answers))
    torch.testing.assert_close(step, 0.3 * x + 0.7 * mixed)
    assert all(torch.equal(a, b) for a, b in zip(given, kept))


def test_wrong_options_are_named(network):
    sigmas = noise.log_linear(4, 40.0, 0.02)
    with pytest.raises(ValueError, match="variant: got 'bh3'"):
        samplers.unipc(network, start(), sigmas, variant="bh3")
    with pytest.raises(ValueError, match="order: got 4"):
        samplers.deis(network, start(), sigmas, order=4)
    for sampler in ALL:
        with pytest.raises(ValueError, match="x: got"):
            sampler(network, torch.ones(3), sigmas)
        with pytest.raises(ValueError, match="sigmas"):
            sampler(network, start(), sigmas.flip(0))
