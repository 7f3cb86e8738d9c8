"""The chat-bot's five reasons: what was measured for each kind of noise, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXTRA,
    FREE,
    NONE,
    ONE_LEVEL,
    TRAINED,
    UNDONE,
    Arm,
)
from companion.experiments.extra_noise.digits import BIG_ARMS, CURVE, SIZES
from companion.experiments.extra_noise.effects import (
    Effect,
    any_of,
    difference,
    every,
    strongest,
)
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.ring import OUTLIER_ARMS
from companion.experiments.extra_noise.robustness import DDIM, DDPM, MEAN
from companion.experiments.extra_noise.stability import TRIED
from companion.experiments.results import Results
from companion.statistics import combine

__all__ = [
    "FEW",
    "IN_TRAINING",
    "KINDS",
    "NOT_APPLICABLE",
    "Reason",
    "augmentation",
    "diversity",
    "middle",
    "overall",
    "regularization",
    "robustness",
    "stability",
    "undone",
    "worth",
    "worths",
]

KINDS = {"A": "A", "B x_0": "B (x₀)", "B eps": "B (ε)", "C": "C", "D": "D"}
"""Kinds of extra noise, as they are called on the page."""
IN_TRAINING = ("A", "B x_0", "B eps", "C")
"""Kinds of noise that take part in training: a sentence about training is judged by them."""
NOT_APPLICABLE = "does not apply"
"""Stands where a reason says nothing about a kind of noise."""
AGAINST = ", against "
"""Stands in the name of an experiment before a rival that must be beaten as well."""
FEW = SIZES[0]
"""Training digits of the smallest set."""
FAR = 2.0
"""Noise level, in units of the data, at which a point counts as far from them."""

COMPARISONS = {
    1: 2 * (len(EXTRA) + 2 * len(B_ARMS) + len(RIVALS) + 1),
    2: 2 * (len(EXTRA) + 3) + 1,
    3: 2 * len(OUTLIER_ARMS) + 1 + len(EXTRA) + 2 + 1,
    4: 2 * (len(EXTRA) + len(B_ARMS) + 1),
    5: len(EXTRA) + 1 + 4 + 1,
}
"""Comparisons of each reason, whose intervals hold together at 95 %."""

Effects = dict[str, dict[str, list[Effect]]]
"""Kind of noise, then experiment: an effect for each strength."""


@dataclass
class Reason:
    """One of the five reasons.

    Attributes
    ----------
    title, does : str
        As in "1. Regularization" and "regularise".
    measure : str
        What the effects are of, if their experiments do not say.
    effects : dict, kind -> experiment -> list of Effect, one a strength
        The comparison of an experiment with a rival, which has to be won as well, has its name
        with ", against " and that of the rival.
    rivals : dict, name -> list of Effect
        Of what does not use extra noise.
    """

    title: str
    does: str
    measure: str = ""
    effects: Effects = field(default_factory=dict)
    rivals: dict[str, list[Effect]] = field(default_factory=dict)

    def note(self, kind: str, experiment: str, effect: Effect) -> None:
        """Add an effect."""
        self.effects.setdefault(kind, {}).setdefault(experiment, []).append(effect)

    def best(self, kind: str, experiment: str) -> Effect:
        """Return the effect of the better strength."""
        return strongest(self.effects[kind][experiment])

    def conditions(self, kind: str) -> dict[str, str]:
        """Return the verdict for a kind under each condition: experiment -> verdict.

        One strength is to win against no noise, and one against each rival.
        """
        groups: dict[str, list[str]] = {}
        for experiment, effects in self.effects.get(kind, {}).items():
            groups.setdefault(experiment.partition(AGAINST)[0], []).append(any_of(effects))
        return {condition: every(found) for condition, found in groups.items()}

    def verdict(self, kind: str) -> str:
        """Return whether the reason holds for a kind of noise, over all conditions."""
        conditions = self.conditions(kind)
        return combine(conditions.values()) if conditions else NOT_APPLICABLE

    def of_training(self) -> str:
        """Return whether the reason holds for noise in training, over kinds and conditions."""
        return combine(v for kind in IN_TRAINING for v in self.conditions(kind).values())

    def deciding(self) -> tuple[str, str, Effect]:
        """Return what decides for noise in training: kind, experiment and effect.

        Where the reason holds somewhere: the clearest of the conditions under which it holds, and
        of what that needs, the least clear. Else the effect that comes nearest to the claim, among
        those that have the verdict.
        """
        verdict = self.of_training()
        wanted = "supported" if verdict == "depends" else verdict
        listed = []
        for kind in IN_TRAINING:
            for condition, found in self.conditions(kind).items():
                if found != wanted:
                    continue
                needed = [
                    (kind, experiment, strongest([e for e in effects if e.verdict == wanted]))
                    for experiment, effects in self.effects[kind].items()
                    if experiment.partition(AGAINST)[0] == condition and any_of(effects) == wanted
                ]
                listed.append(min(needed, key=_clear))
        return max(listed, key=_clear)

    def kinds(self, verdict: str) -> list[str]:
        """Return the kinds that got a verdict, as they are called on the page."""
        return [name for kind, name in KINDS.items() if self.verdict(kind) == verdict]

    def summary(self, kind: str) -> str:
        """Return the effects that decide for a kind, those of the better strengths."""
        groups = self.effects.get(kind, {})
        order = sorted(groups, key=lambda name: AGAINST in name)
        return "; ".join(f"{self.measure}{name}: {strongest(groups[name])}" for name in order)


def _clear(case: tuple[str, str, Effect]) -> float:
    """How far an interval lies on the claimed side, in smallest effects of interest."""
    effect = case[2]
    return effect.low / abs(effect.smallest) if effect.finite else -math.inf


def overall(results: Results, **conditions: object) -> np.ndarray:
    """Return the geometric mean of held-out errors over all levels, (seeds,)."""
    errors = results.grid("seed", "level", measure="held-out error", **conditions)
    return np.exp(np.log(errors).mean(1))


def of_arm(results: Results, arm: Arm, digits: int, denoiser: str = TRAINED) -> np.ndarray:
    """Return the overall held-out error of an arm, (seeds,)."""
    return overall(results, denoiser=denoiser, digits=digits, **arm.where)


def at_one_level(results: Results, arm: Arm, digits: int) -> np.ndarray:
    """Return the error at the one small level, (seeds,)."""
    return results.values(measure="error at one level", digits=digits, **arm.where)


# --- 1 and 4: held-out errors ---------------------------------------------------------------------


def regularization(errors: Results, rivals: Results) -> Reason:
    """Change of held-out errors, of ``DigitErrors`` and ``RivalErrors``.

    Among the rivals: each regularizer by its name; the plain network, relabelled, by
    "free B (x₀)" and the like. Both have lists of ``SIZES``; the latter size by size.
    """
    reason = Reason("1. Regularization", "regularise", "held-out error, ")
    number = COMPARISONS[1]
    for n in SIZES:
        base = of_arm(errors, NONE, n)
        for arm in EXTRA:
            value = of_arm(errors, arm, n)
            reason.note(
                arm.kind, f"{n} digits", difference(value, base, number, -1, label=arm.size)
            )
            if arm in B_ARMS:
                free = of_arm(errors, arm, n, FREE)
                effect = difference(free, base, number, -1, label=arm.size)
                reason.rivals.setdefault(f"free {KINDS[arm.kind]}, {n} digits", []).append(effect)
                effect = difference(value, free, number, -1, label=arm.size)
                reason.note(arm.kind, f"{n} digits{AGAINST}the free rival", effect)
        levels = at_one_level(errors, NONE, n), at_one_level(errors, ONE_LEVEL, n)
        reason.note("A", f"{n} digits", difference(*levels, number, -1))
        for name in RIVALS:
            effect = difference(overall(rivals, rival=name, digits=n), base, number, -1)
            reason.rivals.setdefault(name, []).append(effect)
    return reason


def undone(errors: Results) -> dict[Arm, list[Effect]]:
    """Return what is left of B when label and scale are changed back: arm -> effect by size."""
    return {
        arm: [
            difference(of_arm(errors, arm, n, UNDONE), of_arm(errors, NONE, n), COMPARISONS[1], -1)
            for n in SIZES
        ]
        for arm in B_ARMS
    }


def worth(error: np.ndarray, curve: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the size of the clean set with that error, by the learning curve of its own run.

    The logarithm is interpolated, and goes no farther than the curve does.

    Parameters
    ----------
    error : (runs,) errors
    curve : (runs, sizes) errors of the plain network, above 0
    sizes : digits that it was trained on, increasing

    Returns
    -------
    (runs,) sizes
    """
    logs = np.log2(np.asarray(sizes, float))
    falling = np.minimum.accumulate(np.log(curve), axis=1)
    found = []
    for e, line in zip(np.log(error), falling):
        if not np.isfinite([e, *line]).all():
            found.append(np.nan)
            continue
        at = logs[-1] if e <= line[-1] else logs[0]
        for i in range(len(sizes) - 1):
            high, low = line[i], line[i + 1]
            if low < e <= high:
                at = logs[i] + (high - e) / (high - low) * (logs[i + 1] - logs[i])
        found.append(2.0**at)
    return np.array(found)


