"""Ambient with consistency against the others: paired ratios over seeds, for rules and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from companion.experiments.results import Results
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE, RIVALS, SURE
from companion.experiments.tweedie.mismatch import ASSUMED
from companion.experiments.tweedie.points import DISTANCE, errors_of
from companion.statistics import Interval, paired_ratio

__all__ = [
    "DIGIT_RIVALS",
    "LEVEL",
    "PEERS",
    "SUMMARIES",
    "digit_error_ratios",
    "digit_frechet_ratios",
    "error_ratio",
    "image_interval",
    "image_ratio",
    "image_ratios",
    "image_values",
    "in_words",
    "memory_gap",
    "memory_ratios",
    "mismatch_costs",
    "mismatch_ratios",
    "new_digit_ratio",
    "place",
    "race_ratios",
    "sweep_ratios",
    "width_ratio",
]

SUMMARIES = ("below", "geometric", "at")
"""Numbers that sum up errors by level: attributes of ``Errors``."""

PEERS = (AMBIENT, NAIVE)
"""Methods that consistency is compared with under other noise."""

DIGIT_RIVALS = (NAIVE, SURE, AMBIENT, CLEAN)


def error_ratio(
    results: Results, one: dict[str, Any], other: dict[str, Any], summary: str, comparisons: int = 1
) -> Interval:
    """Ratio of two methods' errors, paired over seeds.

    Parameters
    ----------
    results : of an experiment on points
    one, other : conditions that choose a method each
    summary : attribute of ``Errors``
    comparisons : int
        Intervals that hold together (default 1).
    """
    first, second = (getattr(errors_of(results, **where), summary) for where in (one, other))
    return paired_ratio(first, second, comparisons=comparisons)


def race_ratios(race: Results) -> dict[tuple[str, str], Interval]:
    """Error over that of each rival and of training on clean data, (method, summary) -> ratio."""
    number = len(SUMMARIES) * (len(RIVALS) + 1)
    return {
        (name, summary): error_ratio(
            race, {"method": CONSISTENCY}, {"method": name}, summary, number
        )
        for name in (*RIVALS, CLEAN)
        for summary in SUMMARIES
    }


def sweep_ratios(sweep: Results) -> dict[tuple[float, int, str], Interval]:
    """Geometric error below s_n over that of each peer, (noise, points, peer) -> ratio."""
    settings = _places(sweep)
    return {
        (s_n, n, peer): error_ratio(
            sweep, {"method": CONSISTENCY, "noise": s_n, "points": n},
            {"method": peer, "noise": s_n, "points": n}, "geometric", len(PEERS) * len(settings),
        )
        for s_n, n in settings
        for peer in PEERS
    }  # fmt: skip


def place(sweep: Results, noise: float, points: int) -> str:
    """Name of a setting of the sweep: its noise, where the number of points is the usual one."""
    counts = [n for _, n in _places(sweep)]
    if points == max(counts, key=counts.count):
        return f"noise at {noise / DISTANCE:.2f} of the distance between modes"
    return f"{points:,} points"


def _places(sweep: Results) -> list[tuple[float, int]]:
    """Noises of the data and numbers of points."""
    places = sweep.where(method=CONSISTENCY)[["noise", "points"]].drop_duplicates()
    return [(float(s), int(n)) for s, n in places.itertuples(index=False)]


def mismatch_ratios(mismatch: Results) -> dict[tuple[str, str], Interval]:
    """Geometric error below s_n over that of each peer, (kind of noise, peer) -> ratio."""
    kinds = [str(kind) for kind in mismatch.labels("kind")]
    return {
        (kind, peer): error_ratio(
            mismatch, {"kind": kind, "method": CONSISTENCY}, {"kind": kind, "method": peer},
            "geometric", len(PEERS) * len(kinds),
        )
        for kind in kinds
        for peer in PEERS
    }  # fmt: skip


def mismatch_costs(mismatch: Results) -> dict[str, Interval]:
    """Error below s_n of consistency over what it is where all is as assumed, by kind."""
    kinds = [str(kind) for kind in mismatch.labels("kind") if kind != ASSUMED]
    return {
        kind: error_ratio(
            mismatch, {"kind": kind, "method": CONSISTENCY},
            {"kind": ASSUMED, "method": CONSISTENCY}, "below", len(kinds),
        )
        for kind in kinds
    }  # fmt: skip


def width_ratio(samples: Results, other: str, measure: str = "width") -> Interval:
    """Factor by which the modes' width is off, with consistency over another method.

    Parameters
    ----------
    samples : Results
    other : a method
    measure : {"width", "width with new noise"}
    """
    own, peer = (samples.values(measure=measure, method=m) for m in (CONSISTENCY, other))
    return paired_ratio(np.maximum(own, 1 / own), np.maximum(peer, 1 / peer))


# --- digits --------------------------------------------------------------------------------------


def digit_error_ratios(digits: Results) -> dict[str, Interval]:
    """Error of consistency below s_n over that of each rival; all hold together."""
    below = [float(v) for v in digits.labels("level", measure="error") if float(v) < 1]  # type: ignore[arg-type]

    def error(method: str) -> np.ndarray:
        grid = digits.grid("seed", "level", measure="error", method=method, level=below)
        return np.sqrt((grid**2).mean(1))

    return _over_rivals(error)


def digit_frechet_ratios(digits: Results) -> dict[str, Interval]:
    """Frechet distance of consistency over that of each rival; all hold together."""
    return _over_rivals(lambda method: digits.values(measure="Frechet distance", method=method))


def _over_rivals(values: Any) -> dict[str, Interval]:
    number = len(DIGIT_RIVALS)
    return {
        name: paired_ratio(values(CONSISTENCY), values(name), comparisons=number)
        for name in DIGIT_RIVALS
    }


def memory_ratios(memory: Results, method: str) -> dict[float, Interval]:
    """Distance of training digits that come back over that of held-out ones, by extreme noise."""
    levels = [float(sigma) for sigma in memory.settings["extreme"]]
    ratios = {}
    for sigma in levels:
        where = {"measure": "distance", "method": method, "sigma": sigma}
        train, test = (memory.values(images=images, **where) for images in ("train", "test"))
        ratios[sigma] = paired_ratio(train, test, comparisons=len(levels))
    return ratios


def memory_gap(memory: Results, method: str) -> np.ndarray:
    """How much nearer training digits come back than held-out ones, relative, by seed."""
    where = {"measure": "distance", "method": method, "sigma": memory.settings["extreme"][0]}
    return 1 - memory.values(images="train", **where) / memory.values(images="test", **where)


def new_digit_ratio(memory: Results) -> Interval:
    """Error on new digits at s_n, trained on noisy digits over trained on clean ones."""
    noisy, clean = (
        memory.values(measure="error on new digits", method=m) for m in (CONSISTENCY, CLEAN)
    )
    return paired_ratio(noisy, clean)


# --- images --------------------------------------------------------------------------------------

LEVEL = 0.5
"""Level at which errors on images are compared, over the noise of the data."""


def image_values(
    record: Results,
    measure: str,
    method: str,
    s_n: float,
    seeds: Sequence[Any] | None = None,
    share: float | None = None,
) -> np.ndarray:
    """Frechet distance, or error at ``LEVEL``, for each seed; empty if it was not measured.

    Parameters
    ----------
    record : of ``ImageRace``, ``ImagePlain``, ``ImageFewClean`` or ``ImageBridge``
    measure : {"Frechet distance", "error"}
    method : str
    s_n : float
        Standard deviation of the noise in the data.
    seeds : sequence of int, optional
        Which (default: all).
    share : float, optional
        Of clean images, in records that have several.
    """
    asked = {
        "measure": measure, "method": method, "noise": s_n, "seed": seeds, "clean_share": share,
        "level": LEVEL if measure == "error" else None,
    }  # fmt: skip
    where = {name: value for name, value in asked.items() if value is not None}
    try:
        record.where(**where)
    except KeyError:
        return np.array([])
    return record.values(**where)


def image_interval(record: Results, measure: str, other: str, s_n: float) -> Interval | None:
    """Ratio of consistency to another method over seeds; None if one failed or is missing."""
    own, peer = (image_values(record, measure, m, s_n) for m in (CONSISTENCY, other))
    if len(peer) != len(own) or not np.isfinite([own, peer]).all():
        return None
    return paired_ratio(own, peer)


def image_ratio(record: Results, measure: str, other: str, s_n: float) -> str:
    """Ratio of consistency to another method over seeds as text; empty without one."""
    if failed := failures(image_values(record, measure, CONSISTENCY, s_n)):
        return failed
    ratio = image_interval(record, measure, other, s_n)
    return "" if ratio is None else f"{ratio:.2f}"


def image_ratios(
    digits: Results, records: Mapping[str, Results | None], other: str
) -> dict[str, Interval | None]:
    """Frechet distance of consistency over another method's on all images; all hold together.

    Returns
    -------
    dict: name of the images and their noise -> ratio, or None where a training failed
    """
    values = {
        "8 x 8 digits": [
            digits.values(measure="Frechet distance", method=m) for m in (CONSISTENCY, other)
        ]
    }
    for title, record in records.items():
        if record is None:
            continue
        for s_n in map(float, record.labels("noise")):  # type: ignore[arg-type]
            pair = [image_values(record, "Frechet distance", m, s_n) for m in (CONSISTENCY, other)]
            values[f"{title} with noise {s_n:g}"] = pair
    return {
        name: paired_ratio(*pair, comparisons=len(values))
        if len(pair[0]) == len(pair[1]) > 1 and np.isfinite(pair).all()
        else None
        for name, pair in values.items()
    }


def in_words(records: Mapping[str, Results | None], measure: str, peers: Mapping[str, str]) -> str:
    """Ratios of consistency to its peers on all image records; empty without records."""
    return "; ".join(
        f"{title} with noise {s_n:g}: "
        + ", ".join(f"{image_ratio(r, measure, m, s_n)}{name}" for m, name in peers.items())
        for title, r in records.items()
        if r is not None
        for s_n in np.array(r.labels("noise"), dtype=float)
    )


def failures(values: Sequence[float] | np.ndarray) -> str:
    """Say how many of the seeds failed; empty if none did."""
    failed = int((~np.isfinite(values)).sum())
    return f"{failed} of {len(values)} failed" if failed else ""
