"""What other programs read of the site: link previews, site map, feed, llms.txt."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import CHAPTERS

from book import share

ATOM = "{http://www.w3.org/2005/Atom}"
SITE = "https://owner.github.io/name/"
PAGE = """<html><head><title>A</title></head><body><h1>Printed</h1><article>
<h1>One &amp; “two” <em>three</em><a class="headerlink" href="#a">#</a></h1>
<p>short</p><p>A <b>sentence</b> of more than forty signs, "quoted" &lt;here&gt;.</p>
<figure><img alt="x" src="../_images/abc.png" /></figure></article></body></html>"""
ROW = {"answer": "Yes & no.", "claim": "it <is>", "source": "a paper"}


@pytest.fixture(autouse=True)
def address(monkeypatch):
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/owner/name")
    monkeypatch.delenv("SITE_URL", raising=False)


def properties(page: str) -> dict[str, str]:
    return dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)" />', page))


def test_a_page_has_a_title_a_description_and_a_picture():
    found = properties(share.add(PAGE, "book/guide.html"))
    assert found["title"] == "One &amp; “two” three"
    assert found["description"].startswith("A sentence") and "&quot;quoted&quot; &lt;" in str(found)
    assert found["url"] == f"{SITE}book/guide.html"
    assert found["image"] == f"{SITE}_images/abc.png"
    bare = properties(share.add("<head><title>A</title></head>", "index.html"))
    assert bare["url"] == SITE and bare["image"].endswith("noise.png")
    assert bare["description"] == share.ABOUT
    assert share.add("no page", "a.html") == "no page"


def test_a_chapter_is_described_by_its_summary():
    found = properties(share.add(PAGE, f"notebooks/{CHAPTERS[0]}.html"))
    assert "sentence" not in found["description"] and found["type"] == "article"


def test_without_an_address_nothing_points_to_one(monkeypatch):
    monkeypatch.setattr(share, "site_url", str)
    page = share.add(PAGE, "book/ledger.html")
    assert set(properties(page)) == {"type", "site_name", "title", "description"}
    assert share.FEED not in page


def test_the_site_map_lists_the_pages():
    names = ["index.html", "book/a&b.html", "_static/x.html", "search.html", "notebooks/00.html"]
    tree = ElementTree.fromstring(share.sitemap(SITE, names))
    assert [
        place.text for place in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    ] == [
        f"{SITE}book/a&b.html",
        f"{SITE}notebooks/00.html",
    ]


def test_a_verdict_that_changes_is_a_new_entry_of_the_feed(monkeypatch):
    """One that is published again, unchanged, keeps its id."""
    ids = []
    for verdict, date in (("supported", "01"), ("supported", "02"), ("not supported", "03")):
        when = f"2026-01-{date}T00:00:00+00:00"
        known = {"a": {"date": when, "claims": [{"id": "fast"}]}}
        monkeypatch.setattr(share.claims, "published", lambda known=known: known)
        rows = [
            {**ROW, "id": name, "verdict": verdict, "address": SITE} for name in ("fast", "slow")
        ]
        feed = ElementTree.fromstring(share.feed(SITE, rows))
        (entry,) = feed.findall(f"{ATOM}entry")  # the other is not published
        assert entry.findtext(f"{ATOM}updated") == feed.findtext(f"{ATOM}updated") == when
        assert "Yes & no." in entry.findtext(f"{ATOM}summary")
        ids.append(entry.findtext(f"{ATOM}id"))
    assert ids[0] == ids[1] != ids[2]


def test_llms_txt_lists_what_there_is(tmp_path):
    source = tmp_path / "_sources" / "notebooks" / f"{CHAPTERS[0]}.md"
    source.parent.mkdir(parents=True)
    source.touch()
    text = share.llms(tmp_path)
    assert text.startswith(f"# {share.TITLE}\n\n> ")
    assert f"({SITE}_sources/notebooks/{CHAPTERS[0]}.md)" in text and CHAPTERS[-1] not in text
    assert f"{SITE}ledger.json" in text
