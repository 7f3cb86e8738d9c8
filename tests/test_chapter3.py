"""Chapter 3's remaining equations, and the identities that its argument rests on."""

import importlib.util
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

from companion import data, denoisers, metrics, networks, noise, samplers

RING = data.mixture("ring")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_part_of_the_noise_that_was_added_last():
    """eq-nc-composed, by regressing the last noise on what the denoiser sees."""
    t, s, n = 0.4, 0.7, 50_000
    x = RING.sample(n, seeded(), dtype=torch.float64)
    first, last = torch.randn(2, n, 2, generator=seeded(1), dtype=torch.float64)
    w, r = x + t * first + s * last, math.hypot(t, s)
    said = s / r * denoisers.epsilon(RING.denoiser, w, r)
    # A conditional mean leaves a residual that is orthogonal to every function of w.
    residual = last - said
    for function in (said, torch.tanh(w), w.sin()):
        assert (residual * function).mean(0).abs().max() < 5 * function.std() / n**0.5
    # And a sampled posterior agrees at one point.
    noised = RING.noisy(t)
    torch.testing.assert_close(s * said, w - noised.denoiser(w, s), atol=1e-9, rtol=1e-9)


def test_the_ratio_is_the_posterior_of_being_clean():
    """eq-nc-ratio through sigmoid is Bayes' rule for two equally frequent laws."""
    t = 0.3
    x = RING.sample(40, seeded()) + 0.2 * torch.randn(40, 2, generator=seeded(1))
    ratio = metrics.log_likelihood_ratio(
        RING.denoiser, x, t, points=600, generator=seeded(2), sigma_min=0.01, sigma_max=20.0
    )
    clean, noised = RING.log_prob(x.double()).exp(), RING.log_prob(x.double(), t).exp()
    exact = clean / (clean + noised)
    assert (torch.sigmoid(ratio.value) - exact).abs().mean() < 0.03
    # The same from two separate likelihoods of the two denoisers, with draws of their own.
    kw = {"points": 600, "sigma_min": 0.01, "sigma_max": 20.0}
    one = metrics.nll(RING.denoiser, x, generator=seeded(3), **kw)
    two = metrics.nll(denoisers.Noised(RING.denoiser, t), x, generator=seeded(4), **kw)
    gap = (two.value - one.value - ratio.value).abs()
    expected = (one.error**2 + two.error**2 + ratio.error**2).sqrt()
    assert (gap < 6 * expected).all()


@pytest.mark.parametrize("ratio", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_noise_in_the_ratio_raises_the_loss(ratio, sign):
    """eq-nc-jensen: to second order by half its variance times sigmoid (1 - sigmoid)."""
    std = 0.2
    noisy = ratio + std * torch.randn(2_000_000, generator=seeded(), dtype=torch.float64)
    share = torch.sigmoid(torch.tensor(ratio, dtype=torch.float64))
    found = softplus(sign * noisy).mean() - softplus(torch.tensor(sign * ratio))
    expected = 0.5 * share * (1 - share) * std**2
    assert found.item() == pytest.approx(expected.item(), rel=0.1)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("semilinear", [False, True])
def test_one_picard_iteration_is_the_printed_sum(stochastic, semilinear):
    """eq-nc-picard and eq-nc-semilinear, written out state by state."""
    sigmas = noise.log_linear(6, 10.0, 0.1, final_zero=False).double()
    x = 10 * torch.randn(5, 2, generator=seeded(), dtype=torch.float64)
    seen = []
    samplers.picard(
        RING.denoiser, x, sigmas, tolerance=0, max_iterations=2, stochastic=stochastic,
        semilinear=semilinear, generator=seeded(1), callback=lambda step: seen.append(step.x),
    )  # fmt: skip
    ratio = sigmas[1:] / sigmas[:-1]
    a = ratio**2 if stochastic else ratio
    g = seeded(1)
    added = [
        s * (1 - r**2).sqrt() * torch.randn(5, 2, generator=g, dtype=torch.float64)
        if stochastic
        else torch.zeros(5, 2, dtype=torch.float64)
        for s, r in zip(sigmas[1:], ratio)
    ]
    states = [x] * 7
    for found in seen:
        told = [RING.denoiser(states[j], sigmas[j]) for j in range(6)]
        new = [x]
        for k in range(1, 7):
            if semilinear:
                state = a[:k].prod() * x
                for j in range(k):
                    state = state + a[j + 1 : k].prod() * ((1 - a[j]) * told[j] + added[j])
            else:
                state = x
                for j in range(k):
                    state = state + (a[j] - 1) * (states[j] - told[j]) + added[j]
            new.append(state)
        # The first state of a window is kept as it was solved.
        torch.testing.assert_close(found[1:], torch.stack(new[1:]))
        states = list(found)


def test_the_largest_term_of_the_series():
    """eq-nc-series: its terms reach e^u / sqrt(2 pi u) before it converges to e^-u."""
    for u in (5.0, 10.0, 20.0):
        terms = torch.tensor([u**m / math.factorial(m) for m in range(120)], dtype=torch.float64)
        assert terms.max().item() == pytest.approx(
            math.exp(u) / math.sqrt(2 * math.pi * u), rel=0.06
        )
    signs = (-1.0) ** torch.arange(120, dtype=torch.float64)
    five = torch.tensor([5.0**m / math.factorial(m) for m in range(120)], dtype=torch.float64)
    assert (signs * five).sum().item() == pytest.approx(math.exp(-5.0), rel=1e-6)


SCRIPT = Path(__file__).parents[1] / "benchmarks" / "contrastive.py"


def test_the_benchmark_runs():
    sizes = ["--device", "cpu", "--rounds", "2", "--sizes", "2x4", "--steps", "4", "--train", "2"]
    done = subprocess.run([sys.executable, SCRIPT, *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert any("2 x       4" in row for row in rows) and any("semilinear" in row for row in rows)


def test_the_benchmarks_loop_has_the_loss_of_the_batched_call(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_contrastive", SCRIPT)
    assert spec and spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "LEVELS", noise.LogLogistic(1.0, 1.0, 3.0))
    net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 8), 1.0), 0)
    random.seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = RING.sample(600, seeded())
        one = benchmark.loop(net, x, 8)
        other = benchmark.batched(net, x.repeat(20, 1), 8)
    assert one == pytest.approx(other, rel=0.15)
