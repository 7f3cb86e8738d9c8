"""The first page: three doors, the chapters in groups with their findings, the tally."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from book.project import ROOT, chapters
from companion.experiments.claims import MARKS, VERDICTS, Claim
from companion.experiments.in_short import InShort

PLAYGROUND = "book/playground"
NOISY = "02-tweedie-consistency"
FOLDER = "09-"
"""Beginning of the name of the chapter on the reader's own noisy images."""

GROUPS = {
    "The ground": (0,),
    "The four papers": (1, 2, 3, 4),
    "Together": (5,),
    "Three related papers": (6, 7, 8),
    "Your own images": (9,),
}
"""Headings of the cards, each with the numbers of its chapters."""


def doors(written: Iterable[str], others: Iterable[str]) -> str:
    """Three ways in, with links to those pages only that there are.

    Parameters
    ----------
    written : names of the chapters, such as "00-one-denoiser"
    others : names of the other pages, such as "book/guide"
    """
    known, pages = list(written), set(others)
    new = [("Start with chapter 0", f"notebooks/{known[0]}")]
    if PLAYGROUND in pages:
        new.append(("Play with it", PLAYGROUND))
    mine = [("Train on them as they are", f"notebooks/{NOISY}")]
    for name in known:
        if name.startswith(FOLDER) and not name.endswith("-details"):
            mine.insert(0, ("Denoise a folder of yours", f"notebooks/{name}"))
    cards = {
        "New here?": ("What a denoiser is, and how noise becomes a picture.", new),
        "Deciding?": (
            "When to use which method, when not, and by how much it helps.",
            [("What to do", "book/guide")],
        ),
        "Are your images noisy?": ("Clean images, learned from noisy ones only.", mine),
    }
    lines = ["::::{grid} 1 1 3 3", ":gutter: 2", ":class-container: doors", ""]
    for title, (says, links) in cards.items():
        named = " · ".join(f"{{doc}}`{text} </{page}>`" for text, page in links)
        lines += [f":::{{grid-item-card}} {title}", says, "", named, ":::", ""]
    return "\n".join([*lines, "::::", ""])


def cards(boxes: Mapping[str, InShort]) -> str:
    """Cards of all chapters in their groups: what this run found, or what a chapter is about.

    Parameters
    ----------
    boxes : name of a chapter -> what it says in short

    Raises
    ------
    ValueError
        If a chapter is in no group, or in several.
    """
    listed = {chapter["number"]: chapter for chapter in chapters()}
    grouped = [number for numbers in GROUPS.values() for number in numbers]
    if sorted(set(listed) & set(grouped)) != sorted(listed) or len(set(grouped)) < len(grouped):
        raise ValueError(
            f"GROUPS: got {grouped}; allowed is each number of book/chapters.yml once, "
            f"{sorted(listed)}"
        )
    lines = []
    for heading, numbers in GROUPS.items():
        there = [listed[number] for number in numbers if number in listed]
        if there:
            lines += [f"### {heading}", "", *_grid(there, boxes)]
    return "\n".join(lines)


def _grid(listed: Sequence[Mapping[str, Any]], boxes: Mapping[str, InShort]) -> list[str]:
    """Cards side by side, as many as there are where the page is wide."""
    number = len(listed)
    columns = f"1 {min(number, 2)} {min(number, 2)} {number}"
    lines = [f"::::{{grid}} {columns}", ":gutter: 2", ":class-container: chapters", ""]
    for chapter in listed:
        lines.append(f":::{{grid-item-card}} {chapter['number']} · {chapter['title']}")
        if chapter["written"]:
            lines += [f":link: /notebooks/{chapter['file']}", ":link-type: doc"]
        else:
            lines.append(":class-card: planned")
        paper = chapter["paper"] + ("" if chapter["written"] else " **In preparation.**")
        lines += ["", chapter["summary"].strip(), ""]
        if box := boxes.get(chapter["file"]):
            lines += ["{.finding}", escape(box.works), ""]
        lines += ["{.paper}", paper, ":::", ""]
    return [*lines, "::::", ""]


def escape(text: str) -> str:
    """Plain text as one line of Markdown that means it."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#$|~" else letter for letter in line)


def tally(judged: Iterable[Claim]) -> str:
    """How many claims have which verdict, as HTML."""
    counts = Counter(claim.verdict for claim in judged)
    total = sum(counts.values())
    signs = "".join(
        f'<a href="ledger.html"><span class="nop-sign" style="--verdict:{colour}">'
        f"{MARKS[verdict]}</span>{counts[verdict]} {html.escape(verdict)}</a> "
        for verdict, colour in VERDICTS.items()
        if counts[verdict]
    )
    text = f'<p class="nop-tally"><strong>{total} claims of the papers and of others:</strong> '
    return raw(f"{text}{signs}</p>")


def raw(text: str) -> str:
    """HTML as a block of Markdown, which nothing in it ends."""
    return "```{raw} html\n" + text.replace("`", "&#96;") + "\n```\n"


def other_pages() -> list[str]:
    """Names of the pages in book/."""
    return [f"book/{path.stem}" for path in sorted((ROOT / "book").glob("*.md"))]
