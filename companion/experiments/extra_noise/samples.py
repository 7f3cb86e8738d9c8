"""Samples of every arm and of the free rival of B, with chains of several lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from companion import metrics
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXACT,
    EXTRA,
    FREE,
    NONE,
    STRONG,
    TRAINED,
    Arm,
)
from companion.experiments.extra_noise.digits import (
    BIG_ARMS,
    MOST,
    DigitNetworks,
    Quality,
    digit_networks,
    digit_sets,
    trained_on,
)
from companion.experiments.extra_noise.ring import (
    RING,
    RingNetworks,
    balance,
    mode_width,
    ring_networks,
    ring_truth,
)
from companion.experiments.extra_noise.sampling import Chains, Exposure
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "DigitSamples",
    "ExactSamples",
    "RingSamples",
    "by_arm",
    "digits_of_runs",
    "exposure_table",
]

FREE_ARMS = (*STRONG, Arm("B eps", 0.1))
"""Arms of B whose free rival is sampled."""
FREE_LONG = FREE_ARMS[1:]
"""The same on the longest chain: those with the paper's target."""

Measures = Mapping[str, Callable[[Tensor], Any]]


def measured(chains: Chains, samples: Tensor, measures: Measures, **where: Any) -> list:
    """Return a table for each measure of the samples of one job, by seed."""
    dims = {"seed": range(chains.runs)}
    return [
        tidy(chains.each(measure, samples)[0], dims, measure=name, **where)
        for name, measure in measures.items()
    ]


def exposure_table(exposure: Exposure, job: int, **where: Any) -> pd.DataFrame:
    """Return the exposure bias of one job by level and seed: logarithms of norm ratios."""
    ratios = torch.stack(exposure.ratios)[:, job]
    dims = {"level": exposure.levels, "seed": range(ratios.shape[1])}
    return tidy(ratios, dims, measure="exposure bias", **where)


def by_arm(
    chains: Chains,
    stack: Any,
    plain: Any,
    arms: Sequence[Arm],
    free: Sequence[Arm],
    steps: int,
    samples: int,
    truth: Tensor,
    measures: Measures,
) -> list[pd.DataFrame]:
    """Sample some arms with one length of the chain, and the free rivals of some; measure all.

    Parameters
    ----------
    chains : Chains
    stack : networks of ``arms``, arm by arm
    plain : networks of the arm none
    arms, free : sequences of Arm
    steps : int
    samples : int
        Of each run.
    truth : (runs, n, *shape) tensor
        Clean data, for the exposure bias.
    measures : dict, name -> function of the samples of a run
    """
    shape, jobs, tables = tuple(truth.shape[2:]), len(arms), []
    start = chains.start(samples, shape, jobs)
    together, exposure = chains.watched(stack, start, steps, jobs, truth)
    for i, (arm, x) in enumerate(zip(arms, together.view(jobs, -1, *shape))):
        where = {"denoiser": TRAINED, **arm.where, "steps": steps}
        tables += measured(chains, x, measures, **where)
        tables.append(exposure_table(exposure, i, **where))
    for arm in free:
        x = chains.ddpm(arm.relabelled(plain), chains.start(samples, shape), steps)
        where = {"denoiser": FREE, **arm.where, "steps": steps}
        tables += measured(chains, x, measures, **where)
    return tables


@dataclass(frozen=True)
class RingSamples(Experiment):
    """Samples of the ring from every arm and the free rivals, with chains of several lengths.

    On the longest chain fewer arms are sampled.

    Parameters
    ----------
    chains : tuple of int
        Steps of DDPM.
    samples : int
        Of each run.
    truth, projections : int
        Samples of the ring itself, and directions, of the sliced Wasserstein distance.
    watched : int
        Samples of the ring itself for the exposure bias.
    """

    chains: tuple[int, ...] = (20, 100, 1000)
    samples: int = 256
    truth: int = 4000
    projections: int = 24
    watched: int = 1000

    sizes = {"smoke": {"chains": (5, 10, 20), "samples": 32, "truth": 200, "projections": 4}}
    needs = (RingNetworks,)
    seconds = 9

    def run(self, session: Session) -> Results:
        """Distance, width and balance of the modes, exposure bias: by arm, steps and seed."""
        networks, truth = ring_networks(session, (NONE, *EXTRA)), ring_truth(session, self.truth)
        chains, plain = Chains(session, networks.runs), networks.pick((NONE, "clean"))
        measures = {
            "distance": lambda x: metrics.sliced_wasserstein(
                x, truth, projections=self.projections
            ),
            "width": mode_width,
            "balance": balance,
        }
        tables = []
        for steps in self.chains:
            longest = steps == max(self.chains)
            arms = BIG_ARMS if longest else (NONE, *EXTRA)
            stack = networks.pick(*((arm, "clean") for arm in arms))
            free = FREE_LONG if longest else FREE_ARMS
            clean = truth[: self.watched].expand(chains.runs, -1, -1)
            tables += by_arm(
                chains, stack, plain, arms, free, steps, self.samples, clean, measures
            )  # fmt: skip
        return Results(tables)


