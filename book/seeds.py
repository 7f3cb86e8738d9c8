"""More seeds for a record: only those run that it does not have."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pandas as pd

from companion.experiments import Session, records
from companion.experiments.experiment import Experiment, registry
from companion.experiments.results import Results
from companion.experiments.shown import record_name
from companion.experiments.source import code_hash

__all__ = ["add_seeds", "apart", "join"]


def add_seeds(name: str) -> int:
    """Run the seeds at ``long`` that a record lacks, and write it with all of them.

    The record must be of today's code, or confirmed (``python -m book confirm``), and differ from
    today's ``long`` size in ``seeds`` only. That the values of a seed do not depend on how many
    there are is tried first, at the smallest size.

    Parameters
    ----------
    name : str
        Of an experiment, such as "tweedie.image_bridge".

    Returns
    -------
    int, 0 if the record now has all seeds.
    """
    cls = registry().get(name)
    reason, planned, record = _refusal(name, cls)
    if reason or cls is None or planned is None or record is None:
        print(f"{name}: {reason}")
        return 2
    before, total = record.settings["seeds"], planned.seeds  # type: ignore[attr-defined]
    if not apart(cls):
        print(f"{name}: the values of a seed depend on how many there are; run it whole")
        return 1
    rest = dataclasses.replace(planned, seeds=total - before)  # type: ignore[call-arg]
    new = Session("long", record.seed + before).run(rest)
    settings = records.plain("settings", planned.settings())
    joined = dataclasses.replace(join(record, new), settings=settings)
    records.save(joined, record_name(planned, "-long"), records.records_folder(), records.LIMIT)
    print(f"{name}: {total} seeds, {before} of them from the earlier record")
    return 0


def _refusal(
    name: str, cls: type[Experiment] | None
) -> tuple[str, Experiment | None, Results | None]:
    """Say why no seeds can be added, or give what is to be run and the record."""
    if cls is None:
        return "there is no such experiment", None, None
    planned = [one for one in cls.planned("long") if hasattr(one, "seeds")]
    if len(planned) != 1:
        return "it has no single size with seeds at 'long'", None, None
    (one,) = planned
    try:
        record = records.load(record_name(one, "-long"), records.records_folder())
    except FileNotFoundError:
        return f"it has no record; run it with 'companion run {name} --profile long'", one, None
    made, asked = record.provenance, records.plain("settings", one.settings())
    if code_hash(cls.__module__) not in (made.get("code"), made.get("same_code")):
        return "its record is of other code; try 'python -m book confirm' first", one, record
    differ = [k for k in {*asked, *record.settings} if asked.get(k) != record.settings.get(k)]
    if differ != ["seeds"]:
        what = ", ".join(sorted(differ)) or "nothing"
        return f"its record differs in {what}; allowed is a difference in seeds", one, record
    if record.settings["seeds"] >= asked["seeds"]:
        has = record.settings["seeds"]
        return f"its record has {has} seeds; asked are {asked['seeds']}", one, record
    return "", one, record


class _SameChoice(Session):
    """A session that takes choices from one search, as ``long`` takes them from a record."""

    def latest(self, experiment: type[Experiment]) -> Results:
        """Return the results of the master seed 0."""
        return Session(self.profile, 0, memory=self._memory).run(experiment)


def apart(cls: type[Experiment]) -> bool:
    """Whether two seeds together give what each gives alone, at the smallest size.

    Parameters
    ----------
    cls : class of an Experiment with the setting ``seeds``
    """

    def rows(seed: int, seeds: int) -> pd.DataFrame:
        one = dataclasses.replace(cls.planned("smoke")[0], seeds=seeds)  # type: ignore[call-arg]
        return _SameChoice("smoke", seed, memory=Path(place)).run(one).table

    with tempfile.TemporaryDirectory() as place:
        both = rows(0, 2)
        alone = pd.concat([rows(0, 1), rows(1, 1)], ignore_index=True)
    return _sorted(both).equals(_sorted(alone))


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order of their own, without those that are times."""
    if "measure" in table:
        table = table[~table["measure"].astype(str).str.contains("seconds")]
    columns = sorted(table.columns)
    return table[columns].sort_values(columns).reset_index(drop=True)


def join(first: Results, second: Results) -> Results:
    """Put the rows of later seeds below those of a record.

    Arrays and facts are those of the first, which has the first seed. Where the first came from is
    kept in the provenance (``earlier``), and the seconds are those of both.

    Raises
    ------
    ValueError
        If a seed is in both.
    """
    twice = set(first.table["seed"]) & set(second.table["seed"])
    if twice:
        raise ValueError(f"seeds: {sorted(twice)} are in both; allowed are different ones")
    made, earlier = second.provenance, first.provenance
    kept = {k: earlier.get(k) for k in ("commit", "code", "date", "device", "seconds", "earlier")}
    spent = [p["seconds"] for p in (earlier, made) if p.get("seconds") is not None]
    return dataclasses.replace(
        first,
        table=pd.concat([first.table, second.table], ignore_index=True),
        provenance={
            **made,
            "seconds": sum(spent) if spent else None,
            "earlier": {"seeds": first.settings.get("seeds"), **kept},
        },
    )
