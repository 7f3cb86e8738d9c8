"""How long a chapter is for its reader: what stands on its page and is not folded.

Counted is the source, so nothing has to be run: ``python -m book reading`` lists all chapters.
"""

from __future__ import annotations

import ast
import re
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import jupytext
import pandas as pd

from book.project import sources

FOLDED = {"hide-output", "hide-cell", "remove-output", "remove-cell"}
"""Tags of cells whose output a page folds or leaves out."""

FENCE = re.compile(r"^\s*(:{3,}|`{3,}|~{3,})\s*(\{[^}]*\})?")


@dataclass(frozen=True)
class Reading:
    """Counts for one page: ``words`` of prose, ``figures``, ``tables``, ``lines`` of code."""

    words: int
    figures: int
    tables: int
    lines: int


def measure(source: Path) -> Reading:
    """Count what a reader of a page meets who unfolds nothing.

    Words are those of prose: no code, no captions, no displayed equations, no tables; a formula or
    a reference in a sentence counts as one. Moving figures count as figures, and Markdown tables as
    tables. Lines are those of all code cells, folded or not.
    """
    words = figures = tables = lines = 0
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "markdown":
            shown, found = prose(cell.source)
            words += len(shown.split())
            tables += found
        elif cell.cell_type == "code":
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            if not FOLDED & set(cell.metadata.get("tags", [])):
                figures += is_figure(cell)
                tables += is_table(cell)
    return Reading(words, figures, tables, lines)


def prose(text: str) -> tuple[str, int]:
    """Text of Markdown without marks and what is folded, and how many tables it has."""
    text = re.sub(r"^\$\$.*?^\$\$[^\n]*$", "", unfolded(text), flags=re.S | re.M)
    kept, tables = [], 0
    for line in text.splitlines():
        if line.lstrip().startswith("|"):
            tables += bool(re.match(r"\s*\|[\s:|-]+\|\s*$", line))
        elif not re.match(r"\s*:[a-z-]+:", line):
            kept.append(line)
    shown = "\n".join(kept)
    shown = re.sub(r"\{[\w:-]+\}`[^`]*`|\$[^$]+\$|`[^`]*`", " x ", shown)
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", shown)
    return " ".join(word for word in shown.split() if re.search(r"\w", word)), tables


def unfolded(text: str) -> str:
    """Markdown without fences, code blocks, comments and blocks that a page folds."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    lines, kept, at = text.splitlines(), [], 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if not opened:
            kept.append(lines[at])
            at += 1
            continue
        fence, kind = opened[1], opened[2] or ""
        ends = [i for i in range(at + 1, len(lines)) if lines[i].strip() == fence]
        end = ends[0] if ends else len(lines)
        inside = "\n".join(lines[at + 1 : end])
        head = re.search(r"^\s*:class:.*\b(dropdown|toggle)\b", inside, re.M)
        code = fence[0] in "`~" and kind in ("", "{code-block}", "{math}", "{bibliography}")
        if not (head or code or kind in ("{dropdown}", "{toggle}")):
            kept.append(lines[at][opened.end() :])  # the title of an admonition
            kept.append(unfolded(inside))
        at = end + 1
    return "\n".join(kept)


def is_figure(cell: Any) -> bool:
    """Whether a cell shows a figure or a player."""
    return "figure" in cell.metadata.get("mystnb", {}) or bool(
        re.search(r"TrajectoryPlayer\(|figures\.player\(", cell.source)
    )


def is_table(cell: Any) -> bool:
    """Whether a cell ends in a table."""
    body = ast.parse(cell.source).body
    last = body[-1] if body else None
    return isinstance(last, ast.Expr) and bool(
        re.search(r"\btable\(|\btables\.\w+\(", ast.unparse(last))
    )


def listed() -> str:
    """All chapters with their counts, as text."""
    names = [field.name for field in fields(Reading)]
    counts = {source.stem: astuple(measure(source)) for source in sources()}
    return pd.DataFrame.from_dict(counts, orient="index", columns=names).to_string()
