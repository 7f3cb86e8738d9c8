"""Whether records still hold: their experiments at the smallest size, with old code and new."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from book.project import ROOT
from companion.experiments import records
from companion.experiments.experiment import Experiment, registry
from companion.experiments.source import code_hash

__all__ = ["Answer", "ask", "confirm"]

SCRIPT = """
import hashlib, sys
from pathlib import Path
from companion.experiments import Session
from companion.experiments.experiment import find
from companion.experiments.source import code_hash

(cls,) = find(sys.argv[1])
planned = cls.planned("smoke")
results = Session("smoke", 0, memory=Path(sys.argv[2])).run(planned[0])
table = results.table
if "measure" in table:
    table = table[~table["measure"].astype(str).str.contains("seconds")]
hasher = hashlib.sha256(table[sorted(table.columns)].to_csv(index=False).encode())
for name in sorted(results.arrays):
    hasher.update(name.encode() + results.arrays[name].tobytes())
print(code_hash(cls.__module__), hasher.hexdigest())
"""
"""Run an experiment at ``smoke``; print the hash of its code and of its values, but for times."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one version of the code gave: the hash of an experiment's code, and of its values."""

    code: str
    values: str


def confirm(names: list[str]) -> int:
    """Run the smallest size of recorded experiments, with the code that made the record and now.

    Where both give the same values to the last bit, the record says that today's code is the same
    for it (``same_code`` in its provenance), and pages show it without a warning.

    Parameters
    ----------
    names : list of str
        Names of records (files in ``results`` without their ending); empty for all.

    Returns
    -------
    int, 0 if every record that was asked for is of today's code or was confirmed.
    """
    folder, known = records.records_folder(), registry()
    there = sorted(path.stem for path in folder.glob("*.json"))
    if unknown := sorted(set(names) - set(there)):
        print(f"there is no record {', '.join(unknown)}; there are {', '.join(there)}")
        return 2
    now: dict[type[Experiment], Answer] = {}
    left = 0
    for name in names or there:
        record = records.load(name, folder)
        cls, made = known.get(record.experiment), record.provenance
        says = _told(cls, made, now)
        print(f"{name}: {says}", flush=True)
        if says == "same values" and cls is not None:
            records.confirm(name, folder, now[cls].code)
        left += says not in ("same values", "of this code")
    return int(left > 0)


def _told(cls: type[Experiment] | None, made: dict, now: dict[type[Experiment], Answer]) -> str:
    """Say whether a record is of this code, gives the same values, or why that is not known."""
    if cls is None:
        return "its experiment is no more"
    if code_hash(cls.__module__) in (made.get("code"), made.get("same_code")):
        return "of this code"
    if not cls.planned("smoke"):
        return "it has no smallest size"
    if made.get("changed") or not made.get("commit"):
        return "the code that made it is in no commit"
    try:
        before = ask(cls.name(), made["commit"])
        if cls not in now:
            now[cls] = ask(cls.name())
    except RuntimeError as error:
        return str(error)
    if before.code != made["code"]:
        return "the commit that it names has other code"
    if before.values == now[cls].values:
        return "same values"
    if ask(cls.name()).values != now[cls].values:
        return "its values differ from run to run, as they depend on time"
    return "OTHER VALUES"


def ask(name: str, commit: str | None = None) -> Answer:
    """Run an experiment at ``smoke`` with nothing remembered.

    Parameters
    ----------
    name : str
        Of an experiment.
    commit : str, optional
        Whose code runs (default: the files as they are).

    Raises
    ------
    RuntimeError
        If the commit is not in this clone, or the run fails.
    """
    with tempfile.TemporaryDirectory() as place:
        root, code = Path(place), ROOT
        if commit is not None:
            code = root / "code"
            packed = subprocess.run(
                ["git", "archive", commit, "companion"], cwd=ROOT, capture_output=True
            )
            if packed.returncode:
                raise RuntimeError(f"commit {commit[:10]} is not in this clone")
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                archive.extractall(code, filter="data")
        own = {"PYTHONPATH": str(code), "COMPANION_TRAINED": str(root / "trained")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, name, str(root / "memory")],
            cwd=code,
            env={**os.environ, **own, "COMPANION_PROGRESS": "0"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["it stopped"]
            raise RuntimeError(f"its run failed with {commit or 'the files here'}: {last[0]}")
        return Answer(*done.stdout.split()[-2:])
