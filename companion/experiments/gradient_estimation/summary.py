"""Chapter 4 in short, and findings as sentences: filled from results and claims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from companion.experiments.claims import Claims
from companion.experiments.gradient_estimation.comparisons import (
    against,
    ahead,
    as_factor,
    best_gamma,
    few_budgets,
    image_values,
    shown_budgets,
    whole,
)
from companion.experiments.gradient_estimation.descent import guaranteed_fall
from companion.experiments.gradient_estimation.gamma import GammaSweep
from companion.experiments.gradient_estimation.problems import DIGITS, PROBLEMS
from companion.experiments.gradient_estimation.race import Race
from companion.experiments.gradient_estimation.rulings import in_words
from companion.experiments.gradient_estimation.verdicts import places_ahead, verdicts
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.statistics import paired_ratio

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["best_places", "box", "convergence", "default_or_chosen", "guarantee", "in_short"]


def in_short(session: Session) -> InShort:
    """Run what the box rests on, or take it from memory."""
    return box(session.run(Race), session.run(GammaSweep), session.published(verdicts(session)))


def box(race: Results, sweep: Results, claims: Claims) -> InShort:
    """Gradient estimation in six lines, from results of ``Race`` and ``GammaSweep`` and claims."""
    told = {claim.id.removeprefix("projection-"): claim.verdict for claim in claims}
    few, least = in_words(few_budgets(race)), few_budgets(race)[0]
    over_ddim = against(race, "gradient_estimation", "ddim", DIGITS, least)
    over_best = ahead(race, "gradient_estimation", DIGITS, least)[1]
    return InShort(
        "gradient estimation",
        what="A sampler: DDIM, whose direction is extrapolated with the help of the step before. "
        "It has one number, gamma; the paper recommends 2. A step costs one call of the network.",
        works=" ".join(
            (
                choose(
                    told["gamma-two"],
                    {
                        "supported": f"Yes against DDIM: nearer to the exact flow at {few} "
                        "evaluations.",
                        "depends": f"At times: at {few} evaluations it is nearer to the exact "
                        "flow than DDIM in some of the cases.",
                        "not supported": f"No: at {few} evaluations no nearer to the exact flow "
                        "than DDIM.",
                        "else": "Open against DDIM.",
                    },
                ),
                choose(
                    told["state-of-the-art"],
                    {
                        "supported": "It is ahead of UniPC, DEIS and DPM-Solver++, too.",
                        "depends": "Of UniPC, DEIS and DPM-Solver++ it is ahead in some cases.",
                        "not supported": "No against the best of UniPC, DEIS and DPM-Solver++.",
                        "else": "Open against UniPC, DEIS and DPM-Solver++.",
                    },
                ),
                best_places(race),
            )
        ).strip(),
        use=choose(
            told["gamma-two"],
            {
                "not supported": "Not as recommended. Set gamma to the best value found here: ",
                "else": "You sample with DDIM in few steps and want to change one line. "
                "Best gamma by error: ",
            },
        )
        + " "
        + gammas(sweep)
        + ".",
        avoid=choose(
            told["state-of-the-art"],
            {
                "supported": "At this scale nothing else was better.",
                "else": f"You can use UniPC, DEIS or DPM-Solver++{except_at(race)}.",
            },
        )
        + " "
        + choose(
            told.get("learned-ahead", "inconclusive"),
            {
                "supported": "Or learn a sampler for N evaluations: it is ahead of all.",
                "depends": "Or learn a sampler for N evaluations: it is ahead in some cases.",
                "else": "",
            },
        )
        + " "
        + choose(
            told["gamma-default"],
            {
                "supported": "",
                "else": "With many steps 1.5 is better than gamma = 2.",
            },
        ),
        number=f"Error against the flow with gamma = 2 at {least} evaluations, on digit networks: "
        f"{as_factor(over_ddim)} times DDIM's, {as_factor(over_best)} times the best other "
        "sampler's.",
        caveat="Two spirals, 8 × 8 digits and small U-Nets. The error is the distance to the end "
        "of the exact flow; FID on the paper's models is not measured.",
        claims=claims,
    )


def best_places(race: Results) -> str:
    """Where it is ahead of all others, as a sentence; an empty text if nowhere."""
    won = places_ahead(race, "gradient_estimation")
    count, total = sum(map(len, won.values())), len(PROBLEMS) * len(shown_budgets(race))
    return (
        f"With gamma = 2 best in {count} of {total} cases, at {in_words(won)} evaluations."
        if won
        else ""
    )


def except_at(race: Results) -> str:
    """The budgets at which it is ahead of all others somewhere, in brackets."""
    won = places_ahead(race, "gradient_estimation")
    return f" (but at {in_words(won)})" if won else ""


def gammas(sweep: Results) -> str:
    """Range of the best gamma over the problems, for each number of steps, as a text."""
    told = []
    for n in whole(sweep, "steps"):
        best = [best_gamma(sweep, "error", p, n).mean for p in PROBLEMS]
        low, high = f"{min(best):.1f}", f"{max(best):.1f}"
        told.append(f"{low if low == high else f'{low} to {high}'} at {n} steps")
    return ", ".join(told)


def default_or_chosen(images: Results, most: int = 20) -> str:
    """Fréchet distance with gamma = 2 over that with the best of the others, as a sentence.

    Parameters
    ----------
    images : of ``ImageRace``
    most : int
        Evaluations, at most.
    """
    if "ge-chosen" not in images.labels("method"):
        return "No other γ was tried here."
    found = {}
    for n in whole(images, "budget", measure="Frechet distance"):
        if n <= most:
            two, other = (
                image_values(images, "Frechet distance", method, n)
                for method in ("gradient_estimation", "ge-chosen")
            )
            found[n] = paired_ratio(two, other)
    nearer = [str(n) for n, ratio in found.items() if ratio.below(1)]
    others = ", ".join(map(str, images.labels("variant", method="ge-chosen")))
    where = f"surely nearer at N = {', '.join(nearer)}" if nearer else "surely nearer at no N"
    numbers = ", ".join(f"N = {n}: {ratio:.2f}" for n, ratio in found.items())
    return (
        f"By this distance the recommended γ = 2, against the best of {others} on the other "
        f"networks, is {where} (ratio, {numbers})."
    )


def convergence(order: Results) -> list[str]:
    """How the error falls with the number of steps, from ``Order``, as the lines of a list."""
    orders = order.where(measure="order").itertuples()
    falls = ", ".join(f"{row.value:.2f} (γ = {row.gamma:g})" for row in orders)
    cosine = order.where(measure="cosine").iloc[0]
    return [
        f"- Order of convergence, from the last doubling of the steps: {falls}.",
        f"- Errors of γ = 2 against those of γ = 1 at {cosine['steps']:.0f} steps: sizes "
        f"{order.value(measure='sizes'):.2f} : 1, cosine {cosine['value']:.2f} (medians; the "
        "cosine without the quarter of the points with the largest errors).",
    ]


def guarantee(paths: Results) -> list[str]:
    """What the theorem guarantees with the constants of ``DigitPaths``, as the lines of a list."""
    eta, nu = paths.value(measure="eta, median path"), paths.value(measure="nu")
    fall = paths.value(measure="fall of sigma")
    summed = math.exp(paths.value(measure="sum of u, median path"))
    return [
        f"- Measured: η = {eta:.2f} on a median path, ν = {nu:.2f} for all paths.",
        f"- Guaranteed, with any number of steps: a {guaranteed_fall(eta, nu):.1f}-fold fall.",
        f"- Seen: a {fall:.0f}-fold fall of the noise level, and of the distance.",
        f"- Guaranteed with an η for each level: a distance of at most {summed:.2f} times what the "
        "noise level says.",
    ]
