"""Input perturbation and noise on the data: their minima in closed form, and their handling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from companion import data, denoisers, networks, noise, objectives, training
from companion.objectives import (
    DenoisingScoreMatching,
    InputPerturbation,
    NoisyData,
    Relabelled,
    relabelled,
)
from companion.oracles import GaussianMixture

LAW = GaussianMixture([[-1.0], [0.2], [1.5]], [0.2, 0.5, 0.1], [0.3, 0.5, 0.2])
GRID = torch.linspace(-4, 4, 81, dtype=torch.float64)[:, None]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_quadrature(x, sigma, gamma, law=LAW):
    """E[x_0 | x] and E[eps | x] for x = x_0 + sigma (eps + gamma xi), summed over x_0 and eps."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    nodes, weights = torch.from_numpy(nodes), torch.from_numpy(weights)
    x0 = (law.means + law.stds[:, None] * nodes).flatten()  # component by component
    prior = (law.weights[:, None] * weights).flatten()
    eps = torch.linspace(-8, 8, 801, dtype=torch.float64)
    xi = (x[:, :, None] - x0[:, None] - sigma * eps) / (sigma * gamma)  # (B, X, E)
    joint = prior[:, None] * (-0.5 * (eps**2 + xi**2)).exp()
    total = joint.sum((1, 2))
    return (
        (joint.sum(2) * x0).sum(1, keepdim=True) / total[:, None],
        (joint.sum(1) * eps).sum(1, keepdim=True) / total[:, None],
    )


@pytest.mark.parametrize("sigma, gamma", [(0.5, 0.3), (1.0, 1.0)])
def test_best_answers_under_input_perturbation(sigma, gamma):
    """Checks eq-xn-relabel and eq-xn-shrink against sums over x_0, eps and xi."""
    clean, eps = by_quadrature(GRID, sigma, gamma)
    k = math.sqrt(1 + gamma**2)
    assert torch.allclose(LAW.denoiser(GRID, k * sigma), clean, atol=1e-7)
    assert torch.allclose(denoisers.epsilon(LAW.denoiser, GRID, k * sigma) / k, eps, atol=1e-7)
    best = relabelled(LAW.denoiser, gamma, "x_0")
    assert torch.allclose(best(GRID, sigma), clean, atol=1e-7)
    best = relabelled(LAW.denoiser, gamma, "eps")
    assert torch.allclose(denoisers.epsilon(best, GRID, sigma), eps, atol=1e-7)
    # The two targets have different optima, and both differ from the exact denoiser.
    assert (best(GRID, sigma) - clean).abs().max() > 0.05
    assert (LAW.denoiser(GRID, sigma) - clean).abs().max() > 0.02


@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_the_loss_is_least_at_that_answer(target):
    """eq-xn-perturbed: at the minimum no direction lowers the loss, to first order."""
    gamma, n = 0.7, 400_000
    objective = InputPerturbation(gamma, target, noise.Discrete((0.6,)), "data")
    x0 = LAW.sample(n, seeded(), dtype=torch.float64)
    best = relabelled(LAW.denoiser, gamma, target)

    def loss(shift, denoiser):
        def moved(x, s):
            return denoiser(x, s) + shift[0] + shift[1] * x + shift[2] * torch.cos(3 * x)

        return objective(moved, x0, seeded(1)).mean()

    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for denoiser, least in ((best, True), (LAW.denoiser, False)):
        (gradient,) = torch.autograd.grad(loss(zero, denoiser), zero)
        assert bool(gradient.abs().max() < 0.006) is least


