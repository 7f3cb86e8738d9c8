"""Networks on 8 x 8 digits, trained in all ways that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor, nn

from companion import data, denoisers, networks, noise
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.experiment import Experiment
from companion.experiments.four_noises.stages import (
    CLEAN,
    NOISY,
    StageSettings,
    TwoStages,
    train,
    two_stages,
)
from companion.experiments.results import Results
from companion.stack import Stack

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LOW", "CleanDigitNetworks", "DigitSettings", "NoisyDigitNetworks", "stacks"]

DATA_STD = 0.75
LOW = 0.02
"""Last noise level before 0."""
LEVELS = noise.LogNormal(-0.5, 1.4)


def digit_network(number: int, width: int) -> nn.Module:
    """Return a small denoiser of the 64 pixels of a digit, with first weights of its own."""
    make = partial(networks.MLP, (1, 8, 8), width=width)
    return denoisers.Preconditioned(networks.seeded(make, number), DATA_STD)


@dataclass(frozen=True)
class DigitSettings(StageSettings):
    """Settings of networks on digits: as of ``StageSettings``, with other values."""

    steps: int = 600
    data_noise: tuple[float, float] = (0.25, 0.5)
    contrast: tuple[float, float] = (0.02, 0.3)
    width: int = 96

    def ways(self) -> dict[str, TwoStages]:
        """Return all ways to train, by name."""
        return two_stages(
            LEVELS, DATA_STD, self.data_noise, self.contrast, self.batch, self.contrast_weight,
            self.consistency_weight,
        )  # fmt: skip

    def train(self, session: Session, names: Any, digits: Tensor) -> dict[str, Stack]:
        """Train some of the ways on digits; return the networks by name."""
        ways = self.ways()
        seeds = range(100 * session.seed, 100 * session.seed + self.seeds)
        make = partial(digit_network, width=self.width)
        return train(make, {name: ways[name] for name in names}, digits, self, seeds)


SMOKE = {"steps": 12, "second_steps": 15, "seeds": 2}


@dataclass(frozen=True)
class CleanDigitNetworks(DigitSettings, Experiment):
    """Networks on clean digits: denoising, input perturbation, the contrastive loss, both.

    Parameters
    ----------
    As of ``DigitSettings``.
    """

    sizes = {"smoke": SMOKE}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Weights of all networks by way to train, and its labels."""
        return _networks(self, session, CLEAN)


@dataclass(frozen=True)
class NoisyDigitNetworks(DigitSettings, Experiment):
    """Networks on noisy digits: naive, ambient Tweedie, and that with consistency.

    Parameters
    ----------
    As of ``DigitSettings``.
    """

    sizes = {"smoke": SMOKE}
    seconds = 7

    def run(self, session: Session) -> Results:
        """Weights of all networks by way to train, and its labels."""
        return _networks(self, session, NOISY)


def _networks(settings: DigitSettings, session: Session, names: Any) -> Results:
    digits, _ = data.images("digits", "train")
    ways = settings.ways()
    return Results(
        pd.DataFrame(),
        to_arrays(settings.train(session, names, digits)),
        {"labels": {name: ways[name].label for name in names}},
    )


def stacks(trained: Results) -> dict[str, Any]:
    """Return the networks of one of the experiments above, way to train -> Stack."""
    untrained = digit_network(0, trained.settings["width"])
    return {name: from_arrays(trained.arrays, untrained, name) for name in trained.facts["labels"]}
