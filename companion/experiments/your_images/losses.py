"""What the filter and the loss bring: networks of one size, trained for the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.your_images.pictures import noisy, pieces, psnr
from companion.experiments.your_images.race import OURS, Race, to_units
from companion.noise import Generator
from companion.noise.corruption import randint

if TYPE_CHECKING:
    from companion.experiments.session import Session
    from companion.objectives import Objective

__all__ = ["AMBIENT", "NOISE2SELF", "Losses", "Noise2Self"]

AMBIENT, NOISE2SELF = "the network alone", "Noise2Self"
GRID = 4
"""One pixel of so many in each direction is hidden."""


def hidden(page: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
    """Replace a grid of pixels by the mean of their four neighbours; the grid as a mask."""
    kernel = page.new_tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None] / 4
    around = torch.nn.functional.pad(page, (1, 1, 1, 1), mode="reflect")
    means = torch.nn.functional.conv2d(around, kernel)
    mask = torch.zeros_like(page[:1, :1])
    mask[..., row::GRID, column::GRID] = 1
    return page + mask * (means - page), mask


@dataclass(frozen=True)
class Noise2Self:
    """Predict hidden pixels from the others (Batson & Royer 2019), for grey images.

    The noise level is not needed; it has to be independent from pixel to pixel.
    """

    def __call__(self, denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Mean squared error at hidden pixels of each image of the batch (B, 1, H, W), (B,)."""
        row, column = randint(GRID, (2,), generator=generator).tolist()
        seen, mask = hidden(batch, row, column)
        error = (denoiser(seen, 1.0) - batch) * mask
        return error.square().flatten(1).sum(1) / mask.sum()


@dataclass(frozen=True)
class Losses(Experiment):
    """PSNR of a network without the filter, by the ambient loss and by Noise2Self.

    All have the same blocks. ``Race`` trains for ``steps`` and makes noisy versions and filters
    them; what that costs is given to these as more steps.

    Parameters
    ----------
    level : float
        Noise, grey values of 255.
    longer : float
        Training steps, as a multiple of those of ``Race`` (default 1.5).
    """

    level: float = 25.0
    longer: float = 1.5

    needs = (Race,)
    seconds = 25

    def run(self, session: Session) -> Results:
        """PSNR of each on each picture; Noise2Self as it is, and asked with hidden pixels."""
        from companion import training
        from companion.denoisers import Preconditioned
        from companion.networks import seeded
        from companion.noise import LogUniform
        from companion.objectives import AmbientTweedie
        from companion.restoration.network import RestorationUNet
        from companion.restoration.patches import RandomSymmetries, patches
        from companion.restoration.restore import restore

        race = session.run(Race)
        setting = Race(**{k: _tuple(v) for k, v in race.settings.items()})
        clean = pieces(setting.side, setting.pictures)
        seen = noisy(clean, self.level, 100 * session.seed + int(self.level))
        pages, mean = to_units(seen, self.level)
        data = patches(pages, np.random.default_rng(session.seed))
        goals: dict[str, Objective] = {
            AMBIENT: AmbientTweedie(1.0, LogUniform(1 / 3, 2.0), "epsilon"),
            NOISE2SELF: Noise2Self(),
        }
        tables = [race.where(measure="psnr", level=self.level, method=OURS)]
        for name, goal in goals.items():
            start = Preconditioned(seeded(lambda: RestorationUNet(1), session.seed), 2.0)
            done = training.fit(
                start, RandomSymmetries(goal), data, batch_size=setting.batch, lr=2e-3, ema=0.995,
                steps=max(2, round(self.longer * setting.steps)), seed=session.seed,
                mixed_precision="no", compile=False, progress=False,
            )  # fmt: skip
            ways = [lambda page, d=done.denoiser: restore(d, torch.from_numpy(page)).numpy()]
            if name == NOISE2SELF:
                ways.append(lambda page, d=done.denoiser: _by_hiding(d, page))
            answers = [
                [psnr(c, (f(p)[0] + mean) * self.level) for c, p in zip(clean.values(), pages)]
                for f in ways
            ]
            best = max(answers, key=np.mean)
            axes = {"picture": list(clean)}
            tables.append(tidy(np.array(best), axes, method=name, level=self.level, measure="psnr"))
        return Results(tables)


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value


@torch.no_grad()
def _by_hiding(denoiser, page: np.ndarray) -> np.ndarray:
    """Each pixel as it is predicted when it is hidden."""
    x = torch.from_numpy(page)[None]
    answer = torch.zeros_like(x)
    for row in range(GRID):
        for column in range(GRID):
            seen, mask = hidden(x, row, column)
            answer = answer + mask * denoiser(seen, 1.0)
    return answer[0].numpy()
