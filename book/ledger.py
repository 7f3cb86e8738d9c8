"""The ledger of claims: a page made from the executed chapters and from what the sources assert.

`book/sources.yml` lists the sentences of each source; the chapters' claims judge them. `rows` joins
the two, and `page` writes them as one table with a filter. Nothing here decides a verdict.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from book import ledger_data
from book.project import executed, sources
from companion.experiments import claims
from companion.experiments.claims import MARKS, VERDICTS, Claim
from companion.experiments.published import with_published


class Row(NamedTuple):
    """A claim, and which source it belongs to."""

    source: str
    claim: Claim


def table(profile: str) -> list[Row]:
    """The lines of a profile's ledger, read out of its executed chapters."""
    judged = with_published(claims.read(executed(profile, source.stem) for source in sources()))
    return rows(claims.sources()["sources"], judged)


def rows(asserted: Sequence[Mapping[str, Any]], judged: Iterable[Claim]) -> list[Row]:
    """Every claim of the chapters, and every sentence that none of them answers.

    A claim that no sentence names comes last among those of its chapter's first source; a test
    keeps the book free of them.

    Raises
    ------
    ValueError
        If a sentence names a claim that no chapter makes.
    """
    by_id = {claim.id: claim for claim in judged}
    named = {name for source in asserted for e in source["claims"] for name in e.get("judged", [])}
    if unknown := sorted(named - set(by_id)):
        raise ValueError(f"sources.yml names claims that no chapter makes: {', '.join(unknown)}")
    table: list[Row] = []
    unnamed = {name: claim for name, claim in by_id.items() if name not in named}
    listed: set[str] = set()
    for source in asserted:
        for number, entry in enumerate(source["claims"], 1):
            answers = entry.get("judged", [])
            table += [Row(source["id"], by_id[name]) for name in answers if name not in listed]
            listed |= set(answers)
            if not answers:
                table.append(Row(source["id"], _untested(source, entry, number)))
        for claim in [c for c in unnamed.values() if c.chapter == source.get("chapter")]:
            table.append(Row(source["id"], unnamed.pop(claim.id)))
    return table + [Row("", claim) for claim in unnamed.values()]


def _untested(source: Mapping[str, Any], entry: Mapping[str, Any], number: int) -> Claim:
    """A sentence that no chapter judges, with the reason."""
    return Claim(
        id=f"{source['id']}-sentence-{number}",
        quote=entry["quote"],
        source=source["name"],
        verdict="not tested",
        evidence=entry.get("untested", "No chapter judges this yet."),
    )


def page(asserted: Sequence[Mapping[str, Any]], table: Sequence[Row], built: Mapping) -> str:
    """The ledger as HTML; ``built`` holds the build's facts of each chapter, by its name."""
    counts = Counter(row.claim.verdict for row in table)
    total = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
    lines = [f'<p class="nop-total"><strong>{len(table)} claims</strong>: {total}.</p>']
    lines += _state(asserted, table, built)
    lines += _controls(asserted, table)
    lines += [
        '<div class="nop-ledger-scroll"><table class="nop-ledger" id="ledger"><thead><tr>'
        '<th scope="col">Claim</th><th scope="col">Answer</th><th scope="col">Evidence</th>'
        "</tr></thead><tbody>"
    ]
    data = ledger_data.entries([row.claim for row in table], built)
    lines += [_row(row, entry, built) for row, entry in zip(table, data, strict=True)]
    lines += ["</tbody></table></div>", ledger_data.description()]
    lines += ['<script src="../_static/ledger.js" defer></script>']
    text = "\n".join(lines).replace("`", "&#96;")  # nothing in a claim ends the block
    return f"```{{raw}} html\n{text}\n```\n"


