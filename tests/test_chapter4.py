"""Chapter 4's equations against exact projections; its samplers against diffusers'."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
)

from companion import data, samplers
from companion.denoisers import epsilon
from companion.noise import corrupt, log_linear
from companion.oracles import Empirical, GaussianMixture, Sphere, bessel_ratio
from companion.samplers.diffusers_scheduler import from_scheduler

# Said by diffusers' own code, at each of its steps.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


CIRCLE = Sphere(1)
SPHERE = Sphere(3, 10, radius=2.0)
POINTS = Empirical(randn(40, 6, seed=1))
SETS = [(CIRCLE, 2), (SPHERE, 10), (POINTS, 6)]
each_set = pytest.mark.parametrize("K, n", SETS, ids=["circle", "sphere", "points"])


# --- projection and distance ---


@each_set
def test_half_the_squared_distance_has_the_projection_as_its_gradient(K, n):
    """Checks eq-ov-projection by differentiating the distance."""
    x = 3 * randn(50, n, seed=2)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad((K.distance(x) ** 2 / 2).sum(), x)
    x = x.detach()
    assert torch.allclose(gradient, x - K.project(x), atol=1e-9)
    # One step of size 1 lands in K, and every point between has the same projection.
    assert K.distance(K.project(x)).max() < 1e-9
    half = 0.5 * (x + K.project(x))
    assert torch.allclose(K.project(half), K.project(x), atol=1e-9)


def test_gradient_fails_where_the_nearest_point_is_not_unique():
    """eq-ov-projection needs a unique nearest point: at the circle's centre there is none."""
    step = torch.tensor([[1e-6, 0.0], [-1e-6, 0.0]], dtype=torch.float64)
    here, there = CIRCLE.project(step)
    assert (here - there).norm() == pytest.approx(2)  # it jumps to the other side
    centre = torch.zeros(1, 2, dtype=torch.float64)
    assert CIRCLE.distance(centre).item() == 1
    # All are equally near; the denoiser answers with their mean, which is not in K at all.
    assert CIRCLE.denoiser(centre, 0.1).abs().max() == 0
    assert CIRCLE.distance(CIRCLE.project(centre)).item() == 0


@pytest.mark.parametrize("dim, n", [(1, 2), (1, 50), (4, 20)])
def test_share_of_noise_along_the_set(dim, n):
    """Checks eq-ov-tangent: d / n of the energy of noise is tangent."""
    K = Sphere(dim, n)
    x, eps = K.sample(4000, seeded()), torch.randn(4000, n, generator=seeded(1))
    along = K.tangent(x, eps)
    assert (along * K.project(x)).sum(1).abs().max() < 1e-4
    share = (along.square().sum(1) / eps.square().sum(1)).mean().item()
    assert share == pytest.approx(dim / n, rel=0.06)
    # To first order the tangent part moves along K and the rest is the distance.
    distance = K.distance(x + 1e-3 * eps) / 1e-3
    assert torch.allclose(distance, (eps - along).norm(dim=1), rtol=0.01, atol=0.02)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_denoiser_of_a_sphere(sigma):
    """Checks eq-ov-sphere against a sum over the circle, and against samples of a sphere."""
    x = randn(30, 2, seed=3)
    angle = torch.arange(20_000, dtype=torch.float64) * (2 * math.pi / 20_000)
    dense = Empirical(torch.stack([angle.cos(), angle.sin()], 1))
    # Float64 rounding of squared distances is all that remains.
    assert torch.allclose(CIRCLE.denoiser(x, sigma), dense.denoiser(x, sigma), atol=2e-6)
    K = Sphere(2, 4, radius=1.5)
    many = Empirical(K.sample(200_000, seeded(), dtype=torch.float64))
    y = corrupt(K.sample(8, seeded(1), dtype=torch.float64), sigma, generator=seeded(2))
    assert torch.allclose(K.denoiser(y, sigma), many.denoiser(y, sigma), atol=0.05)
    assert (K.denoiser(y, sigma)[:, 3] == 0).all()


