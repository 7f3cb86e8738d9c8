"""Distances between samples, coverage, memorisation, likelihood, and features for images.

Samples are (N, ...) and (M, ...) tensors of any device and shape, flattened to vectors. Results are
floats, or small named tuples of them. A number means little without its noise floor
(``noise_floor``) and, for features, without the classifier that made them
(``FeatureClassifier.describe``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from companion.denoisers import Denoiser
from companion.noise import Generator, expand, rand, randn_like
from companion.oracles import GaussianMixture
from companion.progress import track

__all__ = [
    "DensityCoverage",
    "FeatureClassifier",
    "LogLikelihood",
    "ModeCoverage",
    "NoiseFloor",
    "PrecisionRecall",
    "copies",
    "density_coverage",
    "frechet_distance",
    "log_likelihood_ratio",
    "mmd",
    "modes_covered",
    "nll",
    "noise_floor",
    "precision_recall",
    "sliced_wasserstein",
    "wasserstein",
]


def _rows(name: str, x: Any, at_least: int = 1) -> Tensor:
    """(N, ...) -> finite float64 (N, D)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}; allowed is a tensor (N, ...)")
    if x.ndim < 2 or len(x) < at_least or not x.numel():
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}; allowed is (N, ...) with N at least {at_least}"
        )
    if not x.isfinite().all():
        raise ValueError(f"{name}: {(~x.isfinite()).sum().item()} values are not finite")
    return x.detach().flatten(1).to(torch.float64)


def _pair(a: Any, b: Any, names=("a", "b"), at_least: int = 1) -> tuple[Tensor, Tensor]:
    first, second = _rows(names[0], a, at_least), _rows(names[1], b, at_least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[1]}: got shape {tuple(b.shape)} with {names[0]} of shape {tuple(a.shape)}; "
            "allowed is the same size of a sample"
        )
    return first, second.to(first.device)


def _whole(name: str, value: Any, at_least: int) -> int:
    if isinstance(value, bool) or int(value) != value or value < at_least:
        raise ValueError(f"{name}: got {value!r}; allowed is a whole number of at least {at_least}")
    return int(value)


# --- distances ----------------------------------------------------------------------------------


def sliced_wasserstein(
    a: Tensor, b: Tensor, *, projections: int = 256, seed: int = 0, p: float = 2
) -> float:
    """Sliced Wasserstein distance: Wasserstein in one dimension, averaged over random directions.

    ``(mean over directions of W_p^p)^(1/p)``, by POT. Two shifted Gaussians of D dimensions at a
    distance d have ``d / sqrt(D)`` at p = 2.

    Parameters
    ----------
    a, b : (N, ...) and (M, ...) tensors
    projections : int
        Number of directions (default 256).
    seed : int
        Of the directions: with the same seed, all comparisons use the same (default 0).
    p : float
        Order, at least 1 (default 2).

    References
    ----------
    Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, 2015.
    """
    import ot

    first, second = _pair(a, b)
    projections = _whole("projections", projections, 1)
    if not (1 <= p < math.inf):
        raise ValueError(f"p: got {p!r}; allowed is a finite number of at least 1")
    generator = torch.Generator().manual_seed(int(seed))
    directions = torch.randn(
        (projections, first.shape[1]), generator=generator, dtype=torch.float64
    )
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(first.device)
    total = 0.0
    for part in directions.split(64):  # bounds the memory: N x 64
        power = ot.sliced_wasserstein_distance(first, second, projections=part.T, p=p) ** p
        total += float(power) * len(part)
    return (total / projections) ** (1 / p)


def wasserstein(a: Tensor, b: Tensor, *, p: float = 2) -> float:
    """Exact Wasserstein distance of order ``p`` between two small sets, by POT's network simplex.

    Parameters
    ----------
    a, b : (N, ...) and (M, ...) tensors, N * M at most 25 million
    p : float
        Order, at least 1 (default 2).

    Raises
    ------
    ValueError
        If the sets are too large; use ``sliced_wasserstein``.
    """
    import ot

    first, second = _pair(a, b)
    if len(first) * len(second) > 25_000_000:
        raise ValueError(
            f"a, b: got {len(first)} and {len(second)} samples; allowed are 25 million pairs. "
            "Take fewer, or sliced_wasserstein"
        )
    if not (1 <= p < math.inf):
        raise ValueError(f"p: got {p!r}; allowed is a finite number of at least 1")
    cost = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist") ** p
    return float(ot.emd2([], [], cost.cpu().numpy(), numItermax=10_000_000)) ** (1 / p)


