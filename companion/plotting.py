"""One house style for every figure: colours with a meaning, and the few drawings the book needs.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers; a method has the same
colour and marker everywhere. Figures have an opaque white ground, which reads in light and dark
mode. Nothing changes on import: call ``use_style()``, or draw inside ``with style():``.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion._html import STYLE
from companion.claims import mean_interval
from companion.noise import corrupt

__all__ = [
    "METHODS",
    "PALETTE",
    "Table",
    "TrajectoryPlayer",
    "denoising_strip",
    "density",
    "image_grid",
    "method",
    "save",
    "scatter",
    "style",
    "trajectories",
    "use_style",
    "with_band",
]

PALETTE = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#7F7F7F",
}
"""The colours of Okabe & Ito (2008), and a grey."""

METHODS = {
    # truth and ceilings
    "data": ("black", ".", "data"),
    "exact": ("black", "X", "exact denoiser"),
    "clean": ("black", "P", "trained on clean data"),
    # samplers
    "ddim": ("blue", "o", "DDIM"),
    "ddpm": ("orange", "s", "DDPM"),
    "heun": ("green", "^", "Heun"),
    "gradient_estimation": ("vermillion", "D", "gradient estimation"),
    "picard": ("purple", "v", "Picard"),
    # objectives
    "denoising": ("blue", "o", "denoising"),
    "input_perturbation": ("orange", "s", "input perturbation"),
    "ambient": ("green", "^", "ambient Tweedie"),
    "consistency": ("vermillion", "D", "ambient + consistency"),
    "contrastive": ("purple", "v", "contrastive"),
    "naive": ("grey", "x", "naive"),
    "sure": ("sky", "*", "SURE"),
}
"""For each method its colour (a key of ``PALETTE``), its marker and its label."""

_STYLE: Any = {
    "figure.figsize": (6.4, 3.8),
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "savefig.dpi": 110,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(
        color=[
            PALETTE[c] for c in ("blue", "orange", "green", "vermillion", "purple", "sky", "black")
        ]
    ),
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "font.size": 10.5,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "image.cmap": "cividis",
    "image.interpolation": "nearest",
}


def style() -> AbstractContextManager[None]:
    """House style as a context manager: ``with style(): ...``."""
    return mpl.rc_context(_STYLE)


def use_style() -> None:
    """Apply the house style to every figure from here on."""
    mpl.rcParams.update(_STYLE)


def method(name: str) -> dict[str, Any]:
    """Return the ``color``, ``marker`` and ``label`` of a method, as arguments for ``ax.plot``.

    Parameters
    ----------
    name : a key of ``METHODS``

    Examples
    --------
    >>> method("heun")
    {'color': '#009E73', 'marker': '^', 'label': 'Heun'}
    """
    if name not in METHODS:
        raise ValueError(f"name: got {name!r}; allowed are {', '.join(map(repr, METHODS))}")
    color, marker, label = METHODS[name]
    return {"color": PALETTE[color], "marker": marker, "label": label}


def save(figure: Figure, path: str | Path, *, limit: int = 400_000) -> None:
    """Write a figure to a file, which must not be larger than ``limit`` bytes (default 400 KB).

    Raises
    ------
    ValueError
        If it would be larger; nothing is written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format=path.suffix[1:] or "png", bbox_inches="tight")
        size = partial.stat().st_size
        if size > limit:
            raise ValueError(
                f"figure: it takes {size / 1000:.0f} KB; allowed are {limit / 1000:.0f} KB. "
                "Draw fewer points or images, or lower the dpi"
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _array(x: Any) -> np.ndarray:
    return x.detach().float().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, float)


def _plane(name: str, x: Any, ndim: int) -> np.ndarray:
    x = _array(x)
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
    points = _plane("x", x, 2)
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
    x, y = np.moveaxis(_plane("paths", paths, 3), -1, 0)
    alpha = min(0.6, max(0.08, 20 / x.shape[1]))
    ax.plot(x, y, color=color, alpha=alpha, linewidth=0.8)
    ax.scatter(x[-1], y[-1], s=8, color=color, linewidths=0, zorder=3, label=label)
    _bare(ax)


