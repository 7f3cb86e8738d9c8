"""Many experiments at once: processes of one thread each, those that others need first."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TextIO

from companion import checks, progress
from companion.experiments.experiment import Experiment

__all__ = ["run_all"]


def run_all(
    experiments: Sequence[type[Experiment]],
    profile: str,
    seed: int = 0,
    jobs: int | None = None,
    again: bool = False,
) -> int:
    """Run experiments, as many at a time as there are cores; what is remembered is not run again.

    Parameters
    ----------
    experiments : classes; those that they need are run too
    profile, seed : as of ``Session``
    jobs : int, optional
        Processes, each with one thread (default: the cores that this process may use).
    again : bool
        Run even what is remembered.

    Returns
    -------
    int, 0 if all went well, else 1. Each failure is printed; the other experiments still run.
    """
    wanted = [e for e in _with_needs(experiments) if e.planned(profile)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = checks.whole("jobs", (cores or 1) if jobs is None else jobs)
    waiting = sorted(wanted, key=lambda e: -e.seconds)
    done: set[type[Experiment]] = set()
    failed: set[type[Experiment]] = set()
    running: dict[Future, type[Experiment]] = {}
    began = time.perf_counter()
    shown = progress.bar(len(wanted), unit="experiment") if progress.watched() else None
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers: their libraries read it as they load
    with ProcessPoolExecutor(
        min(jobs, max(1, len(wanted))), multiprocessing.get_context("spawn"), _one_thread
    ) as pool:
        while waiting or running:
            for experiment in list(waiting):
                needs = set(experiment.needs) & set(wanted)
                if needs & failed:
                    waiting.remove(experiment)
                    failed.add(experiment)
                    _say(f"{experiment.name()}: not run, since what it needs failed", shown)
                elif needs <= done and len(running) < jobs:
                    waiting.remove(experiment)
                    future = pool.submit(_one, experiment, profile, seed, again)
                    running[future] = experiment
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                experiment = running.pop(future)
                try:
                    report = future.result()
                except BrokenProcessPool:
                    _say(
                        f"{experiment.name()}: its process, or one beside it, was killed; perhaps "
                        "it ran out of memory",
                        shown,
                        sys.stderr,
                    )
                    return 1
                failure = report.startswith("FAILED")
                (failed if failure else done).add(experiment)
                count = f"[{len(done) + len(failed)}/{len(wanted)}]"
                _say(f"{count} {report}", shown, sys.stderr if failure else sys.stdout)
                if shown is not None:
                    shown.update()
    if shown is not None:
        shown.close()
    print(f"{len(done)} experiments, {time.perf_counter() - began:.0f} s", flush=True)
    return 1 if failed else 0


def _say(line: str, shown: Any, file: TextIO | None = None) -> None:
    """Print a line, above the progress bar if there is one."""
    if shown is None:
        print(line, file=file, flush=True)
    else:
        shown.write(line, file=file or sys.stdout)


def _with_needs(experiments: Sequence[type[Experiment]]) -> list[type[Experiment]]:
    ordered: dict[type[Experiment], None] = {}
    for experiment in experiments:
        for needed in _with_needs(experiment.needs):
            ordered.setdefault(needed)
        ordered.setdefault(experiment)
    return list(ordered)


def _one_thread() -> None:
    """Start a worker: one thread, no progress bars."""
    os.environ["COMPANION_PROGRESS"] = "0"
    import torch

    torch.set_num_threads(1)


def _one(experiment: type[Experiment], profile: str, seed: int, again: bool) -> str:
    """Run one experiment in a worker; return a line of report."""
    from companion.experiments.session import Session

    began = time.perf_counter()
    try:
        session = Session(profile, seed)
        if experiment.recorded and profile in ("long", "gpu"):
            session.records(experiment, again=again)
        else:
            for planned in experiment.planned(profile):
                session.run(planned, again=again)
    except Exception:
        return f"FAILED {experiment.name()}\n{traceback.format_exc()}"
    return f"{experiment.name()}: {time.perf_counter() - began:.1f} s"
