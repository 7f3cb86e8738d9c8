import math

import numpy as np
import pytest
import torch
from conftest import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import data, metrics, oracles
from companion.oracles import GaussianMixture


def normal(n, dim, seed=0, mean=0.0, std=1.0):
    return mean + std * torch.randn(n, dim, generator=seeded(seed))


# --- Wasserstein ---


def test_wasserstein_of_a_shift_is_the_shift():
    x, shift = normal(200, 3), torch.tensor([1.0, -2.0, 2.0])
    assert metrics.wasserstein(x, x + shift) == pytest.approx(3.0, rel=1e-6)
    assert metrics.wasserstein(x, x + shift, p=1) == pytest.approx(3.0, rel=1e-6)
    # In slices: the mean over directions of (direction . shift)^2 is |shift|^2 / D.
    sliced = metrics.sliced_wasserstein(x, x + shift, projections=4000)
    assert sliced == pytest.approx(3 / math.sqrt(3), rel=0.03)


def test_wasserstein_between_gaussians_of_two_widths():
    # W2 between N(0, a^2 I) and N(0, b^2 I) is |a - b| sqrt(D); in one dimension |a - b|.
    a, b = normal(2000, 1, seed=1, std=1.0), normal(3000, 1, seed=2, std=2.0)
    assert metrics.wasserstein(a, b) == pytest.approx(1.0, abs=0.08)
    assert metrics.sliced_wasserstein(a, b) == pytest.approx(metrics.wasserstein(a, b), rel=1e-5)


def test_wasserstein_ignores_order_and_shape():
    x = normal(50, 12)
    y = x[torch.randperm(50, generator=seeded())].reshape(50, 3, 2, 2)
    assert metrics.wasserstein(x, y) == pytest.approx(0, abs=1e-7)
    assert metrics.sliced_wasserstein(x, y) == pytest.approx(0, abs=1e-7)


def test_sliced_wasserstein_depends_on_its_seed_only():
    a, b = normal(100, 5), normal(120, 5, seed=1)
    before = torch.random.get_rng_state()
    of_numpy = np.random.get_state()[1].copy()  # noqa: NPY002 (read, not used)
    assert metrics.sliced_wasserstein(a, b) == metrics.sliced_wasserstein(a, b)
    assert metrics.sliced_wasserstein(a, b, seed=1) != metrics.sliced_wasserstein(a, b)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (of_numpy == np.random.get_state()[1]).all()  # noqa: NPY002


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 12), st.integers(1, 4))
def test_distances_are_symmetric_and_scale(seed, n, m, dim):
    a, b = normal(n, dim, seed), normal(m, dim, seed + 1, mean=0.5)
    for distance in (metrics.wasserstein, metrics.sliced_wasserstein):
        there = distance(a, b)
        assert there >= 0
        assert distance(b, a) == pytest.approx(there, rel=1e-5, abs=1e-7)
        assert distance(3 * a, 3 * b) == pytest.approx(3 * there, rel=1e-5, abs=1e-7)
    assert metrics.sliced_wasserstein(a, b) <= metrics.wasserstein(a, b) * (1 + 1e-6) + 1e-9


# --- maximum mean discrepancy ---


def test_mmd_of_gaussians_in_closed_form():
    # E k(x, y), x ~ N(m, a^2 I), y ~ N(n, b^2 I): (h^2 / v)^(D/2) exp(-|m - n|^2 / (2 v)),
    # v = h^2 + a^2 + b^2
    def expected(gap, a, b, h, dim):
        v = h * h + a * a + b * b
        return (h * h / v) ** (dim / 2) * math.exp(-dim * gap**2 / (2 * v))

    a, b = normal(3000, 2, seed=1), normal(2500, 2, seed=2, mean=0.7, std=0.5)
    h = 0.8
    exact = expected(0, 1, 1, h, 2) + expected(0, 0.5, 0.5, h, 2) - 2 * expected(0.7, 1, 0.5, h, 2)
    assert metrics.mmd(a, b, bandwidths=[h]) == pytest.approx(exact, abs=0.006)


