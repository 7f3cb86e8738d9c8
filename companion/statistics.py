"""From numbers to verdicts: intervals, paired comparisons over seeds, and the verdicts that follow.

Whatever is compared is compared seed by seed. A ratio is a geometric mean: its interval is made
from logarithms. Several intervals that are looked at together take ``comparisons``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from companion import checks

__all__ = [
    "Interval",
    "best_of_others",
    "combine",
    "decide",
    "detectable",
    "interaction",
    "intervals_by",
    "mean_interval",
    "paired_difference",
    "paired_ratio",
    "ratio_interval",
]

METHODS = ("t", "bootstrap")
"""Kinds of intervals: of Student's t (the default), or percentiles of resampled means."""

RESAMPLES = 10_000
"""Resampled means of a bootstrap interval."""

_METHOD: ContextVar[str] = ContextVar("method of intervals", default="t")

LARGEST_LOG = 50.0
"""Logarithms of ratios are cut here (both signs), so that no factor overflows."""


class Interval(NamedTuple):
    """A mean with its confidence interval.

    As text it shows two significant digits of the interval's half-width: ``0.123 [0.101, 0.145]``.
    A format applies to each number: ``f"{interval:.1%}"``.
    """

    mean: float
    low: float
    high: float
    n: int
    """Number of values, such as seeds, that it was made from."""

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside of the interval."""
        return not self.low <= value <= self.high

    def below(self, value: float) -> bool:
        """Whether the whole interval lies below ``value``."""
        return self.high < value

    def above(self, value: float) -> bool:
        """Whether the whole interval lies above ``value``."""
        return self.low > value

    def exp(self) -> Interval:
        """Return an interval of logarithms as one of factors."""
        ends = [
            math.exp(max(-LARGEST_LOG, min(LARGEST_LOG, v)))
            for v in (self.mean, self.low, self.high)
        ]
        return Interval(ends[0], ends[1], ends[2], self.n)

    def __format__(self, spec: str) -> str:
        if not spec:
            width = max(self.high - self.mean, self.mean - self.low)
            size = width or abs(self.mean)
            if not math.isfinite(size) or not 1e-6 < size < 1e6:
                spec = ".3g"
            else:
                spec = f".{max(0, 1 - math.floor(math.log10(size)))}f"
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def _values(name: str, a: Any, positive: bool = False) -> np.ndarray:
    a = a.detach().cpu() if hasattr(a, "detach") else a
    try:
        if isinstance(a, (str, bytes)):
            raise TypeError
        if not isinstance(a, np.ndarray):
            a = np.array([float(v) for v in a])
        a = a.astype(float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: got {checks.shown(a)}; allowed are two or more finite values"
        ) from None
    if a.ndim != 1 or len(a) < 2 or not np.isfinite(a).all():
        bad = "" if np.isfinite(a).all() else " with values that are not finite"
        raise ValueError(f"{name}: got shape {a.shape}{bad}; allowed are two or more finite values")
    if positive and (a <= 0).any():
        raise ValueError(f"{name}: got {a.min():g}; allowed are values above 0")
    return a


def _pair(a: Any, b: Any, positive: bool = False) -> tuple[np.ndarray, np.ndarray]:
    first, second = _values("a", a, positive), _values("b", b, positive)
    if len(first) != len(second):
        raise ValueError(
            f"b: got {len(second)} values; allowed are {len(first)}, one for each of a"
        )
    return first, second


def student(probability: float, freedom: Any) -> Any:
    """Quantile of Student's t, of which ``scipy.stats`` would take a second to load.

    Parameters
    ----------
    probability : float in (0, 1)
    freedom : int or array
        Degrees of freedom.
    """
    from scipy.special import stdtrit

    return stdtrit(freedom, probability)


def mean_interval(a: Any, *, confidence: float = 0.95, comparisons: int = 1) -> Interval:
    """Mean of independent values and its t-interval.

    Inside of ``intervals_by("bootstrap")`` it is the bootstrap's.

    Parameters
    ----------
    a : (n,) values, n at least 2
        One for each seed, say.
    confidence : float
        Probability that the interval holds the true mean (default 0.95).
    comparisons : int
        Number of intervals that are looked at together. The level of each becomes
        ``1 - (1 - confidence) / comparisons`` (Bonferroni), so that all of them hold at once with
        probability ``confidence`` at least.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.
    """
    values = _values("a", a)
    confidence = checks.number("confidence", confidence, above=0, below=1)
    comparisons = checks.whole("comparisons", comparisons)
    n, mean = len(values), float(values.mean())
    miss = (1 - confidence) / comparisons
    if _METHOD.get() == "bootstrap":
        drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
        low, high = np.quantile(values[drawn].mean(1), [miss / 2, 1 - miss / 2])
        return Interval(mean, min(mean, float(low)), max(mean, float(high)), n)
    half = float(-student(miss / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def intervals_by(method: str) -> AbstractContextManager[None]:
    """Make all intervals of this module by another method, to see whether a verdict rests on it.

    Parameters
    ----------
    method : {"t", "bootstrap"}
        The bootstrap draws the values again with replacement and takes percentiles of the means. It
        assumes no distribution; with few values it is too narrow.

    Examples
    --------
    >>> with intervals_by("bootstrap"):
    ...     print(f"{mean_interval([1.0, 2.0, 4.0, 9.0]):.2f}")
    4.00 [1.50, 7.25]
    """
    return _made_by(checks.choice("method", method, METHODS))


@contextmanager
def _made_by(method: str) -> Iterator[None]:
    token = _METHOD.set(method)
    try:
        yield
    finally:
        _METHOD.reset(token)


def ratio_interval(ratios: Any, *, confidence: float = 0.95, comparisons: int = 1) -> Interval:
    """Geometric mean of ratios, one a seed, with its interval (a t-interval of the logarithms).

    Parameters
    ----------
    ratios : (n,) values above 0, n at least 2
    confidence, comparisons : as in ``mean_interval``
    """
    logs = np.log(_values("ratios", ratios, positive=True))
    return mean_interval(logs, confidence=confidence, comparisons=comparisons).exp()


def paired_difference(
    a: Any, b: Any, *, confidence: float = 0.95, comparisons: int = 1
) -> Interval:
    """Mean of ``a - b`` over pairs, such as two methods with the same seeds, with its t-interval.

    Parameters
    ----------
    a, b : (n,) values, n at least 2; the i-th of both belong together
    confidence, comparisons : as in ``mean_interval``
    """
    first, second = _pair(a, b)
    return mean_interval(first - second, confidence=confidence, comparisons=comparisons)


def paired_ratio(a: Any, b: Any, *, confidence: float = 0.95, comparisons: int = 1) -> Interval:
    """Geometric mean of ``a / b`` over pairs with its interval; 1 means no difference.

    Parameters
    ----------
    a, b : (n,) values above 0, n at least 2; the i-th of both belong together
    confidence, comparisons : as in ``mean_interval``
    """
    first, second = _pair(a, b, positive=True)
    return ratio_interval(first / second, confidence=confidence, comparisons=comparisons)


def interaction(
    both: Any,
    first: Any,
    second: Any,
    neither: Any,
    *,
    confidence: float = 0.95,
    comparisons: int = 1,
) -> Interval:
    """What two changes do together beyond the sum of what each does alone (eq-fn-interaction).

    ``both - first - second + neither``, paired run by run: a difference in differences. Given
    logarithms of a distance, below 0 the changes help each other, above 0 they cancel, and 0 means
    that their gains add up.

    Parameters
    ----------
    both, first, second, neither : 1-D of the same length
        A result of each run with both changes, with one of them, and with none.
    confidence, comparisons : as in ``mean_interval``

    Raises
    ------
    ValueError
        If lengths differ, or a value is not finite.
    """
    given = {"both": both, "first": first, "second": second, "neither": neither}
    v = {name: _values(name, values) for name, values in given.items()}
    counts = {name: len(values) for name, values in v.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"both, first, second, neither: got {counts}; allowed are equal numbers")
    difference = v["both"] - v["first"] - v["second"] + v["neither"]
    return mean_interval(difference, confidence=confidence, comparisons=comparisons)


def best_of_others(scores: Any) -> np.ndarray:
    """Choose a setting for each seed by the other seeds, so that choosing is not rewarded.

    Parameters
    ----------
    scores : (settings, seeds) values, lower is better; seeds at least 2

    Returns
    -------
    (seeds,) whole numbers: for each seed the setting of the lowest mean over the other seeds.
    """
    try:
        table = np.asarray(scores, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"scores: got {checks.shown(scores)}; allowed are numbers (settings, seeds)"
        ) from None
    if table.ndim != 2 or table.shape[1] < 2 or not table.shape[0]:
        raise ValueError(f"scores: got shape {table.shape}; allowed is (settings, 2 or more seeds)")
    if not np.isfinite(table).all():
        raise ValueError("scores: got values that are not finite; allowed are finite numbers")
    others = (table.sum(1, keepdims=True) - table) / (table.shape[1] - 1)
    return others.argmin(0)


# --- rules that can return every verdict --------------------------------------------------------


def decide(interval: Interval, smallest: float, *, reference: float = 0.0) -> str:
    """Verdict on one claim of an effect, from its interval and the smallest effect of interest.

    An effect is the distance from ``reference`` towards ``smallest``: below it for a claim that
    something becomes less, above it for a claim that something becomes more.

    - "supported": the whole interval lies on the claimed side of ``reference``, and its mean is at
      least as far as ``smallest``.
    - "not supported": the whole interval lies short of ``smallest``. A tie and a small effect that
      is certain count so, and of course an effect in the other direction.
    - "inconclusive": anything else. The data allow both.

    Parameters
    ----------
    interval : Interval
        Of a difference (``reference`` 0), or of a ratio (``reference`` 1).
    smallest : float
        Smallest effect of interest, in the same units; not ``reference``.
    reference : float
        Value that stands for no effect (default 0).

    Raises
    ------
    ValueError
        If ``smallest`` is ``reference``.

    Examples
    --------
    >>> decide(Interval(0.8, 0.7, 0.88, 8), 0.95, reference=1)  # a ratio of errors
    'supported'
    >>> decide(Interval(0.99, 0.97, 1.01, 8), 0.95, reference=1)
    'not supported'
    >>> decide(Interval(0.9, 0.7, 1.2, 4), 0.95, reference=1)
    'inconclusive'
    """
    checks.instance("interval", interval, Interval, "an Interval")
    smallest, reference = checks.number("smallest", smallest), checks.number("reference", reference)
    if smallest == reference:
        raise ValueError(f"smallest: got {smallest:g}; allowed is anything but the reference")
    sign = 1.0 if smallest > reference else -1.0
    mean, *ends = (sign * (v - reference) for v in (interval.mean, interval.low, interval.high))
    wanted = sign * (smallest - reference)
    if max(ends) < wanted:
        return "not supported"
    if min(ends) > 0 and mean >= wanted:
        return "supported"
    return "inconclusive"


def combine(verdicts: Iterable[str]) -> str:
    """Verdict on a claim about several conditions, from the verdict under each.

    "supported" or "not supported" if all agree. "depends" if it holds under one and not under
    another: the answer must then name the condition. "inconclusive" if neither is so.

    Raises
    ------
    ValueError
        If there are none, or one is another word.
    """
    listed = checks.listed("verdicts", verdicts, "verdicts, such as 'supported'")
    if not listed:
        raise ValueError("verdicts: got none; allowed are one or more")
    for verdict in listed:
        checks.choice(
            "verdicts", verdict, ("supported", "not supported", "inconclusive", "depends")
        )
    if len(set(listed)) == 1:
        return listed[0]
    if "depends" in listed or {"supported", "not supported"} <= set(listed):
        return "depends"
    return "inconclusive"


def detectable(interval: Interval, *, power: float = 0.8, confidence: float = 0.95) -> float:
    """Smallest effect that so many values would have shown, at the scatter that they had.

    Half the width of an interval says what it excludes; an effect has to be larger than that for an
    interval to exclude 0 with probability ``power``.

    Parameters
    ----------
    interval : Interval, of a difference (or of logarithms), by ``mean_interval``
    power : float in (0, 1), default 0.8
    confidence : float in (0, 1)
        The one that ``interval`` was made with (default 0.95).
    """
    checks.instance("interval", interval, Interval, "an Interval")
    power = checks.number("power", power, above=0, below=1)
    confidence = checks.number("confidence", confidence, above=0, below=1)
    reach = -student((1 - confidence) / 2, interval.n - 1)
    standard_error = (interval.high - interval.low) / 2 / reach
    return float(standard_error * (reach + student(power, interval.n - 1)))
