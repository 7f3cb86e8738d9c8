"""The tool against the usual filters, on pieces of pictures, at several noise levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.your_images.pictures import noisy, pieces, psnr

if TYPE_CHECKING:
    from companion.experiments.session import Session
    from companion.restoration.guided import Guided

__all__ = ["FILTER", "NOISY", "OURS", "RIVALS", "Race", "taught", "to_units"]

OURS, FILTER, NOISY = "this tool", "its filter alone", "noisy"
RIVALS = ("wavelets", "total variation", "non-local means")
"""Filters of scikit-image, each at its best strength."""

Function = Callable[[np.ndarray], np.ndarray]


def to_units(pictures: dict[str, np.ndarray], sigma: float) -> tuple[list[np.ndarray], float]:
    """Pages (1, H, W) in units of their noise around 0, and what was taken away."""
    mean = float(np.mean([p.mean() for p in pictures.values()])) / sigma
    return [(p / sigma - mean).astype(np.float32)[None] for p in pictures.values()], mean


def taught(pages: list[np.ndarray], draws: int, steps: int, batch: int, seed: int) -> Guided:
    """Train as ``companion denoise`` does, in single precision, for so many steps.

    Corners of half of the pages, at most four, are held out; they say how much is trusted.
    """
    from companion.restoration.guided import best_trust, lessons
    from companion.restoration.patches import Crop
    from companion.restoration.restore import Plan, train

    rng = np.random.default_rng(seed)
    side = min(pages[0].shape[1:])
    size = min(64, side // 8 * 8)
    crops = [Crop(i, 0, 0, max(16, side * 3 // 8)) for i in range(min(4, len(pages) // 2))]
    data = lessons(pages, rng, without=crops, size=size, draws=draws)
    plan = Plan(steps, "no", batch_size=batch, seed=seed)
    denoiser = train(data, plan, progress=False)
    denoiser.trust = best_trust(denoiser, [crop.of(pages) for crop in crops])
    return denoiser


def _ours(denoiser: Guided) -> dict[str, Function]:
    from companion.restoration.collaborative import CollaborativeFilter
    from companion.restoration.guided import suited
    from companion.restoration.restore import restore

    def alone(page: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(page)
        return CollaborativeFilter(x, 1.0)(x).numpy()

    return {
        OURS: lambda page: restore(suited(denoiser, page), torch.from_numpy(page)).numpy(),
        FILTER: alone,
    }


@dataclass(frozen=True)
class Race(Experiment):
    """PSNR of each method on each picture and noise level; truth is known.

    Every method is told the noise level. Each filter has the strength that is best for the level,
    chosen by the truth over all pictures.

    Parameters
    ----------
    levels : tuple of float
        Standard deviations of the noise, grey values of 255.
    side, pictures : int
        Side of the pieces in pixels, and how many.
    draws, steps, batch : int
        Noisy versions of each picture to learn from, and training steps of so many patches.
    watched : float
        Level at which error without truth, and uncertainty, are measured too.
    mapped : int
        Pictures whose uncertainty is measured.
    """

    levels: tuple[float, ...] = (15.0, 25.0, 50.0)
    side: int = 128
    pictures: int = 8
    draws: int = 3
    steps: int = 100
    batch: int = 4
    watched: float = 25.0
    mapped: int = 3

    sizes = {
        "smoke": {"levels": (25.0,), "side": 32, "pictures": 2, "draws": 1, "steps": 2,
                  "mapped": 2}
    }  # fmt: skip
    seconds = 45

    def run(self, session: Session) -> Results:
        """PSNR, Stein's estimate of it, and predicted and true errors; arrays for a figure."""
        clean = pieces(self.side, self.pictures)
        tables, arrays, facts = [], {}, {}
        for level in self.levels:
            seen = noisy(clean, level, 100 * session.seed + int(level))
            pages, mean = to_units(seen, level)
            denoiser = taught(pages, self.draws, self.steps, self.batch, session.seed)
            facts[f"trust at {level:g}"] = denoiser.trust
            functions = _ours(denoiser) | _strongest(clean, pages, mean, level, facts)
            answers = {NOISY: list(seen.values())}
            for name, function in functions.items():
                answers[name] = [(function(page)[0] + mean) * level for page in pages]
            psnrs = [[psnr(c, a) for c, a in zip(clean.values(), row)] for row in answers.values()]
            axes = {"method": list(answers), "picture": list(clean)}
            tables.append(tidy(np.array(psnrs), axes, level=level, measure="psnr"))
            if level == self.watched:
                tables.append(self._without_truth(functions, pages, level, list(clean)))
                more, arrays = self._uncertainty(denoiser, pages, level, clean, answers)
                tables.append(more)
        facts["parameters"] = sum(p.numel() for p in denoiser.parameters())
        return Results(tables, arrays=arrays, facts=facts)

    def _without_truth(self, functions, pages, level, names):
        """PSNR as Stein's estimate has it, from the noisy pages alone."""
        from companion.restoration.comparison import sure

        errors = [[max(sure(f, page), 1e-6) for page in pages] for f in functions.values()]
        estimated = 10 * np.log10(255**2 / (level**2 * np.array(errors)))
        axes = {"method": list(functions), "picture": names}
        return tidy(estimated, axes, level=level, measure="estimated psnr")

    def _uncertainty(self, denoiser, pages, level, clean, answers):
        """Root mean square of the uncertainty and of the true error, and pictures of one page."""
        from companion.restoration.guided import suited
        from companion.restoration.restore import deviation

        names = list(clean)[: self.mapped]
        maps = [
            deviation(suited(denoiser, p), torch.from_numpy(p))[0].numpy() * level
            for p in pages[: len(names)]
        ]
        errors = [a - clean[n] for a, n in zip(answers[OURS], names)]
        roots = [[float(np.sqrt((v**2).mean())) for v in row] for row in (maps, errors)]
        arrays = {
            "clean": clean[names[0]], "noisy": answers[NOISY][0], "restored": answers[OURS][0],
            "rival": answers[RIVALS[-1]][0], "uncertainty": maps[0], "error": np.abs(errors[0]),
        }  # fmt: skip
        axes = {"measure": ["predicted error", "true error"], "picture": names}
        table = tidy(np.array(roots), axes, level=level, method=OURS)
        return table, {k: v.astype(np.float32) for k, v in arrays.items()}


def _strongest(clean, pages, mean, level, facts) -> dict[str, Function]:
    """Each filter at the strength with the best mean PSNR."""
    from companion.restoration.comparison import classic_methods

    chosen: dict[str, Function] = {}
    for method in classic_methods():
        if method.name not in RIVALS:
            continue

        def score(strength, method=method):
            return np.mean([
                psnr(c, (method.function(page, strength)[0] + mean) * level)
                for c, page in zip(clean.values(), pages)
            ])  # fmt: skip

        best = max(method.parameters, key=score)

        def filtered(page, function=method.function, strength=best):
            return function(page, strength)

        facts[f"strength of {method.name} at {level:g}"] = best
        chosen[method.name] = filtered
    return chosen
