"""Records and today's code: which count as made by it, and how that is found out."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import ROOT

from book import confirm
from companion.experiments import Session, records
from companion.experiments.experiment import registry
from companion.experiments.results import Results, tidy
from companion.experiments.source import code_hash

NAME, FILE = "extra_noise.image_copies", "extra_noise.image_copies-mnist-long"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one record, of other code than today's."""
    cls = registry()[NAME]
    (planned,) = cls.planned("long")
    results = Results(
        tidy([1.0], {"seed": [0]}), {}, experiment=NAME, profile="long",
        settings=records.plain("settings", planned.settings()),
        provenance={"code": "0" * 16, "commit": "a" * 40, "changed": False},
    )  # fmt: skip
    records.save(results, FILE, tmp_path)
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    return tmp_path


def shown():
    (record,) = Session("cpu").records(registry()[NAME]).there().values()
    return record.stale


@pytest.mark.parametrize("values, says", [("old", "same values"), ("new", "OTHER VALUES")])
def test_only_equal_values_confirm_a_record(folder, monkeypatch, capsys, values, says):
    today = code_hash(registry()[NAME].__module__)
    before, now = confirm.Answer("0" * 16, "old"), confirm.Answer(today, values)
    monkeypatch.setattr(confirm, "ask", lambda name, commit=None: before if commit else now)
    assert shown() == ("the code has changed since",)
    text = (folder / f"{FILE}.json").read_text()
    assert confirm.confirm([FILE]) == (0 if values == "old" else 1)
    assert says in capsys.readouterr().out
    if values == "old":
        assert shown() == ()
        assert confirm.confirm([]) == 0 and "of this code" in capsys.readouterr().out
        kept = json.loads((folder / f"{FILE}.json").read_text())
        assert kept["provenance"].pop("same_code") == today and kept == json.loads(text)
    else:
        assert (folder / f"{FILE}.json").read_text() == text


def test_values_that_depend_on_time_are_told_apart(folder, monkeypatch, capsys):
    answers = iter([confirm.Answer("0" * 16, v) for v in "abc"])
    monkeypatch.setattr(confirm, "ask", lambda name, commit=None: next(answers))
    assert confirm.confirm([FILE]) == 1
    assert "differ from run to run" in capsys.readouterr().out


def test_a_commit_of_other_code_confirms_nothing(folder, monkeypatch, capsys):
    same = confirm.Answer("1" * 16, "old")
    monkeypatch.setattr(confirm, "ask", lambda name, commit=None: same)
    assert confirm.confirm([FILE]) == 1
    assert "the commit that it names has other code" in capsys.readouterr().out
    assert confirm.confirm(["nothing"]) == 2


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs git and a git checkout"
)
def test_the_code_of_a_commit_is_run_apart():
    answer = confirm.ask("one_denoiser.image_training", "HEAD")
    assert len(answer.code) == 16 and len(answer.values) == 64
    with pytest.raises(RuntimeError, match="commit 0000000000 is not in this clone"):
        confirm.ask(NAME, "0" * 40)
