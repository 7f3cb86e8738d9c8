"""Fidelity, diversity and memorisation: shares of samples and of data that reach each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.metrics.distances import flat_pair, flat_samples
from companion.oracles import GaussianMixture

__all__ = [
    "DensityCoverage",
    "ModeCoverage",
    "PrecisionRecall",
    "copies",
    "density_coverage",
    "modes_covered",
    "precision_recall",
]


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
    k = checks.whole("k", k)
    names = ("features_real", "features_fake")
    real, fake = flat_pair(features_real, features_fake, names, at_least=k + 1)
    inside = []
    for queries, centres in ((fake, real), (real, fake)):
        radii = torch.from_numpy(_neighbours(centres, k)[:, -1]).to(centres)
        held = _counts_in_balls(queries, centres, radii) > 0
        inside.append(held.double().mean().item())
    return PrecisionRecall(*inside)


class DensityCoverage(NamedTuple):
    """Density may exceed 1; coverage is a share."""

    density: float
    """How many balls of real samples hold a fake, over k: 1 on average when both agree."""
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
    k = checks.whole("k", k)
    real, fake = flat_pair(features_real, features_fake, ("features_real", "features_fake"))
    flat_samples("features_real", features_real, k + 1)
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
    ratio = checks.number("ratio", ratio, above=0, below=1)
    queries, points = flat_pair(samples, train, ("samples", "train"))
    flat_samples("train", train, 2)
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
    x = flat_samples("samples", samples)
    checks.instance("mixture", mixture, GaussianMixture, "a GaussianMixture")
    if x.shape[1] != mixture.dim:
        raise ValueError(
            f"samples: got shape {tuple(samples.shape)}; allowed is (N, {mixture.dim})"
        )
    threshold = checks.number("threshold", threshold, at_least=0, at_most=1)
    means, stds, weights = (t.to(x) for t in (mixture.means, mixture.stds, mixture.weights))
    mode = mixture.posterior(x, 0.0).weights.argmax(1)
    distance = (x - means[mode]).norm(dim=1)
    inside = distance <= stds[mode] * (math.sqrt(mixture.dim) + 3)
    counts = torch.bincount(mode[inside], minlength=len(means)).to(x)
    covered = (counts >= (threshold * len(x) * weights).clamp(min=1)).double().mean().item()
    shares = counts / counts.sum().clamp(min=1)
    balance = 1 - 0.5 * (shares - weights).abs().sum().item() if counts.sum() else 0.0
    return ModeCoverage(covered, balance, 1 - inside.double().mean().item())
