"""Chapter 4: gradient estimation, its equations and its order; against diffusers' DEIS."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import randn
from diffusers import DEISMultistepScheduler

from companion import data, samplers
from companion.denoisers import epsilon
from companion.noise import log_linear
from companion.oracles import GaussianMixture, Sphere
from companion.samplers.diffusers_peers import from_scheduler

# Said by diffusers' own code, at each of its steps.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SPHERE = Sphere(3, 10, radius=2.0)


def line_gamma(r, line):
    """eq-ov-gamma: exact for a direction that is straight in ``line``, on a log-linear schedule."""
    h = -math.log(r)
    return {
        "sigma": 1 + r / 2,
        "log sigma": 1 + (1 - (1 + h) * r) / (h * (1 - r)),
        "1 / sigma^2": 1 + 1 / (r * (1 + r)),
    }[line]


def test_gamma_one_is_ddim():
    spirals, x = data.mixture("spirals"), 20 * randn(64, 2)
    a = samplers.gradient_estimation(spirals.denoiser, x, log_linear(10, 20.0, 0.1), gamma=1)
    b = samplers.ddim(spirals.denoiser, x, log_linear(10, 20.0, 0.1))
    assert torch.allclose(a, b, atol=1e-12)


def test_error_of_the_combination():
    """Checks eq-ov-combination on the states of a run."""
    x, sigma, gamma = randn(30, 10), 0.5, 1.7
    eps = [epsilon(SPHERE.denoiser, x + 0.1 * i, sigma) for i in (0, 1)]
    target = (x - SPHERE.project(x)) / SPHERE.distance(x)[:, None]
    e = [target - each for each in eps]
    left = target - (gamma * eps[0] + (1 - gamma) * eps[1])
    assert torch.allclose(left, e[0] + (gamma - 1) * (e[0] - e[1]))


def test_the_metric_behind_gamma():
    """eq-ov-metric: the minimiser in the metric W is the update with that gamma."""
    a, b, c = 2.5, -1.5, 1.0
    assert a * c - b * b > 0  # positive definite
    now, before = randn(2, 5)
    eps = torch.zeros(5, dtype=torch.float64, requires_grad=True)

    def cost(eps):
        u, v = eps - now, eps - before
        return a * u @ u + 2 * b * u @ v + c * v @ v

    hessian = torch.func.hessian(cost)(eps.detach())
    (gradient,) = torch.autograd.grad(cost(eps), eps)
    best = -torch.linalg.solve(hessian, gradient)
    gamma = (a + b) / (a + 2 * b + c)
    assert gamma == pytest.approx(2)
    assert torch.allclose(best, gamma * now + (1 - gamma) * before)


@pytest.mark.parametrize("line", ["sigma", "log sigma", "1 / sigma^2"])
def test_gamma_that_is_exact_for_a_straight_direction(line):
    """Checks eq-ov-gamma: each weight integrates its straight line without error."""
    r, sigma = 0.6, 1.0
    before, below = sigma / r, sigma * r
    grid = torch.linspace(below, sigma, 200_001, dtype=torch.float64)
    curve = {"sigma": torch.as_tensor, "log sigma": torch.log, "1 / sigma^2": lambda s: s**-2}[line]
    exact = torch.trapezoid(2 + 3 * curve(grid), grid).item()
    ends = torch.tensor([sigma, before], dtype=torch.float64)
    now, old = (2 + 3 * curve(ends)).tolist()
    gamma = line_gamma(r, line)
    assert (sigma - below) * (gamma * now + (1 - gamma) * old) == pytest.approx(exact, rel=1e-8)
    assert line_gamma(1 - 1e-4, line) == pytest.approx(1.5, abs=1e-3)


def test_direction_under_much_noise_is_straight_in_inverse_squares():
    """Why eq-ov-gamma lists 1 / sigma^2: eps_hat on the flow of a Gaussian, sigma above its std."""
    gaussian, sigmas = GaussianMixture([[0.0, 0.0]], 1.0), torch.tensor([40.0, 20.0, 10.0]).double()
    x = sigmas[0] * randn(1, 2)
    states = [x * ((1 + s**2) / (1 + sigmas[0] ** 2)).sqrt() for s in sigmas]  # the exact flow
    far, middle, near = (epsilon(gaussian.denoiser, x, s) for x, s in zip(states, sigmas))
    slope = (middle - far) / (sigmas[1] ** -2 - sigmas[0] ** -2)
    predicted = middle + slope * (sigmas[2] ** -2 - sigmas[1] ** -2)
    assert ((predicted - near).norm() / (near - middle).norm()).item() < 0.02


@pytest.fixture(scope="module")
def flow():
    """A distribution, states at sigma = 20, and where the flow takes them."""
    ring, x = data.mixture("ring"), 20 * randn(256, 2, seed=9)
    end = samplers.heun(ring.denoiser, x, log_linear(600, 20.0, 0.02, final_zero=False).double())
    return ring, x, end


def test_orders_of_convergence(flow):
    """gamma = 3/2 is of second order; gamma = 2 of first, as DDIM, with the opposite error."""
    ring, x, end = flow

    def error(gamma, steps):
        sigmas = log_linear(steps, 20.0, 0.02, final_zero=False)
        return samplers.gradient_estimation(ring.denoiser, x, sigmas, gamma=gamma) - end

    size = {g: [error(g, n).norm(dim=1).median() for n in (80, 160)] for g in (1.0, 1.5, 2.0)}
    orders = {g: math.log2(coarse / fine) for g, (coarse, fine) in size.items()}
    assert orders[1.0] == pytest.approx(1, abs=0.2)
    assert orders[2.0] == pytest.approx(1, abs=0.2)
    assert orders[1.5] > 1.7
    plain, doubled = error(1.0, 320).flatten(), error(2.0, 320).flatten()
    small = plain.abs() < plain.abs().quantile(0.9)  # away from where paths part
    cosine = torch.nn.functional.cosine_similarity(plain[small], doubled[small], dim=0)
    assert cosine < -0.9
    assert doubled[small].norm() / plain[small].norm() == pytest.approx(1, abs=0.25)


def test_with_this_gamma_it_is_deis(flow):
    """eq-ov-gamma: gradient estimation is DEIS of order 2 then, step by step."""
    ring, x, _ = flow
    sigmas = log_linear(20, 20.0, 0.02, final_zero=False)
    ours = samplers.gradient_estimation(
        ring.denoiser, x, sigmas, gamma=line_gamma(float(sigmas[1] / sigmas[0]), "log sigma")
    )
    deis = from_scheduler(DEISMultistepScheduler, solver_order=2)
    theirs = deis(ring.denoiser, x, sigmas)
    assert (ours - theirs).abs().max() < 1e-4