def _state(
    asserted: Sequence[Mapping[str, Any]], table: Sequence[Row], built: Mapping[str, Any]
) -> list[str]:
    """One line a source, one sign a claim: the state of all of them in one look."""
    lines = ['<dl class="nop-state">']
    for source in asserted:
        name = html.escape(source["name"])
        if source.get("chapter") in built:
            name = f'<a href="../notebooks/{source["chapter"]}.html">{name}</a>'
        signs = [
            f'<a class="nop-sign" style="--verdict:{VERDICTS[row.claim.verdict]}" '
            f'href="#claim-{row.claim.id}" title="{html.escape(row.claim.quote, quote=True)}" '
            f'aria-label="{row.claim.verdict}: {html.escape(row.claim.quote, quote=True)}">'
            f"{MARKS[row.claim.verdict]}</a>"
            for row in table
            if row.source == source["id"]
        ]
        lines.append(f"<dt>{name}</dt><dd>{''.join(signs)}</dd>")
    key = " ".join(
        f'<span><span class="nop-sign" style="--verdict:{colour}">{MARKS[v]}</span> {v}</span>'
        for v, colour in VERDICTS.items()
    )
    return [*lines, "</dl>", f'<p class="nop-key">{key}</p>']


def _controls(asserted: Sequence[Mapping[str, Any]], table: Sequence[Row]) -> list[str]:
    """The filter. It appears only where the script that serves it runs."""
    used = {row.source for row in table}
    options = "".join(
        f'<option value="{s["id"]}">{html.escape(s["name"])}</option>'
        for s in asserted
        if s["id"] in used
    )
    boxes = "".join(
        f'<label><input type="checkbox" name="verdict" value="{v}" checked> {v}</label>'
        for v in VERDICTS
    )
    return [
        '<form class="nop-filter" id="ledger-filter" hidden>'
        '<label>Words <input type="search" name="words"></label>'
        f'<label>Source <select name="source"><option value="">all</option>{options}</select>'
        f"</label><fieldset><legend>Verdict</legend>{boxes}</fieldset>"
        '<output name="shown" aria-live="polite"></output>'
        '<button type="reset" name="all" hidden>Show all</button></form>'
    ]


def _row(row: Row, entry: Mapping[str, Any], built: Mapping[str, Mapping[str, Any]]) -> str:
    """One line of the table; ``entry`` is the same as data."""
    claim = row.claim
    facts = [f"test: {html.escape(claim.proof)}"] if claim.proof else []
    if claim.measured:
        facts.append(f"<strong>{html.escape(claim.measured)}</strong>")
    if claim.seeds:
        facts.append(f"{claim.seeds} seeds")
    if claim.data:
        facts.append(html.escape(claim.data))
    where = f"../notebooks/{claim.chapter}.html" if claim.chapter else ""
    if claim.chapter and claim.verdict != "not tested":
        run = claim.provenance
        if claim.provenance == "live":
            run += f", {built[claim.chapter]['date']}, profile {built[claim.chapter]['profile']}"
        facts.append(html.escape(run))
    if where:
        facts.append(f'<a href="{where}#claim-{claim.id}">chapter</a>')
    if where and claim.figure:
        facts.append(f'<a href="{where}#{html.escape(claim.figure, quote=True)}">figure</a>')
    answer = f"<strong>{html.escape(claim.answer)}</strong><br>" if claim.answer else ""
    cite = ""
    if claim.verdict != "not tested":
        bibtex = html.escape(ledger_data.bibtex(entry))
        cite = f"<details><summary>Cite this verdict</summary><pre>{bibtex}</pre></details>"
    return (
        f'<tr id="claim-{claim.id}" data-verdict="{claim.verdict}" data-source="{row.source}">'
        f"<td>“{html.escape(claim.quote)}”<small>{html.escape(claim.source)}</small></td>"
        f'<td>{answer}<span class="nop-verdict" style="--verdict:{VERDICTS[claim.verdict]}">'
        f"{MARKS[claim.verdict]} {claim.verdict}</span></td>"
        f"<td>{html.escape(claim.evidence)}<small>{' · '.join(facts)}</small>{cite}</td></tr>"
    )
