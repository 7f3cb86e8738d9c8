"""The race on images with searched settings for every method, put together from its records."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.shown import Records
from companion.experiments.tweedie.image_plain import ImagePlain
from companion.experiments.tweedie.images import ImageRace

__all__ = ["races", "with_searched"]


def with_searched(race: Results, plain: Results | None) -> Results:
    """Return a race with the searched networks of clean and naive training in their places.

    The race as it is, if there are none, or if other settings of the two experiments differ.

    Parameters
    ----------
    race : of ``ImageRace``
    plain : of ``ImagePlain``, or None
    """
    same = [name for name in race.settings if name not in ("methods", "noises")]
    if (
        plain is None
        or "chosen" not in race.facts
        or any(race.settings[n] != plain.settings.get(n) for n in same)
    ):
        return race
    table = race.table
    if len(plain.table):
        new = set(zip(plain.table["method"], plain.table["noise"]))
        old = [(m, s) not in new for m, s in zip(table["method"], table["noise"])]
        table = pd.concat([table[old], plain.table], ignore_index=True)
    chosen = {**race.facts["chosen"], **plain.facts["chosen"]}
    return replace(
        race, table=table, arrays={**race.arrays, **plain.arrays},
        facts={**race.facts, "chosen": chosen},
    )  # fmt: skip


def races(session: Session) -> Records:
    """The records of ``ImageRace``, in which all methods have searched settings where there are."""
    plain = session.records(ImagePlain)
    return Records(
        {
            title: race and with_searched(race, plain.get(title))
            for title, race in session.records(ImageRace).items()
        }
    )
