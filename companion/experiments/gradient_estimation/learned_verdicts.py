"""Rules about the learned sampler: from results to claims of the book's own.

Each rule has its smallest effects of interest as constants. The intervals of a rule hold together
at 95 % (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from companion.experiments.claims import Claim
from companion.experiments.gradient_estimation.comparisons import compared, whole
from companion.experiments.gradient_estimation.learned_race import PARTS, LearnedRace
from companion.experiments.gradient_estimation.learned_rivals import FIXED
from companion.experiments.gradient_estimation.learned_transfer import LearnedTransfer
from companion.experiments.gradient_estimation.rulings import (
    at_most,
    by_verdict,
    choose,
    claim,
    less,
    listed,
    rule,
    seeds,
)
from companion.experiments.results import Results
from companion.statistics import Interval

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["against_each", "claims", "parts", "places", "transfers"]

AS_NEAR = 1.05
"""Largest distance to the data, over that of the flow's own samples, that counts as equal."""

FIVE_PERCENT = "a ratio of 0.95"


def claims(session: Session) -> list[Claim]:
    """Judge what the chapter says about the learned sampler."""
    race, transfer = session.run(LearnedRace), session.run(LearnedTransfer)
    return [ahead(race), both(race), as_near(race), transferred(transfer)]


# --- readings ------------------------------------------------------------------------------------


def places(race: Results, method: str = "learned") -> list[tuple[str, int]]:
    """Problems and budgets at which a method was run."""
    found = race.where(measure="error", method=method)[["problem", "budget"]].drop_duplicates()
    return [(str(p), int(n)) for p, n in found.itertuples(index=False)]


def _values(race: Results, method: str, place: tuple[str, int], measure: str) -> np.ndarray:
    problem, n = place
    return race.values(measure=measure, problem=problem, method=method, budget=n)


def against_each(
    race: Results, place: tuple[str, int], rivals: Sequence[str] = FIXED, number: int = 0
) -> dict[str, Interval]:
    """Error of the learned sampler over that of each rival, paired over seeds.

    Parameters
    ----------
    race : Results of ``LearnedRace``
    place : problem and budget
    rivals : methods
    number : int
        Comparisons that hold together (default: all of this place with all others).
    """
    ours = _values(race, "learned", place, "error")
    number = number or len(places(race)) * len(rivals)
    return {m: compared(ours, _values(race, m, place, "error"), number) for m in rivals}


def parts(race: Results) -> dict[tuple[str, int], dict[str, Interval]]:
    """Error of the learned sampler over those that learn a part, by problem and budget."""
    spots = places(race, PARTS[0])
    number = len(spots) * len(PARTS)
    return {spot: against_each(race, spot, PARTS, number) for spot in spots}


def transfers(transfer: Results, over: str = "best fixed") -> dict[tuple[str, int], Interval]:
    """Error of a sampler that was brought, over that of another method, by kind and budget."""
    kinds, budgets = map(str, transfer.labels("kind")), whole(transfer, "budget")
    spots = [(kind, n) for kind in kinds for n in budgets]

    def values(spot: tuple[str, int], method: str) -> np.ndarray:
        return transfer.values(measure="error", kind=spot[0], budget=spot[1], method=method)

    return {
        spot: compared(values(spot, "brought"), values(spot, over), len(spots)) for spot in spots
    }


def _worst(ratios: dict[str, Interval]) -> tuple[str, Interval]:
    """Verdict against all rivals of a place, and the ratio that decides it.

    "supported" if it is nearer than each by 5 %, "not supported" if it is not nearer than one. A
    rival of which a seed failed is left out.
    """
    known = [ratio for ratio in ratios.values() if not math.isnan(ratio.mean)]
    verdicts = [less(ratio) for ratio in known]
    order = ("not supported", "inconclusive", "supported")
    verdict = next((v for v in order if v in verdicts), "inconclusive")
    those = [ratio for ratio, v in zip(known, verdicts) if v == verdict]
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    return verdict, max(those, key=lambda ratio: ratio.mean, default=nothing)


# --- rules ---------------------------------------------------------------------------------------


