"""Some clean images beside the noisy ones: what they are worth, as ratios, a table and a text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import image_values
from companion.experiments.tweedie.looks import three
from companion.experiments.tweedie.methods import AMBIENT, CLEAN
from companion.experiments.words import Text
from companion.statistics import Interval, mean_interval, paired_ratio

__all__ = [
    "MEASURES",
    "over_noisy",
    "ratio_of",
    "reading",
    "shares",
    "table",
    "way_to_clean",
]

MEASURES = {"Frechet distance": "distance of samples", "error": "error at half the noise"}
"""Measures of networks on images, and how they are called in words."""


def shares(few: Results) -> list[float]:
    """Shares of clean images in a record, the smallest first."""
    return sorted(float(share) for share in few.labels("clean_share"))  # type: ignore[arg-type]


def ratio_of(
    values: Iterable[float], others: Iterable[float], together: int = 1
) -> Interval | None:
    """Ratio paired over seeds; None with one seed, if a training failed, or one is missing.

    Parameters
    ----------
    values, others : numbers, one for each seed
    together : int
        Intervals that hold together (default 1).
    """
    first, second = np.array(list(values)), np.array(list(others))
    if len(first) != len(second) or len(first) < 2 or not np.isfinite([first, second]).all():
        return None
    return paired_ratio(first, second, comparisons=together)


def over_noisy(race: Results, few: Results, share: float) -> dict[str, Interval | None]:
    """Ratio of a share of clean images to none, by measure; the intervals hold together."""
    seeds, s_n = few.labels("seed"), float(few.settings["noise"])
    return {
        measure: ratio_of(
            image_values(few, measure, AMBIENT, s_n, seeds, share),
            image_values(race, measure, AMBIENT, s_n, seeds),
            len(MEASURES),
        )
        for measure in MEASURES
    }


def way_to_clean(race: Results, few: Results) -> dict[float, Interval]:
    """Of what clean images take off the error at s_n / 2, the part that each share takes off.

    0 is noisy images alone, 1 clean images alone. Paired over seeds; shares with a failed training
    are left out.
    """
    seeds, s_n = few.labels("seed"), float(few.settings["noise"])
    none, full = (image_values(race, "error", m, s_n, seeds) for m in (AMBIENT, CLEAN))
    found = {}
    for share in shares(few):
        some = image_values(few, "error", AMBIENT, s_n, seeds, share)
        if len({len(none), len(full), len(some)}) == 1 and len(some) > 1:
            part = (none - some) / (none - full)
            if np.isfinite(part).all():
                found[share] = mean_interval(part)
    return found


def reading(race: Results, few: Results) -> Text:
    """Say what the smallest share of clean images is worth; empty if a training failed."""
    way, share = way_to_clean(race, few), shares(few)[0]
    distance = over_noisy(race, few, share)["Frechet distance"]
    if share not in way or distance is None:
        return Text()
    samples = "Whether samples get nearer is undecided."
    if distance.below(1):
        samples = "Samples get nearer too."
    elif distance.above(1):
        samples = "Samples get farther."
    return Text(
        f"With {share:.0%} clean images, the error at σₙ/2 goes {way[share]:.0%} of the way from "
        f"noisy images alone to clean images alone. {samples}"
    )


def table(race: Results, few: Results) -> Styler:
    """Noisy images with some clean ones, between none and all: means with 95 % intervals."""
    s_n = float(few.settings["noise"])
    lines = [("none", race, AMBIENT, 0.0)]
    lines += [(f"{share:.0%}", few, AMBIENT, share) for share in shares(few)]
    lines.append(("all", race, CLEAN, 0.0))
    heads = {"Fréchet": "Frechet distance", "error at σₙ/2": "error"}
    rows = [
        {
            "clean images": name,
            **{
                head: _mean(image_values(record, measure, method, s_n, share=share))
                for head, measure in heads.items()
            },
        }
        for name, record, method, share in lines
    ]
    return plotting.table(pd.DataFrame(rows), caption="The ambient loss with some clean images")


def _mean(values: np.ndarray) -> str:
    there = len(values) > 1 and np.isfinite(values).all()
    return three(mean_interval(values)) if there else ""
