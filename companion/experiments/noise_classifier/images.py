"""U-Nets on images, continued with and without the contrastive loss; recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, noise, objectives, samplers
from companion.experiments.image_search import Distance, halves, searched
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
    cost_factor,
)
from companion.experiments.noise_classifier.image_search import (
    SIGMA_MAX,
    SIGMA_MIN,
    ImageSearch,
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

__all__ = ["IMAGE_METHODS", "SEQUENTIAL", "ImageContrast"]

IMAGE_METHODS = (BEFORE, SAME_STEPS, SAME_COST, CONTRASTIVE)
SEQUENTIAL = "sequential"


@dataclass(frozen=True)
class ImageContrast(ImageExperiment):
    """The contrastive loss against both controls with U-Nets: samples, and the test of noise.

    Where there is a record of ``ImageSearch`` with the same images and networks, the loss and the
    control of equal evaluations have the settings that it chose, each for itself; the control of
    equal steps has the steps and the learning rate of the loss. Distances are then to the second
    half of the test images, which the search did not see.

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
    seeds : int
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
    levels: int = 40
    depths: tuple[int, ...] = (2, 4, 6, 8, 10, 12)
    samples: int = 768
    parallel: int = 192
    seeds: int = 3

    sizes = {
        "smoke": recipe(
            "digits", "smoke", sample_batch=216, tune_steps=2, points=2, contrasted=1,
            classified=4, classify_points=4, classify_at=(0.1,), samples=72, parallel=72,
            samplers=("DDIM", "DDPM"), budgets=(2,), levels=3, depths=(1, 2), seeds=2,
        ),
        "long": recipe(
            "mnist", "long", tune_steps=120, contrasted=2, classified=64, samples=384,
            parallel=192, budgets=(10, 20), forms=("semilinear",), levels=20, depths=(2, 4, 6, 8),
            seeds=5,
        ),
        "gpu": [
            recipe("mnist", "gpu"),
            recipe(
                "cifar10", "gpu", tune_steps=50, contrasted=4, classified=64,
                classify_at=(0.004, 0.008), samples=512, samplers=("DDIM", "gradient estimation"),
                budgets=(20,), forms=("semilinear",), levels=20, depths=(2, 4, 6, 8),
            ),
        ],
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Distances, times of Picard iteration, and the test of noise, by method and seed."""
        setting = self.setting()
        chosen = searched(session, ImageSearch, self)
        goals, facts = self._goals(setting, chosen)
        frechet = halves(setting)[1] if chosen else setting.frechet
        tables: list = []
        arrays: dict[str, Tensor] = {}
        for seed in range(session.seed, session.seed + self.seeds):
            nets = {BEFORE: setting.fit(setting.plain(), seed)}
            for method, (objective, how) in goals.items():
                nets[method] = setting.fit(objective, seed + 1000, start=nets[BEFORE], **how)
            z = setting.noise(self.samples, seed)
            for method, net in nets.items():
                tables += self._test(setting, net, seed, method)
                where = {"method": method, "seed": seed}
                tables += self._sequential(setting, net, z, frechet, arrays, where)
                tables += self._parallel(setting, net, z[: self.parallel], frechet, where)
        facts["floor"] = frechet(setting.train[: self.samples])
        return Results(tables, arrays, {**facts, **setting.report()})

    def _goals(self, setting: Setting, chosen: Mapping) -> tuple[dict[str, tuple], dict]:
        """What each method is trained for, with its steps and learning rate; facts about it."""
        own = {
            "weight": self.weight, "points": self.points, "contrast": self.contrast,
            "lr": self.tune_lr, "steps": self.tune_steps,
        }  # fmt: skip
        tuned = {**own, **chosen.get(CONTRASTIVE, {})}
        loss = contrastive_loss(self, setting.data_std, tuned["contrast"], tuned["points"])
        factor, weight = cost_factor(loss, self.batch), loss_weight(tuned["weight"], setting)
        how = {"lr": tuned["lr"], "steps": tuned["steps"]}
        longer = {"lr": tuned["lr"], "steps": round(tuned["steps"] * factor)}
        longer |= chosen.get(SAME_COST, {})
        plain = setting.plain()
        goals = {
            SAME_STEPS: (plain, how),
            SAME_COST: (plain, longer),
            CONTRASTIVE: (objectives.Sum((plain, loss), (1.0, weight)), how),
        }
        facts: dict[str, Any] = {"factor": factor, "weight": weight, "searched": bool(chosen)}
        return goals, {**facts, "chosen": {CONTRASTIVE: tuned, SAME_COST: longer}}

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