def test_bessel_ratio():
    from scipy.special import ive

    kappa = torch.logspace(-4, 6, 50, dtype=torch.float64)
    for order in (1.0, 1.5, 8.0, 33.0):
        exact = ive(order, kappa.numpy()) / ive(order - 1, kappa.numpy())
        assert np.allclose(bessel_ratio(kappa, order).numpy(), exact, rtol=2e-6)
    assert bessel_ratio(torch.zeros(1), 1.0).item() == 0


def test_bad_spheres():
    for dim, ambient in ((0, 2), (2, 2), (3, 1)):
        with pytest.raises(ValueError, match="(dim|ambient).*: got"):
            Sphere(dim, ambient)
    with pytest.raises(ValueError, match="radius: got 0"):
        Sphere(1, radius=0)
    with pytest.raises(ValueError, match="sigma: got 0"):
        CIRCLE.denoiser(torch.ones(1, 2), 0.0)
    with pytest.raises(ValueError, match=r"x: got shape \(3,\)"):
        CIRCLE.project(torch.ones(3))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 20.0])
def test_denoiser_descends_a_smoothed_squared_distance(sigma):
    """Checks eq-ov-smoothed by differentiating it, and its limit."""

    def smoothed(x, s):
        squares = (x[:, None] - POINTS.data).square().sum(-1)
        return -(s**2) * (-squares / (2 * s**2)).logsumexp(1)

    x = randn(20, 6, seed=4).requires_grad_()
    (gradient,) = torch.autograd.grad(smoothed(x, sigma).sum(), x)
    x = x.detach()
    assert torch.allclose(gradient, sigma * epsilon(POINTS.denoiser, x, sigma), atol=1e-7)
    assert torch.allclose(smoothed(x, 1e-3), POINTS.distance(x) ** 2 / 2, atol=1e-5)


# --- DDIM as descent ---


@each_set
def test_ddim_is_a_gradient_step(K, n):
    """Checks eq-ov-step: DDIM is x - beta sigma eps_hat to 1e-6 relative, in float32 too."""
    sigmas = log_linear(12, 40.0, 0.01)
    for dtype in (torch.float32, torch.float64):
        x = 40 * randn(64, n, seed=5).to(dtype)
        states = samplers.trajectory(samplers.ddim, K.denoiser, x, sigmas)
        for x, after, sigma, below in zip(states, states[1:], sigmas, sigmas[1:]):
            beta = 1 - below / sigma
            step = x - beta * sigma * epsilon(K.denoiser, x, sigma)
            assert ((step - after).norm(dim=1) / x.norm(dim=1)).max() < 1e-6


@each_set
def test_with_the_exact_projection_distance_falls_as_sigma(K, n):
    """eq-ov-step with no error: the distance shrinks by sigma' / sigma at each step."""
    sigmas = log_linear(8, 10.0, 0.1, final_zero=False)
    x = 10 * randn(32, n, seed=6)
    states = samplers.trajectory(samplers.ddim, lambda x, _: K.project(x), x, sigmas)
    distances = torch.stack([K.distance(x) for x in states])
    ratios = (sigmas / sigmas[0]).double()[:, None]
    assert torch.allclose(distances / distances[0], ratios.expand_as(distances), rtol=1e-5)


class Wrong:
    """A denoiser whose relative error, eq-ov-error, is exactly ``eta`` everywhere."""

    def __init__(self, K, eta, seed=0, worst=None):
        self.K, self.eta, self.generator, self.worst = K, eta, seeded(seed), worst

    def __call__(self, x, sigma):
        nearest = self.K.project(x)
        if self.worst is not None:
            return nearest + self.worst * self.eta * (x - nearest)
        away = torch.randn(x.shape, generator=self.generator, dtype=x.dtype)
        away *= self.eta * self.K.distance(x)[:, None] / away.norm(dim=1, keepdim=True)
        return nearest + away


