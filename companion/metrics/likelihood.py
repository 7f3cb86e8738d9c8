"""Likelihoods from denoising errors, by the pointwise I-MMSE identity (eq-i-mmse)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from companion import checks, devices
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, expand, rand, randn_like
from companion.progress import track

__all__ = [
    "LogLikelihood",
    "bits_per_dimension",
    "dequantised",
    "log_likelihood_ratio",
    "nll",
]


class LogLikelihood(NamedTuple):
    """Negative log-likelihoods in nats (see ``bits_per_dimension`` for bits)."""

    value: Tensor
    """(B,), float64 where the device has it."""
    error: Tensor
    """(B,), standard error of the integration, from the scatter of neighbouring levels.

    It is an estimate itself: with few points, or far from the data, up to twice too small.
    """


@torch.no_grad()
def nll(
    denoiser: Denoiser,
    x: Tensor,
    *,
    points: int = 64,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    sigma_data: float = 1.0,
    mean_data: Tensor | float = 0.0,
    generator: Generator = None,
    batch: int = 2048,
) -> LogLikelihood:
    """Negative log-likelihood from denoising errors, by the pointwise I-MMSE identity (eq-i-mmse).

    For a distribution p with the optimal noise estimate ``eps_hat``, and a Gaussian
    g = N(mean_data, sigma_data^2 I) with its own, ``eps_g``,

        -log p(x) = -log g(x) + 1/2 Int dalpha E( |eps - eps_hat(x + s eps, s)|^2
                                                  - |eps - eps_g(x + s eps, s)|^2 ),

    ``alpha = -2 ln s``. With g = N(0, I) and its error averaged over x, this is Kong et al. 2023.
    Both errors are taken at the same ``eps``: the difference vanishes at both ends of the
    integral, and so does its noise.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) floating-point tensor
    points : int
        Noise levels for each x, at least 2 (default 64): one at random in each of as many equal
        strata of alpha. Each costs two evaluations, at ``eps`` and ``-eps``.
    sigma_min, sigma_max : float
        Range of the integral, in the units of the data (default 0.002 to 80). What is left out is
        of order ``(sigma_min / width)^2`` of the data's narrowest feature, and
        ``(|x| / sigma_max)^2``. A network should have been trained on all of it.
    sigma_data, mean_data : float, and float or tensor of shape ``shape``
        The Gaussian's standard deviation and mean. They do not change the result, only its error.
    generator : source of ``eps`` and of the levels (default: torch's global generator)
    batch : int
        Samples in a call of the denoiser, 2 at least (default 2048); bounds the memory.

    Returns
    -------
    LogLikelihood
        The value, and the standard error of the integration (not of the denoiser).

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Kong, Brekelmans & Ver Steeg, Information-theoretic diffusion, 2023.
    """
    _check_integral(x, points, sigma_min, sigma_max, sigma_data, mean_data, batch)
    dims, wide = x[0].numel(), devices.wide(x.device)
    values, errors = [], []
    for part in x.split(batch // 2):

        def excess(noisy: Tensor, s: Tensor, eps: Tensor) -> Tensor:
            estimate = (noisy - denoise(denoiser, noisy, s.flatten())) / s
            return _excess(estimate, (noisy - mean_data) * s / (sigma_data**2 + s**2), eps)

        value, error = _integral(part, excess, points, sigma_min, sigma_max, generator)
        reference = 0.5 * ((part - mean_data) / sigma_data).to(wide).flatten(1).square().sum(1)
        reference += dims * (0.5 * math.log(2 * math.pi) + math.log(sigma_data))
        values.append(reference + value)
        errors.append(error)
    return LogLikelihood(torch.cat(values), torch.cat(errors))


@torch.no_grad()
def log_likelihood_ratio(
    denoiser: Denoiser,
    x: Tensor,
    sigma_noise: Tensor | float,
    *,
    points: int = 64,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    sigma_data: float = 1.0,
    mean_data: Tensor | float = 0.0,
    generator: Generator = None,
    batch: int = 2048,
) -> LogLikelihood:
    """``log p(x) - log p_t(x)``: is ``x`` clean, or does it carry noise ``t``? (eq-nc-ratio).

    ``p_t`` is the distribution of ``x_0 + t eps``, with ``t = sigma_noise``. Its denoiser is
    ``denoisers.Noised(denoiser, t)``, so both likelihoods are integrals of denoising errors, as in
    ``nll``, and here they are taken at the same levels and the same noise:

        LLR_t(x) = log g(x) - log g_t(x)
                   + 1/2 Int dalpha E( |eps - eps_hat_t|^2 - |eps - eps_g_t|^2
                                       - |eps - eps_hat|^2 + |eps - eps_g|^2 ).

    By Bayes ``sigmoid(LLR_t)`` is the best classifier of clean against noised, at equal shares.

    Parameters
    ----------
    denoiser, x, sigma_min, sigma_max, sigma_data, mean_data, generator : as in ``nll``
        The denoiser is asked up to ``sqrt(sigma_max^2 + t^2)``.
    sigma_noise : float, 0-d tensor or (B,) tensor, above 0
        The level ``t``, in the units of the data.
    points : int
        Noise levels for each x, at least 2 (default 64). Each costs four evaluations: two terms, at
        ``eps`` and ``-eps``.
    batch : int
        Samples in a call of the denoiser, 4 at least (default 2048); bounds the memory.

    Returns
    -------
    LogLikelihood
        The log-likelihood ratio in nats, and the standard error of the integration.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Wu, Luo, Kong, Papalexakis & Ver Steeg, Your diffusion model is secretly a noise classifier and
    benefits from contrastive training, 2024; in its variance-preserving notation.
    """
    _check_integral(x, points, sigma_min, sigma_max, sigma_data, mean_data, batch, 4)
    level = expand(sigma_noise, x, name="sigma_noise", positive=True)
    t = torch.as_tensor(level, dtype=x.dtype, device=x.device).expand(len(x), *[1] * (x.ndim - 1))
    dims, wide = x[0].numel(), devices.wide(x.device)
    values, errors = [], []
    for part, own in zip(x.split(batch // 4), t.split(batch // 4)):
        twice = torch.cat([own, own])  # samples at eps, then at -eps

        def excess(noisy: Tensor, s: Tensor, eps: Tensor, t: Tensor = twice) -> Tensor:
            r = (s**2 + t**2).sqrt()
            clean, mixed = denoise(
                denoiser, torch.cat([noisy, noisy]), torch.cat([s.flatten(), r.flatten()])
            ).chunk(2)
            centred = noisy - mean_data
            noised = _excess(
                s / r * (noisy - mixed) / r,
                centred * s / (sigma_data**2 + t**2 + s**2),
                eps,
            )
            plain = _excess((noisy - clean) / s, centred * s / (sigma_data**2 + s**2), eps)
            return noised - plain

        value, error = _integral(part, excess, points, sigma_min, sigma_max, generator)
        variance = 1 + (own.to(wide).flatten() / sigma_data) ** 2
        square = ((part - mean_data) / sigma_data).to(wide).flatten(1).square().sum(1)
        reference = 0.5 * (dims * variance.log() - square * (1 - 1 / variance))
        values.append(reference + value)
        errors.append(error)
    return LogLikelihood(torch.cat(values), torch.cat(errors))


def dequantised(x: Tensor, step: float = 2 / 255, *, generator: Generator = None) -> Tensor:
    """Add uniform noise of one step, so that images of whole numbers have a density.

    Without it the density of a discrete distribution is infinite, and its "bits per dimension"
    mean nothing. Source: Theis, van den Oord & Bethge 2016, *A note on the evaluation of generative
    models*.

    Parameters
    ----------
    x : (B, *shape) floating-point tensor, values on a grid
    step : float above 0
        From one value of the grid to the next, in the units of ``x`` (default 2 / 255, that of 256
        levels in [-1, 1]; for the digits 1 / 8).
    generator : source of the noise (default: torch's global generator)

    Returns
    -------
    (B, *shape) tensor, ``x + step (u - 1/2)`` with u uniform in [0, 1).
    """
    checks.tensor("x", x)
    step = checks.number("step", step, above=0)
    u = rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + step * (u - 0.5)


def bits_per_dimension(
    likelihood: LogLikelihood, dims: int, step: float | None = 2 / 255
) -> LogLikelihood:
    """Turn nats of whole samples into bits of one dimension.

    ``(nats / dims - log(step)) / log(2)``. Of ``dequantised`` images it is, on average, an upper
    bound of the bits that the discrete images take (Theis et al. 2016): the noise is fixed, so
    the bound is that of uniform dequantisation, not of the variational kind.

    Parameters
    ----------
    likelihood : LogLikelihood, as of ``nll(denoiser, dequantised(x))``
    dims : int
        Dimensions of a sample: pixels times channels.
    step : float above 0, or None
        That of ``dequantised`` (default 2 / 255). None for data that were never discrete: then the
        result is that of a density, can be negative, and depends on the units of the data.

    Returns
    -------
    LogLikelihood
        Value and standard error, in bits per dimension.
    """
    checks.instance("likelihood", likelihood, LogLikelihood, "what nll returns")
    dims = checks.whole("dims", dims)
    shift = 0.0 if step is None else math.log(checks.number("step", step, above=0))
    unit = dims * math.log(2)
    return LogLikelihood(
        (likelihood.value - dims * shift) / unit,
        likelihood.error / unit,
    )


def _check_integral(
    x, points, sigma_min, sigma_max, sigma_data, mean_data, batch, smallest=2
) -> None:
    checks.tensor("x", x, at_least=2)
    checks.finite("x", x)
    if not x.numel():
        raise ValueError(f"x: got shape {tuple(x.shape)}; allowed is one sample or more")
    if isinstance(mean_data, Tensor):
        try:
            fits = torch.broadcast_shapes(mean_data.shape, x.shape[1:]) == x.shape[1:]
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"mean_data: got shape {tuple(mean_data.shape)}; allowed is a number or a tensor "
                f"of shape {tuple(x.shape[1:])}"
            )
    else:
        checks.number("mean_data", mean_data)
    checks.whole("points", points, 2)
    checks.whole("batch", batch, smallest)
    checks.number("sigma_max", sigma_max, above=0)
    checks.number("sigma_min", sigma_min, above=0, below=sigma_max)
    checks.number("sigma_data", sigma_data, above=0)


def _excess(estimate: Tensor, gaussian: Tensor, eps: Tensor) -> Tensor:
    """``|eps - estimate|^2 - |eps - gaussian|^2`` without cancellation, (B,)."""
    difference = (gaussian - estimate) * (2 * eps - gaussian - estimate)
    return difference.flatten(1).to(devices.wide(eps.device)).sum(1)


def _integral(
    x: Tensor,
    integrand: Callable[[Tensor, Tensor, Tensor], Tensor],
    points: int,
    sigma_min: float,
    sigma_max: float,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """``1/2 Int dalpha E integrand`` for each x, and its standard error, both (B,).

    One random level in each of ``points`` equal strata of alpha; ``integrand(noisy, s, eps)`` gets
    the samples at ``eps``, then those at ``-eps``.
    """
    low, width = -2 * math.log(sigma_max), 2 * math.log(sigma_max / sigma_min)
    column, wide = (-1, *[1] * (x.ndim - 1)), devices.wide(x.device)
    means = []
    for i in track(range(points), "levels"):
        u = rand((len(x),), generator=generator, device=x.device, dtype=wide)
        sigma = (-0.5 * (low + width * (i + u) / points)).exp().to(x.dtype)
        eps = randn_like(x, generator)
        eps = torch.cat([eps, -eps])
        s = sigma.repeat(2).reshape(column)
        noisy = x.repeat(2, *column[1:]) + s * eps
        means.append(integrand(noisy, s, eps).reshape(2, -1).mean(0))
    f = torch.stack(means)  # (points, B)
    # Neighbouring strata differ by their noise, and by the trend.
    variance = 0.5 * f.diff(dim=0).square().mean(0) / points
    return 0.5 * width * f.mean(0), 0.5 * width * variance.sqrt()
