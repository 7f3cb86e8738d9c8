"""What a denoiser is, how it is asked, and how it is read as noise or as score."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from companion import checks
from companion.noise import expand

__all__ = ["Denoiser", "denoise", "epsilon", "score"]


@runtime_checkable
class Denoiser(Protocol):
    """Anything that estimates clean data: ``D(x, sigma) = E[x_0 | x_sigma = x]`` (eq-denoiser).

    ``x`` is (B, *shape); ``sigma`` is a float, a 0-d tensor or (B,); the result is (B, *shape).
    """

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x``."""
        ...


def denoise(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Ask a denoiser, and check what is given to it and what it answers.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) floating-point tensor
    sigma : float, 0-d tensor or (B,) tensor

    Returns
    -------
    (B, *shape), the denoiser's answer

    Raises
    ------
    TypeError, ValueError
        If ``denoiser`` cannot be called, ``x`` is no floating-point tensor, or the answer is no
        tensor of its shape.
    """
    checks.function("denoiser", denoiser)
    checks.tensor("x", x)
    answer = denoiser(x, sigma)
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        raise ValueError(
            f"denoiser: got {checks.shown(answer)} as its answer; allowed is a tensor of the "
            f"shape of x, {tuple(x.shape)}"
        )
    return answer


def epsilon(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Noise that the denoiser sees: ``(x - D(x, sigma)) / sigma`` (eq-epsilon), (B, *shape)."""
    return (x - denoise(denoiser, x, sigma)) / expand(sigma, x, positive=True)


def score(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Tweedie's formula, ``(D(x, sigma) - x) / sigma^2 = grad log p_sigma(x)`` (eq-score).

    Source: Efron 2011 (after Robbins 1956); Vincent 2011. Returns (B, *shape).
    """
    return (denoise(denoiser, x, sigma) - x) / expand(sigma, x, positive=True) ** 2
