"""One network on noisy images, trained and measured: a part of all image experiments of chapter 2.

Each method has the same number of network evaluations, those of drawing in EM included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from companion import checks, data, metrics, noise, objectives, samplers, training
from companion.experiments.images import ImageExperiment, Setting
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie import image_reasons as reasons
from companion.experiments.tweedie.ablations import ConsistencyVariant
from companion.experiments.tweedie.em import Gaussian, expectation_maximization
from companion.experiments.tweedie.image_mixture import fitted, of_mixture
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, METHODS, NAIVE, SURE

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["EM", "IMAGE_METHODS", "SOURCES", "STOPPED", "ImageNetwork"]

EM = "em"
"""Expectation maximisation, ``em.expectation_maximization``."""

IMAGE_METHODS = (*METHODS, EM)
"""What is compared on images."""

STOPPED = "stopped"
"""The ambient network down to s_n only, and then D."""

IMAGES, MIXTURE = "images", "mixture"
SOURCES = (IMAGES, MIXTURE)
"""What is trained on: the images, or draws of a mixture fitted to them."""

STARTS = ("gaussian", "ambient")


@dataclass(frozen=True)
class ImageNetwork(ImageExperiment):
    """One method with one setting and one seed.

    Parameters
    ----------
    method : str, of ``IMAGE_METHODS``
    noise : float
        Standard deviation of the noise in the data, pixels in [-1, 1].
    clean_share : float
        Share of images that have no noise, for the ambient loss (default 0).
    network_seed : int
        Of the first weights, the noise in the data and everything drawn.
    source : {"images", "mixture"}
    components : int
        Of the mixture.
    added_mean : float
        Mean of the logarithm of the level that is drawn in training; without noise in the data, and
        of the noise that is added otherwise.
    ambient_weight : str
        As of ``AmbientTweedie``.
    divergence_step : float
        ``step`` of ``Sure``.
    every, weight, ratio : int, float, float
        Of consistency: asked of each so-many-th sample, with this weight, by such steps.
    begin : float
        Share of the evaluations that go to the ambient loss alone before consistency begins.
    teacher : bool
        Whether that ambient network is the teacher of consistency from then on.
    rounds, posterior_steps, drawing, first : int, int, float, {"gaussian", "ambient"}
        Of EM: rounds of training, steps of a draw, share of evaluations that go to drawing, and
        whether the first round has draws from a Gaussian or the ambient loss.
    levels : tuple of float
        Noise levels that are measured, over that of the data.
    solver_steps, samples : int
        Steps of Heun's method; samples.
    tested, looked : int
        Test images that answers are measured on, and Jacobians (0: no reasons are measured).
    """

    method: str = AMBIENT
    noise: float = 0.5
    clean_share: float = 0.0
    network_seed: int = 0
    source: str = IMAGES
    components: int = 200
    added_mean: float = -1.2
    ambient_weight: str = "edm"
    divergence_step: float = 0.01
    every: int = 6
    weight: float = 0.1
    ratio: float = 0.7
    begin: float = 0.0
    teacher: bool = False
    rounds: int = 4
    posterior_steps: int = 8
    drawing: float = 0.5
    first: str = "gaussian"
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024
    looked: int = 4

    part = True

    def __post_init__(self):
        checks.choice("method", self.method, IMAGE_METHODS)
        checks.choice("source", self.source, SOURCES)
        checks.choice("first", self.first, STARTS)
        if self.clean_share and self.method != AMBIENT:
            raise ValueError(f"clean_share: allowed with {AMBIENT!r} only; got {self.method!r}")
        if self.teacher and not self.begin:
            raise ValueError("teacher: allowed with begin above 0 only; got begin=0")

    def run(self, session: Session) -> Results:
        """Everything that is measured of it; NaN if its training diverged."""
        judge = _judge(self.with_its(ImageExperiment, steps=1, batch=1, lr=1.0), self.source,
            self.components, self.noise)  # fmt: skip
        setting, seed = judge.setting, self.network_seed
        try:
            net = self.trained(setting)
        except training.TrainingDiverged:
            net = None
        where = {"method": self.method, "noise": self.noise, "seed": seed}
        tables, arrays = [], {}
        for name, stop in self._stops().items():
            x = None if net is None else self._draw(setting, net, stop)
            measured = judge.of_samples(x, seed)
            rows = tidy(list(measured.values()), {"measure": measured}, **where)
            tables.append(rows.assign(method=name))
            if x is not None:
                arrays[name] = (127.5 * (x[:16].clamp(-1, 1) + 1)).round().byte()
        if net is None:
            failed = [math.nan] * len(self.levels)
            tables.append(tidy(failed, {"level": self.levels}, measure="error", **where))
        else:
            tables += [t.assign(**where) for t in self._reasons(judge, net)]
        facts = {**judge.facts, "floor": setting.floor(self.samples)}
        return Results(tables, arrays, facts)

    def _stops(self) -> dict[str, float | None]:
        """Names of its samples: all the way down, and D where the ambient network stops."""
        plain = self.method == AMBIENT and not self.clean_share
        return {self.method: None, **({STOPPED: self.noise} if plain else {})}

    def _reasons(self, judge: Judge, net: Any) -> list[pd.DataFrame]:
        setting, seed, s_n = judge.setting, self.network_seed, self.noise
        tables = [reasons.answers(setting, net, self.levels, s_n, self.tested, seed)]
        if judge.mixture is not None:
            tables.append(self._exact_errors(judge, net))
        if self.looked:
            tables.append(reasons.drift(setting, net, judge.noisy[: self.tested], s_n, seed))
            inner = [level for level in self.levels if level <= 1]
            tables.append(reasons.jacobians(setting, net, inner, s_n, self.looked, seed))
        return tables

    def _exact_errors(self, judge: Judge, net: Any) -> pd.DataFrame:
        """Error against the exact denoiser of the mixture, by level."""
        assert judge.mixture is not None
        clean, errors = judge.setting.test[: self.tested], []
        for level in self.levels:
            sigma = level * self.noise
            gen = torch.Generator().manual_seed(self.network_seed)
            noisy = noise.corrupt(clean, sigma, generator=gen)
            found = judge.setting.draw(partial(reasons.at_level, net, sigma), noisy)
            parts = noisy.flatten(1).split(256)
            exact = torch.cat([judge.mixture.denoiser(part, sigma) for part in parts])
            errors.append(float((found.flatten(1) - exact).square().mean().sqrt()))
        return tidy(errors, {"level": self.levels}, measure="exact error")

    def _draw(self, setting: Setting, net: Any, stop: float | None) -> Tensor:
        """Samples down to no noise, or D where the noise is ``stop``."""
        last = 0.02 if stop is None else stop
        down = noise.log_linear(self.solver_steps, 40.0, last, final_zero=stop is None)

        def sample(part: Tensor, _: int) -> Tensor:
            x = samplers.heun(net, 40 * part, down)
            return x if stop is None else net(x, stop)

        return setting.draw(sample, setting.noise(self.samples, self.network_seed))

    # --- training

    def trained(self, setting: Setting) -> Any:
        """Train it on the images of a setting, at ``steps * batch`` network evaluations.

        Raises
        ------
        TrainingDiverged
            If a loss is not finite.
        """
        if self.method == CLEAN:
            return self._fit(setting, self._plain(setting), setting.train)
        levels: float | Tensor = self.noise
        if self.clean_share:
            draw = torch.Generator().manual_seed(self.network_seed)
            order = torch.randperm(len(setting.train), generator=draw)
            levels = torch.full((len(order),), self.noise)
            levels[order[: round(self.clean_share * len(order))]] = 0.0
        seen = data.FrozenNoise(setting.train, levels, seed=self.network_seed).noisy
        added, std = noise.LogNormal(self.added_mean), setting.data_std
        ambient = objectives.AmbientTweedie(levels, added, self.ambient_weight, std)
        if self.method == NAIVE:
            return self._fit(setting, self._plain(setting), seen)
        if self.method == AMBIENT:
            return self._fit(setting, ambient, seen)
        if self.method == SURE:
            sure = objectives.Sure(self.noise, added, "edm", std, self.divergence_step)
            return self._fit(setting, sure, seen, cost=2)
        if self.method == CONSISTENCY:
            return self._consistent(setting, ambient, seen)
        return self._em(setting, ambient, seen)

    def _plain(self, setting: Setting) -> objectives.DenoisingScoreMatching:
        added = noise.LogNormal(self.added_mean)
        return objectives.DenoisingScoreMatching(added, "edm", setting.data_std)

    def _fit(
        self, setting: Setting, goal: Any, images: Tensor, share: float = 1.0, cost: int = 1,
        multiple: int = 1, start: Any = None,
    ) -> Any:  # fmt: skip
        """Spend a share of the evaluations on an objective that costs so many a sample."""
        batch = self.batch // cost
        batch -= batch % multiple
        steps = max(1, round(share * self.steps * self.batch / (cost * batch)))
        return setting.fit(
            goal, self.network_seed, images=images, start=start, steps=steps, batch=batch,
            lr=self.lr,
        )  # fmt: skip

    def _consistent(self, setting: Setting, ambient: Any, seen: Tensor) -> Any:
        start = self._fit(setting, ambient, seen, self.begin) if self.begin else None
        agree = ConsistencyVariant(
            self.noise, every=self.every, ratio=self.ratio, sigma_data=setting.data_std,
            teacher=start if self.teacher else None,
        )  # fmt: skip
        both = objectives.Sum((ambient, agree), (1.0, self.weight))
        return self._fit(
            setting, both, seen, 1 - self.begin, cost=2, multiple=self.every, start=start
        )

    def _em(self, setting: Setting, ambient: Any, seen: Tensor) -> Any:
        """EM; the first round has draws from the Gaussian, which cost nothing, or none at all."""
        share = (1 - self.drawing) / self.rounds
        cost = (self.rounds - 1) * (2 * self.posterior_steps - 1)
        drawn = round(self.drawing * self.steps * self.batch / max(1, cost))

        def fit(start: Any, clean: Tensor, number: int) -> Any:
            network = None if isinstance(start, Gaussian) else start
            return self._fit(setting, self._plain(setting), clean, share, start=network)

        draw = torch.Generator().manual_seed(self.network_seed)
        rounds, first = self.rounds, self.first == "gaussian"
        start: Any = Gaussian(seen, self.noise)
        if not first:
            start, rounds = self._fit(setting, ambient, seen, share), rounds - 1
        return expectation_maximization(
            start, seen, self.noise, fit, rounds=rounds, drawn=drawn, generator=draw,
            steps=self.posterior_steps, batch=self.sample_batch, device=setting.device,
        )  # fmt: skip


class Judge:
    """What networks on the same images are measured with: made once for all of a process.

    Attributes
    ----------
    setting : Setting, with the images or with draws of the mixture
    mixture : GaussianMixture, or None for images
    noisy : (N, C, H, W) tensor
        The test images with noise, as a user has them.
    facts : dict
        What the two classifiers are.
    """

    def __init__(self, config: ImageExperiment, source: str, components: int, s_n: float):
        self.setting, self.mixture = config.setting(), None
        if source == MIXTURE:
            self.mixture = fitted(self.setting.train, components)
            self.setting = of_mixture(self.setting, self.mixture)
        plain, self._s_n = self.setting, s_n
        self.noisy = data.FrozenNoise(plain.test, s_n, seed=1).noisy
        self.facts: dict[str, Any] = {"classifier": plain.classifier.describe()}
        self._features = None
        if source == IMAGES:
            seen = data.FrozenNoise(plain.train, s_n, seed=2).noisy
            self._classifier = metrics.FeatureClassifier.train(
                seen, plain._labels, device=plain.device,
                held_out=(self.noisy, plain._test_labels),
                data=f"{plain.title} with noise of {s_n:g}", steps=config.classifier_steps,
            )  # fmt: skip
            self._features = self._classifier.features(self.noisy)
            self.facts["noisy classifier"] = self._classifier.describe()

    def of_samples(self, x: Tensor | None, seed: int) -> dict[str, float]:
        """Measure samples, (N, C, H, W); NaN if there are none or one is not finite."""
        names = ["Frechet distance", "noisy Frechet distance", "left noise", "mode width"]
        if self._features is None:  # of a mixture, of whose images no pixel is always blank
            names = ["Frechet distance", "mode width"]
        if x is None or not x.isfinite().all():
            return dict.fromkeys(names, math.nan)
        plain, clamped = self.setting, x.clamp(-1, 1)
        found = {
            "Frechet distance": plain.frechet(x),
            "noisy Frechet distance": self._noisy_distance(clamped, seed),
            "left noise": reasons.left_noise(x, plain.test),
            "mode width": reasons.mode_width(plain.classifier, clamped, plain.test),
        }
        return {name: found[name] for name in names}

    def _noisy_distance(self, samples: Tensor, seed: int, draws: int = 4) -> float:
        """Frechet distance of samples with new noise to noisy images: what a user can measure."""
        if self._features is None:
            return math.nan
        generator = torch.Generator().manual_seed(seed)
        noisy = noise.corrupt(samples.repeat(draws, 1, 1, 1), self._s_n, generator=generator)
        return float(metrics.frechet_distance(self._classifier.features(noisy), self._features))


@lru_cache(maxsize=2)
def _judge(config: ImageExperiment, source: str, components: int, s_n: float) -> Judge:
    return Judge(config, source, components, s_n)
