"""Tables of chapter 7, each made from results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from companion import plotting
from companion.experiments.foellmer.densities import METHODS
from companion.experiments.foellmer.parametrisations import LOSSES, PARAMETRISATIONS
from companion.experiments.foellmer.targets import DISTANCES
from companion.experiments.results import Results
from companion.experiments.words import Text
from companion.statistics import mean_interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["entropy", "identity", "levels", "sampling"]


def entropy(results: Results) -> Text:
    """Say the energy of the drift, the relative entropy and the weight of a mode."""
    exact = results.facts["relative entropy"]
    process, paths, weight = (
        mean_interval(results.values(measure=m))
        for m in ("exact process", "simulated paths", "weight of a mode")
    )
    return Text(
        f"Relative entropy, by quadrature: **{exact:.3f}** nats. Energy of the drift on the exact "
        f"process: **{process:.3f}**, {process.mean / exact - 1:+.1%} away. On paths simulated "
        f"from 0 in {results.settings['steps']} steps: **{paths:.3f}**. Weight of the second mode "
        f"in those paths: **{weight:.3f}**, of {results.facts['weight']:g}."
    )


def identity(results: Results) -> Styler:
    """Relative error of the Monte Carlo drift by time, and the effective share of its draws."""
    lines = []
    for t in results.labels("time"):
        line = {"t": t}
        for form, name in (("Stein", "without gradient"), ("gradient", "with gradient")):
            values = results.values(measure="error", form=form, time=t)
            line[f"error, {name}"] = f"{values.mean():.1%}"
        share = results.values(measure="effective share", time=t).mean()
        lines.append(line | {"effective draws": f"{share:.0%}"})
    draws = results.settings["draws"]
    return plotting.table(
        pd.DataFrame(lines),
        caption=f"Two modes in the plane, {draws:,} draws a point: distance of the Monte Carlo "
        "drift from that of the exact denoiser",
    )


def levels(results: Results) -> Styler:
    """Error by loss and network at the lower and higher half of the levels, for the widest."""
    width = results.settings["widths"][-1]
    lines = []
    for loss in LOSSES:
        for name in PARAMETRISATIONS:
            line = {"loss": loss, "the network gives": name}
            for measure, column in (
                ("low", "lower levels"), ("high", "higher levels"), ("error", "all levels")
            ):  # fmt: skip
                where = {"loss": loss, "parametrisation": name, "width": width}
                line[column] = results.values(measure=measure, **where).mean()
            lines.append(line)
    return plotting.table(
        pd.DataFrame(lines),
        caption=f"Three modes in the plane, width {width}: error of the denoiser, mean over seeds",
    )


def sampling(results: Results) -> Styler:
    """Share in the wrong modes, error of ln Z and effective share, by density and method."""
    lines = []
    for place in DISTANCES:
        for method in METHODS:
            where = {"target": place, "method": method}
            line = {"modes": place, "method": method}
            for measure, column in (
                ("error of weights", "in the wrong modes"), ("error of ln Z", "error of ln Z"),
            ):  # fmt: skip
                line[column] = f"{mean_interval(results.values(measure=measure, **where)):.2f}"
            if method != "annealed":
                share = results.values(measure="effective share", **where).mean()
                line["effective share"] = f"{share:.0%}"
            lines.append(line)
    return plotting.table(
        pd.DataFrame(lines),
        caption="Three modes in the plane, at equal evaluations of the density: mean and 95 % "
        "interval over seeds",
    )
