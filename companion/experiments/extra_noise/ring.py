"""The ring of eight Gaussians: training sets, networks, and what samples are measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from companion import data, denoisers, metrics, networks, noise, oracles
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import C_ARMS, EXTRA, NONE, ONE_LEVEL, STRONG, Arm
from companion.experiments.extra_noise.training import Job, Networks, train
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "LEVELS",
    "OUTLIER_ARMS",
    "RING",
    "RingNetworks",
    "balance",
    "mode_width",
    "ring_network",
    "ring_networks",
    "ring_sets",
    "ring_truth",
]

RING = oracles.GaussianMixture(data.mixture("ring").means, 0.2)
LEVELS = noise.LogNormal(-0.8, 1.1)
OUTLIER_ARMS = (*STRONG, *C_ARMS)
"""Arms that are trained on data with outliers too."""
JOBS: tuple[Job, ...] = (
    *((arm, "clean") for arm in (NONE, *EXTRA, ONE_LEVEL)),
    *((arm, "outliers") for arm in (NONE, *OUTLIER_ARMS)),
    (NONE, "filtered"),
)


def ring_sets(session: Session, runs: int, points: int = 2000) -> dict[str, list[Tensor]]:
    """Return training sets, some of each: clean, with outliers, and with outliers filtered.

    With 5 % outliers anywhere in a square around the ring; the filter throws away the 5 % of points
    with the most distant fifth neighbours.
    """
    sets: dict[str, list[Tensor]] = {"clean": [], "outliers": [], "filtered": []}
    for r in range(runs):
        clean = RING.sample(points, session.generator(10 + r))
        astray = torch.rand(points, 1, generator=session.generator(30 + r)) < 0.05
        anywhere = 8 * torch.rand(points, 2, generator=session.generator(50 + r)) - 4
        dirty = torch.where(astray, anywhere, clean)
        far = torch.cdist(dirty, dirty).topk(6, largest=False).values[:, -1]
        sets["clean"].append(clean)
        sets["outliers"].append(dirty)
        sets["filtered"].append(dirty[far <= far.quantile(0.95)])
    return sets


def ring_truth(session: Session, number: int) -> Tensor:
    """Return samples of the distribution itself, (number, 2)."""
    return RING.sample(number, session.generator(70))


def ring_network(number: int) -> nn.Module:
    """Return a small denoiser in the plane, with first weights of its own."""
    make = partial(networks.MLP, 2, width=48, depth=2)
    return denoisers.Preconditioned(networks.seeded(make, number), 1.0)


@dataclass(frozen=True)
class RingNetworks(Experiment):
    """Networks of every arm on the ring, on clean data and on data with outliers.

    Parameters
    ----------
    steps : int
        Of training, with batches of 32.
    points : int
        Of each training set.
    seeds : int
    """

    steps: int = 800
    points: int = 2000
    seeds: int = 8

    sizes = {"smoke": {"steps": 20, "seeds": 2}}
    seconds = 9

    def run(self, session: Session) -> Results:
        """Weights of all networks; the points of each training set."""
        sets = ring_sets(session, self.seeds, self.points)
        seeds = [1000 * session.seed + r for r in range(self.seeds)]
        trained = train(
            JOBS, sets, ring_network, LEVELS, 1.0, seeds,
            steps=self.steps, batch_size=32, lr=1e-2,
        )  # fmt: skip
        count = [[len(x) for x in sets[name]] for name in sets]
        dims = {"data": sets, "seed": range(self.seeds)}
        return Results(tidy(count, dims, measure="points"), trained.to_arrays())


def ring_networks(
    session: Session, arms: Sequence[Arm] = (NONE,), training_set: str = "clean"
) -> Networks:
    """Return networks of ``RingNetworks`` that were trained on one of its sets."""
    jobs = [(arm, training_set) for arm in arms]
    return Networks.of(session.run(RingNetworks), ring_network(0), jobs)


# --- what samples are measured by -----------------------------------------------------------------


def mode_width(x: Tensor) -> float:
    """Width of the modes in samples (n, 2), over the true one."""
    square = torch.cdist(x, RING.means.to(x)).amin(1).square().mean() / 2
    return float(square.sqrt() / RING.stds[0])


def balance(x: Tensor) -> float:
    """How alike the shares of the modes in samples are to their weights; 1 is perfect."""
    return metrics.modes_covered(x, RING).balance
