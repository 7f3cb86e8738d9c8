"""DDIM as descent on the distance: error of the best denoiser of digits, and the distance lemma."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import data, denoisers, networks, noise, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.geometry import relative_error
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "BAND",
    "LEAP",
    "Descents",
    "DigitPaths",
    "StepIdentity",
    "along_paths",
    "digit_set",
    "guaranteed_fall",
    "identity_error",
    "starts",
]

HIGH, LOW = 40.0, 0.01
"""Noise levels at the ends of a path."""

LEAP = "a leap, 50 steps"

BAND = 2.0
"""Nu of an admissible schedule: the denoiser is told the noise to within a factor of two."""


def digit_set(images: int) -> oracles.Empirical:
    """Return the first training digits as a finite set, with its exact denoiser."""
    return oracles.Empirical(data.images("digits", "train")[0][:images])


def starts(session: Session, paths: int) -> Tensor:
    """Return where paths begin, (paths, 1, 8, 8)."""
    return HIGH * torch.randn(paths, 1, 8, 8, generator=session.generator(8))


def along_paths(K: Any, x: Tensor, sigmas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Constants of the relative-error model, eq-ov-error, along paths of DDIM.

    Parameters
    ----------
    K : with ``project`` and ``denoiser``
    x : (B, ...) states at ``sigmas[0]``
    sigmas : (N + 1,) noise levels

    Returns
    -------
    eta : (N, B), at each state
    ratio : (N, B), distance over sqrt(n) sigma
    late : (N - 1, B), eta of the answer one step before
    """
    etas, ratios, late = [], [], []
    before = x

    def look(step: samplers.Step) -> None:
        nonlocal before
        nearest = K.project(step.x)
        distance = (step.x - nearest).flatten(1).norm(dim=1)
        error = (step.denoised - nearest).flatten(1).norm(dim=1)
        etas.append(error / distance)
        ratios.append(distance / (math.sqrt(x[0].numel()) * step.sigma))
        if len(etas) > 1:
            late.append((before - nearest).flatten(1).norm(dim=1) / distance)
        before = step.denoised

    samplers.ddim(K.denoiser, x, sigmas, callback=look)
    return torch.stack(etas), torch.stack(ratios), torch.stack(late)


def guaranteed_fall(eta: float, nu: float) -> float:
    """Factor by which sigma falls in admissible steps, however many; eq-ov-limit."""
    return nu ** (1 / eta)


def identity_error(denoiser: Any, x: Tensor, sigmas: Tensor) -> float:
    """Largest gap between a step of DDIM and a gradient step, eq-ov-step, relative to the state."""
    states = samplers.trajectory(samplers.ddim, denoiser, x, sigmas)
    worst = 0.0
    for before, after, (s, below) in zip(states, states[1:], pairwise(sigmas.tolist())):
        eps = denoisers.epsilon(denoiser, before, s)
        gap = before - (1 - below / s) * s * eps - after
        size = before.flatten(1).norm(dim=1)
        worst = max(worst, float((gap.flatten(1).norm(dim=1) / size).max()))
    return worst


