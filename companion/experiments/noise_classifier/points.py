"""Networks on points, continued with and without the contrastive loss, and their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, denoisers, networks, noise, objectives, oracles, training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.ablations import official_loss
from companion.experiments.noise_classifier.continuations import (
    BATCH,
    BEFORE,
    CONTRASTIVE,
    OFFICIAL,
    SAME_COST,
    SAME_STEPS,
    continue_training,
    gather,
    with_controls,
)
from companion.experiments.noise_classifier.picard import SIGMA_MAX, SIGMA_MIN
from companion.experiments.noise_classifier.ratio import LEVELS
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "DATA",
    "DENOISING",
    "METHODS",
    "PointNetworks",
    "Points",
    "contrastive",
    "distributions",
    "noise_errors",
    "off_distribution",
    "on_distribution",
    "point_network",
    "point_networks",
    "rms",
    "training_sets",
]

DATA = ("spirals", "dinosaur")
METHODS = (BEFORE, SAME_STEPS, SAME_COST, CONTRASTIVE, OFFICIAL)
DENOISING = objectives.DenoisingScoreMatching(noise.LogNormal(-1.2, 1.6), "edm", 1.0)

Points = tuple[Tensor, Tensor]
"""States (n, 2) and their noise levels (n,)."""


def distributions(session: Session) -> dict[str, oracles.GaussianMixture]:
    """Return the spirals, and a narrow Gaussian around each of 150 points of the dinosaur."""
    dots = data.points("dinosaur", 150, generator=session.generator(61))
    return {"spirals": data.mixture("spirals"), "dinosaur": oracles.GaussianMixture(dots, 0.05)}


def training_sets(session: Session) -> dict[str, Tensor]:
    """Return 20,000 samples of each distribution."""
    mixtures = distributions(session)
    return {
        name: mixture.sample(20_000, session.generator(62)) for name, mixture in mixtures.items()
    }


def point_network(number: int, dim: int = 2, width: int = 64) -> nn.Module:
    """Return a small denoiser with first weights of its own."""
    make = partial(networks.MLP, dim, width=width)
    return denoisers.Preconditioned(networks.seeded(make, number), 1.0)


# --- errors --------------------------------------------------------------------------------------


@torch.no_grad()
def noise_errors(stack: Any, mixture: Any, x: Tensor, sigma: Tensor) -> Tensor:
    """``|eps_hat - exact|`` at the same points (n, dim) for every run of a stack, (R, n)."""
    exact, runs = mixture.denoiser(x, sigma), len(stack)
    answer = stack(x.repeat(runs, 1), sigma.repeat(runs)).view(runs, *x.shape)
    return ((answer - exact) / sigma[:, None]).norm(dim=2)


def rms(stack: Any, mixture: Any, where: Points) -> Tensor:
    """Root mean square error of the noise estimate for each run, (R,)."""
    return noise_errors(stack, mixture, *where).square().mean(1).sqrt()


def on_distribution(session: Session, mixture: Any, n: int, number: int) -> Points:
    """Points as training has them, at levels spread evenly."""
    level = torch.logspace(math.log10(SIGMA_MIN), math.log10(SIGMA_MAX), n)
    x = mixture.sample(n, session.generator(number))
    return noise.corrupt(x, level, generator=session.generator(number + 1)), level


def off_distribution(session: Session, mixture: Any, n: int, number: int) -> Points:
    """Points with more noise than they admit: by t, from 0.05 to 5."""
    x, level = on_distribution(session, mixture, n, number)
    t = noise.LogUniform(0.05, 5.0).sample(n, generator=session.generator(number + 2))
    return noise.corrupt(x, t, generator=session.generator(number + 3)), level


# --- networks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointNetworks(Experiment):
    """Networks on the spirals and the dinosaur, continued with and without the contrastive loss.

    Learning rates, and the weight and contrasts of the loss, are chosen on networks that the
    comparison does not use, by the error off the distribution.

    Parameters
    ----------
    steps : int
        Of the networks before.
    tune_steps : int
        Of the continuations with the loss; the control of equal evaluations makes more.
    search_steps : int
        The same, while settings are chosen.
    rates, weights, reaches : tuples of float
        Learning rates, weights of the loss and largest contrasts that are tried.
    spare : int
        Networks for choosing settings.
    seeds : int
    """

    steps: int = 900
    tune_steps: int = 120
    search_steps: int = 60
    rates: tuple[float, ...] = (1e-3, 3e-3)
    weights: tuple[float, ...] = (0.1, 1.0)
    reaches: tuple[float, ...] = (1.0, 5.0)
    spare: int = 2
    seeds: int = 8

    sizes = {
        "smoke": {
            "steps": 10, "tune_steps": 2, "search_steps": 2, "rates": (1e-3,), "weights": (0.1,),
            "reaches": (1.0,), "spare": 1, "seeds": 2,
        }
    }  # fmt: skip
    seconds = 25

    def run(self, session: Session) -> Results:
        """Weights of all networks; the settings tried, with their errors, and those chosen."""
        mixtures, sets = distributions(session), training_sets(session)
        number = self.seeds + self.spare
        seeds = [1000 * session.seed + r for r in range(number)]
        base = training.fit(
            [point_network(s) for _ in mixtures for s in seeds], DENOISING,
            [sets[name] for name in mixtures for _ in seeds], steps=self.steps, batch_size=BATCH,
            lr=3e-3, seed=seeds * len(mixtures), device="cpu",
        ).denoiser  # fmt: skip
        spare = gather(base, range(self.seeds, number))
        tried = self._search(session, spare, mixtures[DATA[0]], sets[DATA[0]])
        chosen = {method: min(found, key=lambda s: found[s]) for method, found in tried.items()}
        rate, weight, reach = chosen[CONTRASTIVE]
        goals = with_controls(DENOISING, contrastive(reach), self.tune_steps, weight)
        goals[OFFICIAL] = (official_objective(), self.tune_steps)
        arrays: dict[str, Any] = {}
        for k, name in enumerate(DATA):
            before = gather(base, range(k * number, k * number + self.seeds))
            arrays |= to_arrays({f"{name}: {BEFORE}": before})
            for method, goal in goals.items():
                after = continue_training(
                    before, {method: goal}, [sets[name]] * self.seeds,
                    [s + 900 for s in seeds[: self.seeds]], lr=chosen.get(method, (rate,))[0],
                )  # fmt: skip
                arrays |= to_arrays({f"{name}: {method}": after[method]})
        tables = [
            tidy([v], {"rate": [r]}, measure="log error", method=m, weight=w, reach=t)
            for m, found in tried.items()
            for (r, w, t), v in found.items()
        ]
        settings = {
            m: {"rate": r, "weight": w, "reach": t, "tried": len(tried[m])}
            for m, (r, w, t) in chosen.items()
        }
        return Results(tables, arrays, {"chosen": settings, "official weight": official_weight()})

    def _search(
        self, session: Session, spare: Any, mixture: Any, samples: Tensor
    ) -> dict[str, dict[tuple[float, float, float], float]]:
        """Errors off the distribution: method -> (rate, weight, largest contrast) -> logarithm."""
        tried: dict[str, dict] = {SAME_STEPS: {}, SAME_COST: {}, CONTRASTIVE: {}}
        where = off_distribution(session, mixture, 400, 63)
        for rate in self.rates:
            for weight in self.weights:
                for reach in self.reaches:
                    goals = with_controls(DENOISING, contrastive(reach), self.search_steps, weight)
                    if (weight, reach) != (self.weights[0], self.reaches[0]):
                        goals = {CONTRASTIVE: goals[CONTRASTIVE]}  # the controls have neither
                    nets = continue_training(
                        spare, goals, [samples] * len(spare), [7 + i for i in range(len(spare))],
                        lr=rate,
                    )  # fmt: skip
                    for method, stack in nets.items():
                        error = float(rms(stack, mixture, where).log().mean())
                        tried[method][rate, weight, reach] = error
        return tried


def contrastive(reach: float) -> objectives.ContrastiveDiffusion:
    """Return the loss as it is trained with here: 4 samples of a batch, 16 points."""
    return objectives.ContrastiveDiffusion(
        points=16, samples=4, contrast=noise.LogUniform(0.05, reach)
    )


def official_weight() -> float:
    """Weight of the loss beside a likelihood objective in the official code, in our units.

    The likelihood objective is d / 2 times the width of the range in log SNR, with d = 2. The coin
    is counted twice by our loss; theirs counts 2 samples of a batch.
    """
    nats = 0.5 * 2 * 2 * math.log(LEVELS.sigma_max / LEVELS.sigma_min)
    return 0.5 * 2 / BATCH / nats


def official_objective() -> objectives.Sum:
    """Return the objective of the official code: its loss beside a likelihood."""
    loss = official_loss(BATCH, contrast=noise.LogLogistic(0.0, 3.0, 3.0), preserving=True)
    return objectives.Sum(
        (objectives.DenoisingScoreMatching(LEVELS, "epsilon"), loss), (1.0, official_weight())
    )


def point_networks(
    session: Session, methods: Sequence[str] = METHODS
) -> tuple[dict[str, dict[str, Any]], Results]:
    """Return the stacks of ``PointNetworks``, data -> method -> Stack, and its results."""
    results = session.run(PointNetworks)
    network = point_network(0)
    stacks = {
        name: {m: from_arrays(results.arrays, network, f"{name}: {m}") for m in methods}
        for name in DATA
    }
    return stacks, results
