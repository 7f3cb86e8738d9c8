"""The contested claim of chapter 3 on images: contrastive fine-tuning helps a trained U-Net.

The rule was committed before a network that it judges was trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from companion.experiments.contested import (
    UNDECIDED,
    Contested,
    more_networks,
    undecided,
)
from companion.experiments.noise_classifier.comparisons import (
    before_ratios,
    decide_each,
    kind_name,
    kind_ratios,
    ratio_text,
)
from companion.experiments.noise_classifier.continuations import (
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.results import Results
from companion.statistics import Interval

__all__ = ["CLOSER", "contested", "judged"]

CLOSER = 0.95
"""Ratio of Fréchet distances below which a gain counts: as for points and digits."""

WHY = "the loss and its control were not searched alike"
ANSWERS = {
    "supported": "Yes: on trained networks samples are better than after plain denoising.",
    "not supported": "No: on trained networks samples are not 5 % better than after denoising.",
    "depends": "In part: on trained networks samples are better in one kind of sampling.",
    "inconclusive": "Not decided: on trained networks samples may be 5 % better, or not.",
    UNDECIDED: "Not decided: there is no record of trained networks with searched settings.",
}
CHANGE = {
    "supported": "A search of plain denoising that is wider, at the same cost, and reaches the "
    "same distance with five new networks.",
    "else": "A setting of the loss, found with at most as many trials as the control has, that "
    "brings samples 5 % closer to the data at equal network evaluations, in sequence and in "
    "parallel, with five new networks.",
}


def judged(images: Mapping[str, Results | None]) -> tuple[str, Results] | None:
    """Return the last record whose settings were searched, with its title; None without one."""
    found = [(t, r) for t, r in images.items() if r is not None and r.facts.get("searched")]
    return found[-1] if found else None


def contested(images: Mapping[str, Results | None]) -> Contested:
    """Judge the claim by records of ``ImageContrast``.

    The claim: with the loss, samples are at least 5 % closer to the data than after plain denoising
    with as many network evaluations, both with settings from searches of equal size. It is decided
    for each kind of sampling from the mean logarithm over its samplers and budgets, paired over
    networks; intervals hold together at 95 %.
    """
    found = judged(images)
    if found is None:
        return Contested(UNDECIDED, ANSWERS[UNDECIDED], undecided(images, WHY), CHANGE["else"])
    title, record = found
    ratios = kind_ratios(record)
    kinds = list(dict.fromkeys(kind for kind, _ in ratios))
    decided = {kind_name(k): ratios[k, SAME_COST] for k in kinds}
    decision = decide_each(decided, CLOSER, comparisons=len(ratios))
    steps = ", ".join(f"{ratio_text(ratios[k, SAME_STEPS])} ({kind_name(k)})" for k in kinds)
    befores = "; ".join(
        f"{name} " + ", ".join(f"{ratio_text(i)} ({kind_name(k)})" for k, i in over.items())
        for name, method in (("with the loss", CONTRASTIVE), ("denoising", SAME_COST))
        if (over := before_ratios(record, method))
    )
    evidence = (
        f"{title}, {record.settings['seeds']} networks of {record.settings['steps']:,} steps. "
        f"Ratio of Fréchet distances, with the loss over denoising at equal evaluations: "
        f"{decision.listed}. Over denoising at equal steps: {steps}.{decision.power}"
        + (f" Over the network that both go on from: {befores}." if befores else "")
    )
    change = CHANGE.get(decision.verdict, CHANGE["else"])
    if decision.verdict == "inconclusive" and decision.interval is not None:
        mean, low, high = (math.log(v) for v in decision.interval[:3])
        logs = Interval(mean, low, high, decision.interval.n)
        change = more_networks(logs, math.log(CLOSER), decision.comparisons)
    return Contested(decision.verdict, ANSWERS[decision.verdict], evidence, change)
