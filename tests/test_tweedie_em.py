"""EM for noisy data: the posterior, the recursion and the fixed point that are known exactly."""

import math

import pytest
import torch

from companion.experiments.tweedie.em import Gaussian, expectation_maximization, posterior
from companion.noise import log_linear
from companion.oracles import GaussianMixture
from companion.samplers import ddpm

NOISE = 0.8


class Linear:
    """The denoiser of N(0, v)."""

    def __init__(self, v):
        self.v = v

    def __call__(self, x, sigma):
        return self.v / (self.v + sigma**2) * x


def clean_variance(denoiser, clean, number):
    return Linear(float(clean.square().mean()))


def noisy(n=20_000, v=0.5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return math.sqrt(v + NOISE**2) * torch.randn(n, 2, generator=g)


def test_posterior_draws_have_the_mean_and_variance_of_the_posterior():
    v = 0.5
    y = torch.full((20_000, 1), 1.5)
    x = posterior(Linear(v), y, NOISE, steps=200, generator=torch.Generator().manual_seed(1))
    share = v / (v + NOISE**2)
    assert x.mean() == pytest.approx(share * 1.5, abs=0.01)
    assert x.var() == pytest.approx(share * NOISE**2, rel=0.03)
    mean = posterior(Linear(v), y[:3], NOISE, steps=1)
    torch.testing.assert_close(mean, share * y[:3])


def test_posterior_of_a_mixture_chooses_modes_as_often_as_it_should():
    mixture = GaussianMixture([[-1.0], [1.0]], 0.2)
    y = torch.full((20_000, 1), 0.3)
    x = posterior(mixture.denoiser, y, NOISE, steps=100, generator=torch.Generator().manual_seed(2))
    logits = [-((0.3 - m) ** 2) / (2 * (NOISE**2 + 0.04)) for m in (-1, 1)]
    right = torch.tensor(logits).softmax(0)[1]
    assert (x > 0).float().mean() == pytest.approx(float(right), abs=0.03)


@pytest.mark.parametrize("start", [0.2, 5.0])
def test_em_follows_its_recursion_to_the_variance_of_the_clean_data(start):
    """``v' = (v / (v + s^2))^2 E y^2 + v s^2 / (v + s^2)``, whose fixed point is var(y) - s^2."""
    y = noisy()
    square, found, expected = float(y.square().mean()), [], [start]

    def fit(denoiser, clean, number):
        found.append(clean_variance(denoiser, clean, number).v)
        return Linear(found[-1])

    g = torch.Generator().manual_seed(3)
    last = expectation_maximization(
        Linear(start), y, NOISE, fit, rounds=25, steps=60, batch=20_000, generator=g
    )
    for _ in found:
        v = expected[-1]
        share = v / (v + NOISE**2)
        expected.append(share**2 * square + share * NOISE**2)
    assert len(found) == 25 and last.v == found[-1]
    assert found[:3] == pytest.approx(expected[1:4], rel=0.03)
    assert last.v == pytest.approx(square - NOISE**2, rel=0.06)


def test_the_gaussian_start_is_the_exact_denoiser_of_gaussian_data():
    axes = torch.tensor([[2.0, 0.0], [1.0, 0.3]])
    g = torch.Generator().manual_seed(4)
    clean = torch.randn(200_000, 2, generator=g) @ axes + 3
    y = clean + NOISE * torch.randn(clean.shape, generator=g)
    covariance = (axes.T @ axes).double()
    x = torch.tensor([[4.0, 2.0], [1.0, 3.0]], dtype=torch.float64)
    gain = covariance @ torch.linalg.inv(covariance + 0.25 * torch.eye(2).double())
    expected = 3 + (x - 3) @ gain.T
    torch.testing.assert_close(Gaussian(y, NOISE)(x, 0.5), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(Gaussian(y, NOISE)(x, torch.tensor([0.5, 0.5])), expected, atol=0.02,
        rtol=0)  # fmt: skip
    flat = Gaussian(NOISE * torch.randn(50_000, 3, 1, generator=g), NOISE)
    assert flat.variances.max() < 0.02, "noise alone has no clean part"


def test_few_steps_keep_the_spread_of_the_draws():
    """Eight steps come within a tenth of the variance; ancestral ones, twice as many, do not."""
    for v in (0.1, 0.5, 2.0):
        y, g = noisy(v=v), torch.Generator().manual_seed(6)
        x = posterior(Linear(v), y, NOISE, steps=8, generator=g)
        assert x.var() == pytest.approx(v, rel=0.1)
        coarse = ddpm(Linear(v), y, log_linear(15, NOISE, NOISE / 20), generator=g)
        assert abs(coarse.var() - v) > abs(x.var() - v)


def test_each_round_draws_others_and_as_many_as_asked():
    y, seen = noisy(100), []

    def fit(denoiser, clean, number):
        seen.append((number, clean))
        return denoiser

    g = torch.Generator().manual_seed(5)
    expectation_maximization(Linear(1.0), y, NOISE, fit, rounds=2, drawn=30, batch=7, generator=g)
    assert [n for n, _ in seen] == [0, 1] and all(c.shape == (30, 2) for _, c in seen)
    assert not torch.equal(seen[0][1], seen[1][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds: got 0"),
        ({"drawn": 0}, "drawn: got 0"),
        ({"steps": 0}, "steps: got 0"),
        ({"batch": 1.5}, "batch: got 1.5"),
        ({"fit": 3}, "fit: got 3"),
        ({"sigma_data_noise": 0.0}, r"sigma_data_noise: got 0"),
        ({"noisy": [1.0]}, "noisy: got"),
    ],
)
def test_bad_arguments_are_named(change, message):
    given = {"noisy": noisy(10), "sigma_data_noise": NOISE, "fit": clean_variance, "rounds": 1}
    with pytest.raises((TypeError, ValueError), match=message):
        expectation_maximization(Linear(1.0), **{**given, **change})
    if "noisy" in change or "sigma_data_noise" in change:
        with pytest.raises((TypeError, ValueError), match=message):
            Gaussian(**{k: v for k, v in {**given, **change}.items() if k not in ("fit", "rounds")})
