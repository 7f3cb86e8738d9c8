"""Ruff and a type checker pass on the module and the chapters; both stay within their limits."""

from __future__ import annotations

import re
import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import jupytext
import pytest
from conftest import CHAPTERS, ROOT, SOURCES, code_cells, tags

from book import notebooks
from book.project import DETAILS, chapter_of
from book.run import inputs
from companion import experiments


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


# ---------------------------------------------------------------- limits
def nonblank(cell) -> int:
    """Lines of a cell that are not blank."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
class TestChapter:
    def test_can_be_read_in_one_sitting(self, source):
        cells = code_cells(source)
        assert sum(map(nonblank, cells)) <= 400
        longest = max(cells, key=nonblank)
        assert nonblank(longest) <= 40, f"{nonblank(longest)} lines:\n{longest.source}"

    def test_derives_before_it_computes(self, source):
        if source.stem.endswith(DETAILS):
            return
        before = 0
        for cell in jupytext.read(source).cells[1:]:
            if cell.cell_type == "markdown" and "$$" in cell.source:
                break
            # The cells that install the module and set the parameters are the same everywhere.
            standard = "find_spec(" in cell.source or "parameters" in tags(cell)
            before += nonblank(cell) if cell.cell_type == "code" and not standard else 0
        assert before <= 10, f"{before} lines of code before the first equation"


@pytest.mark.parametrize("folder", ["companion", "book"])
def test_no_file_is_long(folder):
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths and not {name: n for name, n in lengths.items() if n > 400}


# ---------------------------------------------------------------- what rests on what
def _named_in(chapters: list[str]) -> set[str]:
    """Other chapters that the experiments of these import from."""
    folder = ROOT / "companion" / "experiments"
    files = [path for name in chapters for path in (folder / name).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return set(re.findall(r"^from companion\.experiments\.(\w+)", text, re.MULTILINE))


def test_a_chapter_rests_on_what_it_imports(tmp_path):
    """`book/run.py` executes a chapter again only when one of its inputs changed."""
    folder = "companion/experiments"
    for chapter, source in zip(CHAPTERS, SOURCES, strict=True):
        script = tmp_path / "script.py"
        script.write_text(notebooks.script(source, "smoke", 0), encoding="utf-8")
        finder = ModuleFinder(path=[str(ROOT)])
        finder.run_script(str(script))
        files = {Path(module.__file__) for module in finder.modules.values() if module.__file__}
        known = set(inputs(chapter))
        assert files - {script} <= known, f"{chapter} imports what does not count as its input"
        file = chapter_of(chapter)
        own = [name for name, known_as in experiments.CHAPTERS.items() if known_as == file]
        used = {path.parent.name for path in known if f"{folder}/" in path.as_posix()}
        assert used & set(experiments.CHAPTERS) <= {*own, *_named_in(own)}
        for name in set(experiments.CHAPTERS) - used:
            assert not [path for path in known if f"{folder}/{name}/" in path.as_posix()]
            assert not [path for path in known if path.match(f"results/{name}.*")]
