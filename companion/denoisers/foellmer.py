"""The Föllmer drift: the denoiser in other coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from companion import checks
from companion.denoisers.asking import Denoiser, denoise
from companion.noise import expand

__all__ = ["foellmer_drift", "foellmer_time", "from_foellmer_drift"]


def foellmer_time(sigma: Tensor | float) -> Tensor | float:
    """Time ``t = 1 / (1 + sigma^2)`` at which the Föllmer process has a noise level (eq-fo-bridge).

    From 0 (nothing but noise) to 1 (``sigma = 0``, clean data); ``sigma = sqrt((1 - t) / t)``.

    Parameters
    ----------
    sigma : float or tensor of any shape, at least 0

    Returns
    -------
    As ``sigma``, in (0, 1].
    """
    checks.level("sigma", sigma)
    return 1 / (1 + sigma**2)


def foellmer_drift(denoiser: Denoiser, x: Tensor, t: Tensor | float) -> Tensor:
    """Drift that takes 0 to the data in unit time, from the denoiser of the data (eq-fo-drift).

    ``u(x, t) = (D(x / t, sqrt((1 - t) / t)) - x) / (1 - t)``, for ``dX = u dt + dW``, ``X_0 = 0``.
    Given ``X_1 = x_1`` the path is a Brownian bridge, so ``X_t / t`` is ``x_1`` with noise. Source
    of the drift: Föllmer 1985; that it is the denoiser is Tweedie's formula.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) tensor
        State ``X_t``.
    t : float, 0-d tensor or (B,) tensor, above 0 and below 1

    Returns
    -------
    (B, *shape), data units a unit of time; one evaluation.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> import torch
    >>> from companion import oracles
    >>> normal = oracles.GaussianMixture([[0.0]], 1.0)
    >>> abs(round(foellmer_drift(normal.denoiser, torch.ones(1, 1), 0.5).item(), 6))
    0.0
    """
    checks.function("denoiser", denoiser)
    time = _time(t, x)
    sigma = ((1 - time) / time) ** 0.5
    if isinstance(sigma, Tensor):
        sigma = sigma.flatten() if sigma.ndim else sigma
    return (denoise(denoiser, x / time, sigma) - x) / (1 - time)


def from_foellmer_drift(drift: Callable[[Tensor, Tensor | float], Tensor]) -> Denoiser:
    """Make a denoiser of a drift: the inverse of ``foellmer_drift``.

    Parameters
    ----------
    drift : function
        Called as ``drift(x, t)`` with ``x`` (B, *shape) and ``t`` a float, 0-d or (B,); returns
        (B, *shape). A network that was trained as a Föllmer drift, say.

    Returns
    -------
    Denoiser ``D(x, sigma) = t x + (1 - t) u(t x, t)`` with ``t = 1 / (1 + sigma^2)``; ``sigma``
    above 0.
    """
    checks.function("drift", drift)

    def denoiser(x: Tensor, sigma: Tensor | float) -> Tensor:
        s = expand(sigma, x, positive=True)
        time = foellmer_time(s)
        state = time * x
        t = time.flatten() if isinstance(time, Tensor) and time.ndim else time
        return state + (1 - time) * checks.answer("drift", drift(state, t), x)

    return denoiser


def _time(t: Tensor | float, x: Tensor) -> Tensor | float:
    """Time that broadcasts against ``x``, or an error that names it."""
    time = expand(t, x, name="t", positive=True)
    high = float(time.detach().max()) if isinstance(time, Tensor) and time.numel() else time
    if not isinstance(high, Tensor) and not high < 1 and not math.isnan(high):
        raise ValueError(f"t: got {high:g}; allowed are numbers above 0 and below 1")
    return time
