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

ROOT = Path(__file__).resolve().parent.parent
SITES = ROOT / "_build" / "site"
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.md"))
REPOSITORY = "https://github.com/someone/noise"

pytestmark = pytest.mark.site


def clean_environment(**more: str) -> dict[str, str]:
    make = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "REPOSITORY_URL")
    return {**{key: value for key, value in os.environ.items() if key not in make}, **more}


# ---------------------------------------------------------------- the sites to look at
def _make_site(profile: str) -> Path:
    target = f"_build/site/{profile}/index.html"
    done = subprocess.run(
        ["make", target], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITES / profile


def _with_address(folder: Path) -> Path:
    """The smoke site once more, as it is when the repository's address is known."""
    _make_site("smoke")
    command = [sys.executable, ROOT / "book" / "build.py", "site", "smoke", folder / "site"]
    done = subprocess.run(
        command, env=clean_environment(REPOSITORY_URL=REPOSITORY), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="session", params=["smoke", "cpu", "gpu", "with address"])
def site(request, tmp_path_factory) -> Path:
    if request.param == "with address":
        return _with_address(tmp_path_factory.mktemp("with_address"))
    if request.param == "smoke":
        return _make_site("smoke")
    folder = SITES / request.param
    if not (folder / "index.html").exists():
        pytest.skip(f"no site of the profile {request.param} has been built")
    question = ["make", "-q", f"_build/site/{request.param}/index.html"]
    if subprocess.run(question, cwd=ROOT, env=clean_environment()).returncode:
        pytest.skip(f"the site of the profile {request.param} is older than its sources")
    return folder


class Page(HTMLParser):
    """Where a page's links and pictures lead, and what can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "img":
            self.images.append(given)
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(given[key])


@pytest.fixture(scope="session")
def pages(site) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }


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
    return names


def test_every_page_is_there_and_no_other(pages):
    made = {name.removesuffix(".html") for name in pages}
    assert made - {"index", "search", "genindex"} == set(contents())


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


def test_buttons_lead_to_the_repository_or_are_not_there(request, site, pages):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    here = "with address" in request.node.callspec.params.values()
    url = REPOSITORY if here else config["repository"]["url"]
    for chapter in CHAPTERS:
        links = pages[f"notebooks/{chapter}.html"].links
        assert f"../_sources/notebooks/{chapter}.ipynb" in links, "no notebook to download"
        online = [link for link in links if "colab" in link and "://" in link]
        online += [link for link in links if "github.com" in link and "/issues/new" in link]
        if url:
            owner = url.removeprefix("https://github.com/")
            place = f"{owner}/blob/main/notebooks/{chapter}.ipynb"
            assert f"https://colab.research.google.com/github/{place}" in links
            assert (ROOT / "notebooks" / f"{chapter}.ipynb").exists()
            assert url in links
        else:
            assert not online
        text = (site / "_sources" / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        assert "{{ repository }}" not in text
        assert f'repository = \\"{url}\\"' in text


def test_landing_page_has_a_card_for_every_chapter(site, pages):
    chapters = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    text = (site / "book" / "index.html").read_text(encoding="utf-8")
    for chapter in chapters:
        assert chapter["title"] in text
        link = f"../notebooks/{chapter['file']}.html"
        assert (link in pages["book/index.html"].links) == (chapter["file"] in CHAPTERS)
    assert text.count("In preparation.") == len(chapters) - len(CHAPTERS)


def test_measured_times_are_those_of_this_build(site):
    text = (site / "book" / "rerun.html").read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        source = site / "_sources" / "notebooks" / f"{chapter}.ipynb"
        facts = json.loads(source.read_text(encoding="utf-8"))["metadata"]["build"]
        assert f"{facts['seconds']:.1f}" in text
        assert str(facts["peak_memory_mib"]) in text


# ---------------------------------------------------------------- in the browser
@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
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
    if hasattr(os, "geteuid") and os.geteuid() == 0:
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
def address(site):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
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
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  });
});
"""


def test_every_page_works_in_a_browser(browser, address, pages):
    browser.get_log("browser"), browser.get_log("performance")
    for name in pages:
        if name == "index.html":  # it leads on to the first page
            continue
        browser.get(f"{address}/{name}")
        seen = browser.execute_async_script(LOOK)
        assert not seen["broken"], f"{name}: a picture does not load"
        assert seen["drawn"] >= seen["formulas"], f"{name}: a formula is not drawn"
        assert not seen["mistakes"], f"{name}: a formula has a mistake"
        assert not seen["errors"], f"{name}: an error or a warning among the outputs"
        assert seen["shades"]["light"] > 0.9 and seen["shades"]["dark"] < 0.2, name
        assert seen["wide"] <= 0, f"{name}: the page is wider than the window"
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not severe, f"{name}: {severe}"
        for entry in browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert re.match(rf"{address}|data:|blob:|chrome:|about:", url), f"{name}: {url}"


def test_the_address_alone_leads_to_the_first_page(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/")
    WebDriverWait(browser, 10).until(lambda b: b.current_url == f"{address}/book/index.html")
    WebDriverWait(browser, 10).until(lambda b: b.title.startswith("Noise on Purpose"))


def test_search_finds_the_first_chapter(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/search.html?q=denoiser")
    found = WebDriverWait(browser, 20).until(
        lambda b: b.find_elements("css selector", "#search-results li a")
    )
    assert any(f"notebooks/{CHAPTERS[0]}.html" in link.get_attribute("href") for link in found)


@pytest.mark.parametrize("width", [390, 768])
def test_pages_fit_a_narrow_screen(browser, address, pages, width):
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        for name in set(pages) - {"index.html", "genindex.html"}:
            browser.get(f"{address}/{name}")
            seen = browser.execute_async_script(LOOK)
            assert seen["wide"] <= 0, f"{name} is {seen['wide']} pixels too wide"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
