"""What chapter 6 concludes: one rule a claim, from results to a verdict.

Smaller and larger mean 5 %, at equal seeds, first weights, noise and evaluations; intervals of a
claim hold together. On the line the residual and its price are judged at the largest weight, the
distance alone at the one that the other seeds choose. A loss counts as one of the gap only where
the exact minimum, which has the gap and no network, loses too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from companion.experiments.claims import LONGEST_ANSWER, Claim, Claims
from companion.experiments.physics.circle import WEIGHTS, Circle, ExactCircle
from companion.experiments.physics.lines import EQUATIONS, ExactLines, Lines
from companion.experiments.physics.methods import LABELS
from companion.experiments.results import Results
from companion.statistics import Interval, combine, decide, detectable, mean_interval, paired_ratio

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["FORMS", "ratio", "shift_ratio", "verdicts"]

SMALLER, LARGER = 0.95, 1.05
"""Ratios that count as less and as more."""
TWO_ORDERS = 10**-1.5
"""Ratio for 'up to two orders of magnitude': nearer to 1/100 than to 1/10."""
SHIFT = 1.5
"""Factor between the measured and the calculated bias that counts as a wrong calculation."""
FORMS = ("mean", "sample")
CIRCLE = "circle"

Place = tuple[str, str]  # form, and problem or number of points


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    circle, lines = session.run(Circle), session.run(Lines)
    exact, exact_lines = session.run(ExactCircle), session.run(ExactLines)
    return Claims(
        [
            alignment(circle, lines),
            outperforms(circle, lines),
            two_orders(lines),
            speed(),
            overfitting(circle),
            gap(),
            trade_off(circle, lines, exact_lines),
            bias(circle, exact),
        ]
    )


def ratio(
    results: Results,
    measure: str,
    method: str,
    over: str,
    comparisons: int = 1,
    *,
    largest: bool = False,
    **where: object,
) -> Interval:
    """Ratio of a measure with two methods; of the circle with the most points by default.

    Of the line at the largest weight if ``largest``, else at the weight that was chosen.
    """
    if "points" in results.table and "points" not in where:
        where["points"] = max(results.labels("points", measure=measure))
    if largest and "equation" in where:
        weighted = {"measure": f"{measure} by weight", "method": method, **where}
        a = results.values(c=max(results.labels("c", **weighted)), **weighted)
    else:
        a = results.values(measure=measure, method=method, **where)
    b = results.values(measure=measure, method=over, **where)
    return paired_ratio(a, b, comparisons=comparisons)


def everywhere(
    circle: Results, lines: Results, measure: str, over: str, *, largest: bool
) -> dict[Place, Interval]:
    """Ratios of both forms on all problems, which hold together."""
    number = len(FORMS) * (1 + len(EQUATIONS))
    found = {}
    for form in FORMS:
        found[form, CIRCLE] = ratio(circle, measure, form, over, number)
        for equation in EQUATIONS:
            found[form, f"{equation} equation"] = ratio(
                lines, measure, form, over, number, largest=largest, equation=equation
            )
    return found


def alignment(circle: Results, lines: Results) -> Claim:
    """The residual of samples becomes less."""
    return _claim(
        "physics-alignment",
        everywhere(circle, lines, "residual", "none", largest=True),
        SMALLER,
        "Residual of samples over that of plain training with as many evaluations (on the line at "
        "the larger weight)",
        {
            "supported": "Yes: samples obey the equation better, with both forms, everywhere here.",
            "depends": "The equation is obeyed better",
            "denied": "The equation is obeyed no better",
            "not supported": "No: samples obey the equation no better than after plain training.",
            "inconclusive": "Open: these seeds do not say whether samples obey better.",
        },
        figure="fig-ph-pareto",
    )


def outperforms(circle: Results, lines: Results) -> Claim:
    """Samples are nearer to the data than those of the free rival."""
    return _claim(
        "physics-outperforms",
        everywhere(circle, lines, "distance", "end", largest=False),
        SMALLER,
        "Distance of samples to the data, over that of plain training and a projection at the "
        "end, whose residual is at rounding (on the line at the better weight)",
        {
            "supported": "Yes: its samples are nearer to the data than projected plain ones.",
            "depends": "Nearer to the data than projected samples",
            "denied": "No nearer to the data than projected samples",
            "not supported": "No: plain training and a free projection at the end are as good.",
            "inconclusive": "Open: these seeds cannot tell it from a projection at the end.",
        },
        figure="fig-ph-pareto",
    )


def two_orders(lines: Results) -> Claim:
    """The residual falls by up to two orders of magnitude, over guided samples."""
    number = len(FORMS) * len(EQUATIONS)
    found = {
        (form, f"{equation} equation"): ratio(
            lines, "residual", form, "late", number, largest=True, equation=equation
        )
        for form in FORMS
        for equation in EQUATIONS
    }
    best = min(found, key=lambda p: found[p].mean)
    verdict = decide(found[best], TWO_ORDERS, reference=1.0)
    answers = {
        "supported": "Yes: the residual is up to two orders below that of guided samples.",
        "not supported": "No: guided samples of plain networks have a far smaller residual."
        if found[best].above(1.0)
        else "No: the residual is not up to two orders below that of guided samples.",
        "inconclusive": "Open: how far the residual falls below guided samples is uncertain.",
    }
    return Claim(
        "physics-two-orders",
        verdict,
        f"Residual over that of plain networks that are guided at low noise, the smallest first: "
        f"{_listed(found, best)}. A line of 32 cells stands for "
        f"the paper's square; a ratio of {TWO_ORDERS:.2f} or less would count.",
        answer=answers[verdict],
        interval=found[best],
        seeds=found[best].n,
        data="Darcy flow along a line",
    )


def speed() -> Claim:
    """Inference is that of a plain denoiser."""
    return Claim(
        "physics-speed",
        "proved",
        "The objective changes what the network learns, not the network: a sampler asks it as "
        "often. In training the sample form costs two evaluations instead of one.",
        answer="Yes: sampling costs the same number of evaluations.",
        proof="tests/test_physics_experiments.py::test_sampling_costs_the_same",
    )


def overfitting(circle: Results) -> Claim:
    """The error on held-out points becomes less where there are few to train on."""
    points = sorted(circle.labels("points", measure="held-out error"))[:-1]
    number = len(FORMS) * len(points)
    found = {
        (form, f"{n} points"): ratio(circle, "held-out error", form, "none", number, points=n)
        for form in FORMS
        for n in points
    }
    return _claim(
        "physics-overfitting",
        found,
        SMALLER,
        "Error of the denoiser on held-out points (above that of the best denoiser), over that "
        "after plain training",
        {
            "supported": "Yes: with few points the error on held-out ones becomes less.",
            "depends": "It regularises",
            "denied": "It does not regularise",
            "not supported": "No: with few points the error on held-out ones becomes no less.",
            "inconclusive": "Open: these seeds do not show whether it regularises.",
        },
        data="points on a circle",
    )


def gap() -> Claim:
    """Jensen's gap: algebra."""
    return Claim(
        "physics-jensen",
        "proved",
        "The residual of a mean is the mean of residuals only if the residual is linear. On Darcy "
        "flow along a line it is at rounding with a fixed permeability, and far from 0 with a "
        "random one.",
        answer="Yes, if the equation is not linear; a linear one has no gap.",
        proof="tests/test_physics_equations.py::test_no_gap_where_the_residual_is_linear",
        figure="fig-ph-gap",
    )


