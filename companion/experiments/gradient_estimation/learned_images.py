"""The learned sampler on images: a recorded network, its error and its Frechet distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from companion import progress, samplers
from companion.experiments.gradient_estimation.images import ImageRace
from companion.experiments.gradient_estimation.learned_rivals import Setting, settings
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import converged, error_by_seed
from companion.experiments.images import ImageExperiment, recipe, restored
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LearnedImages"]

METHODS = ("ddim", "gradient_estimation", "dpmpp_2m", "dpmpp_3m", "unipc", "deis")
"""Fixed samplers; Heun's method is far behind with few evaluations."""


@dataclass(frozen=True)
class LearnedImages(ImageExperiment):
    """A learned sampler and fixed ones on the network that the record of ``ImageRace`` keeps.

    Learned and chosen on the same noise, compared on other noise. A seed is a batch of noise: there
    is one network.

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
        For each batch, for the Frechet distance.
    paired : int
        Of each batch, those that are compared with the flow.
    reference : int
        Steps of Heun's method that stand for the flow.
    batches : int
    """

    methods: tuple[str, ...] = METHODS
    budgets: tuple[int, ...] = (3, 5, 10)
    lows: tuple[float, ...] = (0.02, 0.1)
    held_in: int = 64
    iterations: int = 12
    teacher: int = 200
    samples: int = 512
    paired: int = 64
    reference: int = 60
    batches: int = 3

    sizes = {
        "smoke": recipe(
            "digits", "smoke", budgets=(3,), lows=(0.1,), held_in=2, iterations=1,
            teacher=4, samples=70, paired=2, reference=2, batches=2, methods=("ddim",),
        ),
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Error and Frechet distance by method, budget and batch; levels and weights."""
        setting = self.setting()
        unet: Any = self.network(session)
        generator = session.generator(51)
        few = torch.randn(2 * self.held_in, *setting.shape, generator=generator)
        learned = samplers.learn(
            unet, setting.shape, self.budgets, sigma_max=SIGMA_MAX, samples=self.held_in,
            iterations=self.iterations, teacher_steps=self.teacher,
            generator=session.generator(51), batch_size=self.held_in,
        )  # fmt: skip
        few = few[: self.held_in]
        with torch.no_grad():
            ends = converged(unet, few, steps=self.reference)[0]
        chosen: dict[tuple[str, int], Any] = {}
        for n in self.budgets:
            chosen["learned", n] = _from_noise(learned[n])
            chosen |= {(s.method, n): s for s in self.best(unet, n, few, ends)}
        tables = []
        for batch in range(self.batches):
            z = setting.noise(self.samples, 20_000 + batch)
            with torch.no_grad():
                end = converged(unet, z[: self.paired], steps=self.reference)[0]
            for (method, n), run in progress.track([*chosen.items()], "samplers"):
                out = setting.draw(_drawn(run, unet), z)
                where = {"method": method, "budget": n, "seed": batch}
                error = error_by_seed(out[: self.paired], end, 1)
                tables += [
                    tidy([float(error)], {"measure": ["error"]}, **where),
                    tidy([setting.frechet(out)], {"measure": ["Frechet distance"]}, **where),
                ]
        for n, sampler in learned.items():
            for name in ("sigmas", "weights", "second"):
                values = getattr(sampler, name)
                tables.append(tidy(values, {"step": range(n)}, measure=name, budget=n))
        facts = {n: sampler.facts for n, sampler in learned.items()}
        costs = {
            f"{key}, N = {n}": facts[n][key]
            for n in self.budgets
            for key in ("evaluations", "seconds")
        }
        return Results(tables, {}, {"floor": setting.floor(self.samples), **costs})

    def network(self, session: Session) -> Any:
        """The network of the record; at the size ``smoke`` a new one."""
        if self.data == "digits":
            setting = self.setting()
            return setting.fit(setting.plain(), session.seed)
        from companion.experiments.session import Session as Plain

        record = list(Plain("cpu").records(ImageRace).there().values())[-1]
        return restored(record)

    def best(self, unet: Any, evaluations: int, z: Any, ends: Any) -> Iterator[Setting]:
        """Each fixed sampler with its best setting on the noise that is learned on."""
        least: dict[str, tuple[float, Setting]] = {}
        with torch.no_grad():
            for setting in settings(evaluations, self.lows):
                if setting.method not in self.methods:
                    continue
                off = float(error_by_seed(setting(unet, z), ends, 1))
                if setting.method not in least or off < least[setting.method][0]:
                    least[setting.method] = (off, setting)
        yield from (setting for _, setting in least.values())


def _drawn(run: Any, unet: Any) -> Any:
    return lambda part, _: run(unet, part)


def _from_noise(sampler: samplers.LearnedSampler) -> Any:
    return lambda denoiser, z: sampler(denoiser, sampler.sigmas[0] * z)
