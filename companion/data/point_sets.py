"""Points in the plane, and the mixtures behind some of them."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.noise import rand, randn_like
from companion.oracles import GaussianMixture

__all__ = ["MIXTURES", "POINTS", "mixture", "points"]

POINTS = ("swiss_roll", "two_moons", "ring", "spirals", "dinosaur")

MIXTURES = ("ring", "spirals", "two_modes")

# The outline of a sauropod, drawn for this book: (x, y) in percent of its height.
_DINOSAUR = """
    0 20    9 23   18 30   26 40   34 49   44 54   54 53   61 54   66 62   69 74   72 86   76 94
    83 98   90 96  97 91   99 86.5 94 84   86 83.5 82.5 77 81 66   79 53   77 41   75 31   75 17
    76 4.5  74 1   67 1    65 4.5  65.5 16 62 23   52 21.5 45 22   42 16   42.5 4.5 40.5 1 33.5 1
    31.5 4.5 32 17 28 25   18 23   9 19
"""


@cache
def _segments(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Starts (S, 2), ends (S, 2) and cumulated lengths (S,) of a curve, in scaled units."""
    u = np.linspace(0, 1, 2001)
    if name == "swiss_roll":
        t = 1.5 * math.pi * (1 + 2 * u)
        curves = [np.stack([t * np.cos(t), t * np.sin(t)], 1)]
    elif name == "two_moons":
        t = math.pi * u
        upper = np.stack([np.cos(t), np.sin(t)], 1)
        curves = [upper, np.array([1.0, 0.5]) - upper]
    else:
        from scipy.interpolate import CubicSpline

        knots = np.array(_DINOSAUR.split(), dtype=float).reshape(-1, 2)
        knots = np.vstack([knots, knots[:1]])
        chords = np.linalg.norm(np.diff(knots, axis=0), axis=1)
        t = np.concatenate([[0], np.cumsum(np.sqrt(chords))])  # centripetal: no loops
        curves = [CubicSpline(t, knots, bc_type="periodic")(u * t[-1])]
    start = np.concatenate([curve[:-1] for curve in curves])
    end = np.concatenate([curve[1:] for curve in curves])
    length = np.linalg.norm(end - start, axis=1)
    middle, weight = (start + end) / 2, length[:, None] / length.sum()
    mean = (weight * middle).sum(0)
    scale = math.sqrt((weight * (middle - mean) ** 2).sum() / 2)
    return (
        torch.from_numpy((start - mean) / scale),
        torch.from_numpy((end - mean) / scale),
        torch.from_numpy(np.cumsum(length) / length.sum()),
    )


@cache
def mixture(name: str) -> GaussianMixture:
    """Return the Gaussian mixture that stands behind a data set, so that answers are exact.

    Parameters
    ----------
    name : {"ring", "spirals", "two_modes"}
        "ring": 8 components of standard deviation 0.1 on a circle. "spirals": 2 arms of 80
        components of standard deviation 0.06. Both in 2 dimensions, with unit standard deviation;
        ``points`` of the same name are drawn from them. "two_modes": in 1 dimension, at -1 and 1,
        of standard deviation 0.2.

    Raises
    ------
    ValueError
        If ``name`` is unknown.
    """
    checks.choice("name", name, MIXTURES)
    if name == "two_modes":
        return GaussianMixture([[-1.0], [1.0]], 0.2)
    if name == "ring":
        std = 0.1
        angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
        means = torch.stack([angle.cos(), angle.sin()], 1)
    else:
        std = 0.06
        turn = torch.linspace(0.35**2, 1, 80, dtype=torch.float64).sqrt()  # about equal spacing
        angle = 3 * math.pi * turn
        arm = turn[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        means = torch.cat([arm, -arm])
    # The mixture has mean 0; per coordinate its variance is that of the means plus std^2.
    means = means * ((1 - std**2) / means.square().mean()).sqrt()
    return GaussianMixture(means, std)


def points(
    name: str, n: int, *, noise: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw points in the plane, of mean 0 and unit standard deviation.

    The standard deviation is that of both coordinates together (root mean square), so shapes keep
    their proportions. "swiss_roll", "two_moons" and "dinosaur" are uniform on a curve; "ring" and
    "spirals" come from the mixture of that name.

    Parameters
    ----------
    name : {"swiss_roll", "two_moons", "ring", "spirals", "dinosaur"}
    n : int
        Number of points, at least 1.
    noise : float
        Standard deviation of Gaussian noise to add, in the scaled units (default 0).
    generator : torch.Generator, optional
        Default: torch's global generator.

    Returns
    -------
    (n, 2) float32 tensor on the CPU.

    Raises
    ------
    ValueError
        If ``name`` is unknown, ``n`` below 1 or ``noise`` negative.
    """
    checks.choice("name", name, POINTS)
    n = checks.whole("n", n)
    noise = checks.number("noise", noise, at_least=0)
    checks.generator("generator", generator)
    if name in MIXTURES:
        x = mixture(name).sample(n, generator, device="cpu", dtype=torch.float32)
    else:
        start, end, cumulated = _segments(name)
        u = rand((n, 2), generator=generator, device="cpu", dtype=torch.float64)
        index = torch.searchsorted(cumulated, u[:, 0].contiguous()).clamp(max=len(cumulated) - 1)
        x = torch.lerp(start[index], end[index], u[:, 1:]).float()
    return x + noise * randn_like(x, generator) if noise else x
