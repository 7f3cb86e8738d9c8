"""Consistency with the options that only a comparison needs: gradients, draws, steps, a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser
from companion.noise import Generator, SigmaDistribution, randn_like
from companion.objectives import Consistency, reverse_steps
from companion.objectives.denoising import WEIGHTS

__all__ = ["GRADIENTS", "ConsistencyVariant"]

GRADIENTS = ("lower", "all", "both", "upper")


def _gradient(wanted: bool) -> torch.set_grad_enabled:
    """Keep gradients in this block only if they are wanted, and were before."""
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())


@dataclass(frozen=True)
class ConsistencyVariant(Consistency):
    """``objectives.Consistency`` with other gradients, draws and steps; equal to it by default.

    Parameters
    ----------
    sigma_data_noise, sigmas, ratio, antithetic, every, weight, sigma_data : as in ``Consistency``
        ``antithetic`` is not possible with more than one of ``steps``.
    ratios : distribution of ``s' / s``, optional
        In place of ``ratio``, between 0 and 1: the official code's steps are of any length.
    steps : int, at least 1
        Reverse steps from ``s`` to ``s'`` (default 1).
    walk : int, at least 1
        Reverse steps from ``s_n`` to an upper level below it (default 1).
    gradient : {"lower", "upper", "both", "all"}
        What learns. "lower" (default): ``D(x_s', s')`` only (the official code's ``with_grad``
        off); "upper": ``D(x_s, s)`` only; "both" of these; "all": both and through the drawn points
        (``with_grad`` on).
    draws : {2, 1}
        Two independent draws (default), or one squared: cheaper, and biased by the conditional
        variance of ``D(x_s', s')``.
    teacher : Denoiser, optional
        Used in place of the trained one for the walk, for ``D(x_s, s)`` and for the reverse steps,
        and never trained: a slow copy, say. In a stack it must have as many runs as it meets.

    Raises
    ------
    ValueError
        If a setting is not as above.
    """

    ratios: SigmaDistribution | None = None
    steps: int = 1
    walk: int = 1
    gradient: str = "lower"
    draws: int = 2
    teacher: Denoiser | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.ratios is not None and not 0 < self.ratios.range[0] <= self.ratios.range[1] < 1:
            raise ValueError(f"ratios: got {self.ratios!r}; allowed are numbers between 0 and 1")
        checks.whole("steps", self.steps)
        checks.whole("walk", self.walk)
        checks.choice("gradient", self.gradient, GRADIENTS)
        checks.choice("draws", self.draws, (1, 2))
        if self.antithetic and self.steps > 1:
            raise ValueError(f"antithetic: allowed with steps=1 only; got steps={self.steps}")
        if self.teacher is not None and self.gradient != "lower":
            raise ValueError(f"teacher: allowed with gradient='lower'; got {self.gradient!r}")

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample that is used, the teacher's included."""
        draw = 2 if self.antithetic else self.steps
        return self.walk * self._to_points() + 1 + self.draws * draw

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,)."""
        teacher = denoiser if self.teacher is None else self.teacher
        x, s = self.points(teacher, self.used(batch, generator), generator, self.walk)
        below = s * self._ratio(s, generator)
        with _gradient(self.gradient != "lower"):
            upper = teacher(x, s)
        defects = []
        for _ in range(self.draws):
            drawn = self._draw(teacher, x, s, below, upper, generator)
            with _gradient(self.gradient != "upper"):
                lower = torch.stack([denoiser(point, below) for point in drawn]).mean(0)
            defects.append(lower - upper)
        inner = (defects[0] * defects[-1]).flatten(1).mean(1)
        loss = WEIGHTS[self.weight](below, self.sigma_data) * inner
        return loss.repeat_interleave(self.every)

    def _draw(
        self, teacher: Denoiser, x: Tensor, s: Tensor, below: Tensor, upper: Tensor, generator
    ) -> list[Tensor]:
        """One draw of the lower state: one point, or two of opposite noise."""
        noises: list[Tensor | None] = [None]
        if self.antithetic:
            z = randn_like(x, generator)
            noises = [z, -z]
        with _gradient(self.gradient == "all"):
            return [
                reverse_steps(
                    teacher, x, s, below, steps=self.steps, generator=generator, denoised=upper, z=z
                )
                for z in noises
            ]

    def _ratio(self, s: Tensor, generator: Generator) -> Tensor | float:
        if self.ratios is None:
            return self.ratio
        return self.ratios.sample(len(s), generator=generator, device=s.device, dtype=s.dtype)
