"""Learn a denoiser from noisy images alone, and restore them with it.

Everything happens in units of the noise: a page is divided by its own noise level (after the
variance-stabilising transform, if its noise is photon-like), so that the level of the data is 1.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from companion import checks, devices, training
from companion.denoisers import Denoiser
from companion.networks import seeded
from companion.restoration.collaborative import CollaborativeFilter
from companion.restoration.guided import Guided, GuidedAmbient, Pair, derivative
from companion.restoration.network import RestorationUNet
from companion.restoration.patches import RandomSymmetries, symmetry

TILE, MARGIN = 384, 48
"""Pages are restored in tiles of this side, of which a margin is thrown away."""


# --- training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a training run goes; kept beside its checkpoint, so that it can go on.

    Attributes
    ----------
    steps, batch_size : int
    precision : {"no", "bf16", "fp16"}
        Of the arithmetic in training.
    lr : float
    seed : int
    """

    steps: int
    precision: str = "no"
    batch_size: int = 8
    lr: float = 2e-3
    seed: int = 0

    def keep(self, path: Path) -> None:
        """Write it."""
        path.write_text(json.dumps(self.__dict__), encoding="utf-8")

    @classmethod
    def kept(cls, path: Path) -> Plan | None:
        """Read it, if it is there."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def untrained(channels: int, seed: int = 0) -> Pair:
    """Make a denoiser of images with ``channels`` that answers its guide, before training."""
    # weights stay contiguous: a checkpoint keeps AdamW's moments so, and its step on a CPU pairs
    # weights and moments by their place in memory (channels_last was not faster, measured)
    return Pair(seeded(lambda: RestorationUNet(channels, 2), seed))


def objective() -> RandomSymmetries:
    """Ambient loss of lessons (``guided.lessons``), turned at random."""
    return RandomSymmetries(GuidedAmbient())


def _channels(data: Tensor) -> int:
    return (data.shape[1] - 2) // 3


VISITS = 200
"""Times that a pixel is trained on at most: noise that is seen too often is learned by heart."""


def make_plan(
    data: Tensor, seconds: float, seed: int = 0, steps: int | None = None, pixels: int | None = None
) -> Plan:
    """Measure a few steps, and plan as many as fit into the time; in the faster precision.

    Parameters
    ----------
    data : (N, 3 C + 2, H, W) tensor, patches of lessons
    seconds : float
        For training; the trials are part of it.
    seed : int
    steps : int, optional
        Steps instead of what fits.
    pixels : int, optional
        Of all pages: no more steps than ``VISITS`` of each. (Tried: on six pieces of 128 x 128, 160
        visits were still better than 80; on three of 64 x 64, 430 were far too many.)
    """
    gpu = torch.cuda.is_available()
    options: Sequence[Any] = (None,) if gpu else ("no", "bf16")
    if steps is not None:
        return Plan(steps, _precision(gpu), seed=seed)
    speeds = {}
    trials = 3 if seconds < 30 else 12
    net = untrained(_channels(data))
    started = time.perf_counter()
    for precision in options:
        for count in (1, trials):  # the first warms up
            done = training.fit(
                net, objective(), data, steps=count, batch_size=Plan.batch_size,
                mixed_precision=precision, compile=False, progress=False,
            )  # fmt: skip
        speeds[done.config["mixed_precision"]] = done.steps_per_second
    fastest = max(speeds, key=speeds.__getitem__)
    left = seconds - (time.perf_counter() - started)
    fitting = left * speeds[fastest]
    if pixels is not None:
        fitting = min(fitting, VISITS * pixels / (Plan.batch_size * data.shape[-1] ** 2))
    return Plan(max(10, int(fitting)), fastest, seed=seed)


def _precision(gpu: bool) -> str:
    """Precision without a trial: bf16 where the processor multiplies matrices of it."""
    if gpu:
        return "bf16" if devices.has_bf16(torch.device("cuda")) else "fp16"
    return "bf16" if getattr(torch.cpu, "_is_amx_tile_supported", bool)() else "no"


def train(
    data: Tensor, plan: Plan, checkpoint: Path | None = None, progress: bool | None = None
) -> Guided:
    """Train a denoiser by the ambient loss; it goes on from a checkpoint if there is one.

    Parameters
    ----------
    data : (N, 3 C + 2, H, W) tensor, patches of lessons
    plan : Plan
    checkpoint, progress : as for ``training.fit``
    """
    done = training.fit(
        untrained(_channels(data), plan.seed), objective(), data, steps=plan.steps,
        batch_size=plan.batch_size, lr=plan.lr, ema=0.995, seed=plan.seed,
        mixed_precision=plan.precision, compile=False, checkpoint=checkpoint,
        checkpoint_every=max(20, plan.steps // 20), progress=progress,
    )  # fmt: skip
    return Guided(done.denoiser).eval()


def posterior_samples(
    denoiser: Denoiser,
    page: Tensor,
    count: int = 2,
    sigma: float = 1.0,
    steps: int = 12,
    seed: int = 0,
) -> list[Tensor]:
    """Draw clean pages that are as likely as the restored one, up to second order.

    A Gaussian with the mean ``D`` and the covariance ``sigma^2 dD/dx`` of Tweedie's formulas:
    ``D + sigma (dD/dx)^(1/2) w`` with white ``w``, the root by ``steps`` steps of Lanczos' method
    on the derivative (forward-mode). Source: Efron 2011; Hutchinson's and Lanczos' probing as in
    Chow & Saad 2014.

    Parameters
    ----------
    denoiser, page, sigma : as for ``restore``
    count : int
        Samples (default 2).
    steps : int
        Of Lanczos' method, one derivative each (default 12).
    seed : int

    Returns
    -------
    list of (C, H, W) tensors
    """
    checks.tensor("page", page, "(C, H, W)", at_least=3)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    x = page.to(_device(denoiser))
    drawn = []
    with torch.no_grad():
        mean = denoiser(x[None], sigma)[0]
        along = derivative(denoiser, x, sigma)
        for _ in range(checks.whole("count", count)):
            w = torch.randn(x.shape, generator=generator).to(x)
            basis = [w / w.norm()]
            alpha: list[float] = []
            beta: list[float] = []
            for k in range(checks.whole("steps", steps)):
                v = along(basis[-1])
                alpha.append(float((v * basis[-1]).sum()))
                for other in basis:  # also those that symmetry alone would make orthogonal
                    v = v - (v * other).sum() * other
                beta.append(float(v.norm()))
                if k + 1 < steps:
                    basis.append(v / max(beta[-1], 1e-12))
            off = torch.tensor(beta[:-1])
            values, vectors = torch.linalg.eigh(
                torch.diag(torch.tensor(alpha)) + torch.diag(off, 1) + torch.diag(off, -1)
            )
            root = vectors @ (values.clamp(0, 1).sqrt() * vectors[0])
            noise = torch.stack([r * b for r, b in zip(root, basis)]).sum(0) * w.norm()
            drawn.append((mean + sigma * noise).to(page))
    return drawn


def save(denoiser: Guided, folder: Path) -> None:
    """Write a trained denoiser: ``weights.safetensors`` and ``config.json``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    net = checks.instance("denoiser", denoiser.pair.network, RestorationUNet, "ours")
    config = {"channels": net.channels, "widths": net.widths, "trust": denoiser.trust}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {k: v.cpu().contiguous() for k, v in denoiser.state_dict().items()}
    partial = folder / "weights.partial"
    try:
        save_file(tensors, partial)
    except Exception as error:  # safetensors has its own for a full disk
        raise OSError(f"{partial} could not be written ({error})") from error
    os.replace(partial, folder / "weights.safetensors")


