"""Rules of chapter 4 about the sampler, and all claims of the chapter: from results to claims.

Each rule has its smallest effects of interest as constants. The intervals of a rule hold together
at 95 % (Bonferroni). The rules about projection are in ``projection``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from companion.experiments.claims import Claim, Claims
from companion.experiments.gradient_estimation import learned_verdicts, projection
from companion.experiments.gradient_estimation.comparisons import (
    against,
    against_best_gamma,
    ahead,
    best_gamma,
    comparisons_of,
    few_budgets,
    image_ratios,
    share_left,
    shown_budgets,
    whole,
    within_real,
)
from companion.experiments.gradient_estimation.descent import Descents, DigitPaths, StepIdentity
from companion.experiments.gradient_estimation.fall import Falls
from companion.experiments.gradient_estimation.gamma import (
    FourSchedules,
    GammaSweep,
    NearestToGradient,
)
from companion.experiments.gradient_estimation.geometry import TangentShare
from companion.experiments.gradient_estimation.images import ImageRace
from companion.experiments.gradient_estimation.methods import RIVALS
from companion.experiments.gradient_estimation.order import Order
from companion.experiments.gradient_estimation.problems import DIGITS, PROBLEMS
from companion.experiments.gradient_estimation.race import Race
from companion.experiments.gradient_estimation.rulings import (
    Ruling,
    by_verdict,
    choose,
    claim,
    in_words,
    less,
    listed,
    rule,
    seeds,
)
from companion.experiments.results import Results
from companion.statistics import decide, ratio_interval

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["verdicts"]

ABOVE_ONE = 1.05
"""Smallest best gamma above 1 that is worth setting: 5 % more than DDIM's."""

GAMMA = 2.0
"""The recommended value."""

FIVE_PERCENT = "a ratio of 0.95"

OPPOSITE = {
    "supported": "not supported",
    "not supported": "supported",
    "inconclusive": "inconclusive",
}


def verdicts(session: Session) -> Claims:
    """Judge the claims of the paper, its code and the authors' tutorial."""
    paths, descents = session.run(DigitPaths), session.run(Descents)
    race, sweep = session.run(Race), session.run(GammaSweep)
    schedules = session.run(FourSchedules)
    return Claims(
        [
            projection.orthogonal(session.run(TangentShare)),
            projection.learning(paths),
            projection.descent_step(session.run(StepIdentity)),
            projection.descent(session.run(Falls)),
            projection.convergence(descents),
            projection.assumption(paths),
            generalises(),
            insight(session.run(NearestToGradient)),
            direction_before(schedules),
            log_linear(schedules),
            projection.admissible(descents),
            gamma_above_one(sweep),
            gamma_two(race),
            gamma_default(sweep, session.run(Order)),
            state_of_the_art(race, session.records(ImageRace)),
            latent(),
            coco(),
            *learned_verdicts.claims(session),
        ]
    )


def generalises() -> Claim:
    """With gamma 1 it is DDIM: algebra."""
    return Claim(
        "projection-generalises",
        "proved",
        "With gamma = 1 it is DDIM, step by step and for every denoiser. Whether it is new is not "
        "measured: with one value of gamma it is DEIS of order 2, published the year before.",
        answer="Yes: with gamma = 1 it is DDIM.",
        proof="tests/test_gradient_estimation_sampler.py::test_gamma_one_is_ddim",
    )


