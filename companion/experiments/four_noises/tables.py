"""Tables of chapter 5; those of records of images are frames, for ``plotting.table``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.four_noises.comparisons import (
    READINGS,
    best_pair,
    budgets,
    cells,
    factor,
    gain,
    image_gain,
    image_logs,
    image_widths,
    interactions,
    labels,
    reading,
    shown_budget,
)
from companion.experiments.four_noises.sampling import PICARD_LEVELS, SAMPLERS, SCHEDULES
from companion.experiments.four_noises.stages import CLEAN
from companion.experiments.results import Results
from companion.experiments.words import Text
from companion.statistics import Interval, mean_interval, paired_difference

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "guide",
    "image_distances",
    "image_factors",
    "image_readings",
    "image_sentences",
    "image_shifts",
    "interaction_table",
    "readings",
    "small_training_set",
    "trials",
]

ON_NOISY = ("naive high", "ambient high", "consistent high")
"""Ways to train on data with the higher noise."""
ARROWS = {"help each other": " ↓", "cancel": " ↑", "add up": ""}

Records = Mapping[str, Results]
"""Records by their titles; ``session.records(ImagePairs).there()``."""
OfCell = Callable[[Results, str, str, int], np.ndarray]


def _sampler(name: str) -> str:
    return plotting.method(name)["label"]


def _marked(interval: Interval) -> str:
    """A factor with an arrow down below 1 and up above 1, where its interval excludes 1."""
    return factor(interval) + ARROWS[reading(interval)]


# --- points and digits ---------------------------------------------------------------------------


def interaction_table(pairs: Results, data: str) -> Styler:
    """Interactions as factors at the middle budget, with arrows where they exclude 1."""
    n, effects = shown_budget(pairs), interactions(pairs)
    rows = {
        label: {
            _short(s): _marked(effects[data, training, s, n])
            if (data, training, s, n) in effects
            else None
            for s in SAMPLERS[1:]
        }
        for training, label in labels(pairs, data).items()
        if training != "denoising"
    }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    caption = f"{data.capitalize()}, N = {n}: interaction of a training and a sampler"
    return plotting.table(frame, caption=caption, bold=_with_arrow(frame))


def _short(sampler: str) -> str:
    return "grad. est." if sampler == "gradient_estimation" else _sampler(sampler)


def _with_arrow(frame: pd.DataFrame) -> np.ndarray:
    return frame.map(lambda cell: str(cell).endswith(tuple(filter(None, ARROWS.values())))).values


def readings(pairs: Results) -> Styler:
    """How many cases (training, sampler, budget) add up, help each other and cancel."""
    effects = interactions(pairs)
    rows = {}
    for data in map(str, pairs.labels("data")):
        words = [reading(effects[(data, *cell)]) for cell in cells(pairs, data)]
        rows[data] = {"cases": len(words)} | {word: words.count(word) for word in READINGS}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    caption = "Points and digits: what a training and a sampler do together; a case is both and N"
    return plotting.table(frame, caption=caption)


def trials(pairs: Results, data: str) -> Styler:
    """Settings tried for each way to train, at each sampler and budget, and how often EDM won."""
    rows = {}
    for training, label in labels(pairs, data).items():
        table = pairs.where(measure="EDM chosen", data=data, training=training)
        share = table.groupby("sampler")["value"].mean()
        rows[label] = {"schedules tried": len(SCHEDULES)} | {
            _sampler(s): f"{share[s]:.0%}" if s in share else "not run" for s in SAMPLERS
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    caption = f"{data.capitalize()}: how often the schedule of EDM was chosen"
    return plotting.table(frame, caption=caption)


def small_training_set(few: Results) -> Styler:
    """Distances and copies with a small training set."""
    digits, budget = few.settings["digits"], few.settings["budget"]
    rows = {
        label: {
            "Fréchet distance": f"{_mean(few, 'distance', training):.1f}",
            "over plain training": "1" if training == "denoising" else factor(_few(few, training)),
            "copies": f"{_mean(few, 'copies', training):.1%}",
        }
        for training, label in few.facts["labels"].items()
    }
    caption = f"{digits} training digits, DDIM with {budget} steps"
    return plotting.table(pd.DataFrame.from_dict(rows, orient="index"), caption=caption)


def _mean(few: Results, measure: str, training: str) -> Interval:
    return mean_interval(few.values(measure=measure, training=training))


def _few(few: Results, training: str) -> Interval:
    """Log distance over that of plain training; those of all ways hold together."""
    first, plain = (
        np.log(few.values(measure="distance", training=t)) for t in (training, "denoising")
    )
    return paired_difference(first, plain, comparisons=len(few.facts["labels"]) - 1)


# --- what to do ----------------------------------------------------------------------------------


def guide(pairs: Results, few: Results) -> Styler:
    """What did best on digits in each situation, against the obvious choice.

    Intervals of a line hold together over all that it was picked from, on both sides.
    """
    one_by_one = [s for s in SAMPLERS if s != "picard"]
    clean = [(t, s) for t in CLEAN for s in one_by_one]
    noisy = [(t, s) for t in ON_NOISY for s in one_by_one]
    parallel = [(t, "picard") for t in CLEAN]
    listed = budgets(pairs)
    rows = [
        *([f"{n} evaluations", *_advice(pairs, clean, [("denoising", "ddim")], n), "nothing"]
          for n in listed),
        *([f"noisy data, {n} evaluations", *_advice(pairs, noisy, [("naive high", "ddim")], n),
           "the data's noise level must be known"] for n in listed),
        *([f"in parallel, {n} rounds", *_advice(pairs, parallel, clean, n),
           f"{PICARD_LEVELS} evaluations a round instead of one"]
          for n in listed if n < PICARD_LEVELS),
        _few_advice(few),
    ]  # fmt: skip
    head = ["if you have", "best here", "instead of", "distance over that", "it costs"]
    caption = "Digits: the best of all that was tried, against the obvious choice"
    return plotting.table(pd.DataFrame(rows, columns=head), caption=caption)


def _advice(
    pairs: Results, options: list[tuple[str, str]], rivals: list[tuple[str, str]], n: int
) -> list[str]:
    """Best of the options, best rival, and the distance of the one over that of the other."""
    best, against = best_pair(pairs, options, n), best_pair(pairs, rivals, n)
    got = gain(pairs, "digits", best, n, against, comparisons=len(options) * len(rivals))
    names = labels(pairs, "digits")
    told = [f"{names[training]}; {_sampler(sampler)}" for training, sampler in (best, against)]
    return [*told, "the same" if best == against else _difference(got)]


def _difference(interval: Interval) -> str:
    told = factor(interval)
    if not interval.excludes(0.0):
        told += ", no difference seen"
    return told + ", worse" * interval.above(0.0)


def _few_advice(few: Results) -> list[str]:
    names = few.facts["labels"]
    best = min(names, key=lambda t: np.log(few.values(measure="distance", training=t)).mean())
    return [
        f"{few.settings['digits']} training images", names[best], names["denoising"],
        "the same" if best == "denoising" else _difference(_few(few, best)),
        f"copies among samples: {_mean(few, 'copies', best).mean:.1%}",
    ]  # fmt: skip


# --- records of images ---------------------------------------------------------------------------


def image_factors(records: Records, of: OfCell, samplers: Sequence[str] = SAMPLERS) -> pd.DataFrame:
    """Factors over seeds at the middle budget of each record.

    Parameters
    ----------
    records : title -> Results
    of : ``image_gain`` or ``image_interaction``
    samplers : columns
    """
    rows = []
    for title, record in records.items():
        n = shown_budget(record)
        for training, label in record.facts["labels"].items():
            if training == "denoising":
                continue
            values = {s: of(record, training, s, n) for s in samplers}
            told = {
                _sampler(s): _marked(mean_interval(v)) if np.isfinite(v).all() else "–"
                for s, v in values.items()
            }
            rows.append({"images": title, "N": n, "training": label, **told})
    return _or_none(rows)


def image_sentences(record: Results, levels: Results | None = None) -> Text:
    """Say which ways to train are nearer to real images than plain training, or farther.

    With the same sampler, at the middle budget; each interval holds by itself.

    Parameters
    ----------
    record : of ``ImagePairs``
    levels : of ``ImageLevels``, optional
        Whose result is then said where ambient training is nearer.
    """
    n, found = shown_budget(record), _certain(record)
    said = [f"- {way.capitalize()}: {_listed(record, of)}." for way, of in found.items()]
    text = (
        f"Samples against those of plain training with the same sampler, {n} evaluations, "
        f"{record.table['seed'].nunique()} seeds, by the 95 % interval of each pair:\n\n"
        + "\n".join([*said, "- All else is undecided."])
    )
    if any(training.startswith("ambient") for training in found["nearer"]):
        text += (
            "\n\n**Why is ambient training nearer?** It adds its noise to that of the data, so it "
            f"sees high levels more often. {_with_searched_levels(levels)}"
        )
    return Text(text)


def _with_searched_levels(levels: Results | None) -> str:
    """Say whether ambient training stays nearer where both have searched levels."""
    if levels is None:
        return (
            "Plain training keeps the default levels, which were not searched here. Its distance "
            "with few steps may be due to them."
        )
    n = shown_budget(levels)
    gains = {s: image_gain(levels, "ambient high", s, n) for s in levels.labels("sampler")}
    told = ", ".join(
        f"{_sampler(s)} {factor(mean_interval(v))}"
        for s, v in gains.items()
        if np.isfinite(v).all()
    )
    found = {way: of.get("ambient high", []) for way, of in _certain(levels).items()}
    ends = [f"{way} with {_names(samplers)}" for way, samplers in found.items() if samplers]
    nearer = found["nearer"]
    return (
        "So both were trained again with the levels that the searches of chapter 2 chose, "
        f"{levels.table['seed'].nunique()} seeds. Ambient training over plain training is then: "
        f"{told}. By these intervals it is {'; '.join(ends) or 'neither nearer nor farther'}."
        + (f" So the levels do not explain it.{_by_width(levels, nearer, n)}" if nearer else "")
    )


def _by_width(levels: Results, samplers: Sequence[str], n: int) -> str:
    """Say that ambient training corrects the width, if it does so with all of these samplers."""
    wide = {
        s: [image_logs(levels, t, s, n, "log width").mean() for t in ("denoising", "ambient high")]
        for s in samplers
    }
    if not all(plain < 0 and abs(ambient) < -plain for plain, ambient in wide.values()):
        return ""
    told = "; ".join(f"{_sampler(s)} {a:+.2f} and {b:+.2f}" for s, (a, b) in wide.items())
    return (
        " The width may explain it: with few steps these samplers make samples too narrow, and "
        "ambient training makes them wider. Log widths after plain and ambient training: "
        f"{told} (0 is right)."
    )


def _certain(record: Results) -> dict[str, dict[str, list[str]]]:
    """Way to train -> samplers, of those that are surely nearer, and surely farther."""
    n = shown_budget(record)
    sure: dict[str, dict[str, list[str]]] = {"nearer": {}, "farther": {}}
    for training in [t for t in record.facts["labels"] if t != "denoising"]:
        for sampler in SAMPLERS:
            values = image_gain(record, training, sampler, n)
            if np.isfinite(values).all():
                found = mean_interval(values)
                way = "nearer" if found.below(0) else "farther" if found.above(0) else ""
                if way:
                    sure[way].setdefault(training, []).append(sampler)
    return sure


def _listed(record: Results, found: Mapping[str, list[str]]) -> str:
    names = record.facts["labels"]
    return "; ".join(f"{names[t]} ({_names(of)})" for t, of in found.items()) or "nothing"


def _names(samplers: Iterable[str]) -> str:
    return ", ".join(map(_sampler, samplers))


def image_readings(records: Records, of: OfCell) -> pd.DataFrame:
    """How many cases (training, sampler, budget) add up, help each other and cancel in records."""
    rows = []
    for title, record in records.items():
        effects = [
            of(record, training, s, n)
            for training in record.facts["labels"]
            for s in SAMPLERS[1:]
            for n in budgets(record)
            if training != "denoising"
        ]
        words = [reading(mean_interval(v)) for v in effects if np.isfinite(v).all()]
        counts = {word: words.count(word) for word in READINGS}
        chance = f"{0.05 * len(words):.1f}"
        line = {"images": title, "cases": len(words), **counts, "by chance not adding up": chance}
        rows.append(line)
    return _or_none(rows)


def image_distances(records: Records) -> pd.DataFrame:
    """Mean distance with its interval over seeds, of each training, sampler and budget."""
    rows = []
    for title, record in records.items():
        for training, label in record.facts["labels"].items():
            for s in SAMPLERS:
                values = {n: np.exp(image_logs(record, training, s, n)) for n in budgets(record)}
                told = {
                    f"N = {n}": f"{mean_interval(v):.2f}" if np.isfinite(v).all() else "–"
                    for n, v in values.items()
                }
                if set(told.values()) != {"–"}:
                    rows.append(
                        {"images": title, "training": label, "sampler": _sampler(s), **told}
                    )
        rows.append({"images": title, "training": f"training images: {record.facts['floor']:.2f}"})
    return _or_none(rows)


def image_shifts(records: Records) -> pd.DataFrame:
    """What input perturbation adds to the log width, and what it should add."""
    rows = []
    for title, record in records.items():
        wide = image_widths(record)
        if wide is None:
            continue
        for i, (sampler, n) in enumerate(wide.places):
            line = {"images": title, "sampler": _sampler(sampler), "N": n}
            line |= {"added log width": f"{wide.shifts[i]:.3f}"}
            rows.append(line | {"calculated": f"{wide.calculated_shift[i]:.3f}"})
    return _or_none(rows)


def _or_none(rows: Iterable[dict]) -> pd.DataFrame:
    listed = list(rows)
    return pd.DataFrame(listed) if listed else pd.DataFrame({"images": ["There is no record yet."]})
