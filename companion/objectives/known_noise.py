"""What an objective knows of each sample of the data: its own level of noise."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor

from companion import checks

__all__ = ["KnownNoise", "check_index", "same_known_samples"]

T = TypeVar("T", bound="KnownNoise")


def check_index(index: Any) -> Tensor:
    """Return the index of samples, or raise a ``TypeError`` unless it is whole numbers (B,)."""
    plain = isinstance(index, Tensor) and index.dtype in (torch.int64, torch.int32)
    if not plain or index.ndim != 1:
        raise TypeError(f"index: got {checks.shown(index)}; allowed is an int64 tensor (B,)")
    return index


def same_known_samples(name: str, objectives: Any) -> int | None:
    """Number of samples that objectives know something of; None if they know of none.

    Raises
    ------
    ValueError
        If they know of different numbers of samples.
    """
    known = [getattr(one, "known_samples", None) for one in objectives]
    counts = {int(one) for one in known if one is not None}
    if len(counts) > 1:
        raise ValueError(
            f"{name}: got objectives that know {' and '.join(map(str, sorted(counts)))} samples; "
            "allowed is one number"
        )
    return counts.pop() if counts else None


class KnownNoise:
    """Part of the objectives for noisy data: ``sigma_data_noise`` is one level, or one a sample."""

    sigma_data_noise: float | Tensor

    def _check_noise(self, at_least_zero: bool) -> None:
        """Check the level or levels; a sample among several may be clean, level 0."""
        levels = self.sigma_data_noise
        if isinstance(levels, Tensor) and levels.ndim:
            checks.tensor("sigma_data_noise", levels, "(N,)")
            checks.level("sigma_data_noise", levels)
            if levels.ndim > 1 or not len(levels):
                raise ValueError(
                    f"sigma_data_noise: got shape {tuple(levels.shape)}; allowed is a float or (N,)"
                )
            return
        bound = {"at_least": 0.0} if at_least_zero else {"above": 0.0}
        checks.number("sigma_data_noise", levels, **bound)

    @property
    def known_samples(self) -> int | None:
        """Number of samples whose levels are known one by one, or None."""
        levels = self.sigma_data_noise
        return len(levels) if isinstance(levels, Tensor) and levels.ndim else None

    def pick(self: T, index: Tensor) -> T:
        """Return the objective of some samples of the data: those of a batch, as ``fit`` asks.

        Parameters
        ----------
        index : (B,) int64 tensor
        """
        check_index(index)
        if self.known_samples is None:
            return self
        levels = self.sigma_data_noise
        return dataclasses.replace(self, sigma_data_noise=levels[index.to(levels.device)])  # type: ignore

    def _noise_of(self, batch: Tensor, every: int = 1) -> float | Tensor:
        """Levels of a batch: a number, or (B,); of ``every`` so-many-th sample if it has those."""
        levels = self.sigma_data_noise
        if not isinstance(levels, Tensor):
            return levels
        if levels.ndim and len(levels) == every * len(batch):
            levels = levels[::every]
        if levels.ndim and len(levels) != len(batch):
            raise ValueError(
                f"sigma_data_noise: got {len(levels)} levels for a batch of {len(batch)} samples; "
                "allowed is one for all, or one for each: objective.pick(index) has those of a "
                "batch, and fit does it by itself"
            )
        return levels.to(batch)