def insight(nearest: Results) -> Claim:
    """What the theory promises: the combination is nearer to the gradient of the distance."""
    steps = whole(nearest, "steps")
    ruling = rule(
        {
            n: ratio_interval(
                nearest.values(measure="error with gamma 2", steps=n), comparisons=len(steps)
            )
            for n in steps
        },
        less,
    )
    better, worse, _ = by_verdict(ruling)
    answers = {
        "supported": "Yes: gamma = 2 estimates the gradient of the distance better than DDIM.",
        "depends": f"Gamma = 2 is nearer to the gradient at {better} steps; not at {worse}.",
        "not supported": f"No: up to {max(steps)} steps gamma = 2 estimates the gradient no "
        "better than DDIM.",
        "inconclusive": "Open: the error of the gradient's estimate is too uncertain.",
    }
    return claim(
        "projection-insight",
        ruling,
        answers,
        f"Error as an estimate of the gradient of the distance, with gamma = 2 over DDIM's: "
        f"{ruling.interval} at N = {ruling.key}. {listed(ruling, '.2f', 'N = ')}. What "
        "helps is the flow's bend. A seed is a batch of paths; the digits are the same.",
        seeds=seeds(nearest),
        data="digits, exact denoiser",
        smallest=FIVE_PERCENT,
        ratio=True,
    )


def direction_before(schedules: Results) -> Claim:
    """The direction before helps on the log-linear schedule."""
    return one_way(
        "projection-direction-before",
        schedules,
        0,
        "Error with gamma = 2 over DDIM's, both on the log-linear schedule",
        "the direction of the step before",
    )


def log_linear(schedules: Results) -> Claim:
    """The log-linear schedule helps DDIM."""
    return one_way(
        "projection-log-linear",
        schedules,
        1,
        "Error of DDIM on the log-linear schedule over that on its own",
        "the log-linear schedule",
    )


def one_way(name: str, schedules: Results, which: int, told: str, way: str) -> Claim:
    """One of the two ways to improve upon DDIM, at each number of evaluations."""
    few = few_budgets(schedules)
    ruling = rule({n: share_left(schedules, n)[which] for n in few}, less)
    better, worse, _ = by_verdict(ruling)
    answers = {
        "supported": f"Yes: {way} helps at {in_words(few)} evaluations.",
        "depends": f"With {better} evaluations {way} helps; not with {worse}.",
        "not supported": f"No: {way} does not help at {in_words(few)} evaluations.",
        "inconclusive": f"Open: whether {way} helps is too uncertain.",
    }
    return claim(
        name,
        ruling,
        answers,
        f"{told}: {ruling.interval} at N = {ruling.key}. {listed(ruling, '.2f', 'N = ')}. Less by "
        "5 % counts. A seed is a network and its noise.",
        seeds=seeds(schedules),
        data=DIGITS,
        figure="fig-ov-schedules",
        smallest=FIVE_PERCENT,
        ratio=True,
        comparisons=2 * len(few),
    )


def gamma_above_one(sweep: Results) -> Claim:
    """The best gamma is above 1 wherever it was looked for, also below 1."""
    steps = whole(sweep, "steps")
    places = [(p, n) for p in PROBLEMS for n in steps]
    ruling = rule(
        {(p, n): best_gamma(sweep, "error", p, n, comparisons=len(places)) for p, n in places},
        lambda i: decide(i, ABOVE_ONE, reference=1.0),
        lower=False,
    )
    won = list(ruling.verdicts.values()).count("supported")
    lowest, highest = (f(i.mean for i in ruling.intervals.values()) for f in (min, max))
    answers = {
        "supported": f"Yes: by error, the best gamma was {lowest:.2f} to {highest:.2f}.",
        "depends": f"In {won} of {len(places)} cases the best gamma is above 1.",
        "not supported": "No: the best gamma was nowhere above 1.",
        "inconclusive": "Open: the best gamma is too uncertain.",
    }
    tried = sweep.labels("gamma")
    return claim(
        "projection-gamma-above-one",
        ruling,
        answers,
        f"Best gamma by error against the flow: {ruling.interval} ({ruling.key[0]}, "
        f"N = {ruling.key[1]}). In all {len(places)} cases it lies between {lowest:.2f} and "
        f"{highest:.2f}; values from {min(tried):g} to {max(tried):g} were tried. Above 1 by 5 % "
        "counts. A seed is a network and its noise, or noise alone with the exact denoiser.",
        seeds=seeds(sweep),
        data="spirals and digits",
        figure="fig-ov-gamma",
        smallest=f"a best gamma of {ABOVE_ONE:g}",
    )