def trade_off(circle: Results, lines: Results, exact: Results) -> Claim:
    """With a gap, the mean form moves samples away from the data."""
    problems: dict[str, Callable[[], Interval]] = {
        CIRCLE: lambda: ratio(circle, "distance", "mean", "none", 2),
        "bilinear equation": lambda: ratio(
            lines, "distance", "mean", "none", 2, largest=True, equation="bilinear"
        ),
    }
    moved, kept = (
        exact.values(measure="exact distance", equation="bilinear", method=m).mean()
        for m in ("mean", "none")
    )
    by_training = moved / kept < LARGER
    cause = (
        "so what networks lose there comes from training, not from the gap"
        if by_training
        else "so part of what networks lose there comes from the gap"
    )
    claim = _claim(
        "physics-trade-off",
        {("mean", problem): find() for problem, find in problems.items()},
        LARGER,
        "On the line the exact minimum of the mean form changes that distance by a factor of "
        f"{moved / kept:.3f}, {cause}. Distance of samples to the data with the mean form, over "
        "that after plain training (on the line at the larger weight)",
        {
            "supported": "Yes: with the mean form samples are further from the data.",
            "depends": "The gap moves samples away from the data",
            "denied": "The gap does not move samples away",
            "not supported": "No: the gap moves samples no further from the data.",
            "inconclusive": "Open: these seeds do not show whether samples get further away.",
        },
        figure="fig-ph-pareto",
        denied=[("mean", "bilinear equation")] if by_training else [],
    )
    if by_training and claim.verdict == "depends":
        told = "On the circle yes; on the line the loss comes from training, not the gap."
        return replace(claim, answer=told)
    return claim


def shift_ratio(circle: Results, exact: Results) -> Interval:
    """Shift of the mean cosine by the mean form, of networks over what was calculated."""
    n = max(circle.labels("points", measure="cosine"))
    mean, plain = (circle.values(measure="cosine", method=m, points=n) for m in ("mean", "none"))
    c = min(exact.labels("c"), key=lambda one: abs(math.log(max(one, 1e-9) / WEIGHTS["mean"])))
    calculated = (
        exact.values(measure="cosine", form="mean", c=c).mean()
        - exact.values(measure="cosine", form="none", c=0.0).mean()
    )
    return mean_interval((mean - plain) / calculated)


