"""Curves with bands: means over seeds with their intervals, and what samples span."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from companion import checks
from companion.plotting.figures import array, check_axes
from companion.plotting.style import METHODS, PALETTE, method
from companion.statistics import student

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["lines", "log_ticks", "percentile_bands", "with_band"]

OTHERS = ("blue", "orange", "green", "vermillion", "purple", "sky", "black", "grey")
"""Colours of conditions that are no methods of the house, in this order."""


def log_ticks(*axes: Axis, at: Sequence[float] = (1, 2, 5)) -> None:
    """Mark logarithmic axes at 1, 2, 5, 10, 20, ..., in plain numbers.

    Parameters
    ----------
    *axes : ``ax.xaxis`` or ``ax.yaxis``
    at : sequence of float
        What powers of ten are multiplied with, from 1 to below 10; ``(1,)`` for axes over many
        of them.

    Raises
    ------
    TypeError
        If one is no axis, or ``at`` no sequence of numbers.
    ValueError
        If ``at`` is empty or has a number out of bounds.
    """
    at = checks.numbers("at", at, at_least=1, below=10)
    for axis in axes:
        if not isinstance(axis, Axis):
            raise TypeError(f"axes: got {axis!r}; allowed are ax.xaxis and ax.yaxis")
        axis.set_major_locator(ticker.LogLocator(subs=at))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())


def with_band(
    ax: Axes,
    x: Any,
    mean: Any,
    low: Any = None,
    high: Any = None,
    *,
    band: float = 0.18,
    **line: Any,
) -> None:
    """Draw a line with a band around it, such as means with their intervals.

    Parameters
    ----------
    ax : matplotlib axes
    x : (X,) where the values are
    mean : (X,) numbers; or, without ``low`` and ``high``, intervals
        Intervals are X objects with ``mean``, ``low`` and ``high`` (``statistics.Interval``), or a
        pandas table with these columns (``Results.summary``). Or (R, X) numbers, a row for each of
        R seeds: their means and 95 % t-intervals are drawn.
    low, high : (X,) numbers, optional
        Ends of the band. Where they are not finite there is no band.
    band : float
        Opacity of the band (default 0.18).
    **line
        For ``ax.plot``, such as ``**method("ddim")``.

    Raises
    ------
    ValueError
        If the lengths differ, or only one of ``low`` and ``high`` is given.
    """
    check_axes(ax)
    band = checks.number("band", band, at_least=0, at_most=1)
    if (low is None) != (high is None):
        raise ValueError("low, high: got one of them; allowed are both, or intervals for mean")
    names = ("mean", "low", "high")
    parts: list[Any] = [mean, low, high]
    if low is None and hasattr(mean, "columns"):
        parts = [mean[name] for name in names]
    elif low is None and getattr(mean, "ndim", 0) == 2:
        parts = list(_over_runs(array("mean", mean)))
    elif low is None:
        try:
            parts = [[getattr(interval, name) for interval in mean] for name in names]
        except (TypeError, AttributeError):
            raise TypeError(
                f"mean: got {checks.shown(mean)} without low and high; allowed are intervals, or "
                "(R, X) numbers"
            ) from None
    x = array("x", x)
    middle, bottom, top = (array(name, part) for name, part in zip(names, parts))
    for name, values in zip(names, (middle, bottom, top)):
        if x.ndim != 1 or values.shape != x.shape:
            raise ValueError(
                f"{name}: got shape {values.shape} with x of shape {x.shape}; allowed is (X,) each"
            )
    (drawn,) = ax.plot(x, middle, **line)
    if np.isfinite(bottom).any():
        ax.fill_between(x, bottom, top, color=drawn.get_color(), alpha=band, linewidth=0)


def percentile_bands(
    ax: Axes,
    x: Any,
    samples: Any,
    *,
    shares: Sequence[float] = (0.5, 0.9),
    band: float = 0.18,
    **line: Any,
) -> None:
    """Draw the median over samples as a line, and bands that hold their central shares.

    Parameters
    ----------
    ax : matplotlib axes
    x : (X,) where the samples are
    samples : (N, X), finite
    shares : sequence of float in (0, 1)
        A band each: 0.9 reaches from the 5th to the 95th percentile (default 0.5 and 0.9).
    band : float
        Opacity of a band (default 0.18); they lie over each other.
    **line
        For ``ax.plot``, such as ``**method("ddim")``.
    """
    check_axes(ax)
    band = checks.number("band", band, at_least=0, at_most=1)
    shares = checks.numbers("shares", shares, above=0, below=1)
    x, values = array("x", x), array("samples", samples)
    if values.ndim != 2 or x.ndim != 1 or values.shape[1] != len(x) or not len(values):
        raise ValueError(
            f"samples: got shape {values.shape} with x of shape {x.shape}; "
            "allowed is (N, X) with (X,)"
        )
    if not np.isfinite(values).all():
        raise ValueError("samples: got values that are not finite; allowed are finite numbers")
    (drawn,) = ax.plot(x, np.median(values, axis=0), **line)
    for share in shares:
        low, high = np.quantile(values, [0.5 - share / 2, 0.5 + share / 2], axis=0)
        ax.fill_between(x, low, high, color=drawn.get_color(), alpha=band, linewidth=0)


def lines(
    ax: Axes,
    table: pd.DataFrame,
    x: str = "level",
    y: str = "value",
    by: str = "condition",
    seeds: str = "seed",
    *,
    mean: str = "arithmetic",
    log: str = "",
    confidence: float = 0.95,
    styles: Mapping[Any, Mapping[str, Any]] | None = None,
    **line: Any,
) -> None:
    """Draw value against level from a tidy table: a line for each condition, a band over seeds.

    The line is the mean over seeds; the band is the t-interval of that mean, at each level by
    itself. Conditions are drawn in the order in which the table has them, those that are keys of
    ``METHODS`` in their house colours, the others in colours that are still free. The legend is
    left to ``ax.legend()``.

    Parameters
    ----------
    ax : matplotlib axes
    table : pandas.DataFrame
        One row for each condition, seed and level. Choose the rows first, if there are more.
    x, y, by, seeds : str
        Names of the columns (default "level", "value", "condition" and "seed"). A table without
        the columns ``by`` or ``seeds`` has one condition, or one seed.
    mean : {"arithmetic", "geometric"}
        Over seeds (default "arithmetic"). The geometric mean, of values above 0, goes with ratios
        and with ``log="y"``; its interval is made from logarithms.
    log : str
        Axes on a logarithmic scale: "", "x", "y" or "xy" (default "").
    confidence : float in (0, 1)
        Of the band (default 0.95). A level with one seed has no band.
    styles : dict of condition -> dict, optional
        Arguments of ``ax.plot`` for single conditions, such as
        ``{"naive": {"label": "without correction", "linestyle": "--"}}``.
    **line
        Arguments of ``ax.plot`` for all of them.

    Raises
    ------
    ValueError
        If a column is missing, a condition has two rows for a seed and level, an option or a key of
        ``styles`` is unknown, or a geometric mean is asked of values that are not above 0.

    Notes
    -----
    Where a seed's value is not finite there is a gap in the line, so that a failed run shows.

    Examples
    --------
    >>> lines(ax, race.table, log="xy", mean="geometric")          # doctest: +SKIP
    >>> ax.set(xlabel="noise level", ylabel="error"); ax.legend()  # doctest: +SKIP
    """
    checks.choice("mean", mean, ("arithmetic", "geometric"))
    checks.choice("log", log, ("", "x", "y", "xy"))
    checks.number("confidence", confidence, above=0, below=1)
    check_axes(ax)
    if not hasattr(table, "groupby"):
        raise TypeError(f"table: got {checks.shown(table)}; allowed is a pandas.DataFrame")
    for name in (x, y):
        if name not in table:
            raise ValueError(f"table: got columns {list(table)}; allowed are such with {name!r}")
    key = [name for name in (by, seeds, x) if name in table]
    if table.duplicated(key).any():
        raise ValueError(
            f"table: got two rows or more for the same {', '.join(key)}; allowed is one. "
            "Choose the rows to draw first"
        )
    geometric = mean == "geometric"
    if geometric and (table[y] <= 0).any():
        raise ValueError(f"{y}: got {table[y].min():g}; a geometric mean is of values above 0")
    groups = dict(list(table.groupby(by, sort=False))) if by in table else {y: table}
    if styles is not None:
        checks.instance("styles", styles, Mapping, "a dict of condition -> dict")
    unknown = [name for name in styles or {} if name not in groups]
    if unknown:
        raise ValueError(f"styles: got {unknown}; allowed are {list(groups)}")
    looks = _looks(list(groups))
    for name, group in groups.items():
        levels, *ends = _interval(group[x], group[y], geometric, confidence)
        with_band(ax, levels, *ends, **{**looks[name], **line, **(styles or {}).get(name, {})})
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")


def _looks(conditions: list[Any]) -> dict[Any, dict[str, Any]]:
    """Colour, marker and label of each condition."""
    taken = {METHODS[name][0] for name in conditions if name in METHODS}
    free = itertools.cycle([name for name in OTHERS if name not in taken] or OTHERS)
    return {
        name: method(name)
        if name in METHODS
        else {"color": PALETTE[next(free)], "marker": "o", "label": str(name)}
        for name in conditions
    }


def _over_runs(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over rows, and the ends of their 95 % t-intervals."""
    count, middle = len(runs), runs.mean(0)
    half = -student(0.025, count - 1) * runs.std(0, ddof=1) / np.sqrt(count)
    return middle, middle - half, middle + half


def _interval(
    levels: pd.Series, values: pd.Series, geometric: bool, confidence: float
) -> tuple[np.ndarray, ...]:
    """Levels in order, means at each of them, and the ends of their t-intervals."""
    runs = (np.log(values) if geometric else values).groupby(levels, sort=True)
    count = runs.size().to_numpy()
    middle = runs.mean().where(runs.count() == runs.size()).to_numpy()  # a gap at a failed seed
    with np.errstate(invalid="ignore", divide="ignore"):
        error = runs.std().to_numpy() / np.sqrt(count)
        half = -student((1 - confidence) / 2, count - 1) * error
    ends = (middle, middle - half, middle + half)
    places = np.sort(levels.unique()).astype(float)
    return (places, *(np.exp(end) for end in ends)) if geometric else (places, *ends)
