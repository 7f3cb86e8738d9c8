"""The methods that are compared, and their training at equal network evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion import denoisers, networks, noise, objectives, training
from companion.experiments.tweedie.ablations import ConsistencyVariant

__all__ = [
    "AMBIENT",
    "CLEAN",
    "CONSISTENCY",
    "DIRECT",
    "EVALUATIONS",
    "METHODS",
    "NAIVE",
    "RIVALS",
    "SURE",
    "Training",
    "objective",
]

CLEAN, NAIVE, SURE, AMBIENT, CONSISTENCY = "clean", "naive", "sure", "ambient", "consistency"
DIRECT = "ambient, plain output"
METHODS = (CLEAN, NAIVE, SURE, AMBIENT, CONSISTENCY)
RIVALS = (NAIVE, SURE, AMBIENT, DIRECT)
"""Methods that also see noisy data only."""

EVALUATIONS = {SURE: 2, CONSISTENCY: 2}
"""Network evaluations for each sample, 1 for the other methods."""

EVERY = 6
"""Consistency is asked of each so-many-th sample, at as many evaluations: one a sample."""


class DirectOutput(denoisers.Preconditioned):
    """Another parametrisation: D is the output of the network, without skip."""

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:  # type: ignore[override]
        """Estimate the clean data behind x."""
        level = torch.as_tensor(sigma).to(x).expand(len(x))
        scale = (level**2 + self.sigma_data**2) ** -0.5
        return self.network(noise.expand(scale, x) * x, level.log() / 4)


def objective(
    method: str,
    s_n: float,
    sigma_data: float,
    sigma_max: float,
    weight: float = 0.1,
    **options: Any,
) -> Any:
    """Return what a method minimises.

    Parameters
    ----------
    method : a method
    s_n : float
        Standard deviation of the noise in the data, as it is believed.
    sigma_data : float
        Standard deviation of the clean data.
    sigma_max : float
        Largest noise that is added in training.
    weight : float
        Of consistency (default 0.1).
    **options : of ``ConsistencyVariant``
    """
    if method in (CLEAN, NAIVE):
        levels = noise.LogUniform(0.02, sigma_max)
        return objectives.DenoisingScoreMatching(levels, sigma_data=sigma_data)
    added = noise.LogUniform(s_n / 3, sigma_max)
    if method == SURE:
        return objectives.Sure(s_n, added, sigma_data=sigma_data)
    ambient = objectives.AmbientTweedie(s_n, added, sigma_data=sigma_data)
    if method != CONSISTENCY:
        return ambient
    kind = ConsistencyVariant if options else objectives.Consistency
    agree = kind(s_n, **{"every": EVERY, "sigma_data": sigma_data, **options})
    return objectives.Sum((ambient, agree), (1.0, weight))


@dataclass(frozen=True)
class Training:
    """What all methods share in a comparison.

    Parameters
    ----------
    network : callable
        Makes the network inside the denoiser.
    sigma_data : float
        Standard deviation of the clean data: var(y) - s_n^2, so known to a user.
    sigma_max : float
        Largest noise that is added.
    steps, batch : int
        For one evaluation a sample; a method that needs two has half the batch.
    lr : float
    seeds : int
        Data set number r has the seed r modulo this number.
    """

    network: Callable[[], nn.Module]
    sigma_data: float
    sigma_max: float
    steps: int
    batch: int
    lr: float
    seeds: int

    def denoiser(self, number: int, method: str = AMBIENT) -> denoisers.Preconditioned:
        """Return an untrained denoiser with the first weights of a number."""
        wrap = DirectOutput if method == DIRECT else denoisers.Preconditioned
        return wrap(networks.seeded(self.network, number), self.sigma_data)

    def fit(
        self, method: str, s_n: float, sets: Sequence[Tensor], seed: int, weight: float = 0.1
    ) -> Any:
        """Train a network for each data set, side by side.

        Parameters
        ----------
        method, s_n, weight : as of ``objective``
        sets : sequence of tensors
        seed : int
            Master seed.

        Returns
        -------
        Stack of averaged denoisers.
        """
        numbers = [r % self.seeds for r in range(len(sets))]
        return training.fit(
            [self.denoiser(100 * seed + r, method) for r in numbers],
            objective(method, s_n, self.sigma_data, self.sigma_max, weight),
            list(sets), steps=self.steps, batch_size=self.batch // EVALUATIONS.get(method, 1),
            lr=self.lr, ema=0.99, seed=[1000 * seed + r for r in numbers], device="cpu",
        ).denoiser  # fmt: skip
