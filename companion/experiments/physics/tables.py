"""Tables of chapter 6: from results to a table, a function a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.physics.lines import EQUATIONS
from companion.experiments.physics.methods import LABELS
from companion.experiments.physics.verdicts import FORMS, ratio
from companion.experiments.results import Results
from companion.statistics import mean_interval

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["circle_table", "exact_table", "held_out", "line_table", "square_table", "weights_table"]

ORDER = ("none", "mean", "sample", "end", "late", "always")


def _mean(results: Results, measure: str, method: str, **where: object) -> str:
    value = float(results.values(measure=measure, method=method, **where).mean())
    small = value < 1e-3 and ("residual" in measure or "again" in measure)
    return "at rounding" if small else f"{value:.3g}"


def circle_table(circle: Results) -> Styler:
    """Means over seeds with the most points, by method."""
    n = max(circle.labels("points", measure="residual"))
    rows = {
        LABELS[m]: {
            "residual": _mean(circle, "residual", m, points=n),
            "angular distance": _mean(circle, "distance", m, points=n),
            "mean cosine": _mean(circle, "cosine", m, points=n),
            "evaluations of a training step": "2" if m == "sample" else "1",
        }
        for m in ORDER
    }
    caption = f"Circle, {n:,} points, equal evaluations in training and in sampling"
    return plotting.table(pd.DataFrame.from_dict(rows, orient="index"), caption=caption)


def held_out(circle: Results) -> Styler:
    """Held-out error over that of plain training, by form and number of points."""
    points = sorted(circle.labels("points", measure="held-out error"))
    number = len(FORMS) * (len(points) - 1)
    rows, bold = {}, []
    for form in FORMS:
        found = [ratio(circle, "held-out error", form, "none", number, points=n) for n in points]
        rows[LABELS[form]] = {f"{n:,} points": f"{i:.2f}" for n, i in zip(points, found)}
        bold.append([i.excludes(1.0) for i in found])
    caption = "Circle: error on held-out points, over that of plain training"
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return plotting.table(frame, caption=caption, bold=np.array(bold))


def line_table(lines: Results, equation: str) -> Styler:
    """Means over seeds, by method and weight."""
    columns = {
        "residual": "residual", "over the size": "residual over size",
        "size of p": "size", "solved again": "solved again", "distance": "distance",
    }  # fmt: skip
    rows = {}
    for m in ORDER:
        weighted = {"measure": "distance by weight", "equation": equation, "method": m}
        weights = lines.labels("c", **weighted) if m in FORMS else [None]
        for c in weights:
            label = LABELS[m] if c is None else f"{LABELS[m]}, c = {c:.0e}"
            ending, more = ("", {}) if c is None else (" by weight", {"c": c})
            rows[label] = {
                name: _mean(lines, measure + ending, m, equation=equation, **more)
                for name, measure in columns.items()
            }
    floor = lines.value(measure="floor", equation=equation)
    caption = (
        f"Line, {equation} equation; as many samples of the data have a distance of {floor:.2f}"
    )
    return plotting.table(pd.DataFrame.from_dict(rows, orient="index"), caption=caption)


def weights_table(lines: Results) -> Styler:
    """Residual and distance of every weight that was tried, as means with intervals."""
    rows = []
    for equation in EQUATIONS:
        for form in FORMS:
            where = {"equation": equation, "method": form}
            for c in lines.labels("c", measure="distance by weight", **where):
                line = {"equation": equation, "training": LABELS[form], "c": f"{c:.0e}"}
                for m in ("residual", "distance"):
                    found = mean_interval(lines.values(measure=f"{m} by weight", c=c, **where))
                    line[m] = f"{found:.2f}" if found.mean < 1 else f"{found:.1f}"
                rows.append(line)
    return plotting.table(pd.DataFrame(rows), caption="Line: every weight that was tried")


def square_table(record: Results, caption: str) -> Styler:
    """Means over the networks of a record of ``Square``, by method."""
    columns = {
        "residual": "residual", "over the size": "residual over size",
        "other faces": "residual of another discretisation", "size of p": "size",
        "solved again": "solved again", "size of log K": "coefficients", "distance": "distance",
    }  # fmt: skip
    rows = {
        LABELS[m]: {name: _mean(record, measure, m) for name, measure in columns.items()}
        for m in ORDER
        if m in record.labels("method")
    }
    number = len(record.labels("seed"))
    caption = f"{caption}: means over {number} networks, in units of the source and of the data"
    return plotting.table(pd.DataFrame.from_dict(rows, orient="index"), caption=caption)


def exact_table(exact: Results, weight: float) -> Styler:
    """Means over batches of samples of the exact denoiser, and of the mean form's minimum."""
    rows = []
    for equation in EQUATIONS:
        for method in ("none", "mean"):
            label = "exact denoiser" if method == "none" else "minimum of the mean form"
            line = {"equation": equation, "denoiser": label}
            for m in ("residual", "size", "solved again", "distance"):
                line[m] = _mean(exact, f"exact {m}", method, equation=equation)
            rows.append(line)
    return plotting.table(pd.DataFrame(rows), caption=f"Line: without networks, c = {weight:.0e}")
