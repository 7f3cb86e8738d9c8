"""The playground's scripts, joined to the one file that its page loads.

They are classic scripts, not modules, so that the page also works when it is opened from a disk.
"""

from __future__ import annotations

import re
from pathlib import Path

from book.project import ROOT

SOURCE = ROOT / "book" / "_static" / "playground"

ORDER = (
    "mixture", "schedules", "learned", "samplers", "denoisers", "measures", "scenes", "state",
    "run", "view", "controls", "modes", "main",
)  # fmt: skip
"""Each uses only what stands before it."""


def scene(number: int) -> str | None:
    """Name of the first scene of a chapter, or None if it has none."""
    text = (SOURCE / "scenes.js").read_text(encoding="utf-8")
    found = re.search(rf"^    (\w+): \{{\n      chapter: {number},", text, re.M)
    return found[1] if found else None


def script() -> str:
    """All scripts in their order, without comments and indentation."""
    texts = [(SOURCE / f"{name}.js").read_text(encoding="utf-8") for name in ORDER]
    lines = [re.sub(r"(^|\s)//\s.*", "", line).strip() for line in "\n".join(texts).splitlines()]
    return "\n".join(['"use strict";', *filter(None, lines), ""])


def bundle(static: Path) -> None:
    """In a copy of ``book/_static``, put the joined script in the place of its parts."""
    folder = static / SOURCE.name
    for name in ORDER:
        (folder / f"{name}.js").unlink()
    (folder / f"{SOURCE.name}.js").write_text(script(), encoding="utf-8")
