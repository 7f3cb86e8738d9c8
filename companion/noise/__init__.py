"""The corruption ``x_sigma = x_0 + sigma * eps``: draws, schedules, distributions of sigma.

A noise level is always a standard deviation ``sigma`` in the units of the data (the
variance-exploding convention of Karras et al. 2022). The other conventions in the literature are
changes of variable: ``log_snr``, ``sigma_from_log_snr``, ``to_variance_preserving``,
``from_variance_preserving``.
"""

from typing import TypeAlias

from companion.noise import corruption
from companion.noise.corruption import (
    corrupt,
    expand,
    from_variance_preserving,
    log_snr,
    rand,
    randint,
    randn,
    randn_like,
    sigma_from_log_snr,
    to_variance_preserving,
)
from companion.noise.distributions import (
    Discrete,
    LevelDensity,
    LogLogistic,
    LogNormal,
    LogUniform,
    SigmaDistribution,
)
from companion.noise.schedules import (
    check_sigmas,
    cosine,
    ddpm,
    ddpm_alphas_cumprod,
    karras,
    log_linear,
    sigmas_from_alphas_cumprod,
)

__all__ = [
    "Discrete",
    "Generator",
    "LevelDensity",
    "LogLogistic",
    "LogNormal",
    "LogUniform",
    "SigmaDistribution",
    "check_sigmas",
    "corrupt",
    "cosine",
    "ddpm",
    "ddpm_alphas_cumprod",
    "expand",
    "from_variance_preserving",
    "karras",
    "log_linear",
    "log_snr",
    "rand",
    "randint",
    "randn",
    "randn_like",
    "sigma_from_log_snr",
    "sigmas_from_alphas_cumprod",
    "to_variance_preserving",
]

Generator: TypeAlias = corruption.Generator
"""Where random numbers come from: one generator, or one for each of several stacked runs.

With R generators the leading dimension of what is drawn is split into R equal parts, one for each,
so that a run draws the same numbers alone as beside others. ``None`` is torch's global generator.
"""
