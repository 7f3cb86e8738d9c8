"""Is the noise found? Its level on pictures whose noise is known, and what real ones have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.experiments.your_images.pictures import as_folder, cut, grey, noisy, pieces
from companion.experiments.your_images.race import taught

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["Hubble", "Levels"]


@dataclass(frozen=True)
class Levels(Experiment):
    """Noise levels that ``estimate`` finds, over the true ones.

    Parameters
    ----------
    levels : tuple of float
        True standard deviations, grey values of 255.
    side, pictures : int
        Side of the pieces in pixels, and how many.
    draws : int
        Draws of the noise.
    """

    levels: tuple[float, ...] = (5.0, 15.0, 25.0, 50.0)
    side: int = 128
    pictures: int = 8
    draws: int = 3

    sizes = {"smoke": {"levels": (25.0,), "side": 64, "pictures": 2, "draws": 2}}
    seconds = 12

    def run(self, session: Session) -> Results:
        """Ratio of estimated and true level: of each picture, and of the folder as one."""
        from companion.restoration import estimate

        clean = pieces(self.side, self.pictures)
        each = np.zeros((self.draws, len(self.levels), len(clean)))
        whole = np.zeros(each.shape[:2])
        for d in range(self.draws):
            for k, level in enumerate(self.levels):
                seed = 10_000 * session.seed + 100 * d + int(level)
                found = estimate(as_folder(noisy(clean, level, seed)))
                each[d, k] = np.minimum(found.wavelet, found.eigenvalue) / level
                whole[d, k] = np.median(found.sigmas) / level
        axes = {"draw": list(range(self.draws)), "level": list(self.levels)}
        return Results([
            tidy(each, {**axes, "picture": list(clean)}, measure="one picture"),
            tidy(whole, axes, measure="folder"),
        ])  # fmt: skip


@dataclass(frozen=True)
class Hubble(Experiment):
    """Real noise: pieces of the Hubble deep field as they are, diagnosed and restored.

    Parameters
    ----------
    side, pieces : int
        Side of a piece in pixels, and how many.
    draws, steps, batch : int
        As of ``Race``.
    """

    side: int = 128
    pieces: int = 8
    draws: int = 2
    steps: int = 60
    batch: int = 4

    sizes = {"smoke": {"side": 32, "pieces": 2, "draws": 1, "steps": 2}}
    seconds = 14

    def run(self, session: Session) -> Results:
        """Level and correlation of the noise; the first piece before and after."""
        import torch

        from companion.restoration import estimate
        from companion.restoration.guided import suited
        from companion.restoration.restore import restore

        whole = grey("hubble_deep_field")
        corners = [(300 + 128 * (i // 4), 250 + 128 * (i % 4)) for i in range(self.pieces)]
        folder = as_folder({f"{r}-{c}": cut(whole, r, c, self.side) for r, c in corners}, np.uint8)
        noise = estimate(folder)
        kept = [i for i, q in enumerate(folder.pictures)]
        pages = [noise.units(i).forward(folder.pictures[i].values)[0] for i in kept]
        denoiser = taught(pages, self.draws, self.steps, self.batch, session.seed)
        done = restore(suited(denoiser, pages[0]), torch.from_numpy(pages[0])).numpy()
        arrays = {
            "noisy": folder.pictures[0].values[0, 0],
            "restored": noise.units(0).inverse(done[None])[0, 0].astype(np.float32),
        }
        right, below = noise.correlation
        values = [float(np.median(noise.wavelet)), float(np.median(noise.eigenvalue)), right, below]
        names = ["wavelets", "eigenvalues", "right", "below"]
        table = tidy(np.array(values), {"measure": names})
        return Results(table, arrays=arrays, facts={"sentences": noise.sentences})