def gamma_two(race: Results) -> Claim:
    """With gamma 2 it is nearer to the flow than DDIM, at few evaluations."""
    few = few_budgets(race)
    ruling = rule(
        {(p, n): against(race, "gradient_estimation", "ddim", p, n) for p in PROBLEMS for n in few},
        less,
    )
    won = [v == "supported" for v in ruling.verdicts.values()]
    answers = {
        "supported": f"Yes: nearer to the flow than DDIM at {in_words(few)} evaluations.",
        "depends": f"Nearer to the flow than DDIM in {sum(won)} of {len(won)} cases.",
        "not supported": f"No: no nearer to the flow than DDIM at {in_words(few)} evaluations.",
        "inconclusive": "Open: the error against DDIM's is too uncertain.",
    }
    return claim(
        "projection-gamma-two",
        ruling,
        answers,
        f"Error against the flow with gamma = 2 over DDIM's: {ruling.interval} ({ruling.key[0]}, "
        f"N = {ruling.key[1]}). {cases(ruling)}. Each has its best schedule. Less by 5 % counts. A "
        "seed is a network and its noise, or noise alone with the exact denoiser.",
        seeds=seeds(race),
        data="spirals and digits",
        figure="fig-ov-race",
        smallest=FIVE_PERCENT,
        ratio=True,
        comparisons=comparisons_of(race),
    )


def gamma_default(sweep: Results, order: Results) -> Claim:
    """No other gamma is better than 2, chosen on other seeds."""
    steps = whole(sweep, "steps")
    number = len(PROBLEMS) * len(steps)
    # The favourable side is a large ratio: no other value leaves less.
    ruling = rule(
        against_best_gamma(sweep, GAMMA, number), lambda i: OPPOSITE[less(i)], lower=False
    )
    kept, beaten = (list(ruling.verdicts.values()).count(v) for v in ("supported", "not supported"))
    best = {n: [f"{best_gamma(sweep, 'error', p, n).mean:.2f}" for p in PROBLEMS] for n in steps}
    told = "; ".join(f"{', '.join(values)} at N = {n}" for n, values in best.items())
    answers = {
        "supported": f"Yes: no other gamma is better than 2 at {in_words(steps)} steps.",
        "depends": f"In {kept} of {number} cases 2 is the best gamma; in {beaten} it is not.",
        "not supported": f"No: another gamma leaves less error than 2 at {in_words(steps)} steps.",
        "inconclusive": "Open: how much another value gains is too uncertain.",
    }
    return claim(
        "projection-gamma-default",
        ruling,
        answers,
        f"Error with the best gamma, chosen on other seeds, over that with 2: {ruling.interval} "
        f"({ruling.key[0]}, N = {ruling.key[1]}). Less by 5 % counts as better. The best is {told} "
        f"({'; '.join(PROBLEMS)}). For many steps it is 1.5, and 2 is as far off as DDIM (sizes "
        f"{order.value(measure='sizes'):.2f} : 1, cosine {order.value(measure='cosine'):.2f}).",
        seeds=seeds(sweep),
        data="spirals and digits",
        figure="fig-ov-gamma",
        smallest=FIVE_PERCENT,
        ratio=True,
    )