def load(folder: str | os.PathLike) -> Guided:
    """Read what ``save`` wrote."""
    from safetensors.torch import load_file

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    net = RestorationUNet(config["channels"], 2, config["widths"])
    denoiser = Guided(Pair(net), config["trust"])
    denoiser.load_state_dict(load_file(folder / "weights.safetensors"))
    return denoiser.eval().requires_grad_(False)


# --- restoring ----------------------------------------------------------------------------------


def _tiles(length: int) -> list[tuple[int, int, int, int]]:
    """Bounds of overlapping tiles and of the part that each is used for."""
    if length <= TILE:
        return [(0, length, 0, length)]
    starts = [*range(0, length - TILE, TILE - 2 * MARGIN), length - TILE]
    cuts = [0, *(s + MARGIN for s in starts[1:]), length]
    return [(s, s + TILE, a, b) for s, a, b in zip(starts, cuts, cuts[1:])]


def _by_tiles(function, page: Tensor) -> Tensor:
    """Apply a function of (C, h, w) to a page (C, H, W) tile by tile."""
    out = torch.empty_like(page)
    for top, bottom, a, b in _tiles(page.shape[1]):
        for left, right, c, d in _tiles(page.shape[2]):
            done = function(page[:, top:bottom, left:right])
            out[:, a:b, c:d] = done[:, a - top : b - top, c - left : d - left]
    return out


