"""The guide: what to do, a method at a time, made from what the chapters say in short.

It has no finding of its own. Its entries are the boxes of the executed chapters; what a method is
worth against its rivals is computed as the chapters compute it, from the same results.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from book.landing import escape, raw
from book.project import chapters
from companion.experiments import Experiment, Records, Session
from companion.experiments.claims import MARKS, VERDICTS, Claim
from companion.experiments.in_short import InShort
from companion.statistics import Interval, decide

WORTH = 0.05
"""Smallest difference that counts, as in the chapters."""


WIDEST = 1000
"""End of an interval above which it says nothing, as after two seeds."""


class Race(NamedTuple):
    """A method against one rival, on one kind of data; below 1 the method is better."""

    method: str
    rival: str
    where: str
    chapter: str
    ratio: Interval | None


def page(boxes: Mapping[str, InShort], judged: Mapping[str, Claim], races: list[Race]) -> str:
    """The generated part of the guide.

    Parameters
    ----------
    boxes : name of a chapter -> what it says in short
    judged : id -> claim, as the ledger shows it
    races : methods against their rivals
    """
    titles = {chapter["file"]: f"Chapter {chapter['number']}" for chapter in chapters()}
    lines: list[str] = []
    for name, box in boxes.items():
        if box.claims:
            claims = [judged.get(claim.id, claim) for claim in box.claims]
            lines += entry(name, titles[name], box, claims)
    return "\n".join([*lines, *rivals(races, titles)])


def entry(name: str, title: str, box: InShort, claims: list[Claim]) -> list[str]:
    """One method: when to use it, when not, by how much, and where that stands."""
    told = {
        "Use it when": box.use,
        "Do not use it when": box.avoid,
        "By how much": box.number,
        "But": box.caveat,
    }
    rows = "".join(f"<dt>{key}</dt><dd>{html.escape(text)}</dd>" for key, text in told.items())
    told_in = f'<a href="../notebooks/{name}.html">{title}</a> {signs(claims)}'
    return [
        f"## {escape(box.method[0].upper() + box.method[1:])}",
        "",
        raw(f'<div class="nop-in-short"><dl>{rows}<dt>Why</dt><dd>{told_in}</dd></dl></div>'),
    ]


def signs(claims: list[Claim]) -> str:
    """The verdicts as signs that lead to the ledger's lines."""
    made = []
    for claim in claims:
        told = html.escape(f"{claim.verdict}: {claim.answer or claim.quote}", quote=True)
        made.append(
            f'<a class="nop-sign" style="--verdict:{VERDICTS[claim.verdict]}" title="{told}" '
            f'href="ledger.html#claim-{claim.id}" aria-label="{told}">{MARKS[claim.verdict]}</a>'
        )
    return "".join(made)


# --- rivals


