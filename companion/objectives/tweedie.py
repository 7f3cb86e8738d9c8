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

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.denoisers.wrappers import Conditional
from companion.noise import Generator, LogNormal, LogUniform, SigmaDistribution, expand, randn_like
from companion.noise.distributions import check_distribution
from companion.objectives.denoising import WEIGHTS, Objective, check_batch
from companion.objectives.known_noise import KnownNoise, check_index, same_known_samples

__all__ = ["AmbientTweedie", "Consistency", "Sum", "Sure", "reverse_steps"]


def _check_settings(objective: Any, at_least_zero: bool = False) -> None:
    objective._check_noise(at_least_zero)
    checks.choice("weight", objective.weight, WEIGHTS)
    checks.number("sigma_data", objective.sigma_data, above=0)


@dataclass(frozen=True)
class AmbientTweedie(KnownNoise):
    """Denoising score matching on noisy data, for the denoiser of the clean (eq-tw-ambient).

    ``x = y + t e`` with fresh noise ``e`` has the level ``sigma = sqrt(s_n^2 + t^2)``. The noise
    seen in ``x`` splits between old and new by variance, so ``D`` predicts ``y`` as
    ``(t^2 D(x, sigma) + s_n^2 x) / sigma^2``, and the loss is ``w ||that - y||^2 / d``. Its minimum
    is ``E[x_0 | x]`` at every ``sigma > s_n``. At and below ``s_n`` it says nothing. Source: Daras
    et al. 2024 (ambient denoising score matching).

    Parameters
    ----------
    sigma_data_noise : float or (N,) tensor, at least 0
        ``s_n``, the standard deviation of the noise in the data, or that of each sample; at 0 this
        is ``DenoisingScoreMatching``. In ``fit`` N is the number of data; in a call, of the batch.
    added : distribution of ``t``, the noise that is added (default ``LogNormal()``: EDM's)
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

    sigma_data_noise: float | Tensor
    added: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5

    def __post_init__(self):
        _check_settings(self, at_least_zero=True)
        check_distribution("added", self.added)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,); one evaluation each."""
        x, sigma, t, e = _add_noise(self, batch, generator)
        share = expand((t / sigma) ** 2, x)
        # y_hat - y, without the difference of two large numbers near s_n
        error = expand(t, x) * e + share * (denoise(denoiser, x, sigma) - x)
        noise = self._noise_of(batch)
        if isinstance(noise, Tensor):
            width: Tensor | float = (noise**2 + self.sigma_data**2).sqrt()
        else:
            width = math.hypot(self.sigma_data, noise)
        return WEIGHTS[self.weight](t, width) * error.square().flatten(1).mean(1)


