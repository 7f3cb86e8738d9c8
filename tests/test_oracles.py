"""Exact answers against numerical integration, and against each other."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from companion import denoisers, noise, oracles

MEANS, STDS, WEIGHTS = [[-1.5], [0.4], [2.0]], [0.3, 0.15, 0.6], [0.2, 0.5, 0.3]
LEVELS = [1e-4, 1e-2, 0.3, 1.0, 30.0, 1e4]


def mixture():
    return oracles.GaussianMixture(MEANS, STDS, WEIGHTS)


def prior(x):
    return sum(
        w * np.exp(-((x - m[0]) ** 2) / (2 * s * s)) / (s * np.sqrt(2 * np.pi))
        for m, s, w in zip(MEANS, STDS, WEIGHTS)
    )


def quadrature(x, sigma):
    """Density of x_sigma, posterior mean and variance at x, by integration over x_0."""
    peaks = [x, *(m[0] for m in MEANS)]
    low, high = min(peaks) - 12 * sigma - 8, max(peaks) + 12 * sigma + 8
    if sigma < 0.05:  # the likelihood is a spike: integrate there only
        low, high, peaks = x - 12 * sigma, x + 12 * sigma, [x]

    def moment(power):
        def integrand(x0):
            likelihood = np.exp(-((x - x0) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
            return x0**power * prior(x0) * likelihood

        points = [p for p in peaks if low < p < high]
        return integrate.quad(
            integrand, low, high, points=points, limit=400, epsabs=0, epsrel=1e-12
        )[0]

    p, first, second = moment(0), moment(1), moment(2)
    return p, first / p, second / p - (first / p) ** 2


@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 0.3, 1.0, 5.0])
def test_mixture_against_quadrature(sigma):
    """eq-mixture-denoiser, eq-denoiser, eq-score, eq-second-tweedie."""
    gm = mixture()
    for x in (-1.7, 0.1, 0.9, 2.5):
        p, mean, variance = quadrature(x, sigma)
        point = torch.tensor([[x]], dtype=torch.float64)
        assert gm.log_prob(point, sigma).item() == pytest.approx(np.log(p), rel=1e-8, abs=1e-8)
        assert gm.denoiser(point, sigma).item() == pytest.approx(mean, rel=1e-7)
        # Tweedie: the score of the noisy density is (D - x) / sigma^2.
        tweedie = denoisers.score(gm.denoiser, point, sigma).item()
        assert gm.score(point, sigma).item() == pytest.approx(tweedie, rel=1e-5)
        # Second order: posterior variance = sigma^2 dD/dx.
        jacobian = torch.func.jacrev(lambda q: gm.denoiser(q, sigma))(point).item()
        assert sigma**2 * jacobian == pytest.approx(variance, rel=1e-4)
        w, m, s = gm.posterior(point, sigma)
        total = (w * (s**2 + m[..., 0] ** 2)).sum() - (w * m[..., 0]).sum() ** 2
        assert total.item() == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", LEVELS)
def test_mixture_is_stable(sigma, dtype):
    """From 1e-4 to 1e4: finite, and float32 agrees with float64."""
    gm = oracles.GaussianMixture(torch.randn(6, 16, generator=seeded()), 0.1)
    x64 = noise.corrupt(
        gm.sample(64, seeded(1), dtype=torch.float64),
        sigma,
        generator=seeded(2),
    )
    x = x64.to(dtype)
    exact = gm.denoiser(x.double(), sigma), gm.score(x.double(), sigma)
    got = gm.denoiser(x, sigma), gm.score(x, sigma)
    for a, b in zip(got, exact):
        assert a.dtype == dtype and a.isfinite().all()
        scale = b.abs().max().item()
        assert (a.double() - b).abs().max().item() <= 2e-4 * scale
    assert gm.log_prob(x, sigma).isfinite().all()


def test_score_is_the_gradient_of_log_prob():
    gm = oracles.GaussianMixture([[0.0, 1.0], [1.0, -1.0]], [0.3, 0.5], [1.0, 3.0])
    x = torch.randn(20, 2, dtype=torch.float64, generator=seeded())
    for sigma in (0.0, 0.2, 3.0):
        gradient = torch.func.grad(lambda q: gm.log_prob(q, sigma).sum())(x)  # noqa: B023
        torch.testing.assert_close(gm.score(x, sigma), gradient)


def test_noisy_mixture_and_samples():
    gm = mixture()
    x = gm.sample(200_000, seeded(), dtype=torch.float64)
    mean = sum(w * m[0] for w, m in zip(WEIGHTS, MEANS))
    assert x.mean().item() == pytest.approx(mean, abs=0.01)
    y = noise.corrupt(x, 0.5, generator=seeded(1))
    points = torch.linspace(-3, 4, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(gm.noisy(0.5).log_prob(points), gm.log_prob(points, 0.5))
    # The denoiser is the best one: any shift of it has a larger mean squared error (eq-dsm).
    best = gm.denoiser(y, 0.5)
    error = (best - x).square().mean()
    for other in (best + 0.02, 1.02 * best, y):
        assert (other - x).square().mean() > error


def test_per_sample_sigma_equals_one_by_one():
    gm = oracles.GaussianMixture([[0.0, 1.0], [1.0, -1.0]], [0.3, 0.5])
    x = torch.randn(5, 2, generator=seeded())
    data = torch.randn(50, 2, generator=seeded(1))
    sigma = torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0])
    empirical = oracles.Empirical(data)
    for f in (
        gm.denoiser,
        gm.score,
        gm.log_prob,
        empirical.denoiser,
        empirical.score,
        empirical.log_prob,
    ):
        together = f(x, sigma)
        alone = torch.cat([f(x[i : i + 1], s) for i, s in enumerate(sigma.tolist())])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(f(x, torch.tensor(0.7)), f(x, 0.7))


@given(st.integers(1, 60), st.integers(1, 17), st.sampled_from([0.05, 0.5, 5.0]))
@settings(max_examples=25, deadline=None)
def test_empirical_streams_to_the_same_answer(n, block, sigma):
    """eq-empirical-denoiser: blocks of any size give the plain softmax over all data."""
    g = seeded(n)
    data = torch.randn(n, 1, 2, 3, generator=g, dtype=torch.float64)
    x = torch.randn(7, 1, 2, 3, generator=g, dtype=torch.float64)
    oracle = oracles.Empirical(data, block=block)
    squared = (x[:, None] - data[None]).flatten(2).square().sum(-1)
    weights = (-squared / (2 * sigma**2)).softmax(1)
    torch.testing.assert_close(
        oracle.denoiser(x, sigma), torch.einsum("bn,n...->b...", weights, data)
    )
    assert torch.equal(oracle.nearest(x), squared.argmin(1))
    torch.testing.assert_close(oracle.distance(x), squared.min(1).values.sqrt())
    assert torch.equal(oracle.project(x), data[squared.argmin(1)])
    as_mixture = -squared / (2 * sigma**2) - 6 * np.log(sigma * np.sqrt(2 * np.pi))
    torch.testing.assert_close(oracle.log_prob(x, sigma), as_mixture.logsumexp(1) - np.log(n))


@pytest.mark.parametrize("sigma", LEVELS)
def test_empirical_is_stable_in_float32(sigma):
    g = seeded()
    data = torch.rand(500, 1, 28, 28, generator=g) * 2 - 1
    x = noise.corrupt(data[:16], sigma, generator=g)
    oracle = oracles.Empirical(data)
    squared = (x.double()[:, None] - data.double()[None]).flatten(2).square().sum(-1)
    weights = (-squared / (2 * sigma**2)).softmax(1)
    exact = torch.einsum("bn,n...->b...", weights, data.double())
    torch.testing.assert_close(oracle.denoiser(x, sigma).double(), exact, rtol=0, atol=2e-6)
    assert oracle.log_prob(x, sigma).isfinite().all()
    if sigma <= 1e-2:
        torch.testing.assert_close(oracle.denoiser(x, sigma), oracle.project(x))


def test_empirical_needs_less_than_a_gigabyte():
    """60,000 x 784 against 256 queries."""
    code = """
