"""A rehearsal of Colab: its packages and no others, a folder elsewhere, the first cell installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = "00-one-denoiser"

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
    (site / "colab.pth").write_text(f"{view}\n")

    keep = ("PATH", "LANG", "LC_ALL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in keep or name.startswith(("PIP_", "SSL_", "REQUESTS_", "GIT_SSL"))
    }
    environment.update(
        HOME=str(folder / "home"),
        PYTHONNOUSERSITE="1",
        COMPANION_PROGRESS="0",
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    (folder / "home").mkdir()
    return python, environment


def ask(colab, code: str) -> str:
    python, environment = colab
    command = [python, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def rehearsal(colab, tmp_path_factory):
    """The chapter's notebook, taken from a clone and run in that environment somewhere else."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("the rehearsal installs from a clone: it needs git and a git checkout")
    folder = tmp_path_factory.mktemp("content")
    clone, elsewhere = folder / "clone", folder / "elsewhere"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    elsewhere.mkdir()
    before = ask(colab, "import torch; print(torch.__version__, torch.__file__)")
    python, environment = colab
    done = subprocess.run(
        [
            *(python, "-m", "papermill", "--no-progress-bar", "--cwd", elsewhere),
            *("-p", "profile", "smoke", "-p", "seed", "0"),
            *(clone / "notebooks" / f"{CHAPTER}.ipynb", folder / "run.ipynb"),
        ],
        env={**environment, "COMPANION_SOURCE": f"git+file://{clone}"},
        capture_output=True,
        text=True,
    )
    return before, done, folder / "run.ipynb"


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
    assert "companion is not installed" in last and "COMPANION_SOURCE" in last


def test_the_notebook_runs_to_its_end(rehearsal):
    _, done, output = rehearsal
    assert done.returncode == 0, done.stderr[-4000:]
    cells = json.loads(output.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]


def test_it_installed_the_module_and_moved_nothing(rehearsal, colab):
    before, done, _ = rehearsal
    assert done.returncode == 0
    site = ask(colab, "import sysconfig; print(sysconfig.get_path('purelib'))")
    assert ask(colab, "import companion; print(companion.__file__)").startswith(site)
    assert ask(colab, "import torch; print(torch.__version__, torch.__file__)") == before
    assert not (Path(site) / "torch").exists() and not (Path(site) / "numpy").exists()
    tools = ["jupytext", "jupyter_book", "myst_nb"]
    code = "from importlib.util import find_spec as f\n"
    assert ask(colab, f"{code}print([n for n in {tools} if f(n)])") == "[]"
