"""Data corrupted once and for all."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import Dataset

from companion import checks
from companion.noise import expand

__all__ = ["DISTRIBUTIONS", "FrozenNoise"]

DISTRIBUTIONS = ("gaussian", "laplace", "uniform")


class FrozenNoise(Dataset):
    """A data set that was corrupted once, before anyone saw it: ``y = x_0 + sigma * z``.

    The noise depends on the seed and the shape of the data only: drawn on the CPU, in float32, it
    is the same on every device and in every type. The clean data are not kept: a method that is
    given a ``FrozenNoise`` sees no more than it may.

    Parameters
    ----------
    data : (N, *shape) floating-point tensor
    sigma : float or (N,) tensor
        Standard deviation of the noise, in the units of the data, or that of each sample; at least
        0.
    seed : int
        Of the noise (default 0).
    distribution : {"gaussian", "laplace", "uniform"}
        Of ``z``, independent in every coordinate, of mean 0 and variance 1 (default
        "gaussian", the one that Tweedie's formula assumes).

    Attributes
    ----------
    noisy : (N, *shape) tensor of the type and device of ``data``
    sigma, seed, distribution : as given

    Raises
    ------
    TypeError, ValueError
        If ``data`` are not floating-point, not finite or none, ``sigma`` is negative, ``seed`` no
        whole number or ``distribution`` unknown.

    Examples
    --------
    >>> frozen = FrozenNoise(torch.zeros(4, 2), 0.5, seed=1)
    >>> len(frozen), frozen[0].shape
    (4, torch.Size([2]))
    """

    def __init__(
        self,
        data: Tensor,
        sigma: float | Tensor,
        *,
        seed: int = 0,
        distribution: str = "gaussian",
    ):
        checks.tensor("data", data, "(N, *shape)")
        checks.finite("data", data)
        if not data.numel():
            raise ValueError(f"data: got shape {tuple(data.shape)}; allowed is one sample or more")
        if isinstance(sigma, Tensor) and sigma.ndim:
            self.sigma: float | Tensor = checks.tensor("sigma", sigma, "(N,)")
        else:
            self.sigma = checks.number("sigma", sigma, at_least=0)
        scale = expand(self.sigma, data)
        self.seed = checks.seed("seed", seed)
        self.distribution = checks.choice("distribution", distribution, DISTRIBUTIONS)
        generator = torch.Generator().manual_seed(self.seed)
        if distribution == "gaussian":
            z = torch.randn(data.shape, generator=generator, dtype=torch.float32)
        else:
            u = torch.rand(data.shape, generator=generator, dtype=torch.float32) - 0.5
            if distribution == "uniform":
                z = math.sqrt(12) * u
            else:  # the inverse distribution function of Laplace noise of scale 1 / sqrt(2)
                tail = (1 - 2 * u.abs()).clamp_(min=2**-25)
                z = -u.sign() * tail.log() / math.sqrt(2)
        self.noisy = data + scale * z.to(data)

    def __len__(self) -> int:
        return len(self.noisy)

    def __getitem__(self, index) -> Tensor:
        return self.noisy[index]

    def __repr__(self) -> str:
        if isinstance(self.sigma, Tensor):
            sigma = "{:g} to {:g}".format(*self.sigma.aminmax())
        else:
            sigma = f"{self.sigma:g}"
        return (
            f"FrozenNoise({tuple(self.noisy.shape)}, sigma={sigma}, seed={self.seed}, "
            f"distribution={self.distribution!r})"
        )
