"""Three rules on images, written before any network of the searched race was trained.

A record counts only if its settings were searched (``chosen`` in its facts): the race before it was
made with settings of points, and decides nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from companion.experiments.claims import Claim
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import image_values
from companion.experiments.tweedie.few_clean import MEASURES, ratio_of
from companion.experiments.tweedie.grading import (
    BETTER,
    EQUAL_COST,
    WORSE,
    Told,
    but,
    doubt,
    flipped,
)
from companion.experiments.tweedie.image_network import EM
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, SURE
from companion.statistics import Interval, combine, decide

__all__ = ["FEW", "MIND", "by_em", "consistency_on_images", "few_clean", "searched"]

FEW = 0.1
"""Share of clean images that the sentence names."""

EM_RIVALS = {AMBIENT: "the ambient loss", SURE: "SURE", CONSISTENCY: "consistency"}
"""Methods that see the same noisy images, all with settings that were searched."""

MIND = {
    "tweedie-image-samples": "A setting of consistency that noisy images alone choose, and whose "
    "samples are nearer on fresh seeds by 5 %, would overturn a no; the opposite, a yes.",
    "tweedie-em": "EM with more rounds at the same number of evaluations, chosen on noisy images "
    "alone, would change our mind if its order among the methods changed on fresh seeds.",
    "tweedie-few-clean": "Longer training of both, after which the gap to clean images opens or "
    "closes, would change our mind.",
}
"""For each claim, what would change our mind."""

Found = dict[str, Interval | None]


def searched(records: Told) -> dict[str, Results]:
    """Return the records whose settings were searched, with two seeds or more."""
    return {
        title: record
        for title, record in records.items()
        if record is not None and "chosen" in record.facts and record.table["seed"].nunique() > 1
    }


def consistency_on_images(records: Told) -> Claim:
    """Its samples are nearer to real images than those of the ambient loss alone."""
    name, there = "tweedie-image-samples", searched(records)
    found = {
        f"{title} with noise {s_n:g}": _pair(record, CONSISTENCY, AMBIENT, s_n)
        for title, record in there.items()
        for s_n in _noises(record)
    }
    if not found:
        return _untested(name)
    verdicts = _verdicts(found)
    verdict = combine(verdicts.values())
    answers = {
        "supported": "Yes: with consistency, samples are nearer to real images.",
        "depends": but(verdicts, "With consistency, samples are nearer to real images in some "
                       "cases only."),
        "not supported": "No: with consistency, samples are no nearer to real images.",
        "inconclusive": "Undecided: with consistency, samples may be nearer to real images.",
    }  # fmt: skip
    return _claim(
        name, verdict, answers[verdict], found,
        "Ratio of Frechet distances, consistency over the ambient loss alone, each at the settings "
        f"that the search on noisy images chose, on fresh seeds, {EQUAL_COST}: "
        f"{_listed(found, verdicts)}.",
        there,
    )  # fmt: skip


def by_em(records: Told) -> Claim:
    """Its samples are nearer than those of each other method that sees noisy images only."""
    name, there = "tweedie-em", searched(records)
    places = [
        (title, record, s_n)
        for title, record in there.items()
        for s_n in _noises(record)
        if EM in record.labels("method")
    ]
    found = {
        title if len(places) == 1 else f"{title} ({where} with noise {s_n:g})": _pair(
            record, EM, rival, s_n, len(EM_RIVALS) * len(places)
        )
        for where, record, s_n in places
        for rival, title in EM_RIVALS.items()
    }
    if not found:
        return _untested(name)
    verdicts = _verdicts(found)
    verdict = combine(verdicts.values())
    beaten = [title for title, v in verdicts.items() if v == "supported"]
    short = f"EM samples better than {' and '.join(beaten)} only."
    answers = {
        "supported": "Yes: EM's samples are the nearest of all methods that see noisy images.",
        "depends": short if len(short.split()) <= 15 else "EM beats some of its rivals only.",
        "not supported": "No: EM's samples are no nearer than those of its rivals.",
        "inconclusive": "Undecided: EM's samples may be nearer than those of its rivals.",
    }
    return _claim(
        name, verdict, answers[verdict], found,
        f"Ratio of Frechet distances, EM over each rival, all searched alike, {EQUAL_COST}, "
        f"those of drawing included: {_listed(found, verdicts)}.",
        there,
    )  # fmt: skip


def few_clean(records: Told, shares: Told) -> Claim:
    """With a tenth of clean images it is no worse than with clean images only, by two measures."""
    name, there = "tweedie-few-clean", searched(records)
    found: Found = {}
    alone: list[str] = []
    defaults = False
    for title, few in searched(shares).items():
        race, s_n = there.get(title), float(few.settings["noise"])
        there_is = few.table["clean_share"]
        if race is None or s_n not in _noises(race) or not np.isclose(there_is, FEW).any():
            continue
        defaults |= CLEAN not in race.facts["chosen"]
        for measure, named in MEASURES.items():
            where = named if len(searched(shares)) == 1 else f"{named}, {title}"
            seeds = few.labels("seed")
            clean = image_values(race, measure, CLEAN, s_n, seeds)
            mixed = image_values(few, measure, AMBIENT, s_n, seeds, FEW)
            found[where] = ratio_of(mixed, clean, len(MEASURES))
            noisy = ratio_of(image_values(race, measure, AMBIENT, s_n, seeds), clean, len(MEASURES))
            alone.append(f"{where} {'a training failed' if noisy is None else f'{noisy:.2f}'}")
    if not found:
        return _untested(name)
    verdicts = {
        where: "inconclusive" if r is None else flipped(decide(r, WORSE, reference=1))
        for where, r in found.items()
    }
    verdict = combine(verdicts.values())
    reached = [where for where, v in verdicts.items() if v == "supported"]
    short = (
        f"With {FEW:.0%} clean images it reaches clean training in {reached[0]} only."
        if reached
        else ""
    )
    answers = {
        "supported": f"Yes: with {FEW:.0%} clean images it is as good as with clean images only.",
        "depends": short if 0 < len(short.split()) <= 15 else "It reaches clean training in part.",
        "not supported": f"No: with {FEW:.0%} clean images it is worse than clean training.",
        "inconclusive": f"Undecided: with {FEW:.0%} clean images it may be worse than clean "
        "training.",
    }
    return _claim(
        name, verdict, answers[verdict], found,
        f"Ratios to training on clean images only, {EQUAL_COST}, with {FEW:.0%} clean images: "
        f"{_listed(found, verdicts)}. With noisy images alone: {'; '.join(alone)}. "
        + ("Training on clean images keeps its default settings; those of the ambient loss were "
           "searched." if defaults else "The settings of both were searched alike."),
        there, WORSE,
    )  # fmt: skip


def _untested(name: str) -> Claim:
    return Claim(
        name,
        "not tested",
        "The record with searched settings is being made; the rule was written before it. "
        f"{MIND[name]}",
        answer="Not tested yet: the record of this race is being made.",
    )


def _claim(
    name: str, verdict: str, answer: str, found: Found, evidence: str,
    records: Mapping[str, Results], smallest: float = BETTER,
) -> Claim:  # fmt: skip
    known = [ratio for ratio in found.values() if ratio is not None]
    most = max(int(record.table["seed"].nunique()) for record in records.values())
    seeds = known[0].n if known else most
    return Claim(
        name,
        verdict,
        f"{evidence}{doubt(known, verdict, smallest) if known else ''} {MIND[name]}",
        answer=answer,
        interval=known[0] if known else None,
        seeds=seeds,
        data="images, ratio of Frechet distances",
        figure="fig-tw-images",
    )


def _verdicts(found: Found) -> dict[str, str]:
    return {
        where: "inconclusive" if ratio is None else decide(ratio, BETTER, reference=1)
        for where, ratio in found.items()
    }


def _listed(found: Found, verdicts: Mapping[str, str]) -> str:
    return "; ".join(
        f"{where} {'a training failed' if ratio is None else f'{ratio:.2f}'} ({verdicts[where]})"
        for where, ratio in found.items()
    )


def _noises(record: Results) -> list[float]:
    return [float(s) for s in record.labels("noise")]  # type: ignore[arg-type]


def _pair(record: Results, one: str, other: str, s_n: float, together: int = 1) -> Interval | None:
    """Ratio of two methods' Frechet distances; None if a training failed or one is missing."""
    first, second = (image_values(record, "Frechet distance", m, s_n) for m in (one, other))
    return ratio_of(first, second, together)
