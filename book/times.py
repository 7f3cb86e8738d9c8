"""The page of measured times, memory and sizes, read out of executed chapters and records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from book.project import PROFILES, ROOT, executed, plain, read_notebook, sources


def measured(path: Path) -> dict[str, Any]:
    """What a run left in its notebook, and the sizes of that and of its figures."""
    notebook = read_notebook(path)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    figures = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    return {
        **notebook.metadata["build"],
        "kilobytes": path.stat().st_size / 1000,
        "figures": len(figures),
        "largest": max((len(f) * 3 / 4000 for f in figures), default=0),  # base64
    }


def table(runs: dict[str, dict[str, Any]]) -> list[str]:
    """The runs of one profile."""
    facts = list(runs.values())
    kinds = ("hardware", "software", "date")
    same = [plain(", ".join(sorted({str(f[kind]) for f in facts}))) for kind in kinds]
    lines = [f"{same[0]}; {same[1]}; {same[2]}.", ""]
    lines += [
        "| chapter | seconds | of these, its experiments | longest cell | memory (MiB) "
        "| notebook (KB) | figures (KB) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, f in runs.items():
        figures = f"{f['figures']}, at most {f['largest']:.0f}"
        cells = [f"{{doc}}`/notebooks/{name}`", f"{f['seconds']:.1f}"]
        cells += [f"{f['experiments_seconds']:.1f}" if f["experiments"] else "none"]
        cells += [
            f"{f['longest_cell_seconds']:.1f}",
            str(f["peak_memory_mib"]),
            f"{f['kilobytes']:.0f}",
            figures,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    measured_in = sum(f["experiments_seconds"] for f in facts)
    total, peak = sum(f["seconds"] for f in facts), max(f["peak_memory_mib"] for f in facts)
    size, figures = sum(f["kilobytes"] for f in facts), sum(f["figures"] for f in facts)
    return [
        *lines,
        f"| all | {total:.1f} | {measured_in:.1f} | | {peak} | {size:.0f} | {figures} |",
        "",
    ]


def plain_table(profile: str) -> str:
    """The runs of one profile for a log, in Markdown."""
    paths = {source.stem: executed(profile, source.stem) for source in sources()}
    runs = {stem: measured(path) for stem, path in paths.items() if path.exists()}
    if not runs:
        return f"No chapter was run in the profile {profile}."
    return re.sub(r"\{doc\}`/notebooks/(.*?)`", r"\1", "\n".join(table(runs)))


def records(folder: Path) -> list[str]:
    """What each recorded image experiment took.

    Raises
    ------
    ValueError
        If a record is damaged; the message names it.
    """
    lines = ["| record | seconds | memory (MiB) | device | date |", "|---|--:|--:|---|---|"]
    paths = sorted(folder.glob("*.json"))
    for path in paths:
        try:
            p = json.loads(path.read_text(encoding="utf-8"))["provenance"]
            seconds = "" if p.get("seconds") is None else f"{p['seconds']:.0f}"
            memory = "" if p.get("peak_memory") is None else f"{p['peak_memory'] / 2**20:.0f}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged or cut short: {error!r}") from error
        cells = [plain(path.stem), seconds, memory, plain(p.get("device", ""))]
        lines.append(f"| {' | '.join([*cells, plain(str(p.get('date', ''))[:10])])} |")
    return [*lines, ""] if paths else ["No record has been made yet.", ""]


def page(profile: str, stems: list[str]) -> str:
    """The tables: the profile of this site, the others as far as they were run, the records."""
    lines: list[str] = []
    for other in (profile, *(p for p in PROFILES if p != profile)):
        paths = {stem: executed(other, stem) for stem in stems}
        runs = {stem: measured(path) for stem, path in paths.items() if path.exists()}
        lines += [f"## Profile `{other}`" + (", which made this site" if other == profile else "")]
        missing = [stem for stem in stems if stem not in runs]
        lines += ["", *(table(runs) if runs else ["Not run where this site was built.", ""])]
        if runs and missing:
            lines += [f"Not run here: {', '.join(missing)}.", ""]
    return "\n".join([*lines, "## Recorded image experiments", "", *records(ROOT / "results")])
