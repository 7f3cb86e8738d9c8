"""The contested claim of chapter 1 on images: input perturbation improves long chains.

The rule was committed before a network that it judges was trained.
"""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.contested import (
    UNDECIDED,
    Contested,
    more_networks,
    undecided,
)
from companion.experiments.extra_noise.arms import FREE, TRAINED
from companion.experiments.extra_noise.chains import PLAIN, image_values, lengths, perturbed
from companion.experiments.extra_noise.effects import Effect, difference, doubt
from companion.experiments.results import Results
from companion.statistics import combine

__all__ = ["LONG", "contested"]

LONG = 100
"""Steps from which a chain is long."""

WHY = "the strength in this record was not searched"
ANSWERS = {
    "supported": "Yes: on long chains samples of trained networks are at least 5 % better.",
    "not supported": "No: on long chains samples of trained networks are not 5 % better.",
    "depends": "In part: samples of trained networks are 5 % better on one long chain.",
    "inconclusive": "Not decided: on long chains samples may be 5 % better, or not.",
    UNDECIDED: "Not decided: there is no record of trained networks with a searched strength.",
}
CHANGE = {
    "supported": "A learning rate or a length of plain training, found with as many trials, with "
    "which five new plain networks reach the same distance on those chains.",
    "else": "A strength, found with as many trials as the plain network has, with which five new "
    "networks bring samples of every long chain 5 % closer to the data than plain training does.",
}


def contested(images: Mapping[str, Results | None]) -> Contested:
    """Judge the claim by records of ``ImageTrial``.

    The claim: with input perturbation, samples of chains of ``LONG`` steps and more are at least
    5 % closer to the data than after plain training of the same length, the strength of one and the
    learning rate of both from searches of equal size. Differences are paired over networks; the
    intervals of all long chains hold together at 95 %.
    """
    found = [(t, r) for t, r in images.items() if r is not None and r.facts.get("searched")]
    if not found:
        return Contested(UNDECIDED, ANSWERS[UNDECIDED], undecided(images, WHY), CHANGE["else"])
    title, record = found[-1]
    chains = lengths(record)
    long = [n for n in chains if n >= LONG] or chains[-1:]
    arm = perturbed(record)

    def effect(n: int, rival: tuple = PLAIN, comparisons: int = 1) -> Effect:
        first, second = (
            image_values(record, "Frechet distance", c, {"steps": n})
            for c in ((TRAINED, arm), rival)
        )
        return difference(first, second, comparisons, -1, label=arm.size)

    effects = {n: effect(n, comparisons=len(long)) for n in long}
    verdict = combine(e.verdict for e in effects.values())
    decides = next((e for e in effects.values() if e.verdict == verdict), effects[long[0]])
    others = [n for n in chains if n not in long]
    parts = [
        f"{title}, {record.settings['seeds']} networks of {record.settings['steps']:,} steps, each "
        f"continued with and without input perturbation, {arm.size}.",
        f"Change of the Fréchet distance: {_listed(effects)}.",
        f"On short chains: {_listed({n: effect(n) for n in others})}." if others else "",
        f"Against the plain network with its label and scale, for free: "
        f"{_listed({n: effect(n, (FREE, arm), len(long)) for n in long})}.",
    ]
    evidence = " ".join(filter(None, parts)) + doubt(decides, verdict)
    change = CHANGE.get(verdict, CHANGE["else"])
    if verdict == "inconclusive" and decides.finite:
        change = more_networks(decides.interval, decides.smallest, len(long))
    return Contested(verdict, ANSWERS[verdict], evidence, change)


def _listed(effects: Mapping[int, Effect]) -> str:
    return ", ".join(f"{effect} with {n} steps" for n, effect in effects.items())