def test_mmd_is_unbiased():
    values = [metrics.mmd(normal(20, 2, 2 * i), normal(30, 2, 2 * i + 1)) for i in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(200)
    assert min(values) < 0


def test_mmd_of_equal_points():
    assert metrics.mmd(torch.ones(3, 2), torch.ones(4, 2)) == pytest.approx(0)


# --- Frechet ---


def test_frechet_distance_in_closed_form():
    a, b = normal(400, 3, seed=1), normal(500, 3, seed=2, mean=0.5, std=2.0)
    b[:, 0] += b[:, 1]
    mean_a, mean_b = a.double().mean(0), b.double().mean(0)
    c_a, c_b = torch.cov(a.double().T), torch.cov(b.double().T)
    # tr (C_a C_b)^(1/2) by way of the symmetric square root of C_a
    values, vectors = torch.linalg.eigh(c_a)
    root = vectors @ values.sqrt().diag() @ vectors.T
    middle = torch.linalg.eigvalsh(root @ c_b @ root).sqrt().sum()
    exact = (mean_a - mean_b).square().sum() + c_a.trace() + c_b.trace() - 2 * middle
    assert metrics.frechet_distance(a, b) == pytest.approx(exact.item(), rel=1e-8)


def test_frechet_distance_with_fewer_samples_than_features_and_far_from_zero():
    x = normal(20, 50)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    shifted = x.double() + 0.1
    far = metrics.frechet_distance(x.double() + 1000, shifted + 1000)
    assert far == pytest.approx(50 * 0.01, rel=1e-4)


# --- precision, recall, density, coverage, copies ---


def test_precision_and_recall_tell_the_two_failures_apart():
    left, right = normal(300, 2, 1), normal(300, 2, 2, mean=20.0)
    both = torch.cat([left, right])
    dropped = metrics.precision_recall(both, normal(600, 2, 3))  # half of the data is missing
    assert dropped.precision > 0.9 and 0.3 < dropped.recall < 0.55
    extra = metrics.precision_recall(normal(600, 2, 3), both)  # half of the samples is strange
    assert 0.3 < extra.precision < 0.55 and extra.recall > 0.9
    assert metrics.precision_recall(both, both) == (1.0, 1.0)


def test_density_and_coverage():
    real, same = normal(1000, 2, 1), normal(1000, 2, 2)
    agree = metrics.density_coverage(real, same)
    assert agree.density == pytest.approx(1, abs=0.1)
    # Naeem et al. 2020, eq. 9: coverage is about 1 - 2^-k for many samples
    assert agree.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    half = metrics.density_coverage(torch.cat([real, real + 50]), torch.cat([same, same]))
    assert half.coverage == pytest.approx(0.5, abs=0.02)
    assert metrics.density_coverage(real, same + 50) == (0.0, 0.0)


def test_density_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0]])  # radii at k = 1: 1, 1, 2
    fake = torch.tensor([[0.5], [2.5], [10.0]])
    found = metrics.density_coverage(real, fake, k=1)
    assert found.density == pytest.approx((2 + 1 + 0) / 3)
    assert found.coverage == 1.0


def test_copies():
    train = torch.tensor([[0.0, 0.0], [4.0, 0.0], [100.0, 0.0]])
    samples = torch.tensor([[0.9, 0.0], [1.1, 0.0], [2.0, 0.0], [99.0, 0.0]])
    assert metrics.copies(samples, train) == 0.5  # the first and the last
    x = normal(100, 16)
    assert metrics.copies(x + 1e-3, x) == 1.0
    assert metrics.copies(normal(100, 16, 1), x) == 0.0


# --- modes ---


def test_modes_covered():
    ring = data.mixture("ring")
    good = metrics.modes_covered(ring.sample(8000, seeded()), ring)
    assert good.covered == 1 and good.balance > 0.97 and good.outside < 1e-3
    three = metrics.modes_covered(ring.means[:3].repeat_interleave(100, 0).float(), ring)
    assert three == (3 / 8, pytest.approx(3 / 8), 0.0)
    nowhere = metrics.modes_covered(torch.zeros(10, 2), ring)
    assert nowhere == (0.0, 0.0, 1.0)


def test_modes_follow_the_weights():
    law = GaussianMixture([[-5.0], [5.0]], 1.0, weights=[0.9, 0.1])
    found = metrics.modes_covered(law.sample(4000, seeded()), law)
    assert found.covered == 1 and found.balance > 0.97
    assert metrics.modes_covered(torch.tensor([[-5.0]] * 1000 + [[5.0]] * 5), law).covered == 0.5


# --- noise floor ---


def test_noise_floor():
    x = normal(400, 2)
    floor = metrics.noise_floor(metrics.sliced_wasserstein, x, repeats=10, seed=3)
    assert len(floor.values) == 10 and floor.low <= floor.mean <= floor.high
    assert floor == metrics.noise_floor(metrics.sliced_wasserstein, x, repeats=10, seed=3)
    halves = []
    metrics.noise_floor(lambda a, b: halves.append((a, b)) or 0.0, torch.arange(9.0)[:, None])
    for a, b in halves:
        assert len(a) == len(b) == 4 and not set(a.flatten().tolist()) & set(b.flatten().tolist())


