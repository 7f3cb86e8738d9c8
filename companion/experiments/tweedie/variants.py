"""Choices: whose gradient, which weight, which steps and draws, from one ambient network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, objectives, training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.ablations import GRADIENTS
from companion.experiments.tweedie.methods import AMBIENT, CONSISTENCY, objective
from companion.experiments.tweedie.points import MODES, SMOKE, PointExperiment

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["RECOMMENDED", "AmbientNetworks", "AmbientWeights", "Gradients", "Variants", "chosen"]

FAILED = 1e3
"""Error of a network whose training diverged, and the largest that is kept."""

RECOMMENDED = "as recommended: ratio 0.7, walk of 1, two antithetic draws"


@dataclass(frozen=True)
class AmbientNetworks(PointExperiment):
    """Networks trained with the ambient loss alone: the start of the comparisons of choices.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    """

    seconds = 6

    def run(self, session: Session) -> Results:
        """Weights; errors by level."""
        sets = self.noisy(session, self.clean_sets(session))
        stack = self.training().fit(AMBIENT, self.noise, sets, session.seed)
        table = tidy(self.errors(session, stack), self.axes(), measure="error", method=AMBIENT)
        return Results(table, to_arrays(stack))


class FineTuning:
    """Training that goes on from ``AmbientNetworks``, at equal network evaluations.

    Parameters
    ----------
    session : Session
    plan : PointExperiment
        Whose shared settings are used.
    steps : int
    """

    def __init__(self, session: Session, plan: PointExperiment, steps: int):
        self.session, self.plan, self.steps = session, plan, steps
        self.sets = plan.noisy(session, plan.clean_sets(session))
        self.shared = plan.training()
        start = session.run(plan.like(AmbientNetworks))
        self.start = from_arrays(start.arrays, self.shared.denoiser(0))

    def __call__(
        self,
        method: str,
        weight: float = 0.1,
        start: Any = None,
        steps: int | None = None,
        seed: int = 50,
        **options: Any,
    ) -> Any:
        """Go on with a method; None if that diverges."""
        plan, shared = self.plan, self.shared
        sizes = (plan.noise, shared.sigma_data, shared.sigma_max)
        start = self.start if start is None else start
        try:
            return training.fit(
                [start[r] for r in range(plan.seeds)],
                objective(method, *sizes, weight, **options),
                self.sets, steps=self.steps if steps is None else steps,
                batch_size=plan.batch // (2 if method == CONSISTENCY else 1),
                lr=shared.lr / 2, ema=0.98, seed=1000 * self.session.seed + seed, device="cpu",
            ).denoiser  # fmt: skip
        except training.TrainingDiverged:
            return None

    def errors(self, denoiser: Any) -> Tensor:
        """Return errors by level, (seeds, levels)."""
        if denoiser is None:
            return torch.full((self.plan.seeds, self.plan.levels), FAILED)
        return self.plan.errors(self.session, denoiser).clamp(max=FAILED)


@dataclass(frozen=True)
class Gradients(PointExperiment):
    """The four gradients of consistency, and its weight, chosen without clean data.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    tune_steps : int
        Of the training that goes on from the ambient network.
    weights : tuple of float
        Weights of consistency that are tried.
    held_out : int
        Noisy points that the weight is chosen on.
    """

    tune_steps: int = 150
    weights: tuple[float, ...] = (0.1, 0.3, 1.0)
    held_out: int = 2000

    sizes = {"smoke": SMOKE | {"tune_steps": 2, "weights": (0.1, 1.0), "held_out": 50}}
    needs = (AmbientNetworks,)
    seconds = 20

    def run(self, session: Session) -> Results:
        """Errors and held-out losses by gradient and weight; the chosen weight."""
        tuning = FineTuning(session, self, self.tune_steps)
        held_out = self._held_out(session)
        sum_of_losses = {}
        tables = self._tables(session, tuning, tuning(AMBIENT), held_out, AMBIENT, 0.0)[0]
        for gradient in GRADIENTS:
            for weight in self.weights:
                net = tuning(CONSISTENCY, weight, gradient=gradient)
                parts, losses = self._tables(session, tuning, net, held_out, gradient, weight)
                tables += parts
                if gradient == GRADIENTS[0]:
                    sum_of_losses[weight] = sum(losses.values())
        best = min(sum_of_losses, key=lambda w: sum_of_losses[w])
        return Results(tables, facts={"weight": best})

    def _held_out(self, session: Session) -> Tensor:
        clean = MODES.sample(self.held_out, session.generator(400))
        return torch.cat(self.noisy(session, [clean] * self.seeds))

    def _tables(
        self, session: Session, tuning: FineTuning, net: Any, held_out: Tensor, gradient: str,
        weight: float,
    ) -> tuple[list, Mapping[str, float]]:  # fmt: skip
        """Errors by level, and both losses on noisy data that were not trained on."""
        where = {"gradient": gradient, "weight": weight}
        shared = self.training()
        checks = {
            "ambient": objective(AMBIENT, self.noise, shared.sigma_data, shared.sigma_max),
            "consistency": objectives.Consistency(self.noise, sigma_data=shared.sigma_data),
        }
        losses = {}
        for name, loss in checks.items():
            with torch.no_grad():
                value = (
                    math.inf if net is None else loss(net, held_out, session.generator(401)).mean()
                )
            losses[name] = float(value)
        found = tidy(list(losses.values()), {"loss": losses}, measure="held-out loss", **where)
        return [tidy(tuning.errors(net), self.axes(), measure="error", **where), found], losses


def chosen(session: Session, plan: PointExperiment | None = None) -> float:
    """Return the weight of consistency that ``Gradients`` chooses without clean data."""
    experiment = Gradients if plan is None else plan.like(Gradients)
    return float(session.run(experiment).facts["weight"])


@dataclass(frozen=True)
class Variants(PointExperiment):
    """Steps, draws, starting points and teachers of consistency, one thing changed at a time.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    tune_steps : int
        Of the training that goes on from the ambient network.
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses).
    renewals : tuple of int
        How often a teacher is replaced by a copy of the trained network.
    only : int, optional
        The first so many variants (default: all).
    """

    tune_steps: int = 150
    weight: float | None = None
    renewals: tuple[int, ...] = (0, 2)
    only: int | None = None

    sizes = {"smoke": SMOKE | {"tune_steps": 2, "only": 2}}
    needs = (AmbientNetworks, Gradients)
    seconds = 15

    def variants(self) -> dict[str, dict[str, Any]]:
        """Return the options of each; all cost the same for each sample of a batch."""
        any_length = noise.LogUniform(0.05, 0.95)
        above = noise.LogUniform(self.noise, 2 * self.noise)
        official = {"sigmas": above, "ratios": any_length, "antithetic": False, "every": 3}
        known: dict[str, dict[str, Any]] = {
            RECOMMENDED: {},
            "ratio 0.3": {"ratio": 0.3},
            "ratio 0.9": {"ratio": 0.9},
            "walk of 3 steps": {"walk": 3, "every": 8},
            "two plain draws": {"antithetic": False, "every": 4},
            "one antithetic draw, squared": {"draws": 1, "every": 4},
            "one plain draw, squared": {"draws": 1, "antithetic": False, "every": 3},
            "official, off": official,
            "official, on": {**official, "gradient": "all"},
        }
        return dict(list(known.items())[: self.only])

    def run(self, session: Session) -> Results:
        """Errors by level of each variant, and of more ambient training at the same cost."""
        weight = chosen(session, self) if self.weight is None else self.weight
        tuning = FineTuning(session, self, self.tune_steps)
        nets = {AMBIENT: tuning(AMBIENT)}
        for name, options in self.variants().items():
            nets[name] = tuning(CONSISTENCY, weight, **options)
        for renewals in self.renewals:
            teacher, steps = tuning.start, max(1, self.tune_steps // (renewals + 1))
            for _ in range(renewals + 1):
                if teacher is not None:
                    teacher = tuning(CONSISTENCY, weight, teacher, steps, seed=60, teacher=teacher)
            nets[f"a teacher, renewed {renewals} times"] = teacher
        tables = [
            tidy(tuning.errors(net), self.axes(), measure="error", variant=name)
            for name, net in nets.items()
        ]
        return Results(tables, facts={"weight": weight})


@dataclass(frozen=True)
class AmbientWeights(PointExperiment):
    """Distribution of the added noise and weight of the ambient loss; half the training steps.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    starts : tuple of float
        Smallest noise t that is added: ``noise`` over this, with the weight of the same place.
    weights : tuple of str
        Of ``objectives.AmbientTweedie``.
    """

    starts: tuple[float, ...] = (3, 1, 3, 3)
    weights: tuple[str, ...] = ("edm", "edm", "epsilon", "data")

    sizes = {"smoke": SMOKE | {"starts": (3,), "weights": ("edm",)}}
    seconds = 10

    def run(self, session: Session) -> Results:
        """Errors by level."""
        shared, tables = self.training(0.5), []
        sets = self.noisy(session, self.clean_sets(session))
        for start, weight in zip(self.starts, self.weights, strict=True):
            added = noise.LogUniform(self.noise / start, shared.sigma_max)
            stack = training.fit(
                [shared.denoiser(100 * session.seed + r) for r in range(self.seeds)],
                objectives.AmbientTweedie(self.noise, added, weight, shared.sigma_data),
                sets, steps=shared.steps, batch_size=shared.batch, lr=shared.lr, ema=0.99,
                seed=1000 * session.seed, device="cpu",
            ).denoiser  # fmt: skip
            where = {"start": start, "weight": weight}
            tables.append(tidy(self.errors(session, stack), self.axes(), measure="error", **where))
        return Results(tables)
