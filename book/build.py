"""The book without make: the same stages as the Makefile's, the same files.

``python -m book build`` in an environment with the extras ``book``, ``test`` and ``images``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from book import address
from book.project import BUILD, ROOT, executed, sources, write_atomically
from book.run import FACTS


def build(profile: str, seed: int, jobs: int | None = None) -> int:
    """Run the experiments, then the chapters side by side, then build the site; say where it is.

    What rests on nothing that changed is left as it is.

    Parameters
    ----------
    profile : how much is run
    seed : master seed
    jobs : chapters at a time (default: one on a GPU, else as many as there are cores)

    Returns
    -------
    int, 0, or the exit code of the first stage that failed.
    """
    write_atomically(BUILD / "seed", str(seed))
    address.keep(BUILD / "repository_url")
    target = BUILD / "executed" / profile / FACTS
    if code := job("experiments", profile, seed, target):
        return code

    def chapter(source: Path) -> int:
        return job("run", profile, seed, source, executed(profile, source.stem))

    with ThreadPoolExecutor(jobs or (1 if profile == "gpu" else os.cpu_count())) as pool:
        if code := max(pool.map(chapter, sources())):
            return code
    site = BUILD / "site" / profile
    if is_older(site / "index.html", profile) and (code := job("site", profile, site)):
        return code
    print(f"The book is at {site / 'index.html'} ('python -m book serve {profile}' shows it).")
    return 0


def test(arguments: Sequence[str]) -> int:
    """Build at tiny sizes, then run pytest, and nbval over what was built."""
    if code := build("smoke", 0):
        return code
    notebooks = [executed("smoke", source.stem) for source in sources()]
    return pytest("tests", *arguments) | pytest("--nbval-lax", *notebooks)


def serve(profile: str, port: int) -> int:
    """Show the site of a profile to this machine, until Ctrl-C."""
    site = BUILD / "site" / profile
    if not (site / "index.html").exists():
        print(f"There is no site yet: run 'python -m book build {profile}' first.", file=sys.stderr)
        return 1
    print(f"http://127.0.0.1:{port}  (stop with Ctrl-C)", flush=True)
    where = ("--bind", "127.0.0.1", "--directory", site, port)
    return python("http.server", *where)


def is_older(page: Path, profile: str) -> bool:
    """Whether a page of the site is missing, or older than anything that the site is made from."""
    return not page.exists() or any(
        path.stat().st_mtime > page.stat().st_mtime for path in inputs(profile)
    )


def inputs(profile: str) -> Iterator[Path]:
    """What the site of a profile is made from: as in the Makefile, which a test compares."""
    yield from (executed(profile, source.stem) for source in sources())
    for folder, pattern in (("book", "*"), ("companion", "*.py"), ("results", "*")):
        for path in (ROOT / folder).rglob(pattern):
            parts = path.relative_to(ROOT).parts
            hidden = folder == "results" and path.name.startswith(".")
            if path.is_file() and not {"__pycache__", "_generated"} & set(parts) and not hidden:
                yield path
    yield from (ROOT / name for name in ("_config.yml", "_toc.yml", "CITATION.cff"))
    yield BUILD / "repository_url"


def job(*arguments: object) -> int:
    """Run a job of ``python -m book`` as make does."""
    return python("book", *arguments)


def pytest(*arguments: object) -> int:
    """Run pytest as make does; as a job, so that what is tested is not loaded here."""
    return python("pytest", *arguments)


def python(*arguments: object) -> int:
    """Run a module of Python in the repository, on one thread."""
    one = {"COMPANION_PROGRESS": "0", "PYTHONHASHSEED": "0"} if arguments[0] == "pytest" else {}
    variables = {"OMP_NUM_THREADS": "1", **os.environ, **one}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode
