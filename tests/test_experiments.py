"""Experiments: settings and sizes, what is remembered, what is recorded, and the command line."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from companion.experiments import Experiment, Results, Session, records, tidy
from companion.experiments import session as sessions


@dataclass(frozen=True)
class Draws(Experiment):
    """Means of draws."""

    draws: int = 100
    shift: float = 0.5
    seeds: int = 3
    sizes = {"smoke": {"draws": 10, "seeds": 2}}
    calls: ClassVar[list[int]] = []

    def run(self, session):
        self.calls.append(self.draws)
        gens = [session.generator(i) for i in range(self.seeds)]
        means = [torch.randn(self.draws, generator=g).mean() + self.shift for g in gens]
        table = tidy(means, {"seed": range(self.seeds)}, measure="mean")
        return Results(table, {"means": torch.stack(means)}, {"note": "made up"})


@dataclass(frozen=True)
class Long(Draws):
    """The same, as a record."""

    recorded = True
    sizes = {"smoke": {"draws": 4}, "long": {"draws": 50}, "gpu": [{"draws": 200}]}


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path / "results"))
    Draws.calls.clear()
    return Session("smoke", memory=tmp_path / "memory")


def test_a_profile_fills_in_what_was_not_given():
    assert Session("cpu").asked(Draws) == Draws(draws=100, seeds=3)
    assert Session("smoke").asked(Draws) == Draws(draws=10, seeds=2)
    assert Session("smoke").asked(Draws(shift=2.0)) == Draws(draws=10, shift=2.0, seeds=2)
    # the default of cpu, said aloud, is not overruled by the profile
    assert Session("smoke").asked(Draws(draws=100)) == Draws(draws=100, seeds=2)
    assert Session("smoke").asked(Draws(7)) == Draws(draws=7, seeds=2)


def test_unknown_settings_profiles_and_objects_are_refused():
    with pytest.raises(ValueError, match="profile: got 'fast'"):
        Session("fast")
    with pytest.raises(TypeError, match="seed: got '0'"):
        Session("smoke", "0")
    with pytest.raises(TypeError, match="allowed is an Experiment"):
        Session("smoke").asked(3)


def test_results_are_remembered_under_settings_profile_and_seed(session):
    first, again = session.run(Draws), session.run(Draws)
    assert Draws.calls == [10]
    pd.testing.assert_frame_equal(first.table, again.table)
    np.testing.assert_array_equal(first.arrays["means"], again.arrays["means"])
    assert again.facts == {"note": "made up"} and again.settings["draws"] == 10
    session.run(Draws(shift=1.0))
    Session("smoke", 1, memory=session._memory).run(Draws)
    Session("cpu", 0, memory=session._memory).run(Draws(draws=10, seeds=2))
    session.run(Draws, again=True)
    assert Draws.calls == [10] * 5


def test_a_damaged_memory_is_made_again(session):
    session.run(Draws)
    (file,) = session._memory.glob("*.json")
    file.write_text(file.read_text()[:200])
    session.run(Draws)
    assert Draws.calls == [10, 10]


def test_changed_code_runs_again(session, monkeypatch):
    session.run(Draws)
    monkeypatch.setattr(sessions, "code_hash", lambda module: "another")
    session.run(Draws)
    assert Draws.calls == [10, 10]


def test_what_is_written_in_a_notebook_is_not_remembered(session, monkeypatch):
    def unreadable(module):
        raise ValueError

    monkeypatch.setattr(sessions, "code_hash", unreadable)
    assert session.run(Draws).provenance["code"] is None
    session.run(Draws)
    assert Draws.calls == [10, 10]


def test_random_numbers_come_from_the_session_alone(session):
    a = session.run(Draws)
    torch.manual_seed(123)
    b = session.run(Draws, again=True)
    np.testing.assert_array_equal(a.arrays["means"], b.arrays["means"])
    c = Session("smoke", 1, memory=session._memory).run(Draws)
    assert (a.arrays["means"] != c.arrays["means"]).all()


def test_records_are_written_at_their_profiles_and_shown_at_others(session, tmp_path):
    shown = Session("cpu", memory=tmp_path / "memory").records(Long)
    assert list(shown.values()) == [None]
    with pytest.raises(ValueError, match="has no size for it, only 'smoke', 'long', 'gpu'"):
        Session("cpu").run(Long)
    written = Session("long", memory=tmp_path / "memory").records(Long)
    assert Draws.calls == [50]
    assert [r.settings["draws"] for r in written.there().values()] == [50]
    shown = Session("cpu", memory=tmp_path / "memory").records(Long)
    (record,) = shown.there().values()
    assert record.stale == () and record.settings["draws"] == 50
    # again: the record is of the same run, so nothing is run
    Session("long", memory=tmp_path / "elsewhere").records(Long)
    assert Draws.calls == [50]


def test_a_record_of_other_code_says_so(session, tmp_path, monkeypatch):
    Session("long", memory=tmp_path / "memory").records(Long)
    monkeypatch.setattr(sessions, "code_hash", lambda module: "another")
    (record,) = Session("cpu").records(Long).there().values()
    assert record.stale == ("the code has changed since",)
    assert "Warning: the code has changed since" in record.line


def test_a_record_that_is_too_large_keeps_the_one_that_was_there(tmp_path):
    small = Results(tidy([1.0], {"seed": [0]}), experiment="x")
    records.save(small, "x", tmp_path, 10_000)
    large = dataclasses.replace(small, arrays={"a": np.random.default_rng(0).normal(size=10_000)})
    with pytest.raises(records.RecordError, match=r"record x: it takes 0.1 MB"):
        records.save(large, "x", tmp_path, 10_000)
    assert records.load("x", tmp_path).arrays == {}


@pytest.mark.parametrize("variable", ["COMPANION_MEMORY", "COMPANION_RESULTS"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(
    session, tmp_path, monkeypatch, variable
):
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "inside"))
    memory = tmp_path / "memory" if variable == "COMPANION_RESULTS" else None
    with pytest.raises(OSError, match=f"{variable}: the folder .*inside cannot be written"):
        Session("long", memory=memory).records(Long)
    assert Draws.calls == []


@dataclass(frozen=True)
class Strange(Draws):
    """What JSON cannot hold among the facts."""

    def run(self, session):
        return dataclasses.replace(super().run(session), facts={"a": {1}, 2: "two"})


def rescued(message, folder):
    """The results in the folder that a message names."""
    path = Path(re.search(r"kept in (\S+\.json)", message)[1])
    assert folder in path.parents
    return records.load(path.stem, path.parent)


def test_results_that_cannot_be_remembered_are_kept_elsewhere(session, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(records.RecordError, match=r"strange: facts: got the key 2; allowed") as c:
        session.run(Strange)
    kept = rescued(str(c.value), tmp_path)
    assert kept.facts == {"a": "{1}", "2": "two"} and len(kept.arrays["means"]) == 2


def test_a_full_disk_loses_no_results(session, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write = records.write

    def full(path, content):
        if session._memory in path.parents:
            raise OSError(28, f"{path} could not be written")
        write(path, content)

    monkeypatch.setattr(records, "write", full)
    with pytest.warns(UserWarning, match=r"npz could not be written. The results are kept in") as w:
        results = session.run(Draws)
    assert Draws.calls == [10] and Path(results.kept).exists()
    kept = rescued(str(w[0].message), tmp_path)
    np.testing.assert_array_equal(kept.arrays["means"], results.arrays["means"])


def test_a_record_that_is_too_large_says_where_the_run_is_kept(session, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LIMIT", 100)
    with pytest.raises(records.RecordError, match=r"it takes .* The run is kept in .*memory") as c:
        Session("long", memory=tmp_path / "memory").records(Long)
    assert rescued(str(c.value), tmp_path).settings["draws"] == 50


def test_experiments_of_a_script_can_be_remembered(session):
    class Here(Draws):
        __module__ = "__main__"

    assert Here.name() == "main.here"


def test_tidy_names_every_dimension():
    values = torch.arange(6.0).view(2, 3)
    results = Results(tidy(values, {"condition": ["a", "b"], "seed": range(3)}, measure="error"))
    assert results.values(condition="b").tolist() == [3, 4, 5]
    assert results.value(condition="a", seed=2) == 2
    assert results.grid("condition", "seed").tolist() == values.tolist()
    with pytest.raises(ValueError, match=r"got shape \(2, 3\); allowed is \(2, 2\)"):
        tidy(values, {"condition": ["a", "b"], "seed": range(2)})


def test_a_condition_that_is_not_there_or_not_said_is_named():
    table = tidy(torch.ones(2, 2, 2), {"level": [0.1, 0.2], "condition": "ab", "seed": range(2)})
    results = Results(table)
    with pytest.raises(KeyError, match=r"no row with condition = 'c'.*there are 'a', 'b'"):
        results.values(condition="c", level=0.1)
    with pytest.raises(KeyError, match=r"say \['level'\] too"):
        results.values(condition="a")
    with pytest.raises(KeyError, match="no column 'method'"):
        results.where(method="a")
    assert len(results.values(condition="a", level=0.1 + 1e-17)) == 2


def test_results_refuse_arrays_that_are_no_numbers():
    with pytest.raises(TypeError, match=r"arrays\['a'\]"):
        Results(tidy([1.0], {"seed": [0]}), {"a": np.array(["text"])})
