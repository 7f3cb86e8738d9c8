"""What chapter 7 concludes: one rule a claim. Intervals of a rule hold together at 95 %."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import isfinite
from typing import TYPE_CHECKING, Any

from companion.experiments.claims import Claim, Claims
from companion.experiments.foellmer.comparisons import (
    SMOOTH,
    collapse,
    difference,
    parameter_factor,
    preconditioning,
    smooth_over_pinned,
)
from companion.experiments.foellmer.densities import LEARNED, Sampling
from companion.experiments.foellmer.exact import Girsanov
from companion.experiments.foellmer.targets import DISTANCES
from companion.experiments.foellmer.widths import Widths
from companion.experiments.results import Results
from companion.statistics import Interval, combine, decide

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["verdicts"]

LESS = 0.9
"""Ratio of errors that counts as less: a tenth."""
AS_GOOD = 1.05
"""Ratio of errors up to which one counts as as good."""
LOST = 0.5
"""Number of lost modes, mean over seeds, from which a method counts as losing modes."""
CLOSER = -0.02
"""Smallest difference of that share that counts."""

WORDS = {"even": "all levels alike", "Girsanov": "Girsanov's weights"}
"""Names of the losses."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    widths, sampling = session.run(Widths), session.run(Sampling)
    return Claims(
        [
            extends(),
            error_bound(session.run(Girsanov)),
            fewer_parameters(widths),
            preconditioned(widths),
            loses_modes(sampling),
            log_variance(sampling),
            annealing(sampling),
        ]
    )


def extends() -> Claim:
    """The drift is the denoiser in other coordinates."""
    return Claim(
        "foellmer-extend",
        "proved",
        "The Föllmer drift is the denoiser in other coordinates, and the two processes are one. A "
        "drift that is wrong by e gives a denoiser that is wrong by (1 - t) e, so what networks "
        "can approximate carries over. The sizes of networks in the paper's theorems are not "
        "judged.",
        answer="Yes: the Föllmer drift is the denoiser in other coordinates.",
        proof="tests/test_foellmer_module.py::test_the_drift_is_the_gradient_of_the_heat_semigroup",
    )


def error_bound(girsanov: Results) -> Claim:
    """The error of the drift bounds that of the samples."""
    shares = {
        name: girsanov.value(drift=name, measure="KL") / bound
        for name in girsanov.labels("drift")
        if (bound := girsanov.value(drift=name, measure="bound")) > 0.001
    }
    return Claim(
        "foellmer-error-bound",
        "proved",
        "By Girsanov, half of the squared error of the drift over time bounds the KL divergence of "
        f"the samples. Of that bound {min(shares.values()):.0%} to {max(shares.values()):.0%} are "
        f"reached by {len(shares)} wrong drifts on a line, with equality for the drift of another "
        "distribution.",
        answer="Yes: the squared error of the drift bounds the KL divergence of samples.",
        proof="tests/test_foellmer_equations.py::"
        "test_the_bound_is_the_divergence_where_the_drift_is_of_a_distribution",
    )


def fewer_parameters(widths: Results) -> Claim:
    """At equal numbers of parameters an OU network has a smaller error than the pinned one."""
    ratios = smooth_over_pinned(widths)
    told = {place: decide(ratio, LESS, reference=1) for place, ratio in ratios.items()}
    verdict = combine(told.values())
    yes = [f"{name} with {WORDS[loss]}" for (name, loss), v in told.items() if v == "supported"]
    answers = {
        "supported": "Yes: OU networks have a smaller error than pinned ones of equal size.",
        "depends": f"Yes for the {yes[0]} only."
        if len(yes) == 1
        else "It depends on the loss and on what the network gives.",
        "not supported": "No: OU networks have no smaller error than pinned ones of equal size.",
        "inconclusive": "Undecided: the errors of OU and pinned networks are too near.",
    }
    factors = {place: parameter_factor(widths, *place) for place in ratios}
    needed = "; ".join(
        f"{named(place)} " + (f"{f:.2g} times as many" if isfinite(f) else "not reached")
        for place, f in factors.items()
    )
    return Claim(
        "foellmer-fewer-parameters",
        verdict,
        "Error of the denoiser, OU network over pinned one of the same size (geometric mean over "
        f"widths): {listed(ratios)}. Parameters needed for the error "
        f"of the pinned network of middle size: {needed}.",
        answer=answers[verdict],
        interval=ratios[SMOOTH[1], "even"],
        seeds=ratios[SMOOTH[1], "even"].n,
        data="points",
        figure="fig-fo-widths",
    )


def preconditioned(widths: Results) -> Claim:
    """The preconditioned network is as good as the best raw one, or better."""
    ratios = preconditioning(widths)
    (worst_name, _), worst = max(ratios.items(), key=lambda item: item[1].mean)
    verdict = combine(at_most(ratio, AS_GOOD) for ratio in ratios.values())
    answers = {
        "supported": "Yes: the preconditioned network is as good as every raw one, or better.",
        "depends": f"It depends: once the raw {worst_name} has a smaller error.",
        "not supported": f"No: the raw {worst_name} has a smaller error than preconditioning.",
        "inconclusive": "Undecided: preconditioned and best raw network are too near.",
    }
    return Claim(
        "foellmer-preconditioning",
        verdict,
        "Error of the preconditioned network over that of a raw one of the same size (geometric "
        f"mean over widths): {listed(ratios)}. Up to {AS_GOOD:g} it counts as as good.",
        answer=answers[verdict],
        interval=worst,
        seeds=worst.n,
        data="points",
        figure="fig-fo-widths",
    )


