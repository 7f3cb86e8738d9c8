"""Chapter 7: the equations of the Föllmer drift against exact answers."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import randn, seeded, three

from companion import denoisers, samplers
from companion.experiments.foellmer import exact, parametrisations
from companion.experiments.foellmer.annealed import annealed
from companion.samplers.foellmer import log_normal

TIMES = (0.2, 0.5, 0.8)


def test_bridges_and_smoothed_paths_are_one_process():
    """Checks eq-fo-bridge and eq-fo-same: the covariances of X at two times, given its end."""
    for s, t in ((0.2, 0.5), (0.3, 0.9)):
        early, late = -math.log(s) / 2, -math.log(t) / 2  # times of the smoothing, backwards
        smoothed = math.exp(-early - late) * (math.exp(2 * late) - 1)
        assert math.sqrt(s * t) * smoothed == pytest.approx(s * (1 - t))
        assert math.sqrt(s) * math.exp(-early) == pytest.approx(s)  # and their means, s x_1
        assert math.sqrt(s * (1 - s)) / s == pytest.approx(math.sqrt((1 - s) / s))


def test_the_drift_satisfies_its_equation():
    """Checks eq-fo-sde: with it, the law of X_t solves the Fokker-Planck equation."""
    gm, t, h = exact.LINE, 0.6, 1e-4
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None].requires_grad_()

    def density(x, t):
        return (gm.log_prob(x / t, math.sqrt((1 - t) / t)) - math.log(t)).exp()

    flux = (
        denoisers.foellmer_drift(gm.denoiser, x, t)[:, 0] * density(x, t)
        - torch.autograd.grad(density(x, t).sum(), x, create_graph=True)[0][:, 0] / 2
    )
    (divergence,) = torch.autograd.grad(flux.sum(), x)
    change = (density(x, t + h) - density(x, t - h)) / (2 * h)
    torch.testing.assert_close(change.detach(), -divergence[:, 0], atol=1e-6, rtol=1e-5)


def test_energy_is_relative_entropy():
    """Checks eq-fo-entropy: to a percent, by quadrature over time and space."""
    gm = exact.LINE
    line = torch.linspace(-6, 6, 2000, dtype=torch.float64)[:, None]
    cell = line[1, 0] - line[0, 0]
    energy = 0.0
    for t, weight in zip(*(v.tolist() for v in exact.levels(200))):
        density = (gm.log_prob(line / t, math.sqrt((1 - t) / t)) - math.log(t)).exp()
        drift = denoisers.foellmer_drift(gm.denoiser, line, t)[:, 0]
        energy += weight * float((density * drift**2).sum() * cell) / 2
    log_p = gm.log_prob(line)
    entropy = float((log_p.exp() * (log_p - log_normal(line))).sum() * cell)
    assert energy == pytest.approx(entropy, rel=0.002)


def test_relative_entropy_of_a_gaussian():
    gaussian = exact.GaussianMixture([[0.5, 0.0]], 0.5)
    known = 0.5 * (2 * 0.25 + 0.25 - 2 - 2 * math.log(0.25))
    assert exact.relative_entropy(gaussian) == pytest.approx(known, rel=1e-6)


def test_the_bound_is_the_divergence_where_the_drift_is_of_a_distribution():
    """Checks eq-fo-girsanov-kl."""
    line = torch.linspace(-4, 4, 300, dtype=torch.float64)
    experiment = exact.Girsanov(steps=60)
    bound = experiment._bound(exact._drift(exact.OTHER.denoiser), line)
    log_p, log_q = exact.LINE.log_prob(line[:, None]), exact.OTHER.log_prob(line[:, None])
    known = float((log_p.exp() * (log_p - log_q)).sum() * (line[1] - line[0]))
    assert bound == pytest.approx(known, rel=0.005)
    divergence = experiment._divergence(exact._drift(exact.OTHER.denoiser), line)
    assert divergence == pytest.approx(known, rel=0.05)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
def test_right_networks_of_each_kind_are_the_exact_denoiser(sigma):
    """Checks eq-fo-raw and eq-fo-preconditioned: what each network has to give."""
    gm, x = three(), randn(6, 2)
    t = 1 / (1 + sigma**2)
    z = x * math.sqrt(t)
    right = denoisers.foellmer_drift(gm.denoiser, t * x, t)
    score = gm.score(x, sigma) / math.sqrt(t)
    asked = {"pinned drift": (t * x, right), "OU score": (z, score), "OU drift": (z, score + z)}
    for name, (state, answer) in asked.items():

        class Right(torch.nn.Module):
            def forward(self, given, level, state=state, answer=answer):
                torch.testing.assert_close(given, state)
                return answer

        made = parametrisations.RAW[name](Right())
        torch.testing.assert_close(made(x, sigma), gm.denoiser(x, sigma))
    f = (gm.denoiser(x, sigma) - t * x) / (sigma * math.sqrt(t))  # of Preconditioned, sigma_data 1
    torch.testing.assert_close(right, f / math.sqrt(1 - t))
    torch.testing.assert_close(score + z, f / sigma)


def test_annealing_finds_z_and_the_modes():
    """Checks eq-fo-annealed."""
    made = annealed(lambda x: three().log_prob(x) + 0.7, 4000, 20, seeded())
    assert made.log_z == pytest.approx(0.7, abs=0.1)
    assert made.evaluations == 84_000
    shares = three().posterior(made.x, 0.01).weights.mean(0)
    torch.testing.assert_close(shares, three().weights, atol=0.05, rtol=0)


@pytest.mark.parametrize("t", TIMES)
def test_the_level_of_a_time(t):
    sigma = math.sqrt((1 - t) / t)
    assert denoisers.foellmer_time(sigma) == pytest.approx(t)
    assert t in samplers.foellmer_times(3, sigma, sigma / 2).numpy().round(6)
