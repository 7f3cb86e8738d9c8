"""What the site's pages have beyond their Markdown; a Sphinx extension.

A chapter's page gets links to its notebook, its source and its citation. An entry of the reference
gets links to the chapters that use it and to the equations that it names. The theme's pages get the
roles and names that readers without a mouse or a screen need.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from sphinx.ext import viewcode

from book import api, notebooks, playground, policy, search, share
from book.address import repository_url
from book.project import ROOT, chapter_of, chapters, sources

# The theme's own marks that an accessibility checker objects to, and what stands there instead.
REPAIRS = {
    '<div id="pst-primary-sidebar"': '<div id="pst-primary-sidebar" role="region" '
    'aria-label="Search and contents"',
    # With its text beside it; on a phone there is a button without text, which keeps its name.
    'search-button-field search-button__button pst-js-only" title="Search" aria-label="Search"': (
        'search-button-field search-button__button pst-js-only"'
    ),
    '<summary aria-label="Toggle hidden content">': "<summary>",
    '<summary><span class="toctree-toggle"': '<summary aria-label="Pages below">'
    '<span class="toctree-toggle"',
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    'data-mode="light" title="Light"': 'data-mode="light"',
    'data-mode="dark"  title="Dark"': 'data-mode="dark"',
    'data-mode="auto"  title="System Settings"': 'data-mode="auto"',
}
FACTS = "facts.json"
"""Beside the site's sources: the build's facts of each chapter. As a setting it would make every
page outdated."""
FIGURE = re.compile(r'(<figure [^>]*>\s*(?:<div[^>]*>\s*)*)(<img [^>]*?src="([^"]+)"[^>]*>)')
CAPTION = re.compile(
    r'(<table [^>]*class="[^"]*\bnop-table\b[^>]*>(?:(?!</table>).)*?<caption>)', re.S
)
LINE = r'<dd>(<em class="sig-param">.*?)</dd>'
SPAN = r'<span class="sig-line">\1</span>'


# --- chapters
def citation(chapter: dict[str, Any], number: int, url: str) -> str:
    """A BibTeX entry for a chapter, made from CITATION.cff."""
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    names = " and ".join("{" + author["name"] + "}" for author in facts["authors"])
    year = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["copyright"]
    fields = {
        "author": names,
        "title": f"{{{chapter['title']}}}",
        "booktitle": facts["title"],
        "chapter": str(number),
        "year": str(year),
        "note": f"Version {facts['version']}",
        **({"url": url} if url else {}),
    }
    lines = [f"  {name:9} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@incollection{{noiseonpurpose{number},", *lines, "}"])


def links(stem: str, top: str, url: str, facts: dict[str, Any]) -> str:
    """The line under a chapter's title."""
    files = f"{top}_sources/notebooks/{stem}"
    source = f"{url}/blob/HEAD/notebooks/{stem}.md" if url else f"{files}.md"
    scene = playground.scene(int(stem[:2]))
    entries = {"See it move": f"{top}book/playground.html?show={scene}"} if scene else {}
    entries |= {
        "Download the notebook": f"{files}.ipynb",
        "Open the source": source,
        "As a script": f"{files}.py",
    }
    if "github.com" in url:
        place = url.split("github.com", 1)[1]
        colab = "https://colab.research.google.com/github"
        entries["Run in Colab"] = f"{colab}{place}/blob/{notebooks.BRANCH}/notebooks/{stem}.ipynb"
    chapter = chapter_of(stem)  # the details are cited with it
    entries["Cite this"] = "#cite-this" if stem == chapter else f"{chapter}.html#cite-this"
    anchors = [f'<a href="{html.escape(to)}">{name}</a>' for name, to in entries.items()]
    made = f"Ran in {facts['seconds']:.0f} s on {facts['hardware'].split(',')[0]}"
    anchors.append(f'<a href="{top}book/times.html">{html.escape(made)}</a>')
    return '<p class="chapter-links">' + " ".join(anchors) + "</p>"


def cite_section(chapter: dict[str, Any], number: int, top: str, url: str) -> str:
    """The section at a chapter's end."""
    entry = highlight(citation(chapter, number, url), get_lexer_by_name("bibtex"), HtmlFormatter())
    return (
        '<section id="cite-this"><h2>Cite this</h2>'
        "<p>And please cite the papers whose methods you use; "
        f'<a href="{top}book/bibliography.html">the bibliography</a> has them.</p>'
        f'<div class="highlight-bibtex notranslate">{entry}</div></section>'
    )


def dress(app, pagename, templatename, context, doctree) -> None:
    """Put a chapter's links under its title and its citation at its end."""
    folder, _, stem = pagename.rpartition("/")
    if folder != "notebooks" or "body" not in context:
        return
    (chapter,) = [one for one in chapters() if one["file"] == chapter_of(stem)]
    url, top = repository_url(), "../"
    facts = json.loads((Path(app.srcdir).parent / FACTS).read_text(encoding="utf-8"))
    line = links(stem, top, url, facts[stem])
    body = context["body"].replace("</h1>", f"</h1>\n{line}", 1)
    own = f"{chapter['number']}." if stem == chapter["file"] else f"{chapter['number']}.D"
    body = number_tables(enlargeable(body), own)
    if stem != chapter["file"]:  # the details are cited with their chapter
        context["body"] = body
        return
    section = cite_section(chapter, chapter["number"], top, url)
    at = body.rindex("</section>")  # inside of the chapter's own section
    context["body"] = body[:at] + section + body[at:]


def enlargeable(body: str) -> str:
    """Make each figure a link to its picture, which a script opens at full size."""
    link = r'\1<a class="nop-enlarge" href="\3" title="Enlarge the figure">\2</a>'
    return FIGURE.sub(link, body)


