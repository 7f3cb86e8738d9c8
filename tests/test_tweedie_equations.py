"""Chapter 2's equations against the exact denoisers of mixtures."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import randn, seeded, three

from companion import noise
from companion.data import FrozenNoise
from companion.experiments.tweedie import ConsistencyVariant
from companion.objectives import (
    AmbientTweedie,
    Consistency,
    DenoisingScoreMatching,
    Sure,
    reverse_steps,
)
from companion.oracles import GaussianMixture

S_N = 0.4
CLEAN = three()
LINE = GaussianMixture([[-1.0], [1.0]], 0.2)
NOISY = CLEAN.noisy(S_N)


def naive(x, sigma):
    """What denoising score matching learns when y is taken for clean data."""
    return NOISY.denoiser(x, sigma)


def glued(x, sigma):
    """Exact down to the noise level of the data, naive below."""
    s = noise.expand(sigma, x)
    return torch.where(torch.as_tensor(s >= S_N), CLEAN.denoiser(x, sigma), naive(x, sigma))


def noisy_data(n, seed=0):
    return NOISY.sample(n, seeded(seed), dtype=torch.float64)


def test_what_is_seen_is_the_noisy_distribution():
    """Checks eq-tw-data: FrozenNoise, seen once, against the mixture convolved with the noise."""
    clean = CLEAN.sample(100_000, seeded(), dtype=torch.float64)
    frozen = FrozenNoise(clean, S_N, seed=3)
    assert torch.equal(frozen.noisy, FrozenNoise(clean, S_N, seed=3).noisy)
    assert torch.allclose(frozen.noisy.T.cov(), noisy_data(100_000).T.cov(), atol=0.02)
    assert (
        NOISY.log_prob(frozen.noisy).mean() > CLEAN.noisy(1.2 * S_N).log_prob(frozen.noisy).mean()
    )


# --- above the noise level of the data ---


@pytest.mark.parametrize("t", [0.01, 0.3, 2.0])
def test_double_tweedie(t):
    """Checks eq-tw-double and eq-tw-split: y is from a mixture too, so E[y | x] is known."""
    sigma = math.hypot(t, S_N)
    x = CLEAN.noisy(sigma).sample(200, seeded(), dtype=torch.float64)
    exact, clean = NOISY.denoiser(x, t), CLEAN.denoiser(x, sigma)
    share = (t / sigma) ** 2
    assert torch.allclose(exact, share * clean + (1 - share) * x, atol=1e-12)
    # The added noise is the same share of all noise that is seen: no score is needed to say so.
    assert torch.allclose(x - exact, share * (x - clean), atol=1e-12)
    # And solved for the clean estimate.
    assert torch.allclose(clean, (sigma**2 * exact - S_N**2 * x) / t**2, atol=1e-9 / t**2)
    # Both are Tweedie's formula for one and the same score.
    assert torch.allclose((clean - x) / sigma**2, (exact - x) / t**2, atol=1e-9 / t**2)


def test_the_split_needs_gaussian_noise():
    """eq-tw-split fails for noise of another distribution, whatever its variance."""
    n, t = 400_000, 0.3
    sigma = math.hypot(t, S_N)
    clean = 0.2 * randn(n, 1, seed=1)
    for kind, off in (("gaussian", False), ("laplace", True), ("uniform", True)):
        y = FrozenNoise(clean, S_N, seed=2, distribution=kind).noisy
        x = y + t * randn(n, 1, seed=3)
        defect = (y - x) - (t / sigma) ** 2 * (clean - x)  # of mean 0 given x, if the split holds
        z = x / x.std()
        hermite = z**3 - 3 * z  # third Hermite polynomial: blind to variances
        score = ((defect * hermite).mean() / (defect * hermite).std() * n**0.5).item()
        assert (abs(score) > 6) == off, kind


@pytest.mark.parametrize("weight", ["edm", "epsilon", "data"])
@pytest.mark.parametrize("t", [0.1, 0.4, 1.5])
def test_exact_denoiser_minimises_the_ambient_loss_and_the_naive_one_does_not(weight, t):
    """Checks eq-tw-ambient: any other denoiser pays w (t / sigma)^4 times its error."""
    objective = AmbientTweedie(S_N, noise.Discrete((t,)), weight, sigma_data=1.0)
    y, sigma = noisy_data(50_000), math.hypot(t, S_N)
    best = objective(CLEAN.denoiser, y, seeded(1))
    width = math.hypot(1.0, S_N)
    w = {"edm": (t**2 + width**2) / (t * width) ** 2, "epsilon": t**-2, "data": 1.0}[weight]
    x = CLEAN.noisy(sigma).sample(50_000, seeded(2), dtype=torch.float64)

    def wrong(x, s):
        return CLEAN.denoiser(x, s) + 0.2 * torch.sin(3 * x)

    for other in (naive, wrong):
        paid = objective(other, y, seeded(1)) - best
        price = (other(x, sigma) - CLEAN.denoiser(x, sigma)).square().mean(1)
        price = w * (t / sigma) ** 4 * price.mean().item()
        error = (paid.std() / len(y) ** 0.5).item()
        assert paid.mean().item() == pytest.approx(price, abs=5 * error + 0.02 * price)
        assert paid.mean().item() > 5 * error


@pytest.mark.parametrize("t", [0.05, 0.4, 2.0])
def test_variance_of_the_target(t):
    """Checks eq-tw-target: an unbiased target for D, whose noise explodes at the data's level."""
    n, sigma = 400_000, math.hypot(t, S_N)
    clean = LINE.sample(n, seeded(), dtype=torch.float64)
    z, e = randn(n, 1, seed=1), randn(n, 1, seed=2)
    y = clean + S_N * z
    x, target = y + t * e, y - S_N**2 / t * e
    assert (target - clean).std().item() == pytest.approx(S_N * sigma / t, rel=0.01)
    off = target - LINE.denoiser(x, sigma)
    for test in (torch.ones_like(x), x, x**3, torch.sin(5 * x)):
        product = off * test
        assert abs(product.mean()) < 5 * product.std() / n**0.5
    # The loss is the squared error against this target, times (t / sigma)^4.
    guess = torch.tanh(x)
    share = (t / sigma) ** 2
    predicted = share * guess + (1 - share) * x
    assert torch.allclose(predicted - y, share * (guess - target), atol=1e-9)


