"""The built site as files: pages, links, pictures, the reference, and how pages are repaired."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from conftest import (
    CHAPTERS,
    ROOT,
    SITES,
    Page,
    clean_environment,
    is_fresh,
    make,
    make_site,
    read_pages,
)

from book import api, policy
from book import pages as book_pages
from book import site as book_site
from book.address import repository_url, site_url
from book.project import chapter_of

REPOSITORY = "https://github.com/someone/noise"

pytestmark = pytest.mark.site


@pytest.fixture(scope="session", params=["smoke", "cpu", "gpu"])
def site(request) -> Path:
    if request.param == "smoke":
        return make_site("smoke")
    if not is_fresh(request.param):
        pytest.skip(f"no site of the profile {request.param} is there, or it is not up to date")
    return SITES / request.param


@pytest.fixture(scope="session")
def with_address(tmp_path_factory) -> Path:
    """The first page and one chapter, as they are when the repository's address is known."""
    make_site("smoke")
    folder = tmp_path_factory.mktemp("with_address") / "site"
    command = [sys.executable, "-m", "book", "site", "smoke", folder]
    done = subprocess.run(
        [*command, "--only", f"notebooks/{CHAPTERS[0]}"],
        cwd=ROOT,
        env=clean_environment(REPOSITORY_URL=REPOSITORY),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site) -> dict[str, Page]:
    return read_pages(site)


