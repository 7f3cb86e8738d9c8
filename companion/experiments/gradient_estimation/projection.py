"""Rules of chapter 4 about projection and descent: from results to claims."""

from __future__ import annotations

import math

import numpy as np

from companion.experiments.claims import Claim
from companion.experiments.gradient_estimation.problems import DIGITS, IDEAL
from companion.experiments.gradient_estimation.rulings import (
    at_least,
    at_most,
    between,
    by_verdict,
    claim,
    listed,
    rule,
    seeds,
)
from companion.experiments.results import Results
from companion.statistics import mean_interval

__all__ = [
    "admissible",
    "assumption",
    "convergence",
    "descent",
    "descent_step",
    "learning",
    "lemma",
    "orthogonal",
]

ALONG = 0.25
"""Largest share of the noise's energy along the data: it stands at 60 degrees or more to them."""

NEAR_PROJECTION = 0.1
"""Largest mean error of a denoiser that projects: a tenth of the way that is left to go."""

DESCENDS = 0.5
"""Smallest fall of the distance in a step of descent: half of what the exact gradient brings."""

MOST = 0.5
"""Smallest share of the way, on a logarithmic scale, that an analysis guarantees if it explains."""

ALMOST_ALL = 0.95
"""Smallest share of the paths that stay in the band if a schedule is admissible."""

TESTS = "tests/test_gradient_estimation_projection.py"


def orthogonal(shares: Results) -> Claim:
    """Little of the noise points along the digits, however many directions count as along them."""
    energies = shares.labels("energy", set="digits")
    ruling = rule(
        {
            e: mean_interval(
                shares.values(measure="share", set="digits", energy=e), comparisons=len(energies)
            )
            for e in energies
        },
        lambda i: at_most(i, ALONG),
    )
    answers = {
        "supported": "Yes: on digits little of the noise points along the data.",
        "depends": "It depends on how many directions count as along the data.",
        "not supported": "No: much of the noise points along the data.",
        "inconclusive": "Open: the share along the data is too uncertain.",
    }
    return claim(
        "projection-orthogonal",
        ruling,
        answers,
        f"Share of the noise's energy along digits: {ruling.interval}, if {ruling.key:.0%} of the "
        f"local variance counts as along them. At most {ALONG:.0%} counts as orthogonal. On any "
        "smooth set the share is d / n. A seed is a draw of noise at the same digits.",
        seeds=seeds(shares),
        data="digits",
        figure="fig-ov-orthogonal",
        smallest=f"a share {ALONG:.0%}",
    )


def learning(paths: Results) -> Claim:
    """The exact denoiser of the digits is near the projection at each noise level."""
    levels = paths.labels("level", measure="relative error")
    ruling = rule(
        {
            s: mean_interval(
                paths.values(measure="relative error", level=s), comparisons=len(levels)
            )
            for s in levels
        },
        lambda i: at_most(i, NEAR_PROJECTION),
    )
    far = [s for s, v in ruling.verdicts.items() if v == "not supported"]
    gap = f"from {min(far):.2g} to {max(far):.2g}" if far else ""
    answers = {
        "supported": "Yes: the exact denoiser is close to the projection at every noise level.",
        "depends": f"With much and with little noise: yes; not at noise levels {gap}.",
        "not supported": "No: at every noise level denoising is far from projecting.",
        "inconclusive": "Open: how near denoising is to projecting is too uncertain.",
    }
    return claim(
        "projection-learning",
        ruling,
        answers,
        f"Mean error of the best denoiser of the digits, relative to the distance: "
        f"{ruling.interval} at noise level {ruling.key:.2g}. Up to {NEAR_PROJECTION:g} counts as "
        f"projecting. It is {f'more {gap}' if far else 'nowhere clearly more'}. A seed is a batch "
        "of paths; the digits are the same.",
        seeds=seeds(paths),
        data=f"{paths.facts['images']} digits, {paths.facts['paths']} paths",
        figure="fig-ov-ideal",
        smallest=f"an error of {NEAR_PROJECTION:g}",
    )


def descent_step(identity: Results) -> Claim:
    """A step of DDIM is a gradient step: algebra."""
    gap = float(np.max(identity.grid("denoiser", measure="relative gap")))
    return Claim(
        "projection-descent-step",
        "proved",
        "A step of DDIM is a step against sigma times the noise that the denoiser sees. For the "
        "best denoiser of a finite set that is the exact gradient of a smoothed squared distance. "
        f"Both are algebra and hold for every denoiser; here to {gap:.0e} relative.",
        answer="Yes: each DDIM step is a gradient step on a smoothed distance.",
        proof=f"{TESTS}::test_ddim_is_a_gradient_step",
    )


