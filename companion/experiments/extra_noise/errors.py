"""Denoising errors on digits: of every arm, of its free rival, and of other regularizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from companion import noise
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    FREE,
    NONE,
    ONE_LEVEL,
    SMALL,
    TRAINED,
    UNDONE,
)
from companion.experiments.extra_noise.digits import (
    DATA_STD,
    LEVELS,
    SIZES,
    DigitNetworks,
    digit_network,
    digit_networks,
    digit_sets,
    held_out,
)
from companion.experiments.extra_noise.training import train
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["RIVALS", "DigitErrors", "RivalErrors"]

RIVALS: dict[str, dict[str, float]] = {
    "weight decay 0.3": {"weight_decay": 0.3},
    "weight decay 1": {"weight_decay": 1.0},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.3": {"dropout": 0.3},
    "early stop, 1/2": {"share": 0.5},
    "early stop, 3/4": {"share": 0.75},
}
"""Other regularizers; ``share`` is that of the training steps."""


def mean_errors(session: Session, denoiser: Any, x: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the mean squared error of each run on its x (runs, n, ...), (runs, levels)."""
    columns, flat = [], x.flatten(0, 1)
    for i, sigma in enumerate(levels):
        noisy = noise.corrupt(flat, sigma, generator=session.generator(300 + i))
        square = (denoiser(noisy, sigma) - flat).square().flatten(1).mean(1)
        columns.append(square.view(len(x), -1).mean(1))
    return torch.stack(columns, 1)


@dataclass(frozen=True)
class DigitErrors(Experiment):
    """Denoising error of every arm on digits, held out and seen in training, level by level.

    Parameters
    ----------
    levels : tuple of float
        Noise levels, pixels in [-1, 1].
    tested : int
        Held-out digits, at most.
    """

    levels: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
    tested: int = 1000

    sizes = {"smoke": {"tested": 24}}
    needs = (DigitNetworks,)
    seconds = 2

    def run(self, session: Session) -> Results:
        """Mean squared errors by arm, size of the training set, level and seed.

        "error at one level" compares A with a network of the one level ``SMALL``.
        """
        networks, tables = digit_networks(session), []
        seeds = range(networks.runs)
        sets = digit_sets(session, networks.runs)
        unseen = held_out(self.tested).expand(networks.runs, -1, -1, -1, -1)

        def note(measure: str, network: Any, x: Tensor, **where: Any) -> None:
            levels = (SMALL,) if measure == "error at one level" else self.levels
            errors = mean_errors(session, network, x, levels)
            dims = {"seed": seeds, "level": levels}
            tables.append(tidy(errors, dims, measure=measure, **where))

        for (arm, name), stack in networks.stacks.items():
            where = {"denoiser": TRAINED, **arm.where, "digits": int(name)}
            if arm in (NONE, ONE_LEVEL) and int(name) in SIZES:
                note("error at one level", stack, unseen, **where)
            if arm != ONE_LEVEL:
                note("held-out error", stack, unseen, **where)
                seen = torch.stack([digits[:200] for digits in sets[name]])
                note("training error", stack, seen, **where)
            if arm in B_ARMS and int(name) in SIZES:
                free = arm.relabelled(networks.stacks[NONE, name])
                note("held-out error", free, unseen, **{**where, "denoiser": FREE})
                back = arm.relabelled(stack, inverse=True)
                note("held-out error", back, unseen, **{**where, "denoiser": UNDONE})
        return Results(tables)


@dataclass(frozen=True)
class RivalErrors(Experiment):
    """Held-out error of other regularizers: weight decay, dropout, early stopping.

    Parameters
    ----------
    steps : int
        Of training, with batches of 32; early stopping takes a half or three quarters of them.
    levels, tested : as of ``DigitErrors``
    seeds : int
    """

    steps: int = 500
    levels: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
    tested: int = 1000
    seeds: int = 8

    sizes = {"smoke": {"steps": 10, "tested": 24, "seeds": 2}}
    seconds = 9

    def run(self, session: Session) -> Results:
        """Mean squared errors by rival, size of the training set, level and seed."""
        unseen = held_out(self.tested).expand(self.seeds, -1, -1, -1, -1)
        tables: list[pd.DataFrame] = []
        for name, change in RIVALS.items():
            networks = self._train(session, **change)
            for n in SIZES:
                errors = mean_errors(session, networks.pick((NONE, str(n))), unseen, self.levels)
                dims = {"seed": range(self.seeds), "level": self.levels}
                tables.append(tidy(errors, dims, measure="held-out error", rival=name, digits=n))
        return Results(tables)

    def _train(
        self, session: Session, dropout: float = 0.0, share: float = 1.0, weight_decay: float = 0.0
    ) -> Any:
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global state
            torch.default_generator.manual_seed(session.seed)
            return train(
                [(NONE, str(n)) for n in SIZES], digit_sets(session, self.seeds),
                partial(digit_network, dropout=dropout), LEVELS, DATA_STD,
                [1000 * session.seed + r for r in range(self.seeds)],
                steps=int(self.steps * share), batch_size=32, lr=4e-3, weight_decay=weight_decay,
            )  # fmt: skip