def worths(errors: Results) -> dict[tuple[Arm, int, str], np.ndarray]:
    """Return what digits are worth: (arm, digits, TRAINED or FREE) -> (seeds,) clean digits."""
    curve = np.stack([of_arm(errors, NONE, n) for n in CURVE], 1)
    return {
        (arm, n, way): worth(of_arm(errors, arm, n, way), curve, CURVE)
        for n in SIZES
        for arm in EXTRA
        for way in ((TRAINED, FREE) if arm in B_ARMS else (TRAINED,))
    }


def augmentation(errors: Results) -> Reason:
    """How many clean digits the noisy ones are worth, of ``DigitErrors``."""
    reason = Reason("4. Data augmentation", "augment the data", "worth, ")
    number, unit, known = COMPARISONS[4], "doublings", worths(errors)
    one_level = np.stack([at_one_level(errors, ONE_LEVEL, n) for n in SIZES], 1)
    for n in SIZES:
        for arm in EXTRA:
            value = np.log2(known[arm, n, TRAINED])
            itself = np.full(len(value), np.log2(n))
            effect = difference(value, itself, number, 1, unit, arm.size)
            reason.note(arm.kind, f"{n} digits", effect)
            if arm in B_ARMS:
                free = np.log2(known[arm, n, FREE])
                effect = difference(value, free, number, 1, unit, arm.size)
                reason.note(arm.kind, f"{n} digits{AGAINST}the free rival", effect)
        # A: the error at the one small level, against networks of that level alone.
        value = np.log2(worth(at_one_level(errors, NONE, n), one_level, SIZES))
        itself = np.full(len(value), np.log2(n))
        reason.note("A", f"{n} digits", difference(value, itself, number, 1, unit))
    return reason