def loses_modes(sampling: Results) -> Claim:
    """Training by the reverse KL ends with wrong weights of the modes."""
    errors = collapse(sampling)
    told = {place: above(error, LOST) for place, error in errors.items()}
    verdict = combine(told.values())
    lost = [m for (m, place), v in told.items() if place == "far" and v == "supported"]
    kept = all(v == "not supported" for (_, place), v in told.items() if place == "near")
    answers = {
        "supported": "Yes: drifts trained by the reverse KL lose modes, near or far.",
        "depends": "It depends on the method and on the distance of the modes.",
        "not supported": "No: drifts trained by the reverse KL keep all modes here.",
        "inconclusive": "Undecided: the lost share of modes is too uncertain.",
    }
    if kept and lost:
        answers["depends"] = f"Far modes are lost by {' and '.join(lost)}; near ones are kept."
    return Claim(
        "foellmer-loses-modes",
        verdict,
        f"Modes lost, of three: {listed(errors)}. A mode is lost with less than a tenth of its "
        f"weight. From {LOST:g} on a method counts as losing modes.",
        answer=answers[verdict],
        interval=errors["PIS", "far"],
        seeds=errors["PIS", "far"].n,
        data="densities of points",
        figure="fig-fo-modes",
    )


def log_variance(sampling: Results) -> Claim:
    """The log-variance loss is better than the reverse KL, by both measures.

    These are the share of samples in the wrong modes, near and far, and the effective share of the
    weights where no method loses modes, near: where one does, alike weights mean nothing.
    """
    rivals = [name for name in LEARNED if name != "log-variance"]
    places = [*product(rivals, DISTANCES), *((rival, "effective share") for rival in rivals)]
    gains = {}
    for rival, where in places:
        if where == "effective share":
            gains[rival, where] = difference(
                sampling, "log-variance", rival, "near", len(places), where
            )
        else:
            gains[rival, where] = difference(sampling, "log-variance", rival, where, len(places))
    told = {
        place: decide(gain, -CLOSER if place[1] == "effective share" else CLOSER)
        for place, gain in gains.items()
    }
    verdict = combine(told.values())
    answers = {
        "supported": "Yes: shares of modes are nearer the truth, and weights of paths more alike.",
        "depends": "It depends on the measure and the distance of the modes.",
        "not supported": "No: neither shares of modes nor weights of paths are better.",
        "inconclusive": "Undecided: its gain over the reverse KL is too uncertain.",
    }
    measures = {
        name: {v for (_, where), v in told.items() if (where == "effective share") == alike}
        for name, alike in (("alike", True), ("shares", False))
    }
    if measures["alike"] == {"supported"} and "supported" not in measures["shares"]:
        answers["depends"] = "Weights of paths are more alike; shares of modes are not better."
    return Claim(
        "foellmer-log-variance",
        verdict,
        "Log-variance loss less reverse KL, at equal evaluations of the density. Share of samples "
        "in the wrong modes, near or far, and effective share of the weights of near ones: "
        f"{listed(gains)}.",
        answer=answers[verdict],
        interval=gains["PIS", "effective share"],
        seeds=gains["PIS", "effective share"].n,
        data="densities of points",
        figure="fig-fo-modes",
    )


def annealing(sampling: Results) -> Claim:
    """Annealing finds better weights of far modes than any learned drift."""
    gains = {name: difference(sampling, "annealed", name, "far", len(LEARNED)) for name in LEARNED}
    verdict = combine(decide(gain, CLOSER) for gain in gains.values())
    answers = {
        "supported": "Yes: annealing finds better weights of far modes than every learned drift.",
        "depends": "Annealing beats some learned drifts on far modes, not all.",
        "not supported": "No: annealing finds no better weights of far modes than learned drifts.",
        "inconclusive": "Undecided: annealing and learned drifts are too near.",
    }
    return Claim(
        "foellmer-annealing",
        verdict,
        "Share of samples in the wrong modes, annealing less a learned drift, at equal evaluations "
        f"of the density: {listed(gains)}.",
        answer=answers[verdict],
        interval=gains["PIS"],
        seeds=gains["PIS"].n,
        data="densities of points",
        figure="fig-fo-modes",
    )


def at_most(interval: Interval, limit: float) -> str:
    """Whether a value is at most a limit, from its interval."""
    if interval.below(limit):
        return "supported"
    return "not supported" if interval.above(limit) else "inconclusive"


def above(interval: Interval, limit: float) -> str:
    """Whether a value is above a limit, from its interval."""
    if interval.above(limit):
        return "supported"
    return "not supported" if interval.below(limit) else "inconclusive"


def listed(intervals: Mapping[Any, Interval]) -> str:
    """Name and interval of each, in words."""
    return "; ".join(f"{named(place)} {interval:.2f}" for place, interval in intervals.items())


def named(place: str | tuple[str, ...]) -> str:
    """Name a condition, with its loss in words."""
    words = [place] if isinstance(place, str) else place
    return ", ".join(WORDS.get(word, word) for word in words)