def ahead(race: Results) -> Claim:
    """Nearer to the flow than every fixed sampler, each at its best setting."""
    standing = {spot: _worst(against_each(race, spot)) for spot in places(race)}
    ruling = choose(
        {spot: pair[1] for spot, pair in standing.items()},
        {spot: pair[0] for spot, pair in standing.items()},
    )
    won = list(ruling.verdicts.values()).count("supported")
    answers = {
        "supported": "Yes: nearer to the flow than every fixed sampler, each at its best setting.",
        "depends": f"Ahead of every fixed sampler in {won} of {len(standing)} cases.",
        "not supported": "No: a fixed sampler at its best setting is as near to the flow.",
        "inconclusive": "Open: the error over that of the best fixed sampler is too uncertain.",
    }
    return claim(
        "learned-ahead",
        ruling,
        answers,
        f"Error of the learned sampler over that of the best fixed one: {ruling.interval} "
        f"({ruling.key[0]}, N = {ruling.key[1]}). Less by 5 % than each of {len(FIXED)} samplers "
        f"counts; that holds in {won} of {len(standing)} cases. Learned and chosen on the first "
        "network with the same noise, compared on all networks with other noise.",
        seeds=seeds(race),
        data="spirals and 8 × 8 digits",
        figure="fig-ov-learned",
        smallest=FIVE_PERCENT,
        ratio=True,
        comparisons=len(standing) * len(FIXED),
    )


def both(race: Results) -> Claim:
    """Levels and weights together are better than either alone, and than levels by theory."""
    standing = {spot: _worst(ratios) for spot, ratios in parts(race).items()}
    ruling = choose(
        {spot: pair[1] for spot, pair in standing.items()},
        {spot: pair[0] for spot, pair in standing.items()},
    )
    won = list(ruling.verdicts.values()).count("supported")
    answers = {
        "supported": "Yes: levels and weights together leave less error than either alone.",
        "depends": f"In {won} of {len(standing)} cases both together beat either alone.",
        "not supported": "No: levels alone, or weights alone, are as good as both.",
        "inconclusive": "Open: what both together gain over either alone is too uncertain.",
    }
    return claim(
        "learned-both",
        ruling,
        answers,
        f"Error of the learned sampler over that of the best that learns a part: {ruling.interval} "
        f"({ruling.key[0]}, N = {ruling.key[1]}). The parts: levels alone with the weights of "
        "DPM-Solver++(2M), weights alone on the best schedule, and levels that are optimised "
        f"without a network, with UniPC. Less by 5 % than each counts; that holds in {won} of "
        f"{len(standing)} cases.",
        seeds=seeds(race),
        data="spirals and 8 × 8 digits",
        figure="fig-ov-learned",
        smallest=FIVE_PERCENT,
        ratio=True,
        comparisons=len(standing) * len(PARTS),
    )


def as_near(race: Results) -> Claim:
    """As a distribution its samples are as near to the data as those of the flow."""
    spots = places(race)
    ruling = rule(
        {
            spot: compared(
                _values(race, "learned", spot, "distance"),
                race.values(measure="distance of the flow", problem=spot[0]),
                len(spots),
            )
            for spot in spots
        },
        lambda ratio: at_most(ratio, AS_NEAR),
    )
    held = list(ruling.verdicts.values()).count("supported")
    answers = {
        "supported": "Yes: as near to the data as the flow's samples, from three evaluations on.",
        "depends": f"In {held} of {len(spots)} cases as near to the data as the flow's samples.",
        "not supported": "No: further from the data than the flow's samples at every N.",
        "inconclusive": "Open: the distance to the data over the flow's is too uncertain.",
    }
    return claim(
        "learned-distribution",
        ruling,
        answers,
        "Sliced Wasserstein distance to the data over that of the flow's samples: "
        f"{ruling.interval} ({ruling.key[0]}, N = {ruling.key[1]}). At most 5 % more counts as "
        f"equal; that holds in {held} of {len(spots)} cases. The flow's samples are of the same "
        "noise.",
        seeds=seeds(race),
        data="spirals and 8 × 8 digits",
        smallest="a ratio of 1.05",
        ratio=True,
    )


def transferred(transfer: Results) -> Claim:
    """Learned on one denoiser, it is ahead of the best fixed sampler on another."""
    ratios = transfers(transfer)
    ruling = rule({f"{kind}, N = {n}": ratio for (kind, n), ratio in ratios.items()}, less)
    better, worse, _ = by_verdict(ruling)
    won = list(ruling.verdicts.values()).count("supported")
    answers = {
        "supported": "Yes: on other seeds, objectives, data and with guidance it stays ahead.",
        "depends": f"Brought to another denoiser it stays ahead in {won} of "
        f"{len(ruling.verdicts)} cases.",
        "not supported": "No: brought to another denoiser it is behind the best fixed sampler.",
        "inconclusive": "Open: the error on another denoiser is too uncertain.",
    }
    return claim(
        "learned-transfer",
        ruling,
        answers,
        "Error of a sampler learned elsewhere over that of the best fixed one, which is chosen on "
        f"the spot: {ruling.interval} ({ruling.key}). Ahead by 5 %: "
        f"{better or 'nowhere'}. Behind: {worse or 'nowhere'}. {listed(ruling, '.2f')}.",
        seeds=seeds(transfer),
        data="spirals and 8 × 8 digits",
        smallest=FIVE_PERCENT,
        ratio=True,
    )
