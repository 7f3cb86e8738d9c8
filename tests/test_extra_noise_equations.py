"""Chapter 1's equations: what extra noise does, against closed forms and direct simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from conftest import randn, seeded

from companion import denoisers, noise, samplers
from companion.experiments import extra_noise as xn
from companion.objectives import DenoisingScoreMatching, InputPerturbation, relabelled
from companion.oracles import Empirical, GaussianMixture

MIXTURE = GaussianMixture([[-1.0, 0.3], [0.8, 0.0]], [0.3, 0.5])


# --- input perturbation ---


@pytest.mark.parametrize("gamma", [0.1, 0.7])
def test_the_target_eps_is_the_target_x0_scaled_with_noise_on_it(gamma):
    """Checks eq-xn-label-noise: what is left is normal and knows nothing of x and x_0."""
    n, sigma, k = 200_000, 0.8, math.sqrt(1 + gamma**2)
    x0 = MIXTURE.sample(n, seeded(), dtype=torch.float64)
    eps, xi = randn(n, 2, seed=1), randn(n, 2, seed=2)
    x = x0 + sigma * (eps + gamma * xi)  # eq-xn-perturbed
    asked = x - sigma * eps  # the estimate of x_0 that goes with a perfect answer eps
    rest = (asked - (x0 + gamma**2 * x) / k**2) / (sigma * gamma / k)
    assert rest.mean().abs() < 0.01 and rest.std().item() == pytest.approx(1, abs=0.01)
    for other in (x0, x, x0.square(), x * x0):
        assert torch.corrcoef(torch.stack([rest[:, 0], other[:, 0]]))[0, 1].abs() < 0.01


@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_input_perturbation_is_denoising_at_another_level(target):
    """eq-xn-label-noise: in expectation, up to a constant, its loss is that of plain denoising."""
    gamma, sigma = 0.5, 0.6
    k = math.sqrt(1 + gamma**2)
    x0 = MIXTURE.sample(400_000, seeded(), dtype=torch.float64)
    perturbed = InputPerturbation(gamma, target, noise.Discrete((sigma,)), "data")
    plain = DenoisingScoreMatching(noise.Discrete((k * sigma,)), "data")
    label_noise = (sigma * gamma / k) ** 2 if target == "eps" else 0.0
    scale = 1 / k**4 if target == "eps" else 1.0
    for d in (MIXTURE.denoiser, lambda x, s: 0.5 * x.sin()):  # any denoiser, good or bad
        wrapped = relabelled(d, gamma, target)
        left = perturbed(wrapped, x0, seeded(3)).mean()
        right = scale * plain(d, x0, seeded(4)).mean() + label_noise
        assert left.item() == pytest.approx(right.item(), rel=0.01)


def test_noise_on_the_input_of_a_linear_denoiser_is_ridge():
    """Checks eq-xn-ridge: the mean loss, and its minimiser, on a finite set of pairs."""
    n, d, tau = 60, 5, 0.4
    x0, x = randn(n, d, seed=1), randn(n, d, seed=2) + randn(n, d, seed=1)
    W = randn(d, d, seed=3)
    xi = randn(20_000, n, d, seed=4)
    noisy = (((x + tau * xi) @ W.T - x0).square().sum(-1)).mean()
    ridge = (x @ W.T - x0).square().sum(-1).mean() + tau**2 * W.square().sum()
    assert noisy.item() == pytest.approx(ridge.item(), rel=0.003)
    gram = x.T @ x / n + tau**2 * torch.eye(d, dtype=torch.float64)
    best = torch.linalg.solve(gram, x.T @ x0 / n).T
    best.requires_grad_()
    loss = (x @ best.T - x0).square().sum(-1).mean() + tau**2 * best.square().sum()
    (gradient,) = torch.autograd.grad(loss, best)
    assert gradient.abs().max() < 1e-12


# --- one small level ---


@pytest.mark.parametrize("dim", [1, 2, 64])
def test_how_far_from_the_data_one_level_reaches(dim):
    """Checks eq-xn-far: equality for one point, and a bound for many."""
    from scipy.stats import chi2

    sigma, n = 0.3, 100_000
    one = sigma * torch.randn(n, dim, generator=seeded())
    many = one + torch.randn(n, dim, generator=seeded(1)).sign()
    for q in (0.5, 0.9, 0.99):
        radius = sigma * math.sqrt(chi2.ppf(q, dim))
        tail = chi2.sf((radius / sigma) ** 2, dim)
        assert (one.norm(dim=1) > radius).double().mean() == pytest.approx(tail, abs=0.006)
        # The nearest point of a set is never farther than the point that x came from.
        nearest = many - many.sign()  # corners of a cube
        assert (nearest.norm(dim=1) > radius).double().mean() < tail + 0.006
    if dim == 2:  # as the chapter writes it
        assert chi2.sf((2.0 / sigma) ** 2, 2) == pytest.approx(math.exp(-((2.0 / sigma) ** 2) / 2))


# --- the mean of DDPM alone ---


def test_the_mean_alone_drifts_twice_as_fast_as_the_flow():
    """Checks eq-xn-mean: to first order in the step, twice eq-probability-flow."""
    x, sigma = randn(50, 2, seed=5), 0.7
    slope = denoisers.epsilon(MIXTURE.denoiser, x, sigma)
    for h, tolerance in ((1e-3, 5e-3), (1e-4, 5e-4)):
        levels = torch.tensor([sigma, sigma - h], dtype=torch.float64)
        mean = samplers.ddpm(MIXTURE.denoiser, x, levels, noise_scale=0.0)
        flow = samplers.ddim(MIXTURE.denoiser, x, levels)
        assert torch.allclose((x - mean) / h, 2 * slope, atol=tolerance * 10)
        assert torch.allclose((x - flow) / h, slope, atol=1e-7)


@pytest.mark.parametrize("schedule", [noise.karras, noise.log_linear, noise.cosine])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_mean_alone_collapses_by_the_same_factor_for_any_steps(schedule, steps):
    """Checks eq-xn-telescope: on a Gaussian, whatever the schedule."""
    c, top, end = 0.4, 20.0, 0.05
    mixture = GaussianMixture([[0.0, 0.0]], c)
    x = randn(20, 2, seed=6)
    sigmas = schedule(steps, top, end, final_zero=False).double()
    if steps == 1:
        sigmas = torch.tensor([top, end], dtype=torch.float64)
    out = samplers.ddpm(mixture.denoiser, x, sigmas, noise_scale=0.0)
    factor = (c**2 + sigmas[-1] ** 2) / (c**2 + sigmas[0] ** 2)
    assert torch.allclose(out, factor * x, rtol=1e-6)
    to_zero = samplers.ddpm(mixture.denoiser, x, torch.tensor([top, 1.0, 0.0]), noise_scale=0.0)
    assert torch.allclose(to_zero, c**2 / (c**2 + top**2) * x, rtol=1e-6)


def final_variance(c, sigmas, scale):
    """Variance at the end, step by step, for data N(0, c^2)."""
    v = c**2 + sigmas[0] ** 2
    for s, b in pairwise(sigmas):
        v = ((c**2 + b**2) / (c**2 + s**2)) ** 2 * v + scale**2 * b**2 * (1 - (b / s) ** 2)
    return v


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.3])
def test_width_of_the_samples_for_a_share_of_the_noise(scale):
    """Checks eq-xn-collapse: the limit of many steps, and the sampler itself."""
    c, top = 0.5, 10.0
    sigmas = noise.log_linear(20_000, top, 1e-3).double().tolist()
    limit = c**2 * (scale**2 + (1 - scale**2) * c**2 / (c**2 + top**2))
    assert final_variance(c, sigmas, scale) == pytest.approx(limit, rel=2e-3)
    mixture = GaussianMixture([[0.0]], c)
    levels = noise.log_linear(50, top, 0.01)
    x = math.sqrt(c**2 + top**2) * randn(40_000, 1, seed=7)
    out = samplers.ddpm(mixture.denoiser, x, levels, generator=seeded(8), noise_scale=scale)
    expected = final_variance(c, levels.double().tolist(), scale)
    assert out.var().item() == pytest.approx(expected, rel=0.03)


def test_a_push_dies_twice_as_fast_under_ddpm():
    """Checks eq-xn-push: with the same fresh noise, on a Gaussian."""
    c, at = 0.4, 2.0
    mixture = GaussianMixture([[0.0, 0.0]], c)
    levels = noise.log_linear(2000, at, 0.01, final_zero=False).double()
    x, push = randn(10, 2, seed=9), 0.5 * randn(10, 2, seed=10)
    for noise_scale in (1.0, 0.0):
        there, here = (
            samplers.ddpm(mixture.denoiser, y, levels, generator=seeded(1), noise_scale=noise_scale)
            for y in (x + push, x)
        )
        share = (c**2 + 0.01**2) / (c**2 + at**2)
        assert torch.allclose(there - here, share * push, rtol=1e-5)
    there, here = (samplers.ddim(mixture.denoiser, y, levels) for y in (x + push, x))
    assert torch.allclose(there - here, math.sqrt(share) * push, rtol=5e-3)


@pytest.mark.parametrize("sampler", [samplers.ddim, samplers.ddpm])
def test_short_chains_are_too_narrow_without_any_error(sampler):
    """With an exact denoiser; target x_0 narrows them further, and target eps widens them."""
    c, top = 0.5, 10.0
    mixture = GaussianMixture([[0.0]], c)
    x = math.sqrt(c**2 + top**2) * randn(20_000, 1, seed=11)

    def width(denoiser, steps):
        options = {"generator": seeded(2)} if sampler is samplers.ddpm else {}
        return sampler(denoiser, x, noise.cosine(steps, top, 0.02), **options).std().item() / c

    for steps in (10, 20, 50):
        plain = width(mixture.denoiser, steps)
        assert plain < width(mixture.denoiser, 4 * steps) < 1.01
        assert width(relabelled(mixture.denoiser, 0.3, "x_0"), steps) < plain
        assert width(relabelled(mixture.denoiser, 0.3, "eps"), steps) > plain


# --- what the chapter computes by formula ---


def test_the_denoiser_of_noisy_data_from_that_of_the_clean():
    """Checks eq-xn-convolved, as the perfect learner uses it: points, each with noise on it."""
    points, s, sigma = randn(6, 2, seed=12), 0.3, 0.7
    noisy = GaussianMixture(points, s)  # the distribution of the noisy data itself
    x = randn(20, 2, seed=13)
    learned = xn.learned_from_noisy(Empirical(points), s, x, sigma)
    torch.testing.assert_close(learned, noisy.denoiser(x, sigma), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("arm", [xn.NONE, xn.Arm("B x_0", 0.3), xn.Arm("B eps", 0.3)], ids=str)
@pytest.mark.parametrize("steps", [5, 40])
def test_the_formula_of_the_width_is_what_the_sampler_does(arm, steps):
    """For data N(0, c^2) and the exact denoiser, relabelled as B would."""
    c, top = 0.5, 10.0
    denoiser = GaussianMixture([[0.0]], c).denoiser
    if arm != xn.NONE:
        denoiser = arm.relabelled(denoiser)
    x = math.sqrt(c**2 + top**2) * randn(40_000, 1, seed=14)
    levels = noise.cosine(steps, top, 0.002)
    out = samplers.ddpm(denoiser, x, levels, generator=seeded(15))
    assert xn.gaussian_width(steps, arm, c) == pytest.approx(out.std().item() / c, rel=0.02)
