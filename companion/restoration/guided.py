"""A denoiser that sees the noisy image and its collaborative filtering, and how it is taught.

It needs noisy images only: each is noised anew and filtered, and the ambient loss (eq-tw-ambient)
asks for the old noise. All levels are in units of the noise of the data.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from companion import checks
from companion.denoisers import Denoiser
from companion.noise import Generator, expand
from companion.objectives.denoising import check_batch
from companion.restoration.collaborative import CollaborativeFilter
from companion.restoration.patches import MEMORY, Crop, cut

LEVELS = (0.3, 1.2)
"""Range of the added noise ``t`` in training, in units of the noise of the data."""

PROBE = 0.3
"""Length of the step along which the divergence is taken, in units of the noise. A short one is
noisy, as the filter finds other patches; one of the noise's own size is wrong."""

TRUST = 0.5
"""How far the trust that a page asks for is from that of its folder: a standard deviation."""

ASKED = 96
"""Side of the squares of a large page that are asked, in pixels."""

PAGE = 320
"""Of larger pages, squares of this side are noised and filtered for the training."""


class Pair(nn.Module):
    """What is trained: a denoiser that is given the noisy image and its guide.

    Parameters
    ----------
    network : nn.Module
        Called with (B, 2 C, H, W) and ``log(sigma) / 4`` (B,); returns (B, C, H, W), which is added
        to the guide.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pair: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise (B, 2 C, H, W), images and their guides; returns (B, C, H, W)."""
        levels = torch.as_tensor(sigma, dtype=pair.dtype, device=pair.device).expand(len(pair))
        guide = pair.chunk(2, 1)[1]
        return guide + self.network(pair / 2, levels.log() / 4).to(guide)


class Guided(nn.Module):
    """The denoiser ``D(x, sigma)``: filter ``x`` for a guide, and ask the pair.

    Parameters
    ----------
    pair : Pair
    trust : float from 0 to 1
        Share of the network's correction of the guide that counts (default 1). ``fit`` lets squares
        of the folder decide, and ``suited`` each page.
    """

    def __init__(self, pair: Pair, trust: float = 1.0):
        super().__init__()
        self.pair = pair
        self.trust = checks.number("trust", trust, at_least=0, at_most=1)

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise (B, C, H, W) of the level ``sigma``, a number or (B,)."""
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        with torch.no_grad():
            guide = torch.stack([CollaborativeFilter(a, float(s))(a) for a, s in zip(x, levels)])
        return self.improve(x, guide, levels)

    def improve(self, x: Tensor, guide: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise (B, C, H, W) with its guide, of the same shape."""
        return guide + self.trust * (self.pair(torch.cat([x, guide], 1), sigma) - guide)