def contents() -> list[str]:
    """The pages that _toc.yml names."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]
    for part in toc["parts"]:
        for entry in part["chapters"]:
            names.append(entry["file"])
            for section in entry.get("sections", []):
                if "glob" in section:
                    assert section["glob"] == "book/api/*"
                    names += [f"book/api/{module}" for module in api.modules()]
                else:
                    names.append(section["file"])
    return names


def test_details_stand_under_their_chapter():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    under = {
        section["file"]: entry["file"]
        for part in toc["parts"]
        for entry in part["chapters"]
        for section in entry.get("sections", [])
        if "file" in section
    }
    for chapter in CHAPTERS:
        if chapter != chapter_of(chapter):
            assert under[f"notebooks/{chapter}"] == f"notebooks/{chapter_of(chapter)}"


def test_every_page_is_there_and_no_other(pages):
    made = {name.removesuffix(".html") for name in pages}
    listings = {"index", "search", "genindex", "py-modindex"}
    made = {name for name in made if not name.startswith("_modules/")}  # the module's source
    assert made - listings == set(contents())


def test_every_link_inside_the_site_leads_somewhere(site, pages):
    dead = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = ((site / name).parent / unquote(parts.path)).resolve()
            if not parts.path:
                target = site / name
            if not target.exists():
                dead.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                other = pages[target.relative_to(site.resolve()).as_posix()]
                if unquote(parts.fragment) not in other.names:
                    dead.append(f"{name}: {link}")
    assert not dead


def test_every_picture_has_a_description(pages):
    for name, page in pages.items():
        for image in page.images:
            assert (image.get("alt") or "").strip(), f"{name}: {image['src']}"


def external(pages: dict[str, Page]) -> dict[str, str]:
    """The links that leave the site, each with a page that has it."""
    return {
        link: name
        for name, page in pages.items()
        for link in page.links
        if urlsplit(link).scheme not in ("", "data", "mailto")
    }


def test_links_that_leave_the_site_are_safe_and_whole(pages):
    for link, name in external(pages).items():
        parts = urlsplit(link)
        assert parts.scheme == "https" or link.startswith("http://127.0.0.1"), f"{name}: {link}"
        assert "." in parts.netloc and " " not in link, f"{name}: {link}"


def test_a_chapter_can_be_taken_away_and_cited(site, pages):
    for chapter in CHAPTERS:
        page = pages[f"notebooks/{chapter}.html"]
        for kind in ("ipynb", "md", "py"):
            assert f"../_sources/notebooks/{chapter}.{kind}" in page.links
        own = chapter_of(chapter) == chapter  # the details are cited with their chapter
        assert ("#cite-this" if own else f"{chapter_of(chapter)}.html#cite-this") in page.links
        assert ("cite-this" in page.names) == own
        files = site / "_sources" / "notebooks" / chapter
        source = ROOT / "notebooks" / f"{chapter}.md"
        assert files.with_suffix(".md").read_bytes() == source.read_bytes()
        compile(files.with_suffix(".py").read_text(encoding="utf-8"), chapter, "exec")
        notebook = json.loads(files.with_suffix(".ipynb").read_text(encoding="utf-8"))
        assert any(cell.get("outputs") for cell in notebook["cells"]), "not the executed one"
        text = (site / "notebooks" / f"{chapter}.html").read_text(encoding="utf-8")
        assert (f"noiseonpurpose{int(chapter[:2])}" in text) == own
        assert "Show the code that made this figure" in text or not own


def test_without_an_address_no_button_is_dead(site, pages):
    url = repository_url()
    for chapter in CHAPTERS:
        links = pages[f"notebooks/{chapter}.html"].links
        if not url:
            assert not [link for link in links if "colab" in link and "://" in link]
            assert not [link for link in links if "github.com" in link and "/issues/new" in link]
        text = (site / "_sources" / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        assert re.search(rf'repository = \\"({re.escape(url)}(@[0-9a-f]{{40}})?)?\\"', text)


def test_with_an_address_every_button_leads_to_the_repository(with_address):
    chapter = CHAPTERS[0]
    links = read_pages(with_address)[f"notebooks/{chapter}.html"].links
    owner = REPOSITORY.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner}/blob/colab/notebooks/{chapter}.ipynb"
    assert links.count(colab) == 2  # the theme's button and the line under the title
    assert REPOSITORY in links
    assert [link for link in links if link.startswith(f"{REPOSITORY}/issues/new")]
    files = [link for link in links if link.startswith((f"{REPOSITORY}/blob", f"{REPOSITORY}/raw"))]
    assert f"{REPOSITORY}/blob/HEAD/notebooks/{chapter}.md" in files
    for link in [*files, colab]:
        assert (ROOT / re.split("/(?:HEAD|colab)/", link, maxsplit=1)[1]).exists(), link
    source = with_address / "_sources" / "notebooks" / f"{chapter}.ipynb"
    pinned = rf'repository = \\"{REPOSITORY}(@[0-9a-f]{{40}})?\\"'
    assert re.search(pinned, source.read_text(encoding="utf-8"))
    site = "https://someone.github.io/noise/"
    head = (with_address / "notebooks" / f"{chapter}.html").read_text(encoding="utf-8")
    picture = re.search(rf'property="og:image" content="{site}([^"]+)"', head)
    assert (with_address / picture[1]).is_file() and f'content="{site}notebooks/{chapter}' in head
    feed = (with_address / "verdicts.xml").read_text(encoding="utf-8")
    assert f'href="{site}book/ledger.html#claim-' in feed
    first = (with_address / "index.html").read_text(encoding="utf-8")
    assert f'property="og:image" content="{site}_static/noise.png"' in first


def test_what_other_programs_read_leads_to_what_there_is(site, pages):
    own = site_url()
    ledger = json.loads((site / "ledger.json").read_text(encoding="utf-8"))
    links = [row["address"] for row in ledger["claims"]]
    links += re.findall(r"\]\((.*?)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    if own:
        text = (site / "sitemap.xml").read_text(encoding="utf-8")
        links += re.findall(r"<loc>(.*?)</loc>", text)
    assert len(links) > 40
    for link in links:
        name, _, anchor = link.removeprefix(own).partition("#")
        assert (site / name).is_file(), link
        assert not anchor or anchor in pages[name].names, link
    assert {row["verdict"] for row in ledger["claims"]} > {"supported", "not supported"}


def test_every_page_has_a_description_and_a_card(site, pages):
    seen = {}
    for name in pages:
        text = (site / name).read_text(encoding="utf-8")
        head = text.partition("<body")[0]
        assert head.count('property="og:title"') == head.count('property="og:description"') == 1, (
            name
        )
        seen[name] = re.search(r'property="og:title" content="([^"]+)"', head)[1]
    assert seen["book/ledger.html"] == "The ledger of claims"
    chapters = [seen[f"notebooks/{chapter}.html"] for chapter in CHAPTERS]
    assert len(set(chapters)) == len(chapters)


def test_pages_and_pictures_are_light(site, pages):
    for name in pages:
        size = (site / name).stat().st_size
        assert size < 2_000_000, f"{name} has {size / 1e6:.1f} MB"
    for folder in ("_images", "_static"):
        for path in (site / folder).rglob("*.png"):
            assert path.stat().st_size < 400_000, f"{path} has more than 400 KB"


def test_every_public_name_has_an_entry_with_its_source_and_the_chapters_that_use_it(pages):
    uses = api.uses([ROOT / "notebooks" / f"{chapter}.md" for chapter in CHAPTERS])
    assert "00-one-denoiser" in uses["companion.noise.corrupt"]
    for module, path in api.modules().items():
        page = pages[f"book/api/{module}.html"]
        entries = {name for name in page.names if name.startswith(f"{module}.")}
        own = set(api.exported(path)) - set(api.reexported(path))
        for name in (name for name in own if f"{module}.{name}" not in api.modules()):
            assert f"{module}.{name}" in entries, f"{module}.{name} has no docstring"
            for chapter in uses.get(f"{module}.{name}", []):
                assert f"../../notebooks/{chapter}.html" in page.links, f"{name} in {chapter}"
        source = [link for link in page.links if "_modules/companion" in link and "#" in link]
        assert source, f"no entry of {module} leads to its source"


def test_every_figure_of_a_chapter_has_a_caption(pages):
    for chapter in CHAPTERS:
        page = pages[f"notebooks/{chapter}.html"]
        bare = [src for src in page.bare if src and "_images/" in src]
        assert not bare, f"{chapter}: pictures without a caption: {bare}"
        drawn = [image for image in page.images if "_images/" in (image["src"] or "")]
        assert page.captions >= len(drawn), chapter
        assert drawn or chapter_of(chapter) != chapter, f"{chapter}: no picture"


def test_every_table_of_a_chapter_has_a_number_and_a_caption(site):
    for chapter in CHAPTERS:
        text = (site / "notebooks" / f"{chapter}.html").read_text(encoding="utf-8")
        tables = len(re.findall(r'<table [^>]*class="[^"]*\bnop-table\b', text))
        numbered = len(re.findall(r"<caption>Table \d+\.D?\d+\. \w", text))
        assert numbered == tables, f"{chapter}: {numbered} of {tables}"


def test_landing_page_has_a_card_for_every_chapter(site, pages):
    chapters = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    text = (site / "book" / "index.html").read_text(encoding="utf-8")
    for chapter in chapters:
        assert chapter["title"] in text
        link = f"../notebooks/{chapter['file']}.html"
        assert (link in pages["book/index.html"].links) == (chapter["file"] in CHAPTERS)
    written = {chapter_of(page) for page in CHAPTERS}
    assert text.count("In preparation.") == len(chapters) - len(written)


def test_measured_times_are_those_of_this_build(site):
    text = (site / "book" / "times.html").read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        source = site / "_sources" / "notebooks" / f"{chapter}.ipynb"
        facts = json.loads(source.read_text(encoding="utf-8"))["metadata"]["build"]
        assert f"{facts['seconds']:.1f}" in text
        assert str(facts["peak_memory_mib"]) in text


def test_a_second_build_has_nothing_to_do():
    assert make("_build/site/smoke/index.html").returncode == 0
    assert make("-q", "_build/site/smoke/index.html").returncode == 0


# ---------------------------------------------------------------- what may run
def test_only_the_sites_own_scripts_may_run():
    """The theme's and the player's, by their hashes; none that came in with a text."""
    player = policy.player().replace("$ID", "player-0123456789")
    page = (
        '<html><head>\n<meta charset="utf-8"><script>theme = 1</script></head><body><article>'
        f'<script>{player}</script><script type="application/json">{{}}</script>'
        "<script>hostile = 1</script></article><script>theme = 2</script></body></html>"
    )
    done = policy.add(page)
    assert policy.add(done) == done and done.index("<meta http-equiv") < done.index("<script")
    (allowed,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', done)
    for script, runs in (("theme = 1", 1), ("theme = 2", 1), (player, 1), ("hostile = 1", 0)):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert (f"'sha256-{digest}'" in allowed) == runs, script
    scripts = next(part for part in allowed.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in scripts and "http" not in scripts
    assert policy.add('<meta http-equiv="Refresh">') == '<meta http-equiv="Refresh">'


# ---------------------------------------------------------------- repairs of the theme's pages
def test_pages_are_repaired_and_a_repair_that_no_page_needs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(book_pages, "sources", lambda: [])
    theme = tmp_path / "page.html"
    *needed, left = book_pages.REPAIRS
    theme.write_text("".join(needed), encoding="utf-8")
    assert book_pages.finish(tmp_path, {}) == [left]
    assert theme.read_text(encoding="utf-8") == "".join(book_pages.REPAIRS[old] for old in needed)


def test_a_finished_site_takes_the_place_of_the_old_one_whole(tmp_path, monkeypatch):
    html, folder = tmp_path / "sphinx" / "smoke" / "_build" / "html", tmp_path / "site"

    def build(*arguments, **options):
        html.mkdir(parents=True, exist_ok=True)
        (html / "index.html").write_text("", encoding="utf-8")
        page = f"<html><head></head>{''.join(book_pages.REPAIRS)}</html>"
        (html / "page.html").write_text(page, encoding="utf-8")
        return subprocess.CompletedProcess(arguments, 0, "")

    folder.mkdir()
    (folder / "old.html").touch()
    monkeypatch.setattr(book_site, "BUILD", tmp_path)
    monkeypatch.setattr(book_site, "lay_out", lambda *arguments: {})
    monkeypatch.setattr(book_site, "jupyter_book", build)
    monkeypatch.setattr(book_pages, "sources", lambda: [])
    monkeypatch.setattr(book_pages.search, "improve", lambda *arguments: None)
    assert book_site.site("smoke", folder) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"index.html", "page.html"} <= names and "old.html" not in names
    assert "Content-Security-Policy" in (folder / "page.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "sphinx"]


def test_a_repair_that_no_page_needs_stops_the_build(tmp_path, monkeypatch, capsys):
    html = tmp_path / "sphinx" / "smoke" / "_build" / "html"

    def build(*arguments, **options):
        html.mkdir(parents=True)
        (html / "index.html").write_text("a page without the theme's marks", encoding="utf-8")
        return subprocess.CompletedProcess(arguments, 0, "")

    monkeypatch.setattr(book_site, "BUILD", tmp_path)
    monkeypatch.setattr(book_site, "lay_out", lambda *arguments: {})
    monkeypatch.setattr(book_site, "jupyter_book", build)
    monkeypatch.setattr(book_pages, "sources", lambda: [])
    assert book_site.site("smoke", tmp_path / "site") == 1
    assert next(iter(book_pages.REPAIRS)) in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
