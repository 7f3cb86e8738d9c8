"""Ruff and a type checker pass on the module and on the chapters, taken as plain scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SOURCES

from book import notebooks


def check(*command: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def scripts(tmp_path_factory) -> list[Path]:
    """Each chapter as a script with a name that a module can have."""
    folder = tmp_path_factory.mktemp("scripts")
    paths = []
    for source in SOURCES:
        path = folder / f"chapter_{source.stem.replace('-', '_')}.py"
        path.write_text(notebooks.script(source, "smoke", 0), encoding="utf-8")
        paths.append(path)
    return paths


def test_ruff_passes_on_the_code():
    folders = ("companion", "tests", "benchmarks", "book")
    check("ruff", "check", *filter(lambda name: (ROOT / name).exists(), folders))


def test_ruff_passes_on_the_chapters(scripts):
    # In a chapter, prose stands in comments, imports stand where they are needed, and a cell
    # may end in a value to show.
    check("ruff", "check", "--config", "pyproject.toml", "--ignore", "D,E402,E501,B018", *scripts)


def test_types_hold(scripts):
    check("mypy", "--cache-dir", "_build/mypy_cache", "companion", "book", *scripts)
