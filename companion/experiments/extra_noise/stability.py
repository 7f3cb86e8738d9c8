"""Gradients early in training, and how many runs fail at which learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import denoisers, networks, noise, training
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import EXTRA, NONE, ONE_LEVEL, Arm
from companion.experiments.extra_noise.ring import LEVELS, RING, ring_network, ring_sets
from companion.experiments.extra_noise.sampling import Chains
from companion.experiments.extra_noise.training import train
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["TRIED", "WATCHED", "FailedRuns", "GradientNoise"]

WATCHED = (NONE, *(arm for arm in EXTRA if arm.strength == 0.3))
"""Arms whose gradients are measured level by level."""
TRIED = (*WATCHED, ONE_LEVEL)
"""Arms that are trained at many learning rates."""
WORSE = 1.1
"""Loss at the end, over that at the beginning, above which a run has failed."""


@dataclass(frozen=True)
class GradientNoise(Experiment):
    """Noise scale of gradients early in training, and their variance level by level.

    The noise scale is the variance of one sample's gradient over the squared norm of its mean. All
    objectives are measured on the same networks.

    Parameters
    ----------
    steps : int
        Of training before.
    batches, each : int
        Small batches, and samples of each.
    levels : tuple of float
        Noise levels for the variance.
    seeds : int
    """

    steps: int = 30
    batches: int = 128
    each: int = 16
    levels: tuple[float, ...] = (0.05, 0.15, 0.5, 1.5, 5.0)
    seeds: int = 8

    sizes = {"smoke": {"steps": 10, "batches": 8, "seeds": 2}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Noise scale by arm and seed; variance by arm, level and seed."""
        early = train(
            [(NONE, "clean")], ring_sets(session, self.seeds), ring_network, LEVELS, 1.0,
            [1000 * session.seed + r for r in range(self.seeds)],
            steps=self.steps, batch_size=32, lr=1e-2,
        ).stacks[NONE, "clean"]  # fmt: skip
        tables, seeds = [], range(self.seeds)
        for arm in (NONE, *EXTRA, ONE_LEVEL):
            objective = arm.objective(LEVELS, 1.0)
            scales = [self._statistics(session, early[r], objective, r)[1] for r in seeds]
            tables.append(tidy(scales, {"seed": seeds}, measure="noise scale", **arm.where))
        for arm in WATCHED:
            for level in self.levels:
                objective = arm.objective(noise.Discrete((level,)), 1.0)
                traces = [self._statistics(session, early[r], objective, r)[0] for r in seeds]
                dims = {"level": [level], "seed": seeds}
                tables.append(tidy([traces], dims, measure="variance", **arm.where))
        return Results(tables)

    def _statistics(
        self, session: Session, network: Any, objective: Any, number: int
    ) -> tuple[float, float]:
        """Trace of the covariance of one sample's gradient, and the noise scale.

        Copies of the network in a stack give the gradients of small batches side by side.
        """
        copies = training.Stack([network] * self.batches).requires_grad_(True)
        first = Chains(session, self.seeds).generators("gradient")[number]
        batch = RING.sample(self.batches * self.each, first)
        numbers = torch.randint(2**60, (self.batches,), generator=first).tolist()
        generators = [torch.Generator().manual_seed(n) for n in numbers]
        loss = objective(copies, batch, generators).view(self.batches, self.each).mean(1)
        gradients = torch.autograd.grad(loss.sum(), list(copies.parameters()))
        flat = torch.cat([g.flatten(1) for g in gradients], 1)
        trace = self.each * float(flat.var(0).sum())
        signal = float(flat.mean(0).square().sum()) - trace / (self.each * self.batches)
        return trace, trace / max(signal, 1e-9)


@dataclass(frozen=True)
class FailedRuns(Experiment):
    """Which runs fail, over a wide range of learning rates, with and without gradient clipping.

    A run has failed if its loss ends more than a tenth above that of the untrained network.

    Parameters
    ----------
    rates : tuple of float
        Learning rates, constant and without warm-up.
    steps : int
    clip : float
        Largest gradient norm, where gradients are clipped.
    seeds : int
    """

    rates: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08, 0.16)
    steps: int = 100
    clip: float = 1.0
    seeds: int = 8

    sizes = {"smoke": {"rates": (0.01, 0.1), "steps": 20, "seeds": 2}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """1 for a run that failed, else 0: by clipping, arm, learning rate and seed."""
        tables = []
        for clipped in (True, False):
            for rate in self.rates:
                failed = self._failed(session, rate, self.clip if clipped else None)
                dims = {"rate": [rate], "seed": range(self.seeds)}
                for arm, runs in zip(TRIED, failed):
                    where = {"clipped": clipped, **arm.where}
                    tables.append(tidy(runs[None], dims, measure="failed", **where))
        return Results(tables)

    def _failed(self, session: Session, rate: float, clip: float | None) -> Tensor:
        """Which runs fail, (arms, runs)."""
        each = [(arm, r) for arm in TRIED for r in range(self.seeds)]
        seeds = [1000 * session.seed + r for _, r in each]
        sets = ring_sets(session, self.seeds)["clean"]
        start = [
            networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 32, 2), 1.0), seed)
            for seed in seeds
        ]
        last = training.fit(
            start, [arm.objective(LEVELS, 1.0) for arm, _ in each], [sets[r] for _, r in each],
            steps=self.steps, batch_size=32, lr=rate, clip=clip, warmup=0, decay="constant",
            seed=seeds, device="cpu",
        ).last  # fmt: skip
        chains, batch = Chains(session, self.seeds), RING.sample(1000, session.generator(98))

        def loss(arm: Arm, denoiser: Any) -> Tensor:
            objective, fresh = arm.objective(LEVELS, 1.0), chains.generators("loss")
            return objective(denoiser, batch.repeat(self.seeds, 1), fresh).view(self.seeds, -1)

        worse = []
        with torch.no_grad():
            for i, arm in enumerate(TRIED):
                after = loss(arm, last.part(i * self.seeds, (i + 1) * self.seeds)).mean(1)
                # A new network is the same function for every seed: its last layer is zero.
                worse.append(~(after <= WORSE * loss(arm, start[0]).mean(1)))
        return torch.stack(worse)
