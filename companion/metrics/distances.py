"""Distances between two sets of samples, and the noise floor that goes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from companion import checks, devices

__all__ = [
    "NoiseFloor",
    "frechet_distance",
    "mmd",
    "noise_floor",
    "sliced_wasserstein",
    "wasserstein",
]


def flat_samples(name: str, x: Any, at_least: int = 1) -> Tensor:
    """Return samples (N, ...) as finite float64 vectors (N, D), or say what is wrong with them.

    Of a device without float64 they come to the CPU.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: got {checks.shown(x)}; allowed is a tensor (N, ...)")
    if x.ndim < 2 or len(x) < at_least or not x.numel():
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}; allowed is (N, ...) with N at least {at_least}"
        )
    checks.finite(name, x)
    flat = x.detach().flatten(1)
    return (flat if devices.wide(x.device) == torch.float64 else flat.cpu()).to(torch.float64)


def flat_pair(
    a: Any, b: Any, names: tuple[str, str] = ("a", "b"), at_least: int = 1
) -> tuple[Tensor, Tensor]:
    """Return two sets of samples of the same size as vectors, on the device of the first."""
    first, second = flat_samples(names[0], a, at_least), flat_samples(names[1], b, at_least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[1]}: got shape {tuple(b.shape)} with {names[0]} of shape {tuple(a.shape)}; "
            "allowed is the same size of a sample"
        )
    return first, second.to(first.device)


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

    first, second = flat_pair(a, b)
    projections = checks.whole("projections", projections)
    p = checks.number("p", p, at_least=1)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
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

    first, second = flat_pair(a, b)
    if len(first) * len(second) > 25_000_000:
        raise ValueError(
            f"a, b: got {len(first)} and {len(second)} samples; allowed are 25 million pairs. "
            "Take fewer, or sliced_wasserstein"
        )
    p = checks.number("p", p, at_least=1)
    cost = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist") ** p
    return float(ot.emd2([], [], cost.cpu().numpy(), numItermax=10_000_000)) ** (1 / p)


def mmd(a: Tensor, b: Tensor, *, bandwidths: Sequence[float] | None = None) -> float:
    """Squared maximum mean discrepancy with Gaussian kernels, the unbiased estimate.

    Unbiased means that its mean is 0 when both sets come from one distribution; so it may be
    negative. The kernel is the mean over bandwidths h of ``exp(-|x - y|^2 / (2 h^2))``.

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
    first, second = flat_pair(a, b, at_least=2)
    centre = first.mean(0)
    first, second = first - centre, second - centre
    if bandwidths is None:
        pool = torch.cat([s[:: math.ceil(len(s) / 500)] for s in (first, second)])
        middle = torch.pdist(pool).median().item()
        bandwidths = [middle * factor for factor in (0.25, 0.5, 1, 2, 4)] if middle else [1.0]
    bandwidths = checks.numbers("bandwidths", bandwidths, above=0)

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

    first, second = flat_pair(features_a, features_b, ("features_a", "features_b"), at_least=2)
    first, second = first.cpu(), second.cpu()
    centre = first.mean(0)  # the distance does not change, its rounding does
    measure = FrechetInceptionDistance(feature=_Identity(first.shape[1]), normalize=True)
    measure.set_dtype(torch.float64)
    measure.update(first - centre, real=True)
    measure.update(second - centre, real=False)
    return max(0.0, measure.compute().item())


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
        Number of random splits (default 20). They overlap, so they differ a little too
        little from each other.
    seed : int
        Of the splits (default 0).

    Returns
    -------
    NoiseFloor
    """
    checks.function("metric", metric)
    flat_samples("data", data, 4)
    repeats = checks.whole("repeats", repeats)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    half = len(data) // 2
    values = []
    for _ in range(repeats):
        order = torch.randperm(len(data), generator=generator).to(data.device)
        values.append(float(metric(data[order[:half]], data[order[half : 2 * half]])))
    low, high = np.quantile(values, [0.025, 0.975])
    return NoiseFloor(float(np.mean(values)), float(low), float(high), tuple(values))