def test_without_perturbation_it_is_denoising():
    """eq-xn-perturbed at gamma = 0, where both targets are the same up to their weight."""
    x0, law = LAW.sample(200, seeded()), noise.LogNormal(-0.5, 1.0)
    plain = DenoisingScoreMatching(law, "edm", 0.9)
    for target in ("x_0", "eps"):
        perturbed = InputPerturbation(0.0, target, law, "edm", 0.9)
        a, b = (o(LAW.denoiser, x0, seeded(2)) for o in (plain, perturbed))
        assert torch.allclose(a, b, rtol=1e-5)
    # Target eps is the squared error of the noise, as in the paper's code.
    sigma, gamma = 0.8, 0.4
    one = InputPerturbation(gamma, "eps", noise.Discrete((sigma,)), "epsilon")
    g = seeded(3)
    torch.randint(1, (200,), generator=g)  # the level
    eps, xi = (torch.randn(200, 1, generator=g) for _ in range(2))
    x = x0 + sigma * (eps + gamma * xi)
    error = (denoisers.epsilon(LAW.denoiser, x, sigma) - eps).square().mean(1)
    assert torch.allclose(one(LAW.denoiser, x0, seeded(3)), error, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_relabelling_is_undone(target):
    x = 2 * torch.randn(100, 1, generator=seeded(), dtype=torch.float64)
    there = relabelled(LAW.denoiser, 0.8, target)
    back = relabelled(there, 0.8, target, inverse=True)
    for sigma in (0.3, torch.tensor(0.3), torch.full((100,), 0.3, dtype=torch.float64)):
        assert torch.allclose(back(x, sigma), LAW.denoiser(x, 0.3), atol=1e-7)
        assert (there(x, sigma) - LAW.denoiser(x, 0.3)).abs().max() > 0.01


def test_epsilon_scaling_divides_the_noise():
    x = 2 * torch.randn(50, 1, generator=seeded(), dtype=torch.float64)
    scaled = Relabelled(LAW.denoiser, shrink=1.02)
    expected = denoisers.epsilon(LAW.denoiser, x, 0.7) / 1.02
    assert torch.allclose(denoisers.epsilon(scaled, x, 0.7), expected)
    # As a prediction of noise, target "eps" divides by k and not by k^2.
    k = math.sqrt(1 + 0.5**2)
    both = denoisers.epsilon(relabelled(LAW.denoiser, 0.5, "eps"), x, 0.7)
    assert torch.allclose(both, denoisers.epsilon(LAW.denoiser, x, 0.7 * k) / k)


@pytest.mark.parametrize("s, sigma", [(0.3, 0.5), (1.0, 0.2)])
def test_noise_on_the_data_convolves_the_law(s, sigma):
    """Checks eq-xn-convolved: the target is x_0 + s xi, and its best estimate has a closed form."""
    wide = LAW.noisy(s).denoiser(GRID, sigma)
    # E[x_0 + s xi | x] = x - sigma E[eps | x], and x = x_0 + sqrt(s^2 + sigma^2) noise.
    level = math.hypot(s, sigma)
    exact = LAW.denoiser(GRID, level)
    assert torch.allclose(wide, GRID - (sigma / level) ** 2 * (GRID - exact), atol=1e-12)
    # The module's objective has its minimum there: no small change lowers its mean.
    objective = NoisyData(s, DenoisingScoreMatching(noise.Discrete((sigma,)), "data"))
    x0, shift = LAW.sample(300_000, seeded(), dtype=torch.float64), torch.zeros(2).double()
    shift.requires_grad_()
    for law, least in ((LAW.noisy(s), True), (LAW, False)):

        def moved(x, t, law=law):
            return law.denoiser(x, t) + shift[0] + shift[1] * x

        (gradient,) = torch.autograd.grad(objective(moved, x0, seeded(1)).mean(), shift)
        assert bool(gradient.abs().max() < 0.006) is least


def test_last_step_that_denoises_down_to_s_undoes_noisy_data():
    """eq-xn-convolved: samples are too wide by s, and one exact step down from s is the cure."""
    s, law = 0.3, GaussianMixture([[0.0]], 0.4)
    wide = law.noisy(s)
    assert wide.stds.item() == pytest.approx(math.hypot(0.4, s))
    # The learned law at level sigma is the true law at hypot(s, sigma): same score, other label.
    x = GRID
    score = wide.score(x, 0.5)
    assert torch.allclose(score, law.score(x, math.hypot(s, 0.5)), atol=1e-12)


def test_objectives_in_a_stack_train_as_alone():
    ring = data.points("ring", 500, generator=seeded())
    law = noise.LogNormal(-0.8, 1.2)
    plain = DenoisingScoreMatching(law, sigma_data=1.0)
    goals = [
        plain,
        InputPerturbation(0.3, "x_0", law, "edm", 1.0),
        InputPerturbation(0.3, "eps", law, "edm", 1.0),
        NoisyData(0.2, plain),
    ]
    nets = [
        networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 24), 1.0), r)
        for r in range(4)
    ]
    options = {"steps": 25, "batch_size": 32, "device": "cpu"}
    stack = training.fit(nets, goals, ring, seed=[5] * 4, **options)
    for r in range(4):
        alone = training.fit(nets[r], goals[r], ring, seed=5, **options)
        torch.testing.assert_close(stack.losses[:, r], alone.losses, rtol=1e-3, atol=1e-4)
    # The same seed gives the same batch, but the extra noise shows in the loss.
    assert len({round(v, 4) for v in stack.losses[0].tolist()}) > 2
    assert NoisyData(0.2, plain).sigmas is law


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_finite_in_every_precision(dtype):
    net = denoisers.Preconditioned(networks.MLP(2, 16), 1.0).to(dtype)
    batch = data.points("ring", 64, generator=seeded()).to(dtype)
    law = noise.LogUniform(0.01, 50.0)
    inner = DenoisingScoreMatching(law, sigma_data=1.0)
    for objective in (
        InputPerturbation(0.2, "x_0", law, "edm", 1.0),
        InputPerturbation(0.2, "eps", law, "edm", 1.0),
        NoisyData(0.2, inner),
    ):
        loss = objective(net, batch, seeded(1))
        assert loss.shape == (64,) and loss.dtype == dtype
        net.zero_grad()
        loss.mean().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters())


def test_random_numbers_come_from_the_generator():
    batch = data.points("ring", 8, generator=seeded())
    for objective in (InputPerturbation(), NoisyData(0.1)):
        state = torch.get_rng_state()
        a, b = (objective(lambda x, s: x, batch, seeded(4)) for _ in range(2))
        assert torch.equal(a, b) and torch.equal(state, torch.get_rng_state())


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"gamma: got -0.1; allowed"):
        InputPerturbation(-0.1)
    with pytest.raises(ValueError, match=r"gamma: got nan"):
        relabelled(LAW.denoiser, math.nan)
    with pytest.raises(ValueError, match=r"target: got 'v'; allowed are 'x_0', 'eps'"):
        InputPerturbation(0.1, "v")
    with pytest.raises(ValueError, match=r"weight: got 'snr'"):
        InputPerturbation(weight="snr")
    with pytest.raises(ValueError, match=r"sigma_data: got 0"):
        InputPerturbation(sigma_data=0)
    with pytest.raises(ValueError, match=r"s: got -1"):
        NoisyData(-1)
    for wrong in ({"level": 0}, {"shrink": -1}):
        with pytest.raises(ValueError, match=r"(level|shrink): got"):
            Relabelled(LAW.denoiser, **wrong)


def test_defaults_are_those_of_the_paper():
    assert InputPerturbation() == InputPerturbation(0.1, "eps")
    assert repr(relabelled(LAW.denoiser, 1.0)) == "Relabelled(level=1.41421, shrink=2)"
    assert "InputPerturbation" in objectives.__all__
