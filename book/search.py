"""The site's search, made to find what readers type.

Sphinx writes an index of words. Here words that differ only by accents are made one ('Frechet'
finds 'Fréchet'), and each chapter is entered for the terms that it is about, so that it comes first
for them. The script ``_static/search.js`` keeps formulas readable in what is shown.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HEAD, TAIL = "Search.setIndex(", ")"


def improve(out: Path, terms: Mapping[str, Iterable[str]]) -> None:
    """Rewrite the index of a built site; ``terms`` are those that a page is about, by its name."""
    path = out / "searchindex.js"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8").strip()
    index = json.loads(text.removeprefix(HEAD).removesuffix(TAIL))
    for words in ("terms", "titleterms"):
        index[words] = without_accents(index[words])
    index["indexentries"] |= entries(index["docnames"], terms)
    packed = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path.write_text(HEAD + packed + TAIL, encoding="utf-8")


def fold(word: str) -> str:
    """A word without its accents.

    >>> fold("fréchet")
    'frechet'
    """
    parts = unicodedata.normalize("NFD", word)
    return "".join(part for part in parts if not unicodedata.combining(part))


def without_accents(index: Mapping[str, Any]) -> dict[str, Any]:
    """An index in which a word finds the pages of all its spellings, itself without accents too.

    Parameters
    ----------
    index : word -> page, or list of pages
    """
    pages: dict[str, set[int]] = {}
    for word, where in index.items():
        pages.setdefault(fold(word), set()).update([where] if isinstance(where, int) else where)
    shown = {word: sorted(pages[fold(word)]) for word in [*index, *pages]}
    return {word: where[0] if len(where) == 1 else where for word, where in shown.items()}


def entries(names: list[str], terms: Mapping[str, Iterable[str]]) -> dict[str, list]:
    """Main entries of an index, as Sphinx has them: term -> [[page, place, is main]].

    Raises
    ------
    ValueError
        If two pages claim a term.
    """
    made: dict[str, list] = {}
    for name, claimed in terms.items():
        for term in (term.lower() for term in claimed if name in names):
            for spelled in {term, fold(term)}:
                if spelled in made:
                    raise ValueError(f"terms: {term!r} is claimed by two pages, one of them {name}")
                made[spelled] = [[names.index(name), "", True]]
    return made
