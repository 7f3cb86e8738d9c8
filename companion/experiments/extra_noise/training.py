"""Networks of all arms, trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from companion import training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.extra_noise.arms import EXTRA, NONE, ONE_LEVEL, Arm
from companion.experiments.results import Results

__all__ = ["Job", "Networks", "train"]

Job = tuple[Arm, str]
"""An arm and the name of its training set."""


class Networks:
    """Trained networks by job, some runs (seeds) of each.

    Parameters
    ----------
    stacks : dict, job -> Stack of R
    """

    def __init__(self, stacks: Mapping[Job, Any]):
        self.stacks = dict(stacks)
        self.runs = len(next(iter(self.stacks.values())))

    def pick(self, *jobs: Job) -> training.Stack:
        """Return the networks of some jobs as one stack, job by job."""
        parts = [self.stacks[job][r] for job in jobs for r in range(self.runs)]
        return training.Stack(parts).requires_grad_(False)

    def to_arrays(self) -> dict[str, Any]:
        """Return the weights as named arrays, for ``Results``."""
        return to_arrays({_name(job): stack for job, stack in self.stacks.items()})

    @classmethod
    def of(cls, results: Results, network: nn.Module, jobs: Sequence[Job]) -> Networks:
        """Return the networks whose weights are in results; ``network`` is one of their kind."""
        return cls({job: from_arrays(results.arrays, network, _name(job)) for job in jobs})


def _name(job: Job) -> str:
    arm, training_set = job
    return f"{training_set}: {arm.kind} {arm.strength:g}"


def train(
    jobs: Sequence[Job],
    sets: Mapping[str, Sequence[Tensor]],
    network: Callable[[int], nn.Module],
    levels: Any,
    sigma_data: float,
    seeds: Sequence[int],
    **how: Any,
) -> Networks:
    """Train every job. The r-th runs of all share weights, batches and noise.

    Parameters
    ----------
    jobs : sequence of Job
    sets : dict, name -> R training sets
    network : function of a seed, a denoiser with first weights of its own
    levels, sigma_data : as of ``Arm.objective``
    seeds : R seeds
    **how : as of ``training.fit``

    Returns
    -------
    Networks, averaged
    """
    order = [NONE, *EXTRA, ONE_LEVEL]  # equal objectives side by side
    jobs, runs = sorted(jobs, key=lambda job: order.index(job[0])), len(seeds)
    each = [(job, r) for job in jobs for r in range(runs)]
    stack = training.fit(
        [network(seeds[r]) for _, r in each],
        [arm.objective(levels, sigma_data) for (arm, _), _ in each],
        [sets[name][r] for (_, name), r in each],
        seed=[seeds[r] for _, r in each], device="cpu", ema=0.99, **how,
    ).denoiser  # fmt: skip
    return Networks(
        {
            job: training.Stack([stack[i * runs + r] for r in range(runs)]).requires_grad_(False)
            for i, job in enumerate(jobs)
        }
    )