@dataclass(frozen=True)
class DigitPaths(Experiment):
    """The best denoiser of the digits against the projection onto them, along paths of DDIM.

    Parameters
    ----------
    images : int
        Training digits; there are 1433.
    steps, paths : int
    seeds : int
        Batches that the paths are divided into; the digits are the same in all.
    """

    images: int = 1433
    steps: int = 50
    paths: int = 512
    seeds: int = 8

    sizes = {"smoke": {"images": 200, "paths": 40, "seeds": 2}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Constants of the error model; arrays ``error`` and ``ratio`` (steps, paths).

        By seed: ``relative error``, the mean over paths at each level; ``eta of a path``, the
        median over paths of the worst level; ``nu of all paths``.
        """
        sigmas = noise.log_linear(self.steps, HIGH, LOW, final_zero=False)
        finite = digit_set(self.images)
        error, ratio, late = along_paths(finite, starts(session, self.paths), sigmas)
        down = float(sigmas[1] / sigmas[0])
        measures = {
            "eta, worst": error.max(),
            "eta, median path": error.amax(0).median(),
            "eta one step late, median path": late.amax(0).median(),
            "nu": torch.maximum(ratio, 1 / ratio).max(),
            "fall of sigma": sigmas[0] / sigmas[-1],
            "sum of u, median path": (error * (1 / down - 1)).sum(0).median(),
        }
        by_seed, factors = (
            v.view(self.steps, self.seeds, -1) for v in (error, torch.maximum(ratio, 1 / ratio))
        )
        seeds = {"seed": range(self.seeds)}
        tables = [
            tidy([float(v) for v in measures.values()], {"measure": measures}),
            tidy(by_seed.mean(2), {"level": sigmas[:-1], **seeds}, measure="relative error"),
            tidy(by_seed.amax(0).median(1).values, seeds, measure="eta of a path"),
            tidy(factors.amax((0, 2)), seeds, measure="nu of all paths"),
        ]
        arrays = {"sigmas": sigmas, "error": error, "ratio": ratio}
        return Results(tables, arrays, {"images": len(finite.data), "paths": self.paths})


@dataclass(frozen=True)
class StepIdentity(Experiment):
    """A step of DDIM is a gradient step: networks of random weights, exact denoisers.

    Parameters
    ----------
    images, paths : int
        As of ``DigitPaths``; the first 64 paths are used.
    """

    images: int = 1433
    paths: int = 512

    sizes = {"smoke": {"images": 200, "paths": 40}}
    seconds = 1

    def run(self, session: Session) -> Results:
        """Largest relative gap for each denoiser."""
        network = networks.seeded(lambda: networks.MLP(2), 0)
        network.requires_grad_(False)
        network.output.weight.normal_(std=0.1, generator=session.generator(9))
        untrained = denoisers.Preconditioned(network, 1.0)
        levels = noise.log_linear(20, HIGH, LOW)
        x = HIGH * torch.randn(256, 2, generator=session.generator(10))
        digits = starts(session, self.paths)[:64]
        gaps = {
            "a random network": identity_error(untrained, x, levels),
            "a circle": identity_error(oracles.Sphere(1).denoiser, x, levels),
            "the digits": identity_error(digit_set(self.images).denoiser, digits, levels),
        }
        return Results(tidy(list(gaps.values()), {"denoiser": gaps}, measure="relative gap"))


@dataclass(frozen=True)
class Descents(Experiment):
    """The distance lemma at each step of each path, with log-linear schedules and one that leaps.

    Parameters
    ----------
    images, paths : int
        As of ``DigitPaths``.
    steps : tuple of int
        Of the log-linear schedules.
    band : float
        Nu within which the paths of an admissible schedule stay.
    seeds : int
        Batches that the paths are divided into; the digits are the same in all.
    """

    images: int = 1433
    paths: int = 512
    steps: tuple[int, ...] = (50, 10, 5)
    band: float = BAND
    seeds: int = 8

    sizes = {"smoke": {"images": 200, "paths": 40, "seeds": 2}}
    seconds = 3

    def schedules(self) -> dict[str, Tensor]:
        """Return the schedules by their names."""
        listed = {
            f"log-linear, {n} steps": noise.log_linear(n, HIGH, LOW, final_zero=False)
            for n in self.steps
        }
        before_leap = noise.log_linear(3, HIGH, 10.0, final_zero=False)
        after_leap = noise.log_linear(46, 0.02, LOW, final_zero=False)
        return {**listed, LEAP: torch.cat([before_leap, after_leap])}

    def run(self, session: Session) -> Results:
        """Violations of the lemma; distance over sqrt(n) sigma by level; paths in the band."""
        finite = digit_set(self.images)
        start = starts(session, self.paths)
        tables = []
        for name, sigmas in self.schedules().items():
            states = samplers.trajectory(samplers.ddim, finite.denoiser, start, sigmas)
            away = torch.stack([finite.distance(x) for x in states])
            visited = zip(states, sigmas.tolist()[:-1])
            eta = torch.stack([relative_error(finite, x, s) for x, s in visited])
            broken = violations(away, eta, sigmas)
            ratios = away / (math.sqrt(start[0].numel()) * sigmas[:, None])
            kept = (torch.maximum(ratios, 1 / ratios).amax(0) <= self.band).float()
            counts = {
                "violations": int(broken.sum()),
                "steps": broken.numel(),
                "mean ratio at the end": float(ratios[-1].mean()),
            }
            tables += [
                tidy(list(counts.values()), {"measure": counts}, schedule=name),
                tidy(
                    ratios.median(1).values, {"level": sigmas},
                    measure="median ratio", schedule=name,
                ),
                tidy(
                    kept.view(self.seeds, -1).mean(1), {"seed": range(self.seeds)},
                    measure="share in the band", schedule=name,
                ),
            ]  # fmt: skip
        return Results(tables, facts={"images": len(finite.data)})


def violations(away: Tensor, eta: Tensor, sigmas: Tensor) -> Tensor:
    """Steps at which the distance lemma, eq-ov-lemma, does not hold beyond rounding, (N, B)."""
    beta = (1 - sigmas[1:] / sigmas[:-1])[:, None]
    slack = 1e-4 * away[:-1]
    low = away[1:] >= (1 - (1 + eta) * beta) * away[:-1] - slack
    high = away[1:] <= (1 - (1 - eta) * beta) * away[:-1] + slack
    return ~(low & high)
