"""The Föllmer drift, what samples with it, and what it is trained for without data."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import randn, seeded, three, tiny_mlp

from companion import denoisers, noise, objectives, oracles, samplers, training
from companion.samplers.foellmer import check_times, log_normal

Z = 2.5
"""Normalising constant of the density below."""


def density(x: torch.Tensor) -> torch.Tensor:
    return three().log_prob(x) + math.log(Z)


def test_the_drift_is_the_gradient_of_the_heat_semigroup():
    """Checks eq-fo-drift and eq-fo-semigroup: in closed form, a mixture over N(0, I)."""
    gm, x = three(), randn(6, 2)
    for t in (0.1, 0.5, 0.9):
        points = x.clone().requires_grad_()
        # E[(p / N)(x + sqrt(1 - t) Z)] = p_sigma(x / t) / N(x; 0, t I) up to a factor.
        sigma = math.sqrt((1 - t) / t)
        log_h = gm.log_prob(points / t, sigma) + points.square().sum(1) / (2 * t)
        (slope,) = torch.autograd.grad(log_h.sum(), points)
        torch.testing.assert_close(denoisers.foellmer_drift(gm.denoiser, x, t), slope)


@pytest.mark.parametrize("gradient", [False, True])
def test_the_monte_carlo_drift_is_near_the_exact_one(gradient):
    """Checks eq-fo-semigroup."""
    x = 0.3 * randn(4, 2)
    exact = denoisers.foellmer_drift(three().denoiser, x, 0.4)
    drawn = samplers.monte_carlo_drift(
        density, x, 0.4, draws=40_000, gradient=gradient, generator=seeded()
    )
    assert (drawn - exact).norm() < 0.12 * exact.norm()


def test_a_denoiser_comes_back_from_its_drift():
    gm, x = three(), randn(5, 2)
    back = denoisers.from_foellmer_drift(lambda x, t: denoisers.foellmer_drift(gm.denoiser, x, t))
    sigma = torch.tensor([0.1, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64)
    torch.testing.assert_close(back(x, sigma), gm.denoiser(x, sigma))
    torch.testing.assert_close(back(x, 0.7), gm.denoiser(x, 0.7))
    assert denoisers.foellmer_time(2.0) == pytest.approx(0.2)


def test_a_new_preconditioned_network_has_no_drift():
    x = randn(3, 2, dtype=torch.float32)
    drift = denoisers.foellmer_drift(tiny_mlp(sigma_data=1.0), x, 0.3)
    torch.testing.assert_close(drift, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("t", [0.0, 1.0, -0.5, math.nan, torch.tensor([0.5, 1.5])])
def test_times_outside_are_named(t):
    with pytest.raises(ValueError, match="t: got"):
        denoisers.foellmer_drift(three().denoiser, randn(2, 2), t)


def test_samples_have_the_weights_of_the_modes():
    gm = three()
    times = samplers.foellmer_times(100)
    x = samplers.foellmer(gm.denoiser, torch.zeros(4000, 2), times, generator=seeded())
    share = gm.posterior(x, 0.05).weights.mean(0)
    torch.testing.assert_close(share, gm.weights.float(), atol=0.03, rtol=0)


def test_a_step_has_the_mean_of_ddpm_and_more_noise():
    """Checks eq-fo-euler: the same mean; the bridge's variance is less by (1 - t') / (1 - t)."""
    gm, x, t, later = three(), randn(1, 2), 0.3, 0.6
    levels = [math.sqrt((1 - s) / s) for s in (t, later)]
    mean, std = samplers.sequential.ddpm_step(x / t, gm.denoiser(x / t, levels[0]), *levels)
    drift = denoisers.foellmer_drift(gm.denoiser, x, t)
    torch.testing.assert_close(later * mean, x + (later - t) * drift)
    assert (later * std) ** 2 == pytest.approx((later - t) * (1 - later) / (1 - t))


@pytest.mark.parametrize("form", ["pinned", "variance_preserving"])
@pytest.mark.parametrize("steps", [4, 32])
def test_weights_estimate_z_for_any_drift_and_number_of_steps(form, steps):
    """Checks eq-fo-weights and eq-fo-girsanov: without bias, whatever the drift."""
    wrong = oracles.GaussianMixture([[0.3, 0.0]], 0.9)
    start = torch.zeros(100_000, 2, dtype=torch.float64)
    times = samplers.foellmer_times(steps, 4.0, 0.4)
    paths = samplers.controlled(wrong.denoiser, start, times, form=form, generator=seeded())
    assert paths.log_weights(density).exp().mean() == pytest.approx(Z, rel=0.05)


def test_weights_of_the_monte_carlo_drift_estimate_z_too():
    start = torch.zeros(20_000, 2, dtype=torch.float64)
    times = samplers.foellmer_times(8, 4.0, 0.4)
    paths = samplers.foellmer_from_density(density, start, times, draws=4, generator=seeded())
    assert paths.log_weights(density).exp().mean() == pytest.approx(Z, rel=0.1)


def gaussian(x: torch.Tensor) -> torch.Tensor:
    return log_normal(x) + 1.0


@pytest.mark.parametrize("loss", [objectives.ReverseKL, objectives.LogVariance])
@pytest.mark.parametrize("form", ["pinned", "variance_preserving"])
def test_losses_are_least_for_the_right_drift(loss, form):
    """Checks eq-fo-reverse-kl and eq-fo-log-variance: for N(0, I) no drift is optimal."""
    objective = loss(gaussian, samplers.foellmer_times(6), form)
    right = objective(tiny_mlp(), torch.zeros(500, 2), seeded()).detach()
    best = -1.0 if loss is objectives.ReverseKL else 0.0
    wrong = objective(tiny_mlp(output=0.5), torch.zeros(500, 2), seeded()).detach()
    assert right.mean() == pytest.approx(best, abs=0.2)
    assert wrong.mean() > right.mean() + 0.2


def test_the_least_reverse_kl_is_minus_log_z():
    times = samplers.foellmer_times(300)
    objective = objectives.ReverseKL(density, times)
    with torch.no_grad():
        loss = objective(three().denoiser, torch.zeros(2000, 2), seeded())
    assert loss.mean() == pytest.approx(-math.log(Z), abs=0.1)


def test_the_log_variance_keeps_runs_apart():
    objective = objectives.LogVariance(density, samplers.foellmer_times(4))
    two = [seeded(1), seeded(2)]
    both = objective(tiny_mlp(output=0.3), torch.zeros(20, 2), two)
    alone = objective(tiny_mlp(output=0.3), torch.zeros(10, 2), seeded(1))
    torch.testing.assert_close(both[:10], alone, rtol=1e-4, atol=1e-4)


def test_training_lowers_the_loss_of_a_stack():
    objective = objectives.ReverseKL(density, samplers.foellmer_times(6, 4.0, 0.3))
    nets = [tiny_mlp(0), tiny_mlp(1)]
    fit = training.fit(
        nets, objective, torch.zeros(8, 2), steps=30, batch_size=64, lr=1e-2, device="cpu"
    )
    assert (fit.losses[-5:].mean(0) < fit.losses[:5].mean(0)).all()


def test_times_and_densities_are_checked():
    assert check_times(samplers.foellmer_times(5)) == pytest.approx(
        [0.0, *(1 / (1 + noise.log_linear(4, 10.0, 0.02) ** 2)).tolist()], rel=1e-6
    )
    for bad in (torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.7, 0.6, 1.0]), torch.ones(1)):
        with pytest.raises(ValueError, match="times: got"):
            samplers.foellmer(three().denoiser, torch.zeros(2, 2), bad)
    with pytest.raises(ValueError, match="log_density: got"):
        samplers.monte_carlo_drift(lambda x: x, torch.zeros(2, 2), 0.5)
