"""Fit the levels and weights of a ``LearnedSampler`` to one denoiser, in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, cosine, karras, log_linear, randn
from companion.samplers.learned import LearnedSampler, leave, walk
from companion.samplers.multistep import dpmpp_3m, midpoint_weights

__all__ = ["learn"]

PROBE = 2e-3
"""Step of the forward differences, in units of the parameters, which are of order one."""

LITTLE = 2e-3
"""Relative fall of the error below which a step of the fit brings nothing."""

PATIENCE = 4
"""Steps in a row that bring nothing on held-out noise, after which the fit ends."""

SMOOTH = 1e-2
"""A sample's weight is that of at least this share of the mean distance."""


def learn(
    denoiser: Denoiser,
    shape: Sequence[int],
    steps: Any,
    *,
    sigma_max: float = 80.0,
    order: int = 3,
    samples: int = 256,
    iterations: int = 30,
    teacher_steps: int = 200,
    batch_size: int = 256,
    generator: Generator = None,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> Any:
    """Fit the levels and weights of a multistep sampler to a denoiser, for N evaluations.

    The mean distance to where the converged flow from the same noise ends is made small by
    Gauss-Newton steps with damping (Levenberg and Marquardt), with samples weighted by one over
    their distance. The start is DPM-Solver++(2M) with the best of 20 schedules. Derivatives are
    forward differences, and a number that acts from level i on costs the evaluations from there:
    about N * N evaluations of a sample for each of some ten steps of the fit. A denoiser need not
    be differentiable, and no graph is kept: the memory is that of sampling. Noise that is held out
    decides which step of the fit is returned, the start among them. It is a local search from one
    start, and can end in a poor place: compare "error" with that of the sampler that you use now.

    Parameters
    ----------
    denoiser : Denoiser
        One that answers in float32 or finer: forward differences see no change in float16.
    shape : sequence of int
        Of one sample, such as ``(2,)`` or ``(1, 28, 28)``.
    steps : int, or sequence of int
        N, the evaluations that the sampler may take; of several, all are learned from one teacher.
    sigma_max : float
        Level from which the flow is followed, in the units of the data (default 80).
    order : {1, 2, 3}
        Answers that are used: 1 fits the levels alone, 2 levels and ``c_i``, 3 also ``e_i``
        (default). A corrector of order 2, as UniPC has, is a case of 3. Where they were tried,
        a fourth answer gained at most a seventh of the error for twice the time and more, and a
        first level of its own less than that.
    samples : int
        Noise samples to learn from, and as many held out (default 256).
    iterations : int
        Steps of the fit at most (default 30).
    teacher_steps : int
        Evaluations of DPM-Solver++(3M) that stand for the converged flow (default 200).
    batch_size : int
        Samples that go through the denoiser together (default 256).
    generator : source of the noise (default: torch's global generator)
    device, dtype : of the noise, optional

    Returns
    -------
    LearnedSampler, or dict of N to LearnedSampler
        Its ``facts``: "error" and "start_error" (mean
        distance to the flow's end over held-out noise, and that of the best fixed schedule),
        "teacher_error" (distance of the teacher to one of half the steps), "evaluations" (samples
        that went through the denoiser, of the fit and of the teacher) and "seconds".

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or the denoiser's answers are not.

    References
    ----------
    Coefficients against a teacher are S4S, with levels S4S-Alt (Frankel et al. 2025, arXiv
    2502.17423); levels alone are LD3 (Tong et al. 2025, arXiv 2405.15506), by backpropagation
    through the sampler. Here both are fitted together, from function values alone.
    """
    several = not isinstance(steps, int)
    budgets = [checks.whole("steps", n) for n in (checks.listed("steps", steps, "whole numbers")
                                                  if several else [steps])]  # fmt: skip
    if not budgets:
        raise ValueError("steps: got none; allowed are one or more whole numbers")
    order = checks.whole("order", order, 1, 3)
    samples = checks.whole("samples", samples, 2)
    iterations = checks.whole("iterations", iterations)
    teacher_steps = checks.whole("teacher_steps", teacher_steps, 2)
    batch_size = checks.whole("batch_size", batch_size)
    sigma_max = checks.number("sigma_max", sigma_max, above=0)
    z = randn((2 * samples, *checks.shape("shape", shape)), generator=generator, device=device,
              dtype=dtype)  # fmt: skip
    asked = Asked(denoiser)
    with torch.no_grad():
        teacher = teacher_of(asked, z, sigma_max, teacher_steps, batch_size)
        train, held = (teacher.part(i, samples, batch_size) for i in (0, 1))
        found = {}
        for n in budgets:
            began, before = time.perf_counter(), asked.samples
            fit = Fit(asked, n, order, sigma_max)
            sampler, facts = fit.run(train, held, iterations)
            facts |= {
                "teacher_error": teacher.error, "order": order, "sigma_max": sigma_max,
                "samples": samples, "evaluations": asked.samples - before,
                "teacher_evaluations": teacher.samples,
                "seconds": time.perf_counter() - began, "teacher_seconds": teacher.seconds,
            }  # fmt: skip
            found[n] = _rounded(sampler, facts)
    return found if several else found[budgets[0]]


class Asked:
    """A denoiser that counts the samples that it was asked about."""

    def __init__(self, denoiser: Denoiser):
        self.denoiser, self.samples = denoiser, 0

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.samples += len(x)
        return denoise(self.denoiser, x, sigma)


class Teacher(NamedTuple):
    z: Tensor
    end: Tensor
    error: float
    samples: int
    seconds: float

    def part(self, number: int, size: int, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Noise and ends of one half, in batches."""
        rows = slice(number * size, (number + 1) * size)
        return list(zip(self.z[rows].split(batch), self.end[rows].split(batch)))


def teacher_of(asked: Asked, z: Tensor, high: float, steps: int, batch: int) -> Teacher:
    began, before = time.perf_counter(), asked.samples
    fine, coarse = (
        torch.cat([dpmpp_3m(asked, high * part, log_linear(n, high, high / 80_000))
                   for part in z.split(batch)])
        for n in (steps, (steps + 1) // 2)
    )  # fmt: skip
    error = float((fine - coarse).flatten(1).norm(dim=1).mean())
    return Teacher(z, fine, error, asked.samples - before, time.perf_counter() - began)


class Fit:
    """The fit of one number of steps: from a vector of numbers to a sampler, and back.

    The numbers are the logarithms of the gaps between the levels' logarithms, then the weights that
    are used. ``acts_from`` says from which level on each of them changes the path.
    """

    def __init__(self, asked: Asked, steps: int, order: int, sigma_max: float):
        self.asked, self.steps, self.order, self.sigma_max = asked, steps, order, sigma_max
        ranges = (range(steps - 1), range(1, steps), range(2, steps))
        self.acts_from = [first for part in ranges[:order] for first in part]

    def sampler(self, values: np.ndarray) -> LearnedSampler:
        n = self.steps
        gaps = np.exp(np.clip(values[: n - 1], -9, 4))
        sigmas = self.sigma_max * np.exp(-np.concatenate([[0.0], np.cumsum(gaps)]))
        weights, second = [0.0] * n, []
        if self.order > 1:
            weights[1:] = values[n - 1 : 2 * n - 2]
        if self.order > 2:
            second = [0.0, 0.0, *values[2 * n - 2 :]][:n]
        return LearnedSampler(tuple(sigmas), tuple(weights), tuple(second))

    def numbers(self, sampler: LearnedSampler) -> np.ndarray:
        gaps = np.log(-np.diff(np.log(sampler.sigmas)))
        parts = [gaps, sampler.weights[1:], (0.0,) * max(0, self.steps - 2)][: self.order]
        return np.concatenate([np.asarray(part) for part in parts])

    # --- errors

    def error(self, values: np.ndarray, data: list[tuple[Tensor, Tensor]]) -> float:
        """Mean distance to the ends; infinite if one is not finite."""
        sampler = self.sampler(values)
        away = [(sampler(self.asked, sampler.sigmas[0] * z) - end) for z, end in data]
        mean = float(torch.cat([a.flatten(1).norm(dim=1) for a in away]).double().mean())
        return mean if math.isfinite(mean) else math.inf

    def normal(
        self, values: np.ndarray, data: list[tuple[Tensor, Tensor]], scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and right side of a Gauss-Newton step, by forward differences."""
        matrix, side = np.zeros((len(values),) * 2), np.zeros(len(values))
        here = self.sampler(values)
        moved = [self.sampler(values + PROBE * row) for row in np.eye(len(values))]
        for z, end in data:
            states = self.states(here, here.sigmas[0] * z)
            away = leave(here, self.steps - 1, *states[-1]) - end
            columns = [_flat(away)]
            for other, first in zip(moved, self.acts_from):
                x, answers = states[first]
                ahead = walk(other, self.asked, x, first=first, answers=answers)
                columns.append(_flat((ahead - end - away) / PROBE))
            norm = columns[0].norm(dim=1).clamp_min(SMOOTH * scale)
            residual, *slopes = (column / norm.sqrt()[:, None] for column in columns)
            jacobian = torch.stack([s.flatten() for s in slopes]).nan_to_num(0.0, 0.0, 0.0)
            matrix += (jacobian @ jacobian.T).numpy()
            side -= (jacobian @ residual.flatten()).numpy()
        return matrix, side

    def states(self, sampler: LearnedSampler, x: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """State at each level, with the answers there and at up to two levels before."""
        answers: list[Tensor] = []
        visited = []
        for i, sigma in enumerate(sampler.sigmas):
            answers = [self.asked(x, sigma), *answers[:2]]
            visited.append((x, answers))
            x = leave(sampler, i, x, answers)
        return visited

    # --- the fit

    def run(
        self, train: list[tuple[Tensor, Tensor]], held: list[tuple[Tensor, Tensor]], most: int
    ) -> tuple[LearnedSampler, dict[str, Any]]:
        """Return the best sampler on held-out noise, and how it was found."""
        starts = [self.numbers(s) for s in fixed(self.steps, self.sigma_max)]
        errors = [self.error(values, train) for values in starts]
        values, error = starts[int(np.argmin(errors))], min(errors)
        best = start_error = self.error(values, held)
        chosen, damping, idle, done = values, 1e-2, 0, 0
        while done < most and idle < PATIENCE and len(values) and math.isfinite(error):
            done += 1
            matrix, side = self.normal(values, train, error)
            before = error
            for _ in range(6):
                weight = matrix + damping * np.diag(np.diag(matrix) + 1e-12)
                tried = values + np.linalg.lstsq(weight, side, rcond=None)[0]
                new = self.error(tried, train)
                if new < error:
                    values, error, damping = tried, new, damping / 5
                    break
                damping *= 5
            if error == before:
                break
            outside = self.error(values, held)
            idle = 0 if outside < best * (1 - LITTLE) else idle + 1
            if outside < best:
                best, chosen = outside, values
        facts = {"error": best, "start_error": start_error, "iterations": done}
        return self.sampler(chosen), facts


def _rounded(sampler: LearnedSampler, facts: dict[str, Any]) -> LearnedSampler:
    """Five significant digits, which a person can read, are finer than what is learned."""
    sigmas, weights, second = (
        tuple(float(f"{v:.5g}") for v in row)
        for row in (sampler.sigmas, sampler.weights, sampler.second)
    )
    return LearnedSampler(sigmas, weights, second, facts)


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1).cpu().double()


def fixed(steps: int, sigma_max: float) -> list[LearnedSampler]:
    """DPM-Solver++(2M) on schedules of four shapes and five ends."""
    made = []
    for low in (sigma_max / 40_000, sigma_max / 4000, sigma_max / 1000, sigma_max / 300,
                sigma_max / 100):  # fmt: skip
        for schedule in (
            log_linear(steps, sigma_max, low),
            cosine(steps, sigma_max, low),
            karras(steps, sigma_max, low, rho=3.0),
            karras(steps, sigma_max, low),
        ):
            sigmas = schedule[:-1].double().tolist()
            weights = [0.0] * steps
            for i in range(1, steps - 1):
                weights[i] = midpoint_weights([sigmas[i], sigmas[i - 1]], sigmas[i + 1])[0] - 1
            made.append(LearnedSampler(tuple(sigmas), tuple(weights)))
    return made
