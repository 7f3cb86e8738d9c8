"""A sampler whose levels and weights are fitted to one denoiser, in seconds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, cosine, karras, log_linear, randn
from companion.samplers.multistep import dpmpp_3m, midpoint_weights
from companion.samplers.sequential import Callback, Step, differentiable

__all__ = ["LearnedSampler", "learn"]

PROBE = 2e-3
"""Step of the forward differences, in units of the parameters, which are of order one."""


@dataclass(frozen=True)
class LearnedSampler:
    """A multistep sampler of N given levels and weights, as ``learn`` finds them.

    Called as ``sampler(denoiser, x, callback=None)``. With ``r = s_{i+1} / s_i``, the answer
    ``D_i`` at the level ``s_i``, and ``s_{N+1} = 0``,

        x' = r x + (1 - r) (D_i + c_i (D_i - D_{i-1}) + e_i (D_{i-1} - D_{i-2})).

    DPM-Solver++(2M) is the same with ``c_i`` from the levels alone, and DDIM with ``c_i = 0``.

    Parameters
    ----------
    sigmas : tuple of N floats, decreasing, above 0
        Levels at which the denoiser is asked; the state starts at the first.
    weights : tuple of N floats
        ``c_i``; the first is not used.
    second : tuple of N floats, optional
        ``e_i``; the first two are not used (default: none).
    facts : dict
        How it was learned: errors, evaluations, seconds.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...]
    second: tuple[float, ...] = ()
    facts: dict[str, Any] | None = None

    def __post_init__(self):
        for name in ("sigmas", "weights", "second"):
            values = checks.listed(name, getattr(self, name), "numbers")
            object.__setattr__(self, name, tuple(checks.number(name, v) for v in values))
        n = len(self.sigmas)
        falling = all(a > b > 0 for a, b in zip(self.sigmas, self.sigmas[1:]))
        if not n or not falling or self.sigmas[-1] <= 0:
            raise ValueError(
                f"sigmas: got {self.sigmas}; allowed are one or more decreasing numbers above 0"
            )
        for name in ("weights", "second"):
            count = len(getattr(self, name))
            if count != n and (name == "weights" or count):
                raise ValueError(
                    f"{name}: got {count} numbers; allowed are {n}, one for each level"
                )

    @property
    def steps(self) -> int:
        """Evaluations that it takes."""
        return len(self.sigmas)

    @differentiable
    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        *,
        grad: bool = False,
        callback: Callback | None = None,
    ) -> Tensor:
        """Go from the state ``x`` (B, *shape) at ``sigmas[0]`` to clean samples (B, *shape).

        Parameters
        ----------
        denoiser : Denoiser
        x : (B, *shape) floating-point tensor
        grad : bool
            Record gradients, as in ``ddim`` (default: not).
        callback : called with a ``Step`` at each level (default: none)
        """
        checks.batch("x", x)
        if callback is not None:
            checks.function("callback", callback)
        answers: list[Tensor] = []
        second = self.second or (0.0,) * self.steps
        for i, sigma in enumerate(self.sigmas):
            below = self.sigmas[i + 1] if i + 1 < self.steps else 0.0
            denoised = denoise(denoiser, x, sigma)
            if callback is not None:
                callback(Step(i, sigma, x, denoised))
            answers = [denoised, *answers[:2]]
            mixed = denoised
            if len(answers) > 1:
                mixed = torch.lerp(answers[1], denoised, 1 + self.weights[i])
            if len(answers) > 2 and second[i]:
                mixed = mixed + second[i] * (answers[1] - answers[2])
            x = torch.lerp(mixed, x, below / sigma)
        return x

    def save(self, path: str | Path) -> None:
        """Write it as JSON that a person can read; the file is there completely or not at all."""
        path = Path(path).expanduser()
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(half, path)

    @classmethod
    def load(cls, path: str | Path) -> LearnedSampler:
        """Read what ``save`` wrote.

        Raises
        ------
        ValueError
            If the file is not one of these; the message names it.
        """
        path = Path(path).expanduser()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{key: content[key] for key in ("sigmas", "weights", "second", "facts")})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a learned sampler: {error!r}") from error

    def __str__(self) -> str:
        lines = [f"{'level':>10s} {'weight':>8s}" + (f" {'second':>8s}" if self.second else "")]
        for i, (s, c) in enumerate(zip(self.sigmas, self.weights)):
            lines.append(f"{s:10.4g} {c:8.3f}" + (f" {self.second[i]:8.3f}" if self.second else ""))
        return "\n".join(lines)


# --- learning -----------------------------------------------------------------------------------


