"""The findings in the README, written from the published verdicts, so that they can't go stale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from book.project import ROOT, write_atomically
from companion.experiments import CHAPTERS
from companion.experiments.claims import MARKS, published

BEGIN = "<!-- Written by `python -m book readme` from results/published. -->"
END = "<!-- End of the findings. -->"

QUESTIONS = {
    "extra-perturbation": "Does extra noise on the input in training make better samples?",
    "tweedie-outperform": "From noisy images only: does it help to know their noise?",
    "classifier-samplers": "Does a contrastive loss bring samples closer to the data?",
    "projection-state-of-the-art": "Is gradient estimation better than other fast samplers?",
    "meet-widths-sampler": "Can one calculate the width of samples before training?",
}
"""What a finding answers: id of a claim -> question."""


def write() -> int:
    """Bring the README up to date."""
    path = ROOT / "README.md"
    write_atomically(path, filled(path.read_text(encoding="utf-8"), published()))
    return 0


def filled(text: str, verdicts: Mapping[str, Any]) -> str:
    """The README with the findings of these published verdicts.

    Raises
    ------
    ValueError
        If it has no place for them.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md: allowed is one line {BEGIN!r}, and after it one line {END!r}")
    block = "\n".join([BEGIN, "", *findings(verdicts), "", END])
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.S)


def findings(verdicts: Mapping[str, Any]) -> list[str]:
    """A line for each question that a published verdict answers."""
    lines = {}
    for module, entry in verdicts.items():
        for claim in entry["claims"]:
            if question := QUESTIONS.get(claim["id"]):
                page = CHAPTERS[module]
                lines[claim["id"]] = (
                    f"- *{question}* {MARKS[claim['verdict']]} {claim['answer']} "
                    f"[Chapter {int(page[:2])}](notebooks/{page}.md)"
                )
    return [lines[name] for name in QUESTIONS if name in lines]
