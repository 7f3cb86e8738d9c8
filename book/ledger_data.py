"""The ledger as data: ``ledger.json`` and ``ledger.csv`` beside the site's first page.

`SCHEMA` says what an entry holds; the page of the ledger shows it, and the site has it as a file.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from book.address import commit, repository_url, site_url, unpublished
from book.project import ROOT
from companion.experiments import claims
from companion.experiments.claims import VERDICTS, Claim

FILES = ("ledger.json", "ledger.csv", "ledger.schema.json")
PAGE = "book/ledger.html"

TEXT, OPTIONAL = {"type": "string"}, {"type": ["string", "null"]}
NUMBER, COUNT = {"type": ["number", "null"]}, {"type": ["integer", "null"], "minimum": 1}


def field(kind: Mapping[str, Any], description: str) -> dict[str, Any]:
    """A field of an entry, as JSON Schema has it."""
    return {**kind, "description": description}


ENTRY: dict[str, dict[str, Any]] = {
    "id": field(
        {**TEXT, "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}, "name of the claim; it does not change"
    ),
    "claim": field(TEXT, "the sentence, word for word"),
    "source": field(TEXT, "who said it, and where"),
    "chapter": field(OPTIONAL, "the chapter that judges it"),
    "verdict": field({**TEXT, "enum": list(VERDICTS)}, "what came out"),
    "answer": field(OPTIONAL, "the verdict in plain words, at most 15"),
    "evidence": field(TEXT, "what was measured, or why it was not"),
    "effect": field(NUMBER, "the number that decides, in the unit that the field data names"),
    "low": field(NUMBER, "lower end of its interval over seeds"),
    "high": field(NUMBER, "upper end of that interval"),
    "seeds": field(COUNT, "seeds that the interval is made of"),
    "data": field(OPTIONAL, "what was measured, and on what"),
    "proof": field(OPTIONAL, "the test that checks what is proved"),
    "profile": field(OPTIONAL, "size of the run: smoke, cpu, long or gpu"),
    "master_seeds": field(
        {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "seeds of the runs that were put together; empty if nothing was run",
    ),
    "date": field(OPTIONAL, "day of the run, such as 2026-01-31"),
    "commit": field(OPTIONAL, "commit of the rule of a published verdict, or of this run's code"),
    "address": field(TEXT, "where the ledger shows it"),
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The ledger of claims of Noise on Purpose",
    "type": "object",
    "properties": {
        "title": TEXT,
        "version": TEXT,
        "repository": field(OPTIONAL, "address of the repository, if it was known"),
        "commit": field(OPTIONAL, "commit that the site was built from, if a remote has it"),
        "claims": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": ENTRY,
                "required": list(ENTRY),
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "version", "repository", "commit", "claims"],
    "additionalProperties": False,
}


def entries(
    judged: Iterable[Claim], built: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One entry a claim, in the order given.

    Parameters
    ----------
    judged : the claims as the ledger shows them, a published verdict in place of that of one run
    built : the build's facts of each chapter, by its name
    """
    published = {
        fields["id"]: entry for entry in claims.published().values() for fields in entry["claims"]
    }
    return [_entry(claim, published.get(claim.id), built) for claim in judged]


def _entry(
    claim: Claim, published: Mapping[str, Any] | None, built: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    effect, low, high = claim.effect, None, None
    if claim.interval is not None:
        low, high = claim.interval  # type: ignore[misc]  # a pair since __post_init__
        effect = (low + high) / 2 if effect is None else effect  # as the page shows it
    made: dict[str, Any] = {"profile": None, "master_seeds": [], "date": None, "commit": None}
    run = built.get(claim.chapter or "")
    if claim.verdict != "not tested" and published:
        made = {
            "profile": published["profile"],
            "master_seeds": list(published["seeds"]),
            "date": published["date"][:10],
            "commit": published["rule"]["commit"] or None,
        }
    elif claim.verdict != "not tested" and claim.provenance == "live" and run:
        made = {
            "profile": run["profile"],
            "master_seeds": [run["seed"]],
            "date": run["date"],
            "commit": None if unpublished() else commit(),
        }
    return {
        "id": claim.id,
        "claim": claim.quote,
        "source": claim.source,
        "chapter": claim.chapter,
        "verdict": claim.verdict,
        "answer": claim.answer or None,
        "evidence": claim.evidence,
        "effect": effect,
        "low": low,
        "high": high,
        "seeds": claim.seeds,
        "data": claim.data,
        "proof": claim.proof,
        **made,
        "address": f"{site_url()}{PAGE}#claim-{claim.id}",
    }


def files(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The files of the site that hold the ledger: name -> text."""
    facts = citation()
    ledger = {
        "title": facts["title"],
        "version": str(facts["version"]),
        "repository": repository_url() or None,
        "commit": None if unpublished() else commit(),
        "claims": list(rows),
    }
    table = io.StringIO()
    writer = csv.DictWriter(table, list(ENTRY), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        seeds = " ".join(map(str, row["master_seeds"]))
        writer.writerow({**row, "master_seeds": seeds})
    texts = (_json(ledger), table.getvalue(), _json(SCHEMA))
    return dict(zip(FILES, texts, strict=True))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def citation() -> dict[str, Any]:
    """What CITATION.cff says."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def bibtex(row: Mapping[str, Any]) -> str:
    """A BibTeX entry for one verdict, with the address of its line in the ledger."""
    facts = citation()
    names = " and ".join("{" + author["name"] + "}" for author in facts["authors"])
    said = row["answer"] or row["claim"]
    when = {"year": row["date"][:4]} if row["date"] else {}
    made = [f"Version {facts['version']}", f"verdict: {row['verdict']}"]
    if row["commit"]:
        made.append(f"commit {row['commit'][:10]}")
    fields = {
        "author": names,
        "title": f"{{{_tex(said)}}}",
        "howpublished": _tex(f"{facts['title']}. Ledger of claims, entry {row['id']}"),
        **when,
        "note": _tex(", ".join(made)),
        **({"url": row["address"]} if "://" in row["address"] else {}),
    }
    lines = [f"  {name:12} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{noiseonpurpose-{row['id']},", *lines, "}"])


def _tex(text: str) -> str:
    """A text with the signs that mean something to TeX written out."""
    return "".join(f"\\{sign}" if sign in "%&#$_" else sign for sign in text)


def description() -> str:
    """What the data hold, for the page: links to the files, and the fields."""
    links = ", ".join(f'<a href="../{name}">{name}</a>' for name in FILES)
    lines = [
        f"<p>The ledger as data: {links}.</p>",
        '<details class="nop-fields"><summary>What its fields mean</summary><dl>',
    ]
    for name, kind in ENTRY.items():
        lines.append(f"<dt><code>{name}</code></dt><dd>{html.escape(kind['description'])}</dd>")
    return "\n".join([*lines, "</dl></details>"])