def rivals(races: list[Race], titles: Mapping[str, str]) -> list[str]:
    """The table of who wins where."""
    if not races:
        return []
    head = "".join(
        f'<th scope="col">{t}</th>' for t in ("Method", "Rival", "Where", "Ratio", "Better")
    )
    rows = []
    for race in races:
        better, ratio = winner(race), shown(race.ratio)
        link = f'<a href="../notebooks/{race.chapter}.html">{html.escape(race.method)}</a>'
        cells = [link, html.escape(race.rival), html.escape(race.where), ratio]
        cells.append(f"<strong>{html.escape(better)}</strong>" if better in race[:2] else better)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return [
        "## Which rival wins where",
        "",
        "The ratio is the method's distance or error over the rival's, at equal network "
        "evaluations: below 1 the method is better. A difference of less than 5 % does not count. "
        "One run of this book, or its records of images; the chapters say how each number was "
        "measured.",
        "",
        raw(
            '<div class="nop-scroll"><table class="nop-table nop-rivals">'
            "<caption>Methods against their rivals.</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        ),
    ]


def winner(race: Race) -> str:
    """Who is better: the method, its rival, or nobody, by the rule of all verdicts."""
    ratio = race.ratio
    if ratio is None or not math.isfinite(ratio.mean):
        return "not known"
    better = decide(ratio, 1 - WORTH, reference=1)
    worse = decide(ratio, 1 + WORTH, reference=1)
    if "supported" in (better, worse):
        return race.method if better == "supported" else race.rival
    return "the same" if better == worse == "not supported" else "undecided"


def shown(ratio: Interval | None) -> str:
    """A ratio with its interval; a dash where a training failed or the interval says nothing."""
    known = ratio is not None and math.isfinite(ratio.mean) and ratio.high < WIDEST
    return f"{ratio:.2f}" if known else "–"


def races(session: Session) -> list[Race]:
    """Methods against their rivals: on digits as this session ran them, on images as recorded.

    Nothing is run: what the session does not remember is left out.
    """
    return [*noisy_data(session), *some_clean_data(), *few_steps(session)]


def recorded(experiment: type[Experiment]) -> Records:
    """The records of an experiment as they are; nothing is run."""
    return Session("cpu").records(experiment)


def noisy_data(session: Session) -> Iterator[Race]:
    """Consistency against the ambient loss alone, and against training as if data were clean."""
    from companion.experiments import tweedie
    from companion.experiments.tweedie import comparisons, methods

    digits, records = session.remembered(tweedie.Digits), tweedie.races(Session("cpu"))
    if digits is None:
        return
    named = {methods.AMBIENT: "ambient only", methods.NAIVE: "naive training"}
    for rival, name in named.items():
        for where, ratio in comparisons.image_ratios(digits, records, rival).items():
            yield Race("consistency", name, f"samples, {where}", "02-tweedie-consistency", ratio)


def some_clean_data() -> Iterator[Race]:
    """The smallest share of clean images that was tried, against noisy images alone."""
    from companion.experiments import tweedie

    races = tweedie.races(Session("cpu")).there()
    for title, few in recorded(tweedie.ImageFewClean).items_there():
        if title in races:
            share = tweedie.few_clean.shares(few)[0]
            for measure, ratio in tweedie.few_clean.over_noisy(races[title], few, share).items():
                where = f"{tweedie.few_clean.MEASURES[measure]}, {title}"
                name = f"ambient, {share:.0%} of images clean"
                yield Race(name, "ambient only", where, "02-tweedie-consistency", ratio)


def few_steps(session: Session) -> Iterator[Race]:
    """Gradient estimation against other samplers, at each small budget."""
    from companion.experiments import gradient_estimation
    from companion.experiments.gradient_estimation import comparisons, methods

    race = session.remembered(gradient_estimation.Race)
    if race is None:
        return
    named = {"ddim": "DDIM", "unipc": "UniPC", "deis": "DEIS", "dpm": "DPM-Solver++"}
    problem = "digits, networks"
    for rival in (peer for peer in methods.PEERS if peer in named):
        for n in comparisons.shown_budgets(race):
            ratio = comparisons.against(race, "gradient_estimation", rival, problem, n)
            told = f"error on digits, {n} evaluations"
            yield Race("gradient estimation", named[rival], told, "04-gradient-estimation", ratio)
    yield from learned_steps(session)


def learned_steps(session: Session) -> Iterator[Race]:
    """A sampler learned for N evaluations against the best fixed one."""
    from companion.experiments import gradient_estimation
    from companion.experiments.gradient_estimation import learned_figures, learned_verdicts

    race = session.remembered(gradient_estimation.LearnedRace)
    if race is None:
        return
    for problem, n in learned_verdicts.places(race):
        if problem == "digits, networks":
            name, ratio = learned_figures.best_fixed(race, (problem, n))
            told = f"error on digits, {n} evaluations"
            yield Race("a learned sampler", name, told, "04-gradient-estimation", ratio)