def _device(denoiser: Any) -> torch.device:
    first = next(denoiser.parameters(), None) if isinstance(denoiser, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


@torch.no_grad()
def restore(denoiser: Denoiser, page: Tensor, sigma: float = 1.0, turns: int = 8) -> Tensor:
    """Estimate the clean page: the mean over the symmetries of the square.

    Parameters
    ----------
    denoiser : Denoiser
        Of images (B, C, H, W) of any size.
    page : (C, H, W) tensor, in the units of the denoiser
    sigma : float
        Its noise level (default 1, the units of the noise).
    turns : int from 1 to 8
        Symmetries to average over (default 8).
    """
    checks.tensor("page", page, "(C, H, W)", at_least=3)
    turns = checks.whole("turns", turns, 1, 8)
    where = _device(denoiser)

    def one(tile: Tensor) -> Tensor:
        x = tile.to(where)
        if isinstance(denoiser, Guided):  # filtered once, not at each turn
            guide = CollaborativeFilter(x, sigma)(x)
            ask = lambda k: denoiser.improve(  # noqa: E731
                symmetry(x, k)[None], symmetry(guide, k)[None], sigma
            )
        else:
            ask = lambda k: denoiser(symmetry(x, k)[None], sigma)  # noqa: E731
        return (
            torch.stack([symmetry(ask(k)[0], k, inverse=True) for k in range(turns)])
            .mean(0)
            .to(tile)
        )

    return _by_tiles(one, page)


def deviation(
    denoiser: Denoiser, page: Tensor, sigma: float = 1.0, grid: int = 4, seed: int = 0
) -> Tensor:
    """Posterior standard deviation at each pixel, by Tweedie's formula of second order.

    ``Cov[x_0 | x] = sigma^2 dD/dx``; the diagonal of the Jacobian is found by probing: random
    signs on a grid of every ``grid``-th pixel, pushed through the denoiser's derivative
    (forward-mode), shifted over the grid. What is left of the error, from pixels a grid step away,
    is smoothed with a Gaussian of one pixel. Source: Efron 2011 (the formula); Bekas, Kokiopoulou
    & Saad 2007 (probing).

    Parameters
    ----------
    denoiser, page, sigma : as for ``restore``
    grid : int
        Step of the grid in pixels: ``grid^2`` derivatives are taken (default 4).
    seed : int
        Of the random signs.

    Returns
    -------
    (C, H, W) tensor, in the units of the page
    """
    from scipy import ndimage

    checks.tensor("page", page, "(C, H, W)", at_least=3)
    grid = checks.whole("grid", grid)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    where = _device(denoiser)

    def one(tile: Tensor) -> Tensor:
        signs = torch.randint(0, 2, tile.shape, generator=generator).to(tile) * 2 - 1
        diagonal = torch.zeros_like(tile)
        along = derivative(denoiser, tile.to(where), sigma)
        for row in range(grid):
            for column in range(grid):
                probe = torch.zeros_like(tile)
                probe[:, row::grid, column::grid] = signs[:, row::grid, column::grid]
                pushed = along(probe.to(where))
                diagonal += probe * pushed.to(tile)
        return diagonal

    with torch.no_grad():
        diagonal = _by_tiles(one, page)
    smooth = ndimage.gaussian_filter(diagonal.numpy(), (0, 1, 1))
    return sigma * torch.from_numpy(smooth).clamp_min(0).sqrt()
