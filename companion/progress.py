"""Progress bars with a time estimate, where somebody is watching."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["bar", "track", "watched"]

T = TypeVar("T")


def watched() -> bool:
    """Whether to show progress: on a terminal or in a live notebook.

    Never with the environment variable ``COMPANION_PROGRESS=0``.
    """
    ipython = sys.modules.get("IPython")
    live = sys.stderr.isatty() or (ipython is not None and ipython.get_ipython() is not None)
    return live and os.environ.get("COMPANION_PROGRESS", "1") != "0"


def bar(total: int, *, done: int = 0, label: str = "", unit: str = "step") -> Any:
    """A tqdm bar with the time spent and left, cleared when it is closed.

    Parameters
    ----------
    total : int
        How many there are.
    done : int
        How many are done already.
    label : str
        What stands before the bar.
    unit : str
        What is counted.
    """
    from tqdm import tqdm

    return tqdm(
        total=total, initial=done, desc=label or None, unit=unit, leave=False, mininterval=0.5
    )


def track(items: Iterable[T], label: str = "", *, total: int | None = None) -> Iterator[T]:
    """Go through some items under a progress bar, if somebody is watching.

    Parameters
    ----------
    items : iterable
    label : str
        What stands before the bar.
    total : int, optional
        How many there are (default: ``len(items)``).

    Examples
    --------
    >>> from companion import progress
    >>> [n * n for n in progress.track([1, 2, 3], "squares")]
    [1, 4, 9]
    """
    if not watched():
        yield from items
        return
    display = bar(len(items) if total is None else total, label=label, unit="it")  # type: ignore[arg-type]
    try:
        for item in items:
            yield item
            display.update()
    finally:
        display.close()
