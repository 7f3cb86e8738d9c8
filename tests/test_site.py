"""The built site in a real browser without a network: pages, links, pictures, formulas, search."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from conftest import ROOT, SOURCES, clean_environment

from book import api

SITES = ROOT / "_build" / "site"
CHAPTERS = [path.stem for path in SOURCES]
REPOSITORY = "https://github.com/someone/noise"

pytestmark = pytest.mark.site


# ---------------------------------------------------------------- the sites to look at
def _make_site(profile: str) -> Path:
    target = f"_build/site/{profile}/index.html"
    done = subprocess.run(
        ["make", target], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITES / profile


def _is_fresh(profile: str) -> bool:
    question = ["make", "-q", f"_build/site/{profile}/index.html"]
    there = (SITES / profile / "index.html").exists()
    return there and not subprocess.run(question, cwd=ROOT, env=clean_environment()).returncode


@pytest.fixture(scope="session", params=["smoke", "cpu", "gpu"])
def site(request) -> Path:
    if request.param == "smoke":
        return _make_site("smoke")
    if not _is_fresh(request.param):
        pytest.skip(f"no site of the profile {request.param} is there, or it is not up to date")
    return SITES / request.param


@pytest.fixture(scope="session")
def looked_at() -> Path:
    """The site to open in a browser: the cpu profile's if it is there, for its figures."""
    return SITES / "cpu" if _is_fresh("cpu") else _make_site("smoke")


@pytest.fixture(scope="session")
def with_address(tmp_path_factory) -> Path:
    """The first page and one chapter, as they are when the repository's address is known."""
    _make_site("smoke")
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


class Page(HTMLParser):
    """Where a page's links and pictures lead, and what can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.names: set[str] = set()
        self.captions = 0
        self.bare: list[str | None] = []  # pictures in no figure
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "figure"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "img":
            self.images.append(given)
            if not self.inside:
                self.bare.append(given.get("src"))
        self.inside = self.inside or tag == "figure"
        self.captions += tag == "figcaption"
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(given[key])


@functools.cache
def read_pages(site: Path) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }


@pytest.fixture(scope="session")
def pages(site) -> dict[str, Page]:
    return read_pages(site)


# ---------------------------------------------------------------- without a browser
def contents() -> list[str]:
    """The pages that _toc.yml names."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]
    for part in toc["parts"]:
        for entry in part["chapters"]:
            if "glob" in entry:
                assert entry["glob"] == "notebooks/*"
                names += [f"notebooks/{chapter}" for chapter in CHAPTERS]
            else:
                names.append(entry["file"])
            for section in entry.get("sections", []):
                assert section["glob"] == "book/api/*"
                names += [f"book/api/{module}" for module in api.modules()]
    return names


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
        assert "#cite-this" in page.links and "cite-this" in page.names
        files = site / "_sources" / "notebooks" / chapter
        source = ROOT / "notebooks" / f"{chapter}.md"
        assert files.with_suffix(".md").read_bytes() == source.read_bytes()
        compile(files.with_suffix(".py").read_text(encoding="utf-8"), chapter, "exec")
        notebook = json.loads(files.with_suffix(".ipynb").read_text(encoding="utf-8"))
        assert any(cell.get("outputs") for cell in notebook["cells"]), "not the executed one"
        text = (site / "notebooks" / f"{chapter}.html").read_text(encoding="utf-8")
        assert f"noiseonpurpose{int(chapter[:2])}" in text
        assert "Show the code that made this figure" in text


def test_without_an_address_no_button_is_dead(site, pages):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    url = config["repository"]["url"]
    for chapter in CHAPTERS:
        links = pages[f"notebooks/{chapter}.html"].links
        if not url:
            assert not [link for link in links if "colab" in link and "://" in link]
            assert not [link for link in links if "github.com" in link and "/issues/new" in link]
        text = (site / "_sources" / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        assert "{{ repository }}" not in text
        assert f'repository = \\"{url}\\"' in text


def test_with_an_address_every_button_leads_to_the_repository(with_address):
    chapter = CHAPTERS[0]
    links = read_pages(with_address)[f"notebooks/{chapter}.html"].links
    owner = REPOSITORY.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner}/blob/main/notebooks/{chapter}.ipynb"
    assert links.count(colab) == 2  # the theme's button and the line under the title
    assert REPOSITORY in links
    assert [link for link in links if link.startswith(f"{REPOSITORY}/issues/new")]
    files = [link for link in links if link.startswith((f"{REPOSITORY}/blob", f"{REPOSITORY}/raw"))]
    assert f"{REPOSITORY}/blob/main/notebooks/{chapter}.md" in files
    for link in [*files, colab]:
        assert (ROOT / link.split("/main/", 1)[1]).exists(), link
    source = with_address / "_sources" / "notebooks" / f"{chapter}.ipynb"
    assert f'repository = \\"{REPOSITORY}\\"' in source.read_text(encoding="utf-8")


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
        for name in api.exported(path):
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
        assert page.captions >= len(drawn) > 0, chapter


def test_landing_page_has_a_card_for_every_chapter(site, pages):
    chapters = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    text = (site / "book" / "index.html").read_text(encoding="utf-8")
    for chapter in chapters:
        assert chapter["title"] in text
        link = f"../notebooks/{chapter['file']}.html"
        assert (link in pages["book/index.html"].links) == (chapter["file"] in CHAPTERS)
    assert text.count("In preparation.") == len(chapters) - len(CHAPTERS)


def test_measured_times_are_those_of_this_build(site):
    text = (site / "book" / "times.html").read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        source = site / "_sources" / "notebooks" / f"{chapter}.ipynb"
        facts = json.loads(source.read_text(encoding="utf-8"))["metadata"]["build"]
        assert f"{facts['seconds']:.1f}" in text
        assert str(facts["peak_memory_mib"]) in text