@each_set
@pytest.mark.parametrize("eta", [0.05, 0.3, 0.8])
def test_distance_lemma(K, n, eta):
    """Checks eq-ov-lemma, and eq-ov-ratio over a whole run."""
    sigmas = log_linear(6, 5.0, 0.5, final_zero=False)
    for seed in range(5):
        x = 5 * randn(100, n, seed=10 + seed)
        states = samplers.trajectory(samplers.ddim, Wrong(K, eta, seed), x, sigmas)
        d = torch.stack([K.distance(x) for x in states])
        beta = (1 - sigmas[1:] / sigmas[:-1]).double()[:, None]
        assert (d[1:] <= (1 - (1 - eta) * beta) * d[:-1] + 1e-9).all()
        assert (d[1:] >= (1 - (1 + eta) * beta) * d[:-1] - 1e-9).all()
        u = eta * beta / (1 - beta)
        ratio = (d / d[0]) / (sigmas / sigmas[0]).double()[:, None]
        assert (ratio[1:] <= (1 + u).cumprod(0) * (1 + 1e-5)).all()
        assert (ratio[1:] >= (1 - u).clamp_min(0).cumprod(0) * (1 - 1e-5)).all()


@each_set
def test_exact_denoisers_are_near_projections_at_both_ends(K, n):
    """Checks eq-ov-error on exact denoisers: its left side is small for little and much noise."""
    clean = POINTS.data if K is POINTS else K.sample(40, seeded(), dtype=torch.float64)
    eps = randn(len(clean), n, seed=12)
    eta = {}
    for sigma in (0.01, 1.0, 300.0):
        x = clean + sigma * eps
        nearest = K.project(x)
        away = (x - nearest).norm(dim=1)
        error = ((K.denoiser(x, sigma) - nearest).norm(dim=1) / away).median()
        eta[sigma] = error.item()
        if n > 2:  # the noise level says how far away x is
            assert 0.5 < (math.sqrt(n) * sigma / away).median() < 2
    assert eta[0.01] < 0.02 and eta[300.0] < 0.02 < eta[1.0]


def test_distance_lemma_is_tight():
    """eq-ov-lemma: errors along the way to the projection reach both of its ends."""
    x = 5 * randn(20, 10, seed=7)
    sigmas = torch.tensor([1.0, 0.6])
    for worst in (1, -1):
        after = samplers.ddim(Wrong(SPHERE, 0.3, worst=worst), x, sigmas)
        bound = 1 - (1 - worst * 0.3) * 0.4
        assert torch.allclose(SPHERE.distance(after), bound * SPHERE.distance(x), rtol=1e-6)


@pytest.mark.parametrize("eta, nu, steps", [(0.2, 1.6, 5), (0.05, 2.0, 50), (0.5, 1.2, 1)])
def test_constant_step(eta, nu, steps):
    """Checks eq-ov-constant: it is the largest that the bound admits; and eq-ov-limit."""

    def lowest(beta):
        return (1 - eta * beta / (1 - beta)) ** steps

    c = 1 - nu ** (-1 / steps)
    beta = c / (eta + c)
    assert lowest(beta) == pytest.approx(1 / nu)
    assert lowest(1.001 * beta) < 1 / nu < lowest(0.999 * beta)

    def fall(steps):
        c = 1 - nu ** (-1 / steps)
        return (1 - c / (eta + c)) ** steps

    limit = nu ** (-1 / eta)
    assert limit < fall(10 * steps) < fall(steps)
    assert fall(10**7) == pytest.approx(limit, rel=1e-4)