import resource, torch
from companion.oracles import Empirical
data = torch.rand(60_000, 784)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Empirical(data).denoiser(torch.rand(256, 784), 1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(out.stdout) * unit < 1e9


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: oracles.GaussianMixture([1.0, 2.0], 1.0), r"means: got shape \(2,\)"),
        (lambda: oracles.GaussianMixture([[1.0]], 0.0), "stds: got 0.0"),
        (lambda: oracles.GaussianMixture([[1.0]], [1.0, 2.0]), r"stds: got shape \(2,\)"),
        (lambda: oracles.GaussianMixture([[1.0], [2.0]], 1.0, [1.0, -1.0]), "weights: got"),
        (lambda: mixture().denoiser(torch.zeros(3, 2), 1.0), r"x: got shape \(3, 2\).*\(B, 1\)"),
        (lambda: mixture().denoiser(torch.zeros(3, 1), torch.ones(2)), r"sigma: got shape \(2,\)"),
        (lambda: oracles.Empirical(torch.zeros(3)), r"data: got Tensor of shape \(3,\)"),
        (lambda: mixture().sample(0), "n: got 0"),
        (lambda: oracles.Empirical(torch.zeros(3, 2, dtype=torch.int64)), "int64"),
        (lambda: oracles.Empirical(torch.zeros(3, 2), block=0), "block: got 0"),
        (
            lambda: oracles.Empirical(torch.zeros(3, 2)).denoiser(torch.zeros(1, 2), 0.0),
            "sigma: got 0",
        ),
        (
            lambda: oracles.Empirical(torch.zeros(3, 2)).project(torch.zeros(1, 3)),
            r"x: got shape \(1, 3\)",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_oracles_follow_the_device():
    gm = mixture()
    x = gm.sample(32, seeded())
    torch.testing.assert_close(gm.denoiser(x.cuda(), 0.5).cpu(), gm.denoiser(x, 0.5))
    e = oracles.Empirical(x)
    torch.testing.assert_close(oracles.Empirical(x.cuda()).denoiser(x, 0.5), e.denoiser(x, 0.5))


def test_exact_answers_can_be_differentiated():
    """A sampler that is asked with ``grad=True`` sends its gradients through them."""
    data = torch.randn(6, 3, generator=seeded(0), dtype=torch.float64)
    x = torch.randn(4, 3, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    empirical, sphere = oracles.Empirical(data, block=4), oracles.Sphere(1, ambient=3)
    v = torch.randn(4, 3, generator=seeded(2), dtype=torch.float64)
    for function in (
        lambda x: empirical.denoiser(x, 0.8),
        lambda x: empirical.log_prob(x, 0.8),
        sphere.project,
        lambda x: sphere.tangent(x, v),
        lambda x: mixture().denoiser(x[:, :1], 0.5),
    ):
        assert torch.autograd.gradcheck(function, (x,))


def test_a_mixture_keeps_numbers_of_its_own():
    means = torch.tensor(MEANS, dtype=torch.float64)
    made = oracles.GaussianMixture(means, STDS, WEIGHTS)
    means.zero_()
    assert torch.equal(made.means, mixture().means)
