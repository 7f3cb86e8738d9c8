"""A mixture of digits whose ceiling is known exactly, and the digits themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from companion import data
from companion.oracles import GaussianMixture

__all__ = ["DATA", "LabelledData", "class_probabilities", "digit_mixture", "labelled"]

DATA = ("mixture", "digits")
CLASSES = 10
EACH = 12
"""Components of a class."""
SPREAD = 0.25
"""Standard deviation of a component, pixels in [-1, 1]."""


@dataclass(frozen=True)
class LabelledData:
    """Images (N, 1, 8, 8) with labels (N,), to train on and to test on.

    ``mixture`` and ``owner``, the class of each of its components, are None where the distribution
    is not known.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    mixture: GaussianMixture | None = None
    owner: Tensor | None = None

    def ceiling(self, y: Tensor, sigma: float) -> Tensor:
        """Return ``p(class | y)`` exactly, (B, classes), of ``y`` (B, 1, 8, 8) (eq-ad-ceiling)."""
        if self.mixture is None or self.owner is None:
            raise ValueError("mixture: got None; allowed is data whose distribution is known")
        return class_probabilities(self.mixture, self.owner, y.flatten(1), sigma)


def class_probabilities(mixture: GaussianMixture, owner: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Return ``p(class | y)``: posterior weights of the components, summed over each class.

    Parameters
    ----------
    mixture : GaussianMixture of K components
    owner : (K,) int64
        Class of each component.
    y : (B, D), at noise level ``sigma`` (0 is allowed)

    Returns
    -------
    (B, classes), summing to one (eq-ad-ceiling)
    """
    weights = mixture.posterior(y, sigma).weights
    sums = weights.new_zeros(len(y), int(owner.max()) + 1)
    return sums.index_add_(1, owner.to(y.device), weights)


def digit_mixture() -> tuple[GaussianMixture, Tensor]:
    """Return a mixture around the first training digits of each class, and the classes (K,)."""
    images, labels = data.images("digits", "train")
    index = torch.cat([torch.nonzero(labels == c)[:EACH, 0] for c in range(CLASSES)])
    return GaussianMixture(images[index].flatten(1), SPREAD), labels[index]


def labelled(name: str, number: int, generator: torch.Generator) -> LabelledData:
    """Return digits, or draws of the mixture of digits.

    Parameters
    ----------
    name : {"mixture", "digits"}
    number : int
        Draws of the mixture to train on, and half as many to test on.
    """
    if name == "digits":
        return LabelledData(*data.images("digits", "train"), *data.images("digits", "test"))
    mixture, owner = digit_mixture()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(owner), (n,), generator=generator)
        z = torch.randn(n, mixture.dim, generator=generator)
        return (mixture.means[index].float() + SPREAD * z).view(n, 1, 8, 8), owner[index]

    return LabelledData(*draw(number), *draw(number // 2), mixture, owner)
