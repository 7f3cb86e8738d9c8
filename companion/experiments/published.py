"""The published verdicts: the same rules on several master seeds at once, kept as a record."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from companion import checks
from companion.experiments import records
from companion.experiments.claims import PUBLISHED, Claim, Claims, published
from companion.experiments.experiment import Experiment
from companion.experiments.provenance import provenance
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.source import canonical, rule_files
from companion.statistics import intervals_by

__all__ = [
    "PooledSession",
    "judge",
    "judge_otherwise",
    "pool",
    "rule",
    "with_published",
    "write",
]


def pool(results: Sequence[Results]) -> Results:
    """Put the results of one experiment from several master seeds together.

    Rows that have a seed stay apart: a seed becomes one of its own for each master seed, so that
    intervals are made of all of them. Rows without one are averaged. Arrays and facts are those of
    the first.

    Parameters
    ----------
    results : sequence of Results, of one experiment, with different master seeds
    """
    first = results[0]
    if len(results) == 1 or not len(first.table):
        return first
    parts = []
    for number, one in enumerate(results):
        table = one.table.copy()
        if "seed" in table:
            table["seed"] = table["seed"].map(
                lambda seed, n=number: seed if pd.isna(seed) else (n, seed)
            )
        parts.append(table.assign(_order=np.arange(len(table))))
    table = pd.concat(parts, ignore_index=True)
    if "seed" in table:
        known = {s: i for i, s in enumerate(table["seed"].dropna().drop_duplicates())}
        table["seed"] = table["seed"].map(lambda seed: seed if pd.isna(seed) else known[seed])
    keys = [column for column in table if column not in ("value", "_order")]
    grouped = table.groupby(keys, sort=False, dropna=False, as_index=False)
    table = grouped.agg(value=("value", "mean"), _order=("_order", "min"))
    table = table.sort_values("_order", kind="stable").drop(columns="_order")
    return replace(first, table=table.reset_index(drop=True))


class PooledSession(Session):
    """A session whose results are those of several master seeds together.

    Parameters
    ----------
    profile : as of ``Session``
    seeds : sequence of int
        Master seeds, one or more, all different.
    """

    def __init__(self, profile: str, seeds: Sequence[int], **options: Any):
        self.seeds = tuple(checks.whole("seeds", seed, 0) for seed in seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: got {list(seeds)}; allowed are one or more different ones")
        super().__init__(profile, self.seeds[0], **options)
        self.sessions = [Session(profile, seed, **options) for seed in self.seeds]

    def run(self, experiment: type[Experiment] | Experiment, *, again: bool = False) -> Results:
        """Run an experiment with each master seed, or take it from memory, and pool the results."""
        return pool([session.run(experiment, again=again) for session in self.sessions])


def judge(
    chapters: Sequence[str], profile: str, seeds: Sequence[int], *, method: str = "t"
) -> Claims:
    """Apply the rules of some chapters to several master seeds together.

    ``method`` is that of the intervals, "t" or "bootstrap".
    """
    session = PooledSession(profile, seeds)
    with intervals_by(method):
        return _judge(chapters, session)


def judge_otherwise(
    chapters: Sequence[str], profile: str, seeds: Sequence[int]
) -> dict[str, Claims]:
    """The same rules with each master seed alone, and with intervals of the bootstrap."""
    others = {f"seed {seed} alone": judge(chapters, profile, [seed]) for seed in seeds}
    return {**others, "by bootstrap": judge(chapters, profile, seeds, method="bootstrap")}


def _judge(chapters: Sequence[str], session: Session) -> Claims:
    claims: list[Claim] = []
    for chapter in chapters:
        module = importlib.import_module(f"companion.experiments.{chapter}")
        if hasattr(module, "verdicts"):
            claims += [replace(claim, chapter=chapter) for claim in module.verdicts(session)]
    return Claims(claims)


def with_published(live: Iterable[Claim]) -> list[Claim]:
    """The published verdicts in place of those of one run, each with what made it.

    Published are verdicts on several master seeds together, with the commit of their rules. Claims
    without one stay as they are, and so do those that are published ones already.
    """
    judged = list(live)
    asked, known = {claim.id for claim in judged}, {}
    for module, entry in published().items():
        if asked.isdisjoint(fields["id"] for fields in entry["claims"]):
            continue  # the rules of other chapters are not read
        current = rule(module)
        seeds = ", ".join(map(str, entry["seeds"]))
        made = f"master seeds {seeds}, {entry['date'][:10]}, profile {entry['profile']}"
        if commit := entry["rule"]["commit"]:
            made += f"; rule of commit {commit[:7]}"
        if current["hash"] != entry["rule"]["hash"]:
            made += ", which has changed since"
        for fields in entry["claims"]:
            told = _otherwise(fields["id"], fields["verdict"], entry.get("otherwise", {}))
            known[fields["id"]] = replace(Claim(**fields), provenance=made + told)
    shown = []
    for claim in judged:
        other = known.get(claim.id)
        if other is None or claim.provenance.startswith(other.provenance):
            shown.append(claim)
            continue
        here = "" if other.verdict == claim.verdict else f"; this run alone says {claim.verdict}"
        shown.append(replace(other, chapter=claim.chapter, provenance=other.provenance + here))
    return shown


def _otherwise(name: str, verdict: str, found: Mapping[str, Mapping[str, str]]) -> str:
    """What a claim's verdict is with each master seed alone, and by the bootstrap."""
    if not found or verdict in ("proved", "not tested"):
        return ""
    others = [f"{how}: {by[name]}" for how, by in found.items() if by.get(name, verdict) != verdict]
    if others:
        return f"; {', '.join(others)}"
    return "; the same with each seed alone and by bootstrap"


# --- the record ---------------------------------------------------------------------------------


def rule(chapter: str) -> dict[str, str | None]:
    """Identity of a chapter's rules: a hash of their code, and the commit of their last change."""
    files = rule_files(f"companion.experiments.{chapter}.verdicts")
    if not files:
        raise ValueError(f"chapter: got {chapter!r}; allowed is one with a verdicts.py")
    text = "".join(canonical(path) for path in files)
    command = ["git", "log", "-1", "--format=%H", "--", *(path.name for path in files)]
    try:
        done = subprocess.run(
            command, cwd=files[0].parent, capture_output=True, text=True, check=True
        )
        commit = done.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {"hash": hashlib.sha256(text.encode()).hexdigest()[:16], "commit": commit}


def write(
    claims: Claims,
    profile: str,
    seeds: Sequence[int],
    otherwise: Mapping[str, Claims] | None = None,
) -> list[Path]:
    """Keep verdicts as the published ones, a file for each chapter; return the files.

    ``otherwise`` has those of ``judge_otherwise``; only their verdicts are kept.
    """
    folder = records.writable_records_folder() / PUBLISHED
    paths = []
    for chapter in dict.fromkeys(str(claim.chapter) for claim in claims):
        entry = {
            "profile": profile,
            "seeds": list(seeds),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": provenance(seconds=0.0, code=None).get("versions"),
            "rule": rule(chapter),
            "claims": [asdict(claim) for claim in claims if claim.chapter == chapter],
            "otherwise": {
                how: {claim.id: claim.verdict for claim in found if claim.chapter == chapter}
                for how, found in (otherwise or {}).items()
            },
        }
        path = folder / f"{chapter}.json"
        with records.alone(folder):
            records.write(path, (json.dumps(entry, indent=1) + "\n").encode())
        paths.append(path)
    return paths