@dataclass(frozen=True)
class ExactSamples(Experiment):
    """Samples of the ring with the exact denoiser, plain and as B would relabel it.

    Parameters
    ----------
    chains : tuple of int
        Steps of DDPM.
    samples, truth, projections, watched : as of ``RingSamples``
    seeds : int
        For starting noise and fresh noise, those of the networks' chains.
    """

    chains: tuple[int, ...] = (20, 100, 1000)
    samples: int = 256
    truth: int = 4000
    projections: int = 24
    watched: int = 1000
    seeds: int = 8

    sizes = {
        "smoke": {
            "chains": (5, 10, 20), "samples": 32, "truth": 200, "projections": 4, "seeds": 2,
        }
    }  # fmt: skip
    seconds = 3

    def run(self, session: Session) -> Results:
        """Distance, width of the modes and exposure bias, by arm, steps and seed."""
        chains, truth = Chains(session, self.seeds), ring_truth(session, self.truth)
        measures = {
            "distance": lambda x: metrics.sliced_wasserstein(
                x, truth, projections=self.projections
            ),
            "width": mode_width,
        }
        tables = []
        for steps in self.chains:
            for arm in (NONE, *B_ARMS):
                denoiser = RING.denoiser if arm == NONE else arm.relabelled(RING.denoiser)
                start = chains.start(self.samples, (2,))
                clean = truth[: self.watched].expand(self.seeds, -1, -1)
                x, exposure = chains.watched(denoiser, start, steps, 1, clean)
                where = {"denoiser": EXACT, **arm.where, "steps": steps}
                tables += measured(chains, x, measures, **where)
                tables.append(exposure_table(exposure, 0, **where))
        return Results(tables)


def digits_of_runs(session: Session, runs: int, number: int) -> Tensor:
    """Return digits that the networks of each run were trained on, (runs, number, 1, 8, 8)."""
    return torch.stack([digits[:number] for digits in digit_sets(session, runs)[str(MOST)]])


@dataclass(frozen=True)
class DigitSamples(Experiment):
    """Samples of digits from every arm and the free rivals, with chains of several lengths.

    Parameters
    ----------
    chains : tuple of int
        Steps of DDPM.
    samples : int
        Of each run.
    classifier_steps : int
        Of the classifier whose features measure samples.
    """

    chains: tuple[int, ...] = (20, 100, 1000)
    samples: int = 128
    classifier_steps: int = 200

    sizes = {"smoke": {"chains": (5, 10, 20), "samples": 16, "classifier_steps": 20}}
    needs = (DigitNetworks,)
    seconds = 11

    def run(self, session: Session) -> Results:
        """Frechet distance, precision, recall, exposure bias: by arm, steps and seed."""
        jobs = trained_on(BIG_ARMS, MOST)
        networks, quality = digit_networks(session, jobs), Quality(self.classifier_steps)
        chains, plain = Chains(session, networks.runs), networks.pick((NONE, str(MOST)))
        clean = digits_of_runs(session, networks.runs, self.samples)
        tables = []
        for steps in self.chains:
            free = FREE_LONG if steps == max(self.chains) else FREE_ARMS
            tables += by_arm(
                chains, networks.pick(*jobs), plain, BIG_ARMS, free, steps, self.samples, clean,
                quality.measures,
            )  # fmt: skip
        return Results(tables, facts={"classifier": quality.classifier.describe()})
