"""Run the book's experiments, and write down what those of each chapter took."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from book.project import alone, write_atomically
from companion.experiments import CHAPTERS, Session
from companion.experiments.experiment import Experiment, chapters, find, registry
from companion.experiments.parallel import run_all


def run(profile: str, seed: int, target: Path) -> int:
    """Run all experiments as ``companion run all`` does; then write ``target``, for the chapters.

    Those whose results are remembered are not run, so this takes seconds if no code changed. Of
    two processes that run them the second waits, and then finds them remembered.
    """
    with alone(target):
        return _run(profile, seed, target)


def _run(profile: str, seed: int, target: Path) -> int:
    session = Session(profile, seed)
    listed = list(registry().values())
    waiting = [experiment for experiment in listed if not remembered(session, experiment)]
    print(f"{len(listed) - len(waiting)} of {len(listed)} experiments are remembered", flush=True)
    if waiting and (code := run_all(waiting, profile, seed)):
        return code
    facts = {CHAPTERS[name]: took(session, find(name)) for name in chapters()}
    write_atomically(target, json.dumps(facts, indent=1) + "\n")
    os.utime(target)
    return 0


def remembered(session: Session, experiment: type[Experiment]) -> bool:
    """Whether nothing of an experiment is left to run; a record may be, whatever is remembered."""
    if experiment.recorded and session.profile in ("long", "gpu"):
        return False
    planned = experiment.planned(session.profile)
    return all(session.remembered(one) is not None for one in planned)


def took(session: Session, experiments: list[type[Experiment]]) -> dict[str, Any]:
    """What experiments took when they were really run.

    Returns
    -------
    dict with their number, the seconds in all, the largest memory in MiB, and when the last of
    them was run.
    """
    seconds, peak, count, last = 0.0, 0, 0, ""
    for experiment in experiments:
        for planned in experiment.planned(session.profile):
            if (results := session.remembered(planned)) is not None:
                made = results.provenance
                count += 1
                seconds += made.get("seconds") or 0.0
                peak = max(peak, made.get("peak_memory") or 0)
                last = max(last, made.get("date") or "")
    return {
        "experiments": count,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak / 2**20),
        "last": last,
    }
