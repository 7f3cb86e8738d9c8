"""A rehearsal of Colab: its packages and no others, a folder elsewhere, the first cell installs.

It runs chapter 0 from beginning to end and the imports of the others; with COLAB_CHAPTERS=all
it runs them all.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
REHEARSED = CHAPTERS if os.environ.get("COLAB_CHAPTERS") == "all" else CHAPTERS[:1]

# What Colab has, as far as the book is concerned; papermill drives the notebook here.
COLAB = ["torch", "torchvision", "numpy", "matplotlib", "scikit-learn", "ipykernel", "pip"]
ABSENT = ["companion", "jupytext", "jupyter_book", "myst_nb", "diffusers", "ot", "torchmetrics"]


def closure(names: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions named and all that they need, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
                waiting += [f for e in requirement.extras for f in extra(requirement.name, e)]
    return found


def extra(name: str, wanted: str) -> list[str]:
    """What an extra of a distribution adds."""
    requirements = map(Requirement, metadata.distribution(name).requires or [])
    return [r.name for r in requirements if r.marker and r.marker.evaluate({"extra": wanted})]


def show(distribution: metadata.Distribution, folder: Path) -> None:
    """Link a distribution into a folder, so that Python and pip there see it as installed."""
    for top in {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        link = folder / top
        if not link.exists():
            link.symlink_to(Path(str(distribution.locate_file(top))).resolve())


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A virtual environment that sees what Colab has. Gives its Python and its environment."""
    folder = tmp_path_factory.mktemp("colab")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    view = folder / "view"
    view.mkdir()
    for distribution in closure([*COLAB, "papermill"]).values():
        show(distribution, view)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # In Colab `google.colab` is loaded before the first cell; here it is only present.
    fake = folder / "fake" / "google" / "colab"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (site / "colab.pth").write_text(f"{view}\n{folder / 'fake'}\nimport google.colab\n")

    keep = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in keep or name.startswith(("PIP_", "SSL_", "REQUESTS_", "GIT_SSL"))
    }
    environment.update(
        HOME=str(folder / "home"),
        PYTHONNOUSERSITE="1",
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_COMPILE="1",  # as the book's own environment; what is imported is compiled then
    )
    (folder / "home").mkdir()
    return python, environment


def ask(colab, code: str) -> str:
    python, environment = colab
    command = [python, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


VERSIONS = """
from importlib import metadata
print(json.dumps({d.name: [d.version, str(d._path)] for d in metadata.distributions()}))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The repository as it is committed."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("the rehearsal installs from a clone: it needs git and a git checkout")
    clone = tmp_path_factory.mktemp("content") / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    return clone


@pytest.fixture(scope="module")
def rehearsal(colab, clone):
    """The notebooks, taken from a clone and run in that environment somewhere else.

    Gives the packages that were there, and for each chapter how it ended and what it left.
    """
    elsewhere = clone.parent / "elsewhere"
    elsewhere.mkdir()
    before = json.loads(ask(colab, f"import json{VERSIONS}"))
    python, environment = colab
    runs = {}
    for chapter in REHEARSED:
        output = clone.parent / f"{chapter}.ipynb"
        command = [python, "-m", "papermill", "--no-progress-bar", "--cwd", elsewhere]
        command += ["-p", "profile", "smoke", "-p", "seed", "0"]
        runs[chapter] = (
            subprocess.run(
                [*command, clone / "notebooks" / f"{chapter}.ipynb", output],
                env={**environment, "COMPANION_SOURCE": f"git+file://{clone}"},
                capture_output=True,
                text=True,
            ),
            output,
        )
    return before, runs


def code_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_environment_lacks_the_module_and_the_books_tools(colab):
    code = "from importlib.util import find_spec as f\n"
    assert ask(colab, f"{code}print([n for n in {ABSENT} if f(n)])") == "[]"


def test_without_a_source_the_first_cell_says_what_to_do(colab, tmp_path):
    python, environment = colab
    first = (ROOT / "book" / "first_cell.py").read_text(encoding="utf-8")
    done = subprocess.run(
        [python, "-c", first], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Write the address of the book's repository" in last and "'repository'" in last


@pytest.mark.parametrize("chapter", REHEARSED)
def test_the_notebook_runs_to_its_end(rehearsal, chapter):
    done, output = rehearsal[1][chapter]
    assert done.returncode == 0, done.stderr[-4000:]
    code = code_cells(output)
    assert all(cell["execution_count"] for cell in code)
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]


def test_it_installed_the_module_in_under_a_minute_and_moved_nothing(rehearsal, colab):
    before, runs = rehearsal
    done, output = runs[REHEARSED[0]]
    assert done.returncode == 0
    assert code_cells(output)[0]["metadata"]["papermill"]["duration"] < 60
    site = ask(colab, "import sysconfig; print(sysconfig.get_path('purelib'))")
    assert ask(colab, "import companion; print(companion.__file__)").startswith(site)
    after = json.loads(ask(colab, f"import json{VERSIONS}"))
    moved = [name for name, where in before.items() if after.get(name) != where]
    assert not moved, f"the first cell changed what was there: {moved}"
    for tool in ("jupytext", "jupyter-book", "myst-nb", "papermill"):
        assert tool in before or tool not in after, f"{tool} is not needed in Colab"


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
from companion.experiments import session

print(session.choose("cpu"), torch.cuda.is_available())
torch.cuda.is_available = lambda: True
torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(
    name="Tesla T4", total_memory=15 * 2**30)
print(session.choose("cpu"))
"""
    here, chosen, there, t4 = ask(colab, code).splitlines()
    assert chosen in ("cpu False", "gpu True") and chosen[:3] in here
    assert "Tesla T4, 15 GiB: profile 'gpu'" in there and t4 == "gpu"


def test_everything_that_a_chapter_imports_is_there(rehearsal, colab, clone):
    """Run the imports of all chapters, and no other of their lines."""
    lines = ["import warnings"]
    for path in sorted((clone / "notebooks").glob("[0-9]*.ipynb")):
        source = "\n".join("".join(cell["source"]) for cell in code_cells(path)[1:])
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines.append(f"{ast.unparse(node)}  # {path.stem}")
    ask(colab, "\n".join(lines))
