"""Schedulers of diffusers as samplers of this module's signature, for comparisons.

Needs diffusers; ``import companion.samplers`` does not load this file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    DDIMParallelScheduler,
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.noise import check_sigmas
from companion.samplers.sequential import Callback, Step

__all__ = ["from_scheduler"]

PRESERVING = (
    DDIMScheduler,
    DDIMParallelScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
    DEISMultistepScheduler,
)
"""Schedulers whose state is variance-preserving, with one evaluation a level and no randomness."""

EXPLODING = (EulerDiscreteScheduler,)
"""Schedulers whose state is the one of this book, variance-exploding."""

SCHEDULES = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "num_train_timesteps",
    "rescale_betas_zero_snr", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
    "use_flow_sigmas", "use_lu_lambdas", "final_sigmas_type", "timestep_spacing",
    "prediction_type", "timestep_type", "sigma_min", "sigma_max")  # fmt: skip
"""Settings of the constructor that choose levels, which here are those of each call."""


def from_scheduler(scheduler: type, **config: Any) -> Callable[..., Tensor]:
    """Make a sampler of this module's signature from a class of diffusers' schedulers.

    The scheduler takes exactly the levels that it is given, not the nearest of a trained grid, and
    exactly one evaluation a level. Where the last level is 0, the last step is the denoiser's
    answer, which is what these schedulers do there themselves, if they know the level 0 at all.

    Parameters
    ----------
    scheduler : class
        ``DDIMScheduler``, ``DPMSolverMultistepScheduler``, ``UniPCMultistepScheduler``,
        ``DEISMultistepScheduler`` or ``EulerDiscreteScheduler``.
    **config : settings for its constructor, such as ``solver_order=3``
        Not those that choose levels.

    Returns
    -------
    sampler(denoiser, x, sigmas, *, callback=None), as ``samplers.ddim``

    Raises
    ------
    TypeError
        If ``scheduler`` is none of these classes, or a setting is none of its own.
    """
    if not (isinstance(scheduler, type) and issubclass(scheduler, PRESERVING + EXPLODING)):
        names = ", ".join(c.__name__ for c in PRESERVING + EXPLODING)
        raise TypeError(
            f"scheduler: got {getattr(scheduler, '__name__', scheduler)!r}; allowed are {names} "
            "(one evaluation a level, no randomness, and a state that is known)"
        )
    options = inspect.signature(scheduler).parameters
    wrong = [key for key in config if key not in options or key in SCHEDULES]
    if wrong:
        allowed = ", ".join(key for key in options if key not in SCHEDULES)
        raise TypeError(
            f"{wrong[0]}: not a setting of {scheduler.__name__} here; allowed: {allowed}"
        )
    settings = {"prediction_type": "sample", "timestep_spacing": "trailing", **config}
    if "clip_sample" in options:  # on by default in DDIM's
        settings.setdefault("clip_sample", False)
    preserving = issubclass(scheduler, PRESERVING)

    @torch.no_grad()
    def sampler(
        denoiser: Denoiser, x: Tensor, sigmas: Tensor, *, callback: Callback | None = None
    ) -> Tensor:
        checks.batch("x", x)
        if callback is not None:
            checks.function("callback", callback)
        levels = check_sigmas(sigmas)
        steps = len(levels) - 1
        stepper = _at_levels(scheduler, levels, settings)
        scales = [math.sqrt(1 + level**2) if preserving else 1.0 for level in levels]
        z = x / scales[0]
        for i, t in enumerate(stepper.timesteps):
            x = z * scales[i]
            denoised = denoise(denoiser, x, levels[i])
            if callback is not None:
                callback(Step(i, levels[i], x, denoised))
            if i == steps - 1 and levels[-1] == 0:
                return denoised
            z = stepper.step(denoised, t, z, return_dict=False)[0]
        return z * scales[-1]

    return sampler


def _at_levels(scheduler: type, levels: list[float], config: dict[str, Any]) -> Any:
    """A scheduler whose training schedule is ``levels``, so that it visits each of them once."""
    steps = len(levels) - 1
    visited = torch.tensor(levels[:-1], dtype=torch.float64)
    alphas_cumprod = (1 / (1 + visited**2)).flip(0)
    betas = 1 - alphas_cumprod / torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    instance = scheduler(num_train_timesteps=steps, trained_betas=betas.tolist(), **config)
    instance.set_timesteps(steps)
    # The constructor and set_timesteps round to float32: hand over the levels themselves.
    instance.alphas_cumprod = alphas_cumprod
    instance.final_alpha_cumprod = torch.tensor(1 / (1 + levels[-1] ** 2), dtype=torch.float64)
    if hasattr(instance, "sigmas"):
        instance.sigmas = torch.tensor(levels)
    if hasattr(instance, "set_begin_index"):
        instance.set_begin_index(0)
    instance.is_scale_input_called = True  # the state is scaled here
    return instance
