"""The contrastive loss against its controls on one U-Net, a part of the record of all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, noise, objectives, samplers
from companion.experiments.image_search import Distance, halves, shared_setting
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
    cost_factor,
)
from companion.experiments.noise_classifier.image_trial import (
    SIGMA_MAX,
    SIGMA_MIN,
    contrastive_loss,
    loss_weight,
)
from companion.experiments.noise_classifier.picard import (
    FORMS,
    SAMPLERS,
    draw,
    schedule_of_cost,
)
from companion.experiments.noise_classifier.ratio import auc, cross_entropy
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["SEQUENTIAL", "SMOKE", "ContrastNetwork", "ContrastSettings"]

SEQUENTIAL = "sequential"
"""Kind of a sample that was drawn step by step, beside the forms of Picard iteration."""
SMOKE: dict[str, Any] = recipe(
    "digits",
    "smoke",
    sample_batch=216,
    tune_steps=2,
    points=2,
    contrasted=1,
    classified=4,
    classify_points=4,
    classify_at=(0.1,),
    samples=72,
    parallel=72,
    samplers=("DDIM", "DDPM"),
    budgets=(2,),
    levels=3,
    depths=(1, 2),
)
"""Tiny sizes, of a network and of all."""


@dataclass(frozen=True)
class ContrastSettings(ImageExperiment):
    """What is measured with and without the loss, on every network.

    Parameters
    ----------
    tune_steps, tune_lr : int, float
        Steps with the loss, and the learning rate of all continuations.
    points, contrasted : int
        Levels for each ratio; samples of a batch that enter the loss.
    contrast : (float, float)
        Smallest and largest contrast, pixels in [-1, 1].
    weight : float
        Of the loss, as for two dimensions: times 2 / number of pixels.
    classify_at : tuple of float
        Noise of the noised test images.
    classify_points, classified : int
        Levels of the integral; test images.
    samplers, budgets : tuple of str, tuple of int
        Sequential samplers, and their network evaluations.
    forms : tuple of str
        Of Picard iteration of DDPM.
    levels, depths : int, tuple of int
        Steps of that DDPM; iterations after which its samples are measured.
    samples, parallel : int
        Samples of sequential samplers, and of Picard iteration.
    """

    tune_steps: int = 100
    tune_lr: float = 1e-3
    points: int = 16
    contrasted: int = 8
    contrast: tuple[float, float] = (0.001, 0.02)
    weight: float = 1.0
    classify_at: tuple[float, ...] = (0.002, 0.004, 0.008)
    classify_points: int = 16
    classified: int = 128
    samplers: tuple[str, ...] = tuple(SAMPLERS)
    budgets: tuple[int, ...] = (10, 20, 50)
    forms: tuple[str, ...] = tuple(FORMS)
    levels: int = 20
    depths: tuple[int, ...] = (6, 8, 10)
    samples: int = 768
    parallel: int = 192


@dataclass(frozen=True)
class ContrastNetwork(ContrastSettings):
    """One network before, with the loss, and with both controls.

    Parameters
    ----------
    number : int
        Of the network; its seed is that many after the session's.
    control_steps, control_lr : int, float
        Of the control of equal evaluations.
    halved : bool
        Measure distances to the second half of the test images, which no search has seen.
    Others as of ``ContrastSettings``.
    """

    number: int = 0
    control_steps: int = 100
    control_lr: float = 1e-3
    halved: bool = False

    part = True
    sizes = {"smoke": SMOKE}

    def run(self, session: Session) -> Results:
        """Distances, times of Picard iteration, and the test of noise, by method."""
        setting = shared_setting(self)
        plain, seed = setting.plain(), session.seed + self.number
        loss = contrastive_loss(self, setting.data_std, self.contrast, self.points)
        weight = loss_weight(self.weight, setting)
        goals = {
            SAME_STEPS: (plain, self.tune_steps, self.tune_lr),
            SAME_COST: (plain, self.control_steps, self.control_lr),
            CONTRASTIVE: (
                objectives.Sum((plain, loss), (1.0, weight)), self.tune_steps, self.tune_lr,
            ),
        }  # fmt: skip
        frechet = halves(setting)[1] if self.halved else setting.frechet
        nets = {BEFORE: setting.fit(plain, seed)}
        for method, (objective, steps, lr) in goals.items():
            nets[method] = setting.fit(
                objective, seed + 1000, start=nets[BEFORE], steps=steps, lr=lr
            )
        z, tables = setting.noise(self.samples, seed), []
        arrays: dict[str, Tensor] = {}
        for method, net in nets.items():
            where = {"method": method, "seed": seed}
            tables += self._test(setting, net, seed, method)
            tables += self._sequential(setting, net, z, frechet, arrays, where)
            tables += self._parallel(setting, net, z[: self.parallel], frechet, where)
        facts = {
            "factor": cost_factor(loss, self.batch), "weight": weight,
            "floor": frechet(setting.train[: self.samples]), **setting.report(),
        }  # fmt: skip
        return Results(tables, arrays, facts)

    def _test(self, setting: Setting, net: Any, seed: int, method: str) -> list:
        """Held-out images against the same with noise: cross entropy and area under the curve."""
        images = setting.test[: self.classified]
        dirt = setting.noise(len(images), seed + 1)
        clean, tables = torch.arange(2 * len(images)) < len(images), []
        for t in self.classify_at:
            ratio = metrics.log_likelihood_ratio(
                net, torch.cat([images, images + t * dirt]).to(setting.device), t,
                points=self.classify_points, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX,
                sigma_data=setting.data_std, batch=self.sample_batch,
                generator=torch.Generator().manual_seed(seed),
            ).value.cpu()  # fmt: skip
            values = {"cross entropy": cross_entropy(ratio), "area": auc(ratio, clean)}
            where = {"t": t, "method": method, "seed": seed}
            tables.append(tidy(list(values.values()), {"measure": values}, **where))
        return tables

    def _sequential(
        self, setting: Setting, net: Any, z: Tensor, frechet: Distance, arrays: dict, at: dict
    ) -> list:
        """Distances of samples; the first of a few are kept as pictures."""
        tables, seed = [], at["seed"]
        for sampler in self.samplers:
            for budget in self.budgets:
                schedule = schedule_of_cost(sampler, budget, SIGMA_MAX, 0.02)

                def sample(
                    part: Tensor, i: int, sampler: str = sampler, schedule: Tensor = schedule
                ) -> Tensor:
                    source = torch.Generator().manual_seed(100 * seed + i)
                    return draw(sampler, net, part, schedule, source)

                x = setting.draw(sample, z)
                where = {"kind": SEQUENTIAL, "sampler": sampler, "budget": budget, **at}
                tables.append(tidy([frechet(x)], {"measure": ["Frechet distance"]}, **where))
                if sampler == self.samplers[0]:
                    arrays[f"{at['method']}: {budget}"] = x[:8].clamp(-1, 1).half()
        return tables

    def _parallel(self, setting: Setting, net: Any, z: Tensor, frechet: Distance, at: dict) -> list:
        """Distances of what iterations hold for samples, and times; also those in sequence."""
        schedule, tables = noise.log_linear(self.levels, SIGMA_MAX, 0.02), []
        for form in self.forms:
            states = self._by_depth(setting, net, z, schedule, form, 100 * at["seed"])
            for depth, (x, seconds) in states.items():
                names = ["Frechet distance", "seconds"]
                if not depth:
                    names = [f"{name} in sequence" for name in names]
                where = {"kind": form, "sampler": "DDPM", "budget": depth or self.levels, **at}
                tables.append(tidy([frechet(x), seconds], {"measure": names}, **where))
        return tables

    def _by_depth(
        self, setting: Setting, net: Any, z: Tensor, schedule: Tensor, form: str, number: int
    ) -> dict[int, tuple[Tensor, float]]:
        """Samples that each depth holds, and seconds until then; 0: DDPM in sequence."""
        held: dict[int, list[Tensor]] = {k: [] for k in (0, *self.depths)}
        took = dict.fromkeys(held, 0.0)
        for i, part in enumerate(z.split(max(1, self.sample_batch // (len(schedule) - 1)))):
            x = schedule[0] * part.to(setting.device)
            steps: list[tuple[Tensor, float]] = []
            began = time.perf_counter()

            def note(
                step: samplers.PicardIteration, steps: list = steps, began: float = began
            ) -> None:
                steps.append((step.x[-1].float().cpu(), time.perf_counter() - began))

            samplers.picard(
                net, x, schedule, tolerance=0.0, max_iterations=max(self.depths), stochastic=True,
                semilinear=FORMS[form], callback=note,
                generator=torch.Generator().manual_seed(number + i),
            )  # fmt: skip
            for k in self.depths:
                state, seconds = steps[min(k, len(steps)) - 1]
                held[k].append(state)
                took[k] += seconds
            began = time.perf_counter()
            same_noise = torch.Generator().manual_seed(number + i)
            held[0].append(samplers.ddpm(net, x, schedule, generator=same_noise).float().cpu())
            took[0] += time.perf_counter() - began
        return {k: (torch.cat(states), took[k]) for k, states in held.items()}
