"""Where a learned sampler serves besides: other seeds, data and objectives, and guidance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, noise, objectives, samplers, training
from companion.denoisers import Guided
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.learned_rivals import settings
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import (
    DIGITS,
    EXACT,
    LEARNED,
    DigitNetworks,
    PointNetworks,
    Problem,
    converged,
    digit_network,
    error_by_seed,
    problems,
)
from companion.experiments.noise_classifier.digits import DENOISING, contrastive
from companion.experiments.results import Results, tidy
from companion.oracles import GaussianMixture
from companion.samplers import LearnedSampler

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["KINDS", "LearnedTransfer"]

PERTURBED, AMBIENT, CONTRASTIVE = "input perturbation", "noisy images", "contrastive loss"
"""Networks of other objectives: those of chapters 1, 2 and 3."""

KINDS = ("another seed", PERTURBED, AMBIENT, CONTRASTIVE, "other data", "guidance")
"""What is different where a sampler is used."""

WEIGHT = 0.3
"""Of the contrastive loss in two dimensions: the middle one of those that chapter 3 tries."""

NOISE, LEARNING = 45, 46
"""Generators of the noise that decides, and of that which is learned and chosen on."""


@dataclass(frozen=True)
class LearnedTransfer(Experiment):
    """Samplers learned on one denoiser and used on another, beside those learned there.

    Learned on the first network of 8 x 8 digits: used on networks of other seeds, and on networks
    trained with input perturbation, from noisy digits alone by the ambient loss, and with the
    contrastive loss at the end of the training. Learned on a network of the spirals, with all
    levels times the ratio of the standard deviations: used on digits. Learned on the exact denoiser
    of the spirals: used with guidance towards one arm. Fixed samplers choose their settings on the
    denoiser on which they are used.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations.
    lows : tuple of float
        Smallest levels above 0 of the fixed schedules.
    perturbation : float
        ``gamma`` of the networks with input perturbation.
    data_noise : float
        Standard deviation of the noise in the digits of those with the ambient loss.
    contrasted : int
        Steps, of all, that have the contrastive loss beside denoising, with the weight that chapter
        3 takes for two dimensions, divided by 32 for 64.
    steps : int
        Of their training.
    weight : float
        Of the guidance.
    held_in : int
        Noise samples to learn from, on which fixed samplers choose; as many more decide when
        learning stops.
    iterations : int
        Steps of a fit at most.
    samples : int
        For each seed, to compare.
    reference : int
        Steps of Heun's method that stand for the flow.
    networks : int
        On which is learned; the sampler of the first is used on those after it.
    seeds : int
        Of the networks on which the samplers are used, and of the noise; fewer than ``networks``.
    """

    budgets: tuple[int, ...] = (5, 10)
    lows: tuple[float, ...] = (0.02, 0.1, 0.3)
    perturbation: float = 0.2
    data_noise: float = 0.4
    contrasted: int = 60
    steps: int = 500
    weight: float = 3.0
    held_in: int = 64
    iterations: int = 15
    samples: int = 64
    reference: int = 160
    networks: int = 8
    seeds: int = 5

    sizes = {
        "smoke": {
            "budgets": (5,), "lows": (0.1,), "contrasted": 1, "steps": 3, "held_in": 4,
            "iterations": 2, "samples": 8, "reference": 20, "networks": 3, "seeds": 2,
        }
    }  # fmt: skip
    needs = (PointNetworks, DigitNetworks)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Error by kind, method ("brought", "learned there", "best fixed"), budget and seed."""
        tables = []
        for kind, source, target in self.pairs(session):
            scale = 0.75 if kind == "other data" else 1.0
            brought = self.learned(source, session)
            there = brought if source is target else self.learned(target, session)
            z = target.noise(session, NOISE, self.samples * self.seeds)
            end, _ = converged(target.denoiser, z, steps=self.reference)
            for n in self.budgets:
                runs = {
                    "brought": scaled(brought[n], scale),
                    "learned there": there[n],
                }
                outs = {name: run(target.denoiser, run.sigmas[0] * z) for name, run in runs.items()}
                outs["best fixed"] = self.best_fixed(target, n, session)(target.denoiser, z)
                for name, out in outs.items():
                    tables.append(
                        tidy(
                            error_by_seed(out, end, self.seeds), {"seed": range(self.seeds)},
                            measure="error", kind=kind, method=name, budget=n,
                        )
                    )  # fmt: skip
        return Results(tables)

    def pairs(self, session: Session) -> Iterator[tuple[str, Problem, Problem]]:
        """Kind of the transfer, what is learned on, and what it is used on."""
        known = problems(session, self.networks)
        digits, points, exact = (known[name] for name in (DIGITS, LEARNED, EXACT))
        others = _others(digits, self.seeds)
        yield "another seed", digits, others
        for name, networks in self.other_objectives(session).items():
            yield name, digits, replace(digits, denoiser=networks, first=networks[0])
        yield "other data", points, others
        law = data.mixture("spirals")
        arm = GaussianMixture(law.means[: len(law.means) // 2], 0.06)
        guided = Guided(arm.denoiser, law.denoiser, self.weight)
        yield "guidance", exact, replace(exact, denoiser=guided, first=guided)

    def other_objectives(self, session: Session) -> dict[str, Any]:
        """Networks that learned digits with another objective, as one denoiser, by its name."""
        seeds = [1000 * session.seed + 500 + r for r in range(self.seeds)]
        digits, _ = data.images("digits", "train")
        levels = noise.LogNormal(-0.5, 1.4)
        added = noise.LogUniform(self.data_noise / 3, SIGMA_MAX)
        generator = session.generator(LEARNING + 1)
        noisy = digits + self.data_noise * noise.randn(digits.shape, generator=generator)

        def trained(objective: Any, images: Tensor, steps: int, start: Any = None) -> Any:
            networks = start or [digit_network(s) for s in seeds]
            return training.fit(
                networks, objective, images, steps=steps, batch_size=128, lr=2e-3, seed=seeds
            ).denoiser

        before = trained(DENOISING, digits, self.steps - self.contrasted)
        weight = WEIGHT * 2 / digits[0].numel()
        contrast = objectives.Sum((DENOISING, contrastive()), (1.0, weight))
        return {
            PERTURBED: trained(
                objectives.InputPerturbation(self.perturbation, "eps", levels, "edm", 0.75),
                digits, self.steps,
            ),
            AMBIENT: trained(
                objectives.AmbientTweedie(self.data_noise, added, "edm", 0.75), noisy, self.steps
            ),
            CONTRASTIVE: trained(
                contrast, digits, self.contrasted, [before[r] for r in range(self.seeds)]
            ),
        }  # fmt: skip

    def learned(self, problem: Problem, session: Session) -> dict[int, LearnedSampler]:
        """Samplers learned on the first network of a problem, by evaluations."""
        return samplers.learn(
            problem.first, problem.shape, self.budgets, sigma_max=SIGMA_MAX,
            samples=self.held_in, iterations=self.iterations,
            generator=session.generator(LEARNING),
        )  # fmt: skip

    def best_fixed(self, problem: Problem, evaluations: int, session: Session) -> Any:
        """The fixed sampler and setting of the least error on the noise that is learned on."""
        generator = session.generator(LEARNING)
        z = noise.randn((2 * self.held_in, *problem.shape), generator=generator)[: self.held_in]
        end, _ = converged(problem.first, z, steps=self.reference)
        return min(
            settings(evaluations, self.lows),
            key=lambda setting: _finite(error_by_seed(setting(problem.first, z), end, 1)),
        )


def scaled(sampler: LearnedSampler, factor: float) -> LearnedSampler:
    """The same for data whose standard deviation is so many times as large."""
    return replace(sampler, sigmas=tuple(factor * s for s in sampler.sigmas))


def _finite(error: Tensor) -> float:
    return float(torch.nan_to_num(error, nan=torch.inf))


def _others(problem: Problem, seeds: int) -> Problem:
    """The same without the first network."""
    others = problem.denoiser.part(1, seeds + 1)
    return replace(problem, denoiser=others, first=problem.denoiser[1])
