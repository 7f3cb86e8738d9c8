"""Figures and tables about the learned sampler: from results to what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion import plotting
from companion.experiments.gradient_estimation.comparisons import as_factor, compared, whole
from companion.experiments.gradient_estimation.geometry_figures import WIDTH, look
from companion.experiments.gradient_estimation.learned_race import PARTS, TWO
from companion.experiments.gradient_estimation.learned_rivals import FIXED
from companion.experiments.gradient_estimation.learned_verdicts import (
    against_each,
    parts,
    places,
    transfers,
)
from companion.experiments.gradient_estimation.learned_weights import (
    carried_on,
    gamma_carried_on,
    midpoint_carried_on,
)
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.gradient_estimation.problems import DIGITS
from companion.experiments.gradient_estimation.rulings import less
from companion.experiments.results import Results
from companion.noise import log_linear
from companion.statistics import Interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "best_fixed",
    "cost",
    "errors",
    "image_cost",
    "image_ratio",
    "images",
    "learned",
    "numbers",
    "on_images",
    "over_fixed",
    "over_parts",
    "transfer",
]

NAMES = {
    "learned": "learned", "ddim": "DDIM", "heun": "Heun", "gradient_estimation": "γ chosen",
    "dpmpp_2m": "DPM++(2M)", "dpmpp_3m": "DPM++(3M)", "unipc": "UniPC", "deis": "DEIS",
    "levels": "levels only", "coefficients": "weights only", "optimised": "levels, no network",
}  # fmt: skip

SHOWN = {
    "ddim": look("blue", "o"), "gradient_estimation": look("purple", "v"),
    "dpmpp_2m": look("orange", "s"), "unipc": look("sky", "P"), "learned": look("black", "D"),
}  # fmt: skip


def learned(results: Results, problem: str = DIGITS) -> Figure:
    """Error against evaluations, and how far changes are carried on, of ``LearnedRace``."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
    budgets = whole(results, "budget", measure="error")
    for method, style in SHOWN.items():
        where = {"measure": "error", "problem": problem, "method": method}
        values = results.grid("budget", "seed", **where)
        style = {**style, "label": NAMES[method], "markersize": 4}
        plotting.with_band(left, budgets, values.T, **style)
    left.set(xscale="log", yscale="log", xlabel="evaluations", title="error against the flow")
    left.set_xticks(budgets, [str(n) for n in budgets])
    left.minorticks_off()

    n = whole(results, "budget", measure="weights", method=TWO)[-1]
    place: dict[str, Any] = {"problem": problem, "method": TWO, "budget": n}
    sigmas, weights = (
        results.where(measure=name, **place)["value"].tolist() for name in ("sigmas", "weights")
    )
    even = log_linear(n, SIGMA_MAX, sigmas[-1])[:-1].tolist()
    for label, levels, values, style in (
        ("learned", sigmas, carried_on(sigmas, weights), look("black", "D")),
        ("γ = 2", even, gamma_carried_on(even, 2.0), look("vermillion", "o")),
        ("DPM++(2M)", even, midpoint_carried_on(even), look("orange", "s")),
    ):
        right.plot(levels[1:], values, **{**style, "label": label, "markersize": 4})
    right.set(xscale="log", xlabel="noise level σ", title=f"change carried on, N = {n}")
    right.invert_xaxis()
    handles, labels = left.get_legend_handles_labels()
    drawn = dict(zip(labels, handles))
    handles, labels = right.get_legend_handles_labels()
    drawn |= {"γ = 2": handles[labels.index("γ = 2")]}
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=3)
    return figure


# --- tables --------------------------------------------------------------------------------------


def _decided(ratio: Interval) -> bool:
    return less(ratio) != "inconclusive"


