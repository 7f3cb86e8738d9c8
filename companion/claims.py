"""What the book asserts: claims with their verdicts and evidence, and the statistics behind them.

A chapter ends with its claims as the output of a cell. They show as HTML or text; the output's
metadata carry a machine-readable form, from which ``read`` gathers them out of executed notebooks.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from companion._html import STYLE
from companion.statistics import Interval, interaction, mean_interval, paired_difference

__all__ = [
    "MIME",
    "VERDICTS",
    "Cell",
    "Claim",
    "Claims",
    "Interval",
    "Matrix",
    "interaction",
    "mean_interval",
    "paired_difference",
    "read",
]

MIME = "application/vnd.noise-on-purpose.claim+json"
"""Key of the machine-readable form in the metadata of a notebook's output.

It is not a representation of its own: myst-nb warns of those that it does not know.
"""

VERDICTS = {
    "supported": "#009E73",
    "supported in part": "#E69F00",
    "not supported": "#D55E00",
    "not tested": "#7F7F7F",
}
"""Verdicts that a claim may have, each with its colour in tables."""


# --- claims -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One sentence that somebody asserted, and what was found.

    Parameters
    ----------
    id : str
        Unique in the book; small letters, digits and hyphens, such as "tweedie-below-noise".
    quote : str
        The sentence, word for word.
    source : str
        Who said it and where.
    verdict : {"supported", "supported in part", "not supported", "not tested"}
    evidence : str
        What was measured, or why it was not. Only "not tested" may leave it empty.
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
    chapter : str, optional
        Notebook that states it; ``read`` fills it in.

    Raises
    ------
    ValueError
        If a field is not as above; the message names it.
    """

    id: str
    quote: str
    source: str
    verdict: str
    evidence: str
    effect: float | None = None
    interval: tuple[float, float] | None = None
    seeds: int | None = None
    data: str | None = None
    provenance: str = "live"
    figure: str | None = None
    chapter: str | None = None

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(self.id)):
            raise ValueError(
                f"id: got {self.id!r}; allowed are small letters, digits and single hyphens"
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
        low, high = self.interval
        mean = (low + high) / 2 if self.effect is None else self.effect
        return str(Interval(mean, low, high, self.seeds or 0))

    def __str__(self) -> str:
        facts = [self.measured, f"{self.seeds} seeds" if self.seeds else "", self.data or ""]
        if self.verdict != "not tested":
            facts.append(self.provenance)
        found = f"{self.evidence} ({'; '.join(filter(None, facts))})".removesuffix("()")
        return f"[{self.verdict}] “{self.quote}” ({self.source})\n    {found}".rstrip()

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
        seen: set[str] = set()
        for claim in self._claims:
            if not isinstance(claim, Claim):
                raise TypeError(f"claims: got {type(claim).__name__}; allowed are Claim objects")
            if claim.id in seen:
                raise ValueError(f"claims: the id {claim.id!r} is there twice")
            seen.add(claim.id)

    def __len__(self) -> int:
        return len(self._claims)

    def __getitem__(self, index):
        return self._claims[index]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims)

    def __str__(self) -> str:
        return "\n".join(map(str, self._claims))

    def __repr__(self) -> str:
        return f"Claims({len(self)})"

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self._claims))
        return (
            f'{STYLE}<table class="nop nop-claims" style="width:100%;text-align:left">'
            "<thead><tr><th>Claim</th><th>Verdict</th><th>Evidence</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        payload = {"version": 1, "claims": [asdict(claim) for claim in self._claims]}
        return {"text/plain": str(self), "text/html": self._repr_html_()}, {MIME: payload}


def _row(claim: Claim) -> str:
    """One row of the table. The colour of a verdict only repeats what its words say."""
    text = {k: html.escape(str(v)) for k, v in asdict(claim).items()}
    left = 'style="text-align:left;vertical-align:top;padding:.3em .8em .3em 0"'
    facts = [
        f"<strong>{html.escape(claim.measured)}</strong>" if claim.measured else "",
        f"{claim.seeds} seeds" if claim.seeds else "",
        text["data"] if claim.data else "",
        text["provenance"] if claim.verdict != "not tested" else "",
        f'<a href="#{text["figure"]}">figure</a>' if claim.figure else "",
    ]
    small = 'style="font-size:.85em;opacity:.8"'
    return (
        f'<tr id="claim-{claim.id}"><td {left}>“{text["quote"]}”'
        f"<br><span {small}>{text['source']}</span></td>"
        f'<td {left}><span style="border-left:.45em solid {VERDICTS[claim.verdict]};'
        f'padding-left:.45em;white-space:nowrap">{claim.verdict}</span></td>'
        f"<td {left}>{text['evidence']}<br><span {small}>{' · '.join(filter(None, facts))}</span>"
        "</td></tr>"
    )


# --- a table of verdicts ------------------------------------------------------------------------

DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True)
class Cell:
    """One verdict of a ``Matrix``.

    Parameters
    ----------
    verdict : one of ``VERDICTS``, or "does not apply"
    text : str
        The effect with its interval, or why it does not apply; several lines for several effects.
    figure : str, optional
        Label of the figure that shows it.

    Raises
    ------
    ValueError
        If the verdict is unknown or the text empty.
    """

    verdict: str
    text: str
    figure: str | None = None

    def __post_init__(self):
        if self.verdict not in (*VERDICTS, DOES_NOT_APPLY):
            raise ValueError(
                f"verdict: got {self.verdict!r}; allowed are "
                f"{', '.join(map(repr, (*VERDICTS, DOES_NOT_APPLY)))}"
            )
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError(f"text: got {self.text!r}; allowed is a text")