def number_tables(body: str, beginning: str) -> str:
    """Number the captions of a page's tables in their order: 'Table 4.1', 'Table 4.D1'."""
    numbers = itertools.count(1)
    return CAPTION.sub(lambda match: f"{match[1]}Table {beginning}{next(numbers)}. ", body)


def scripts(app, pagename, templatename, context, doctree) -> None:
    """The scripts of the pages that need one."""
    if pagename == "search":
        app.add_js_file("search.js")
    if pagename.startswith("notebooks/"):
        app.add_js_file("figures.js")


# --- the reference
def escape(lines: list[str]) -> list[str]:
    """A docstring's plain text as reStructuredText: only double backquotes and examples mean it."""
    kept = []
    for part in re.split(r"(``.+?``|^ *>>>.*(?:\n *\S.*)*)", "\n".join(lines), flags=re.S | re.M):
        if not part.startswith("``") and not part.lstrip().startswith(">>>"):
            part = re.sub(r"([*|])", r"\\\1", part)
            part = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)
        kept.append(part)
    return "".join(kept).split("\n")


def equations(text: str, labels: set[str]) -> str:
    """Links for the labels of equations that the book has."""

    def link(match: re.Match) -> str:
        return f":eq:`{match[1]}`" if match[1] in labels else match[0]

    text = re.sub(r"\((eq-[a-z0-9-]+)\)", link, text)
    return re.sub(r"(?<!`)\b(eq-[a-z0-9]+(?:-[a-z0-9]+)*)\b(?!`)", link, text)


def read_docstring(app, what, name, obj, options, lines) -> None:
    """Before napoleon reads a docstring: plain text, equations as links."""
    lines[:] = [equations(line, app.book_labels) for line in escape(lines)]


def add_uses(app, what, name, obj, options, lines) -> None:
    """After it: the chapters that use the entry."""
    chapters = app.book_uses.get(name, []) if what != "module" else []
    if chapters:
        named = ", ".join(f":doc:`/notebooks/{chapter}`" for chapter in chapters)
        lines += ["", ".. container:: used-in", "", f"   Used in {named}.", ""]


def find_source(app, module, name) -> str | None:
    """An alias of types has its source where it stands, not where ``tuple`` or ``Mapping`` has."""
    top = getattr(sys.modules.get(module), str(name).partition(".")[0], None)
    origin = getattr(top, "__module__", None)
    return module if isinstance(origin, str) and not origin.startswith("companion") else None


def reference_state(app) -> str:
    """A hash of what the reference is made from: the module, and what the chapters say of it."""
    parts = [repr(sorted(app.book_uses.items())), repr(sorted(app.book_labels))]
    parts += [p.read_text(encoding="utf-8") for p in sorted((ROOT / "companion").rglob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def outdated(app, env, added, changed, removed) -> list[str]:
    """The pages of the reference are read again when what they are made from has changed."""
    state = reference_state(app)
    if getattr(env, "book_reference", None) == state:
        return []
    env.book_reference = state
    return [name for name in env.found_docs if name.startswith("book/api")]


# --- the finished pages
def repair(text: str) -> tuple[str, set[str]]:
    """Give the theme's marks the roles and names that they lack; say which of REPAIRS it needed."""
    needed = {old for old in REPAIRS if old in text}
    for old in needed:
        text = text.replace(old, REPAIRS[old])
    # A signature over several lines is a list of definitions without terms.
    pattern = rf"<dl>\s*((?:{LINE}\s*)+)</dl>"
    return re.sub(pattern, lambda match: re.sub(LINE, SPAN, match[1]), text), needed


def finish(out: Path, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Repair the pages that Sphinx wrote, and lay the chapters' sources beside them.

    Returns
    -------
    list of those of REPAIRS that no page needed.
    """
    unused = dict.fromkeys(REPAIRS)
    for page in out.rglob("*.html"):
        if "_static" not in page.relative_to(out).parts:
            before = page.read_text(encoding="utf-8")
            after, needed = repair(before)
            after = policy.add(share.add(after, page.relative_to(out).as_posix()))
            if after != before:
                page.write_text(after, encoding="utf-8")
            for old in needed:
                unused.pop(old, None)
    search.improve(out, {f"notebooks/{one['file']}": one.get("terms", []) for one in chapters()})
    for source in sources():
        beside = out / "_sources" / "notebooks" / source.stem
        beside.with_suffix(".md").write_bytes(source.read_bytes())
        built = facts[source.stem]
        text = notebooks.script(source, built["profile"], built["seed"])
        beside.with_suffix(".py").write_text(text, encoding="utf-8")
    return list(unused)


def find_files_without_imports() -> None:
    """Let viewcode find the files of our modules by name.

    Else it imports all of them at each build, with all that they import, to compare times.
    """
    ask = getattr(viewcode, "get_module_filename", None)
    if ask is None:  # an inner function of Sphinx; without it a build takes longer, no more
        return

    def get_module_filename(app: Any, modname: str) -> str | None:
        path = ROOT.joinpath(*modname.split("."))
        files = (path.with_suffix(".py"), path / "__init__.py")
        return next((str(file) for file in files if file.is_file()), None) or ask(app, modname)

    viewcode.get_module_filename = get_module_filename


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    find_files_without_imports()
    app.book_uses = api.uses(sources())
    texts = [source.read_text(encoding="utf-8") for source in sources()]
    app.book_labels = {
        label for text in texts for label in re.findall(r"^\$\$ \((eq-[a-z0-9-]+)\)", text, re.M)
    }
    app.connect("autodoc-process-docstring", read_docstring, priority=400)
    app.connect("autodoc-process-docstring", add_uses, priority=600)
    app.connect("viewcode-follow-imported", find_source)
    app.connect("html-page-context", dress)
    app.connect("html-page-context", scripts)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