def bias(circle: Results, exact: Results) -> Claim:
    """Networks are biased as the closed form says."""
    found = shift_ratio(circle, exact)
    inside = found.above(1 / SHIFT) and found.below(SHIFT)
    outside = found.below(1 / SHIFT) or found.above(SHIFT)
    verdict = "supported" if inside else "not supported" if outside else "inconclusive"
    answers = {
        "supported": "Yes: the mean form biases networks by about what the closed form says.",
        "not supported": "No: the mean form biases networks by another amount than calculated.",
        "inconclusive": "Open: the bias of networks is too uncertain to check the closed form.",
    }
    power = (
        ""
        if verdict != "inconclusive"
        else (
            f" With this number of seeds, a difference of {detectable(found):.2g} would be seen "
            "with a power of 80 %."
        )
    )
    return Claim(
        "physics-bias",
        verdict,
        f"Shift of the mean cosine by the mean form, of networks over what its closed form gives: "
        f"{found:.2f}. 1 is exact; a factor of {SHIFT:g} counts as another amount." + power,
        answer=answers[verdict],
        interval=found,
        seeds=found.n,
        data="points on a circle, ratio of shifts",
        figure="fig-ph-bias",
    )  # fmt: skip


def _claim(
    name: str,
    found: Mapping[Place, Interval],
    smallest: float,
    told: str,
    answers: Mapping[str, str],
    *,
    data: str = "points on a circle and Darcy flow along a line",
    figure: str | None = None,
    denied: Collection[Place] = (),
) -> Claim:
    """Judge ratios that hold together; where one is ``denied``, it has another cause."""
    judged = {
        place: "not supported" if place in denied else decide(one, smallest, reference=1.0)
        for place, one in found.items()
    }
    verdict = combine(judged.values())
    counted = {place: one for place, one in judged.items() if place not in denied}
    first = _deciding(found, counted, combine(counted.values()), smallest)
    answer = answers[verdict]
    if verdict in ("depends", "inconclusive"):
        answer = _where(answers, judged, verdict == "inconclusive") or answer
    power = ""
    if verdict == "inconclusive":
        one = found[first]
        logs = Interval(math.log(one.mean), math.log(one.low), math.log(one.high), one.n)
        seen = math.expm1(detectable(logs, confidence=1 - 0.05 / len(found)))
        power = (
            f" With this number of seeds, a change of {seen:.0%} would be seen with a power of "
            "80 %."
        )
    return Claim(
        name,
        verdict,
        f"{told}: {_listed(found, first)}. Less or more by 5 % counts; a seed has its own network "
        f"and noise.{power}",
        answer=answer,
        interval=found[first],
        seeds=found[first].n,
        data=data,
        figure=figure,
    )


def _deciding(
    found: Mapping[Place, Interval], judged: Mapping[Place, str], verdict: str, smallest: float
) -> Place:
    """The condition nearest to another verdict; the widest, where it is open."""
    if verdict == "inconclusive":
        open_ = [p for p, one in judged.items() if one == "inconclusive"]
        return max(open_, key=lambda p: found[p].high / found[p].low)
    wanted = "not supported" if verdict == "depends" else verdict
    sign = 1 if smallest < 1 else -1
    places = [p for p, one in judged.items() if one == wanted]
    pick = min if verdict == "not supported" else max
    return pick(places, key=lambda p: sign * found[p].mean)


def _where(answers: Mapping[str, str], judged: Mapping[Place, str], open_: bool) -> str:
    """Name the conditions under which it holds, or does not, in as many words as there are."""
    kind = "supported" if "supported" in judged.values() else "not supported"
    mine = [p for p, verdict in judged.items() if verdict == kind]
    if not mine:
        return ""
    claim = answers["depends" if kind == "supported" else "denied"]
    rest = "open" if open_ else "not"
    for which in (0, 1):
        kinds = list(dict.fromkeys(p[which] for p in mine))
        others = {p[which] for p in judged if p not in mine}
        if others and not others & set(kinds):
            told = f"{claim} {' and '.join(map(_at, kinds))}; else {rest}."
            if len(told.split()) <= LONGEST_ANSWER:
                return told
    told = f"{claim} in {len(mine)} of {len(judged)} cases"
    return f"{told}; else open." if open_ else f"{told}."


def _at(kind: str) -> str:
    if kind in LABELS:
        return f"with the {LABELS[kind]}"
    return f"with {kind}" if kind.endswith("points") else f"on the {kind}"


def _name(place: Place) -> str:
    form, problem = place
    return f"{LABELS[form]}, {problem}"


def _listed(found: Mapping[Place, Interval], first: Place) -> str:
    """The deciding ratio, then the others."""
    order = [first, *(place for place in found if place != first)]
    return "; ".join(f"{_name(place)} {_number(found[place])}" for place in order)


def _number(found: Interval) -> str:
    return "above 1,000" if found.above(1000.0) else f"{found:.3g}"
