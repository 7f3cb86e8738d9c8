"""Points, paths, densities and images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import corrupt
from companion.plotting.style import PALETTE

__all__ = [
    "denoising_strip",
    "density",
    "image_grid",
    "scatter",
    "trajectories",
]


def array(name: str, x: Any) -> np.ndarray:
    """Return numbers, or a tensor of any device, as a NumPy array of floats."""
    if isinstance(x, Tensor):
        return x.detach().float().cpu().numpy()
    try:
        if x is None or isinstance(x, str):
            raise TypeError
        return np.asarray(x, float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: got {checks.shown(x)}; allowed are numbers: a tensor or an array"
        ) from None


def check_axes(ax: Any) -> None:
    """Raise a ``TypeError`` unless there are axes to draw on."""
    checks.instance("ax", ax, Axes, "matplotlib axes")


def plane(name: str, x: Any, ndim: int) -> np.ndarray:
    """Return points in the plane, (N, 2) or (T, N, 2), as an array, or say that they are none."""
    x = array(name, x)
    if x.ndim != ndim or x.shape[-1] != 2:
        allowed = {2: "(N, 2)", 3: "(T, N, 2)"}[ndim]
        raise ValueError(f"{name}: got shape {x.shape}; allowed is {allowed}")
    return x


def _bare(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


# --- points -------------------------------------------------------------------------------------


def scatter(
    ax: Axes,
    x: Tensor,
    *,
    color: str = PALETTE["blue"],
    size: float | None = None,
    limit: float | None = None,
    label: str | None = None,
) -> None:
    """Draw points (N, 2) without axes, at equal scales.

    Parameters
    ----------
    ax : matplotlib axes
    x : (N, 2) tensor
    color : matplotlib colour
    size : float, optional
        Area of a point in square typographic points; default: smaller for more points.
    limit : float, optional
        Show [-limit, limit] in both directions; default: what the points span.
    label : str, optional
        For a legend.
    """
    check_axes(ax)
    points = plane("x", x, 2)
    size = None if size is None else checks.number("size", size, above=0)
    limit = None if limit is None else checks.number("limit", limit, above=0)
    size = min(12.0, max(1.0, 3000 / max(1, len(points)))) if size is None else size
    alpha = 0.8 if len(points) < 1000 else 0.5
    style: Any = {"s": size, "color": color, "alpha": alpha, "linewidths": 0, "label": label}
    ax.scatter(points[:, 0], points[:, 1], **style)
    if limit is not None:
        ax.set_xlim(-limit, limit)
        ax.set_ylim(-limit, limit)
    _bare(ax)


def trajectories(
    ax: Axes, paths: Tensor, *, color: str = PALETTE["blue"], label: str | None = None
) -> None:
    """Draw the ways of N points: ``paths`` (T, N, 2), a line each and a dot where it ends."""
    check_axes(ax)
    x, y = np.moveaxis(plane("paths", paths, 3), -1, 0)
    alpha = min(0.6, max(0.08, 20 / x.shape[1]))
    ax.plot(x, y, color=color, alpha=alpha, linewidth=0.8)
    ax.scatter(x[-1], y[-1], s=8, color=color, linewidths=0, zorder=3, label=label)
    _bare(ax)


def density(
    ax: Axes,
    distribution: Any,
    sigma: float = 0.0,
    *,
    limit: float = 3.0,
    resolution: int = 200,
) -> None:
    """Draw the density of ``x_sigma``: an image in two dimensions, a curve in one.

    Parameters
    ----------
    ax : matplotlib axes
    distribution : an oracle with ``dim`` (1 or 2) and ``log_prob(x, sigma)``
    sigma : float
        Noise level, in the units of the data.
    limit : float
        Range shown: [-limit, limit] in each dimension.
    resolution : int
        Grid points in each dimension.
    """
    check_axes(ax)
    if not callable(getattr(distribution, "log_prob", None)):
        raise TypeError(
            f"distribution: got {checks.shown(distribution)}; allowed is an oracle with log_prob"
        )
    sigma = checks.number("sigma", sigma, at_least=0)
    limit = checks.number("limit", limit, above=0)
    resolution = checks.whole("resolution", resolution, 2)
    line = torch.linspace(-limit, limit, resolution, dtype=torch.float64)
    if distribution.dim == 1:
        ax.plot(
            array("x", line),
            array("density", distribution.log_prob(line[:, None], sigma).exp()),
            label=f"σ = {sigma:g}",
        )
        ax.set_xlabel("x")
        ax.set_ylabel("density")
        return
    if distribution.dim != 2:
        raise ValueError(f"distribution: got {distribution.dim} dimensions; allowed are 1 and 2")
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    values = distribution.log_prob(grid, sigma).exp().reshape(resolution, resolution)
    ax.imshow(
        array("density", values),
        extent=(-limit, limit, -limit, limit),
        origin="lower",
        cmap="Blues",
        interpolation="bilinear",
    )
    _bare(ax)


# --- images -------------------------------------------------------------------------------------


def _mosaic(images: np.ndarray, pad: int) -> np.ndarray:
    """Images (R, K, C, H, W) in [-1, 1] -> one picture of values in [0, 1], white between."""
    rows, columns, channels, height, width = images.shape
    picture = np.ones((rows * (height + pad) - pad, columns * (width + pad) - pad, channels))
    for r, k in itertools.product(range(rows), range(columns)):
        top, left = r * (height + pad), k * (width + pad)
        tile = np.clip((images[r, k] + 1) / 2, 0, 1)
        picture[top : top + height, left : left + width] = tile.transpose(1, 2, 0)
    return picture if channels == 3 else picture[..., 0]


def image_grid(
    images: Tensor,
    *,
    columns: int | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images in a grid.

    Parameters
    ----------
    images : (N, C, H, W) or (R, K, C, H, W) tensor in [-1, 1], C of 1 or 3
        The second form is a grid of R rows already. Values outside are clipped.
    columns : int, optional
        With (N, C, H, W): images a row (default: as square as it goes, 10 at most).
    row_labels, column_labels : sequences of str, optional
    title : str, optional
    ax : matplotlib axes, optional
        Default: those of a new figure of fitting size.

    Returns
    -------
    The axes.
    """
    if ax is not None:
        check_axes(ax)
    stack = array("images", images)
    if stack.ndim not in (4, 5) or stack.shape[-3] not in (1, 3) or 0 in stack.shape:
        raise ValueError(
            f"images: got shape {stack.shape}; "
            "allowed are (N, C, H, W) and (R, K, C, H, W) with C of 1 or 3"
        )
    if stack.ndim == 4:
        if columns is None:
            columns = min(10, math.ceil(math.sqrt(len(stack))))
        columns = checks.whole("columns", columns)
        rows = math.ceil(len(stack) / columns)
        blank = np.ones((rows * columns - len(stack), *stack.shape[1:]))
        stack = np.concatenate([stack, blank]).reshape(rows, columns, *stack.shape[1:])
    rows, columns, _, height, width = stack.shape
    for name, labels, count in (
        ("row_labels", row_labels, rows),
        ("column_labels", column_labels, columns),
    ):
        if labels is not None and len(checks.listed(name, labels, "texts")) != count:
            raise ValueError(f"{name}: got {len(labels)}; allowed are {count}, one for each")
    pad = max(1, height // 14)
    picture = _mosaic(stack, pad)
    if ax is None:
        inches = min(0.62, 7.2 / columns)
        extra = 0.25 * (column_labels is not None) + 0.3 * (title is not None)
        size = (inches * columns + 1.0 * (row_labels is not None), inches * rows + extra)
        _, ax = plt.subplots(figsize=size)
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(ax)
    ax.tick_params(length=0)
    if row_labels is not None:
        ax.set_yticks([r * (height + pad) + height / 2 - 0.5 for r in range(rows)], row_labels)
    if column_labels is not None:
        ax.xaxis.tick_top()
        places = [k * (width + pad) + width / 2 - 0.5 for k in range(columns)]
        ax.set_xticks(places, column_labels, fontsize="small")
    if title is not None:
        ax.set_title(title)
    return ax


def denoising_strip(
    denoiser: Denoiser,
    x0: Tensor,
    sigmas: Tensor | Sequence[float],
    *,
    generator: torch.Generator | None = None,
) -> Figure:
    """Show what a denoiser sees and what it answers, level by level, with the same noise.

    Images: for each image a row of ``x_sigma`` and a row of ``D(x_sigma, sigma)``, the clean image
    at the left; ``x_sigma`` is drawn as ``x_sigma / sqrt(1 + sigma^2)``, else it would saturate.
    Points: a panel a level, noisy points and lines to where the denoiser puts them.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : (B, C, H, W) images in [-1, 1], or (B, 2) points
    sigmas : (L,) noise levels, in the order of the picture
    generator : torch.Generator, optional
    """
    checks.batch("x0", x0, at_least=1)
    levels = list(checks.numbers("sigmas", sigmas, at_least=0))
    eps = corrupt(torch.zeros_like(x0), 1.0, generator=generator)
    noisy = torch.stack([corrupt(x0, s, eps=eps) for s in levels], 1)  # (B, L, ...)
    with torch.no_grad():
        flat = noisy.flatten(0, 1)
        told = torch.tensor(levels, device=x0.device, dtype=x0.dtype).repeat(len(x0))
        answer = denoise(denoiser, flat, told).reshape(noisy.shape)
    names = [f"σ = {s:.2g}" for s in levels]
    if x0.ndim == 4:
        scaled = noisy / (1 + torch.tensor(levels).to(x0) ** 2).sqrt()[:, None, None, None]
        blank = torch.ones_like(x0)
        rows = []
        for i in range(len(x0)):
            rows += [torch.cat([x0[i, None], scaled[i]]), torch.cat([blank[i, None], answer[i]])]
        ax = image_grid(
            torch.stack(rows),
            row_labels=["noisy", "answer"] * len(x0),
            column_labels=["clean", *names],
        )
        return ax.get_figure(root=True)  # type: ignore[return-value]
    plane("x0", x0, 2)
    columns = min(5, len(levels))
    figure, axes = plt.subplots(
        math.ceil(len(levels) / columns),
        columns,
        figsize=(1.75 * columns, 1.95 * math.ceil(len(levels) / columns)),
        squeeze=False,
    )
    for ax in axes.flat:
        _bare(ax)
    for i, (ax, name) in enumerate(zip(axes.flat, names)):
        lines = np.stack([array("x0", part[:, i]) for part in (noisy, answer)], 0)
        ax.plot(lines[..., 0], lines[..., 1], color=PALETTE["grey"], alpha=0.25, linewidth=0.5)
        scatter(ax, noisy[:, i], color=PALETTE["sky"], size=4)
        scatter(ax, answer[:, i], color=PALETTE["vermillion"], size=5)
        ax.set_title(name, fontsize="small", fontweight="normal")
    return figure
