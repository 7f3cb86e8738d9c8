"""What a reader with five minutes takes from a chapter: its first output.

It shows as HTML or text. The output's metadata carry a machine-readable form, from which ``read``
gathers the boxes of all chapters out of executed notebooks, for the first page and the guide.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from companion._html import STYLE
from companion.experiments.claims import MARKS, VERDICTS, Claim, Claims

__all__ = ["LABELS", "MIME", "InShort", "choose", "read"]

MIME = "application/vnd.noise-on-purpose.in-short+json"
"""Key of the machine-readable form in the metadata of a notebook's output."""

LABELS = {
    "what": "What it is",
    "works": "Does it work here?",
    "use": "Use it when",
    "avoid": "Do not use it when",
    "number": "The deciding number",
    "caveat": "The caveat",
}
"""The lines of the box, in their order, each with its label."""

LONGEST_LINE = 40
"""Words of one line."""


@dataclass(frozen=True)
class InShort:
    """Six lines on a method, and a sign for the verdict of each of its claims.

    Parameters
    ----------
    method : str
        Its usual name, such as "gradient estimation"; the guide lists it under this.
    what : str
        What the method is.
    works : str
        Does it work here? The finding in plain words.
    use, avoid : str
        When to use it; when not, and what to use instead.
    number : str
        The number that decides, with its name, unit and interval.
    caveat : str
        What limits all this.
    claims : Claims, optional
        Of the chapter; each becomes a sign that leads to its verdict.
    chapter : str, optional
        Notebook that shows it; ``read`` fills it in.

    Each line is plain text of 1 to 40 words, without markup or TeX.

    Raises
    ------
    ValueError
        If a line is empty or longer; the message names it.

    Notes
    -----
    What was found is to be filled in from results and chosen by verdicts, so that another run says
    what it found itself.
    """

    method: str
    what: str
    works: str
    use: str
    avoid: str
    number: str
    caveat: str
    claims: Claims = field(default_factory=lambda: Claims([]))
    chapter: str | None = None

    def __post_init__(self):
        for name in ("method", *LABELS):
            value = getattr(self, name)
            words = len(value.split()) if isinstance(value, str) else 0
            if not 1 <= words <= LONGEST_LINE:
                raise ValueError(
                    f"{name}: got {value!r}, {words} words; allowed is a text of 1 to "
                    f"{LONGEST_LINE} words"
                )

    @property
    def lines(self) -> dict[str, str]:
        """Label -> line, in their order."""
        return {label: getattr(self, name) for name, label in LABELS.items()}

    def __str__(self) -> str:
        lines = [f"{label}: {line}" for label, line in self.lines.items()]
        signs = [f"{MARKS[claim.verdict]} {claim.answer or claim.quote}" for claim in self.claims]
        return "\n".join(["In short", *lines, *signs])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<dt>{label}</dt><dd>{html.escape(line)}</dd>" for label, line in self.lines.items()
        )
        verdicts = (
            f'<dt>Verdicts</dt><dd class="nop-strip">{strip(self.claims)}</dd>'
            if self.claims
            else ""
        )
        return (
            f'{STYLE}<div class="nop nop-in-short"><p class="nop-title">In short</p>'
            f"<dl>{rows}{verdicts}</dl></div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        payload: dict[str, Any] = {"version": 1, "method": self.method}
        payload |= {name: getattr(self, name) for name in LABELS}
        payload["claims"] = [asdict(claim) for claim in self.claims]
        return {"text/plain": str(self), "text/html": self._repr_html_()}, {MIME: payload}


def strip(claims: Iterable[Claim]) -> str:
    """One sign a claim as HTML; each leads to the claim's verdict on the same page."""
    signs = []
    for claim in claims:
        told = html.escape(f"{claim.verdict}: {claim.answer or claim.quote}", quote=True)
        signs.append(
            f'<a class="nop-sign" style="--verdict:{VERDICTS[claim.verdict]}" '
            f'href="#claim-{claim.id}" title="{told}" aria-label="{told}">'
            f"{MARKS[claim.verdict]}</a>"
        )
    return "".join(signs)


def read(notebooks: Iterable[str | Path]) -> dict[str, InShort]:
    """Gather the boxes from the outputs of executed notebooks: notebook's name -> InShort.

    Raises
    ------
    ValueError
        If a file is not a notebook, or a box in it is not valid; the message names the file.
    """
    known = {}
    for path in map(Path, notebooks):
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            for payload in (o["metadata"][MIME] for o in outputs if MIME in o.get("metadata", {})):
                texts = {f.name: payload[f.name] for f in fields(InShort) if f.name in payload}
                texts["claims"] = Claims(Claim(**entry) for entry in payload["claims"])
                known[path.stem] = replace(InShort(**texts), chapter=path.stem)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no notebook with a valid box: {error!r}") from error
    return known


def choose(verdict: str, texts: dict[str, str]) -> str:
    """The text for a verdict; ``"else"`` is for all that are not named.

    >>> choose("depends", {"supported": "Yes.", "depends": "At times.", "else": "No."})
    'At times.'

    Raises
    ------
    ValueError
        If the verdict, or a key of the texts, is none that a claim may have.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict: got {verdict!r}; allowed are {', '.join(VERDICTS)}")
    if unknown := sorted(set(texts) - {*VERDICTS, "else"}):
        raise ValueError(
            f"texts: got the key {unknown[0]!r}; allowed are {', '.join(VERDICTS)} and else"
        )
    if verdict not in texts and "else" not in texts:
        raise ValueError(f"texts: nothing for {verdict!r}, and no 'else'")
    return re.sub(r"\s+", " ", texts.get(verdict, texts.get("else", ""))).strip()