@pytest.mark.parametrize("t", [0.0001, 0.3, 2.0])
def test_sure_is_the_clean_loss(t):
    """Checks eq-tw-sure against the clean denoising error, which needs the clean data."""
    n, sigma = 100_000, math.hypot(t, S_N)
    clean = CLEAN.sample(n, seeded(), dtype=torch.float64)
    y = noise.corrupt(clean, S_N, generator=seeded(1))
    objective = Sure(S_N, noise.Discrete((t,)), "data", step=1e-3)
    for denoiser in (CLEAN.denoiser, naive):
        loss = objective(denoiser, y, seeded(2))
        x = noise.corrupt(clean, sigma, generator=seeded(3))
        real = (denoiser(x, sigma) - clean).square().mean(1)
        error = (loss.var() / n + real.var() / n).sqrt().item()
        assert loss.mean().item() == pytest.approx(real.mean().item(), abs=5 * error)


def test_at_the_level_of_the_data_the_ambient_loss_says_nothing():
    """eq-tw-ambient at t -> 0: every denoiser predicts y = x, and the weight of its error is 0."""
    y = noisy_data(1000)
    objective = AmbientTweedie(S_N, noise.Discrete((1e-6,)), "epsilon")
    losses = [objective(d, y, seeded(1)) for d in (CLEAN.denoiser, naive, lambda x, s: 0 * x + 7)]
    assert torch.allclose(losses[0], losses[1], atol=1e-3)
    assert torch.allclose(losses[0], losses[2], atol=1e-3)


def test_stopping_at_the_level_of_the_data():
    """Checks eq-tw-truncation: D(y, s_n) is no sample; its covariance lacks s_n^2 E[dD/dy]."""
    n = 100_000
    y = noisy_data(n)
    h, identity = 1e-4, torch.eye(2, dtype=torch.float64)
    slope = torch.stack(
        [
            (CLEAN.denoiser(y + h * e, S_N) - CLEAN.denoiser(y - h * e, S_N)).mean(0) / (2 * h)
            for e in identity
        ]
    )
    clean = CLEAN.sample(n, seeded(1), dtype=torch.float64)
    missing = clean.T.cov() - CLEAN.denoiser(y, S_N).T.cov()
    assert torch.allclose(missing, S_N**2 * slope, atol=0.015)
    assert torch.linalg.eigvalsh(missing).min() > 0.02
    # The slope is the posterior covariance over s_n^2 (Tweedie's formula of second order).
    weights, means, stds = CLEAN.posterior(y[:1000], S_N)
    centre = torch.einsum("bk,bkd->bd", weights, means)
    deviation = means - centre[:, None]
    within = torch.einsum("bk,bk->b", weights, stds**2)[:, None, None] * identity
    posterior = within + torch.einsum("bk,bki,bkj->bij", weights, deviation, deviation)
    jacobian = torch.stack(
        [
            (CLEAN.denoiser(y[:1000] + h * e, S_N) - CLEAN.denoiser(y[:1000] - h * e, S_N))
            / (2 * h)
            for e in identity
        ],
        2,
    )
    assert torch.allclose(jacobian, posterior / S_N**2, atol=1e-5)
    # One Gaussian: the variance v falls to v^2 / (v + s_n^2).
    v = 0.3
    one = GaussianMixture([[0.0]], math.sqrt(v))
    shrunk = one.denoiser(one.noisy(S_N).sample(n, seeded(2), dtype=torch.float64), S_N)
    assert shrunk.var().item() == pytest.approx(v**2 / (v + S_N**2), rel=0.01)


