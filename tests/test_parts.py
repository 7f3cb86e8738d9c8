"""Experiments in parts: what is done is kept at once, survives a kill, and is shared by two."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from companion.experiments import Experiment, Results, Session, records, tidy
from companion.experiments import session as sessions

ROOT = Path(__file__).resolve().parent.parent
DONE = "PARTS_DONE"  # a file that each part writes its number to, also in another process


@dataclass(frozen=True)
class One(Experiment):
    """A part: the square of a number, as slow as a network."""

    number: int = 0
    shift: float = 0.0
    part = True

    def run(self, session):
        path = Path(os.environ[DONE])
        told = path.read_text().split() if path.exists() else []
        if len(told) == int(os.environ.get("PARTS_KILL", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        path.write_text(" ".join([*told, str(self.number)]))
        return Results(tidy([self.number**2 + self.shift], {"seed": [self.number]}))


@dataclass(frozen=True)
class Squares(Experiment):
    """A record in parts."""

    numbers: int = 4
    shift: float = 0.5
    recorded = True
    sizes = {"smoke": {"numbers": 2}, "long": {}}

    def parts(self, session):
        return [self.with_its(One, number=n) for n in range(self.numbers)]

    def run(self, session):
        return Results([session.run(part).table for part in self.parts(session)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv(DONE, str(tmp_path / "done"))
    return tmp_path


def long(place, **options):
    return Session("long", memory=place / "memory", **options)


def done(place):
    return (place / "done").read_text().split()


def test_each_part_is_kept_and_the_whole_is_made_of_them(place):
    (record,) = long(place).records(Squares).there().values()
    assert list(record.values()) == [0.5, 1.5, 4.5, 9.5]
    assert done(place) == ["0", "1", "2", "3"]
    parts = list((place / "results" / records.PARTS).glob("*.json"))
    assert len(parts) == 4 and all(p.stat().st_size < 5000 for p in parts)
    one = records.load(parts[0].stem, parts[0].parent)
    assert one.settings["shift"] == 0.5, "a part has the settings of the whole"
    took = [records.load(p.stem, p.parent).provenance["seconds"] for p in parts]
    assert record.provenance["seconds"] > sum(took)


def test_what_a_killed_run_had_done_is_not_done_again(place):
    script = "from test_parts import *; long(Path(os.environ['PLACE'])).records(Squares)"
    there = {"PLACE": str(place), "PARTS_KILL": "2", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    killed = subprocess.run([sys.executable, "-c", script], env={**os.environ, **there})
    assert killed.returncode == -signal.SIGKILL and done(place) == ["0", "1"]
    assert not list((place / "results").glob("*.json")), "no half record"
    (place / "memory").rename(place / "lost")  # another machine: only results/ is committed
    del there["PARTS_KILL"]
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **there}, check=True)
    assert done(place) == ["0", "1", "2", "3"]
    name = next((place / "results").glob("*.json")).stem
    assert list(records.load(name, place / "results").values()) == [0.5, 1.5, 4.5, 9.5]


def test_more_parts_later_leave_those_that_are_there(place):
    session = long(place)
    session.run(Squares(numbers=2))
    session.run(Squares(numbers=3))
    assert done(place) == ["0", "1", "2"]
    session.run(Squares(numbers=2, shift=1.0))
    assert done(place) == ["0", "1", "2", "0", "1"], "other settings are other parts"


def test_other_code_or_seed_takes_no_part(place, monkeypatch):
    long(place).run(Squares(numbers=1))
    Session("long", 1, memory=place / "memory").run(Squares(numbers=1))
    assert done(place) == ["0", "0"]
    monkeypatch.setattr(sessions, "code_hash", lambda module: "another")
    long(place).run(Squares(numbers=1))
    assert done(place) == ["0", "0", "0"]
    long(place).run(Squares(numbers=1), again=True)
    assert done(place) == ["0", "0", "0", "0"]


def test_a_part_that_another_process_has_at_hand_comes_last(place):
    session = long(place)
    part = One(number=0, shift=0.5)
    name = f"{part.name()}-{session._key(part, sessions._code(part))}"
    folder = place / "results" / records.PARTS
    folder.mkdir(parents=True)
    lock = FileLock(folder / f"{name}.lock")
    lock.acquire()
    assert session._run(part, False, timeout=0) is None
    run = session._run

    def freed(experiment, again, timeout=-1):
        if timeout == -1 and isinstance(experiment, One):
            lock.release()  # the other process was killed
        return run(experiment, again, timeout)

    session._run = freed
    assert list(session.run(Squares(numbers=3)).values()) == [0.5, 1.5, 4.5]
    assert done(place) == ["1", "2", "0"]


def test_parts_of_other_profiles_are_in_the_memory(place):
    session = Session("smoke", memory=place / "memory")
    assert len(session.run(Squares).table) == 2
    assert not (place / "results").exists()
    assert len(list((place / "memory").glob("*.json"))) == 3


def test_a_part_runs_with_its_whole_only():
    assert One.planned("long") == One.planned("smoke") == []
    with pytest.raises(ValueError, match="has no size for it"):
        Session("smoke").run(One)


def test_the_latest_record_is_taken_even_if_its_code_has_changed(place, monkeypatch):
    session = long(place)
    assert len(session.latest(Squares).table) == 4, "run, as there was none"
    monkeypatch.setattr(sessions, "code_hash", lambda module: "another")
    assert len(long(place).latest(Squares).table) == 4
    assert done(place) == ["0", "1", "2", "3"]
    assert len(Session("smoke", memory=place / "memory").latest(Squares).table) == 2
