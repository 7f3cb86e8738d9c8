"""A stand-in for Colab: its packages and no others, a folder elsewhere, papermill at the keys."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book.project import ROOT

PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-learn", "ipykernel", "pip")
"""What Colab has, as far as the book is concerned."""


class Colab(NamedTuple):
    """The Python of such an environment, and the variables that processes there get."""

    python: Path
    variables: dict[str, str]

    def ask(self, code: str) -> str:
        """What a line of code prints there."""
        done = subprocess.run(
            [self.python, "-c", code],
            env=self.variables,
            capture_output=True,
            text=True,
            cwd="/",
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def run(
        self, notebook: Path, output: Path, cwd: Path, profile: str = "smoke", **more: str
    ) -> subprocess.CompletedProcess:
        """Run a notebook from its first cell to its last, in a folder, and write it with outputs.

        ``more`` are further variables of its environment.
        """
        command: list[str | Path] = [
            self.python,
            "-m",
            "papermill",
            "--no-progress-bar",
            "--cwd",
            cwd,
        ]
        command += ["-p", "profile", profile, "-p", "seed", "0", notebook, output]
        variables = {**self.variables, **more}
        return subprocess.run(command, env=variables, capture_output=True, text=True)


def make(folder: Path) -> Colab:
    """Make a virtual environment in a folder that sees what Colab has; papermill drives it."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    view, home = folder / "view", folder / "home"
    view.mkdir()
    home.mkdir()
    for distribution in closure([*PACKAGES, "papermill"]).values():
        show(distribution, view)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # In Colab `google.colab` is loaded before the first cell; here it is only present.
    fake = folder / "fake" / "google" / "colab"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (site / "colab.pth").write_text(f"{view}\n{folder / 'fake'}\nimport google.colab\n")

    keep = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    variables = {
        name: value
        for name, value in os.environ.items()
        if name in keep or name.startswith(("PIP_", "SSL_", "REQUESTS_", "GIT_SSL"))
    }
    variables.update(
        HOME=str(home),
        PYTHONNOUSERSITE="1",
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_COMPILE="1",  # as the book's own environment; what is imported is compiled then
    )
    return Colab(python, variables)


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
