"""Samples that are training images: of trained networks, and of a learner without error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from companion import metrics, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import EXTRA, NONE, STRONG
from companion.experiments.extra_noise.digits import (
    SIZES,
    DigitNetworks,
    digit_networks,
    digit_sets,
    trained_on,
)
from companion.experiments.extra_noise.sampling import Chains, chain
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Copies", "PerfectLearner", "learned_from_noisy"]

FEW = SIZES[0]


@dataclass(frozen=True)
class Copies(Experiment):
    """Share of copies among samples of the networks that were trained on few digits.

    A sample is a copy if it is nearer to a training digit than a third of its distance to the
    second nearest.

    Parameters
    ----------
    steps : int
        Of the chain.
    samples : int
        Of each run.
    """

    steps: int = 20
    samples: int = 64

    sizes = {"smoke": {"steps": 5, "samples": 8}}
    needs = (DigitNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Share of copies by arm and seed."""
        arms = (NONE, *EXTRA)
        jobs = trained_on(arms, FEW)
        networks = digit_networks(session, jobs)
        runs, chains = networks.runs, Chains(session, networks.runs)
        start = chains.start(self.samples, (1, 8, 8), len(arms))
        x = chains.ddpm(networks.pick(*jobs), start, self.steps, len(arms))
        digits = digit_sets(session, runs)[str(FEW)]
        tables = []
        for arm, by_run in zip(arms, x.view(len(arms), runs, -1, 1, 8, 8)):
            shares = [metrics.copies(part, known) for part, known in zip(by_run, digits)]
            tables.append(tidy(shares, {"seed": range(runs)}, measure="copies", **arm.where))
        return Results(tables)


def learned_from_noisy(perfect: oracles.Empirical, s: float, x: Tensor, sigma: Any) -> Tensor:
    """Return the exact denoiser of data with noise s on them (eq-xn-convolved).

    Parameters
    ----------
    perfect : Empirical
        Of the clean data.
    s : float
        Standard deviation of the noise on the data.
    x, sigma : as of a denoiser, sigma one number
    """
    level = math.hypot(s, float(sigma))
    return x - (float(sigma) / level) ** 2 * (x - perfect.denoiser(x, level))


@dataclass(frozen=True)
class PerfectLearner(Experiment):
    """Share of copies among samples of the exact minimiser on few digits, for each kind of noise.

    Parameters
    ----------
    strength : float
        Of C.
    steps : int
        Of the chain.
    samples : int
        For each seed.
    seeds : int
        Of the starting noise.
    """

    strength: float = 0.3
    steps: int = 100
    samples: int = 32
    seeds: int = 8

    sizes = {"smoke": {"steps": 10, "samples": 4, "seeds": 2}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Share of copies by what was learned."""
        perfect = oracles.Empirical(digit_sets(session, 1)[str(FEW)][0])
        noisy = f"C, s = {self.strength:g}"
        learned: dict[str, Any] = {"none": perfect.denoiser}
        learned |= {str(arm): arm.relabelled(perfect.denoiser) for arm in STRONG}
        learned[noisy] = partial(learned_from_noisy, perfect, self.strength)
        start = Chains(session, self.seeds).start(self.samples, (1, 8, 8))
        samples = {
            name: samplers.ddpm(denoiser, start, chain(self.steps), generator=session.generator(8))
            for name, denoiser in learned.items()
        }
        samples[f"{noisy}, denoised from s"] = perfect.denoiser(samples[noisy], self.strength)
        shares = [metrics.copies(x, perfect.data) for x in samples.values()]
        return Results(tidy(shares, {"learner": samples}, measure="copies"))
