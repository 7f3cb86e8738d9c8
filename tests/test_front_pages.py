"""What a reader meets first: the landing page, the guide and the README say what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from book import guide, landing, picture, readme
from companion.experiments.claims import Claim, Claims, published
from companion.experiments.in_short import InShort
from companion.statistics import Interval

CHAPTER = "04-gradient-estimation"
CLAIM = Claim(
    "fast", "not supported", "It was slow.", answer="No: *slow*.", quote="it is fast", source="A"
)
BOX = InShort(
    method="the method",
    what="A way.",
    works="No: it is <slow> here.",
    use="Nothing else is there.",
    avoid="Anything else is there.",
    number="Its error is 1.3 [1.2, 1.4] times the rival's.",
    caveat="Small networks only.",
    claims=Claims([CLAIM]),
)


# ---------------------------------------------------------------- the landing page
def test_doors_lead_only_to_pages_that_are_there():
    two = landing.doors(["00-a", "02-b"], ["book/index", "book/guide"])
    assert "/notebooks/00-a>" in two and "/book/guide>" in two
    assert "playground" not in two and "notebooks/09" not in two
    more = landing.doors(["00-a", "09-images", "09-images-details"], ["book/playground"])
    assert "/book/playground>" in more and "details" not in more
    assert "`Denoise a folder of yours </notebooks/09-images>`" in more


def test_a_card_shows_what_the_chapter_found():
    text = landing.cards({CHAPTER: BOX})
    assert text.count("{.finding}") == 1 and r"it is \<slow\> here" in text
    assert "{.finding}" not in landing.cards({})


def test_the_chapters_stand_in_groups(monkeypatch):
    text = landing.cards({})
    headings = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert headings == list(landing.GROUPS)
    papers = text.split("### ")[2]
    assert papers.count("grid-item-card") == 4 and "1 · Extra noise" in papers
    monkeypatch.setitem(landing.GROUPS, "Together", ())
    with pytest.raises(ValueError, match=r"GROUPS: got .* allowed is each number"):
        landing.cards({})


def test_the_tally_counts_every_verdict():
    other = Claim("slow", "supported", "It is.", quote="it is slow", source="A")
    text = landing.tally([CLAIM, other, other])
    assert "3 claims" in text and "2 supported" in text and "1 not supported" in text
    assert "depends" not in text


def test_the_moving_picture_is_light_and_has_one_that_rests():
    assert (picture.FOLDER / "noise.webp").stat().st_size < picture.LIMIT
    assert (picture.FOLDER / "noise.png").stat().st_size < picture.LIMIT
    for page in ("README.md", "book/index.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert "prefers-reduced-motion" in text and "noise.png" in text, page


# ---------------------------------------------------------------- the guide
def race(ratio: Interval | None) -> guide.Race:
    return guide.Race("ours", "theirs", "on digits", CHAPTER, ratio)


@pytest.mark.parametrize(
    "ratio, better",
    [
        (Interval(0.8, 0.7, 0.9, 8), "ours"),
        (Interval(2.0, 1.5, 2.5, 8), "theirs"),
        (Interval(1.0, 0.97, 1.03, 8), "the same"),
        (Interval(1.0, 0.8, 1.2, 8), "undecided"),
        (Interval(float("nan"), float("nan"), float("nan"), 0), "not known"),
        (None, "not known"),
    ],
)
def test_who_wins_is_decided_as_verdicts_are(ratio, better):
    assert guide.winner(race(ratio)) == better


def test_an_entry_says_what_the_chapter_says_and_shows_the_ledgers_verdicts():
    published = Claim("fast", "supported", "It is.", quote="it is fast", source="A")
    text = guide.page({CHAPTER: BOX, "00-one-denoiser": BOX}, {"fast": published}, [])
    assert text.count("## The method") == 2
    for line in (BOX.use, BOX.avoid, BOX.caveat, "1.3 [1.2, 1.4]"):
        assert line.replace("'", "&#x27;") in text
    assert f'href="../notebooks/{CHAPTER}.html"' in text and "ledger.html#claim-fast" in text
    assert "supported: it is fast" in text and "not supported" not in text


def test_nothing_that_a_chapter_says_ends_the_block():
    hostile = replace(BOX, method="`a`\n# b", use="x\n```\n<script>", works="x\n:::\n<b>")
    text = guide.page({CHAPTER: hostile}, {}, [])
    assert text.count("```") == 2 and "<script>" not in text and "\n# b" not in text
    assert "\n:::\n\\<b\\>" not in landing.cards({CHAPTER: hostile})


def test_a_loss_reads_as_the_rivals_win():
    text = "\n".join(guide.rivals([race(Interval(2.0, 1.5, 2.5, 8))], {}))
    assert "<strong>theirs</strong>" in text and "2.00 [1.50, 2.50]" in text


# ---------------------------------------------------------------- the README
def test_the_readme_says_what_is_published():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == readme.filled(text, published()), "run 'python -m book readme'"
    assert 3 <= len(readme.findings(published())) <= 5
    assert text.index("make book") < text.index("## ") and "badge" not in text


def test_a_finding_is_the_answer_of_a_published_verdict():
    claim = {"id": "tweedie-outperform", "verdict": "not supported", "answer": "No."}
    (line,) = readme.findings({"tweedie": {"claims": [claim, {**claim, "id": "other"}]}})
    assert "○ No." in line and "(notebooks/02-tweedie-consistency.md)" in line
    with pytest.raises(ValueError, match="allowed is one line"):
        readme.filled("no place", {})


def test_links_of_the_readme_lead_somewhere():
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r'\]\(([^)#]+)\)|(?:src|srcset)="([^"]+)"', text):
        target = next(filter(None, link))
        assert "://" in target or Path(ROOT / target).exists(), target
