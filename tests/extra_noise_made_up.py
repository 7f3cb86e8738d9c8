"""Made-up results of the experiments of chapter 1, where the verdict is plain."""

import math

import numpy as np

from companion.experiments import Results, tidy
from companion.experiments.extra_noise.arms import (
    B_ARMS,
    EXACT,
    EXTRA,
    FREE,
    NONE,
    ONE_LEVEL,
    TRAINED,
)
from companion.experiments.extra_noise.digits import CURVE, SIZES
from companion.experiments.extra_noise.errors import RIVALS
from companion.experiments.extra_noise.ring import OUTLIER_ARMS
from companion.experiments.extra_noise.samples import FREE_ARMS
from companion.experiments.extra_noise.stability import TRIED

SEEDS = 8
LEVELS = (0.2, 0.8)
STEPS = (20, 100, 1000)
WIN, TIE, LOSS = 0.5, 1.0, 2.0
"""Factors of an error or a distance."""
SUPPORTED, NOT, DEPENDS, OPEN = "supported", "not supported", "depends", "inconclusive"
SURELY, NOISY = 0.003, 0.6
"""Scatter over seeds, of logarithms."""


def made_up(mean, number, failed=False, scatter=SURELY):
    """Values around a geometric mean; with ``failed`` the last is not a number."""
    logs = np.random.default_rng(number).normal(size=SEEDS)
    values = mean * np.exp(scatter * (logs - logs.mean()))
    if failed:
        values[-1] = math.nan
    return values


class Table:
    """Collects rows of made-up results."""

    def __init__(self, scatter=SURELY):
        self.parts, self.scatter = [], scatter

    def add(self, mean, failed=False, **where):
        values = made_up(mean, len(self.parts), failed, self.scatter)
        self.parts.append(tidy(values, {"seed": range(SEEDS)}, **where))

    def results(self):
        return Results(self.parts)


def errors(factor, free=TIE, a=WIN, failed=None, sizes=SIZES, scatter=SURELY):
    """Held-out errors: of extra noise, and of the free rival, over those of the plain network."""
    table = Table(scatter)

    def level_by_level(mean, broken=False, **where):
        for level in LEVELS:
            table.add(mean, broken, measure="held-out error", level=level, **where)

    for n in CURVE:
        base = n**-0.5
        plain = {"denoiser": TRAINED, **NONE.where, "digits": n}
        level_by_level(base, failed == NONE, **plain)
        for arm in EXTRA if n in SIZES else ():
            mean = base * (factor if n in sizes else 1.0)
            level_by_level(mean, failed == arm, denoiser=TRAINED, **arm.where, digits=n)
            if arm in B_ARMS:
                level_by_level(base * free, denoiser=FREE, **arm.where, digits=n)
        if n in SIZES:
            where = {"measure": "error at one level", "denoiser": TRAINED, "digits": n}
            table.add(base * a, **where, level=0.3, **NONE.where)
            table.add(base, **where, level=0.3, **ONE_LEVEL.where)
    return table.results()


def rivals(factor=TIE):
    table = Table()
    for name in RIVALS:
        for n in SIZES:
            mean = n**-0.5 * (factor if name == "dropout 0.3" else 1.1)
            for level in LEVELS:
                table.add(mean, measure="held-out error", rival=name, digits=n, level=level)
    return table.results()


def samples(
    arms=(NONE, *EXTRA), distance=TIE, free=TIE, recall=0.8, growth=1.0, failed=None, scatter=SURELY
):
    """Samples by arm and steps: distances and shares of extra noise, growth of the bias."""
    table = Table(scatter)
    for i, n in enumerate(STEPS):
        for arm in arms:
            where = {"denoiser": TRAINED, **arm.where, "steps": n}
            broken = failed == arm
            extra = arm != NONE
            table.add(distance if extra else 1.0, broken, measure="distance", **where)
            for measure in ("recall", "precision", "balance"):
                table.add(recall if extra else 0.8, broken, measure=measure, **where)
            for level in LEVELS:
                mean = 0.1 * growth**i
                table.add(mean, broken, measure="exposure bias", level=level, **where)
        for arm in FREE_ARMS:
            where = {"denoiser": FREE, **arm.where, "steps": n}
            table.add(free, measure="distance", **where)
    return table.results()


def exact(growth=1.0):
    """Exposure bias of the exact denoiser: half of the networks' where theirs grows as much."""
    table = Table()
    for i, n in enumerate(STEPS):
        where = {"measure": "exposure bias", "denoiser": EXACT, **NONE.where, "steps": n}
        for level in LEVELS:
            table.add(0.05 * growth**i, **where, level=level)
    return table.results()


def scales(one=0.8, none=0.2, ddim=0.5):
    table = Table()
    for measure in ("balance", "recall"):
        for scale, mean in ((0.0, none), (1.0, one)):
            table.add(mean, measure=measure, sampler="DDPM", noise_scale=scale)
        table.add(ddim, measure=measure, sampler="DDIM", noise_scale=math.nan)
    return table.results()


def walk(mean):
    table = Table()
    table.add(mean, measure="balance")
    return table.results()


def outliers(factor, filtered=0.1, scatter=SURELY):
    table = Table(scatter)
    for arm in (NONE, *OUTLIER_ARMS):
        mean = 0.1 * (1.0 if arm == NONE else factor)
        table.add(mean, measure="samples astray", training="outliers", **arm.where)
    where = {"measure": "samples astray", "training": "filtered"}
    table.add(0.1 * filtered, **where, **NONE.where)
    return table.results()


def pushes(factor, samplers=WIN, scatter=SURELY):
    table = Table(scatter)
    for level in LEVELS:
        for arm in (NONE, *EXTRA):
            mean = 0.5 * (1.0 if arm == NONE else factor)
            table.add(mean, measure="left", sampler="DDPM", level=level, **arm.where)
        for sampler in ("DDIM", "mean alone"):
            where = {"measure": "left", "sampler": sampler, "level": level}
            table.add(0.5 / samplers, **where, **NONE.where)
    return table.results()


def far(factor, scatter=SURELY):
    table = Table(scatter)
    for level in (0.1, 1.9, 6.0):
        table.add(0.5 * factor, measure="relative error", level=level, **NONE.where)
        table.add(0.5, measure="relative error", level=level, **ONE_LEVEL.where)
    return table.results()


def gradients(factor, a=WIN, scatter=SURELY):
    table = Table(scatter)
    for arm in (NONE, *EXTRA, ONE_LEVEL):
        mean = {NONE: a, ONE_LEVEL: 1.0}.get(arm, a * factor)
        table.add(mean, measure="noise scale", **arm.where)
    return table.results()


def failures(plain, extra, one_level=None, scatter=SURELY):
    """Shares of runs that fail: with the plain objective, with extra noise, and without A."""
    table = Table(scatter)
    for clipped in (True, False):
        for arm in TRIED:
            mean = {NONE: plain, ONE_LEVEL: one_level or plain}.get(arm, extra)
            for rate in (0.01, 0.1):
                table.add(mean, measure="failed", clipped=clipped, rate=rate, **arm.where)
    return table.results()
