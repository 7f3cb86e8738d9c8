"""A multistep sampler of N levels and N weights that were fitted to one denoiser."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.samplers.multistep import step_of_answers
from companion.samplers.sequential import Callback, Step, differentiable

__all__ = ["LearnedSampler"]


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
        return walk(self, denoiser, x, callback)

    def save(self, path: str | Path) -> None:
        """Write it as JSON that a person can read; the file is there completely or not at all."""
        path = Path(path).expanduser()
        lines = [f'"{key}": {json.dumps(value)}' for key, value in asdict(self).items()]
        _write(path, "{\n" + ",\n".join(lines) + "\n}\n")

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


# --- the steps ----------------------------------------------------------------------------------


def leave(sampler: LearnedSampler, number: int, x: Tensor, answers: Sequence[Tensor]) -> Tensor:
    """Return the state at the next level, given the answers so far, newest first."""
    sigmas, after = sampler.sigmas, number + 1
    ratio = sigmas[after] / sigmas[number] if after < len(sigmas) else 0.0
    if len(answers) == 1:
        return torch.lerp(answers[0], x, ratio) if ratio else answers[0]
    c = sampler.weights[number]
    e = sampler.second[number] if len(answers) > 2 and sampler.second else 0.0
    weights = (1 + c, e - c, -e) if e else (1 + c, -c)
    return step_of_answers(x, answers, weights, ratio)


def walk(
    sampler: LearnedSampler,
    denoiser: Denoiser,
    x: Tensor,
    callback: Callback | None = None,
    *,
    first: int = 0,
    answers: Sequence[Tensor] = (),
) -> Tensor:
    """Go from the level of number ``first`` to the end; its answer is asked for if not given."""
    kept = list(answers)
    for i in range(first, sampler.steps):
        if i > first or not answers:
            denoised = denoise(denoiser, x, sampler.sigmas[i])
            if callback is not None:
                callback(Step(i, sampler.sigmas[i], x, denoised))
            kept = [denoised, *kept[:2]]
        x = leave(sampler, i, x, kept)
    return x


def _write(path: Path, text: str) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
