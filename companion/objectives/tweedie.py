"""Learning the denoiser of clean data from data that was corrupted once.

Seen is ``y = x_0 + s_n z``, one frozen draw for each sample (``data.FrozenNoise``); ``x_0`` never.
``AmbientTweedie`` and ``Sure`` teach a denoiser of ``x_0`` at the levels above ``s_n``,
``Consistency`` the levels below, ``Sum`` puts them together. After Daras, Dimakis & Daskalakis,
Consistent Diffusion Meets Tweedie, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from companion.denoisers import Denoiser
from companion.noise import Generator, LogNormal, LogUniform, SigmaDistribution, expand, randn_like
from companion.objectives.denoising import WEIGHTS, Objective

__all__ = ["AmbientTweedie", "Consistency", "Sum", "Sure", "reverse_steps"]

GRADIENTS = ("lower", "upper", "both", "all")


def _check_settings(objective: Any, at_least_zero: bool = False) -> None:
    s = objective.sigma_data_noise
    if not ((s >= 0 if at_least_zero else s > 0) and s < math.inf):
        allowed = "of at least 0" if at_least_zero else "above 0"
        raise ValueError(f"sigma_data_noise: got {s!r}; allowed is a finite number {allowed}")
    if objective.weight not in WEIGHTS:
        raise ValueError(f"weight: got {objective.weight!r}; allowed are {sorted(WEIGHTS)}")
    if not 0 < objective.sigma_data < math.inf:
        raise ValueError(f"sigma_data: got {objective.sigma_data!r}; allowed is a number above 0")


def _whole(name: str, value: Any, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name}: got {value!r}; allowed is a whole number of at least {at_least}")


@dataclass(frozen=True)
class AmbientTweedie:
    """Denoising score matching on noisy data, for the denoiser of the clean (eq-tw-ambient).

    ``x = y + t e`` with fresh noise ``e`` has the level ``sigma = sqrt(s_n^2 + t^2)``. The noise
    seen in ``x`` splits between old and new by variance, so ``D`` predicts ``y`` as
    ``(t^2 D(x, sigma) + s_n^2 x) / sigma^2``, and the loss is ``w ||that - y||^2 / d``. Its minimum
    is ``E[x_0 | x]`` at every ``sigma > s_n``. At and below ``s_n`` it says nothing. Source: Daras
    et al. 2024 (ambient denoising score matching).

    Parameters
    ----------
    sigma_data_noise : float, at least 0
        ``s_n``, the standard deviation of the noise in the data; at 0 this is
        ``DenoisingScoreMatching``.
    added : law of ``t``, the noise that is added (default ``LogNormal()``: EDM's)
        It decides how much is learned near the data's own level: ``t = s_n / 3`` is already
        ``sigma = 1.05 s_n``.
    weight : {"edm", "epsilon", "data"}
        Of the error of ``y``, as a function of ``t``. "edm": one at the start of training at every
        level (default); "epsilon": ``1 / t^2``, the error of the added noise, the default of the
        official code; "data": 1, its option ``x0_pred``. As a weight of the error of ``D`` each
        has a further factor ``(t / sigma)^4``, so all of them vanish at ``s_n``.
    sigma_data : float
        Standard deviation of the *clean* data, for the weight (default 0.5).

    Raises
    ------
    ValueError
        If a setting is not as above.
    """

    sigma_data_noise: float
    added: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5

    def __post_init__(self):
        _check_settings(self, at_least_zero=True)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,); one evaluation each."""
        x, sigma, t, e = _add_noise(self, batch, generator)
        share = expand((t / sigma) ** 2, x)
        # y_hat - y, without the difference of two large numbers near s_n
        error = expand(t, x) * e + share * (denoiser(x, sigma) - x)
        width = math.hypot(self.sigma_data, self.sigma_data_noise)
        return WEIGHTS[self.weight](t, width) * error.square().flatten(1).mean(1)


@dataclass(frozen=True)
class Sure:
    """Stein's unbiased estimate of the clean denoising error, from noisy data (eq-tw-sure).

    ``w (||D(x, sigma) - x||^2 + 2 sigma^2 div D(x, sigma)) / d - w sigma^2`` with ``x = y + t e``:
    its mean is that of ``w ||D - x_0||^2 / d``, so the minimum is that of ``AmbientTweedie``, by
    another road, and its weight does not vanish at ``s_n``. The divergence is estimated by one
    random direction. Source: Stein 1981; Ramani, Blu & Unser 2008 (the random direction).

    Parameters
    ----------
    sigma_data_noise, added, weight, sigma_data : as in ``AmbientTweedie``
        The weight is that of ``DenoisingScoreMatching``, a function of ``sigma``.
    step : float
        Length of the finite difference along the direction, in units of ``sigma`` (default 0.01).
    """

    sigma_data_noise: float
    added: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5
    step: float = 0.01

    def __post_init__(self):
        _check_settings(self)
        if not 0 < self.step < math.inf:
            raise ValueError(f"step: got {self.step!r}; allowed is a number above 0")

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,); two evaluations each."""
        x, sigma, _, _ = _add_noise(self, batch, generator)
        h = expand(self.step * sigma, x)
        direction = randn_like(x, generator).sign()
        estimate = denoiser(x, sigma)
        slope = direction * (denoiser(x + h * direction, sigma) - estimate) / h
        s2 = expand(sigma, x) ** 2
        risk = ((estimate - x).square() + 2 * s2 * slope - s2).flatten(1).mean(1)
        return WEIGHTS[self.weight](sigma, self.sigma_data) * risk


def _add_noise(objective, batch: Tensor, generator: Generator):
    """Draw ``t`` and ``e``: state, level, ``t`` (B,), and ``e``."""
    t = objective.added.sample(
        len(batch), generator=generator, device=batch.device, dtype=batch.dtype
    )
    e = randn_like(batch, generator)
    sigma = (t.square() + objective.sigma_data_noise**2).sqrt()
    return batch + expand(t, batch) * e, sigma, t, e


def reverse_steps(
    denoiser: Denoiser,
    x: Tensor,
    sigma: Tensor,
    below: Tensor,
    *,
    steps: int = 1,
    generator: Generator = None,
    denoised: Tensor | None = None,
    z: Tensor | None = None,
) -> Tensor:
    """Go from ``x`` at level ``sigma`` to level ``below`` by ancestral steps (eq-tw-step).

    The step of ``samplers.ddpm``, with levels of its own for each row, and differentiable:
    ``x' = D + r (x - D) + s' sqrt(1 - r) z`` with ``r = s'^2 / s^2``, through levels at equal
    ratios. Rows whose levels are equal stay as they are.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) tensor, the state at ``sigma``
    sigma, below : (B,) tensors, ``0 < below <= sigma``
    steps : int, at least 1
    generator : source of the noise (default: torch's global generator)
    denoised : (B, *shape) tensor, optional
        ``D(x, sigma)`` if it is known; it saves the first of ``steps`` evaluations.
    z : (B, *shape) tensor, optional
        The noise, for a single step.

    Returns
    -------
    (B, *shape) tensor, the state at ``below``.
    """
    _whole("steps", steps, 1)
    if z is not None and steps > 1:
        raise ValueError(f"z: allowed for one step only; got steps={steps}")
    ratio = (below / sigma) ** (1 / steps)
    for i in range(steps):
        following = below if i == steps - 1 else sigma * ratio
        estimate = denoised if i == 0 and denoised is not None else denoiser(x, sigma)
        keep = (following / sigma) ** 2
        std = following * (1 - keep).clamp_min(0).sqrt()
        noise = randn_like(x, generator) if z is None else z
        # Not lerp, so that an unchanged level leaves x unchanged to the last bit.
        x = x + expand(1 - keep, x) * (estimate - x) + expand(std, x) * noise
        sigma = following
    return x


def _gradient(wanted: bool) -> torch.set_grad_enabled:
    """Keep gradients in this block only if they are wanted, and were before."""
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())


@dataclass(frozen=True)
class Consistency:
    """The denoiser is a martingale along its own reverse process (eq-tw-consistency).

    ``D(x_s, s) = E[D(x_s', s') | x_s]`` for ``s' < s``, with ``x_s'`` from the model's own reverse
    step. The squared defect of this mean needs two independent draws:
    ``w <D(x_s'^(1), s') - D(x_s, s), D(x_s'^(2), s') - D(x_s, s)> / d``, which may be negative.
    Source: Daras et al. 2023 and 2024.

    The points: ``y`` is brought to the upper level ``s`` by fresh noise if ``s >= s_n``, else by
    ``walk`` reverse steps from ``s_n``. The identity holds at every point, so these steps may be
    long; the step from ``s`` to ``s' = ratio s`` may not, as it is exact for small steps only.

    Parameters
    ----------
    sigma_data_noise : float, above 0
        ``s_n``, the standard deviation of the noise in the data.
    sigmas : law of the upper level ``s``
        Default: ``LogUniform(s_n / 20, s_n)``. A law above ``s_n`` is the official code's.
    ratio : float in (0, 1), or a law of such numbers
        ``s' / s`` (default 0.7). With small ratios the reverse step itself is wrong.
    steps : int, at least 1
        Reverse steps from ``s`` to ``s'`` (default 1).
    walk : int, at least 1
        Reverse steps from ``s_n`` to an upper level below it (default 1).
    gradient : {"lower", "upper", "both", "all"}
        What learns. "lower" (default): ``D(x_s', s')`` only, so that what is known at ``s_n`` flows
        down (the official code's ``with_grad`` off); "upper": ``D(x_s, s)`` only; "both" of these;
        "all": both and through the drawn points (``with_grad`` on).
    draws : {2, 1}
        Two independent draws (default), or one squared: cheaper, and biased by the conditional
        variance of ``D(x_s', s')``.
    antithetic : bool, optional
        Make each draw the mean over ``z`` and ``-z``, which removes most of its variance, and of
        the bias of a single draw, for one more evaluation a draw. Default: yes with ``steps=1``;
        not possible with more.
    every : int, at least 1
        Use every so-many-th sample of a batch only (default 1: all of them), because a sample costs
        ``evaluations`` where the ambient loss costs one; its loss stands for its neighbours too.
    weight, sigma_data : as in ``DenoisingScoreMatching``, at the level ``s'``
    teacher : Denoiser, optional
        Used in place of the trained one for the walk, for ``D(x_s, s)`` and for the reverse steps,
        and never trained: a slow copy, say. In a stack it must have as many runs as it meets.

    Raises
    ------
    ValueError
        If a setting is not as above.
    """

    sigma_data_noise: float
    sigmas: SigmaDistribution | None = None
    ratio: float | SigmaDistribution = 0.7
    steps: int = 1
    walk: int = 1
    gradient: str = "lower"
    draws: int = 2
    antithetic: bool | None = None
    every: int = 1
    weight: str = "edm"
    sigma_data: float = 0.5
    teacher: Denoiser | None = None

    def __post_init__(self):
        _check_settings(self)
        if self.sigmas is None:
            law = LogUniform(self.sigma_data_noise / 20, self.sigma_data_noise)
            object.__setattr__(self, "sigmas", law)
        low, high = (self.ratio,) * 2 if isinstance(self.ratio, float) else self.ratio.range
        if not 0 < low <= high < 1:
            raise ValueError(f"ratio: got {self.ratio!r}; allowed are numbers between 0 and 1")
        _whole("steps", self.steps, 1)
        _whole("walk", self.walk, 1)
        _whole("every", self.every, 1)
        if self.gradient not in GRADIENTS:
            raise ValueError(f"gradient: got {self.gradient!r}; allowed are {GRADIENTS}")
        if self.draws not in (1, 2):
            raise ValueError(f"draws: got {self.draws!r}; allowed are 1 and 2")
        if self.antithetic is None:
            object.__setattr__(self, "antithetic", self.steps == 1)
        if self.antithetic and self.steps > 1:
            raise ValueError(f"antithetic: allowed with steps=1 only; got steps={self.steps}")
        if self.teacher is not None and self.gradient != "lower":
            raise ValueError(f"teacher: allowed with gradient='lower'; got {self.gradient!r}")

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample that is used, the teacher's included."""
        below = self.sigmas.range[0] < self.sigma_data_noise  # type: ignore[union-attr]
        draw = 2 if self.antithetic else self.steps
        return (self.walk if below else 0) + 1 + self.draws * draw

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,)."""
        batch = self._used(batch, generator)
        teacher = denoiser if self.teacher is None else self.teacher
        x, s = self.points(teacher, batch, generator)
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

    def _used(self, batch: Tensor, generator: Generator) -> Tensor:
        runs = len(generator) if isinstance(generator, Sequence) else 1
        if len(batch) % (runs * self.every):
            raise ValueError(
                f"batch: got {len(batch)} samples for {runs} runs; "
                f"allowed are multiples of {runs * self.every}, because every={self.every}"
            )
        return batch[:: self.every]

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
        if isinstance(self.ratio, float):
            return self.ratio
        return self.ratio.sample(len(s), generator=generator, device=s.device, dtype=s.dtype)

    @torch.no_grad()
    def points(
        self, denoiser: Denoiser, batch: Tensor, generator: Generator = None
    ) -> tuple[Tensor, Tensor]:
        """Draw upper levels and states at them: (B, *shape) and (B,), without gradients."""
        s = self.sigmas.sample(  # type: ignore[union-attr]
            len(batch), generator=generator, device=batch.device, dtype=batch.dtype
        )
        top = s.clamp_min(self.sigma_data_noise)
        added = (top.square() - self.sigma_data_noise**2).clamp_min(0).sqrt()
        x = batch + expand(added, batch) * randn_like(batch, generator)
        if self.sigmas.range[0] < self.sigma_data_noise:  # type: ignore[union-attr]
            x = reverse_steps(denoiser, x, top, s, steps=self.walk, generator=generator)
        return x, s


@dataclass(frozen=True)
class Sum:
    """A weighted sum of objectives on the same batch, such as ambient Tweedie and consistency.

    Parameters
    ----------
    objectives : tuple of Objective
    weights : tuple of float
        One for each.
    """

    objectives: tuple[Objective, ...]
    weights: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "objectives", tuple(self.objectives))
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if not self.objectives or len(self.weights) != len(self.objectives):
            raise ValueError(
                f"weights: got {len(self.weights)} for {len(self.objectives)} objectives; "
                "allowed is one for each of one or more"
            )
        if not all(math.isfinite(w) for w in self.weights):
            raise ValueError(f"weights: got {self.weights}; allowed are finite numbers")

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of ``batch`` (B, *shape), (B,)."""
        parts = zip(self.weights, self.objectives)
        losses = [w * objective(denoiser, batch, generator) for w, objective in parts]
        return torch.stack(losses).sum(0)
