"""A folder in ten minutes against BM3D: too long to run with the book."""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.your_images.pictures import as_folder, many, noisy, one, psnr, sky
from companion.experiments.your_images.race import FILTER, NOISY, OURS, RIVALS

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["BM3D", "ManyPictures", "OnePhotograph", "OneSky", "WholeFolder"]

BM3D = "BM3D"


@dataclass(frozen=True)
class WholeFolder(Experiment):
    """PSNR over a whole folder: the tool in its time against BM3D and the filters.

    The tool finds the noise level itself. BM3D and the filters are told the true one; of the
    filters each has the strength that is best for the folder by the truth.

    Parameters
    ----------
    sigma : float
        Noise, grey values of 255.
    minutes : float
        For training; a run of ten minutes gives it 7.5.
    pictures : int, optional
        Only so many.
    steps : int, optional
        Training steps instead of minutes.
    side : int, optional
        Only squares of so many pixels of each.
    """

    sigma: float = 25.0
    minutes: float = 7.5
    pictures: int | None = None
    steps: int | None = None
    side: int | None = None

    sizes = {"smoke": {"pictures": 2, "steps": 1, "side": 32}, "long": {}}
    recorded = True

    def possible(self) -> bool:
        """Whether BM3D is installed; prints what to do if not."""
        if importlib.util.find_spec("bm3d") is None:
            print("This needs BM3D: pip install bm3d (free for non-commercial use only).")
            return False
        return True

    def measure(self, session: Session, clean: dict[str, np.ndarray]) -> Results:
        """PSNR of every method on every picture."""
        from companion import restoration
        from companion.restoration.collaborative import CollaborativeFilter
        from companion.restoration.comparison import classic_methods

        clean = {n: p[: self.side, : self.side] for n, p in list(clean.items())[: self.pictures]}
        seen = noisy(clean, self.sigma, session.seed)
        folder = as_folder(seen)
        started = time.perf_counter()
        noise = restoration.estimate(folder)
        restorer = restoration.fit(
            folder, noise, minutes=self.minutes, steps=self.steps, seed=session.seed
        )
        restored = restoration.denoise(restorer, folder, noise, deviations=False)
        facts = {
            "seconds": time.perf_counter() - started,
            "cores": os.cpu_count(),
            "steps": restorer.plan.steps,
            "trust": restorer.denoiser.trust,
            "level found": float(np.median(noise.sigmas)),
        }
        rows = {NOISY: list(seen.values()), OURS: [r.values[0, 0] for r in restored]}
        pages = [(p / self.sigma).astype(np.float32)[None] for p in seen.values()]

        def all_pages(function):
            return [function(page)[0] * self.sigma for page in pages]

        def alone(page):
            shift = page.mean()
            x = torch.from_numpy(page - shift)
            return CollaborativeFilter(x, 1.0)(x).numpy() + shift

        rows[FILTER] = all_pages(alone)
        for method in classic_methods():
            if method.name in (*RIVALS, BM3D) and not (session.smoke and method.name == BM3D):
                each = [
                    all_pages(lambda p, m=method, s=s: m.function(p, s)) for s in method.parameters
                ]
                rows[method.name] = max(each, key=lambda done: np.mean(_psnrs(clean, done)))
        values = np.array([_psnrs(clean, done) for done in rows.values()])
        axes = {"method": list(rows), "picture": list(clean)}
        return Results(tidy(values, axes, measure="psnr"), facts=facts)


@dataclass(frozen=True)
class ManyPictures(WholeFolder):
    """A folder of 20 different pictures of 256 x 256; settings as of ``WholeFolder``."""

    @property
    def title(self) -> str:
        """What a record is about."""
        return "20 different pictures"

    def run(self, session: Session) -> Results:
        """PSNR of every method on every picture."""
        return self.measure(session, many())


@dataclass(frozen=True)
class OnePhotograph(WholeFolder):
    """A folder of one kind, 100 pieces of a photograph; settings as of ``WholeFolder``."""

    @property
    def title(self) -> str:
        """What a record is about."""
        return "100 pieces of one photograph"

    def run(self, session: Session) -> Results:
        """PSNR of every method on every picture."""
        return self.measure(session, one())


@dataclass(frozen=True)
class OneSky(WholeFolder):
    """A folder of another kind, 100 pieces of the sky; settings as of ``WholeFolder``.

    Added when ``OnePhotograph`` had been measured, as a second case.
    """

    @property
    def title(self) -> str:
        """What a record is about."""
        return "100 pieces of the sky"

    def run(self, session: Session) -> Results:
        """PSNR of every method on every picture."""
        return self.measure(session, sky())


def _psnrs(clean: dict[str, np.ndarray], done: list[np.ndarray]) -> list[float]:
    return [psnr(c, d) for c, d in zip(clean.values(), done)]