# ---------------------------------------------------------------- in the browser
@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    names = ["chromium", "chromium-browser", "google-chrome"]
    chromium = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        say = "these tests look at the site in Chromium: install chromium and chromium-driver"
        pytest.fail(say) if os.environ.get("CI") else pytest.skip(say)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1280,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ]:
        options.add_argument(flag)
    if os.environ.get("CI") or (hasattr(os, "geteuid") and os.geteuid() == 0):
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver))
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def address(looked_at):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(looked_at))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


LOOK = """
const done = arguments[arguments.length - 1];
const ready = window.MathJax?.startup?.promise ?? Promise.resolve();
const images = [...document.images].map(image => {
  image.loading = 'eager';
  return image.decode().then(() => null, () => image.src);
});
ready.then(() => Promise.all(images)).then(broken => {
  const shade = () => getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g)
    .slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
  const shades = {};
  for (const theme of ['light', 'dark']) {
    document.documentElement.dataset.theme = theme;
    shades[theme] = shade();
  }
  done({
    broken: broken.filter(Boolean),
    shades: shades,
    formulas: document.querySelectorAll('.math').length,
    drawn: document.querySelectorAll('.math mjx-container').length,
    mistakes: [...document.querySelectorAll('mjx-merror')].map(node => node.textContent),
    errors: document.querySelectorAll('.output.traceback, .output.stderr, .problematic').length,
  });
});
"""
WIDE = """
return document.documentElement.scrollWidth - document.documentElement.clientWidth;
"""
# An accessibility checker, axe-core, if `make axe` has fetched it.
AXE = ROOT / "_build" / "axe" / "axe.min.js"
CHECK = """
const [theme, rules, done] = arguments;
document.documentElement.dataset.theme = theme;
const still = document.createElement('style');
still.textContent = '* { transition: none !important; animation: none !important; }';
document.head.append(still);
axe.run(document, {resultTypes: ['violations'], ...(rules ? {runOnly: rules} : {})})
  .then(result => done(result.violations.map(
    rule => `${rule.id}: ${rule.nodes.map(node => node.html).join(' ')}`.slice(0, 300))));
"""


def test_every_page_works_in_a_browser(browser, address, looked_at):
    """One visit to each page: contents, both colour modes, three widths, accessibility."""
    checker = AXE.read_text(encoding="utf-8") if AXE.exists() else None
    browser.get_log("browser"), browser.get_log("performance")
    for name in read_pages(looked_at):
        if name == "index.html" or name.startswith("_modules/"):  # leads on; plain source
            continue
        browser.get(f"{address}/{name}")
        seen = browser.execute_async_script(LOOK)
        assert not seen["broken"], f"{name}: a picture does not load"
        assert seen["drawn"] >= seen["formulas"], f"{name}: a formula is not drawn"
        assert not seen["mistakes"], f"{name}: a formula has a mistake"
        assert not seen["errors"], f"{name}: an error or a warning among the outputs"
        assert seen["shades"]["light"] > 0.9 and seen["shades"]["dark"] < 0.2, name
        for width in (1280, 768, 390):
            screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 400}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            wide = browser.execute_script(WIDE)
            assert wide <= 0, f"{name} is {wide} pixels too wide for {width}"
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        if checker:
            browser.execute_script(checker)
            found = browser.execute_async_script(CHECK, "light", None)
            found += browser.execute_async_script(CHECK, "dark", ["color-contrast"])
            assert not found, f"{name}: {found}"
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not severe, f"{name}: {severe}"
        for entry in browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert re.match(rf"{address}|data:|blob:|chrome:|about:", url), f"{name}: {url}"


def test_the_keyboard_reaches_the_text_first(browser, address):
    """The first stop of the Tab key is the link that skips to the text."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/notebooks/{CHAPTERS[0]}.html")
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert "main-content" in (focused.get_attribute("href") or "")
    WebDriverWait(browser, 10).until(lambda b: focused.rect["y"] >= 0)  # it slides into view


def test_the_address_alone_leads_to_the_first_page(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/")
    WebDriverWait(browser, 10).until(lambda b: b.current_url == f"{address}/book/index.html")
    WebDriverWait(browser, 10).until(lambda b: b.title.startswith("Noise on Purpose"))


@pytest.mark.parametrize(
    "query, page",
    [("denoiser", f"notebooks/{CHAPTERS[0]}.html"), ("picard", "book/api/companion.samplers.html")],
)
def test_search_finds_chapters_and_the_reference(browser, address, query, page):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/search.html?q={query}")
    there = f'#search-results li a[href*="{page}"]'  # results come one after the other
    WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", there))


def test_the_ledger_filters_and_shows_what_a_link_asks_for(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    def shown() -> int:
        rows = browser.find_elements("css selector", "#ledger tbody tr:not([hidden])")
        assert browser.find_element("name", "shown").text.startswith(f"{len(rows)} of ")
        return len(rows)

    def verdicts() -> set[str]:
        rows = browser.find_elements("css selector", "#ledger tbody tr:not([hidden])")
        return {row.get_attribute("data-verdict") for row in rows}

    browser.get(f"{address}/book/ledger.html")
    everything = shown()
    assert everything >= 30
    for box in browser.find_elements("css selector", "[name=verdict]:not([value='not tested'])"):
        box.click()
    assert 0 < shown() < everything and verdicts() == {"not tested"}
    browser.find_element("name", "words").send_keys("no such words")
    assert shown() == 0
    first = browser.find_element("css selector", ".nop-sign[href]")
    first.click()
    name = first.get_attribute("href").partition("#")[2]
    WebDriverWait(browser, 10).until(lambda b: b.find_element("id", name).is_displayed())
    assert shown() == everything
