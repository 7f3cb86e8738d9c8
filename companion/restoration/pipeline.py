"""The steps of the command as functions: ``fit`` a denoiser to a folder, ``denoise`` the folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from companion import checks
from companion.data.folders import Folder, Picture, write_text
from companion.progress import track
from companion.restoration.diagnosis import Noise, Units, estimate
from companion.restoration.guided import Guided, best_trust, lessons, suited
from companion.restoration.patches import MEMORY, Crop, held_out_crops
from companion.restoration.restore import Plan, deviation, make_plan, restore, train

GUIDES = 0.3
"""Share of the time of ``fit``, at most, for noising and filtering what is trained on."""

ASKED, SQUARE = 24, 96
"""Pages of which a square, of so many pixels a side, has a say in how much is trusted."""

__all__ = ["Restored", "Restorer", "denoise", "fit", "pages_of"]


@dataclass
class Restorer:
    """What ``fit`` returns.

    Attributes
    ----------
    denoiser : Guided
        Of images (B, channels, H, W) in units of their noise.
    channels : int
    crops : list of Crop
        Of ``pages_of(noisy, noise)``: places that the training has not seen.
    plan : Plan
    """

    denoiser: Guided
    channels: int
    crops: list[Crop]
    plan: Plan
    _trusts: dict[bytes, float] = field(default_factory=dict, repr=False)

    def __call__(self, page: np.ndarray) -> np.ndarray:
        """Restore a page (channels, H, W) in units of its noise."""
        return restore(self.suited(page), torch.from_numpy(page)).numpy()

    def suited(self, page: np.ndarray) -> Guided:
        """Return the denoiser with the trust that a page asks for; each page is asked once."""
        name = hashlib.sha256(page.tobytes()).digest()
        if name not in self._trusts:
            self._trusts[name] = suited(self.denoiser, page).trust
        return Guided(self.denoiser.pair, self._trusts[name])


@dataclass
class Restored:
    """A restored picture.

    Attributes
    ----------
    picture : Picture
    values : (N, C, H, W) array, in grey values, not rounded
    deviation : (N, C, H, W) array
        Posterior standard deviation, in grey values.
    """

    picture: Picture
    values: np.ndarray
    deviation: np.ndarray
    samples: list[np.ndarray] = field(default_factory=list)

    @property
    def array(self) -> np.ndarray:
        """The picture as the file had it: shape, type, transparency."""
        return self.picture.array(self.values)


def pages_of(noisy: Folder, noise: Noise) -> list[np.ndarray]:
    """All pages (channels, H, W) of a folder, in units of their noise."""
    c = noisy.channels
    return [
        page
        for i, q in enumerate(noisy.pictures)
        for page in noise.units(i).forward(q.values).reshape(-1, c, *q.values.shape[2:])
    ]


def fit(
    noisy: Folder,
    noise: Noise | None = None,
    *,
    minutes: float = 8.0,
    steps: int | None = None,
    clean: Folder | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> Restorer:
    """Train a denoiser on noisy pictures alone, by the ambient loss (eq-tw-ambient).

    What restores is asked at the noise level of the data only, so consistency
    (eq-tw-consistency), which teaches the levels below it, has no part in it.

    Parameters
    ----------
    noisy : Folder
    noise : Noise, optional
        As ``estimate`` returns it (default: ``estimate(noisy)``).
    minutes : float
        Time for training (default 8). So many steps are planned as fit into it.
    steps : int, optional
        Training steps instead, of 8 patches of 64 x 64 pixels.
    clean : Folder, optional
        A few clean pictures of the same kind and grey scale: they are trained on too.
    seed : int
        Of everything that is random (default 0).
    checkpoint : folder, optional
        Where the training is kept; it goes on from there if it was stopped.
    progress : bool, optional
        A progress bar (default: where somebody is watching).

    Returns
    -------
    Restorer

    Raises
    ------
    ValueError
        If the clean pictures have other channels or grey values than the noisy ones.
    """
    checks.instance("noisy", noisy, Folder, "what companion.data.folders.folder returns")
    noise = estimate(noisy) if noise is None else noise
    seconds = 60 * checks.number("minutes", minutes, above=0)
    if steps is not None:
        steps = checks.whole("steps", steps)
    started = time.perf_counter()
    rng = np.random.default_rng(checks.seed("seed", seed))
    pages = pages_of(noisy, noise)
    crops = held_out_crops(pages, rng)
    others = [] if clean is None else _clean_pages(clean, noisy, noise)
    keep = None if checkpoint is None else Path(checkpoint)
    plan = data = None
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        plan, data = Plan.kept(keep / "plan.json"), _kept(keep / "patches.npy")
    if data is None:
        limit = None if steps is not None else GUIDES * seconds
        data = _patches(pages, others, crops, rng, limit)
        left = max(1.0, seconds - (time.perf_counter() - started))
        plan = plan or make_plan(data, left, seed, steps, sum(p[0].size for p in pages))
        if keep is not None:
            write_text(keep / "plan.json", json.dumps(plan.__dict__))
            _keep(keep / "patches.npy", data)
    assert plan is not None  # written before the patches
    denoiser = train(data, plan, keep, progress)
    denoiser.trust = best_trust(denoiser, _squares(pages, crops, seed))
    return Restorer(denoiser, noisy.channels, crops, plan)


def _squares(pages: list[np.ndarray], crops: list[Crop], seed: int) -> list[np.ndarray]:
    """Squares that decide how much the network is trusted: the crops, and of some pages one each.

    Few would be too noisy. That the network has trained on some of them matters less: it has not
    seen them without more noise.
    """
    squares, rng = [crop.of(pages) for crop in crops], np.random.default_rng(seed)
    for i in rng.permutation(len(pages))[:ASKED]:
        page = pages[i]
        top, left = (int(rng.integers(max(1, n - SQUARE + 1))) for n in page.shape[1:])
        squares.append(page[:, top : top + SQUARE, left : left + SQUARE])
    return squares


def _patches(
    pages: list[np.ndarray],
    clean: list[np.ndarray],
    crops: list[Crop],
    rng: np.random.Generator,
    seconds: float | None,
) -> torch.Tensor:
    """Patches of lessons, clean pages counting for up to half of them."""
    size = min(64, max(min(p.shape[1:]) for p in pages) // 8 * 8)
    half = 2 if clean else 1
    options = {
        "size": size,
        "seconds": None if seconds is None else seconds / half,
        "memory": MEMORY // half,
    }
    data = lessons(pages, rng, without=crops, **options)
    if not len(data):  # nothing is left beside the crops
        data = lessons(pages, rng, **options)
    if not clean:
        return data
    return torch.cat([data, lessons(clean, rng, 0.0, **options)])


def _keep(path: Path, data: torch.Tensor) -> None:
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.save(file, data.numpy())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _kept(path: Path) -> torch.Tensor | None:
    return torch.from_numpy(np.load(path)) if path.exists() else None


def _clean_pages(clean: Folder, noisy: Folder, noise: Noise) -> list[np.ndarray]:
    check_clean(clean, noisy)
    units = noise.units(int(np.argsort(noise.sigmas)[len(noise.sigmas) // 2]))
    return [units.forward(page) for page in clean.pages()]


def check_clean(clean: Folder, noisy: Folder) -> None:
    """Refuse clean pictures that have other channels or grey values than the noisy ones."""
    kinds = {q.dtype for q in noisy.pictures}, {q.dtype for q in clean.pictures}
    if clean.channels != noisy.channels or kinds[0] != kinds[1]:
        raise ValueError(
            f"clean: got {clean.channels} channels of {', '.join(map(str, kinds[1]))}; allowed is "
            f"what the noisy pictures have, {noisy.channels} of {', '.join(map(str, kinds[0]))}"
        )


def denoise(
    restorer: Restorer, noisy: Folder, noise: Noise | None = None, *, deviations: bool = True
) -> list[Restored]:
    """Restore all pictures of a folder.

    Parameters
    ----------
    restorer : Restorer
    noisy : Folder
        That of ``fit``, or another of the same kind.
    noise : Noise, optional
        Default: ``estimate(noisy)``.
    deviations : bool
        Whether to find the posterior standard deviation too (default); else it is 0.

    Returns
    -------
    list of Restored, in the order of ``noisy.pictures``
    """
    checks.instance("restorer", restorer, Restorer, "what fit returns")
    noise = estimate(noisy) if noise is None else noise
    done = []
    for i, picture in enumerate(track(noisy.pictures, "restoring")):
        units = noise.units(i)
        z = cleaned(restorer, picture, units)
        s = deviations_of(restorer, picture, units) if deviations else np.zeros_like(z)
        done.append(Restored(picture, units.inverse(z), units.spread(z, s)))
    return done


def cleaned(restorer: Restorer, picture: Picture, units: Units) -> np.ndarray:
    """A picture's clean values (N, C, H, W), in units of its noise."""
    return _by_page(restorer, restorer, picture, units)


