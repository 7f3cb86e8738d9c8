"""Every method with U-Nets on images under noise, some clean images, and the bridge; recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from companion import progress
from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.results import Results
from companion.experiments.tweedie.image_network import (
    EM,
    IMAGE_METHODS,
    MIXTURE,
    STOPPED,
    ImageNetwork,
)
from companion.experiments.tweedie.image_search import ImageSearch, chosen
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["STOPPED", "ImageBridge", "ImageFewClean", "ImageRace"]


class Networks:
    """What the experiments share that are made of networks."""

    parts: Callable[[Session], Sequence[ImageNetwork]]

    def run(self, session: Session) -> Results:
        """All measures by method, noise and seed; NaN if a training diverged."""
        names = session.latest(ImageSearch).facts["names"]
        tables: list[pd.DataFrame] = []
        arrays: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        for part in progress.track(self.parts(session), "networks"):
            found = session.run(part)
            tables.append(found.table.assign(clean_share=part.clean_share))
            facts |= found.facts
            if part.network_seed == session.seed:
                share = f" {part.clean_share:g} clean" if part.clean_share else ""
                arrays |= {f"{name} {part.noise:g}{share}": x for name, x in found.arrays.items()}
        return Results(tables, arrays, {**facts, "chosen": names})


@dataclass(frozen=True)
class ImageRace(Networks, ImageExperiment):
    """Every method on noisy images with U-Nets, at equal network evaluations.

    The settings of each method are those that ``ImageSearch`` has chosen on noisy images.

    Parameters
    ----------
    methods : tuple of str
    noises : tuple of float
        Standard deviations of the noise in the data, pixels in [-1, 1].
    seeds : int
        For the first weights, the noise in the data and everything drawn.
    levels, solver_steps, samples, tested, looked : as of ``ImageNetwork``
    """

    methods: tuple[str, ...] = IMAGE_METHODS
    noises: tuple[float, ...] = (0.2, 0.5, 1.0)
    seeds: int = 3
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024
    looked: int = 4

    needs = (ImageSearch,)
    sizes = {
        "smoke": recipe(
            "digits", "smoke", noises=(0.5,), levels=(0.5, 1.0), seeds=2, solver_steps=3,
            samples=64, tested=40, looked=1,
        ),
        "long": recipe("mnist", "long", noises=(0.5,), seeds=5, samples=4096),
        "gpu": [
            recipe("mnist", "gpu"),
            recipe(
                "cifar10", "gpu", channels=(32, 64, 128), layers=1, noises=(0.2, 0.5), looked=1,
                methods=(CLEAN, NAIVE, AMBIENT, CONSISTENCY, EM),
            ),
        ],
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each seed, noise and method, seed by seed."""
        settings = {m: chosen(session, m, self.lr) for m in self.methods}
        return [
            self.with_its(
                ImageNetwork, method=method, noise=s_n, network_seed=seed, **settings[method]
            )
            for seed in range(session.seed, session.seed + self.seeds)
            for s_n in self.noises
            for method in self.methods
        ]


@dataclass(frozen=True)
class ImageFewClean(Networks, ImageExperiment):
    """The ambient loss where some of the images are clean; seeds as in ``ImageRace``.

    Parameters
    ----------
    shares : tuple of float
        Of clean images, those that decide first.
    noise : float
        Standard deviation of the noise in the others.
    seeds, levels, solver_steps, samples, tested, looked : as of ``ImageRace``
    """

    shares: tuple[float, ...] = (0.1, 0.01, 0.03, 0.3)
    noise: float = 0.5
    seeds: int = 3
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024
    looked: int = 4

    needs = (ImageSearch,)
    sizes = {
        "smoke": recipe(
            "digits", "smoke", shares=(0.1,), levels=(0.5, 1.0), seeds=2, solver_steps=3,
            samples=64, tested=40, looked=1,
        ),
        "long": recipe("mnist", "long", seeds=5, samples=4096),
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each share and seed, share by share."""
        settings = chosen(session, AMBIENT, self.lr)
        return [
            self.with_its(
                ImageNetwork, method=AMBIENT, clean_share=share, network_seed=seed, **settings
            )
            for share in self.shares
            for seed in range(session.seed, session.seed + self.seeds)
        ]


@dataclass(frozen=True)
class ImageBridge(Networks, ImageExperiment):
    """The same network and methods on a mixture fitted to the images, whose denoiser is known.

    Parameters
    ----------
    methods : tuple of str
    noise : float
        Standard deviation of the noise in the data.
    components : int
        Of the mixture.
    shorter : int
        Steps of the recipe over those of a training.
    seeds, levels, solver_steps, samples, tested, looked : as of ``ImageRace``
    """

    methods: tuple[str, ...] = (CLEAN, AMBIENT, CONSISTENCY, EM)
    noise: float = 0.5
    components: int = 200
    shorter: int = 4
    seeds: int = 3
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    solver_steps: int = 16
    samples: int = 1024
    tested: int = 1024
    looked: int = 4

    needs = (ImageSearch,)
    sizes = {
        "smoke": recipe(
            "digits", "smoke", components=5, shorter=1, levels=(0.5, 1.0), seeds=2,
            methods=(AMBIENT, CONSISTENCY), solver_steps=3, samples=64, tested=40, looked=1,
        ),
        "long": recipe("mnist", "long", samples=2048),
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each seed and method, seed by seed."""
        settings = {m: chosen(session, m, self.lr) for m in self.methods}
        return [
            self.with_its(
                ImageNetwork, method=method, source=MIXTURE, network_seed=seed,
                steps=max(1, self.steps // self.shorter), **settings[method],
            )
            for seed in range(session.seed, session.seed + self.seeds)
            for method in self.methods
        ]  # fmt: skip
