"""What several tables of chapter 3 are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from companion import plotting
from companion.experiments.noise_classifier.comparisons import (
    Case,
    is_finite,
    kind_name,
    ratio_text,
    tally,
)
from companion.experiments.noise_classifier.continuations import (
    CONTROLS,
    SAME_COST,
    SAME_STEPS,
    SHORT,
)
from companion.experiments.noise_classifier.images import SEQUENTIAL
from companion.experiments.results import Results
from companion.statistics import Interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["RATIOS", "losses", "means", "ratios", "setting", "shown"]

RATIOS = {SAME_STEPS: "over same steps", SAME_COST: "over same evaluations"}
"""Controls, and the head of the column that compares with them."""


def means(
    listed: Sequence[Case],
    methods: Sequence[Any],
    names: Mapping[str, Callable[[Mapping[str, Any]], str]],
) -> pd.DataFrame:
    """A row for each case: its names, and the mean of each method over seeds."""
    return pd.DataFrame(
        [
            {head: name(where) for head, name in names.items()}
            | {SHORT[str(m)]: results.values(method=m, **where).mean() for m in methods}
            for results, where in listed
        ]
    )


def ratios(
    listed: Sequence[Case],
    names: Mapping[str, Callable[[Mapping[str, Any]], str]],
    comparisons: int | None = None,
) -> pd.DataFrame:
    """A row for each case: its names, and the ratios of the contrastive loss to both controls."""
    number = len(CONTROLS) * len(listed) if comparisons is None else comparisons
    return pd.DataFrame(
        [
            {head: name(where) for head, name in names.items()}
            | {
                head: tally([(results, where)], control, number).ratios[0]
                for control, head in RATIOS.items()
            }
            for results, where in listed
        ]
    )


def shown(frame: pd.DataFrame, caption: str, nothing: float = 1.0) -> Styler:
    """Show intervals to three digits, bold where they exclude ``nothing``, which is no effect."""
    bold = frame.map(
        lambda cell: isinstance(cell, Interval) and is_finite(cell) and cell.excludes(nothing)
    )
    text = frame.map(lambda cell: ratio_text(cell) if isinstance(cell, Interval) else cell)
    return plotting.table(text, caption=caption, bold=bold.to_numpy())


def setting(where: Mapping[str, Any]) -> str:
    """Return a setting in which samples are compared as it is called in a row."""
    if where["kind"] == SEQUENTIAL:
        return f"{where['sampler']}, {int(where['budget'])} evaluations"
    return f"{kind_name(where['kind'])}, {int(where['budget'])} iterations"


def losses(results: Results, t: Any, methods: Sequence[Any]) -> list[str]:
    """Return cross entropies in nats of telling clean from noised, with the area in brackets."""
    cells = []
    for method in methods:
        loss, area = (
            results.values(measure=measure, t=t, method=method).mean()
            for measure in ("cross entropy", "area")
        )
        cells.append(f"{loss:.3g} ({area:.3f})")
    return cells