# --- below it ---


def residual(denoiser, s, ratio, draws=200, points=1000, states=CLEAN):
    """Squared consistency defect at level s, without bias, and the mean square of one draw's."""
    x = states.noisy(s).sample(points, seeded(1), dtype=torch.float64)
    level = torch.full((points,), s, dtype=torch.float64)
    upper = denoiser(x, level)
    halves, squares = [torch.zeros_like(x), torch.zeros_like(x)], 0.0
    for i in range(draws):
        z = randn(*x.shape, seed=10 + i // 2) * (-1) ** i
        lower = reverse_steps(denoiser, x, level, ratio * level, z=z, denoised=upper)
        defect = denoiser(lower, ratio * level) - upper
        halves[i // 2 % 2] += 2 * defect / draws
        squares += defect.square().mean().item() / draws
    return (halves[0] * halves[1]).mean().item(), squares


def test_exact_denoiser_is_a_martingale_of_the_true_reverse_process():
    """Checks eq-tw-consistency with the exact posterior of x_s', for a step of any length."""
    n, s, below = 200_000, 0.5, 0.1
    clean = CLEAN.sample(n, seeded(), dtype=torch.float64)
    lower = noise.corrupt(clean, below, generator=seeded(1))
    x = noise.corrupt(lower, math.sqrt(s**2 - below**2), generator=seeded(2))
    defect = CLEAN.denoiser(lower, below) - CLEAN.denoiser(x, s)
    for test in (torch.ones_like(x), x, x**2, torch.sin(4 * x)):
        product = defect * test
        assert (product.mean(0).abs() < 5 * product.std(0) / n**0.5).all()


def test_exact_denoiser_zeroes_the_consistency_loss_as_steps_get_small():
    """Checks eq-tw-step: the defect of the exact denoiser falls with the step."""
    defects = [residual(CLEAN.denoiser, 0.3, ratio)[0] for ratio in (0.01, 0.6, 0.9)]
    assert defects[1] > 10 * abs(defects[2]) and abs(defects[2]) < 5e-5
    # A step to zero noise is consistent as well, for any denoiser with D(x, 0) = x.
    assert defects[1] > 10 * abs(defects[0])
    # A denoiser that is right above s_n only is caught by a step across.
    assert residual(glued, S_N, 0.9)[0] > 30 * abs(residual(CLEAN.denoiser, S_N, 0.9)[0])


def test_the_naive_denoiser_is_consistent_too():
    """eq-tw-consistency holds for any exact denoiser: only s_n tells them apart."""
    assert abs(residual(naive, 0.3, 0.9, states=NOISY)[0]) < 1e-5
    off = (naive(noisy_data(1000), 0.2) - CLEAN.denoiser(noisy_data(1000), 0.2)).square().mean()
    assert off > 1e-3


def test_two_draws_are_unbiased_and_one_is_not():
    """Checks eq-tw-two-draws: one draw adds the variance of D(x_s', s') given x_s."""
    y, s, ratio = noisy_data(50_000), S_N, 0.8
    settings = {"sigmas": noise.Discrete((s,)), "ratio": ratio, "weight": "data"}
    defect, squared = residual(CLEAN.denoiser, s, ratio, points=2000)
    for antithetic in (False, True):
        found = {}
        for draws in (1, 2):
            objective = ConsistencyVariant(S_N, draws=draws, antithetic=antithetic, **settings)
            loss = objective(CLEAN.denoiser, y, seeded(1))
            found[draws] = loss.mean().item(), 5 * (loss.std() / len(y) ** 0.5).item()
        assert found[2][0] == pytest.approx(defect, abs=found[2][1] + 1e-6)
        assert found[1][0] > 4 * abs(found[2][0])
        if not antithetic:
            assert found[1][0] == pytest.approx(squared, rel=0.05)
            plain = found[1][0]
        else:  # the mean of z and -z leaves little of the variance
            assert found[1][0] < 0.3 * plain
    # In closed form for one Gaussian: a'^2 s'^2 (1 - r) for each dimension.
    v, r = 0.3, ratio**2
    one = GaussianMixture([[0.0] * 4], math.sqrt(v))
    samples = one.noisy(S_N).sample(100_000, seeded(3), dtype=torch.float64)
    bias = (v / (v + r * s**2)) ** 2 * r * s**2 * (1 - r)
    for draws, answer in ((1, bias), (2, 0.0)):
        objective = ConsistencyVariant(S_N, draws=draws, antithetic=False, **settings)
        loss = objective(one.denoiser, samples, seeded(4)).mean().item()
        assert loss == pytest.approx(answer, abs=0.02 * bias)


@pytest.mark.parametrize("s, ratio", [(0.4, 0.1), (0.4, 0.7), (3.0, 0.2)])
def test_consistency_of_a_gaussian(s, ratio):
    """Checks eq-tw-gaussian: exact for any step, and it carries an error at the top down."""
    v, r = 0.3, ratio**2

    def a(sigma, variance=v):
        return variance / (variance + sigma**2)

    for variance in (v, 0.1, 2.0):  # wrong at s, and then wrong in the same way below
        top = a(s, variance)
        assert top / (r + (1 - r) * top) == pytest.approx(a(ratio * s, variance))
    x = GaussianMixture([[0.0]], math.sqrt(v)).noisy(s).sample(1000, seeded(), dtype=torch.float64)
    level = torch.full((1000,), s, dtype=torch.float64)

    def linear(x, sigma):
        return noise.expand(a(sigma), x) * x

    step = reverse_steps(linear, x, level, ratio * level, z=torch.zeros_like(x))
    assert torch.allclose(linear(step, ratio * level), linear(x, level))


@pytest.mark.parametrize("gradient", ["lower", "upper", "both", "all"])
def test_which_gradients_lower_the_defect_of_a_shared_network(gradient):
    """Checks eq-tw-descent: a change of both levels by one parameter, for one Gaussian."""
    s, ratio, r = 0.4, 0.5, 0.25

    class Shared:
        """D = a(s) x with an error that is the same at both levels."""

        def __init__(self, v, shift):
            self.v = v
            self.shift = torch.tensor(shift, dtype=torch.float64, requires_grad=True)

        def a(self, sigma):
            return self.v / (self.v + sigma**2) + self.shift

        def __call__(self, x, sigma):
            return noise.expand(self.a(sigma), x) * x

    objective = ConsistencyVariant(
        s, sigmas=noise.Discrete((s,)), ratio=ratio, gradient=gradient, weight="data"
    )
    for v in (0.02, 1.0):
        model = Shared(v, 0.03)
        y = randn(50_000, 1)
        objective(model, y, seeded(1)).mean().backward()
        top, low = (model.a(torch.tensor(k)).item() for k in (s, ratio * s))
        true_slope = (1 - r) * (top + low - 1)
        defect = low * (r + (1 - r) * top) - top
        step = -model.shift.grad.item()
        m = r + (1 - r) * top
        written = {
            "lower": -defect * m,
            "upper": defect,
            "both": defect * (1 - m),
            "all": -defect * true_slope,
        }[gradient]
        scale = 2 * y.square().mean().item()
        tolerance = 0.02 * abs(defect) + 0.05 * abs(written)
        assert step == pytest.approx(scale * written, abs=scale * tolerance)
        descends = step * defect * true_slope < 0
        known = {
            "all": True,
            "lower": top + low > 1,
            "upper": top + low < 1,
            "both": top + low < 1,
        }
        assert descends == known[gradient], (gradient, v, top + low)


def test_the_sum_of_both_losses_has_the_exact_denoiser_at_its_minimum():
    """eq-tw-ambient with eq-tw-consistency: no small change of D does better at any level."""
    y = noisy_data(30_000)
    ambient = AmbientTweedie(S_N, noise.LogUniform(0.1, 2.0), sigma_data=1.0)
    consistency = Consistency(S_N, ratio=0.9, sigma_data=1.0)

    def total(denoiser):
        return (ambient(denoiser, y, seeded(1)) + consistency(denoiser, y, seeded(2))).mean().item()

    best = total(CLEAN.denoiser)
    for size in (-0.1, 0.1):
        for wave in (2, 6):

            def changed(x, s, size=size, wave=wave):
                bump = size * torch.sin(wave * x) * noise.expand(s, x) / (1 + noise.expand(s, x))
                return CLEAN.denoiser(x, s) + bump

            assert total(changed) > best
    assert total(naive) > best


def test_the_clean_loss_is_the_same_target_without_noise():
    """What the ceiling is trained with: at s_n = 0 eq-tw-ambient is eq-dsm."""
    clean = CLEAN.sample(1000, seeded(), dtype=torch.float64)
    levels = noise.LogUniform(0.1, 2.0)
    ceiling = DenoisingScoreMatching(levels, sigma_data=1.0)(CLEAN.denoiser, clean, seeded(1))
    ambient = AmbientTweedie(0.0, levels, sigma_data=1.0)(CLEAN.denoiser, clean, seeded(1))
    assert torch.allclose(ceiling, ambient)
