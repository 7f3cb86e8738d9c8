"""Make the environment: every package of requirements.txt, checked by its hash, and the module.

Runs on a bare Python, with nothing installed: ``python3 book/environment.py .venv``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ("pyproject.toml", "constraints.txt", "requirements.txt")
READY = ".ready"
"""A file in the environment, as new as what is installed there."""


def make(folder: Path, hashes: bool = True) -> None:
    """Make the environment in a folder, or bring it up to date.

    Parameters
    ----------
    folder : path
        Of two processes that make one the second waits, and then finds it made.
    hashes : bool
        Refuse a package that is not the published file of its version (default). Without, versions
        alone count, for builds of another index, such as PyTorch's for CPUs.

    Raises
    ------
    SystemExit
        If Python is too old, or a package cannot be installed.
    """
    if sys.version_info < (3, 11):  # noqa: UP036  (it runs before anything is installed)
        version = ".".join(map(str, sys.version_info[:3]))
        raise SystemExit(f"Python 3.11 or newer is needed, and {sys.executable} is {version}")
    with alone(folder):
        ready, python = folder / READY, folder / "bin" / "python"
        if ready.exists() and all(
            (ROOT / name).stat().st_mtime <= ready.stat().st_mtime for name in PINS
        ):
            return
        if not (folder / "bin" / "pip").exists():  # the last thing that venv makes
            print(f"Making the environment in {folder}: several gigabytes, some minutes.")
            run(sys.executable, "-m", "venv", folder)
        install: list[object] = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
        ]
        install.append("--no-compile")
        if hashes:
            run(*install, "--require-hashes", "-r", "requirements.txt")
            run(*install, "--no-deps", "--no-build-isolation", "-e", ".")
        else:
            run(*install, "-c", "constraints.txt", "-e", ".[book,test,images]")
        # Compiled once, on all cores, and not by every process that imports PyTorch.
        subprocess.run([str(python), "-m", "compileall", "-qq", "-j", "0", str(folder / "lib")])
        ready.touch()


def run(*command: object) -> None:
    """Run a command in the repository; its failure is ours."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT)
    if done.returncode:
        hint = ""
        if "--require-hashes" in command:
            hint = " ('make HASHES=no' goes by versions alone, for builds of another index)"
        raise SystemExit(f"The environment could not be made{hint}.")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same environment (not on Windows)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), os.environ.get("HASHES") != "no")
