"""The one kind of table on the pages: a pandas table, set for reading."""

from __future__ import annotations

import hashlib
import html
import math
import numbers
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from companion import checks

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

__all__ = ["table"]


EMPTY = re.compile(r'<th class="([^"]*)"([^>]*)>(?:&nbsp;)?</th>')


def table(
    frame: pd.DataFrame, caption: str | None = None, digits: int = 3, bold: Any = None
) -> Styler:
    """Set a pandas table for a page: few digits, text at the left, numbers at the right.

    A missing value is a dash. Everything is shown as it is, never read as HTML. The table has the
    classes ``nop nop-table`` and no colours of its own, so it reads in light and dark mode.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index is not shown if it is a plain range.
    caption : str, optional
        A line above the table.
    digits : int
        Significant digits of numbers that are not whole, at most (default 3).
    bold : array of bool, optional
        Cells to set in bold, of the frame's shape or broadcast to it.

    Returns
    -------
    pandas.io.formats.style.Styler
        The same HTML for the same table. More can be set on it.

    Raises
    ------
    TypeError, ValueError
        If ``frame`` is no table, ``digits`` is below 1, or ``bold`` does not fit the frame.
    """
    import pandas as pd
    from pandas.io.formats.style import Styler

    class Table(Styler):
        """Its empty corners are no headers, which readers of the screen would announce."""

        def to_html(self, *given: Any, **options: Any) -> Any:
            text = super().to_html(*given, **options)
            return EMPTY.sub(r'<td class="\1"\2></td>', text) if isinstance(text, str) else text

    checks.instance("frame", frame, pd.DataFrame, "a pandas.DataFrame")
    digits = checks.whole("digits", digits)
    heavy = np.asarray(False if bold is None else bold, dtype=bool)
    try:
        heavy = np.broadcast_to(heavy, frame.shape)
    except ValueError:
        raise ValueError(
            f"bold: got shape {heavy.shape}; allowed is {frame.shape}, that of frame"
        ) from None
    plain = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None

    def shown(value: Any) -> str:
        return "–" if _missing(value) else html.escape(_text(value, digits))

    def name(value: Any) -> Any:
        return None if value is None else html.escape(str(value))

    frame = frame.rename_axis(index=list(map(name, frame.index.names)))
    frame = frame.rename_axis(columns=list(map(name, frame.columns.names)))
    style = Table(frame, uuid="table", cell_ids=False).format(shown)
    style = style.format_index(shown, axis=0).format_index(shown, axis=1)
    style.set_table_attributes('class="nop nop-table"')
    if caption is not None:
        style.set_caption(html.escape(caption))
    if plain:
        style.hide(axis="index")
    left = [j for j, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    rules = [("td, th", "text-align:right"), ("caption, th.row_heading", "text-align:left")]
    if left:
        rules.append((", ".join(f".col{j}" for j in left), "text-align:left"))
    if heavy.any():
        cells = ", ".join(f"td.row{i}.col{j}" for i, j in zip(*heavy.nonzero()))
        rules.append((cells, "font-weight:bold"))
    style.set_table_styles([{"selector": s, "props": p} for s, p in rules])  # type: ignore[typeddict-item]
    return style.set_uuid(hashlib.sha256(style.to_html().encode()).hexdigest()[:10])


def _missing(value: Any) -> bool:
    import pandas as pd

    nan = isinstance(value, numbers.Real) and math.isnan(value)
    return nan or value is None or value is pd.NA or value is pd.NaT


def _text(value: Any, digits: int) -> str:
    """Show a cell: at most so many significant digits, an exponent only for extreme numbers."""
    fraction = isinstance(value, numbers.Real) and not isinstance(value, (numbers.Integral, bool))
    if not fraction or not math.isfinite(value):
        return str(value)
    rounded = float(f"{float(value):.{digits}g}")
    if rounded and not 1e-4 <= abs(rounded) < 1e6:
        return f"{rounded:.{digits}g}"
    return np.format_float_positional(rounded, trim="-")
