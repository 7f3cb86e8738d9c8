"""The house style: colours with a meaning, how figures look and are saved."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from companion import checks

__all__ = ["METHODS", "PALETTE", "method", "save", "style", "use_style"]

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
    color, marker, label = METHODS[checks.choice("name", name, METHODS)]
    return {"color": PALETTE[color], "marker": marker, "label": label}


def save(figure: Figure, path: str | Path, *, limit: int = 400_000) -> None:
    """Write a figure to a file, which must not be larger than ``limit`` bytes (default 400 KB).

    Raises
    ------
    TypeError
        If ``figure`` or ``path`` is of another type.
    ValueError
        If it would be larger; nothing is written.
    """
    checks.instance("figure", figure, Figure, "a matplotlib figure")
    checks.instance("path", path, (str, os.PathLike), "a path")
    limit = checks.whole("limit", limit)
    path = Path(path).expanduser()
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