def state_of_the_art(race: Results, images: Mapping[str, Results | None]) -> Claim:
    """Nearer to the flow than every peer, at few evaluations."""
    few = few_budgets(race)
    places = [(p, n) for p in PROBLEMS for n in few]
    standing = {place: ahead(race, "gradient_estimation", *place) for place in places}
    verdicts, intervals = ({p: pair[i] for p, pair in standing.items()} for i in (0, 1))
    ruling = choose(intervals, verdicts)  # type: ignore[arg-type]
    best = best_at(race, "gradient_estimation")
    answers = {
        "supported": f"Yes, at this scale: ahead of every rival at {in_words(few)} evaluations.",
        "depends": f"With gamma = 2 it is the best {in_short(race)}.",
        "not supported": f"No: not ahead of the best other sampler at {in_words(few)} evaluations.",
        "inconclusive": "Open: the error against the best rival's is too uncertain.",
    }
    count = len(places)
    real = {m: within_real(race, m, few) for m in ("gradient_estimation", *RIVALS)}
    return claim(
        "projection-state-of-the-art",
        ruling,
        answers,
        f"Error against the flow with gamma = 2 over the best rival's: {ruling.interval} "
        f"({ruling.key[0]}, N = {ruling.key[1]}). Nearer than every rival by 5 %: with gamma = 2 "
        f"{best}; with gamma chosen as the rivals' settings are, {best_at(race, 'ge-chosen')}. As "
        f"a distribution it is in the range of real data in {real['gradient_estimation']} of "
        f"{count} cases, DPM-Solver++, UniPC and DEIS in {in_words(real[m] for m in RIVALS)}. "
        f"{images_in_words(images)} Neither the paper's models nor FID are tested.",
        seeds=seeds(race),
        data="spirals and 8 × 8 digits",
        figure="fig-ov-race",
        smallest=FIVE_PERCENT,
        ratio=True,
        comparisons=comparisons_of(race),
    )


# --- not tested ----------------------------------------------------------------------------------


def latent() -> Claim:
    """Latent models are not run."""
    return Claim(
        "projection-latent",
        "not tested",
        "No latent model is run here. The scheduler in this module goes into such a pipeline as it "
        "is.",
        answer="Not tested: no latent model is run here.",
    )


def coco() -> Claim:
    """Text-to-image models are not run."""
    return Claim(
        "projection-coco",
        "not tested",
        "One seed there, no intervals, the peers at their defaults.",
        answer="Not tested: no text-to-image model is run here.",
    )


# --- what several rules need ---------------------------------------------------------------------


def best_at(race: Results, method: str) -> str:
    """Where a method is ahead of every peer, up to ten evaluations, as a text."""
    won = places_ahead(race, method)
    return " and ".join(f"at N = {n} ({'; '.join(on)})" for n, on in won.items()) or "nowhere"


def in_short(race: Results) -> str:
    """Where the sampler with gamma 2 is ahead of every peer, in few words."""
    won, number = places_ahead(race, "gradient_estimation"), len(PROBLEMS)
    if not won:
        return "nowhere"
    if all(len(on) == number for on in won.values()):
        return f"at {in_words(won)}"
    if len(won) == 1:
        return f"at {in_words(won)}, on {sum(map(len, won.values()))} of {number} problems"
    return f"in {sum(map(len, won.values()))} of {number * len(shown_budgets(race))} cases"


def places_ahead(race: Results, method: str) -> dict[int, list[str]]:
    """Problems on which a method is ahead of every peer, by budget up to ten."""
    won = {
        n: [p for p in PROBLEMS if ahead(race, method, p, n)[0] == "supported"]
        for n in shown_budgets(race)
    }
    return {n: on for n, on in won.items() if on}


def cases(ruling: Ruling) -> str:
    """In how many cases it is supported, and in how many not."""
    counts = [list(ruling.verdicts.values()).count(v) for v in ("supported", "not supported")]
    return f"It holds in {counts[0]} of {len(ruling.verdicts)} cases and fails in {counts[1]}"


def images_in_words(images: Mapping[str, Results | None], budget: int = 5) -> str:
    """How the sampler did on images with few evaluations, from the records."""
    told = []
    for title, record in images.items():
        if record is None:
            continue
        plain, best = image_ratios(record, budget)
        told.append(f"{title} {plain:.2f} times DDIM's and {best:.2f} times the best rival's")
    if not told:
        return "The race on images is not yet recorded."
    return (
        f"On images, from their record, its Fréchet distance at N = {budget} is: {'; '.join(told)}."
    )
