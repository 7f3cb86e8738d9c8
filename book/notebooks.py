"""A chapter in other forms: the .ipynb that Colab opens, and a plain script."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext
import nbformat

from book.project import BUILD, ROOT, sources, write_atomically

EMPTY = 'repository = ""'
"""The line of the first cell that an address is filled into."""
BRANCH = "colab"
"""The branch of the notebooks that Colab opens, each with the address and the commit filled in."""
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
"""Tags of cells whose code the page folds or leaves out."""


def fill_in_repository(notebook: nbformat.NotebookNode, source: str) -> None:
    """Put the address that pip installs the module from where the first cell asks for it."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and EMPTY in cell.source:
            cell.source = cell.source.replace(EMPTY, f'repository = "{source}"')


# --- for Colab


def paired(source: Path, address: str = "") -> str:
    """The text of the .ipynb of a chapter: its cells, no outputs, the address filled in.

    The one that is committed beside the chapter has none: whoever forks the project has another.
    """
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.NotebookNode(kernelspec=notebook.metadata["kernelspec"])
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"  # jupytext draws these at random
        if cell.cell_type == "code" and HIDDEN & set(cell.metadata.get("tags", [])):
            fold(cell)
    fill_in_repository(notebook, address)
    return nbformat.writes(notebook, version=4) + "\n"


def fold(cell: nbformat.NotebookNode) -> None:
    """Fold the code of a cell, in Colab under a title, and in Jupyter."""
    cell.source = f"#@title {title(cell)}\n{cell.source}"
    cell.metadata["cellView"] = "form"
    cell.metadata["jupyter"] = {"source_hidden": True}


def title(cell: nbformat.NotebookNode) -> str:
    """What a folded cell is for, in a few words: its figure, its first comment, or its imports."""
    caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
    first = cell.source.strip().partition("\n")[0]
    if caption:
        plain = re.sub(r"\{\w+\}`([^`]*)`", r"\1", " ".join(caption.split()))
        sentence = re.split(r"(?<=\.)\s", plain)[0]
        return f"Figure: {sentence}"
    if first.startswith("#"):
        return first.lstrip("# ")
    return "Imports" if first.startswith(("import ", "from ")) else "Code"


def publish(folder: Path, address: str) -> None:
    """Write what the branch ``BRANCH`` holds: the notebooks, with the address filled in."""
    for source in sources():
        text = paired(source, address)
        write_atomically(folder / "notebooks" / f"{source.stem}.ipynb", text)
    note = (
        f"The notebooks that the book's Colab buttons open, made from {address}.\n\n"
        "Each push to the main branch writes them anew: change the chapters there.\n"
    )
    write_atomically(folder / "README.md", note)


def write(check: bool = False) -> int:
    """Write, or with `check` compare, the .ipynb paired with each chapter."""
    stale = []
    for source in sources():
        target, text = source.with_suffix(".ipynb"), paired(source)
        if not check:
            write_atomically(target, text)
        elif not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.name)
    if stale:
        print(f"run 'make notebooks': {', '.join(stale)} differ from their .md", file=sys.stderr)
    return bool(stale)


# --- as a script


def script(source: Path, profile: str, seed: int) -> str:
    """A chapter as a plain Python script with its parameters set."""
    notebook = jupytext.read(source)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f'profile = "{profile}"\nseed = {seed}'
    return jupytext.writes(notebook, fmt="py:percent")


def scripts(profile: str, seed: int) -> int:
    """Write every chapter as a script to _build/scripts/PROFILE."""
    for source in sources():
        target = BUILD / "scripts" / profile / f"{source.stem}.py"
        write_atomically(target, script(source, profile, seed))
        print(target.relative_to(ROOT))
    return 0