def density(
    ax: Axes, law: Any, sigma: float = 0.0, *, limit: float = 3.0, resolution: int = 200
) -> None:
    """Draw the density of ``x_sigma``: an image in two dimensions, a curve in one.

    Parameters
    ----------
    ax : matplotlib axes
    law : an oracle with ``dim`` (1 or 2) and ``log_prob(x, sigma)``
    sigma : float
        Noise level, in the units of the data.
    limit : float
        Range shown: [-limit, limit] in each dimension.
    resolution : int
        Grid points in each dimension.
    """
    line = torch.linspace(-limit, limit, resolution, dtype=torch.float64)
    if law.dim == 1:
        ax.plot(
            _array(line), _array(law.log_prob(line[:, None], sigma).exp()), label=f"σ = {sigma:g}"
        )
        ax.set_xlabel("x")
        ax.set_ylabel("density")
        return
    if law.dim != 2:
        raise ValueError(f"law: got {law.dim} dimensions; allowed are 1 and 2")
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    values = law.log_prob(grid, sigma).exp().reshape(resolution, resolution)
    ax.imshow(
        _array(values),
        extent=(-limit, limit, -limit, limit),
        origin="lower",
        cmap="Blues",
        interpolation="bilinear",
    )
    _bare(ax)


def with_band(
    ax: Axes, x: Any, runs: Any, *, confidence: float = 0.95, band: float = 0.18, **line: Any
) -> None:
    """Draw the mean over runs as a line, and its t-interval as a band.

    Parameters
    ----------
    ax : matplotlib axes
    x : (X,) what the runs are measured at
    runs : (R, X), one row for each seed, R at least 2
    confidence : float
        Of the interval (default 0.95), at each point of ``x`` by itself.
    band : float
        Opacity of the band.
    **line
        For ``ax.plot``, such as ``**method("ddim")``.
    """
    x, runs = _array(x), _array(runs)
    if runs.ndim != 2 or x.ndim != 1 or runs.shape[1] != len(x):
        raise ValueError(
            f"runs: got shape {runs.shape} with x of shape {x.shape}; allowed is (R, X) with (X,)"
        )
    intervals = [mean_interval(column, confidence=confidence) for column in runs.T]
    (drawn,) = ax.plot(x, [i.mean for i in intervals], **line)
    low, high = [i.low for i in intervals], [i.high for i in intervals]
    ax.fill_between(x, low, high, color=drawn.get_color(), alpha=band, linewidth=0)


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
    stack = _array(images)
    if stack.ndim not in (4, 5) or stack.shape[-3] not in (1, 3) or 0 in stack.shape:
        raise ValueError(
            f"images: got shape {stack.shape}; "
            "allowed are (N, C, H, W) and (R, K, C, H, W) with C of 1 or 3"
        )
    if stack.ndim == 4:
        columns = columns or min(10, math.ceil(math.sqrt(len(stack))))
        rows = math.ceil(len(stack) / columns)
        blank = np.ones((rows * columns - len(stack), *stack.shape[1:]))
        stack = np.concatenate([stack, blank]).reshape(rows, columns, *stack.shape[1:])
    rows, columns, _, height, width = stack.shape
    for name, labels, count in (
        ("row_labels", row_labels, rows),
        ("column_labels", column_labels, columns),
    ):
        if labels is not None and len(labels) != count:
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
    denoiser: Callable[[Tensor, Tensor], Tensor],
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
    levels = [float(s) for s in sigmas]
    eps = corrupt(torch.zeros_like(x0), 1.0, generator=generator)
    noisy = torch.stack([corrupt(x0, s, eps=eps) for s in levels], 1)  # (B, L, ...)
    with torch.no_grad():
        flat = noisy.flatten(0, 1)
        told = torch.tensor(levels, device=x0.device, dtype=x0.dtype).repeat(len(x0))
        answer = denoiser(flat, told).reshape(noisy.shape)
    names = [f"σ = {s:.2g}" for s in levels]
    if x0.ndim == 4:
        scaled = noisy / (1 + torch.tensor(levels).to(x0) ** 2).sqrt()[:, None, None, None]
        blank = torch.ones_like(x0)
        rows = []
        for i in range(len(x0)):
            rows += [torch.cat([x0[i, None], scaled[i]]), torch.cat([blank[i, None], answer[i]])]
        ax = image_grid(
            torch.stack(rows),
            row_labels=["seen", "answer"] * len(x0),
            column_labels=["clean", *names],
        )
        return ax.get_figure(root=True)  # type: ignore[return-value]
    _plane("x0", x0, 2)
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
        seen, said = _array(noisy[:, i]), _array(answer[:, i])
        lines = np.stack([seen, said], 0)
        ax.plot(lines[..., 0], lines[..., 1], color=PALETTE["grey"], alpha=0.25, linewidth=0.5)
        scatter(ax, noisy[:, i], color=PALETTE["sky"], size=4)
        scatter(ax, answer[:, i], color=PALETTE["vermillion"], size=5)
        ax.set_title(name, fontsize="small", fontweight="normal")
    return figure


# --- a table ------------------------------------------------------------------------------------


