"""Execute one chapter. Its experiments have run before, so it takes what they remember.

A chapter is executed again when its text changed, or the experiments behind it, or any file that
it rests on (`inputs`). A change in the folder of another chapter's experiments leaves it alone.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from book.project import BUILD, ROOT, alone, chapter_of, digest, write_atomically
from companion.experiments import CHAPTERS

FACTS = ".experiments.json"
"""Beside the executed chapters: what the experiments of each took."""


def run(profile: str, seed: int, source: Path, target: Path) -> int:
    """Execute a chapter with papermill; on failure show the cell and its traceback.

    Where `target` was made from the same inputs it stays, with a new time. Of two processes that
    make one `target` the second waits, and then finds it made.

    Parameters
    ----------
    profile, seed : parameters of the chapter
    source : path of its .md
    target : path of the .ipynb to write, with outputs and with what the run took in its metadata

    Returns
    -------
    int, 0 or, if a cell failed or the kernel was killed, 1. Then nothing is written.
    """
    with alone(target):
        return _run(profile, seed, source, target)


def _run(profile: str, seed: int, source: Path, target: Path) -> int:
    before = experiments(target)
    made_from = digest(inputs(source.stem), profile, seed, source.read_text("utf-8"), before)
    if facts_of(target).get("made_from") == made_from:
        os.utime(target)
        print(f"{source.stem}: nothing that it rests on has changed", flush=True)
        return 0

    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    notebook = jupytext.read(source)
    folder = prepare(profile, source.stem)
    begun = [""]  # the code of each cell that was begun
    start = time.perf_counter()
    try:
        executed = papermill.execute_notebook(
            notebook,
            None,
            parameters={"profile": profile, "seed": seed},
            cwd=str(folder),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],
            coalesce_streams=True,  # one block for what a cell prints, however it arrives
            on_cell_execute=lambda cell, cell_index: begun.append(cell.source),
        )
    except PapermillExecutionError as error:
        last = f"{error.ename}: {error.evalue}"
        shown = "\n".join(error.traceback)
        return failed(source, error.source, shown if error.ename in shown else f"{shown}\n{last}")
    except DeadKernelError:
        return failed(source, begun[-1], "Its kernel was killed, perhaps out of memory.")
    except RuntimeError as error:  # a kernel that did not start
        return failed(source, begun[-1], f"{error}: it did not start, perhaps for want of memory.")
    facts = {
        "profile": profile,
        "seed": seed,
        **took(executed, time.perf_counter() - start, before),
        "date": datetime.date.today().isoformat(),
        **machine(profile),
        "made_from": made_from,
    }
    clean(executed)
    for text in take_out_stderr(executed):
        print(f"{source.stem}: a cell wrote to its standard error:\n{text}", flush=True)
    executed.metadata["build"] = facts
    write_atomically(target, nbformat.writes(executed) + "\n")
    os.utime(target)
    print(
        f"{source.stem}: {facts['notebook_seconds']} s, and its experiments "
        f"{facts['experiments_seconds']} s; peak memory {facts['peak_memory_mib']} MiB",
        flush=True,
    )
    return 0


def failed(source: Path, cell: str, why: str) -> int:
    """Say in which cell a chapter failed, and why; return 1."""
    code = "\n".join(f"    {line}" for line in cell.splitlines())
    print(f"\n{source.name} failed in this cell:\n\n{code}\n\n{why}", file=sys.stderr)
    return 1


def inputs(chapter: str) -> list[Path]:
    """The files that a chapter's outputs rest on, apart from its own text.

    The module without the experiments of chapters that it does not import from, what the claims
    quote, the records and published verdicts, the pinned packages, and this file.
    """
    root = ROOT / "companion"
    chapter = chapter_of(chapter)
    own = [path for name in _named(chapter) for path in (root / "experiments" / name).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in own)
    used = {*_named(chapter), *(n for n in CHAPTERS if f"companion.experiments.{n}." in code)}
    others = [root / "experiments" / name for name in CHAPTERS if name not in used]
    files = [
        path for path in root.rglob("*.py") if not any(other in path.parents for other in others)
    ]
    for name in sorted(used):
        files += [path for path in (ROOT / "results").rglob(f"{name}.*") if path.is_file()]
    named = ("constraints.txt", "book/sources.yml", "book/run.py")
    return files + [ROOT / name for name in named]


def _named(chapter: str) -> list[str]:
    """Modules of a chapter."""
    return [name for name, file in CHAPTERS.items() if file == chapter]


def facts_of(target: Path) -> dict[str, Any]:
    """What an executed chapter says about its run; nothing if there is none, or a damaged one."""
    try:
        return dict(nbformat.read(target, as_version=4).metadata.get("build", {}))
    except (FileNotFoundError, ValueError, nbformat.ValidationError):
        return {}


def prepare(profile: str, chapter: str) -> Path:
    """Set the environment of the kernel; return the folder where what the chapter writes falls."""
    os.environ.update(COMPANION_PROGRESS="0", PYTHONHASHSEED="0", JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("MPLBACKEND", None)  # the kernel draws inline
    for name in ("COMPANION_DATA", "COMPANION_MEMORY", "COMPANION_RESULTS", "COMPANION_TRAINED"):
        if name in os.environ:  # the chapter runs in another folder
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    scratch = BUILD / "scratch" / profile / chapter
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def experiments(target: Path) -> dict[str, Any]:
    """What the experiments of the chapter took, if they have run."""
    path = target.with_name(FACTS)
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8")).get(chapter_of(target.stem), {})
    except (ValueError, AttributeError) as error:
        raise SystemExit(f"{path} is damaged ({error}): delete it and build again") from error


def took(executed: nbformat.NotebookNode, seconds: float, before: dict[str, Any]) -> dict[str, Any]:
    """Times and memory of a chapter, its experiments included."""
    durations = [cell.metadata.get("papermill", {}).get("duration") for cell in executed.cells]
    return {
        "seconds": round(seconds + before.get("seconds", 0.0), 1),
        "notebook_seconds": round(seconds, 1),
        "experiments": before.get("experiments", 0),
        "experiments_seconds": before.get("seconds", 0.0),
        "longest_cell_seconds": round(max(filter(None, durations), default=0.0), 1),
        "peak_memory_mib": max(round(peak_of_children() / 2**20), before.get("peak_mib", 0)),
    }


def clean(executed: nbformat.NotebookNode) -> None:
    """Take out what papermill adds, which differs from run to run."""
    executed.metadata.pop("papermill", None)
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)


def take_out_stderr(executed: nbformat.NotebookNode) -> list[str]:
    """Take out what cells wrote to their standard error, and return it.

    Libraries write there what is no part of a page, such as tqdm that Jupyter's widgets are
    missing: the log of the build shows it.
    """
    found = []
    for cell in executed.cells:
        for output in list(cell.get("outputs", [])):
            if output.get("name") == "stderr":
                cell.outputs.remove(output)
                found.append(output.text.rstrip())
    return found


def peak_of_children() -> int:
    """The largest resident size of any process that this one started (the kernel), in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine(profile: str) -> dict[str, str]:
    """What the times were measured on."""
    from importlib.metadata import version

    gpus: list[str] = []
    if profile == "gpu" and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True)
        gpus = answer.stdout.strip().splitlines() if answer.returncode == 0 else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "hardware": gpus[0] if gpus else f"{cores} cores, {platform.machine()}",
        "software": f"Python {platform.python_version()}, torch {version('torch')}",
    }
