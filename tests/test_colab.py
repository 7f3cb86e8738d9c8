"""A rehearsal of Colab: its packages and no others, a folder elsewhere, the first cell installs.

The notebooks are those that a fork publishes. Chapter 0 runs from beginning to end, and the imports
of the others do; with COLAB_CHAPTERS=all they all run.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from book import colab as book_colab
from book import rehearsal as book_rehearsal

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
REHEARSED = CHAPTERS if os.environ.get("COLAB_CHAPTERS") == "all" else CHAPTERS[:1]
ABSENT = ["companion", "jupytext", "jupyter_book", "myst_nb", "diffusers", "ot", "torchmetrics"]


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    return book_colab.make(tmp_path_factory.mktemp("colab"))


VERSIONS = """
from importlib import metadata
print(json.dumps({d.name: [d.version, str(d._path)] for d in metadata.distributions()}))
"""


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """A fork of what is committed, which has published its notebooks."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("the rehearsal installs from a clone: it needs git and a git checkout")
    copy = book_rehearsal.fork(tmp_path_factory.mktemp("content"))
    book_rehearsal.publish_notebooks(copy)
    return copy


@pytest.fixture(scope="module")
def rehearsal(colab, fork):
    """The notebooks that the fork published, run in that environment somewhere else.

    Gives the packages that were there, and for each chapter how it ended and what it left.
    """
    folder = fork.bare.parent
    (folder / "elsewhere").mkdir()
    before = json.loads(colab.ask(f"import json{VERSIONS}"))
    runs = {}
    settings = fork.variables["GIT_CONFIG_GLOBAL"]
    for chapter in REHEARSED:
        notebook, output = folder / f"{chapter}.ipynb", folder / f"{chapter}-executed.ipynb"
        notebook.write_text(fork.published(chapter), encoding="utf-8")
        done = colab.run(notebook, output, folder / "elsewhere", GIT_CONFIG_GLOBAL=settings)
        runs[chapter] = done, output
    return before, runs


def code_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_environment_lacks_the_module_and_the_books_tools(colab):
    code = "from importlib.util import find_spec as f\n"
    assert colab.ask(f"{code}print([n for n in {ABSENT} if f(n)])") == "[]"


def test_without_an_address_the_first_cell_says_what_to_write_where(colab, tmp_path):
    first = (ROOT / "book" / "first_cell.py").read_text(encoding="utf-8")
    done = subprocess.run(
        [colab.python, "-c", first],
        env=colab.variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Write the address of the book's repository" in last and "'repository'" in last


def test_what_the_fork_published_names_its_address_and_its_commit(fork):
    line = f'repository = \\"{book_rehearsal.ADDRESS}@{fork.commit}\\"  # @param'
    assert all(line in fork.published(chapter) for chapter in CHAPTERS)


@pytest.mark.parametrize("chapter", REHEARSED)
def test_the_notebook_runs_to_its_end(rehearsal, chapter):
    done, output = rehearsal[1][chapter]
    assert done.returncode == 0, done.stderr[-4000:]
    code = code_cells(output)
    assert all(cell["execution_count"] for cell in code)
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]


def test_it_installed_the_module_and_moved_nothing(rehearsal, colab):
    before, runs = rehearsal
    assert runs[REHEARSED[0]][0].returncode == 0
    site = colab.ask("import sysconfig; print(sysconfig.get_path('purelib'))")
    assert colab.ask("import companion; print(companion.__file__)").startswith(site)
    after = json.loads(colab.ask(f"import json{VERSIONS}"))
    moved = [name for name, where in before.items() if after.get(name) != where]
    assert not moved, f"the first cell changed what was there: {moved}"
    for tool in ("jupytext", "jupyter-book", "myst-nb", "papermill"):
        assert tool in before or tool not in after, f"{tool} is not needed in Colab"


def test_the_module_is_of_the_same_commit_as_the_notebook(rehearsal, colab, fork):
    origin = {"url": book_rehearsal.ADDRESS, "commit": fork.commit}
    assert book_rehearsal.installed(colab) == origin


def test_a_long_cell_shows_how_long_it_will_take(rehearsal):
    done, output = rehearsal[1][REHEARSED[0]]
    assert done.returncode == 0
    outputs = [o for cell in code_cells(output) for o in cell["outputs"]]
    said = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stderr")
    assert "step/s" in said and "<" in said, "no time estimate where networks are trained"


def test_in_colab_the_profile_is_chosen_by_the_machine(rehearsal, colab):
    """On this machine without a GPU, and on a T4, as far as `choose` looks at it."""
    code = """
import types, torch
from companion.experiments import starting

print(starting.choose("cpu"), torch.cuda.is_available())
torch.cuda.is_available = lambda: True
torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(
    name="Tesla T4", total_memory=15 * 2**30)
print(starting.choose("cpu"))
"""
    here, chosen, there, t4 = colab.ask(code).splitlines()
    assert chosen in ("cpu False", "gpu True") and chosen[:3] in here
    assert "Tesla T4, 15 GiB: profile 'gpu'" in there and t4 == "gpu"


def test_everything_that_a_chapter_imports_is_there(rehearsal, colab, fork):
    """Run the imports of all chapters, and no other of their lines."""
    lines = ["import warnings"]
    for path in sorted((fork.checkout / "notebooks").glob("[0-9]*.ipynb")):
        source = "\n".join("".join(cell["source"]) for cell in code_cells(path)[1:])
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines.append(f"{ast.unparse(node)}  # {path.stem}")
    colab.ask("\n".join(lines))
