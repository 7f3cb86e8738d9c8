"""The ledger as data: it follows its schema, says what the page says, and can be cited."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import jsonschema
import pytest
from conftest import CHAPTERS, ROOT

from book import ledger, ledger_data
from companion.experiments import claims
from companion.experiments.claims import Claim, Claims
from companion.experiments.published import write

BUILT = {"01-a": {"date": "2026-01-02", "profile": "smoke", "seed": 3}}
CLAIM = Claim(
    id="fast",
    quote='it is <fast>, "very", 50 % & more',
    source="abstract",
    verdict="supported",
    evidence="It was.",
    answer="Yes, 50 % faster & more.",
    interval=(1.0, 2.0),
    seeds=8,
    data="error, %",
    chapter="01-a",
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No published verdict, a known address and a known commit."""
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/owner/name")
    monkeypatch.delenv("SITE_URL", raising=False)
    monkeypatch.setattr(ledger_data, "unpublished", str)
    monkeypatch.setattr(ledger_data, "commit", lambda: "c" * 40)


def validate(text: str) -> dict:
    """The ledger, held against the schema that is beside it."""
    jsonschema.Draft202012Validator.check_schema(ledger_data.SCHEMA)
    jsonschema.Draft202012Validator(ledger_data.SCHEMA).validate(json.loads(text))
    return json.loads(text)


def test_an_entry_says_all_that_is_known():
    (row,) = ledger_data.entries([CLAIM], BUILT)
    assert (row["effect"], row["low"], row["high"], row["seeds"]) == (1.5, 1.0, 2.0, 8)
    assert (row["profile"], row["master_seeds"], row["date"]) == ("smoke", [3], "2026-01-02")
    assert row["commit"] == "c" * 40 and row["claim"] == CLAIM.quote
    assert row["address"] == "https://owner.github.io/name/book/ledger.html#claim-fast"


def test_a_published_verdict_has_the_seeds_and_the_commit_that_it_was_published_with():
    write(Claims([replace(CLAIM, chapter="tweedie")]), "cpu", (6, 7, 8))
    (entry,) = claims.published().values()
    (row,) = ledger_data.entries([CLAIM], BUILT)
    assert (row["profile"], row["master_seeds"]) == ("cpu", [6, 7, 8])
    assert row["commit"] == (entry["rule"]["commit"] or None)
    assert row["date"] == entry["date"][:10]


def test_what_was_not_run_has_no_run():
    claim = replace(CLAIM, verdict="not tested", evidence="", interval=None, seeds=None, answer="")
    recorded = replace(CLAIM, id="slow", provenance="recorded 2025-12-24 on a GPU")
    for row in ledger_data.entries([claim, recorded], BUILT):
        assert not any(row[name] for name in ("profile", "master_seeds", "date", "commit"))


def test_the_files_follow_the_schema_and_say_the_same():
    rows = ledger_data.entries([CLAIM, replace(CLAIM, id="slow", answer="", interval=None)], BUILT)
    texts = ledger_data.files(rows)
    assert tuple(texts) == ledger_data.FILES
    assert validate(texts["ledger.json"])["claims"] == rows
    assert json.loads(texts["ledger.schema.json"]) == ledger_data.SCHEMA
    lines = list(csv.DictReader(io.StringIO(texts["ledger.csv"])))
    assert len(lines) == 2
    for line, row in zip(lines, rows, strict=True):
        for name, text in line.items():
            assert text == ("" if row[name] is None else str(row[name]).strip("[]")), name


@pytest.mark.parametrize(
    "name, wrong", [("verdict", "maybe"), ("seeds", 0), ("id", "A b"), ("effect", "2"), ("x", 1)]
)
def test_the_schema_refuses_what_is_wrong(name, wrong):
    (row,) = ledger_data.entries([CLAIM], BUILT)
    text = ledger_data.files([row])["ledger.json"]
    value = {**json.loads(text), "claims": [{**row, name: wrong}]}
    with pytest.raises(jsonschema.ValidationError):
        validate(json.dumps(value))


def test_the_ledger_of_the_smoke_runs_follows_the_schema(monkeypatch):
    monkeypatch.delenv("COMPANION_RESULTS")
    folder = ROOT / "_build" / "executed" / "smoke"
    if missing := [name for name in CHAPTERS if not (folder / f"{name}.ipynb").exists()]:
        pytest.skip(f"not run yet in the profile smoke: {', '.join(missing)}")
    built = {name: {"date": "2026-01-02", "profile": "smoke", "seed": 0} for name in CHAPTERS}
    rows = ledger_data.entries([row.claim for row in ledger.table("smoke")], built)
    found = validate(ledger_data.files(rows)["ledger.json"])["claims"]
    assert len({row["id"] for row in found}) == len(found) >= 30
    keys = [re.match(r"@misc\{(.*),", ledger_data.bibtex(row))[1] for row in found]
    assert len(set(keys)) == len(found)


def test_a_verdict_can_be_cited():
    (row,) = ledger_data.entries([CLAIM], BUILT)
    entry = ledger_data.bibtex(row)
    for part in (
        "@misc{noiseonpurpose-fast,",
        r"title        = {{Yes, 50 \% faster \& more.}},",
        "year         = {2026},",
        "verdict: supported",
        "url          = {https://owner.github.io/name/book/ledger.html#claim-fast},",
    ):
        assert part in entry, part
    assert entry.count("{") == entry.count("}")
    page = ledger.page([], [ledger.Row("", CLAIM)], BUILT)
    assert "Cite this verdict" in page and "noiseonpurpose-fast" in page
    for name in (*ledger_data.FILES, *ledger_data.ENTRY):
        assert name in page, name