def derivative(denoiser: Denoiser, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
    """Return the map from a direction ``v`` to the derivative of ``D`` along it, at one image.

    Forward-mode; of a ``Guided`` denoiser the gains of its filter are taken as fixed.

    Parameters
    ----------
    denoiser : Denoiser
    x : (C, H, W) tensor
    sigma : float

    Returns
    -------
    function of a (C, H, W) tensor
    """
    if not isinstance(denoiser, Guided):
        return lambda v: _push(lambda y: denoiser(y, sigma), (x[None],), (v[None],))[0]
    chosen = CollaborativeFilter(x, sigma)
    guide = chosen(x)

    def along(v: Tensor) -> Tensor:
        pushed = (v[None], chosen(v)[None])
        return _push(lambda y, g: denoiser.improve(y, g, sigma), (x[None], guide[None]), pushed)[0]

    return along


def _push(
    function: Callable[..., Tensor], at: tuple[Tensor, ...], along: tuple[Tensor, ...]
) -> Tensor:
    """Return the derivative of a function at some place along a direction."""
    with warnings.catch_warnings():  # PyTorch warns of its own use of what it has deprecated
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
        return torch.func.jvp(function, at, along)[1]


# --- teaching -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GuidedAmbient:
    """The ambient loss of a ``Pair`` on what ``lessons`` made; images may be noisy or clean.

    The loss of a sample is that of ``AmbientTweedie`` with the weight "epsilon", a clean one
    counting as one of level 0. Source of the mixture: Daras, Cherapanamjeri & Daskalakis, How Much
    is a Noisy Image Worth, 2024.
    """

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the batch (B, 3 C + 2, H, W), (B,)."""
        check_batch(batch, generator)
        channels = (batch.shape[1] - 2) // 3
        y, x, guide = batch[:, :-2].split(channels, 1)
        added, own = batch[:, -2, 0, 0], batch[:, -1, 0, 0]
        variance = added.square() + own.square()
        share = expand(added.square() / variance, y)
        restored = denoiser(torch.cat([x, guide], 1), variance.sqrt())
        error = x - y + share * (restored - x)
        return error.square().flatten(1).mean(1) / added.square()


def lesson(y: np.ndarray, added: float, own: float, rng: np.random.Generator) -> np.ndarray:
    """Noise an image anew and filter it: (C, H, W) to (3 C + 2, H, W).

    Parameters
    ----------
    y : (C, H, W) array
    added : float
        Standard deviation of the fresh noise.
    own : float
        Of the noise in ``y``: 1, or 0 for a clean image.
    rng : numpy.random.Generator

    Returns
    -------
    array
        ``y``, the noised ``x``, its guide, and two channels with ``added`` and ``own``.
    """
    x = (y + added * rng.standard_normal(y.shape)).astype(np.float32)
    sigma = math.hypot(added, own)
    with torch.no_grad():
        image = torch.from_numpy(x)
        guide = CollaborativeFilter(image, sigma)(image).numpy()
    levels = np.broadcast_to(np.array([added, own])[:, None, None], (2, *y.shape[1:]))
    return np.concatenate([y, x, guide, levels]).astype(np.float32)


def lessons(
    pages: Sequence[np.ndarray],
    rng: np.random.Generator,
    own: float = 1.0,
    *,
    without: Sequence[Crop] = (),
    size: int = 64,
    draws: int = 8,
    seconds: float | None = None,
    memory: int = MEMORY,
) -> Tensor:
    """Noise and filter pages, each several times at levels spread over ``LEVELS``; cut patches.

    Parameters
    ----------
    pages : sequence of (C, H, W) arrays, in units of their noise
    rng : numpy.random.Generator
    own : float
        Level of their noise: 1, or 0 for clean ones.
    without : sequence of Crop
        Places that no patch may touch.
    size : int
        Side of a patch in pixels (default 64), of which no page may be smaller than ``size``.
    draws : int
        Times that a page is noised, at most (default 8). Of a page larger than ``PAGE`` so many
        squares that each pixel is in one as often.
    seconds : float, optional
        Time after which no other is begun, once half of the pages have had one.
    memory : int
        Bytes that the patches take at most.

    Returns
    -------
    (N, 3 C + 2, size, size) tensor
        Patches of what ``lesson`` returns.
    """
    usable = [i for i, page in enumerate(pages) if min(page.shape[1:]) >= size]
    order = [
        i
        for _ in range(checks.whole("draws", draws))
        for i in rng.permutation(usable).tolist()
        for _ in range(max(1, round(pages[i][0].size / PAGE**2)))
    ]
    channels = 3 * len(pages[0]) + 2
    most = max(64, memory // (4 * channels * size**2))
    # one block: many small ones, kept between large ones that come and go, would cost gigabytes
    data = np.empty((most, channels, size, size), dtype=np.float32)
    started, full, (low, high) = time.perf_counter(), 0, LEVELS
    for done, i in enumerate(order):
        late = seconds is not None and time.perf_counter() - started > seconds
        if full == most or (late and done >= len(usable) / 2):
            break
        height, width = (min(PAGE, n) for n in pages[i].shape[1:])
        top = int(rng.integers(pages[i].shape[1] - height + 1))
        left = int(rng.integers(pages[i].shape[2] - width + 1))
        part = np.ascontiguousarray(pages[i][:, top : top + height, left : left + width])
        made = lesson(part, low * (high / low) ** rng.random(), own, rng)
        holes = [replace(c, top=c.top - top, left=c.left - left) for c in without if c.page == i]
        wanted = max(1, min(round(2 * height * width / size**2), most // len(order)))
        for patch in cut(made, rng, size, wanted, holes)[: most - full]:
            data[full] = patch
            full += 1
    return torch.from_numpy(data[:full])


# --- how much to trust it -----------------------------------------------------------------------


def best_trust(
    denoiser: Guided,
    crops: Sequence[np.ndarray | Tensor],
    seed: int = 0,
    *,
    sigma: float = 1.0,
    belief: float = 0.0,
) -> float:
    """Share of the network's correction with the least error, by Stein's estimate.

    With the guide ``g``, the correction ``d`` and noise of level s, ``||g + a d - y||^2
    + 2 s^2 div(g + a d)`` is least at ``a = -(<g - y, d> + s^2 div d) / ||d||^2``; the divergence
    is taken along one direction of random signs. The estimate's variance is several times
    ``s^2 / ||d||^2``. Source: Stein 1981; Ramani, Blu & Unser 2008.

    Parameters
    ----------
    denoiser : Guided
    crops : sequence of (C, H, W) arrays or tensors
        Noisy; without any, and without belief, the answer is 1.
    seed : int
        Of the directions.
    sigma : float
        Their noise level (default 1, the units of the noise).
    belief : float, at least 0
        How much ``denoiser.trust`` counts beside the crops: one over the variance of its error
        (default 0, not at all).

    Returns
    -------
    float from 0 to 1

    Raises
    ------
    ValueError
        If ``sigma`` is not above 0 or ``belief`` is below it.
    """
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    below = checks.number("belief", belief, at_least=0)
    step, above = PROBE * checks.number("sigma", sigma, above=0), below * denoiser.trust
    where = next(denoiser.parameters()).device
    with torch.no_grad():
        for crop in crops:
            y = torch.as_tensor(np.ascontiguousarray(crop)).to(where)
            signs = (torch.randint(0, 2, y.shape, generator=generator) * 2 - 1).to(y)
            corrections, guides = [], []
            for x in (y, y + step * signs):
                guide = CollaborativeFilter(x, sigma)(x)
                corrections.append(denoiser.pair(torch.cat([x, guide])[None], sigma)[0] - guide)
                guides.append(guide)
            d = corrections[0]
            divergence = float((signs * (corrections[1] - d)).sum()) / step
            above -= float(((guides[0] - y) * d).sum()) / sigma**2 + divergence
            below += float(d.square().sum()) / sigma**2
    return min(1.0, max(0.0, above / below)) if below else 1.0


def suited(denoiser: Guided, page: np.ndarray | Tensor, sigma: float = 1.0) -> Guided:
    """Return the denoiser with the trust that a page asks for.

    A page of empty sky is restored best by the filter alone, one of detail by the network. The
    page's own Stein estimate decides, of four squares of a large page; the trust that the denoiser
    has counts as one more measurement, with the standard deviation ``TRUST``.

    Parameters
    ----------
    denoiser : Guided
    page : (C, H, W) array or tensor
        Noisy.
    sigma : float
        Its noise level (default 1, the units of the noise).

    Returns
    -------
    Guided, with the same network.
    """
    height, width = page.shape[1:]
    rows, columns = (_starts(n) for n in (height, width))
    squares = [page[:, r : r + rows[1], c : c + columns[1]] for r in rows[0] for c in columns[0]]
    trust = best_trust(denoiser, squares, sigma=sigma, belief=TRUST**-2)
    return Guided(denoiser.pair, trust).train(denoiser.training)


def _starts(length: int) -> tuple[list[int], int]:
    """Where the squares that are asked start along an axis, and their side."""
    if length < 2 * ASKED:
        return [0], length
    free = length - 2 * ASKED
    return [free // 4, ASKED + 3 * free // 4], ASKED