def learn(
    denoiser: Denoiser,
    shape: Sequence[int],
    steps: int,
    *,
    sigma_max: float = 80.0,
    order: int = 2,
    samples: int = 256,
    iterations: int = 30,
    teacher_steps: int = 200,
    generator: Generator = None,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> LearnedSampler:
    """Fit the levels and weights of a multistep sampler to a denoiser, for N evaluations.

    The error against the converged flow from the same noise is made as small as possible by
    Levenberg-Marquardt (``scipy.optimize.least_squares``), starting from the best of several
    DPM-Solver++(2M) schedules. Derivatives are forward differences: a denoiser need not be
    differentiable, and no graph of N steps is kept. Noise that is held out decides which iterate is
    returned, the start among them.

    Parameters
    ----------
    denoiser : Denoiser
    shape : sequence of int
        Of one sample, such as ``(2,)`` or ``(1, 28, 28)``.
    steps : int, at least 1
        N, the evaluations that the sampler may take.
    sigma_max : float
        Level of the start, in the units of the data (default 80).
    order : {1, 2, 3}
        Answers that are used: 1 fits the levels alone, 2 levels and ``c_i`` (default), 3 also
        ``e_i``.
    samples : int
        Noise samples to learn from, and as many held out (default 256).
    iterations : int
        Steps of the optimiser at most (default 30).
    teacher_steps : int
        Evaluations of DPM-Solver++(3M) that stand for the converged flow (default 200).
    generator : source of the noise (default: torch's global generator)
    device, dtype : of the noise, optional

    Returns
    -------
    LearnedSampler
        Its ``facts`` have "error" and "start_error" (root mean square over held-out noise),
        "evaluations" (network evaluations of one sample, all together).

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or the denoiser's answers are not.

    References
    ----------
    The idea of fitting a solver to a teacher's answers is that of S4S and S4S-Alt (Frankel et al.
    2025, arXiv 2502.17423), and for the levels alone of LD3 (Tong et al. 2025).
    """
    from scipy.optimize import least_squares

    steps = checks.whole("steps", steps)
    order = checks.whole("order", order, 1, 3)
    samples = checks.whole("samples", samples, 2)
    sigma_max = checks.number("sigma_max", sigma_max, above=0)
    size = checks.shape("shape", shape)
    asked = [0]

    def counted(x: Tensor, sigma: Tensor | float) -> Tensor:
        asked[0] += 1
        return denoise(denoiser, x, sigma)

    noise = randn((2 * samples, *size), generator=generator, device=device, dtype=dtype)
    start = noise * sigma_max
    fine = log_linear(checks.whole("teacher_steps", teacher_steps), sigma_max, sigma_max / 80_000)
    target = dpmpp_3m(counted, start, fine)
    train, held = (start[:samples], target[:samples]), (start[samples:], target[samples:])

    def residuals(values: np.ndarray, data: tuple[Tensor, Tensor]) -> np.ndarray:
        sampler = _sampler(values, steps, order, sigma_max)
        error = (sampler(counted, data[0]) - data[1]).flatten().cpu().double().numpy()
        return np.nan_to_num(error, nan=1e3, posinf=1e3, neginf=-1e3)

    def rms(values: np.ndarray, data: tuple[Tensor, Tensor]) -> float:
        return float(np.sqrt(np.mean(residuals(values, data) ** 2)))

    starts = [_parameters(s, order) for s in _fixed(steps, sigma_max)]
    first = min(starts, key=lambda values: rms(values, train))
    best = [(rms(first, held), first)]
    start_error = best[0][0]

    def slopes(values: np.ndarray) -> np.ndarray:
        """Forward differences at an iterate, which is first tried on held-out noise."""
        error = rms(values, held)
        if error < best[0][0]:
            best[0] = (error, values.copy())
        here = residuals(values, train)
        columns = []
        for i in range(len(values)):
            moved = values.copy()
            moved[i] += PROBE
            columns.append((residuals(moved, train) - here) / PROBE)
        return np.stack(columns, 1)

    if len(first):
        least_squares(
            lambda values: residuals(values, train),
            first,
            jac=slopes,
            method="trf",
            x_scale="jac",
            max_nfev=checks.whole("iterations", iterations),
        )
    error, values = best[0]
    facts = {
        "error": error, "start_error": start_error, "order": order, "sigma_max": sigma_max,
        "samples": samples, "evaluations": asked[0],
    }  # fmt: skip
    found = _sampler(values, steps, order, sigma_max)
    return LearnedSampler(found.sigmas, found.weights, found.second, facts)


def _fixed(steps: int, sigma_max: float) -> list[LearnedSampler]:
    """DPM-Solver++(2M) on schedules of several shapes and ends."""
    shapes: list[Callable] = [
        log_linear,
        cosine,
        *(lambda n, high, low, rho=rho: karras(n, high, low, rho=rho) for rho in (3.0, 7.0)),
    ]
    made = []
    for shape in shapes:
        for low in (sigma_max / 40_000, sigma_max / 4000, sigma_max / 1000, sigma_max / 300):
            sigmas = shape(steps, sigma_max, low)[:-1].double().tolist()
            weights = [0.0]
            for i in range(1, steps - 1):
                weights.append(midpoint_weights([sigmas[i], sigmas[i - 1]], sigmas[i + 1])[0] - 1)
            weights += [0.0] * (steps - len(weights))
            made.append(LearnedSampler(tuple(sigmas), tuple(weights)))
    return made


def _parameters(sampler: LearnedSampler, order: int) -> np.ndarray:
    """Logarithms of the gaps between the levels' logarithms, then the weights that are used."""
    gaps = np.log(-np.diff(np.log(sampler.sigmas)))
    parts = [gaps, np.array(sampler.weights[1:]), np.zeros(max(0, sampler.steps - 2))]
    return np.concatenate(parts[:order])


def _sampler(values: np.ndarray, steps: int, order: int, sigma_max: float) -> LearnedSampler:
    gaps, rest = np.exp(np.clip(values[: steps - 1], -12, 4)), values[steps - 1 :]
    logs = math.log(sigma_max) - np.concatenate([[0.0], np.cumsum(gaps)])
    sigmas = np.maximum.accumulate(np.exp(logs)[::-1])[::-1]
    weights = (0.0, *rest[: steps - 1]) if order > 1 else (0.0,) * steps
    second = (0.0, 0.0, *rest[steps - 1 :])[:steps] if order > 2 else ()
    return LearnedSampler(tuple(sigmas), tuple(weights), tuple(second))
