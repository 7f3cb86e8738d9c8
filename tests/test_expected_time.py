"""Before a long run a reader is told how long it takes, as far as that was measured."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from companion import progress
from companion.experiments import Experiment, Session, provenance, tidy
from companion.experiments.results import Results


@dataclass(frozen=True)
class Slow(Experiment):
    """An experiment that is recorded."""

    recorded = True
    size: int = 1
    sizes = {"gpu": {"size": 2}}

    def run(self, session):
        return Results(tidy([0.0], {"seed": [0]}))


CARD = "Tesla T4"


@pytest.fixture(autouse=True)
def card(monkeypatch):
    monkeypatch.setattr(provenance, "_device", lambda: CARD)


def test_a_time_is_told_only_where_it_was_measured():
    same = provenance.expected({"seconds": 4000.0, "device": CARD})
    assert "67 minutes on this device (Tesla T4)" in same and "not known" not in same
    other = provenance.expected({"seconds": 40.0, "device": "another card"})
    assert "40 s on another card" in other and "on Tesla T4 is not known" in other
    for nothing in ({}, {"seconds": None}):
        assert "on Tesla T4 is not known" in provenance.expected(nothing)


def test_it_is_said_before_the_run_to_whoever_watches(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path / "results"))
    said = []
    for watched in (True, False):
        monkeypatch.setattr(progress, "watched", lambda watched=watched: watched)
        session = Session("gpu", memory=tmp_path / f"memory-{watched}")
        for again in (False, True):
            session.records(Slow, again=again)
            said.append(capsys.readouterr().out)
    assert "is not known" in said[0] and "0 s on this device" in said[1]
    assert said[2:] == ["", ""]
