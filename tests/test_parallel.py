"""Picard around other solvers and with Anderson acceleration; gradients; starts part of the way."""

import pytest
import torch
from conftest import randn, seeded, three, tiny_mlp

from companion import data, denoisers, noise, samplers
from companion.oracles import GaussianMixture

LAW = three()
X = 20 * randn(5, 2)
SIGMAS = noise.log_linear(12, 20.0, 0.05).double()


# --- Picard


@pytest.mark.parametrize("anderson", [0, 1, 3])
@pytest.mark.parametrize("semilinear", [False, True])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "dpmpp_3m"])
def test_the_fixed_point_is_the_solver(solver, window, semilinear, anderson):
    settings = {"window": window, "semilinear": semilinear, "anderson": anderson}
    seen = []
    for sigmas in (SIGMAS, SIGMAS[:-1]):
        expected = getattr(samplers, solver)(LAW.denoiser, X, sigmas)
        found = samplers.picard(
            LAW.denoiser, X, sigmas, solver=solver, tolerance=0, callback=seen.append, **settings
        )
        assert torch.allclose(found, expected, atol=1e-9)
    assert seen[-1].iteration <= len(SIGMAS) - 2  # never more than the steps


def test_ancestral_steps_accelerated():
    expected = samplers.ddpm(LAW.denoiser, X, SIGMAS, generator=seeded(3))
    found = samplers.picard(
        LAW.denoiser, X, SIGMAS, stochastic=True, anderson=2, tolerance=0, generator=seeded(3)
    )
    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("semilinear", [False, True])
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_acceleration_saves_iterations(solver, semilinear):
    law, x, sigmas = data.mixture("ring"), 20 * randn(16, 2), noise.log_linear(60, 20.0, 0.02)

    def iterations(memory):
        seen = []
        samplers.picard(
            law.denoiser, x, sigmas, tolerance=0.02, solver=solver, semilinear=semilinear,
            anderson=memory, callback=seen.append,
        )  # fmt: skip
        return seen[-1].iteration

    assert iterations(1) < iterations(0)


def test_one_linear_state_is_solved_at_once():
    """Of a linear problem in one dimension the mixture of two iterations is the fixed point."""
    normal = GaussianMixture([[0.0]], 1.0)
    x, sigmas = 3 * randn(1, 1), torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64)
    states = []
    samplers.picard(
        normal.denoiser, x, sigmas, anderson=1, tolerance=0, callback=lambda i: states.append(i.x)
    )
    expected = samplers.trajectory(samplers.ddim, normal.denoiser, x, sigmas)
    assert torch.allclose(states[-1], expected)


def test_a_lost_sample_does_not_disturb_the_others():
    x = X.clone()
    x[2] = float("nan")
    for options in ({"anderson": 2}, {"solver": "dpmpp_2m"}):
        with pytest.warns(RuntimeWarning, match="samples 2 of 5"):
            found = samplers.picard(LAW.denoiser, x, SIGMAS, tolerance=0, **options)
        kept = [0, 1, 3, 4]
        alone = samplers.picard(LAW.denoiser, X[kept], SIGMAS, tolerance=0, **options)
        assert torch.allclose(found[kept], alone, atol=1e-8)


def test_solvers_that_cannot_be():
    with pytest.raises(ValueError, match="solver: got 'euler'"):
        samplers.picard(LAW.denoiser, X, SIGMAS, solver="euler")
    with pytest.raises(ValueError, match="solver: got 'dpmpp_2m' with stochastic"):
        samplers.picard(LAW.denoiser, X, SIGMAS, solver="dpmpp_2m", stochastic=True)


# --- gradients

DETERMINISTIC = ["ddim", "heun", "gradient_estimation", "dpmpp_2m", "dpmpp_3m", "deis", "unipc"]


@pytest.mark.parametrize("name", [*DETERMINISTIC, "ddpm"])
def test_gradients_are_those_of_finite_differences(name):
    sampler, sigmas = getattr(samplers, name), SIGMAS[::3]
    more = {"generator": None} if name == "ddpm" else {}

    def end(x, **options):
        noise_source = {"generator": seeded(1)} if more else {}
        return sampler(LAW.denoiser, x, sigmas, **noise_source, **options)

    x = X[:2].clone().requires_grad_()
    assert not end(x).requires_grad
    (slope,) = torch.autograd.grad(end(x, grad=True)[:, 0].sum(), x)
    for i in range(2):
        h = torch.zeros_like(x.detach())
        h[:, i] = 1e-4
        change = (end(x + h) - end(x - h))[:, 0] / 2e-4
        assert torch.allclose(slope[:, i], change, atol=1e-6, rtol=1e-4)


def test_gradients_reach_the_network_and_need_no_mode():
    net = tiny_mlp(output=0.3)
    learned = samplers.LearnedSampler((5.0, 1.0, 0.2), (0.0, 0.1, 0.1))
    x = X.float()
    for run in (lambda: learned(net, x, grad=True),
        lambda: samplers.ddim(net, x, SIGMAS, grad=True)):  # fmt: skip
        with torch.no_grad():
            out = run()
        net.zero_grad()
        out.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert not learned(net, x).requires_grad
    with pytest.raises(TypeError, match="grad: got 1"):
        samplers.ddim(net, x, SIGMAS, grad=1)


# --- starts part of the way


def test_partway_takes_the_last_steps_from_data_with_noise():
    x0 = randn(4000, 2)
    start = samplers.partway(x0, SIGMAS, 0.5, generator=seeded())
    assert torch.equal(start.sigmas, SIGMAS[-7:])
    assert ((start.x - x0) / SIGMAS[-7]).std().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(samplers.partway(x0, SIGMAS, 1.0).sigmas, SIGMAS)
    assert len(samplers.partway(x0, SIGMAS, 0.01).sigmas) == 2


def test_partway_from_the_law_itself_ends_in_the_law():
    """Noise and then the exact denoiser leave N(0, 1) as it was; little noise leaves the sample."""
    normal = GaussianMixture([[0.0, 0.0]], 1.0)
    x0 = normal.sample(4000, seeded(), dtype=torch.float64)
    sigmas = noise.log_linear(200, 20.0, 0.01)
    for strength in (0.2, 0.7):
        state, left = samplers.partway(x0, sigmas, strength, generator=seeded(1))
        out = samplers.ddim(normal.denoiser, state, left)
        assert out.std().item() == pytest.approx(1, abs=0.03)
        assert ((out - x0).norm(dim=1).mean() < 0.1) == (strength == 0.2)


def test_partway_names_what_cannot_be():
    for strength in (0.0, 1.5, "0.5"):
        with pytest.raises((TypeError, ValueError), match="strength: got"):
            samplers.partway(X, SIGMAS, strength)
    guided = denoisers.Counted(LAW.denoiser)
    samplers.ddim(guided, *samplers.partway(X, SIGMAS, 0.5))
    assert guided.calls == 6