def test_admissible_schedule_keeps_distance_and_sigma_together():
    """eq-ov-admissible: with the worst error of size eta, the ratio ends at 1 / nu exactly."""
    eta, nu, steps = 0.2, 1.6, 6
    c = 1 - nu ** (-1 / steps)
    beta = c / (eta + c)
    sigmas = torch.tensor([(1 - beta) ** i for i in range(steps + 1)], dtype=torch.float64)
    x = SPHERE.sample(20, seeded(), dtype=torch.float64)
    normal = randn(20, 10, seed=8)
    normal[:, :4] = 0
    x = x + math.sqrt(10) * normal / normal.norm(dim=1, keepdim=True)  # dist = sqrt(n) sigma_N
    for worst in (1, -1, None):
        states = samplers.trajectory(samplers.ddim, Wrong(SPHERE, eta, worst=worst), x, sigmas)
        d = torch.stack([SPHERE.distance(x) for x in states])
        ratio = d / (math.sqrt(10) * sigmas[:, None])
        assert ratio.min() >= 1 / nu - 1e-6 and ratio.max() <= nu + 1e-6
        if worst == -1:
            assert torch.allclose(ratio[-1], torch.full((20,), 1 / nu).double(), rtol=1e-5)


# --- gradient estimation ---


def line_gamma(r, line):
    """eq-ov-gamma: exact for a direction that is straight in ``line``, on a log-linear schedule."""
    h = -math.log(r)
    return {
        "sigma": 1 + r / 2,
        "log sigma": 1 + (1 - (1 + h) * r) / (h * (1 - r)),
        "1 / sigma^2": 1 + 1 / (r * (1 + r)),
    }[line]


def test_gamma_one_is_ddim():
    law, x = data.mixture("spirals"), 20 * randn(64, 2)
    a = samplers.gradient_estimation(law.denoiser, x, log_linear(10, 20.0, 0.1), gamma=1)
    b = samplers.ddim(law.denoiser, x, log_linear(10, 20.0, 0.1))
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
    law, sigmas = GaussianMixture([[0.0, 0.0]], 1.0), torch.tensor([40.0, 20.0, 10.0]).double()
    x = sigmas[0] * randn(1, 2)
    states = [x * ((1 + s**2) / (1 + sigmas[0] ** 2)).sqrt() for s in sigmas]  # the exact flow
    far, middle, near = (epsilon(law.denoiser, x, s) for x, s in zip(states, sigmas))
    slope = (middle - far) / (sigmas[1] ** -2 - sigmas[0] ** -2)
    predicted = middle + slope * (sigmas[2] ** -2 - sigmas[1] ** -2)
    assert ((predicted - near).norm() / (near - middle).norm()).item() < 0.02


@pytest.fixture(scope="module")
def flow():
    """A law, states at sigma = 20, and where the flow takes them."""
    law, x = data.mixture("ring"), 20 * randn(256, 2, seed=9)
    end = samplers.heun(law.denoiser, x, log_linear(600, 20.0, 0.02, final_zero=False).double())
    return law, x, end


def test_orders_of_convergence(flow):
    """gamma = 3/2 is of second order; gamma = 2 of first, as DDIM, with the opposite error."""
    law, x, end = flow

    def error(gamma, steps):
        sigmas = log_linear(steps, 20.0, 0.02, final_zero=False)
        return samplers.gradient_estimation(law.denoiser, x, sigmas, gamma=gamma) - end

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
    law, x, _ = flow
    sigmas = log_linear(20, 20.0, 0.02, final_zero=False)
    ours = samplers.gradient_estimation(
        law.denoiser, x, sigmas, gamma=line_gamma(float(sigmas[1] / sigmas[0]), "log sigma")
    )
    deis = from_scheduler(DEISMultistepScheduler, solver_order=2)
    theirs = deis(law.denoiser, x, sigmas)
    assert (ours - theirs).abs().max() < 1e-4


def test_the_benchmark_runs():
    script = Path(__file__).parents[1] / "benchmarks" / "samplers.py"
    sizes = ["--points", "8", "--steps", "3", "--rounds", "2", "--budgets", "3"]
    done = subprocess.run([sys.executable, script, *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert any("ours: gradient estimation" in row for row in rows)
    # The same steps by other hands give the same error.
    cells = {row.split("|")[1].strip(): row.split("|")[4].strip() for row in rows}
    for peer in ("diffusers: DDIM", "smalldiffusion: DDIM"):
        assert cells.get(peer, cells["ours: DDIM"]) == cells["ours: DDIM"]
    assert cells["ours: gradient estimation"] == cells["ours: gradient estimation as a scheduler"]
