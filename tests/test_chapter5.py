"""Chapter 5's calculation of widths against samplers run on exact Gaussians; its interactions."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from companion import claims, noise, objectives, samplers
from companion.oracles import GaussianMixture

SIGMA_MAX, LOW = 40.0, 0.001


def log_width(sampler, denoiser, c, sigmas, **options):
    """A linear denoiser multiplies, so one point of the right width shows the width of all."""
    start = (c**2 + sigmas[0] ** 2).sqrt().reshape(1, 1)
    end = sampler(denoiser, start, sigmas, **options)
    return math.log(abs(float(end)) / c)


def exact(c):
    return GaussianMixture([[0.0]], c).denoiser


@pytest.mark.parametrize("c", [0.2, 1.0])
@pytest.mark.parametrize(
    "sampler, options, slope",
    [
        (samplers.ddim, {}, -1 / 4),
        (samplers.gradient_estimation, {"gamma": 2.0}, 1 / 4),
        (samplers.gradient_estimation, {"gamma": 1.0}, -1 / 4),
        (samplers.gradient_estimation, {"gamma": 1.5}, 0.0),
        (samplers.heun, {}, 0.0),
    ],
)
def test_log_width_of_a_sampler_falls_with_the_step(c, sampler, options, slope):
    """Checks eq-fn-steps for the deterministic samplers, as the step goes to 0."""
    slopes = []
    for steps in (400, 800):
        sigmas = noise.log_linear(steps, SIGMA_MAX, LOW).double()
        h = math.log(SIGMA_MAX / LOW) / (steps - 1)
        slopes.append(log_width(sampler, exact(c), c, sigmas, **options) / h)
    assert slopes[1] == pytest.approx(slope, abs=0.01)
    assert abs(slopes[1] - slope) < max(abs(slopes[0] - slope), 1e-3)


@pytest.mark.parametrize("c", [0.2, 1.0])
def test_log_width_of_ddpm(c):
    """Checks eq-fn-steps for DDPM by its variance, and that against samples."""

    def by_variance(sigmas):
        variance = c**2 + sigmas[0] ** 2
        for high, low in pairwise(sigmas):
            r = (low / high) ** 2
            keep = r + (1 - r) * c**2 / (c**2 + high**2)
            variance = keep**2 * variance + low**2 * (1 - r)
        return 0.5 * math.log(float(variance) / c**2)

    steps = 800
    h = math.log(SIGMA_MAX / LOW) / (steps - 1)
    assert by_variance(noise.log_linear(steps, SIGMA_MAX, LOW).double()) / h == pytest.approx(
        -1 / 2, abs=0.01
    )
    few = noise.log_linear(8, SIGMA_MAX, LOW).double()
    g = torch.Generator().manual_seed(0)
    start = (c**2 + few[0] ** 2).sqrt() * torch.randn(40_000, 1, generator=g).double()
    drawn = samplers.ddpm(exact(c), start, few, generator=g)
    assert math.log(float(drawn.std()) / c) == pytest.approx(by_variance(few), abs=0.015)


def perturbed_width(c, gamma):
    """eq-fn-perturbed, first line."""
    k2, ratio = 1 + gamma**2, (SIGMA_MAX / c) ** 2
    return 0.5 * math.log1p(ratio) - math.log1p(k2 * ratio) / (2 * k2)


@pytest.mark.parametrize("c", [0.2, 0.75])
@pytest.mark.parametrize("gamma", [0.05, 0.1, 0.4])
def test_input_perturbation_widens_the_flow(c, gamma):
    """Checks eq-fn-perturbed on the converged flow of the exact perturbed denoiser."""
    sigmas = noise.log_linear(2000, SIGMA_MAX, 1e-4).double()
    denoiser = objectives.relabelled(exact(c), gamma, "eps")
    measured = log_width(samplers.heun, denoiser, c, sigmas)
    assert measured == pytest.approx(perturbed_width(c, gamma), abs=2e-4)
    if gamma < 0.2:
        short = gamma**2 * (math.log(SIGMA_MAX / c) - 0.5)
        assert short == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("steps, left", [(20, 0.25), (50, 0.15), (200, 0.05)])
def test_balance_takes_the_width_of_ddim_to_zero(steps, left):
    """Checks eq-fn-balance: with this gamma most of DDIM's log width is gone."""
    c, low = 0.75, 0.02
    sigmas = noise.log_linear(steps, SIGMA_MAX, low).double()
    h = math.log(SIGMA_MAX / low) / (steps - 1)
    gamma = math.sqrt(h / 4 / (math.log(SIGMA_MAX / c) - 0.5))
    plain = log_width(samplers.ddim, exact(c), c, sigmas)
    balanced = log_width(samplers.ddim, objectives.relabelled(exact(c), gamma, "eps"), c, sigmas)
    assert abs(balanced) < left * abs(plain)


def test_interaction_is_zero_when_gains_add_and_says_when_they_do_not():
    """Checks eq-fn-interaction on tables with a known answer."""
    g = torch.Generator().manual_seed(0)
    run, first, second = torch.randn(3, 8, generator=g).double()
    noisy = 0.01 * torch.randn(4, 8, generator=g).double()
    adding = (run + first + second, run + first, run + second, run)
    exactly = claims.interaction(*adding)
    assert exactly.mean == pytest.approx(0, abs=1e-12)
    seen = [t + e for t, e in zip(adding, noisy)]
    assert not claims.interaction(*seen).excludes(0.0)
    cancelling = claims.interaction(seen[0] + 0.3, *seen[1:])
    assert cancelling.low > 0 and not cancelling.excludes(0.3)
    wide = claims.interaction(seen[0] + 0.3, *seen[1:], comparisons=50)
    assert wide.low < cancelling.low
    with pytest.raises(ValueError, match=r"'neither': 7.*equal numbers"):
        claims.interaction(run, run, run, run[:7])