class Table:
    """Rows of text: a table on the page, aligned text in a script.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequences of str
        One list of cells a row, as long as ``head``. Text is shown as it is, never read as HTML.
    wrap : bool
        Break the text of a cell over lines, where it is a sentence (default False: a line a row).

    Raises
    ------
    ValueError
        If a row is longer or shorter than ``head``.
    """

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, wrap: bool = False):
        self.wrap = wrap
        self.head = [str(c) for c in head]
        self.rows = [[str(c) for c in row] for row in rows]
        for i, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise ValueError(
                    f"rows: row {i} has {len(row)} cells; allowed are {len(self.head)}, one for "
                    f"each of {self.head}"
                )

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in lines
        )

    def _repr_html_(self) -> str:
        def line(row: Sequence[str], kind: str) -> str:
            space = "normal" if self.wrap else "nowrap"
            style = (
                f'style="text-align:left;vertical-align:top;padding:.15em .3em;white-space:{space}"'
            )
            tags = [kind if c else "td" for c in row]  # a heading of nothing is no heading
            cells = [f"<{t} {style}>{html.escape(c)}</{t}>" for t, c in zip(tags, row)]
            return f"<tr>{''.join(cells)}</tr>"

        # A table that is wider than the page scrolls by itself, by the keyboard as well.
        body = "".join(line(row, "td") for row in self.rows)
        return (
            f'{STYLE}<div class="nop" style="overflow-x:auto" tabindex="0" role="group" '
            'aria-label="table"><table style="font-size:.76em">'
            f"<thead>{line(self.head, 'th')}</thead><tbody>{body}</tbody></table></div>"
        )


# --- a figure that the reader moves -------------------------------------------------------------


