"""What all jobs know of the project: its folders, its address, its chapters."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from companion.experiments import records

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
PROFILES = ("smoke", "cpu", "long", "gpu")


DETAILS = "-details"
"""Ending of a chapter's second page, which has what only a specialist asks."""


def sources() -> list[Path]:
    """The chapters' sources, in the order of the book; a second page follows its first."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.md"), key=lambda path: path.stem)


def chapter_of(page: str) -> str:
    """The chapter that a page belongs to: its own name, or that of which it has the details."""
    return page.removesuffix(DETAILS)


def chapters() -> list[dict[str, Any]]:
    """The chapters in book/chapters.yml, each with its number.

    `written` tells those that exist from those planned.
    """
    listed = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    written = {source.stem for source in sources()}
    return [
        {**chapter, "number": int(chapter["file"][:2]), "written": chapter["file"] in written}
        for chapter in listed
    ]


def executed(profile: str, chapter: str) -> Path:
    """The executed notebook of a chapter."""
    return BUILD / "executed" / profile / f"{chapter}.ipynb"


def read_notebook(path: Path) -> Any:
    """Read an executed notebook.

    Raises
    ------
    ValueError
        If it is damaged; the message names it.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["build"]
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and build again") from error
    return notebook


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that nobody sees half of it; leave it alone if it holds the text already.

    Raises
    ------
    OSError
        If it cannot be written; the message names it, with its size and what is free.
    """
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write(path, content)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process makes a file or a folder at a time; others say that they wait for it."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another build makes {path}; waiting for it.", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def swap(new: Path, folder: Path) -> None:
    """Put a new folder in the place of another, whole: there is the old one, the new one, or none.

    What a kill leaves in between is mended by ``mend``.
    """
    old = _old(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def mend(folder: Path) -> None:
    """Put back the folder that a killed ``swap`` had moved away, or sweep what it left."""
    old = _old(folder)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def plain(text: object) -> str:
    """A text from outside as it is, in a page's Markdown: nothing in it is markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def digest(paths: Iterable[Path], *more: object) -> str:
    """One hash of files, by name and content, and of whatever else counts."""
    hashed = hashlib.sha256(repr(more).encode())
    for path in sorted(paths):
        hashed.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()
