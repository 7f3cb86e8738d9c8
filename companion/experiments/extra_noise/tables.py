"""Tables of chapter 1: from results to frames, a function a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from companion.experiments.claims import MARKS
from companion.experiments.extra_noise.arms import EXTRA, FREE, NONE, TRAINED, Arm
from companion.experiments.extra_noise.chains import (
    EPS,
    EPS_ARMS,
    PLAIN,
    Condition,
    bias_change,
    bias_growth,
    excess,
    gains,
    image_effect,
    image_values,
    lengths,
    versus_free,
    width_gains,
)
from companion.experiments.extra_noise.chains import kept as kept_effects
from companion.experiments.extra_noise.digits import SIZES
from companion.experiments.extra_noise.effects import difference
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.reasons import KINDS, NOT_APPLICABLE, Reason, worths
from companion.experiments.extra_noise.reasons import undone as undone_effects
from companion.experiments.results import Results
from companion.statistics import mean_interval

__all__ = [
    "better",
    "bias",
    "copies",
    "effects",
    "images",
    "kept",
    "longer",
    "overfitting",
    "quality",
    "reasons",
    "tuning",
    "undone",
    "worth",
]

TITLES = {
    "A": "A: many levels",
    "B x_0": "B, target x₀",
    "B eps": "B, target ε",
    "C": "C: noise on data",
    "D": "D: noise in sampler",
}
"""Kinds of noise as they are called in a column."""


def reasons(listed: Sequence[Reason]) -> pd.DataFrame:
    """Return the sign of the verdict for each reason and kind of noise; none where none applies."""
    return pd.DataFrame(
        {
            "reason": [reason.title for reason in listed],
            **{
                title: [MARKS.get(reason.verdict(kind)) for reason in listed]
                for kind, title in KINDS.items()
            },
        }
    )


def effects(listed: Sequence[Reason]) -> pd.DataFrame:
    """Return the effects that decide each verdict, a row for each reason and kind of noise."""
    rows = []
    for reason in listed:
        for kind in KINDS:
            verdict = reason.verdict(kind)
            summary = reason.summary(kind)
            if verdict == NOT_APPLICABLE:
                summary = "It acts after training; nothing is trained with it."
            row = {"reason": reason.title, "noise": TITLES[kind], "verdict": verdict}
            rows.append(row | {"effect of the better strength": summary})
    return pd.DataFrame(rows)


def undone(errors: Results) -> pd.DataFrame:
    """Return what is left of B when label and scale are changed back, of ``DigitErrors``."""
    rows = [
        {"undone, against plain": str(arm), **dict(zip(_digits(), map(str, by_size)))}
        for arm, by_size in undone_effects(errors).items()
    ]
    return pd.DataFrame(rows)


def _digits() -> list[str]:
    return [f"{n} digits" for n in SIZES]


def copies(results: Results) -> pd.DataFrame:
    """Return the share of copies of each learner, of ``PerfectLearner``."""
    rows = results.where(measure="copies")
    return pd.DataFrame(
        {
            "the perfect learner of 64 digits": rows["learner"],
            "copies": [f"{share:.0%}" for share in rows["value"]],
        }
    ).reset_index(drop=True)


def worth(errors: Results) -> pd.DataFrame:
    """Return how many clean digits a set is worth, with intervals, of ``DigitErrors``."""
    known, rows = worths(errors), []
    for arm in EXTRA:
        row: dict[str, str | None] = {"clean digits that they are worth": str(arm)}
        for n in SIZES:
            for way, head in ((TRAINED, f"{n} with noise"), (FREE, f"{n}, free rival")):
                values = known.get((arm, n, way))
                row[head] = None if values is None else _interval(values, ".0f")
        rows.append(row)
    return pd.DataFrame(rows)


def quality(ring: Results, digits: Results, exact: Results) -> pd.DataFrame:
    """Return what B with target eps changes of the distance, trained and free, by steps."""
    rows, chains = [], lengths(ring)
    results = {"ring": ring, "digits": digits}
    known = {name: gains(r) for name, r in results.items()}
    for way in (TRAINED, FREE):
        for name in results:
            by_steps = {n: known[name][way, EPS, n] for n in chains}
            rows.append(_by_steps(f"{name}: {way}, against plain", by_steps, chains))
    for name, r in results.items():
        rows.append(_by_steps(f"{name}: trained, against free", versus_free(r), chains))
    title = "ring, exact: error of the width, against plain"
    rows.append(_by_steps(title, width_gains(exact), chains))
    return pd.DataFrame(rows)


def better(frame: pd.DataFrame) -> np.ndarray:
    """Return which cells of a table of effects have an interval below 0."""
    return np.array(
        [[bool(re.search(r"\[−[^,]*, −", str(cell))) for cell in row] for row in frame.to_numpy()]
    )


def bias(problems: Mapping[str, tuple[Results, Results]]) -> pd.DataFrame:
    """Return the exposure bias beyond the exact denoiser's, in % of the norm, by steps.

    Parameters
    ----------
    problems : dict, name -> samples of networks, and those of the exact denoiser
    """
    rows = []
    for name, (results, exact) in problems.items():
        chains = lengths(results)
        grows = f"longest minus shortest: {bias_growth(results, exact)}"
        plain = {n: format(mean_interval(100 * excess(results, exact, n)), ".3g") for n in chains}
        change = {n: bias_change(results, exact, n) for n in chains}
        rows.append({"problem": name, "network": "plain", **_heads(plain), "change": grows})
        rows.append({"problem": name, "network": f"{EPS}, minus plain", **_heads(change)})
    return pd.DataFrame(rows)


def kept(problems: Mapping[str, Results]) -> pd.DataFrame:
    """Return what input perturbation changes of precision and recall, by strength."""
    rows = []
    for (place, steps), listed in kept_effects(problems).items():
        measure, name = place.split(", ", 1)
        cells = {e.label: replace(e, label="") for e in listed}
        where = {"problem": f"{name}, {steps} steps", "measure": measure}
        rows.append(where | {label: str(effect) for label, effect in cells.items()})
    return pd.DataFrame(rows)


def longer(results: Results) -> pd.DataFrame:
    """Return what B with target eps changes of the distance after a longer training, by steps."""
    rows, chains, known = [], lengths(results), gains(results)
    for arm in EPS_ARMS:
        for way in (TRAINED, FREE):
            by_steps = {n: known[way, arm, n] for n in chains}
            rows.append(_by_steps(f"{arm}: {way}, against plain", by_steps, chains))
        against = versus_free(results, arm)
        rows.append(_by_steps(f"{arm}: trained, against free", against, chains))
    return pd.DataFrame(rows).rename(columns={str(EPS): "digits, trained longer"})


def tuning() -> pd.DataFrame:
    """Return how many settings were tried of each kind of noise and of each rival."""
    tried: dict[str, list[str]] = {"A": ["many levels"]}
    for arm in EXTRA:
        tried.setdefault(KINDS[arm.kind], []).append(arm.size)
    tried["D"] = ["noise scale 1"]
    for rival in RIVALS:
        name, _, setting = rival.rpartition(" ")
        tried.setdefault(f"rival: {name.rstrip(',')}", []).append(setting)
    tried |= {"rival: outliers filtered": ["5 %"], "rival: gradient clipping": ["norm 1"]}
    return pd.DataFrame(
        [
            {"method": k, "settings tried": len(v), "they are": "; ".join(v)}
            for k, v in tried.items()
        ]
    )


def _by_steps(title: str, by_steps: Mapping[int, Any], chains: Sequence[int]) -> dict[str, Any]:
    return {str(EPS): title, **_heads({n: by_steps.get(n) for n in chains})}


def _heads(by_steps: Mapping[int, Any]) -> dict[str, str | None]:
    """Cells under the lengths of their chains."""
    return {f"{n} steps": None if cell is None else str(cell) for n, cell in by_steps.items()}


# --- images: rows for each record -----------------------------------------------------------------


def images(records: Mapping[str, Results], measure: str) -> pd.DataFrame:
    """Return one measure of all records: the plain network, and what each condition changes.

    Parameters
    ----------
    records : dict, title -> Results
    measure : str
        "Frechet distance", "exposure bias", "precision", "recall", or "test error".

    Returns
    -------
    DataFrame with a column for each length of the chain, or for each noise level.
    """
    key = "level" if measure == "test error" else "steps"
    columns = sorted(
        {v for r in records.values() for v in r.where(measure=measure)[key].dropna()}, key=float
    )
    head = MEASURES.get(measure, measure)
    heads = {v: f"σ = {v:g}" if key == "level" else f"{v:g} steps" for v in columns}
    rows = []
    for title, record in records.items():
        tried = set(record.where(measure=measure)[key])
        for name, cell in _lines(record, measure):
            cells = {heads[v]: cell({key: v}) if v in tried else None for v in columns}
            rows.append({"images": title, head: name, **cells})
    return pd.DataFrame(rows, columns=["images", head, *heads.values()])


MEASURES = {"Frechet distance": "Fréchet distance", "test error": "denoising error"}
"""Measures as they are called on the page, where that is another name."""


def _lines(record: Results, measure: str) -> list[tuple[str, Callable[[dict], str]]]:
    """Name and cell of each row: the plain network, conditions against it and against free."""
    table = record.table[["denoiser", "kind", "strength"]].drop_duplicates()
    tried: list[Condition] = [
        (way, Arm(kind, strength)) for way, kind, strength in table.itertuples(index=False)
    ]
    others = [condition for condition in tried if condition != PLAIN]
    pairs = [(c, PLAIN, "plain") for c in others]
    pairs += [
        (c, (FREE, c[1]), "free") for c in others if c[0] == TRAINED and (FREE, c[1]) in others
    ]
    shape = ".0%" if measure in ("precision", "recall") else ""

    def plain(at: dict) -> str:
        return _interval(image_values(record, measure, PLAIN, at), shape)

    def against(a: Condition, b: Condition) -> Callable[[dict], str]:
        return lambda at: str(image_effect(record, measure, a, b, at))

    lines: list[tuple[str, Callable[[dict], str]]] = [("plain", plain)]
    for a, b, base in pairs:
        free = "free " if a[0] == FREE else ""
        lines.append((f"{free}{a[1]} against {base}", against(a, b)))
    return lines


def _interval(values: np.ndarray, shape: str) -> str:
    return format(mean_interval(values), shape) if np.isfinite(values).all() else "not finite"


def overfitting(record: Results) -> str:
    """Return the plain network's error on test images against training images, by level."""
    parts = []
    for level in record.labels("level", measure="test error"):
        where = {"denoiser": TRAINED, **NONE.where, "level": level}
        test, training = (
            record.values(measure=measure, **where) for measure in ("test error", "training error")
        )
        parts.append(f"σ = {level:g}: {difference(test, training, 1, -1)}")
    return "; ".join(parts)
