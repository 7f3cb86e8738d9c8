"""Run the book's experiments, and write down what those of each chapter took."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from book.project import write_atomically
from companion.experiments import CHAPTERS, Session
from companion.experiments.experiment import Experiment, chapters, find, registry
from companion.experiments.parallel import run_all


def run(profile: str, seed: int, target: Path) -> int:
    """Run all experiments as ``companion run all`` does; then write ``target``, for the chapters.

    Results that are remembered are not made again, so this takes seconds if no code changed.
    """
    if code := run_all(list(registry().values()), profile, seed):
        return code
    session = Session(profile, seed)
    facts = {CHAPTERS[name]: took(session, find(name)) for name in chapters()}
    write_atomically(target, json.dumps(facts, indent=1) + "\n")
    os.utime(target)
    return 0


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
