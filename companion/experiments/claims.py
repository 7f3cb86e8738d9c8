"""What the book asserts: claims with their verdicts and evidence.

A chapter ends with its claims as the output of a cell. They show as HTML or text; the output's
metadata carry a machine-readable form, from which ``read`` gathers them out of executed notebooks.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from companion._html import STYLE
from companion.experiments.records import records_folder
from companion.statistics import Interval

__all__ = [
    "MARKS",
    "MIME",
    "VERDICTS",
    "Claim",
    "Claims",
    "catalogue",
    "published",
    "read",
    "sources",
]

MIME = "application/vnd.noise-on-purpose.claim+json"
"""Key of the machine-readable form in the metadata of a notebook's output.

It is not a representation of its own: myst-nb warns of those that it does not know.
"""

VERDICTS = {
    "supported": "#009E73",
    "depends": "#E69F00",
    "not supported": "#D55E00",
    "inconclusive": "#CC79A7",
    "proved": "#0072B2",
    "not tested": "#7F7F7F",
}
"""Verdicts that a claim may have, each with its colour in tables.

``depends``: it holds under a condition, which its answer names. ``inconclusive``: the intervals
allow an effect of interest and none. ``proved``: an identity or theorem, with the test of it.
"""

MARKS = {
    "supported": "●",
    "depends": "◐",
    "not supported": "○",
    "inconclusive": "?",
    "proved": "■",
    "not tested": "–",
}
"""A sign for each verdict, which tells them apart without colour."""

PUBLISHED = "published"
"""Folder of the published verdicts, in that of the records."""


LONGEST_ANSWER = 15
"""Words of a plain answer."""

# --- claims -------------------------------------------------------------------------------------


@cache
def sources() -> dict[str, Any]:
    """Return what the sources assert: ``book/sources.yml`` of the checkout, or the package's copy.

    Returns
    -------
    dict with ``sources``, a list in the order of the book, and ``claims``, id -> quote and source.
    """
    package = Path(__file__).resolve().parent.parent
    for path in (package.parent / "book" / "sources.yml", package / "_sources.yml"):
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"sources.yml: neither in {package.parent / 'book'} nor in {package}")


def catalogue() -> dict[str, dict[str, str]]:
    """Return the quote and the source of every claim that the book judges, by its id."""
    return sources()["claims"]


@dataclass(frozen=True)
class Claim:
    """One sentence that somebody asserted, and what was measured.

    Parameters
    ----------
    id : str
        Unique in the book; small letters, digits and hyphens, such as "tweedie-below-noise".
    verdict : {"supported", "not supported", "depends", "inconclusive", "proved", "not tested"}
    evidence : str
        What was measured, or why it was not. Only "not tested" may leave it empty.
    answer : str
        The verdict in plain words that stand alone, at most 15 (default: none).
    quote, source : str
        The sentence, word for word, and who said it where (default: those that
        ``book/sources.yml`` has for this id).
    effect : float, optional
        The number that decides (default: the mean of ``interval``).
    interval : Interval or (low, high), optional
    seeds : int, optional
    data : str, optional
        What it was measured on.
    provenance : str
        "live", or where the record came from (default "live").
    figure : str, optional
        Label of the figure that shows it.
    proof : str, optional
        The test that checks what is "proved", such as "tests/test_oracles.py::test_score".
    chapter : str, optional
        Notebook that states it; ``read`` fills it in.

    Raises
    ------
    ValueError
        If a field is not as above; the message names it.
    """

    id: str
    verdict: str
    evidence: str
    answer: str = ""
    quote: str = ""
    source: str = ""
    effect: float | None = None
    interval: Interval | tuple[float, float] | None = None
    seeds: int | None = None
    data: str | None = None
    provenance: str = "live"
    figure: str | None = None
    chapter: str | None = None
    proof: str | None = None

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(self.id)):
            raise ValueError(
                f"id: got {self.id!r}; allowed are small letters, digits and single hyphens"
            )
        if not self.quote and not self.source:
            known = catalogue().get(self.id)
            if known is None:
                raise ValueError(
                    f"id: got {self.id!r}; allowed are the claims of sources.yml, or any other "
                    "with its quote and source"
                )
            object.__setattr__(self, "quote", known["quote"])
            object.__setattr__(self, "source", known["source"])
        if len(str(self.answer).split()) > LONGEST_ANSWER:
            raise ValueError(
                f"answer of {self.id}: got {len(self.answer.split())} words; allowed are "
                f"{LONGEST_ANSWER}"
            )
        for name in ("quote", "source", "provenance"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} of {self.id}: got {value!r}; allowed is a text")
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"verdict of {self.id}: got {self.verdict!r}; "
                f"allowed are {', '.join(map(repr, VERDICTS))}"
            )
        if (self.verdict == "proved") != bool(self.proof):
            raise ValueError(
                f"proof of {self.id}: got {self.proof!r} with {self.verdict!r}; allowed is the "
                "name of a test with 'proved', and nothing with another verdict"
            )
        if not isinstance(self.evidence, str) or (
            self.verdict != "not tested" and not self.evidence.strip()
        ):
            raise ValueError(
                f"evidence of {self.id}: got {self.evidence!r}; "
                "allowed is a text; only 'not tested' may leave it empty"
            )
        effect, interval = self.effect, self.interval
        if isinstance(interval, Interval):
            effect = interval.mean if effect is None else effect
            interval = (interval.low, interval.high)
        if interval is not None:
            ends = [float(v) for v in interval]
            if len(ends) != 2 or not -math.inf < ends[0] <= ends[1] < math.inf:
                raise ValueError(
                    f"interval of {self.id}: got {ends}; allowed is a finite (low, high)"
                )
            interval = (ends[0], ends[1])
        if effect is not None:
            effect = float(effect)
            if not math.isfinite(effect):
                raise ValueError(f"effect of {self.id}: got {effect}; allowed is a finite number")
        seeds = None if self.seeds is None else int(self.seeds)
        if seeds is not None and seeds < 1:
            raise ValueError(f"seeds of {self.id}: got {seeds}; allowed is 1 or more")
        for name, value in (("effect", effect), ("interval", interval), ("seeds", seeds)):
            object.__setattr__(self, name, value)

    @property
    def measured(self) -> str:
        """Effect and interval as text, or an empty text."""
        if self.interval is None:
            return "" if self.effect is None else f"{self.effect:.3g}"
        low, high = self.interval  # type: ignore[misc]  # a pair since __post_init__
        mean = (low + high) / 2 if self.effect is None else self.effect
        return str(Interval(mean, low, high, self.seeds or 0))

    def __str__(self) -> str:
        facts = [self.measured, f"{self.seeds} seeds" if self.seeds else "", self.data or ""]
        if self.verdict != "not tested":
            facts.append(self.provenance)
        evidence = f"{self.evidence} ({'; '.join(filter(None, facts))})".removesuffix("()")
        lines = [f"[{self.verdict}] “{self.quote}” ({self.source})", self.answer, evidence.strip()]
        return "\n    ".join(filter(None, lines))

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        return Claims([self])._repr_mimebundle_()


class Claims(Sequence):
    """Several claims as one table.

    Parameters
    ----------
    claims : iterable of Claim, with different ids
    """

    def __init__(self, claims: Iterable[Claim]):
        self._claims = tuple(claims)
        ids: set[str] = set()
        for claim in self._claims:
            if not isinstance(claim, Claim):
                raise TypeError(f"claims: got {type(claim).__name__}; allowed are Claim objects")
            if claim.id in ids:
                raise ValueError(f"claims: the id {claim.id!r} is there twice")
            ids.add(claim.id)

    def __len__(self) -> int:
        return len(self._claims)

    def __getitem__(self, index):
        return self._claims[index]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims)

    def noted(self, note: str) -> Claims:
        """Return them with a sentence added to the evidence of each that was measured."""
        return Claims(
            claim
            if claim.verdict in ("proved", "not tested")
            else replace(claim, evidence=f"{claim.evidence} {note}")
            for claim in self._claims
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self._claims))

    def __repr__(self) -> str:
        return f"Claims({len(self)})"

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self._claims))
        return (
            f'{STYLE}<table class="nop nop-claims" style="width:100%;text-align:left">'
            "<thead><tr><th>Claim</th><th>Answer</th><th>Evidence</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        payload = {"version": 1, "claims": [asdict(claim) for claim in self._claims]}
        return {"text/plain": str(self), "text/html": self._repr_html_()}, {MIME: payload}


def _row(claim: Claim) -> str:
    """One row of the table: quote; answer and verdict, whose colour repeats its word; evidence."""
    text = {k: html.escape(str(v)) for k, v in asdict(claim).items()}
    left = 'style="text-align:left;vertical-align:top;padding:.3em .8em .3em 0"'
    facts = [
        f"<strong>{html.escape(claim.measured)}</strong>" if claim.measured else "",
        f"{claim.seeds} seeds" if claim.seeds else "",
        text["data"] if claim.data else "",
        text["provenance"] if claim.verdict != "not tested" else "",
        f'<a href="#{text["figure"]}">figure</a>' if claim.figure else "",
        html.escape(f"test: {claim.proof}") if claim.proof else "",
        html.escape(_elsewhere(claim)),
    ]
    small = 'style="font-size:.85em;opacity:.8"'
    answer = f"<strong>{text['answer']}</strong><br>" if claim.answer else ""
    return (
        f'<tr id="claim-{claim.id}"><td {left}>“{text["quote"]}”'
        f"<br><span {small}>{text['source']}</span></td>"
        f'<td {left}>{answer}<span style="border-left:.45em solid {VERDICTS[claim.verdict]};'
        f'padding-left:.45em;white-space:nowrap">{MARKS[claim.verdict]} {claim.verdict}</span></td>'
        f"<td {left}>{text['evidence']}"
        f"<br><span {small}>{' · '.join(filter(None, facts))}</span>"
        "</td></tr>"
    )


def published(folder: Path | None = None) -> dict[str, Any]:
    """Return the published verdicts: chapter's module -> profile, seeds, date, rule, claims.

    Raises
    ------
    ValueError
        If a file is damaged; the message names it.
    """
    known = {}
    for path in sorted(((folder or records_folder()) / PUBLISHED).glob("*.json")):
        try:
            known[path.stem] = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    return known


def _elsewhere(claim: Claim) -> str:
    """Say so where the published verdict of a claim is another one."""
    for entry in published().values():
        for other in entry["claims"]:
            if other["id"] == claim.id and other["verdict"] != claim.verdict:
                seeds = ", ".join(map(str, entry["seeds"]))
                return f"published verdict: {other['verdict']} (master seeds {seeds})"
    return ""


def read(notebooks: Iterable[str | Path]) -> list[Claim]:
    """Gather the claims from the outputs of executed notebooks, in their order.

    Parameters
    ----------
    notebooks : paths of .ipynb files

    Returns
    -------
    list of Claim
        With ``chapter`` set to the notebook's name without its ending. A claim that a notebook
        shows more than once, unchanged, counts once.

    Raises
    ------
    ValueError
        If a file is not a notebook, a claim in it is not valid, or one id has two contents.
    """
    known: dict[str, Claim] = {}
    for path in map(Path, notebooks):
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a notebook: {error!r}") from error
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        for payload in (o["metadata"][MIME] for o in outputs if MIME in o.get("metadata", {})):
            for entry in payload["claims"]:
                try:
                    claim = replace(Claim(**entry), chapter=path.stem)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path} has a claim that is not valid: {error}") from error
                if known.setdefault(claim.id, claim) != claim:
                    raise ValueError(
                        f"{path}: the claim {claim.id!r} differs from the one of the same id in "
                        f"{known[claim.id].chapter}"
                    )
    return list(known.values())