class TrajectoryPlayer:
    """An interactive figure of sampling paths, for a static page: no kernel, no outside script.

    Play and pause, a slider over steps, and a slider for each parameter in ``controls``. Works with
    the keyboard, follows dark mode and the reader's wish for reduced motion.

    Parameters
    ----------
    paths : (T, N, 2) tensor, or a dict of them
        A dict of name -> paths draws a panel each, side by side, at the same share of their steps
        (T may differ). With ``controls``: a dict keyed by tuples of one value for each control,
        each entry in one of the two forms above; all panels must have the same names.
    sigmas : (T,) noise levels, or a dict keyed as the controls' tuples, optional
        Shown beside the step.
    title : str
        A line above the figure.
    alt : str
        What there is to see, for readers who do not see it.
    labels : dict, optional
        Panel name -> what is written above it (default: the label in ``METHODS``, or the name).
    controls : dict of str -> sequence, optional
        Parameter name -> its values, in the order of the slider.
    target : (M, 2) tensor, optional
        Points that are drawn faintly behind: the data.
    groups : (N,) whole numbers from 0, optional
        Group of each point, 8 at most, told by colour.
    limit : float, optional
        Show [-limit, limit] in both directions at every step (default: the view follows the points
        and closes in on them as they do).

    Raises
    ------
    ValueError
        If shapes or keys do not fit, or the figure would exceed 2 MB.

    Notes
    -----
    Coordinates are stored as 16-bit integers of the largest one: 400 points over 50 steps take
    about 110 KB.
    """

    LIMIT = 2_000_000

    def __init__(
        self,
        paths: Any,
        sigmas: Any = None,
        *,
        title: str,
        alt: str,
        labels: Mapping[str, str] | None = None,
        controls: Mapping[str, Sequence[Any]] | None = None,
        target: Tensor | None = None,
        groups: Tensor | Sequence[int] | None = None,
        limit: float | None = None,
    ):
        if limit is not None and not (0 < limit < math.inf):
            raise ValueError(f"limit: got {limit!r}; allowed is a finite number above 0")
        for name, text in (("title", title), ("alt", alt)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}: got {text!r}; allowed is a text that is not empty")
        self.title = title
        self.alt = alt
        controls = {name: list(values) for name, values in (controls or {}).items()}
        keys: list[tuple] = list(itertools.product(*controls.values()))
        if not controls:
            paths = {(): paths}
        if not isinstance(paths, Mapping) or set(paths) != set(keys):
            got = sorted(map(str, paths)) if isinstance(paths, Mapping) else type(paths).__name__
            raise ValueError(
                f"paths: got {got}; with these controls allowed is a dict with the {len(keys)} "
                f"keys {', '.join(map(str, keys[:3]))}, ..."
            )
        sets = [self._panels(paths[key]) for key in keys]
        self.panels = list(sets[0])
        self.steps = max(len(p) for panels in sets for p in panels.values()) - 1
        for key, panels in zip(keys, sets):
            if list(panels) != self.panels:
                raise ValueError(
                    f"paths: the entry {key} has panels {list(panels)}; the first {self.panels}"
                )
        everything = [p for panels in sets for p in panels.values()]
        self.count = everything[0].shape[1]
        if groups is not None:
            groups = [int(g) for g in groups]
            if any(p.shape[1] != len(groups) for p in everything):
                raise ValueError(f"groups: got {len(groups)} for {self.count} points")
            if min(groups) < 0 or max(groups) > 7:
                raise ValueError("groups: allowed are whole numbers from 0 to 7")
        behind = None if target is None else _plane("target", target, 2)
        extremes = [*(np.abs(p).max() for p in everything), 1e-9]
        if behind is not None:
            extremes.append(np.abs(behind).max())
        self._unit = float(max(extremes)) / 32767
        ends = np.concatenate([np.abs(p[-1]).ravel() for p in everything])
        closest = 1.15 * float(np.quantile(ends, 0.99)) or 1.0
        names = {name: entry[2] for name, entry in METHODS.items()} | dict(labels or {})
        self._config = {
            "alt": alt,
            "panels": [names.get(name, name) for name in self.panels],
            "controls": [
                {
                    "name": name,
                    "values": [f"{v:g}" if isinstance(v, float) else str(v) for v in values],
                }
                for name, values in controls.items()
            ],
            "unit": self._unit,
            "groups": groups or [],
            "colors": self._colors(groups),
            "target": None if behind is None else self._encode(behind),
            "sets": [
                {
                    "sigmas": self._levels(sigmas, key, panels),
                    "view": [limit] if limit else self._view(panels, closest),
                    "panels": [{"steps": len(p), "xy": self._encode(p)} for p in panels.values()],
                }
                for key, panels in zip(keys, sets)
            ],
        }
        size = len(self._repr_html_())
        if size > self.LIMIT:
            raise ValueError(
                f"paths: the figure takes {size / 1e6:.1f} MB; allowed are "
                f"{self.LIMIT / 1e6:.0f} MB. Give fewer points, steps or control values"
            )

    @staticmethod
    def _panels(paths: Any) -> dict[str, np.ndarray]:
        if not isinstance(paths, Mapping):
            paths = {"": paths}
        if not paths:
            raise ValueError("paths: got no path; allowed are one or more")
        panels = {str(name): _plane("paths", p, 3) for name, p in paths.items()}
        for name, p in panels.items():
            if len(p) < 2 or not p.shape[1]:
                raise ValueError(f"paths: {name!r} has shape {p.shape}; allowed is T >= 2, N >= 1")
            if not np.isfinite(p).all():
                raise ValueError(f"paths: {name!r} has values that are not finite")
        return panels

    @staticmethod
    def _levels(sigmas: Any, key: tuple, panels: Mapping[str, np.ndarray]) -> list[str]:
        if sigmas is None:
            return []
        levels = _array(sigmas[key] if isinstance(sigmas, Mapping) else sigmas)
        steps = max(map(len, panels.values()))
        if levels.shape != (steps,):
            raise ValueError(f"sigmas: got shape {levels.shape}; allowed is ({steps},), as paths")
        return [f"{s:.3g}" for s in levels]

    @staticmethod
    def _view(panels: Mapping[str, np.ndarray], limit: float) -> list[float]:
        """Half-widths of the view, step by step: what shows nearly all points, ``limit`` at least.

        It depends on the widest panel, and never grows again once it has shrunk.
        """
        steps = max(map(len, panels.values()))
        halves = [limit]
        for share in np.linspace(1, 0, steps)[1:]:
            states = [p[round(share * (len(p) - 1))] for p in panels.values()]
            spread = max(float(np.quantile(np.abs(x), 0.95)) for x in states)
            halves.append(max(halves[-1], 1.15 * spread))
        return [float(f"{half:.4g}") for half in reversed(halves)]

    @staticmethod
    def _colors(groups: Any) -> list[str]:
        if groups is None:
            return ["#2A8FD0"]  # between the palette's two blues: reads on white and on black
        order = ("blue", "orange", "green", "vermillion", "purple", "sky", "grey", "yellow")
        return [PALETTE[name] for name in order[: max(groups) + 1]]

    def _encode(self, x: np.ndarray) -> str:
        return base64.b64encode(np.rint(x / self._unit).astype("<i2").tobytes()).decode()

    def __repr__(self) -> str:
        return f"TrajectoryPlayer: {self.title}. {self.alt}"

    def _repr_html_(self) -> str:
        config = json.dumps(self._config, separators=(",", ":")).replace("<", "\\u003c")
        digest = hashlib.sha256(f"{self.title}{config}".encode()).hexdigest()
        page = resources.files("companion").joinpath("_player.html").read_text(encoding="utf-8")
        return STYLE + Template(page).substitute(
            ID=f"player-{digest[:10]}",
            TITLE=html.escape(self.title),
            ALT=html.escape(self.alt),
            CONFIG=config,
        )
