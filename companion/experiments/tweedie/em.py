"""Expectation-maximisation for noisy data: sample what is behind each, train on that, repeat.

The rival of chapter 2 that needs no loss of its own. It imports the module only, to be lifted out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser
from companion.noise import expand, log_linear, randn_like
from companion.samplers import heun

__all__ = ["Gaussian", "expectation_maximization", "posterior"]


class Gaussian:
    """The denoiser of the Gaussian that fits noisy data best: where EM starts (Rozet et al. 2024).

    ``D(x, sigma) = m + C (C + sigma^2 I)^-1 (x - m)`` with the mean ``m`` of the noisy data and
    their covariance less ``s_n^2 I``, negative variances put to 0.

    Parameters
    ----------
    noisy : (N, *shape) tensor, at least two samples
    sigma_data_noise : float above 0
        Standard deviation ``s_n`` of the noise in the data.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(self, noisy: Tensor, sigma_data_noise: float):
        checks.tensor("noisy", noisy, "(N, *shape)", at_least=2)
        s_n = checks.number("sigma_data_noise", sigma_data_noise, above=0)
        flat = noisy.flatten(1).double()
        self.mean = flat.mean(0)
        variances, self.axes = torch.linalg.eigh(torch.cov(flat.T).reshape(flat.shape[1], -1))
        self.variances = (variances - s_n**2).clamp_min(0)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape) at level ``sigma``, a float or (B,)."""
        axes, variances = self.axes.to(x), self.variances.to(x)
        off = (x.flatten(1) - self.mean.to(x)) @ axes
        level = expand(sigma, off)
        kept = off * variances / (variances + level**2)
        return (self.mean.to(x) + kept @ axes.T).reshape(x.shape)


def posterior(
    denoiser: Denoiser,
    noisy: Tensor,
    sigma_data_noise: float,
    *,
    steps: int = 8,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw clean samples behind noisy ones: the reverse process that starts at them.

    ``y = x_0 + s_n z`` is a state of the diffusion at the level ``s_n``, so that its reverse
    process from there ends in a draw of ``p(x_0 | y)``: no guidance is needed. A step from
    ``sigma`` to ``sigma'`` first adds noise of the variance ``sigma^2 - sigma'^2``, then goes down
    by a step of Heun's method (Karras et al. 2022, algorithm 2, with as much noise as the reverse
    process has). With few steps the draws are nearly as spread as they should be; those of
    ancestral sampling are too narrow, and each round of EM would make them narrower.

    Parameters
    ----------
    denoiser : Denoiser
    noisy : (B, *shape) tensor
    sigma_data_noise : float above 0
        Standard deviation ``s_n`` of their noise.
    steps : int, at least 1
        Steps at equal ratios from ``s_n`` to ``s_n / 20``, the last one to 0 (default 8);
        ``2 steps - 1`` evaluations. With 1 it is the posterior's mean.
    generator : source of the noise (default: torch's global generator)

    Returns
    -------
    (B, *shape) tensor

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    s_n = checks.number("sigma_data_noise", sigma_data_noise, above=0)
    sigmas = log_linear(checks.whole("steps", steps), s_n, s_n / 20)
    x = checks.tensor("noisy", noisy, "(B, *shape)", at_least=1)
    for sigma, below in pairwise(sigmas.tolist()):
        if below > 0:
            added = math.sqrt(sigma**2 - below**2)
            x = x + added * randn_like(x, generator)
            sigma = math.hypot(sigma, added)
        x = heun(denoiser, x, torch.tensor([sigma, below]))
    return x


def expectation_maximization(
    denoiser: Any,
    noisy: Tensor,
    sigma_data_noise: float,
    fit: Callable[[Any, Tensor, int], Any],
    *,
    rounds: int,
    drawn: int | None = None,
    steps: int = 8,
    batch: int = 256,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Any:
    """Learn the denoiser of clean data from noisy data by EM.

    Each round draws what is behind some of the noisy samples with the present denoiser, and trains
    the next one on these draws as if they were clean. For an exact posterior and a perfect fit the
    likelihood of the noisy data never falls. Source: Rozet et al. 2024 (DiEM), with noise as the
    only corruption.

    Parameters
    ----------
    denoiser : Denoiser
        The first, such as ``Gaussian(noisy, sigma_data_noise)``.
    noisy : (N, *shape) tensor
    sigma_data_noise : float above 0
        Standard deviation ``s_n`` of the noise in the data.
    fit : callable
        ``fit(denoiser, clean, round)`` returns a denoiser trained on draws (M, *shape); the rounds
        count from 0.
    rounds : int, at least 1
    drawn : int, optional
        Samples of each round (default: all N), others in each; the network evaluations are
        ``rounds * drawn * (2 steps - 1)``, beside those of ``fit``.
    steps : int
        Of ``posterior``.
    batch : int
        Samples that are drawn together (default 256).
    device : optional
        Where they are drawn (default: where ``noisy`` is); ``fit`` gets them where ``noisy`` is.
    generator : source of the choice and of the noise, on the CPU (default: torch's global one)

    Returns
    -------
    The denoiser of the last round.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    checks.tensor("noisy", noisy, "(N, *shape)", at_least=1)
    checks.function("fit", fit)
    rounds, batch = checks.whole("rounds", rounds), checks.whole("batch", batch)
    drawn = len(noisy) if drawn is None else min(checks.whole("drawn", drawn), len(noisy))
    for number in range(rounds):
        chosen = noisy[torch.randperm(len(noisy), generator=generator)[:drawn].to(noisy.device)]
        own = torch.Generator(device or noisy.device)
        own.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        clean = [
            posterior(denoiser, part, sigma_data_noise, steps=steps, generator=own).to(noisy)
            for part in chosen.to(device or noisy.device).split(batch)
        ]
        denoiser = fit(denoiser, torch.cat(clean), number)
    return denoiser