@dataclass(frozen=True)
class Sure(KnownNoise):
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

    sigma_data_noise: float | Tensor
    added: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5
    step: float = 0.01

    def __post_init__(self):
        _check_settings(self)
        check_distribution("added", self.added)
        checks.number("step", self.step, above=0)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,); two evaluations each."""
        x, sigma, _, _ = _add_noise(self, batch, generator)
        h = expand(self.step * sigma, x)
        direction = randn_like(x, generator).sign()
        estimate = denoise(denoiser, x, sigma)
        slope = direction * (denoise(denoiser, x + h * direction, sigma) - estimate) / h
        s2 = expand(sigma, x) ** 2
        risk = ((estimate - x).square() + 2 * s2 * slope - s2).flatten(1).mean(1)
        return WEIGHTS[self.weight](sigma, self.sigma_data) * risk


def _add_noise(objective, batch: Tensor, generator: Generator):
    """Draw ``t`` and ``e``: state, level, ``t`` (B,), and ``e``."""
    check_batch(batch, generator)
    t = objective.added.sample(
        len(batch), generator=generator, device=batch.device, dtype=batch.dtype
    )
    e = randn_like(batch, generator)
    sigma = (t.square() + objective._noise_of(batch) ** 2).sqrt()
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

    The step of ``samplers.ddpm``, with a level of its own for each sample, and differentiable:
    ``x' = D + r (x - D) + s' sqrt(1 - r) z`` with ``r = s'^2 / s^2``, through levels at equal
    ratios. Samples whose two levels are equal stay as they are.

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

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    checks.whole("steps", steps)
    checks.batch("x", x)
    for name, level in (("sigma", sigma), ("below", below)):
        if checks.tensor(name, level, "(B,)", at_least=0).shape != x.shape[:1]:
            raise ValueError(
                f"{name}: got shape {tuple(level.shape)} for {len(x)} samples; allowed is one each"
            )
        checks.level(name, level, positive=True)
    checks.not_above("below", below, sigma, "sigma")
    for name, given in (("denoised", denoised), ("z", z)):
        if given is not None:
            checks.like(name, given, x)
    if z is not None and steps > 1:
        raise ValueError(f"z: allowed for one step only; got steps={steps}")
    ratio = (below / sigma) ** (1 / steps)
    for i in range(steps):
        following = below if i == steps - 1 else sigma * ratio
        estimate = denoised if i == 0 and denoised is not None else denoise(denoiser, x, sigma)
        keep = (following / sigma) ** 2
        std = following * (1 - keep).clamp_min(0).sqrt()
        noise = randn_like(x, generator) if z is None else z
        # Not lerp, so that an unchanged level leaves x unchanged to the last bit.
        x = x + expand(1 - keep, x) * (estimate - x) + expand(std, x) * noise
        sigma = following
    return x


@dataclass(frozen=True)
class Consistency(KnownNoise):
    """The denoiser is a martingale along its own reverse process (eq-tw-consistency).

    ``D(x_s, s) = E[D(x_s', s') | x_s]`` for ``s' < s``, with ``x_s'`` from the model's own reverse
    step. The squared defect of this mean needs two independent draws:
    ``w <D(x_s'^(1), s') - D(x_s, s), D(x_s'^(2), s') - D(x_s, s)> / d``, which may be negative.
    Only ``D(x_s', s')`` learns, so that what is known at ``s_n`` flows down. Source: Daras et al.
    2023 and 2024 (the official code's ``with_grad`` off).

    The points: ``y`` is brought to the upper level ``s`` by fresh noise if ``s >= s_n``, else by
    one reverse step from ``s_n``. The identity holds at every point, so this step may be long; the
    step from ``s`` to ``s' = ratio s`` may not, as it is exact for small steps only.

    Parameters
    ----------
    sigma_data_noise : float above 0, or (N,) tensor, at least 0
        ``s_n``, the standard deviation of the noise in the data, or that of each sample.
    sigmas : distribution of the upper level ``s``
        Default: ``LogUniform(s_n / 20, s_n)``; of several levels from a twentieth of the smallest
        above 0 to the largest.
    ratio : float in (0, 1)
        ``s' / s`` (default 0.7). With small ratios the reverse step itself is wrong.
    antithetic : bool
        Make each draw the mean over ``z`` and ``-z`` (default), which removes most of its variance
        for one more evaluation a draw.
    every : int, at least 1
        Use every so-many-th sample of a batch only (default 1: all of them), because a sample costs
        ``evaluations`` where the ambient loss costs one; its loss stands for its neighbours too.
    weight, sigma_data : as in ``DenoisingScoreMatching``, at the level ``s'``

    Raises
    ------
    ValueError
        If a setting is not as above.
    """

    sigma_data_noise: float | Tensor
    sigmas: SigmaDistribution | None = None
    ratio: float = 0.7
    antithetic: bool = True
    every: int = 1
    weight: str = "edm"
    sigma_data: float = 0.5

    def __post_init__(self):
        _check_settings(self)
        checks.number("ratio", self.ratio, above=0, below=1)
        checks.whole("every", self.every)
        if self.sigmas is None:
            low, high = self._ends()
            object.__setattr__(self, "sigmas", LogUniform(low / 20, high))
        check_distribution("sigmas", self.sigmas)

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample that is used."""
        return self._to_points() + 1 + 2 * (2 if self.antithetic else 1)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the noisy ``batch`` (B, *shape), (B,)."""
        used = self.used(batch, generator)
        if self.every > 1 and isinstance(denoiser, Conditional):
            denoiser = denoiser.pick(slice(None, None, self.every))
        x, s = self.points(denoiser, used, generator)
        below = self.ratio * s
        with torch.no_grad():
            upper = denoise(denoiser, x, s)
        defects = []
        for _ in range(2):
            z = randn_like(x, generator)
            drawn = []
            for noise in (z, -z) if self.antithetic else (z,):
                with torch.no_grad():
                    point = reverse_steps(denoiser, x, s, below, denoised=upper, z=noise)
                drawn.append(denoise(denoiser, point, below))
            defects.append(torch.stack(drawn).mean(0) - upper)
        inner = (defects[0] * defects[1]).flatten(1).mean(1)
        loss = WEIGHTS[self.weight](below, self.sigma_data) * inner
        return loss.repeat_interleave(self.every)

    def used(self, batch: Tensor, generator: Generator = None) -> Tensor:
        """Return the samples of a batch that are used, each ``every``-th."""
        checks.batch("batch", batch)
        checks.generator("generator", generator)
        runs = len(generator) if isinstance(generator, Sequence) else 1
        if len(batch) % (runs * self.every):
            raise ValueError(
                f"batch: got {len(batch)} samples for {runs} runs; "
                f"allowed are multiples of {runs * self.every}, because every={self.every}"
            )
        return batch[:: self.every]

    @torch.no_grad()
    def points(
        self, denoiser: Denoiser, batch: Tensor, generator: Generator = None, steps: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Draw upper levels and states at them, without gradients.

        Parameters
        ----------
        denoiser : Denoiser
            Of the way from ``s_n`` down.
        batch : (B, *shape) tensor, the noisy data
        generator : source of levels and noise (default: torch's global generator)
        steps : int
            Reverse steps on that way (default 1).

        Returns
        -------
        x, s : (B, *shape) and (B,) tensors
        """
        check_batch(batch, generator)
        steps = checks.whole("steps", steps)
        s = self.sigmas.sample(  # type: ignore[union-attr]
            len(batch), generator=generator, device=batch.device, dtype=batch.dtype
        )
        noise = self._noise_of(batch, self.every)
        top = s.clamp_min(noise)
        added = (top.square() - noise**2).clamp_min(0).sqrt()
        x = batch + expand(added, batch) * randn_like(batch, generator)
        if self._to_points():
            x = reverse_steps(denoiser, x, top, s, steps=steps, generator=generator)
        return x, s

    def _to_points(self) -> int:
        """Evaluations on the way down to the points: none if all levels are above."""
        return int(self.sigmas.range[0] < self._ends()[1])  # type: ignore[union-attr]

    def _ends(self) -> tuple[float, float]:
        """Smallest level of the data above 0, and the largest."""
        levels = self.sigma_data_noise
        if not isinstance(levels, Tensor):
            return levels, levels
        noisy = levels[levels > 0]
        if len(noisy):
            return noisy.min().item(), noisy.max().item()
        if self.sigmas is None:
            raise ValueError("sigma_data_noise: got 0 for each sample; allowed is one above 0")
        return 0.0, 0.0


@dataclass(frozen=True)
class Sum:
    """A weighted sum of objectives on the same batch, such as ambient Tweedie and consistency.

    Parameters
    ----------
    objectives : tuple of Objective
    weights : tuple of float
        One for each.

    Raises
    ------
    TypeError, ValueError
        If an objective cannot be called, or a weight is no finite number.
    """

    objectives: tuple[Objective, ...]
    weights: tuple[float, ...]

    def __post_init__(self):
        parts = checks.listed("objectives", self.objectives, "objectives")
        for part in parts:
            checks.function("objectives", part)
        object.__setattr__(self, "objectives", tuple(parts))
        object.__setattr__(self, "weights", checks.numbers("weights", self.weights))
        if not self.objectives or len(self.weights) != len(self.objectives):
            raise ValueError(
                f"weights: got {len(self.weights)} for {len(self.objectives)} objectives; "
                "allowed is one for each of one or more"
            )
        same_known_samples("objectives", self.objectives)

    @property
    def known_samples(self) -> int | None:
        """Number of samples that its objectives know one by one, or None."""
        return same_known_samples("objectives", self.objectives)

    def pick(self, index: Tensor) -> Sum:
        """Return the sum for some samples of the data, by their index (B,)."""
        check_index(index)
        known = [getattr(o, "known_samples", None) is not None for o in self.objectives]
        parts = [o.pick(index) if k else o for k, o in zip(known, self.objectives)]  # type: ignore
        return Sum(tuple(parts), self.weights)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of ``batch`` (B, *shape), (B,)."""
        check_batch(batch, generator)
        parts = zip(self.weights, self.objectives)
        losses = [w * objective(denoiser, batch, generator) for w, objective in parts]
        return torch.stack(losses).sum(0)