# --- likelihood ---


@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (0.5, 0.3), (-2.0, 3.0)])
def test_nll_of_a_gaussian(mean, std):
    """eq-i-mmse."""
    law = GaussianMixture([[mean] * 5], std)
    x = law.sample(64, seeded())
    for options in ({}, {"sigma_data": 0.5}, {"mean_data": mean, "sigma_data": std}):
        found = metrics.nll(law.denoiser, x, points=256, generator=seeded(1), **options)
        off = found.value + law.log_prob(x.double())
        assert off.abs().mean() < 0.6 and off.mean().abs() < 4 * off.std() / 8 + 1e-5
    assert off.abs().max() < 1e-3  # with its own mean and width nothing is left to integrate


@pytest.mark.parametrize("name", ["ring", "two_modes", "spirals"])
def test_nll_of_a_mixture(name):
    """eq-i-mmse."""
    law = data.mixture(name)
    x = law.sample(256, seeded())
    found = metrics.nll(law.denoiser, x, points=256, generator=seeded(1))
    off = found.value + law.log_prob(x.double())
    assert off.mean().abs() < 4 * off.std() / 16  # unbiased
    assert off.std() < 0.4
    assert 0.7 < (off / found.error).square().mean().sqrt() < 1.4  # and it knows how exact it is


def test_nll_of_images_in_chunks_and_on_shapes():
    law = GaussianMixture(torch.linspace(-1, 1, 12).reshape(1, 12), 0.4)

    def denoiser(x, sigma):
        assert len(x) <= 64 and sigma.shape == (len(x),)
        return law.denoiser(x.flatten(1), sigma).reshape(x.shape)

    x = law.sample(100, seeded()).reshape(100, 3, 2, 2)
    found = metrics.nll(denoiser, x, points=64, generator=seeded(1), batch=64)
    exact = -law.log_prob(x.flatten(1).double())
    assert found.value.shape == found.error.shape == (100,)
    assert (found.value - exact).mean().abs() < 0.3


def test_bits_of_a_uniform_grid_are_those_of_its_size():
    """256 levels of equal weight take 8 bits each, whatever their units."""
    for low, high in ((-1.0, 1.0), (0.0, 1.0)):
        step = (high - low) / 255
        exact = metrics.LogLikelihood(torch.full((3,), 5 * math.log(256 * step)), torch.ones(3))
        bits = metrics.bits_per_dimension(exact, 5, step)
        assert bits.value.tolist() == pytest.approx([8.0] * 3)
        assert bits.error.tolist() == pytest.approx([1 / (5 * math.log(2))] * 3)
    density = metrics.bits_per_dimension(exact, 5, None)
    assert density.value[0].item() == pytest.approx(math.log2(256 / 255))


def test_bits_of_a_quantised_gaussian_bound_its_entropy():
    """Two pixels, each a Gaussian rounded to a grid: at least the entropy, and near to it."""
    law, step, width = GaussianMixture([[0.0, 0.0]], 0.5), 0.25, 0.5
    edges = (torch.arange(-40, 42).double() - 0.5) * step
    p = (torch.erf(edges / width / 2**0.5) / 2).diff()
    p = p[p > 0]
    entropy = -(p * p.log2()).sum().item()
    x = (law.sample(4000, seeded(), dtype=torch.float64) / step).round() * step
    noisy = metrics.dequantised(x, step, generator=seeded(1))
    assert ((noisy - x).abs() <= step / 2).all() and torch.equal((noisy / step).round() * step, x)
    found = metrics.nll(law.denoiser, noisy, points=32, generator=seeded(2), sigma_data=0.5)
    bits = metrics.bits_per_dimension(found, 2, step).value
    assert entropy - 0.01 < bits.mean().item() < entropy + 0.06


