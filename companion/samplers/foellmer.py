"""Samplers that follow the Föllmer drift: of a denoiser, or of a density that can be evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser
from companion.denoisers.foellmer import foellmer_drift
from companion.noise import Generator, randn, randn_like
from companion.noise.schedules import log_linear

__all__ = [
    "FORMS",
    "Controlled",
    "LogDensity",
    "check_times",
    "controlled",
    "foellmer",
    "foellmer_from_density",
    "foellmer_times",
    "log_normal",
    "monte_carlo_drift",
]

LogDensity: TypeAlias = Callable[[Tensor], Tensor]
"""An unnormalised log density: (B, d) -> (B,), in nats."""

FORMS = ("pinned", "variance_preserving")
"""Steps of a controlled process: Euler's from 0 (PIS), or an exponential one (DDS)."""

EARLIEST = 1e-4
"""Time at which the drift at time 0 is asked: there the noise hides the data (sigma = 100)."""


class Controlled(NamedTuple):
    """Where controlled paths end, and how likely they are against paths without control."""

    x: Tensor
    """States at time 1, (B, d)."""
    log_ratio: Tensor
    """Log of the density of each path over that of an uncontrolled one, (B,) (eq-fo-girsanov)."""
    energy: Tensor
    """Half of the squared control, summed over steps, (B,): the mean of ``log_ratio``."""

    def log_weights(self, log_density: LogDensity) -> Tensor:
        """Logs of importance weights, (B,): their mean estimates Z without bias (eq-fo-weights).

        Parameters
        ----------
        log_density : function, (B, d) -> (B,)
            Log of the unnormalised density.
        """
        value = ask_density(log_density, self.x)
        return value - log_normal(self.x) - self.log_ratio


def log_normal(x: Tensor) -> Tensor:
    """Log density of N(0, I) at ``x`` (B, *shape), in nats, (B,)."""
    checks.tensor("x", x)
    flat = x.flatten(1)
    return -0.5 * (flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi))


def ask_density(log_density: LogDensity, x: Tensor) -> Tensor:
    """Ask an unnormalised log density, and check its answer."""
    value = checks.function("log_density", log_density)(x)
    if not isinstance(value, Tensor) or value.shape != x.shape[:1]:
        raise ValueError(
            f"log_density: got {checks.shown(value)} as its answer; allowed is a tensor of shape "
            f"({len(x)},)"
        )
    return value


def check_times(times: Tensor) -> list[float]:
    """Return times as floats: rising from at least 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If they are anything else.
    """
    checks.tensor("times", times, "(N + 1,)")
    listed = times.tolist()
    rising = times.ndim == 1 and len(times) > 1 and bool((times.diff() > 0).all())
    if not rising or listed[0] < 0 or abs(listed[-1] - 1) > 1e-6:
        raise ValueError(
            f"times: got {checks.shown(times)}, {listed if times.ndim < 2 else '...'}; allowed are "
            "two or more rising times from at least 0 to 1"
        )
    return [*listed[:-1], 1.0]


def foellmer_times(steps: int, sigma_max: float = 10.0, sigma_min: float = 0.02) -> Tensor:
    """Times from 0 to 1 at log-linear noise levels, ``t = 1 / (1 + sigma^2)``, (steps + 1,).

    Parameters
    ----------
    steps : int, at least 2
    sigma_max, sigma_min : float, above 0
        Levels at the end of the first step and at the start of the last.
    """
    steps = checks.whole("steps", steps, at_least=2)
    levels = log_linear(steps - 1, sigma_max, sigma_min)
    return torch.cat([levels.new_zeros(1), 1 / (1 + levels**2)])


