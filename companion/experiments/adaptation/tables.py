"""Tables of chapter 8."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.adaptation.comparisons import noises
from companion.experiments.adaptation.race import CEILING, CONTENT, EXACT, WAYS
from companion.experiments.results import Results

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "LABELS",
    "accuracy_table",
    "calibration_table",
    "chosen",
    "gap",
    "image_table",
    "mixture_table",
]

LABELS = {
    "nothing": "nothing",
    "one call": "one call",
    "one call, ambient": "one call, ambient",
    "sampled": "sampled",
    "sampled, ambient": "sampled, ambient",
    "averaged": "mean of 4 answers",
    "guided": "entropy-guided",
    "trained with noise": "noise-trained",
    "tuned, one call": "retrained, one call",
    "tuned, one call, ambient": "retrained, ambient",
    "tuned, sampled": "retrained, sampled",
}
"""Ways to classify, as the page says them."""


def accuracy_table(race: Results) -> Styler:
    """Accuracy of each way under each condition, in percent; the best of a column is bold."""
    frame = _means(race, "accuracy", list(LABELS))
    best = frame.to_numpy() == frame.to_numpy().max(0)
    return _shown(frame, f"Digits: accuracy, %{_seeds(race)}", best)


def calibration_table(race: Results) -> Styler:
    """Calibration error of each way under each condition, in percent; the least is bold."""
    frame = _means(race, "calibration error", list(LABELS))
    best = frame.to_numpy() == frame.to_numpy().min(0)
    return _shown(frame, f"Digits: expected calibration error, %{_seeds(race)}", best)


def mixture_table(race: Results) -> Styler:
    """Accuracy, distance to the ceiling and calibration on the mixture, at the middle level."""
    conditions = noises(race)
    middle = conditions[len(conditions) // 2]
    ways = [CEILING, EXACT, *LABELS]
    rows = {}
    for way in ways:
        right, wrong = (
            100 * race.values(measure=m, way=way, condition=middle).mean()
            for m in ("accuracy", "calibration error")
        )
        rows[LABELS.get(way, way)] = {"accuracy": right, "calibration error": wrong}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.insert(1, "below the ceiling", frame["accuracy"].iloc[0] - frame["accuracy"])
    frame = frame.map(lambda value: f"{value:.1f}")
    return plotting.table(frame, caption=f"Mixture of digits, {middle}: all in %{_seeds(race)}")


def gap(race: Results) -> str:
    """Say how far one call of the exact denoiser and of trained ones is from the ceiling."""
    conditions = noises(race)
    middle = conditions[len(conditions) // 2]
    top, exact, clean, ambient = (
        100 * race.values(measure="accuracy", way=way, condition=middle).mean()
        for way in (CEILING, EXACT, "one call", "one call, ambient")
    )
    return (
        f"At {middle}, one call of the exact denoiser is {top - exact:.1f} points below the "
        f"ceiling of {top:.1f} %. One call of a trained denoiser is {top - clean:.1f} points below "
        f"it, and {top - ambient:.1f} if it never saw clean data. The classifier behind is the "
        "same, so the difference is what the networks have not learned."
    )


def chosen(race: Results) -> Styler:
    """The setting that most seeds chose, for each way that has several, and each condition."""
    rows = {}
    for way in LABELS:
        row = {}
        for condition in map(str, race.labels("condition")):
            options = _options(race, way, condition)
            if len(options) > 1:
                picks = race.values(measure="setting", way=way, condition=condition).astype(int)
                index = int(np.bincount(picks).argmax())
                row[_column(condition)] = f"{options[index]} ({(picks == index).mean():.0%})"
        if row:
            rows[LABELS[way]] = row
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return plotting.table(frame, caption="Digits: the setting most often chosen, and by how many")


def _options(race: Results, way: str, condition: str) -> list[str]:
    """Settings of a way, as text, in the order in which they are tried."""
    noisy = condition.startswith("noise")
    levels = [f"{v:g}" for v in race.settings["factors" if noisy else "levels"]]
    if way in ("nothing", "trained with noise"):
        return [""]
    options: list[tuple[str, ...]]
    if way == "guided":
        more = product(levels, race.settings["weights"], CONTENT)
        options = [(level, f"w {w:g}", f"content {c:g}") for level, w, c in more]
    elif "sampled" in way:
        options = list(product(levels, ("DDPM", "DDIM")))
    else:
        options = [(level,) for level in levels]
    # A single level needs no name.
    return [", ".join(one[len(levels) == 1 :]) for one in options]


def image_table(record: Results, title: str) -> Styler:
    """Accuracy from a record of images."""
    frame = _means(record, "accuracy", [str(way) for way in record.labels("way")])
    best = frame.to_numpy() == frame.to_numpy().max(0)
    return _shown(frame, f"{title}: accuracy, %{_seeds(record)}", best)


def _means(race: Results, measure: str, ways: list[str]) -> pd.DataFrame:
    """Mean over seeds in percent, ways by conditions."""
    rows = {
        way: {
            str(c): 100 * race.values(measure=measure, way=way, condition=c).mean()
            for c in race.labels("condition")
        }
        for way in ways
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _shown(frame: pd.DataFrame, caption: str, bold: np.ndarray) -> Styler:
    calls = [WAYS[way] for way in frame.index]
    told = frame.map(lambda value: f"{value:.1f}")
    told.columns = [_column(str(name)) for name in told]
    told.insert(0, "calls", [str(n) for n in calls])
    told.index = [LABELS[way] for way in frame.index]
    first = np.zeros((len(told), 1), bool)
    return plotting.table(told, caption=caption, bold=np.concatenate([first, bold], 1))


def _column(condition: str) -> str:
    return {"none": "clean"}.get(condition, condition)


def _seeds(race: Results) -> str:
    return f" (mean over {race.table['seed'].nunique()} seeds)"