def test_nothing_is_of_float64_where_the_device_has_none(monkeypatch):
    """As on Metal: the same answers without a tensor in double precision."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Single(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.ndim and len(made) >= 40:
                assert made.dtype != torch.float64, function
            return made

    law, sphere = GaussianMixture([[0.5, -0.5]], 0.7), oracles.Sphere(2)
    x, normal = (
        law.sample(50, seeded()),
        {"sigma_data": 0.7, "mean_data": torch.tensor([0.5, -0.5])},
    )
    asked = {  # of a Gaussian with its own reference nothing depends on the draws
        "nll": lambda: metrics.nll(law.denoiser, x, points=4, **normal).value,
        "ratio": lambda: (
            metrics.log_likelihood_ratio(law.denoiser, x, 0.3, points=4, **normal).value
        ),
        "empirical": lambda: oracles.Empirical(x).denoiser(x + 0.1, 0.3),
        "sphere": lambda: sphere.denoiser(torch.randn(50, 3, generator=seeded(2)), 0.5),
    }
    double = {name: ask() for name, ask in asked.items()}
    monkeypatch.setattr("companion.devices.wide", lambda device: torch.float32)
    with Single():
        single = {name: ask() for name, ask in asked.items()}
        assert law.sample(50, seeded()).isfinite().all()
    for name, value in double.items():
        assert torch.allclose(single[name].double(), value.double(), atol=1e-3), name


def test_nll_draws_from_its_generator_only():
    law, before = data.mixture("ring"), torch.random.get_rng_state()
    x = law.sample(4, seeded())
    a = metrics.nll(law.denoiser, x, points=4, generator=seeded(1))
    b = metrics.nll(law.denoiser, x, points=4, generator=seeded(1))
    assert torch.equal(a.value, b.value) and torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name, t", [("ring", 0.3), ("two_modes", 1.0), ("spirals", 0.15)])
def test_log_likelihood_ratio_of_a_mixture(name, t):
    """eq-nc-ratio: its value, its error, and the classifier that it makes."""
    law, n = data.mixture(name), 150
    x = law.sample(2 * n, seeded())
    x[n:] += t * torch.randn(n, law.dim, generator=seeded(1))
    found = metrics.log_likelihood_ratio(law.denoiser, x, t, points=256, generator=seeded(2))
    exact = law.log_prob(x.double()) - law.log_prob(x.double(), t)
    off = found.value - exact
    assert found.value.shape == found.error.shape == (2 * n,)
    assert off.mean().abs() < 4 * off.std() / (2 * n) ** 0.5  # unbiased
    assert off.abs().median() < 0.3
    assert 0.7 < (off / found.error).square().mean().sqrt() < 1.5  # and knows how exact it is
    shares, best = torch.sigmoid(found.value), torch.sigmoid(exact)
    assert (shares - best).abs().mean() < 0.05
    # Calibration: what is called clean with a share of p is clean in a share of p.
    clean = torch.arange(2 * n) < n
    sure = shares > 0.7
    assert (clean[sure].double().mean() - shares[sure].mean()).abs() < 0.15


def test_log_likelihood_ratio_of_images_in_chunks_and_with_levels_of_their_own():
    law = GaussianMixture(torch.linspace(-1, 1, 12).reshape(1, 12), 0.4)

    def denoiser(x, sigma):
        assert len(x) <= 64 and sigma.shape == (len(x),)
        return law.denoiser(x.flatten(1), sigma).reshape(x.shape)

    x, t = law.sample(40, seeded()).reshape(40, 3, 2, 2), torch.linspace(0.1, 1.0, 40)
    found = metrics.log_likelihood_ratio(
        denoiser, x, t, points=64, generator=seeded(1), batch=64, mean_data=0.1, sigma_data=0.8
    )
    flat = x.flatten(1).double()
    exact = law.log_prob(flat) - law.log_prob(flat, t.double())
    off = found.value - exact
    assert off.mean().abs() < 4 * off.std() / 40**0.5 + 1e-3 and off.std() < 2
    ratio = metrics.log_likelihood_ratio(denoiser, x, 0.3, points=4, generator=seeded(1), batch=64)
    again = metrics.log_likelihood_ratio(denoiser, x, 0.3, points=4, generator=seeded(1), batch=64)
    assert torch.equal(ratio.value, again.value)


# --- the classifier ---


@pytest.fixture(scope="module")
def classifier():
    images, labels = data.images("digits")
    return metrics.FeatureClassifier.train(
        images, labels, seed=0, held_out=data.images("digits", "test"), data="digits"
    )


def test_classifier_knows_digits(classifier):
    images, labels = data.images("digits", "test")
    assert classifier.accuracy(images, labels) == classifier.held_out_accuracy > 0.97
    features = classifier.features(images)
    assert features.shape == (364, 64) and not features.requires_grad
    text = classifier.describe()
    assert "digits" in text and "seed 0" in text and "held-out accuracy 9" in text


def test_features_see_what_is_wrong_with_images(classifier):
    train, _ = data.images("digits")
    test, _ = data.images("digits", "test")
    features = classifier.features(train)
    near = metrics.frechet_distance(features, classifier.features(test))
    noise = 0.5 * torch.randn(test.shape, generator=seeded())
    far = metrics.frechet_distance(features, classifier.features(test + noise))
    assert far > 3 * near


def test_classifier_follows_its_seed_and_leaves_the_global_state():
    images, labels = data.images("digits")
    before = torch.random.get_rng_state()

    def make(seed):
        return metrics.FeatureClassifier.train(images[:200], labels[:200], seed=seed, steps=5)

    one, same, other = make(1), make(1), make(2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.features(images[:9]), same.features(images[:9]))
    assert not torch.allclose(one.features(images[:9]), other.features(images[:9]))
    assert "unnamed images" in one.describe() and 0 <= one.held_out_accuracy <= 1


@pytest.mark.parametrize("shape", [(30, 1, 28, 28), (30, 3, 32, 32)])
def test_classifier_takes_other_sizes(shape):
    images = torch.rand(shape, generator=seeded()) * 2 - 1
    labels = torch.arange(30) % 3
    made = metrics.FeatureClassifier.train(images, labels, steps=2)
    assert made.features(images).shape == (30, 64) and made.predict(images).max() < 3
    with pytest.raises(ValueError, match=r"images: got \(2, 1, 8, 8\); allowed is \(N, \*"):
        made.features(torch.zeros(2, 1, 8, 8))


# --- bad input ---


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: metrics.sliced_wasserstein(x, x[:, :1]), "b: got shape .* with a of shape"),
        (lambda x: metrics.sliced_wasserstein(x[0], x), r"a: got shape \(2,\)"),
        (lambda x: metrics.sliced_wasserstein(x, x.numpy()), "b: got ndarray"),
        (lambda x: metrics.sliced_wasserstein(x, x, projections=0), "projections: got 0"),
        (lambda x: metrics.sliced_wasserstein(x, x, p=0.5), "p: got 0.5"),
        (
            lambda x: metrics.wasserstein(x / 0, x),
            r"a: got inf at position \(0, 0\)",
        ),
        (lambda x: metrics.wasserstein(x.repeat(600, 1), x.repeat(600, 1)), "25 million pairs"),
        (lambda x: metrics.mmd(x[:1], x), "a: got shape .* N at least 2"),
        (lambda x: metrics.mmd(x, x, bandwidths=[0.0]), "bandwidths: got 0.0"),
        (lambda x: metrics.frechet_distance(x, x[:1]), "features_b: got shape"),
        (lambda x: metrics.precision_recall(x, x, k=10), "features_real: got shape"),
        (lambda x: metrics.precision_recall(x, x, k=0), "k: got 0"),
        (lambda x: metrics.density_coverage(x[:5], x), "N at least 6"),
        (lambda x: metrics.copies(x, x[:1]), "train: got shape"),
        (lambda x: metrics.copies(x, x, ratio=1.0), "ratio: got 1.0"),
        (lambda x: metrics.modes_covered(x[:, :1], data.mixture("ring")), r"allowed is \(N, 2\)"),
        (lambda x: metrics.noise_floor(metrics.mmd, x[:3]), "data: got shape"),
        (lambda x: metrics.nll(lambda x, s: x, x[0]), "x: got"),
        (lambda x: metrics.nll(lambda x, s: x, x, points=1), "points: got 1"),
        (lambda x: metrics.nll(lambda x, s: x, x, sigma_min=3, sigma_max=2), "sigma_min: got 3"),
        (lambda x: metrics.nll(lambda x, s: x, x, sigma_data=0), "sigma_data: got 0"),
        (lambda x: metrics.FeatureClassifier.train(x, x), r"images: got Tensor of shape \(10, 2\)"),
        (
            lambda x: metrics.FeatureClassifier.train(torch.zeros(30, 1, 8, 8), x[:, 0]),
            "labels: got Tensor of shape",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(torch.arange(20.0).reshape(10, 2) + 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_metrics_on_a_gpu():
    a, b = normal(300, 3), normal(300, 3, seed=1, mean=0.3)
    for metric in (
        metrics.sliced_wasserstein,
        metrics.wasserstein,
        metrics.mmd,
        metrics.frechet_distance,
        metrics.precision_recall,
        metrics.density_coverage,
        metrics.copies,
    ):
        assert metric(a.cuda(), b.cuda()) == pytest.approx(metric(a, b), rel=1e-6)
    law = data.mixture("ring")
    x = law.sample(8, seeded())
    on_gpu = metrics.nll(law.denoiser, x.cuda(), generator=seeded(1)).value.cpu()
    assert torch.allclose(
        on_gpu, metrics.nll(law.denoiser, x, generator=seeded(1)).value, atol=0.01
    )