@torch.no_grad()
def foellmer(
    denoiser: Denoiser, x: Tensor, times: Tensor, *, generator: Generator = None
) -> Tensor:
    """Follow the Föllmer drift of a denoiser by Euler-Maruyama steps (eq-fo-euler).

    ``X' = X + (t' - t) u(X, t) + sqrt(t' - t) z``. The mean is that of ``ddpm`` at the same levels;
    ``ddpm`` adds the noise of a bridge, less by a factor ``(1 - t') / (1 - t)`` of its variance.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) tensor
        State at ``times[0]``: zeros at time 0.
    times : (N + 1,) tensor, rising from at least 0 to 1; see ``foellmer_times``
    generator : source of the noise (default: torch's global generator)

    Returns
    -------
    State at time 1, (B, *shape); N evaluations.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    checks.function("denoiser", denoiser)
    return _gather(_walk(_drift_of(denoiser), x, times, "pinned", generator, False)).x


def controlled(
    denoiser: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    form: str = "pinned",
    detached: bool = False,
    generator: Generator = None,
) -> Controlled:
    """Follow the drift of a denoiser, and keep the log ratio of each path (eq-fo-girsanov).

    Gradients are recorded, if they are enabled.

    Parameters
    ----------
    denoiser, x, times, generator : as in ``foellmer``
    form : {"pinned", "variance_preserving"}
        "pinned" (default): Euler's steps from 0, as in the path integral sampler (Zhang & Chen
        2022). "variance_preserving": the exponential steps of denoising diffusion samplers (Vargas
        et al. 2023, *Denoising diffusion samplers*), whose first state is drawn without a drift.
    detached : bool
        Cut the states off from the gradient: it then goes through the drift at given states only,
        as the log-variance loss needs it (default False).

    Returns
    -------
    Controlled
    """
    checks.function("denoiser", denoiser)
    checks.choice("form", form, FORMS)
    checks.instance("detached", detached, bool, "True or False")
    return _gather(_walk(_drift_of(denoiser), x, times, form, generator, detached))


def monte_carlo_drift(
    log_density: LogDensity,
    x: Tensor,
    t: float,
    *,
    draws: int = 64,
    gradient: bool = False,
    generator: Generator = None,
) -> Tensor:
    """Föllmer drift of an unnormalised density, by its heat semigroup (eq-fo-semigroup).

    With ``f = gamma / N(0, I)`` and ``Z`` standard normal it is
    ``E[Z f(x + sqrt(1 - t) Z)] / (sqrt(1 - t) E[f(x + sqrt(1 - t) Z)])``, by Stein's formula; no
    gradient is needed. Source: Huang et al. 2021, the Schrödinger-Föllmer sampler.

    Parameters
    ----------
    log_density : function, (B, d) -> (B,)
        Log of the unnormalised density gamma.
    x : (B, d) tensor
    t : float, at least 0 and below 1
    draws : int
        Of ``Z``, for each point (default 64). The error falls with their square root.
    gradient : bool
        Use ``E[grad f] / E[f]`` instead, which asks for the gradient of ``log_density``; better at
        late times (default False).
    generator : source of ``Z`` (default: torch's global generator)

    Returns
    -------
    (B, d); ``draws`` evaluations of the density for each point.
    """
    checks.batch("x", x)
    time = checks.number("t", t, at_least=0, below=1)
    draws = checks.whole("draws", draws)
    checks.instance("gradient", gradient, bool, "True or False")
    checks.generator("generator", generator)
    spread = math.sqrt(1 - time)
    # The draws of a point lie next to one another, so that several generators share out the points.
    z = randn((len(x), draws, *x.shape[1:]), generator=generator, device=x.device, dtype=x.dtype)
    points = (x[:, None] + spread * z).flatten(0, 1)
    with torch.set_grad_enabled(gradient):
        points.requires_grad_(gradient)
        log_ratio = ask_density(log_density, points) - log_normal(points)
        slope = torch.autograd.grad(log_ratio.sum(), points)[0] if gradient else None
    weights = log_ratio.detach().view(len(x), draws).softmax(1)
    values = z / spread if slope is None else slope.view_as(z)
    return torch.einsum("bk,bk...->b...", weights, values)


@torch.no_grad()
def foellmer_from_density(
    log_density: LogDensity,
    x: Tensor,
    times: Tensor,
    *,
    draws: int = 64,
    generator: Generator = None,
) -> Controlled:
    """Sample an unnormalised density by its Monte Carlo drift, without any training.

    Parameters
    ----------
    log_density, draws : as in ``monte_carlo_drift``
    x, times, generator : as in ``foellmer``

    Returns
    -------
    Controlled; ``draws`` times N evaluations of the density for each sample. Its weights are right
    for every number of draws: the drift of a step does not know the noise of that step.
    """
    checks.function("log_density", log_density)
    draws = checks.whole("draws", draws)

    def drift(x: Tensor, t: float) -> Tensor:
        return monte_carlo_drift(log_density, x, t, draws=draws, generator=generator)

    return _gather(_walk(drift, x, times, "pinned", generator, False))


def _gather(steps: Iterator[tuple[Tensor, Tensor, Tensor]]) -> Controlled:
    """Sum over the steps, with the last state."""
    ratios, energies, states = zip(*steps)
    return Controlled(states[-1], sum(ratios), sum(energies))


def _drift_of(denoiser: Denoiser) -> Callable[[Tensor, float], Tensor]:
    return lambda x, t: foellmer_drift(denoiser, x, max(t, EARLIEST))


def _walk(
    drift: Callable[[Tensor, float], Tensor],
    x: Tensor,
    times: Tensor,
    form: str,
    generator: Generator,
    detached: bool,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Log ratio and energy of each step, (B,), and the state after it."""
    checks.batch("x", x)
    checks.generator("generator", generator)
    for start, stop in pairwise(check_times(times)):
        width = math.sqrt(stop - start)
        z = randn_like(x, generator)
        if form == "pinned":
            control = width * drift(x, start)
        elif start == 0:
            control = torch.zeros_like(x)
        else:  # 2 sqrt(t) (sqrt(t') - sqrt(t)) in place of t' - t
            grown = 2 * math.sqrt(start) * (math.sqrt(stop) - math.sqrt(start))
            control = grown / width * drift(x, start)
        moved = (control.detach() if detached else control) + z
        energy = control.square().flatten(1).sum(1) / 2
        x = x + width * moved
        yield (control * moved).flatten(1).sum(1) - energy, energy, x
