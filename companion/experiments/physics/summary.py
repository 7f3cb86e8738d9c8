"""Chapter 6 in short: filled from results and claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companion.experiments.claims import Claims
from companion.experiments.in_short import InShort, choose
from companion.experiments.physics.circle import Circle
from companion.experiments.physics.lines import Lines
from companion.experiments.physics.verdicts import ratio, verdicts
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["box", "in_short"]


def in_short(session: Session) -> InShort:
    """Run what the box rests on, or take it from memory."""
    return box(session.run(Circle), session.run(Lines), verdicts(session))


def box(circle: Results, lines: Results, claims: Claims) -> InShort:
    """The method in six lines, from results of ``Circle`` and ``Lines``, and claims."""
    told = {claim.id.removeprefix("physics-"): claim.verdict for claim in claims}
    residual = ratio(circle, "residual", "mean", "none")
    distance = ratio(circle, "distance", "mean", "none")
    free = ratio(circle, "distance", "end", "none")
    works = choose(
        told["alignment"],
        {
            "supported": "Yes: samples obey the equation better, at the same cost in training.",
            "depends": "In part: samples obey the equation better in some cases, not in all.",
            "not supported": "No: samples obey the equation no better than after plain training.",
            "else": "Open: it is not certain that samples obey the equation better.",
        },
    )
    price = choose(
        told["trade-off"],
        {
            "supported": "With the mean form they are further from the data.",
            "depends": "With the mean form they can be further from the data.",
            "not supported": "They are no further from the data.",
            "else": "Whether they are further from the data is open.",
        },
    )
    use = choose(
        told["outperforms"],
        {
            "supported": "Also where samples could be projected: it was nearer to the data.",
            "depends": "The residual must be small, and trying it beside a projection at the end "
            "is possible: neither always wins.",
            "else": "Samples cannot be projected or solved again at the end: then nothing free "
            "stands against it.",
        },
    )
    few = choose(
        told["overfitting"],
        {
            "supported": "Training points are few: there it regularises.",
            "depends": "You hope that it regularises: it did in some cases only.",
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
        "short training; the flow on a square is not run with the book.",
        claims=claims,
    )
