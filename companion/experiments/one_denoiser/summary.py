"""What chapter 0 says in short, filled in from results. It judges no claim."""

from __future__ import annotations

import numpy as np

from companion import data, plotting
from companion.experiments.in_short import InShort
from companion.experiments.one_denoiser import tables
from companion.experiments.one_denoiser.digits import HeldOut
from companion.experiments.one_denoiser.points import Budgets, ExcessError, PointNetworks
from companion.experiments.results import Results
from companion.experiments.session import Session

__all__ = ["box", "in_short"]


def in_short(session: Session) -> InShort:
    """Run what it rests on, or take it from memory, and say it in six lines."""
    return box(*(session.run(e) for e in (ExcessError, Budgets, HeldOut, PointNetworks)))


def box(excess: Results, budgets: Results, held_out: Results, points: Results) -> InShort:
    """Say the chapter in six lines, from the results of its experiments."""
    height, width = data.images("digits", "test")[0].shape[-2:]
    return InShort(
        method="denoising",
        what="A denoiser is given a noisy point and its noise level. Its best answer is the mean "
        "of all clean points that may lie behind. Score, samples and likelihood follow from it.",
        works=works(excess),
        use="You start here: the notation, the equations and the tools of every later chapter are "
        "on this page.",
        avoid="You only want to choose a method: each later chapter begins with a box like this.",
        number=number(budgets),
        caveat=f"Points in the plane, and digits of {height} × {width} pixels; networks trained "
        f"for {points.settings['steps']} steps. {memory(held_out)}",
    )


def works(excess: Results) -> str:
    """How much training adds to the error that no denoiser can avoid."""
    added = excess.grid("seed", "level", measure="excess error").mean(0)
    share = added / excess.grid("level", measure="Bayes error")
    middle, most = np.median(share), share.max()
    first = "Yes" if middle < 0.1 else "In part" if middle < 1 else "No"
    return (
        f"{first}: the error of small networks is {middle:.1%} above the least possible (median "
        f"over noise levels), and {most:.0%} at most."
    )


def number(budgets: Results) -> str:
    """Distances to the data with the fewest and the most evaluations, beside the noise floor."""
    few, many = (f(budgets.labels("budget")) for f in (min, max))
    means = {
        (method, n): budgets.values(measure="to the data", method=method, budget=n).mean()
        for method in budgets.labels("method")
        for n in (few, many)
    }
    best, worst = (f(budgets.labels("method"), key=lambda m: means[m, few]) for f in (min, max))
    low, high = (f(v for (_, n), v in means.items() if n == many) for f in (min, max))
    floor = budgets.facts["noise floor"][0]
    names = {m: plotting.method(str(m))["label"] for m in (best, worst)}
    return (
        f"Sliced Wasserstein distance to the data, {few} evaluations: {names[best]} "
        f"{means[best, few]:.2g}, {names[worst]} {means[worst, few]:.2g}. With {many}, all "
        f"samplers {low:.2g} to {high:.2g}; the noise floor is {floor:.2g}."
    )


def memory(held_out: Results) -> str:
    """At which levels the network answers better than the learner that memorised its data."""
    errors = tables.held_out(held_out)
    won = [f"{v:g}" for v in errors.index[errors["trained"] < errors["memorised"]]]
    if len(won) == len(errors):
        where = "at every level"
    elif won:
        where = f"at σ = {' and '.join(won)} only"
    else:
        return (
            "On new digits the exact minimiser of the training set has smaller errors than the "
            "network, at every level."
        )
    return (
        "On new digits the network has smaller errors than the exact minimiser of its training "
        f"set {where}."
    )
