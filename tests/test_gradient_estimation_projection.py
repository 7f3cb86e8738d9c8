"""Chapter 4: projection and descent, its equations against exact projections."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import randn, seeded

from companion import samplers
from companion.denoisers import epsilon
from companion.experiments.gradient_estimation import along_paths, guaranteed_fall
from companion.experiments.gradient_estimation.descent import identity_error, violations
from companion.experiments.gradient_estimation.geometry import (
    local_tangents,
    relative_error,
    tangent_share,
)
from companion.noise import corrupt, log_linear
from companion.oracles import Empirical, Sphere, bessel_ratio

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


def test_tangents_of_points_on_a_plane():
    """eq-ov-tangent where directions are estimated from neighbours: those of a plane."""
    x = torch.zeros(300, 8)
    x[:, :2] = torch.randn(300, 2, generator=seeded())
    tangents = local_tangents(x, 20, 0.99)
    assert tangents.shape == (300, 2, 8)
    assert tangents[..., 2:].abs().max() < 1e-5
    share = tangent_share(tangents.repeat(20, 1, 1), seeded(1))
    assert share == pytest.approx(2 / 8, rel=0.05)


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
        with pytest.raises(ValueError, match=r"(dim|ambient).*: got"):
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
        assert identity_error(K.denoiser, x, sigmas) < 1e-6


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
        assert not violations(d, torch.full_like(d[1:], eta), sigmas).any()
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


def test_violations_of_the_lemma_are_seen():
    """eq-ov-lemma broken on purpose: too far, too near, and a distance that is not a number."""
    eta, sigmas = torch.full((1, 4), 0.1), torch.tensor([1.0, 0.5])
    away = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.5, 0.6, 0.4, math.nan]])
    assert violations(away, eta, sigmas).tolist() == [[False, True, True, True]]


def test_constants_along_paths():
    """eq-ov-error, measured on paths of a denoiser whose error is known."""
    sigmas = log_linear(6, 5.0, 0.5, final_zero=False)
    x = 5 * randn(50, 10, seed=6)
    wrong = Wrong(SPHERE, 0.3)
    wrong.project = SPHERE.project
    wrong.denoiser = wrong
    eta, ratio, late = along_paths(wrong, x, sigmas)
    assert torch.allclose(eta, torch.full_like(eta, 0.3), rtol=1e-6)
    states = samplers.trajectory(samplers.ddim, Wrong(SPHERE, 0.3), x, sigmas)
    expected = torch.stack([SPHERE.distance(s) for s in states[:-1]])
    expected /= math.sqrt(10) * sigmas[:-1, None]
    assert torch.allclose(ratio, expected, rtol=1e-5)
    assert late.shape == (5, 50)
    here = relative_error(wrong, x, 5.0)
    assert torch.allclose(here, torch.full_like(here, 0.3), rtol=1e-6)


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

    limit = 1 / guaranteed_fall(eta, nu)
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
