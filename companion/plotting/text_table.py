"""Rows of text as a table: what chapters show whose experiments are still in their notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

from companion._html import STYLE

__all__ = ["Table"]


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
