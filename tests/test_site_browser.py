"""The built site in a real browser without a network: formulas, colours, widths, search, ledger."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from conftest import CHAPTERS, ROOT, SITES, is_fresh, make_site, read_pages

from book.project import chapter_of

pytestmark = pytest.mark.site


@pytest.fixture(scope="session")
def looked_at() -> Path:
    """The site to open in a browser: the cpu profile's if it is there, for its figures."""
    return SITES / "cpu" if is_fresh("cpu") else make_site("smoke")


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
    driver.get("about:blank")  # its own first page asks for things
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
    errors: [...document.querySelectorAll('.output.traceback, .output.stderr, .problematic')]
      .map(node => node.textContent.slice(0, 300)),
  });
});
"""
# Tables that do not fit their column, of a page that is 1280 pixels wide.
TABLES = """
return [...document.querySelectorAll('.bd-article .nop-table')]
  .filter(table => table.offsetParent && table.scrollWidth > table.parentElement.clientWidth + 1)
  .map(table => `${table.innerText.slice(0, 60)}: ${table.scrollWidth} pixels`);
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


def visit(browser, url: str) -> None:
    """Open a page and wait until all of it is there: the driver may come back before."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(url)
    whole = """
      return document.readyState === 'complete' && Boolean(document.body)
        && location.href.split(/[?#]/)[0] === arguments[0];
    """
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(whole, re.split("[?#]", url)[0]))


def resize(browser, width: int) -> None:
    """Make the screen so many pixels wide; below 400 it is a phone's."""
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 400}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def test_every_page_works_in_a_browser(browser, address, looked_at):
    """One visit to each page: contents, both colour modes, three widths, accessibility.

    Pages of the reference are made alike: accessibility is checked on a few, as a phone shows them.
    """
    checker = AXE.read_text(encoding="utf-8") if AXE.exists() else None
    alike = [name for name in read_pages(looked_at) if name.startswith("book/api/")]
    unchecked = set(alike) - set(alike[::10])
    browser.get_log("browser"), browser.get_log("performance")
    for name in read_pages(looked_at):
        if name == "index.html" or name.startswith("_modules/"):  # leads on; plain source
            continue
        resize(browser, 390 if name in alike else 1280)  # before it is loaded, which sets things
        visit(browser, f"{address}/{name}")
        seen = browser.execute_async_script(LOOK)
        assert not seen["broken"], f"{name}: a picture does not load"
        assert seen["drawn"] >= seen["formulas"], f"{name}: a formula is not drawn"
        assert not seen["mistakes"], f"{name}: a formula has a mistake"
        assert not seen["errors"], f"{name}: among the outputs: {seen['errors']}"
        assert seen["shades"]["light"] > 0.9 and seen["shades"]["dark"] < 0.2, name
        if checker and name not in unchecked:
            browser.execute_script(checker)
            found = browser.execute_async_script(CHECK, "light", None)
            found += browser.execute_async_script(CHECK, "dark", ["color-contrast"])
            assert not found, f"{name}: {found}"
        for width in (1280, 768, 390):
            resize(browser, width)
            wide = browser.execute_script(WIDE)
            assert wide <= 0, f"{name} is {wide} pixels too wide for {width}"
            if width == 1280 and looked_at.name != "smoke":  # two seeds give intervals without end
                assert not (tables := browser.execute_script(TABLES)), f"{name}: {tables}"
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not severe, f"{name}: {severe}"
        for entry in browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert re.match(rf"{address}|data:|blob:|chrome(-untrusted)?:|about:", url), (
                    f"{name}: {url}"
                )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_figure_opens_at_its_full_size(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, f"{address}/notebooks/{CHAPTERS[0]}.html")
    link = browser.find_element("css selector", "a.nop-enlarge")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    large = "dialog.nop-large[open] img"
    WebDriverWait(browser, 10).until(lambda b: b.find_elements("css selector", large))
    shown = browser.find_element("css selector", large)
    assert shown.size["width"] > link.size["width"] and shown.get_attribute("alt")
    browser.find_element("css selector", "dialog.nop-large button").click()
    WebDriverWait(browser, 10).until(lambda b: not b.find_elements("css selector", large))


def test_the_keyboard_reaches_the_text_first(browser, address):
    """The first stop of the Tab key is the link that skips to the text."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, f"{address}/notebooks/{CHAPTERS[0]}.html")
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert "main-content" in (focused.get_attribute("href") or "")
    WebDriverWait(browser, 10).until(lambda b: focused.rect["y"] >= 0)  # it slides into view


def test_the_address_alone_leads_to_the_first_page(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/")
    WebDriverWait(browser, 10).until(lambda b: b.current_url == f"{address}/book/index.html")
    WebDriverWait(browser, 10).until(lambda b: b.title.startswith("Noise on Purpose"))


def search(browser, address: str, query: str) -> list:
    """All results of a search, with what they show of their pages."""
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, f"{address}/search.html?q={query}")
    ended = "return document.querySelector('.search-summary')?.innerText.includes('found')"
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(ended))
    # A result is either described, or shows a part of its page, which is fetched.
    whole = """return [...document.querySelectorAll('#search-results ul.search > li')]
      .every(line => line.querySelector('p.context, span'))"""
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(whole))
    return browser.find_elements("css selector", "#search-results ul.search > li")


def leads_to(line) -> str:
    href = line.find_element("css selector", "a").get_attribute("href")
    return href.split("127.0.0.1")[1].partition("/")[2].partition("?")[0].partition("#")[0]


def test_search_finds_chapters_and_the_reference(browser, address):
    pages = [leads_to(line) for line in search(browser, address, "picard")]
    assert "book/api/companion.samplers.html" in pages


@pytest.mark.parametrize(
    "term, number",
    [
        ("denoiser", 0),
        ("Frechet", 0),
        ("input perturbation", 1),
        ("consistency", 2),
        ("Tweedie", 2),
        ("contrastive", 3),
        ("picard", 3),
        ("gradient estimation", 4),
        ("projection", 4),
    ],
)
def test_the_chapter_on_a_term_comes_first(browser, address, term, number):
    first, *_ = search(browser, address, term)
    assert leads_to(first) == f"notebooks/{main_page(number)}.html"


def main_page(number: int) -> str:
    """Name of a chapter."""
    return next(n for n in CHAPTERS if n.startswith(f"{number:02d}-") and n == chapter_of(n))


def test_search_does_not_ask_for_accents_and_shows_no_tex(browser, address):
    plain, accented = (
        [leads_to(line) for line in search(browser, address, query)]
        for query in ("frechet", "Fréchet")
    )
    assert set(plain) >= set(accented) and accented
    lines = search(browser, address, "denoiser")
    shown = [line.text for line in lines if leads_to(line).startswith("notebooks/")]
    assert shown and not [text for text in shown if "\\" in text or "$" in text], shown


def test_the_ledger_filters_and_shows_what_a_link_asks_for(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    def shown() -> int:
        # Both at one moment: between two questions the page may have changed both.
        rows, told = browser.execute_script(
            "return [document.querySelectorAll('#ledger tbody tr:not([hidden])').length,"
            " document.getElementsByName('shown')[0].textContent.trim()]"
        )
        assert told.startswith(f"{rows} of ")
        return rows

    def verdicts() -> set[str]:
        rows = browser.find_elements("css selector", "#ledger tbody tr:not([hidden])")
        return {row.get_attribute("data-verdict") for row in rows}

    visit(browser, f"{address}/book/ledger.html")
    everything = shown()
    assert everything >= 30
    for box in browser.find_elements("css selector", "[name=verdict]:not([value='not tested'])"):
        box.click()
    assert 0 < shown() < everything and verdicts() == {"not tested"}
    browser.find_element("name", "words").send_keys("no such words")
    assert shown() == 0
    assert "no line has all of this" in browser.find_element("name", "shown").text
    browser.find_element("name", "all").click()
    # A form that is reset empties its output before the page counts anew.
    wait = WebDriverWait(browser, 10, ignored_exceptions=[AssertionError])
    wait.until(lambda b: shown() == everything)
    browser.find_element("name", "words").send_keys("no such words")
    assert shown() == 0
    first = browser.find_element("css selector", ".nop-sign[href]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", first)
    first.click()
    name = first.get_attribute("href").partition("#")[2]
    WebDriverWait(browser, 10).until(lambda b: b.find_element("id", name).is_displayed())
    assert shown() == everything
