"""Names, colours and markers of chapter 2's methods in figures and tables."""

from __future__ import annotations

import math
from typing import Any

from companion import plotting
from companion.experiments.tweedie.image_network import EM, STOPPED
from companion.experiments.tweedie.methods import AMBIENT, DIRECT, METHODS
from companion.statistics import Interval

__all__ = ["LOOKS", "label", "three"]

LOOKS: dict[str, dict[str, Any]] = {name: plotting.method(name) for name in METHODS}
"""Arguments of ``ax.plot`` for each method."""
LOOKS[AMBIENT]["label"] = "ambient only"
LOOKS[DIRECT] = {
    **LOOKS[AMBIENT], "label": "ambient only, plain output", "linestyle": "--", "marker": "v",
}  # fmt: skip
LOOKS[STOPPED] = {
    **plotting.method("exact"), "color": plotting.PALETTE["orange"],
    "label": "ambient only, D at σₙ",
}  # fmt: skip
LOOKS[EM] = {"color": plotting.PALETTE["purple"], "marker": "P", "label": "EM"}


def label(name: Any) -> str:
    """Name of a method as it stands on the page."""
    return LOOKS[name]["label"] if name in LOOKS else str(name).replace("s_n", "σₙ")


def three(interval: Interval) -> str:
    """Mean with its interval, rounded to three significant digits of the mean."""
    size = abs(interval.mean)
    places = 2 - math.floor(math.log10(size)) if 0 < size < math.inf else 2
    return format(interval, f".{max(0, places)}f")
