"""One house style for every figure: colours with a meaning, and the few drawings the book needs.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers; a method has the same
colour and marker everywhere. Figures have an opaque white ground, which reads in light and dark
mode. Nothing changes on import: call ``use_style()``, or draw inside ``with style():``.
"""

from companion.plotting import style as _style
from companion.plotting.curves import lines, log_ticks, percentile_bands, with_band
from companion.plotting.figures import (
    denoising_strip,
    density,
    image_grid,
    scatter,
    trajectories,
)
from companion.plotting.player import TrajectoryPlayer
from companion.plotting.style import method, save, style, use_style
from companion.plotting.tables import table

__all__ = [
    "METHODS",
    "PALETTE",
    "TrajectoryPlayer",
    "denoising_strip",
    "density",
    "image_grid",
    "lines",
    "log_ticks",
    "method",
    "percentile_bands",
    "save",
    "scatter",
    "style",
    "table",
    "trajectories",
    "use_style",
    "with_band",
]

PALETTE = _style.PALETTE
"""The colours of Okabe & Ito (2008), and a grey."""

METHODS = _style.METHODS
"""For each method its colour (a key of ``PALETTE``), its marker and its label."""
