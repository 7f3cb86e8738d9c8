"""Chapter 6 in short: filled from results and claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companion.experiments.claims import Claims
from companion.experiments.in_short import InShort, choose
from companion.experiments.physics.circle import Circle
from companion.experiments.physics.lines import Lines
from companion.experiments.physics.methods import LABELS
from companion.experiments.physics.verdicts import FORMS, ratio, verdicts
from companion.experiments.results import Results
from companion.statistics import mean_interval, paired_ratio

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["box", "guided", "in_short", "on_the_square", "residual_and_error"]


def in_short(session: Session) -> InShort:
    """Run what the box rests on, or take it from memory."""
    return box(session.run(Circle), session.run(Lines), session.published(verdicts(session)))


def box(circle: Results, lines: Results, claims: Claims) -> InShort:
    """The method in six lines, from results of ``Circle`` and ``Lines``, and claims."""
    told = {claim.id.removeprefix("physics-"): claim.verdict for claim in claims}
    residual = ratio(circle, "residual", "mean", "none")
    distance = ratio(circle, "distance", "mean", "none")
    free = ratio(circle, "distance", "end", "none")
    answer = next(claim.answer for claim in claims if claim.id == "physics-alignment")
    works = choose(
        told["alignment"],
        {
            "supported": "Yes: samples obey the equation better, at the same cost in training.",
            "not supported": "No: samples obey the equation no better than after plain training.",
            "else": answer,
        },
    )
    price = choose(
        told["trade-off"],
        {
            "supported": "Where the equation is not linear, the mean form moves samples further "
            "from the data.",
            "depends": "With the mean form samples can be further from the data.",
            "not supported": "Samples are no further from the data.",
            "else": "Whether samples are further from the data is open.",
        },
    )
    use = choose(
        told["outperforms"],
        {
            "supported": "Also where samples could be projected: it was nearer to the data.",
            "depends": "You can try it beside a projection at the end: neither always wins.",
            "else": "No projection and no guidance is possible: both are free, and leave a smaller "
            "residual.",
        },
    )
    few = choose(
        told["overfitting"],
        {
            "supported": "Training points are few: there it regularises.",
            "depends": "You hope that it regularises: it did in some cases only.",
            "inconclusive": "You hope that it regularises with few points: that is open.",
            "else": "You hope that it regularises: with few points it did not.",
        },
    )
    avoid = "A projection at the end is possible: it is free, and exact."
    if told["overfitting"] == "supported":
        use = f"{few} {use}"
    else:
        avoid = f"{avoid} {few}"
    return InShort(
        "physics-informed training",
        what="Samples must obey an equation. The residual of that equation becomes a second loss, "
        "at the denoiser's answer (mean form) or at a sample drawn from it (sample form).",
        works=f"{works} {price}",
        use=use,
        avoid=avoid,
        number=f"Mean form over plain training on a circle: residual {residual.mean:.2g}, distance "
        f"to the data {distance:.2f}. Projected plain samples: residual at rounding, distance "
        f"{free.mean:.2f}.",
        caveat="The mean of solutions solves the equation only if it is linear. Small networks and "
        "short training.",
        claims=claims,
    )


def guided(circle: Results) -> str:
    """What guidance at all levels does, as a sentence."""
    found = ratio(circle, "distance", "always", "late")
    if found.above(1.0):
        told = "moves samples away from the data: a correction of a mean has the same gap"
    elif found.below(1.0):
        told = "brings samples nearer to the data"
    else:
        told = "makes no difference to the distance that these seeds show"
    return (
        f"Guidance at all levels, rather than at low noise only, {told} (distance on the circle, "
        f"as a ratio: {found:.2f})."
    )


def residual_and_error(lines: Results) -> str:
    """Whether a smaller residual means a better pressure, as a sentence."""
    residual, error = (
        ratio(lines, measure, "mean", "none", largest=True, equation="bilinear")
        for measure in ("residual", "solved again")
    )
    numbers = f"residual {residual:.2f}, error of the pressure {error:.2f}"
    if residual.below(1.0) and error.above(1.0):
        told = "A small residual is not a small error. The mean form makes the residual smaller and"
        told += " the pressure worse"
    elif residual.below(1.0) and error.below(1.0):
        told = "The mean form makes both the residual and the error of the pressure smaller"
    else:
        told = "The residual and the error of the pressure do not change together for certain"
    return f"{told} (bilinear equation, largest weight, over plain training: {numbers})."


def on_the_square(record: Results) -> str:
    """What a record of ``Square`` shows of both forms against plain training, in sentences."""
    told = []
    for form in FORMS:
        residual, error = (
            paired_ratio(
                record.values(measure=m, method=form), record.values(measure=m, method="none")
            )
            for m in ("residual", "solved again")
        )
        if residual.below(1.0):
            effect = "makes the residual smaller"
        elif residual.above(1.0):
            effect = "makes the residual larger"
        else:
            effect = "may make the residual smaller or larger: that is open"
        if error.above(1.0):
            effect += "; the pressure is further from the one that belongs to its permeability"
        elif error.below(1.0):
            effect += "; the pressure is nearer to the one that belongs to its permeability"
        else:
            effect += "; whether the pressure comes nearer to its permeability's is open too"
        told.append(
            f"The {LABELS[form]} {effect} (over plain training: residual {residual:.2g}, error of "
            f"the pressure {error:.2g})."
        )
    width = mean_interval(record.values(measure="coefficients", method="none"))
    if width.below(0.9):
        told.append(
            "These networks are not trained to the end: also with plain training the fields vary "
            f"less than the data (coefficients of log K: {width:.2f} of their size)."
        )
    return " ".join(told)