def mmd(a: Tensor, b: Tensor, *, bandwidths: Sequence[float] | None = None) -> float:
    """Squared maximum mean discrepancy with Gaussian kernels, the unbiased estimate.

    Unbiased means that its mean is 0 when both sets come from one law; so it may be negative. The
    kernel is the mean over bandwidths h of ``exp(-|x - y|^2 / (2 h^2))``.

    Parameters
    ----------
    a, b : (N, ...) and (M, ...) tensors, N and M at least 2
    bandwidths : sequence of float, optional
        In the units of the data. Default: 1/4, 1/2, 1, 2 and 4 times the median distance between
        the pooled samples (of 1,000 at most). Give them when several values are to be compared.

    References
    ----------
    Gretton et al., A kernel two-sample test, 2012, eq. 3.
    """
    first, second = _pair(a, b, at_least=2)
    centre = first.mean(0)
    first, second = first - centre, second - centre
    if bandwidths is None:
        pool = torch.cat([s[:: math.ceil(len(s) / 500)] for s in (first, second)])
        middle = torch.pdist(pool).median().item()
        bandwidths = [middle * factor for factor in (0.25, 0.5, 1, 2, 4)] if middle else [1.0]
    if not len(bandwidths) or not all(0 < h < math.inf for h in bandwidths):
        raise ValueError(f"bandwidths: got {bandwidths!r}; allowed are finite numbers above 0")

    def kernel_sum(x: Tensor, y: Tensor) -> float:
        total = 0.0
        for part in x.split(max(1, 4_000_000 // len(y))):  # bounds the memory
            squares = torch.cdist(part, y).square_()
            for h in bandwidths:
                total += (squares * (-0.5 / h**2)).exp_().sum().item()
        return total / len(bandwidths)

    n, m = len(first), len(second)
    within = (kernel_sum(first, first) - n) / (n * (n - 1))
    within += (kernel_sum(second, second) - m) / (m * (m - 1))
    return within - 2 * kernel_sum(first, second) / (n * m)


class _Identity(nn.Module):
    """Features as they are: torchmetrics asks a feature network for its ``num_features``."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features, by torchmetrics.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. With Inception features it is called FID.
    It is biased upwards for few samples, so compare only values of equal sample sizes.

    Parameters
    ----------
    features_a, features_b : (N, F) and (M, F) tensors, N and M at least 2
        Such as ``FeatureClassifier.features``.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule, 2017.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    first, second = _pair(features_a, features_b, ("features_a", "features_b"), at_least=2)
    first, second = first.cpu(), second.cpu()
    centre = first.mean(0)  # the distance does not change, its rounding does
    measure = FrechetInceptionDistance(feature=_Identity(first.shape[1]), normalize=True)
    measure.set_dtype(torch.float64)
    measure.update(first - centre, real=True)
    measure.update(second - centre, real=False)
    return max(0.0, measure.compute().item())


# --- fidelity, diversity, memorisation ----------------------------------------------------------


def _neighbours(points: Tensor, k: int, queries: Tensor | None = None) -> np.ndarray:
    """Distances (Q, k) to the k nearest ``points``; of the points to one another by default."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k).fit(points.cpu().numpy())
    return search.kneighbors(None if queries is None else queries.cpu().numpy())[0]


def _counts_in_balls(queries: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """For each query the number of balls around ``centres`` that hold it, (Q,)."""
    parts = queries.split(max(1, 4_000_000 // len(centres)))
    return torch.cat([(torch.cdist(part, centres) <= radii).sum(1) for part in parts])


class PrecisionRecall(NamedTuple):
    """Shares between 0 and 1."""

    precision: float
    """Of the fakes, how many lie where real samples are."""
    recall: float
    """Of the real samples, how many lie where fakes are."""


def precision_recall(features_real: Tensor, features_fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: membership in balls that reach to the k-th neighbour.

    Parameters
    ----------
    features_real, features_fake : (N, F) and (M, F) tensors, N and M above ``k``
        Both shares depend on N and M: use equal sizes.
    k : int
        Neighbour (default 3, as in the paper).

    References
    ----------
    Kynkaanniemi et al., Improved precision and recall metric for assessing generative models, 2019.
    """
    k = _whole("k", k, 1)
    names = ("features_real", "features_fake")
    real, fake = _pair(features_real, features_fake, names, at_least=k + 1)
    inside = []
    for queries, centres in ((fake, real), (real, fake)):
        radii = torch.from_numpy(_neighbours(centres, k)[:, -1]).to(centres)
        held = _counts_in_balls(queries, centres, radii) > 0
        inside.append(held.double().mean().item())
    return PrecisionRecall(*inside)


class DensityCoverage(NamedTuple):
    """Density may exceed 1; coverage is a share."""

    density: float
    """How many balls of real samples hold a fake, over k: 1 on average when the laws agree."""
    coverage: float
    """Of the real samples, how many have a fake within their ball."""


def density_coverage(features_real: Tensor, features_fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage: as precision and recall, but robust to outliers.

    Parameters
    ----------
    features_real, features_fake : (N, F) and (M, F) tensors, N above ``k``
    k : int
        Neighbour (default 5, as in the paper).

    References
    ----------
    Naeem et al., Reliable fidelity and diversity metrics for generative models, 2020.
    """
    k = _whole("k", k, 1)
    real, fake = _pair(features_real, features_fake, ("features_real", "features_fake"))
    _rows("features_real", features_real, k + 1)
    radii = torch.from_numpy(_neighbours(real, k)[:, -1]).to(real)
    density = _counts_in_balls(fake, real, radii).double().mean().item() / k
    nearest = torch.from_numpy(_neighbours(fake, 1, real)[:, 0]).to(real)
    return DensityCoverage(density, (nearest <= radii).double().mean().item())


def copies(samples: Tensor, train: Tensor, *, ratio: float = 1 / 3) -> float:
    """Share of samples that are copies of a training point.

    A copy is nearer to its nearest training point than ``ratio`` times the distance to the second
    nearest. A training point that is there twice is never counted as copied.

    Parameters
    ----------
    samples : (N, ...) tensor
    train : (M, ...) tensor, M at least 2
    ratio : float in (0, 1), default 1/3

    References
    ----------
    Yoon et al., Diffusion probabilistic models generalize when they fail to memorize, 2023.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio: got {ratio!r}; allowed is a number between 0 and 1")
    queries, points = _pair(samples, train, ("samples", "train"))
    _rows("train", train, 2)
    nearest = _neighbours(points, 2, queries)
    return float((nearest[:, 0] < ratio * nearest[:, 1]).mean())


class ModeCoverage(NamedTuple):
    """Shares between 0 and 1."""

    covered: float
    """Of the components, how many have their samples."""
    balance: float
    """1 less the total variation between the samples' shares of the components and the weights."""
    outside: float
    """Of the samples, how many belong to no component."""


def modes_covered(
    samples: Tensor, mixture: GaussianMixture, *, threshold: float = 0.1
) -> ModeCoverage:
    """Count the components of a mixture that samples reach, and how evenly.

    A sample belongs to the component of largest posterior weight, unless it is farther than
    ``std * (sqrt(D) + 3)`` from its mean (less than one in a thousand are).

    Parameters
    ----------
    samples : (N, D) tensor
    mixture : GaussianMixture
    threshold : float
        A component is covered by this share of the samples that its weight promises (default 0.1),
        and by one at least.
    """
    x = _rows("samples", samples)
    if x.shape[1] != mixture.dim:
        raise ValueError(
            f"samples: got shape {tuple(samples.shape)}; allowed is (N, {mixture.dim})"
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: got {threshold!r}; allowed is a number between 0 and 1")
    means, stds, weights = (t.to(x) for t in (mixture.means, mixture.stds, mixture.weights))
    mode = mixture.posterior(x, 0.0).weights.argmax(1)
    distance = (x - means[mode]).norm(dim=1)
    inside = distance <= stds[mode] * (math.sqrt(mixture.dim) + 3)
    counts = torch.bincount(mode[inside], minlength=len(means)).to(x)
    covered = (counts >= (threshold * len(x) * weights).clamp(min=1)).double().mean().item()
    shares = counts / counts.sum().clamp(min=1)
    balance = 1 - 0.5 * (shares - weights).abs().sum().item() if counts.sum() else 0.0
    return ModeCoverage(covered, balance, 1 - inside.double().mean().item())


class NoiseFloor(NamedTuple):
    """What a metric shows between two halves of the same data."""

    mean: float
    low: float
    """2.5 % of the splits are below."""
    high: float
    """97.5 % of the splits are below."""
    values: tuple[float, ...]
    """The metric of each split."""


def noise_floor(
    metric: Callable[[Tensor, Tensor], float], data: Tensor, *, repeats: int = 20, seed: int = 0
) -> NoiseFloor:
    """Measure a metric between random halves of a data set: what it shows when nothing differs.

    Parameters
    ----------
    metric : callable of two sets
    data : (N, ...) tensor, N at least 4
        Take twice as many as the samples that the floor is for: the floor depends on the size.
    repeats : int
        Number of random splits (default 20). They overlap, so their spread is a little too small.
    seed : int
        Of the splits (default 0).

    Returns
    -------
    NoiseFloor
    """
    _rows("data", data, 4)
    repeats = _whole("repeats", repeats, 1)
    generator = torch.Generator().manual_seed(int(seed))
    half = len(data) // 2
    values = []
    for _ in range(repeats):
        order = torch.randperm(len(data), generator=generator).to(data.device)
        values.append(float(metric(data[order[:half]], data[order[half : 2 * half]])))
    low, high = np.quantile(values, [0.025, 0.975])
    return NoiseFloor(float(np.mean(values)), float(low), float(high), tuple(values))


# --- likelihood ---------------------------------------------------------------------------------


class LogLikelihood(NamedTuple):
    """Negative log-likelihoods in nats."""

    value: Tensor
    """(B,) float64."""
    error: Tensor
    """(B,) float64, standard error of the integration, from the scatter of neighbouring levels.

    It is an estimate itself: with few points, or far from the data, up to twice too small.
    """


@torch.no_grad()
def nll(
    denoiser: Denoiser,
    x: Tensor,
    *,
    points: int = 64,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    sigma_data: float = 1.0,
    mean_data: Tensor | float = 0.0,
    generator: Generator = None,
    batch: int = 2048,
) -> LogLikelihood:
    """Negative log-likelihood from denoising errors, by the pointwise I-MMSE identity (eq-i-mmse).

    For a law p with the optimal noise estimate ``eps_hat``, and a Gaussian g = N(mean_data,
    sigma_data^2 I) with its own, ``eps_g``,

        -log p(x) = -log g(x) + 1/2 Int dalpha E( |eps - eps_hat(x + s eps, s)|^2
                                                  - |eps - eps_g(x + s eps, s)|^2 ),

    ``alpha = -2 ln s``. With g = N(0, I) and its error averaged over x, this is Kong et al. 2023.
    Both errors are taken at the same ``eps``: the difference vanishes at both ends of the
    integral, and so does its noise.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) floating-point tensor
    points : int
        Noise levels for each x, at least 2 (default 64): one at random in each of as many equal
        strata of alpha. Each costs two evaluations, at ``eps`` and ``-eps``.
    sigma_min, sigma_max : float
        Range of the integral, in the units of the data (default 0.002 to 80). What is left out is
        of order ``(sigma_min / width)^2`` of the data's narrowest feature, and
        ``(|x| / sigma_max)^2``. A network should have been trained on all of it.
    sigma_data, mean_data : float, and float or tensor of shape ``shape``
        The Gaussian's standard deviation and mean. They do not change the result, only its error.
    generator : source of ``eps`` and of the levels (default: torch's global generator)
    batch : int
        Rows in a call of the denoiser, 2 at least (default 2048); bounds the memory.

    Returns
    -------
    LogLikelihood
        The value, and the standard error of the integration (not of the denoiser).

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Kong, Brekelmans & Ver Steeg, Information-theoretic diffusion, 2023.
    """
    _check_integral(x, points, sigma_min, sigma_max, sigma_data, batch)
    dims = x[0].numel()
    values, errors = [], []
    for part in x.split(batch // 2):

        def excess(noisy: Tensor, s: Tensor, eps: Tensor) -> Tensor:
            estimate = (noisy - denoiser(noisy, s.flatten())) / s
            return _excess(estimate, (noisy - mean_data) * s / (sigma_data**2 + s**2), eps)

        value, error = _integral(part, excess, points, sigma_min, sigma_max, generator)
        reference = 0.5 * ((part - mean_data) / sigma_data).double().flatten(1).square().sum(1)
        reference += dims * (0.5 * math.log(2 * math.pi) + math.log(sigma_data))
        values.append(reference + value)
        errors.append(error)
    return LogLikelihood(torch.cat(values), torch.cat(errors))


@torch.no_grad()
def log_likelihood_ratio(
    denoiser: Denoiser,
    x: Tensor,
    sigma_noise: Tensor | float,
    *,
    points: int = 64,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    sigma_data: float = 1.0,
    mean_data: Tensor | float = 0.0,
    generator: Generator = None,
    batch: int = 2048,
) -> LogLikelihood:
    """``log p(x) - log p_t(x)``: is ``x`` clean, or does it carry noise ``t``? (eq-nc-ratio).

    ``p_t`` is the law of ``x_0 + t eps``, with ``t = sigma_noise``. Its denoiser is
    ``denoisers.Noised(denoiser, t)``, so both likelihoods are integrals of denoising errors, as in
    ``nll``, and here they are taken at the same levels and the same noise:

        LLR_t(x) = log g(x) - log g_t(x)
                   + 1/2 Int dalpha E( |eps - eps_hat_t|^2 - |eps - eps_g_t|^2
                                       - |eps - eps_hat|^2 + |eps - eps_g|^2 ).

    By Bayes ``sigmoid(LLR_t)`` is the best classifier of clean against noised, at equal shares.

    Parameters
    ----------
    denoiser, x, sigma_min, sigma_max, sigma_data, mean_data, generator : as in ``nll``
        The denoiser is asked up to ``sqrt(sigma_max^2 + t^2)``.
    sigma_noise : float, 0-d tensor or (B,) tensor, above 0
        The level ``t``, in the units of the data.
    points : int
        Noise levels for each x, at least 2 (default 64). Each costs four evaluations: two terms, at
        ``eps`` and ``-eps``.
    batch : int
        Rows in a call of the denoiser, 4 at least (default 2048); bounds the memory.

    Returns
    -------
    LogLikelihood
        The log-likelihood ratio in nats, and the standard error of the integration.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Wu, Luo, Kong, Papalexakis & Ver Steeg, Your diffusion model is secretly a noise classifier and
    benefits from contrastive training, 2024; in its variance-preserving notation.
    """
    _check_integral(x, points, sigma_min, sigma_max, sigma_data, batch, 4)
    level = torch.as_tensor(sigma_noise, dtype=x.dtype, device=x.device)
    if not ((level > 0) & level.isfinite()).all():
        raise ValueError(f"sigma_noise: got {sigma_noise!r}; allowed are finite numbers above 0")
    t = torch.as_tensor(expand(level, x)).expand(len(x), *[1] * (x.ndim - 1))
    dims = x[0].numel()
    values, errors = [], []
    for part, own in zip(x.split(batch // 4), t.split(batch // 4)):
        twice = torch.cat([own, own])  # rows at eps, then at -eps

        def excess(noisy: Tensor, s: Tensor, eps: Tensor, t: Tensor = twice) -> Tensor:
            r = (s**2 + t**2).sqrt()
            clean, mixed = denoiser(
                torch.cat([noisy, noisy]), torch.cat([s.flatten(), r.flatten()])
            ).chunk(2)
            centred = noisy - mean_data
            noised = _excess(
                s / r * (noisy - mixed) / r,
                centred * s / (sigma_data**2 + t**2 + s**2),
                eps,
            )
            plain = _excess((noisy - clean) / s, centred * s / (sigma_data**2 + s**2), eps)
            return noised - plain

        value, error = _integral(part, excess, points, sigma_min, sigma_max, generator)
        variance = 1 + (own.double().flatten() / sigma_data) ** 2
        square = ((part - mean_data) / sigma_data).double().flatten(1).square().sum(1)
        reference = 0.5 * (dims * variance.log() - square * (1 - 1 / variance))
        values.append(reference + value)
        errors.append(error)
    return LogLikelihood(torch.cat(values), torch.cat(errors))


def _check_integral(x, points, sigma_min, sigma_max, sigma_data, batch, rows=2) -> None:
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.is_floating_point() or not x.numel():
        given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x: got {given}; allowed is a floating-point tensor (B, *shape)")
    _whole("points", points, 2)
    _whole("batch", batch, rows)
    if not (0 < sigma_min < sigma_max < math.inf):
        raise ValueError(
            f"sigma_min, sigma_max: got {sigma_min!r} and {sigma_max!r}; "
            "allowed is 0 < sigma_min < sigma_max < inf"
        )
    if not (0 < sigma_data < math.inf):
        raise ValueError(f"sigma_data: got {sigma_data!r}; allowed is a finite number above 0")


def _excess(estimate: Tensor, gaussian: Tensor, eps: Tensor) -> Tensor:
    """``|eps - estimate|^2 - |eps - gaussian|^2`` without cancellation, (B,) float64."""
    difference = (gaussian - estimate) * (2 * eps - gaussian - estimate)
    return difference.flatten(1).double().sum(1)


def _integral(
    x: Tensor,
    integrand: Callable[[Tensor, Tensor, Tensor], Tensor],
    points: int,
    sigma_min: float,
    sigma_max: float,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """``1/2 Int dalpha E integrand`` for each x, and its standard error, both (B,).

    One random level in each of ``points`` equal strata of alpha; ``integrand(noisy, s, eps)`` gets
    the rows at ``eps``, then those at ``-eps``.
    """
    low, width = -2 * math.log(sigma_max), 2 * math.log(sigma_max / sigma_min)
    column = (-1, *[1] * (x.ndim - 1))
    means = []
    for i in track(range(points), "levels"):
        u = rand((len(x),), generator=generator, device=x.device, dtype=torch.float64)
        sigma = (-0.5 * (low + width * (i + u) / points)).exp().to(x.dtype)
        eps = randn_like(x, generator)
        eps = torch.cat([eps, -eps])
        s = sigma.repeat(2).reshape(column)
        noisy = x.repeat(2, *column[1:]) + s * eps
        means.append(integrand(noisy, s, eps).reshape(2, -1).mean(0))
    f = torch.stack(means)  # (points, B)
    # Neighbouring strata differ by their noise, and by the trend.
    variance = 0.5 * f.diff(dim=0).square().mean(0) / points
    return 0.5 * width * f.mean(0), 0.5 * width * variance.sqrt()


# --- features of images -------------------------------------------------------------------------


def _network(channels: int, height: int, width: int, classes: int, seed: int) -> nn.Sequential:
    """Build (body, head), with weights from ``seed`` and from no global random state."""
    layers: list[nn.Module] = []
    before, filters, stride = channels, 32, 1
    with torch.device("meta"):
        while stride == 1 or max(height, width) > 4:
            layers.append(nn.Conv2d(before, filters, 3, stride=stride, padding=1))
            layers += [nn.GroupNorm(8, filters), nn.SiLU()]
            height, width = -(-height // stride), -(-width // stride)
            before, filters, stride = filters, min(2 * filters, 128), 2
        body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, 64))
        network = nn.Sequential(body, nn.Sequential(nn.SiLU(), nn.Linear(64, classes)))
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:  # biases, and the scales of the normalisation
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                parameter.mul_(math.sqrt(2 / fan_in))
    return network


class FeatureClassifier:
    """A small convolutional classifier, whose features stand in for those of Inception.

    Inception's weights need a download, and its features mean little for digits. Make one with
    ``FeatureClassifier.train``. A Frechet distance in its features depends on what it was trained
    on and on its seed: show ``describe()`` beside the number.

    Attributes
    ----------
    data : str
        What it was trained on.
    seed : int
    held_out_accuracy : float
        Share of the held-out images that it classifies correctly.
    """

    num_features = 64

    def __init__(self, network: nn.Sequential, shape: tuple, data: str, seed: int, device: Any):
        self._network = network.to(device).eval().requires_grad_(False)
        self._shape = shape
        self._device = device
        self.data = data
        self.seed = seed
        self.held_out_accuracy = math.nan

    @classmethod
    def train(
        cls,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        held_out: tuple[Tensor, Tensor] | None = None,
        data: str = "unnamed images",
        steps: int | None = None,
    ) -> FeatureClassifier:
        """Train a classifier; the same seed gives the same one on the same machine.

        Parameters
        ----------
        images : (N, C, H, W) floating-point tensor in [-1, 1]
        labels : (N,) int64 tensor from 0
        seed : int
            Of the weights, the batches and the split (default 0).
        device : where to train (default: that of ``images``)
        held_out : (images, labels), optional
            To measure the accuracy on, such as the test split. Default: a tenth of the images,
            which are then not trained on.
        data : str
            What the images are, for ``describe``.
        steps : int, optional
            Batches of 64 (default 400 below 10,000 images, else 2,000).
        """
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images: got {given}; allowed is floating-point (N, C, H, W)")
        if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.min() < 0:
            raise ValueError(
                f"labels: got shape {tuple(labels.shape)} of {labels.dtype}; "
                f"allowed are {len(images)} whole numbers from 0"
            )
        if len(images) < 20:
            raise ValueError(f"images: got {len(images)}; allowed are 20 or more")
        steps = (400 if len(images) < 10_000 else 2000) if steps is None else steps
        steps = _whole("steps", steps, 1)
        device = images.device if device is None else torch.device(device)
        generator = torch.Generator().manual_seed(int(seed))
        images, labels = images.to(device, torch.float32), labels.to(device)
        classes = int(labels.max()) + 1
        if held_out is None:
            order = torch.randperm(len(images), generator=generator).to(device)
            tenth = len(images) // 10
            held_out = images[order[:tenth]], labels[order[:tenth]]
            images, labels = images[order[tenth:]], labels[order[tenth:]]
        channels, height, width = images.shape[1:]
        network = _network(channels, height, width, classes, int(seed)).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
        reach = max(1, height // 12)  # images are shifted by up to this many pixels
        padded = nn.functional.pad(images, [reach] * 4, value=-1.0)
        for _ in track(range(steps), "classifier"):
            rows = torch.randint(len(images), (64,), generator=generator).to(device)
            top, left = torch.randint(2 * reach + 1, (2,), generator=generator).tolist()
            batch = padded[rows, :, top : top + height, left : left + width]
            loss = nn.functional.cross_entropy(network(batch), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        classifier = cls(network, (channels, height, width), data, int(seed), device)
        classifier.held_out_accuracy = classifier.accuracy(*held_out)
        return classifier

    @torch.no_grad()
    def _apply(self, network: nn.Module, images: Tensor) -> Tensor:
        if images.shape[1:] != self._shape:
            raise ValueError(f"images: got {tuple(images.shape)}; allowed is (N, *{self._shape})")
        parts = images.split(1024)
        return torch.cat([network(part.to(self._device, torch.float32)) for part in parts])

    def features(self, images: Tensor) -> Tensor:
        """Return the features, (N, 64) float32 on the device of ``images`` (N, C, H, W)."""
        return self._apply(self._network[0], images).to(images.device)

    def predict(self, images: Tensor) -> Tensor:
        """Return the most probable label of each of ``images`` (N, C, H, W), (N,) int64."""
        return self._apply(self._network, images).argmax(1).to(images.device)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of ``images`` (N, C, H, W) classified as ``labels`` (N,) say."""
        return (self.predict(images) == labels.to(images.device)).double().mean().item()

    def describe(self) -> str:
        """Name the data, the seed and the held-out accuracy: to go with every number."""
        return (
            f"features of a small classifier trained on {self.data} "
            f"(seed {self.seed}, held-out accuracy {self.held_out_accuracy:.1%})"
        )

    def __repr__(self) -> str:
        return f"FeatureClassifier: {self.describe()}"