# --- 2, 3 and 5 -----------------------------------------------------------------------------------


def middle(results: Results) -> float:
    """Return the middle one of the lengths of the chain."""
    lengths = sorted(results.labels("steps"))
    return lengths[len(lengths) // 2]


def diversity(ring: Results, digits: Results, scales: Results, walk: Results) -> Reason:
    """Balance of the modes of the ring, and recall on digits.

    Of ``RingSamples``, ``DigitSamples``, ``NoiseScale`` and ``OneLevelWalk``.
    """
    reason = Reason("2. Exploration and diversity", "make samples diverse")
    number, unit = COMPARISONS[2], "points"
    measured = {"balance": (ring, "ring", (NONE, *EXTRA)), "recall": (digits, "digits", BIG_ARMS)}
    for arm in EXTRA:
        for measure, (results, name, arms) in measured.items():
            if arm in arms:
                where = {"measure": measure, "denoiser": TRAINED, "steps": middle(results)}
                a, b = (results.values(**where, **one.where) for one in (arm, NONE))
                effect = difference(a, b, number, 1, unit, arm.size)
                reason.note(arm.kind, f"{measure}, {name}", effect)
    for measure, (_, name, _) in measured.items():
        full, none = (
            scales.values(measure=measure, sampler=DDPM, noise_scale=s) for s in (1.0, 0.0)
        )
        ddim = scales.values(measure=measure, sampler=DDIM)
        effect = difference(full, none, number, 1, unit, "1 against 0")
        reason.note("D", f"{measure}, {name}", effect)
        effect = difference(full, ddim, number, 1, unit)
        reason.note("D", f"{measure}, {name}{AGAINST}{DDIM}", effect)
    full = scales.values(measure="balance", sampler=DDPM, noise_scale=1.0)
    effect = difference(full, walk.values(measure="balance"), number, 1, unit)
    reason.note("A", "balance, ring", effect)
    return reason


def robustness(outliers: Results, pushes: Results, far: Results) -> Reason:
    """Samples astray after outliers, what is left of a push, and errors far from the data.

    Of ``Outliers``, ``Pushes`` and ``FarErrors``.
    """
    reason, number = Reason("3. Robustness", "make robust"), COMPARISONS[3]

    def left(sampler: str, arm: Arm = NONE) -> np.ndarray:
        return pushes.grid("level", "seed", measure="left", sampler=sampler, **arm.where).mean(0)

    def astray(arm: Arm = NONE, training: str = "outliers") -> np.ndarray:
        return outliers.values(measure="samples astray", training=training, **arm.where)

    for arm in EXTRA:
        effect = difference(left(DDPM, arm), left(DDPM), number, -1, label=arm.size)
        reason.note(arm.kind, "left of a push", effect)
        if arm in OUTLIER_ARMS:
            effect = difference(astray(arm), astray(), number, -1, label=arm.size)
            reason.note(arm.kind, "samples astray", effect)
    for name in (DDIM, MEAN):
        effect = difference(left(DDPM), left(name), number, -1)
        reason.note("D", f"left of a push{AGAINST}{name}", effect)
    reason.rivals["outliers filtered"] = [
        difference(astray(training="filtered"), astray(), number, -1)
    ]
    level = min(far.labels("level"), key=lambda v: abs(v - FAR))
    many, one = (far.values(level=level, **arm.where) for arm in (NONE, ONE_LEVEL))
    reason.note("A", "error far from the data", difference(many, one, number, -1))
    return reason


def stability(gradients: Results, failures: Results) -> Reason:
    """Gradient noise scale and failed runs, of ``GradientNoise`` and ``FailedRuns``."""
    reason, number = Reason("5. Training stability", "stabilise training"), COMPARISONS[5]

    def failed(arm: Arm, clipped: bool = False) -> np.ndarray:
        grid = failures.grid("rate", "seed", measure="failed", clipped=clipped, **arm.where)
        return grid.mean(0)

    for arm in (*EXTRA, NONE):
        kind, against = ("A", ONE_LEVEL) if arm == NONE else (arm.kind, NONE)
        ours, theirs = (gradients.values(measure="noise scale", **a.where) for a in (arm, against))
        effect = difference(ours, theirs, number, -1, label=arm.size)
        reason.note(kind, "gradient noise scale", effect)
        if arm in TRIED:
            effect = difference(failed(arm), failed(against), number, -1, "points", arm.size)
            reason.note(kind, "failed runs", effect)
    reason.rivals["gradient clipping"] = [
        difference(failed(NONE, True), failed(NONE), number, -1, "points")
    ]
    return reason
