"""The moving picture of the first page and the README: digits, what noise does to them, and back.

Everything in it is computed as in chapter 0. The noise is added; the way back starts from that very
noise, is sampled with the exact denoiser of the training set, and so ends in digits of this set.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from book.project import ROOT
from companion import data, noise, oracles, samplers
from companion.experiments.one_denoiser.digits import SIGMA_MAX

FOLDER = ROOT / "book" / "_static"
LIMIT = 400_000
COLUMNS, ROWS, CELL, GAP, FOOT = 8, 2, 92, 8, 54
INK, PAPER, DIM = (240, 240, 240), (16, 16, 16), (150, 150, 150)
STEPS, HOLD = 18, 1200
"""Frames each way, and how long a resting one is shown, in milliseconds."""


def make() -> list[Path]:
    """Write ``noise.webp``, which moves, and ``noise.png``, which does not.

    Raises
    ------
    ValueError
        If the moving picture would exceed 400 KB; nothing is written then.
    """
    levels, there, back = states()
    there_said, back_said = "noise is added", "the best denoiser takes it away, step by step"
    frames = [frame(there[0], 0.0, "handwritten digits", 0.0)]
    for i, (x, level) in enumerate(zip(there[1:], levels)):
        frames.append(frame(x, float(level), there_said, (i + 1) / len(levels)))
    frames[-1] = frame(there[-1], float(levels[-1]), "only noise is left", 1.0)
    below = [*levels.flip(0)[1:].tolist(), 0.0]
    for i, (x, level) in enumerate(zip(back[1:], below)):
        frames.append(frame(x, level, back_said, 1 - (i + 1) / len(below)))
    frames[-1] = frame(back[-1], 0.0, "other digits of the same set", 0.0)
    times = [90] * len(frames)
    times[0] = times[len(levels)] = HOLD
    times[-1] = 2 * HOLD
    moving, still = FOLDER / "noise.webp", FOLDER / "noise.png"
    partial = moving.with_name(".noise.partial.webp")
    frames[0].save(
        partial, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=55
    )
    if (size := partial.stat().st_size) > LIMIT:
        partial.unlink()
        raise ValueError(f"the picture takes {size / 1000:.0f} KB; allowed are {LIMIT / 1000:.0f}")
    partial.replace(moving)
    at_rest(there[0], there[-1], back[-1]).save(still, optimize=True)
    return [moving, still]


def states() -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Levels from small to large; the digits with so much noise, from none; and the way back."""
    digits, labels = data.images("digits", "train")
    of_each = [(labels == label).nonzero()[:2, 0] for label in range(10)]
    clean = digits[torch.stack(of_each, 1).flatten()[: ROWS * COLUMNS]]
    best = oracles.Empirical(digits).denoiser
    eps = noise.randn(clean.shape, generator=torch.Generator().manual_seed(30))
    sigmas = noise.karras(STEPS, SIGMA_MAX, 0.02)
    levels = sigmas[:-1].flip(0)
    there = [clean, *(clean + level * eps for level in levels)]
    back = samplers.trajectory(samplers.gradient_estimation, best, there[-1], sigmas)
    return levels, there, list(back)


def frame(x: Tensor, level: float, said: str, amount: float) -> Image.Image:
    """One frame: the pictures on a scale on which noise fills the range, and what happens."""
    width = COLUMNS * (CELL + GAP) + GAP
    height = ROWS * (CELL + GAP) + GAP + FOOT
    picture = Image.new("RGB", (width, height), PAPER)
    for i, cell in enumerate(cells(x, level)):
        row, column = divmod(i, COLUMNS)
        picture.paste(cell, (GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)))
    draw = ImageDraw.Draw(picture)
    top = height - FOOT + 4
    draw.text((GAP, top), said, INK, font=font(20))
    told = f"noise level {level:.2f}" if level < 10 else f"noise level {level:.0f}"
    draw.text((width - GAP, top), told, DIM, font=font(20), anchor="ra")
    draw.rectangle((GAP, height - 14, width - GAP, height - 10), (60, 60, 60))
    draw.rectangle((GAP, height - 14, GAP + amount * (width - 2 * GAP), height - 10), INK)
    return picture


def cells(x: Tensor, level: float) -> list[Image.Image]:
    """The states as small pictures."""
    shown = x / math.sqrt(1 + level**2 / 2)
    grey = ((shown.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).squeeze(1).numpy()
    large = [
        Image.fromarray(np.asarray(one)).resize((CELL, CELL), Image.Resampling.BICUBIC)
        for one in grey
    ]
    return [one.convert("RGB") for one in large]


def at_rest(*three: Tensor) -> Image.Image:
    """The first, the middle and the last state, side by side."""
    said = ("handwritten digits", "with noise", "sampled from that noise")
    block = 4 * (CELL + GAP) + GAP
    picture = Image.new("RGB", (3 * block, 2 * (CELL + GAP) + GAP + 32), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (x, level, words) in enumerate(zip(three, (0.0, SIGMA_MAX, 0.0), said)):
        for i, cell in enumerate(cells(x[:8], level)):
            row, column = divmod(i, 4)
            left = number * block + GAP + column * (CELL + GAP)
            picture.paste(cell, (left, GAP + row * (CELL + GAP)))
        draw.text((number * block + GAP, picture.height - 30), words, INK, font=font(20))
    return picture


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the figures, which matplotlib brings along."""
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
