"""Extra noise: on the network's input (input perturbation), or on the training data.

With ``k = sqrt(1 + gamma^2)`` everything that input perturbation does to an optimal denoiser is a
change of label and of scale (eq-xn-relabel, eq-xn-shrink), which ``Relabelled`` applies to any
denoiser, without training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, LogNormal, SigmaDistribution, corrupt, expand, randn_like
from companion.objectives.denoising import (
    WEIGHTS,
    DenoisingScoreMatching,
    Objective,
    check_batch,
    squared_error,
)
from companion.objectives.known_noise import check_index

__all__ = ["TARGETS", "InputPerturbation", "NoisyData", "Relabelled", "relabelled"]

TARGETS = ("x_0", "eps")
"""What a network trained with input perturbation is asked for."""


def _check(gamma: float | Callable[[Tensor], Tensor], target: str) -> None:
    if not callable(gamma) or isinstance(gamma, type):
        checks.number("gamma", gamma, at_least=0)
    checks.choice("target", target, TARGETS)


@dataclass(frozen=True)
class InputPerturbation:
    """Denoising with more noise on the input than the network is told (eq-xn-perturbed).

    The input is ``x = x_0 + sigma (eps + gamma xi)`` with a second noise ``xi``; the network is
    told ``sigma``, and its target stays what it was. With target "x_0" the loss is

        w(sigma) ||D(x, sigma) - x_0||^2 / d,

    minimised by ``D*(x, k sigma)``, ``k = sqrt(1 + gamma^2)``: the exact denoiser of a larger level
    (eq-xn-relabel). With target "eps" it is

        w(sigma) sigma^2 ||(x - D(x, sigma)) / sigma - eps||^2 / d,

    the same for ``gamma = 0``, but minimised where the predicted noise is
    ``eps_hat*(x, k sigma) / k`` (eq-xn-shrink). Source: Ning et al. 2023, whose code has the
    target "eps".

    Parameters
    ----------
    gamma : float at least 0, or function of sigma
        Size of the perturbation (default 0.1, the paper's; 0 is ``DenoisingScoreMatching``). A
        function gets the levels (B,) and returns theirs, at least 0: ``lambda s: 0.1 / (1 + s)``.
    target : {"x_0", "eps"}
        What the network is asked for (default "eps", as in the paper's code).
    sigmas, weight, sigma_data : as in ``DenoisingScoreMatching``

    Raises
    ------
    ValueError
        If an argument is outside of what is allowed.
    """

    gamma: float | Callable[[Tensor], Tensor] = 0.1
    target: str = "eps"
    sigmas: SigmaDistribution = field(default_factory=LogNormal)
    weight: str = "edm"
    sigma_data: float = 0.5

    def __post_init__(self):
        _check(self.gamma, self.target)
        DenoisingScoreMatching(self.sigmas, self.weight, self.sigma_data)  # checks the rest

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,)."""
        check_batch(batch, generator)
        sigma = self.sigmas.sample(
            len(batch), generator=generator, device=batch.device, dtype=batch.dtype
        )
        noisy = corrupt(batch, sigma, generator=generator)
        gamma = self.gamma(sigma) if callable(self.gamma) else self.gamma
        size = expand(gamma, batch, name="gamma") * expand(sigma, batch)
        extra = size * randn_like(batch, generator)
        # sigma (eps_hat - eps) = batch + extra - D: asked for eps, a network keeps the extra noise.
        goal = batch + extra if self.target == "eps" else batch
        weight = WEIGHTS[self.weight](sigma, self.sigma_data)
        return weight * squared_error(denoise(denoiser, noisy + extra, sigma), goal)


@dataclass(frozen=True)
class NoisyData:
    """Any objective on data with fresh noise: ``x_0 + s xi`` is taken for clean (eq-xn-convolved).

    What is learned is the distribution of the data convolved with ``N(0, s^2 I)``: too wide by
    ``s`` in every direction. Source: noise as augmentation, such as Bishop 1995.

    Parameters
    ----------
    s : float, at least 0
        Standard deviation of the noise, in the units of the data.
    objective : Objective
        What is trained for on the noisy data (default: ``DenoisingScoreMatching()``).

    Raises
    ------
    TypeError, ValueError
        If ``objective`` cannot be called, or ``s`` is negative or not finite.
    """

    s: float
    objective: Objective = field(default_factory=DenoisingScoreMatching)

    def __post_init__(self):
        checks.number("s", self.s, at_least=0)
        checks.function("objective", self.objective)

    @property
    def sigmas(self) -> SigmaDistribution | None:
        """Distribution of sigma of the objective, if it has one."""
        return getattr(self.objective, "sigmas", None)

    @property
    def known_samples(self) -> int | None:
        """Number of samples that the objective knows one by one, or None."""
        return getattr(self.objective, "known_samples", None)

    def pick(self, index: Tensor) -> NoisyData:
        """Return the same for some samples of the data, by their index (B,)."""
        check_index(index)
        if self.known_samples is None:
            return self
        return dataclasses.replace(self, objective=self.objective.pick(index))  # type: ignore

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,)."""
        check_batch(batch, generator)
        noisy = corrupt(batch, self.s, generator=generator)
        return self.objective(denoiser, noisy, generator)


class Relabelled:
    """A denoiser told another noise level, whose answer is then moved towards its input.

    ``(x, sigma) -> x - (x - D(x, level * sigma)) / shrink``. As a prediction of noise this is
    ``eps_hat(x, level * sigma) * level / shrink``. It costs nothing.

    - ``level=1, shrink=b`` is epsilon scaling (Ning et al. 2024).
    - ``relabelled`` gives what input perturbation makes of a denoiser, and its inverse.

    Parameters
    ----------
    denoiser : Denoiser
    level : float above 0, or function of sigma
        Factor of the noise level that the denoiser is told (default 1). A function gets ``sigma``
        as a tensor, 0-d or (B,), and returns one of its shape.
    shrink : float above 0, or function of sigma
        What the removed noise ``x - D`` is divided by (default 1).
    """

    def __init__(
        self,
        denoiser: Denoiser,
        level: float | Callable[[Tensor], Tensor] = 1.0,
        shrink: float | Callable[[Tensor], Tensor] = 1.0,
    ):
        self.denoiser = checks.function("denoiser", denoiser)
        self.level = _factor("level", level)
        self.shrink = _factor("shrink", shrink)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        if not isinstance(sigma, Tensor):
            checks.level("sigma", sigma)
        level, shrink = self.level, self.shrink
        if callable(level) or callable(shrink):
            sigma = torch.as_tensor(sigma).to(checks.tensor("x", x))
        level = level(sigma) if callable(level) else level
        denoised = denoise(self.denoiser, x, level * sigma)
        if callable(shrink):
            return x - (x - denoised) / expand(shrink(sigma), x, name="shrink", positive=True)
        return denoised if shrink == 1 else x - (x - denoised) / shrink

    def __repr__(self) -> str:
        return f"Relabelled(level={_text(self.level)}, shrink={_text(self.shrink)})"


def _factor(name: str, value):
    """Return a positive number, or a function."""
    if callable(value) and not isinstance(value, type):
        return value
    return checks.number(name, value, above=0)


def _text(value) -> str:
    return "function" if callable(value) else f"{value:g}"


def relabelled(
    denoiser: Denoiser,
    gamma: float | Callable[[Tensor], Tensor] = 0.1,
    target: str = "eps",
    *,
    inverse: bool = False,
) -> Relabelled:
    """What input perturbation makes of an exact denoiser, applied to any, without training.

    Parameters
    ----------
    denoiser : Denoiser
        Trained as usual; with ``inverse`` one trained by ``InputPerturbation(gamma, target)``.
    gamma, target : as in ``InputPerturbation``
    inverse : bool
        Undo it instead (default False): the estimate of the exact denoiser. Only with a number as
        ``gamma``: with a function the level to ask at has no formula.

    Returns
    -------
    Relabelled
        With ``k = sqrt(1 + gamma^2)``: level ``k``, and shrink 1 (target "x_0", eq-xn-relabel) or
        ``k^2`` (target "eps", eq-xn-shrink); with ``inverse`` their reciprocals.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    _check(gamma, target)
    if callable(gamma):
        if inverse:
            raise ValueError("inverse: got True with a function as gamma; allowed with a number")
        shrink = partial(_perturbed, gamma, 1.0) if target == "eps" else 1.0
        return Relabelled(denoiser, partial(_perturbed, gamma, 0.5), shrink)
    k = math.sqrt(1 + gamma**2)
    if inverse:
        k = 1 / k
    return Relabelled(denoiser, k, k**2 if target == "eps" else 1.0)


def _perturbed(gamma: Callable[[Tensor], Tensor], power: float, sigma: Tensor) -> Tensor:
    """``(1 + gamma(sigma)^2) ** power``."""
    return (1 + gamma(sigma) ** 2) ** power