def deviations_of(restorer: Restorer, picture: Picture, units: Units) -> np.ndarray:
    """Posterior standard deviations (N, C, H, W) of a picture, in units of its noise."""
    return _by_page(
        lambda page: deviation(restorer.suited(page), torch.from_numpy(page)).numpy(),
        restorer, picture, units,
    )  # fmt: skip


def _by_page(function: Callable, restorer: Restorer, picture: Picture, units: Units) -> np.ndarray:
    """Apply a function of a page to all pages of a picture."""
    z = units.forward(picture.values)
    pages = z.reshape(-1, restorer.channels, *z.shape[2:])
    return np.stack([function(page) for page in pages]).reshape(z.shape)


def describe(restorer: Restorer) -> str:
    """How it was trained, in one sentence."""
    count = sum(p.numel() for p in restorer.denoiser.parameters())
    plan = restorer.plan
    precision = "32 bit" if plan.precision == "no" else plan.precision
    return (
        f"A residual U-Net of {count:,} parameters, which corrects a collaborative filtering of "
        f"similar patches; {plan.steps:,} steps of {plan.batch_size} patches by the ambient loss, "
        f"precision {precision}. {restorer.denoiser.trust:.0%} of its correction counts, by "
        "Stein's estimate on parts of the folder; on each page more or less, by that of the page."
    )
