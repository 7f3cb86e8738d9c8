"""What other programs read of the site: link previews, site map, feed of verdicts, llms.txt.

Addresses that must be whole are written where the site's own is known; see ``address.site_url``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from book import ledger_data
from book.address import site_url
from book.project import chapter_of, chapters
from companion.experiments import claims

TITLE = "Noise on Purpose"
ABOUT = (
    "Noise makes diffusion models work. Papers that change what noise does, run side by side in "
    "one notation, and their claims put to the test."
)
PICTURE = "_static/noise.png"
FEED = "verdicts.xml"
HIDDEN = ("genindex.html", "search.html", "py-modindex.html")
"""Pages that no other program needs to list."""
LONGEST = 200
"""Signs of a description."""
PICTURES = re.compile(r'<img [^>]*src="(?:\.\./)*(_images/[^"]+\.(?:png|jpg))"')


def add(page: str, name: str) -> str:
    """Return a page with what a link to it shows elsewhere: title, description, picture.

    Parameters
    ----------
    page : its HTML
    name : its path in the site, such as "notebooks/00-one-denoiser.html"
    """
    if "</title>" not in page:
        return page
    site = site_url()
    article = page.partition("<article")[2]
    heading = re.search(r"<h1>(.*?)<a class=\"headerlink\"", article, re.S)
    title = plain(heading[1]) if heading else TITLE
    found = PICTURES.search(article)
    facts = {
        "og:type": "article" if name.startswith("notebooks/") else "website",
        "og:site_name": TITLE,
        "og:title": title,
        "og:description": description(name, article),
    }
    if site:
        where = site if name == "index.html" else site + name
        facts |= {"og:url": where, "og:image": site + (found[1] if found else PICTURE)}
    tags = [f'<meta property="{key}" content="{quoted(text)}" />' for key, text in facts.items()]
    tags.append(f'<meta name="description" content="{quoted(facts["og:description"])}" />')
    card = "summary_large_image" if site else "summary"
    tags.append(f'<meta name="twitter:card" content="{card}" />')
    if site and name == ledger_data.PAGE:
        kind = "application/atom+xml"
        tags.append(f'<link rel="alternate" type="{kind}" title="Verdicts" href="../{FEED}" />')
    at = page.index("</title>") + len("</title>")
    return page[:at] + "\n" + "\n".join(tags) + page[at:]


def description(name: str, article: str) -> str:
    """What a page is about: a chapter's summary, else its first sentence."""
    stem = Path(name).stem
    for chapter in chapters():
        if name.startswith("notebooks/") and chapter["file"] == chapter_of(stem):
            details = "Details and ablations. " if stem != chapter["file"] else ""
            return details + " ".join(chapter["summary"].split())
    paragraphs = (plain(text) for text in re.findall(r"<p>(.*?)</p>", article, re.S))
    text = next((text for text in paragraphs if len(text) > 40), ABOUT)
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


def plain(text: str) -> str:
    """The text in a piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())


def quoted(text: str) -> str:
    """A text as the value of an attribute."""
    return html.escape(text, quote=True)


# --- files beside the first page


def write(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write them to a finished site.

    Parameters
    ----------
    out : folder of the site
    rows : the entries of the ledger
    """
    texts = {**ledger_data.files(rows), "llms.txt": llms(out)}
    if site := site_url():
        names = [page.relative_to(out).as_posix() for page in sorted(out.rglob("*.html"))]
        texts["sitemap.xml"] = sitemap(site, names)
        texts[FEED] = feed(site, rows)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")


def sitemap(site: str, names: Iterable[str]) -> str:
    """The pages of the site for search engines."""
    shown = [n for n in names if not n.startswith("_") and n not in (*HIDDEN, "index.html")]
    lines = [f"<url><loc>{escape(site + name)}</loc></url>" for name in shown]
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{space}">'
    return "\n".join([head, *lines, "</urlset>", ""])


def feed(site: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The published verdicts as an Atom feed, the newest first.

    A verdict that changes is an entry of its own: its id has the claim's name and the verdict. One
    that is only published again is not.
    """
    dates = {
        fields["id"]: entry["date"]
        for entry in claims.published().values()
        for fields in entry["claims"]
    }
    shown = sorted((row for row in rows if row["id"] in dates), key=lambda row: row["id"])
    shown.sort(key=lambda row: dates[row["id"]], reverse=True)
    name = escape(ledger_data.citation()["authors"][0]["name"])
    newest = max(dates.values(), default="1970-01-01T00:00:00+00:00")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{TITLE}: verdicts</title><id>{escape(site + FEED)}</id>",
        f'<link rel="self" href="{quoted(site + FEED)}" /><updated>{newest}</updated>',
        f"<author><name>{name}</name></author>",
    ]
    for row in shown:
        verdict = row["verdict"]
        said = f"{row['answer'] or ''} “{row['claim']}” ({row['source']})".strip()
        lines += [
            f"<entry><title>{escape(verdict)}: {row['id']}</title>",
            f"<id>{escape(site)}claim/{row['id']}/{verdict.replace(' ', '-')}</id>",
            f'<link href="{quoted(row["address"])}" />',
            f"<updated>{dates[row['id']]}</updated>",
            f"<summary>{escape(said)}</summary></entry>",
        ]
    return "\n".join([*lines, "</feed>", ""])


def llms(out: Path) -> str:
    """What the site holds, for language models: the texts, the ledger, the reference."""
    site = site_url()
    lines = [f"# {TITLE}", "", f"> {ABOUT}", "", "## Chapters", ""]
    for chapter in chapters():
        for ending, what in (("", ""), ("-details", "Details: ")):
            source = f"_sources/notebooks/{chapter['file']}{ending}.md"
            if (out / source).exists():
                title = f"{chapter['number']}. {what}{chapter['title']}"
                lines.append(f"- [{title}]({site}{source}): {' '.join(chapter['summary'].split())}")
    lines += [
        "",
        "## Results and reference",
        "",
        f"- [Ledger of claims]({site}ledger.json): every claim with its verdict, as JSON",
        f"- [What to do]({site}book/guide.html): when to use which method, when not",
        f"- [Notation]({site}book/notation.html): symbols, and the conventions of other papers",
        f"- [Reference]({site}book/api.html): the module `companion`, all public names",
        f"- [How to rerun]({site}book/rerun.html): every command",
    ]
    return "\n".join([*lines, ""])
