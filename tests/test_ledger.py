"""The ledger: no claim of a chapter is missing from it, and none is without evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import ROOT, SOURCES

from book import ledger
from companion.experiments import Session, claims
from companion.experiments.claims import Claim, Claims
from companion.experiments.published import write

CHAPTERS = [path.stem for path in SOURCES]
BUILT = {"date": "2026-01-02", "profile": "smoke", "seed": 0}


@pytest.fixture(scope="module")
def made() -> list[Claim]:
    """The claims of the executed chapters, as `make test` has run them."""
    folder = ROOT / "_build" / "executed" / "smoke"
    paths = [folder / f"{chapter}.ipynb" for chapter in CHAPTERS]
    if missing := [path.stem for path in paths if not path.exists()]:
        pytest.skip(f"not run yet in the profile smoke: {', '.join(missing)}")
    return claims.read(paths)


def test_every_claim_of_a_chapter_answers_a_listed_sentence(made):
    sources = claims.sources()["sources"]
    named = {name for source in sources for e in source["claims"] for name in e.get("judged", [])}
    assert {claim.id for claim in made} == named


def test_every_sentence_is_judged_or_says_why_not():
    for source in claims.sources()["sources"]:
        for entry in source["claims"]:
            if source.get("chapter", CHAPTERS[0]) in CHAPTERS:
                assert bool(entry.get("judged")) != bool(entry.get("untested")), entry["quote"]


def test_every_claim_has_evidence(made):
    for claim in made:
        assert claim.evidence.strip(), f"{claim.id}: no evidence, and no reason why there is none"
        if claim.verdict != "not tested":
            shown = claim.figure or claim.measured or claim.proof
            assert shown, f"{claim.id}: neither a figure, nor a number, nor the test of a proof"


def test_every_figure_of_a_claim_is_in_its_chapter(made):
    for claim in made:
        if claim.figure:
            text = (ROOT / "notebooks" / f"{claim.chapter}.md").read_text(encoding="utf-8")
            assert f"name: {claim.figure}\n" in text, f"{claim.id}: no figure {claim.figure}"


def test_the_page_has_a_line_for_every_claim_and_no_second(made):
    sources = claims.sources()["sources"]
    found = ledger.rows(sources, made)
    text = ledger.page(sources, found, dict.fromkeys(CHAPTERS, BUILT))
    for claim in made:
        assert text.count(f'<tr id="claim-{claim.id}"') == 1
    assert text.count("<tr id=") == len({row.claim.id for row in found}) == len(found) >= 30


SOURCES = [
    {
        "id": "paper",
        "name": "A & B 2024",
        "what": "Abstract.",
        "chapter": "01-a",
        "claims": [
            {"quote": "it is <fast>", "judged": ["fast"]},
            {"quote": "it is nice", "untested": "Not a thing that can be measured."},
        ],
    }
]
FAST = Claim(
    id="fast",
    quote="it is <fast>",
    source="abstract",
    verdict="supported",
    evidence="It was.",
    answer="Yes, at <any> size.",
    interval=(1.0, 2.0),
    seeds=8,
    figure="fig-fast",
    chapter="01-a",
)


def test_a_line_says_all_that_the_claim_says():
    text = ledger.page(SOURCES, ledger.rows(SOURCES, [FAST]), {"01-a": BUILT})
    line = next(line for line in text.splitlines() if 'id="claim-fast"' in line)
    for part in (
        "it is &lt;fast&gt;",
        "<strong>Yes, at &lt;any&gt; size.</strong>",
        "supported",
        "1.50 [1.00, 2.00]",
        "8 seeds",
        "live, 2026-01-02, profile smoke",
        'href="../notebooks/01-a.html#fig-fast"',
        'href="../notebooks/01-a.html#claim-fast"',
    ):
        assert part in line
    other = next(line for line in text.splitlines() if "it is nice" in line and "<tr" in line)
    assert "not tested" in other and "Not a thing that can be measured." in other
    assert "<strong>2 claims</strong>: 1 supported, 1 not tested" in text


def test_a_hostile_claim_reaches_the_page_as_text():
    """Nothing in a claim is markup, or ends the block of HTML that the ledger stands in."""
    bad = "<script>alert(1)</script>\n```\n{raw} <b>'\""
    hostile = replace(FAST, quote=bad, source=bad, evidence=bad, data=bad, answer=bad)
    built = {"date": bad, "profile": bad, "seed": 0}
    table = [ledger.Row("a", hostile)]
    text = ledger.page([{**SOURCES[0], "name": bad}], table, {"01-a": built})
    inside = text.removeprefix("```{raw} html\n").removesuffix("\n```\n")
    assert "`" not in inside and "alert(1)" in inside
    assert "<script>" not in inside and "<b>" not in inside


def test_a_recorded_claim_says_when_it_was_recorded():
    recorded = replace(FAST, provenance="recorded 2025-12-24 on a GPU")
    text = ledger.page(SOURCES, ledger.rows(SOURCES, [recorded]), {"01-a": BUILT})
    assert "recorded 2025-12-24 on a GPU" in text and "live, " not in text


def test_a_claim_that_no_sentence_names_is_shown_and_not_lost():
    other = replace(FAST, id="slow")
    assert [row.claim.id for row in ledger.rows(SOURCES, [FAST, other])][-1] == "slow"


def test_a_name_that_no_chapter_claims_is_an_error():
    with pytest.raises(ValueError, match="claims that no chapter makes: fast"):
        ledger.rows(SOURCES, [])


def test_a_published_verdict_goes_first_and_says_what_made_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    assert ledger.with_published([FAST]) == [FAST]
    write(Claims([replace(FAST, verdict="inconclusive", chapter="tweedie")]), "cpu", (3, 4, 5))
    (shown,) = ledger.with_published([FAST])
    assert shown.verdict == "inconclusive" and shown.chapter == FAST.chapter
    assert "master seeds 3, 4, 5" in shown.provenance
    assert "this run alone says supported" in shown.provenance
    entry = tmp_path / "published" / "tweedie.json"
    entry.write_text(entry.read_text().replace('"hash": "', '"hash": "x'))
    assert "which has changed since" in ledger.with_published([FAST])[0].provenance


def test_only_the_books_own_run_shows_published_verdicts(tmp_path, monkeypatch):
    """Another seed or profile says what it found itself; a page and the ledger say the same."""
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    write(Claims([replace(FAST, verdict="inconclusive", chapter="tweedie")]), "cpu", (3, 4, 5))
    live = Claims([FAST])
    (shown,) = Session("cpu", 0).published(live)
    assert shown.verdict == "inconclusive" and "this run alone says supported" in shown.provenance
    assert ledger.with_published([shown]) == [shown]
    for other in (Session("cpu", 1), Session("smoke", 0), Session("gpu", 0)):
        assert other.published(live) is live


def test_the_ledger_says_where_a_published_verdict_depends_on_seed_or_interval(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    kept = Claims([replace(FAST, chapter="tweedie")])
    other = Claims([replace(FAST, verdict="inconclusive", chapter="tweedie")])
    write(kept, "cpu", (3, 4), {"seed 3 alone": kept, "by bootstrap": kept})
    assert "the same with each seed alone" in ledger.with_published([FAST])[0].provenance
    write(kept, "cpu", (3, 4), {"seed 3 alone": other, "by bootstrap": kept})
    (shown,) = ledger.with_published([FAST])
    assert shown.provenance.endswith("; seed 3 alone: inconclusive")