def _frame(rows: list[tuple[str, int]], cells: list[list[str]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(cells, columns=columns)
    frame.insert(0, "N", [str(n) for _, n in rows])
    names = [p if not i or rows[i - 1][0] != p else "" for i, (p, _) in enumerate(rows)]
    frame.insert(0, "", names)
    return frame


def best_fixed(results: Results, spot: tuple[str, int]) -> tuple[str, Interval]:
    """Name of the fixed sampler of the least error, and the ratio to it."""
    ratios = against_each(results, spot)
    method = max(ratios, key=lambda m: np.nan_to_num(ratios[m].mean, nan=-1.0))
    return NAMES[method], ratios[method]


def over_fixed(results: Results) -> Styler:
    """Error of the learned sampler over that of the best fixed one, by problem and N."""
    spots = places(results)
    problems = list(dict.fromkeys(p for p, _ in spots))
    budgets = list(dict.fromkeys(n for _, n in spots))
    best = {spot: best_fixed(results, spot) for spot in spots}
    cells = [[f"{as_factor(best[p, n][1])}, {best[p, n][0]}" for n in budgets]
             for p in problems]  # fmt: skip
    frame = pd.DataFrame(cells, index=problems, columns=[f"N = {n}" for n in budgets]).T
    bold = [[_decided(best[p, n][1]) for p in problems] for n in budgets]
    caption = "Error of the learned sampler over that of the best fixed one"
    return plotting.table(frame, caption=caption, bold=bold)


def errors(results: Results, measure: str = "error") -> Styler:
    """Mean error, or distance to the data, of every method.

    Parameters
    ----------
    measure : {"error", "distance"}
    """
    spots = places(results)
    methods = ["learned", *FIXED]
    cells = []
    for p, n in spots:
        where = {"measure": measure, "problem": p, "budget": n}
        cells.append([f"{results.values(method=m, **where).mean():.2g}" for m in methods])
    columns = [NAMES[m].removeprefix("DPM++").strip("()") for m in methods]
    if measure == "distance":
        columns.append("the flow")
        for row, (p, _) in zip(cells, spots):
            row.append(f"{results.values(measure='distance of the flow', problem=p).mean():.2g}")
    called = "error against the flow" if measure == "error" else "sliced Wasserstein distance"
    return plotting.table(
        _frame(spots, cells, columns),
        caption=f"Spirals and digits: {called}, mean over seeds; 2M, 3M: DPM-Solver++",
    )


def over_parts(results: Results) -> Styler:
    """Error of the learned sampler over those that learn a part."""
    found = parts(results)
    for spot, ratios in found.items():
        ratios |= against_each(results, spot, [TWO], len(found))
    cells = [[as_factor(ratio) for ratio in ratios.values()] for ratios in found.values()]
    bold = [[False, False, *map(_decided, ratios.values())] for ratios in found.values()]
    frame = _frame(list(found), cells, [*(NAMES[m] for m in PARTS), TWO])
    caption = "Error of the learned sampler over that of those that learn a part"
    return plotting.table(frame, caption=caption, bold=bold)


def transfer(results: Results) -> Styler:
    """Error of a sampler learned elsewhere, over the best fixed one and over one learned there."""
    columns = {"over the best fixed": "best fixed", "over one learned there": "learned there"}
    ratios = [transfers(results, method) for method in columns.values()]
    spots = list(ratios[0])
    cells = [[as_factor(r[spot]) for r in ratios] for spot in spots]
    bold = [[False, False, *(_decided(r[spot]) for r in ratios)] for spot in spots]
    return plotting.table(
        _frame(spots, cells, list(columns)),
        caption="Error of a sampler that was learned on another denoiser",
        bold=bold,
    )


def images(name: str, record: Results) -> Styler:
    """Mean error and Frechet distance of every method, of a record of ``LearnedImages``."""
    methods = [str(m) for m in record.labels("method", measure="error")]
    budgets = whole(record, "budget", measure="error")
    columns = {}
    for n in budgets:
        for measure, called in (("error", "error"), ("Frechet distance", "Fréchet")):
            values = {m: record.values(measure=measure, method=m, budget=n).mean() for m in methods}
            columns[f"{called}, N = {n}"] = {NAMES[m]: f"{v:.3g}" for m, v in values.items()}
    floor = f"as many training images: {record.facts['floor']:.3g}"
    samples = record.settings["samples"]
    caption = f"{name}: error against the flow, and Fréchet distance of {samples} samples ({floor})"
    return plotting.table(pd.DataFrame(columns), caption=caption)


def image_ratio(record: Results, measure: str, budget: int) -> tuple[str, Interval]:
    """The learned sampler over the fixed one with the least mean: its name, and the ratio."""

    def values(method: str) -> np.ndarray:
        return record.values(measure=measure, method=method, budget=budget)

    rivals = [str(m) for m in record.labels("method", measure="error") if m != "learned"]
    best = min(rivals, key=lambda m: float(np.nan_to_num(values(m), nan=np.inf).mean()))
    return NAMES[best], compared(values("learned"), values(best), 1)


def on_images(records: Mapping[str, Results]) -> str:
    """How the learned sampler did on images, as a sentence for each record."""
    told = []
    for name, record in records.items():
        lines = []
        for n in whole(record, "budget", measure="error"):
            error, frechet = (image_ratio(record, m, n) for m in ("error", "Frechet distance"))
            lines.append(
                f"at N = {n} its error is {as_factor(error[1])} times that of the best fixed "
                f"sampler ({error[0]}), its Fréchet distance {as_factor(frechet[1])} times "
                f"({frechet[0]})"
            )
        networks = len(record.labels("seed", measure="error"))
        told.append(
            f"**On {name}** ({networks} networks, each with its own sampler, settings and noise): "
            f"{'; '.join(lines)}."
        )
    return "\n\n".join(told)


def numbers(results: Results, budget: int = 5) -> Styler:
    """Levels and weights that were learned for a number of evaluations."""
    columns = {}
    for problem in dict.fromkeys(p for p, _ in places(results)):
        where = {"problem": problem, "method": "learned", "budget": budget}
        rows = (results.where(measure=m, **where)["value"] for m in ("sigmas", "weights", "second"))
        columns[problem] = [f"{s:.3g}; {c:.2f}; {e:.2f}" for s, c, e in zip(*rows)]
    frame = pd.DataFrame(columns, index=range(1, budget + 1)).rename_axis("i")
    return plotting.table(frame, caption=f"Learned for N = {budget}: level; c; e")


def cost(results: Results) -> Styler:
    """What learning cost: evaluations of one sample, as so many samples drawn, and seconds."""
    lines = {}
    for problem, n in places(results):
        where = {"problem": problem, "method": "learned", "budget": n}
        lines[f"{problem}, N = {n}"] = _cost(results, n, **where)
    return plotting.table(pd.DataFrame(lines).T, caption="What learning costs")


def image_cost(name: str, record: Results) -> Styler:
    """What learning cost on images, means over networks, of a record of ``LearnedImages``."""
    budgets = whole(record, "budget", measure="error")
    lines = {f"N = {n}": _cost(record, n, budget=n) for n in budgets}
    return plotting.table(pd.DataFrame(lines).T, caption=f"{name}: what learning costs")


def _cost(results: Results, n: int, **where: Any) -> dict[str, str]:
    asked, teacher, seconds = (
        results.values(measure=m, **where).mean()
        for m in ("evaluations", "teacher_evaluations", "seconds")
    )
    return {
        "evaluations of the fit": f"{asked:,.0f}",
        "of the teacher": f"{teacher:,.0f}",
        "as many samples drawn": f"{(asked + teacher) / n:,.0f}",
        "seconds": f"{seconds:.1f}",
    }
