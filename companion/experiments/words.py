"""Words and code that a chapter's cells show: Markdown made from results, and code to be lifted."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

__all__ = ["Text", "listing"]


class Text(str):
    """Markdown that a notebook shows as such."""

    def _repr_markdown_(self) -> str:
        return str(self)


def listing(*parts: tuple[Callable[..., Any], str]) -> Text:
    """Return code to be lifted, dedented and highlighted.

    Parameters
    ----------
    *parts : pairs of a function and how a line of it begins; it is shown from there to its end

    Raises
    ------
    ValueError
        If no line begins so.
    """
    listed = []
    for function, begin in parts:
        lines = inspect.getsource(function).splitlines()
        places = [i for i, line in enumerate(lines) if line.strip().startswith(begin)]
        if not places:
            raise ValueError(f"begin: got {begin!r}; allowed is how a line of the function begins")
        code = textwrap.dedent("\n".join(lines[places[0] :]))
        listed.append(f"# {function.__qualname__}\n{code}")
    return Text("\n".join(["```python", "\n\n".join(listed), "```"]))
