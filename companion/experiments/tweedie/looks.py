"""Names, colours and markers of chapter 2's methods in figures and tables."""

from __future__ import annotations

from typing import Any

from companion import plotting
from companion.experiments.tweedie.images import STOPPED
from companion.experiments.tweedie.methods import AMBIENT, DIRECT, METHODS

__all__ = ["LOOKS", "label"]

LOOKS: dict[str, dict[str, Any]] = {name: plotting.method(name) for name in METHODS}
"""Arguments of ``ax.plot`` for each method."""
LOOKS[AMBIENT]["label"] = "ambient only"
LOOKS[DIRECT] = {
    **LOOKS[AMBIENT], "label": "ambient only, plain output", "linestyle": "--", "marker": "v",
}  # fmt: skip
LOOKS[STOPPED] = {
    **plotting.method("exact"), "color": plotting.PALETTE["orange"],
    "label": "ambient only, D at s_n",
}  # fmt: skip


def label(name: Any) -> str:
    """Name of a method as it stands on the page."""
    return LOOKS[name]["label"] if name in LOOKS else str(name)