class Matrix:
    """Verdicts in rows and columns, such as reasons by methods: a table, or lines of text.

    Parameters
    ----------
    rows, columns : sequences of str
        Their names.
    cells : mapping of (row, column) -> Cell
        One for each row and column.
    corner : str
        What the rows are (default empty).

    Raises
    ------
    ValueError
        If a cell is missing, or belongs to no row and column.
    """

    def __init__(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        cells: Mapping[tuple[str, str], Cell],
        *,
        corner: str = "",
    ):
        self.rows, self.columns, self.corner = list(rows), list(columns), corner
        self.cells = dict(cells)
        expected = {(row, column) for row in self.rows for column in self.columns}
        if missing := sorted(expected - set(self.cells)):
            raise ValueError(f"cells: there is none for {missing[0]}")
        if extra := sorted(set(self.cells) - expected):
            raise ValueError(f"cells: {extra[0]} is no row and column")

    def __getitem__(self, key: tuple[str, str]) -> Cell:
        return self.cells[key]

    def __repr__(self) -> str:
        lines = []
        for row in self.rows:
            lines.append(row)
            for column in self.columns:
                cell = self.cells[row, column]
                text = cell.text.replace("\n", "; ")
                lines.append(f"    {column}: [{cell.verdict}] {text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As a table that scrolls by itself; colours only repeat the words."""
        left = "text-align:left;vertical-align:top;padding:.3em .5em"
        heads = [f'<td style="{left}">{html.escape(self.corner)}</td>']
        heads += [f'<th scope="col" style="{left}">{html.escape(c)}</th>' for c in self.columns]
        body = ""
        for row in self.rows:
            line = f'<th scope="row" style="{left}">{html.escape(row)}</th>'
            for column in self.columns:
                cell = self.cells[row, column]
                colour = VERDICTS.get(cell.verdict, "#BBBBBB")
                words = html.escape(cell.verdict)
                text = html.escape(cell.text).replace("\n", "<br>")
                if cell.figure:
                    words = f'<a href="#{html.escape(cell.figure)}">{words}</a>'
                line += (
                    f'<td style="{left};min-width:7.5em;border-left:.3em solid {colour}">'
                    f"<strong>{words}</strong><br>{text}</td>"
                )
            body += f"<tr>{line}</tr>"
        return (
            f'{STYLE}<div class="nop" style="overflow-x:auto" tabindex="0" role="group" '
            'aria-label="table of verdicts"><table style="font-size:.76em">'
            f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
        )


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
    found: dict[str, Claim] = {}
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
                if found.setdefault(claim.id, claim) != claim:
                    raise ValueError(
                        f"{path}: the claim {claim.id!r} differs from the one of the same id in "
                        f"{found[claim.id].chapter}"
                    )
    return list(found.values())
