"""One network that the learned sampler is tried on: a part of the record of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import progress, samplers
from companion.experiments.gradient_estimation.learned_rivals import Setting, settings
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import converged, error_by_seed
from companion.experiments.image_search import shared_setting
from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SMOKE", "LearnedNetwork", "LearnedSettings"]

METHODS = ("ddim", "gradient_estimation", "dpmpp_2m", "dpmpp_3m", "unipc", "deis")
"""Fixed samplers; Heun's method is far behind with few evaluations."""

LEARNING, NOISE = 510, 20_000
"""First number of the noise that is learned and chosen on, and of that which decides."""

SMOKE: dict[str, Any] = recipe(
    "digits", "smoke", budgets=(3,), lows=(0.1,), held_in=2, iterations=1, teacher=4, samples=70,
    paired=2, reference=2, methods=("ddim",),
)  # fmt: skip
"""Tiny sizes, of a network and of all."""


@dataclass(frozen=True)
class LearnedSettings(ImageExperiment):
    """How a sampler is learned on a U-Net, and what it is compared with.

    Parameters
    ----------
    methods : tuple of str
        Fixed samplers.
    budgets : tuple of int
        Network evaluations.
    lows : tuple of float
        Smallest levels above 0 of the fixed schedules.
    held_in : int
        Noise samples to learn from, on which fixed samplers choose; as many more decide when
        learning stops.
    iterations : int
        Steps of the fit at most.
    teacher : int
        Evaluations that stand for the flow where the sampler is learned.
    samples : int
        For each network, for the Frechet distance.
    paired : int
        Of these, those that are compared with the flow.
    reference : int
        Steps of Heun's method that stand for the flow.
    """

    methods: tuple[str, ...] = METHODS
    budgets: tuple[int, ...] = (3, 5, 10, 20)
    lows: tuple[float, ...] = (0.02, 0.1)
    held_in: int = 48
    iterations: int = 10
    teacher: int = 200
    samples: int = 512
    paired: int = 64
    reference: int = 60


@dataclass(frozen=True)
class LearnedNetwork(LearnedSettings):
    """One network, with noise of its own.

    The sampler is learned, and the settings of the fixed ones are chosen, on the same noise; they
    are compared on other noise.

    Parameters
    ----------
    network_seed : int
        The seed is that many after the session's.
    Others as of ``LearnedSettings``.
    """

    network_seed: int = 0

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Error and Frechet distance by method and budget; levels, weights and cost."""
        setting, seed = shared_setting(self), session.seed + self.network_seed
        denoiser = setting.fit(setting.plain(), seed)
        shape = (2 * self.held_in, *setting.shape)
        z = torch.randn(*shape, generator=session.generator(LEARNING + seed))
        learned = samplers.learn(
            denoiser, setting.shape, self.budgets, sigma_max=SIGMA_MAX, samples=self.held_in,
            iterations=self.iterations, teacher_steps=self.teacher,
            generator=session.generator(LEARNING + seed), batch_size=self.held_in,
        )  # fmt: skip
        chosen = {("learned", n): _from_noise(sampler) for n, sampler in learned.items()}
        chosen |= self.best(denoiser, z[: self.held_in])
        tables = self.measured(setting, denoiser, chosen, seed)
        for n, sampler in learned.items():
            tables += _numbers(sampler, budget=n, seed=seed)
        return Results(tables, {}, {"floor": setting.floor(self.samples), **setting.report()})

    def best(self, denoiser: Any, z: Tensor) -> dict[tuple[str, int], Any]:
        """Each fixed sampler with its best setting on the noise that is learned on."""
        chosen: dict[tuple[str, int], Any] = {}
        with torch.no_grad():
            ends = converged(denoiser, z, steps=self.reference)[0]
            for n in self.budgets:
                least: dict[str, float] = {}
                for tried in self.tried(n):
                    off = float(error_by_seed(tried(denoiser, z), ends, 1))
                    if off < least.get(tried.method, float("inf")):
                        least[tried.method] = off
                        chosen[tried.method, n] = tried
        return chosen

    def tried(self, evaluations: int) -> Iterator[Setting]:
        """Every setting of the fixed samplers."""
        return (s for s in settings(evaluations, self.lows) if s.method in self.methods)

    def measured(
        self, setting: Any, denoiser: Any, chosen: dict[tuple[str, int], Any], seed: int
    ) -> list[Any]:
        """Error and Frechet distance of each sampler on new noise."""
        z, tables = setting.noise(self.samples, NOISE + seed), []
        with torch.no_grad():
            end = converged(denoiser, z[: self.paired], steps=self.reference)[0]
        for (method, n), run in progress.track([*chosen.items()], "samplers"):
            out = setting.draw(lambda part, _, run=run: run(denoiser, part), z)
            error = float(error_by_seed(out[: self.paired], end, 1))
            values = {"error": error, "Frechet distance": setting.frechet(out)}
            where = {"method": method, "budget": n, "seed": seed}
            tables.append(tidy([*values.values()], {"measure": [*values]}, **where))
        return tables


def _numbers(sampler: samplers.LearnedSampler, **where: Any) -> list[Any]:
    """Levels and weights that were learned, and what learning cost."""
    facts: Any = sampler.facts
    cost = ("evaluations", "teacher_evaluations", "seconds", "teacher_seconds", "start_error")
    tables = [tidy([facts[name] for name in cost], {"measure": [*cost]}, **where)]
    for name in ("sigmas", "weights", "second"):
        steps = {"step": range(sampler.steps)}
        tables.append(tidy(getattr(sampler, name), steps, measure=name, **where))
    return tables


def _from_noise(sampler: samplers.LearnedSampler) -> Any:
    return lambda denoiser, z: sampler(denoiser, sampler.sigmas[0] * z)
