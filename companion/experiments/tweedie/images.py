"""Every method with U-Nets on images under noise; recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from companion import data, noise, objectives, progress, samplers, training
from companion.experiments.images import ImageExperiment, Setting, recipe
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    EVALUATIONS,
    METHODS,
    NAIVE,
    SURE,
)

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["STOPPED", "ImageRace"]

STOPPED = "stopped"
"""The ambient network down to s_n only, and then D."""


@dataclass(frozen=True)
class ImageRace(ImageExperiment):
    """Every method on noisy images with U-Nets, at equal network evaluations.

    Parameters
    ----------
    methods : tuple of str
    noises : tuple of float
        Standard deviations of the noise in the data, pixels in [-1, 1].
    levels : tuple of float
        Noise levels at which errors are measured, in units of that of the data.
    every, weight : int, float
        Consistency is asked of each so-many-th sample, with this weight.
    seeds : int
        For the first weights, the noise in the data and everything drawn.
    solver_steps, samples : int
        Steps of Heun's method; samples of each network.
    tested : int
        Test images that errors are measured on.
    """

    methods: tuple[str, ...] = METHODS
    noises: tuple[float, ...] = (0.2, 0.5, 1.0)
    levels: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    every: int = 6
    weight: float = 0.1
    seeds: int = 3
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024

    sizes = {
        "smoke": recipe(
            "digits", "smoke", noises=(0.5,), levels=(0.5,), seeds=2, solver_steps=3, samples=64,
            tested=40,
        ),
        "long": recipe("mnist", "long", noises=(0.2, 0.5)),
        "gpu": [
            recipe("mnist", "gpu", steps=500, batch=256),
            recipe(
                "cifar10", "gpu", steps=600, batch=256, channels=(32, 64, 128), layers=1,
                methods=(CLEAN, NAIVE, AMBIENT, CONSISTENCY), noises=(0.2, 0.5),
            ),
        ],
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Frechet distances and errors by noise, method and seed; NaN if a training diverged."""
        setting = self.setting()
        tables: list = []
        arrays: dict[str, Tensor] = {}
        for seed in progress.track(range(session.seed, session.seed + self.seeds), "seeds"):
            clean = None
            if CLEAN in self.methods:
                clean = self._fit(setting, CLEAN, 0.0, setting.train, seed)
            for s_n in self.noises:
                seen = data.FrozenNoise(setting.train, s_n, seed=seed).noisy
                for method in self.methods:
                    net = clean
                    if method != CLEAN:
                        net = self._fit(setting, method, s_n, seen, seed)
                    where = {"noise": s_n, "seed": seed}
                    pictures = arrays if seed == session.seed else {}
                    tables += self._distances(setting, net, method, where, pictures)
                    errors = [
                        math.nan if net is None
                        else setting.error(net, level * s_n, number=self.tested, seed=seed)
                        for level in self.levels
                    ]  # fmt: skip
                    axis = {"level": self.levels}
                    tables.append(tidy(errors, axis, measure="error", method=method, **where))
        floor = setting.floor(self.samples)
        return Results(tables, arrays, {"floor": floor, **setting.report()})

    def _objective(self, method: str, s_n: float, data_std: float) -> Any:
        """Return what a method minimises: EDM's distribution of the added noise, and its weight."""
        if method in (CLEAN, NAIVE):
            return objectives.DenoisingScoreMatching(noise.LogNormal(), "edm", data_std)
        if method == SURE:
            return objectives.Sure(s_n, noise.LogNormal(), "edm", data_std)
        ambient = objectives.AmbientTweedie(s_n, noise.LogNormal(), "edm", data_std)
        if method == AMBIENT:
            return ambient
        agree = objectives.Consistency(s_n, every=self.every, sigma_data=data_std)
        return objectives.Sum((ambient, agree), (1.0, self.weight))

    def _fit(self, setting: Setting, method: str, s_n: float, seen: Tensor, seed: int) -> Any:
        """A denoiser at the cost of the plain one; None if its training diverges."""
        cost = EVALUATIONS.get(method, 1)
        batch = self.batch // cost
        if method == CONSISTENCY:
            batch -= batch % self.every
        steps = round(self.steps * self.batch / (cost * batch))
        goal = self._objective(method, s_n, setting.data_std)
        try:
            return setting.fit(goal, seed, images=seen, steps=steps, batch=batch)
        except training.TrainingDiverged:
            return None

    def _distances(
        self, setting: Setting, net: Any, method: str, where: dict[str, Any], arrays: dict
    ) -> list:
        """Distances of samples down to no noise, and of D where the ambient network stops."""
        stops = {method: None}
        if method == AMBIENT:
            stops[STOPPED] = where["noise"]
        distances = []
        for name, stop in stops.items():
            if net is None:
                distances.append(math.nan)
                continue
            x = self._draw(setting, net, where["seed"], stop)
            distances.append(setting.frechet(x))
            arrays[f"{name} {where['noise']:g}"] = (127.5 * (x[:12].clamp(-1, 1) + 1)).byte()
        return [tidy(distances, {"method": stops}, measure="Frechet distance", **where)]

    def _draw(self, setting: Setting, net: Any, seed: int, stop: float | None) -> Tensor:
        """Samples down to no noise, or D where the noise is ``stop``."""
        last = 0.02 if stop is None else stop
        down = noise.log_linear(self.solver_steps, 40.0, last, final_zero=stop is None)

        def sample(part: Tensor, _: int) -> Tensor:
            x = samplers.heun(net, 40 * part, down)
            return x if stop is None else net(x, stop)

        return setting.draw(sample, setting.noise(self.samples, seed))