def descent(falls: Results) -> Claim:
    """Each step comes down on the distance as a gradient step would, for networks and exactly."""
    levels, both = falls.labels("level", measure="fall"), (DIGITS, IDEAL)
    number = len(levels) * len(both)
    ruling = rule(
        {
            (p, s): mean_interval(
                falls.values(measure="fall", problem=p, level=s), comparisons=number
            )
            for p in both
            for s in levels
        },
        lambda i: at_least(i, DESCENDS),
        lower=False,
    )
    kept = {p: [s for s in levels if ruling.verdicts[p, s] == "supported"] for p in both}
    down = "; ".join(f"{p}: {between(kept[p])}" for p in both)
    spacing = falls.value(measure="spacing")
    ends = {
        p: "at every level" if len(s) == len(levels) else f"down to noise {min(s):.2g}" if s
        else "nowhere"
        for p, s in kept.items()
    }  # fmt: skip
    answers = {
        "supported": "Yes: steps come down on the distance to the data at every noise level.",
        "depends": f"Descent with networks {ends[DIGITS]}; with the exact denoiser {ends[IDEAL]}.",
        "not supported": "No: steps do not come down on the distance to the data.",
        "inconclusive": "Open: how far steps come down is too uncertain.",
    }
    return claim(
        "projection-descent",
        ruling,
        answers,
        f"Fall of the distance in a step, over that of the exact gradient: {ruling.interval} "
        f"({ruling.key[0]}, noise level {ruling.key[1]:.2g}). It is at least {DESCENDS:g} at these "
        f"levels: {down}. The distance is to the training digits; an unseen digit is as far from "
        f"them as noise of {spacing:.2g}, and below that networks head for new digits.",
        seeds=seeds(falls),
        data="8 × 8 digits",
        smallest=f"a fall of {DESCENDS:g}",
    )


def convergence(descents: Results) -> Claim:
    """The lemma is a theorem."""
    broken, steps = lemma(descents)
    return Claim(
        "projection-convergence",
        "proved",
        "The bounds on the distance in one step and over a whole run follow from the triangle "
        f"inequality. Of {steps} steps on digits {broken or 'none'} violated them. What they "
        "guarantee is the next claim.",
        answer="Yes: the bounds on the distance are a short proof.",
        proof=f"{TESTS}::test_distance_lemma",
    )


def assumption(paths: Results) -> Claim:
    """With the measured constants the assumptions guarantee most of the way down."""
    nu, fall = paths.value(measure="nu"), paths.value(measure="fall of sigma")
    shares = math.log(nu) / paths.values(measure="eta of a path") / math.log(fall)
    interval = mean_interval(shares)
    ruling = rule({"": interval}, lambda i: at_least(i, MOST), lower=False)
    answers = {
        "supported": "Yes: with measured constants they guarantee most of the way to the data.",
        "not supported": "No: one error bound for all levels guarantees little of the way.",
        "inconclusive": "Open: the measured constants are too uncertain.",
    }
    return claim(
        "projection-assumption",
        ruling,
        answers,
        f"Share of the way that is guaranteed, in logarithms of the noise level: {interval}. "
        f"However many steps, that is a fall by {fall**interval.mean:.1f} where {fall:.0f} was "
        "seen. It is the median path's error bound with the band of all paths; a bound for each "
        "level, our extension, explains the rest. A seed is a batch of paths.",
        seeds=seeds(paths),
        data="digits, exact denoiser",
        figure="fig-ov-ideal",
        smallest=f"a share of {MOST:g}",
    )


def admissible(descents: Results) -> Claim:
    """Almost all paths stay in the band, with log-linear schedules of many and of few steps."""
    names = [n for n in descents.labels("schedule") if str(n).startswith("log-linear")]
    where = {"measure": "share in the band"}
    ruling = rule(
        {
            str(n).partition(", ")[2]: mean_interval(
                descents.values(schedule=n, **where), comparisons=len(names)
            )
            for n in names
        },
        lambda i: at_least(i, ALMOST_ALL),
        lower=False,
    )
    inside, outside, _ = by_verdict(ruling)
    answers = {
        "supported": "Yes: with each number of steps tried, paths stay in the band.",
        "depends": f"Log-linear schedules: yes with {inside}; no with {outside}.",
        "not supported": "No: paths leave the band with every number of steps tried.",
        "inconclusive": "Open: the share of paths in the band is too uncertain.",
    }
    return claim(
        "projection-admissible",
        ruling,
        answers,
        f"Share of the paths whose distance stays within a factor of {descents.settings['band']:g} "
        f"of what the noise level says: {ruling.interval:.1%} with {ruling.key}. "
        f"{listed(ruling, '.1%')}. At least {ALMOST_ALL:.0%} counts as admissible. A seed is a "
        "batch of paths.",
        seeds=seeds(descents),
        data=f"{descents.facts['images']} digits, exact denoiser",
        figure="fig-ov-admissible",
        smallest=f"a share of {ALMOST_ALL:.0%}",
    )


def lemma(descents: Results) -> tuple[int, int]:
    """Steps that violate the distance lemma, and all steps that were checked."""
    broken, steps = (
        int(descents.where(measure=name)["value"].sum()) for name in ("violations", "steps")
    )
    return broken, steps
