"""What a chapter may ask of its reader: words, figures, tables, and text large enough to read."""

from __future__ import annotations

import ast
from dataclasses import asdict

import jupytext
import pytest
from conftest import ROOT, SOURCES

from book import reading

LIMITS = {"words": 2500, "figures": 8, "tables": 5}
"""Of a chapter's main path: what is not folded, and not on its page of details."""

UNFINISHED: dict[str, dict[str, int]] = {}
"""Chapters above a limit, with what they have: they may not grow. Cut, then take it out."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_chapter_stays_within_its_limits(source):
    if source.stem.endswith("-details"):
        return
    limits = {**LIMITS, **UNFINISHED.get(source.stem, {})}
    counted = asdict(reading.measure(source))
    assert {name: n for name, n in counted.items() if n > limits.get(name, n)} == {}


def test_no_limit_is_lifted_without_need():
    for chapter, lifted in UNFINISHED.items():
        counted = asdict(reading.measure(ROOT / "notebooks" / f"{chapter}.md"))
        within = [name for name in lifted if counted[name] <= LIMITS[name]]
        assert not within, f"{chapter}: take {within} out of UNFINISHED"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_in_short_stands_first(source):
    if source.stem.endswith("-details") or source.stem in UNFINISHED:
        return
    head, *cells = jupytext.read(source).cells
    assert len(head.source.splitlines()) == 1, "prose above the box"
    before = []
    for cell in cells:
        if cell.cell_type == "markdown" or ".in_short(session)" in cell.source:
            break
        before.append(cell)
    assert ".in_short(session)" in cell.source, "prose above the box"
    assert len(before) <= 3, "more than the cells of the module, the parameters and the imports"


PAGE = """
# 7. Title

One two `three` $a + b$ [four](https://example.org) {eq}`eq-x`.

$$
not counted
$$ (eq-x)

| a | b |
|---|---|
| 1 | 2 |

:::{admonition} Five
:class: tip
Six seven.
:::

:::{dropdown} Folded
Not this.
:::

::::{admonition} Solution
:class: dropdown
Nor this.
```python
nor = this
```
::::

```{code-cell} ipython3
:tags: [hide-input]

plotting.table(frame)
```

```{code-cell} ipython3
:tags: [hide-output]

plotting.table(frame)
```

```{code-cell} ipython3
frame = tables.race(results)
frame.player()
```
"""


def test_what_is_folded_does_not_count(tmp_path):
    head = jupytext.writes(jupytext.reads("", fmt="md:myst"), fmt="md:myst")
    (path := tmp_path / "page.md").write_text(head + PAGE, encoding="utf-8")
    # '7. Title', 'One two', four marks that count as a word each, 'Five', 'Six seven.'
    expected = reading.Reading(words=2 + 2 + 4 + 1 + 2, figures=0, tables=2, lines=4)
    assert reading.measure(path) == expected


# ---------------------------------------------------------------- text in figures
COLUMN, DPI, FONT = 358, 110, 10.5
"""Width of the text in pixels on a phone of 390, dots an inch of a figure, points of its text."""
SMALLER = {"xx-small": 0.579, "x-small": 0.694, "small": 0.833}
SMALLEST = 9
"""Pixels of text as it is shown."""


def text_size(function: ast.FunctionDef, constants: dict[str, float]) -> float | None:
    """Pixels of the smallest text of a figure on a phone, if its width is written down."""
    widths, sizes = [], [FONT]
    for node in ast.walk(function):
        if isinstance(node, ast.keyword) and node.arg == "figsize":
            first = node.value.elts[0] if isinstance(node.value, ast.Tuple) else None
            width = getattr(first, "value", constants.get(getattr(first, "id", "")))
            widths += [width] if isinstance(width, (int, float)) else []
        elif isinstance(node, ast.keyword) and node.arg in ("fontsize", "labelsize"):
            value = getattr(node.value, "value", FONT)
            sizes.append(FONT * SMALLER.get(value, 1) if isinstance(value, str) else value)
    if not widths:
        return None
    pixels = min(sizes) * DPI / 72
    return pixels * min(1, COLUMN / (DPI * max(widths)))


def text_sizes() -> dict[str, float]:
    """Pixels of the smallest text of every figure whose width is written down."""
    sizes = {}
    for path in (ROOT / "companion" / "experiments").glob("*/*figures*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and (size := text_size(node, constants)):
                sizes[f"{path.parent.name}.{node.name}"] = size
    return sizes


def test_text_in_figures_can_be_read_on_a_phone():
    sizes = text_sizes()
    assert len(sizes) > 20
    assert not {name: size for name, size in sizes.items() if size < SMALLEST}


def test_small_text_on_a_wide_figure_is_seen():
    (function,) = ast.parse("def f():\n    plot(figsize=(11, 3), fontsize='small')").body
    assert isinstance(function, ast.FunctionDef)
    assert text_size(function, {}) == pytest.approx(10.5 * 0.833 * 110 / 72 * 358 / 1210)
