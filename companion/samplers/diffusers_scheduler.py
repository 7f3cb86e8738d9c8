"""Gradient estimation inside diffusers' pipelines, and diffusers' schedulers as samplers here.

Needs diffusers; ``import companion.samplers`` does not load this file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerOutput
from torch import Tensor

from companion.denoisers import Denoiser
from companion.noise import (
    check_sigmas,
    ddpm_alphas_cumprod,
    log_linear,
    sigmas_from_alphas_cumprod,
)
from companion.noise.schedules import interpolate
from companion.samplers.sequential import Callback, Step, check_state

__all__ = ["GradientEstimationScheduler", "from_scheduler"]


class GradientEstimationScheduler(SchedulerMixin, ConfigMixin):
    """Gradient estimation (eq-gradient-estimation) as a scheduler for diffusers' pipelines.

    ``pipe.scheduler = GradientEstimationScheduler.from_config(pipe.scheduler.config)``. The state
    that ``step`` takes and returns is variance-preserving, as with diffusers' DDIM. Noise levels
    are log-linear between ``sigma_max`` and ``sigma_min``, then 0; timesteps are fractional.

    Parameters
    ----------
    num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas
        The schedule that the network was trained with, as in diffusers.
    prediction_type : {"epsilon", "v_prediction", "sample"}
        What the network predicts (default "epsilon").
    gamma : float
        Weight of the present direction (default 2, the paper's choice; 1 is DDIM).
    sigma_max, sigma_min : float, optional
        Largest and smallest positive level (default: at most 40, and the smallest trained level).
    """

    config: Any  # the arguments below, as ConfigMixin keeps them
    _compatibles = [e.name for e in KarrasDiffusionSchedulers]  # noqa: RUF012
    order = 1
    init_noise_sigma = 1.0

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        prediction_type: str = "epsilon",
        gamma: float = 2.0,
        sigma_max: float | None = None,
        sigma_min: float | None = None,
    ):
        allowed = ("epsilon", "v_prediction", "sample")
        if prediction_type not in allowed:
            raise ValueError(f"prediction_type: got {prediction_type!r}; allowed are {allowed}")
        power = {"linear": 1.0, "scaled_linear": 0.5}.get(beta_schedule)
        if trained_betas is not None:
            self.alphas_cumprod = (1 - torch.tensor(trained_betas, dtype=torch.float64)).cumprod(0)
        elif power == 1.0:
            self.alphas_cumprod = ddpm_alphas_cumprod(num_train_timesteps, beta_start, beta_end)
        elif power is not None:
            ends = (beta_start**power, beta_end**power, num_train_timesteps)
            betas = torch.linspace(*ends, dtype=torch.float64) ** (1 / power)
            self.alphas_cumprod = (1 - betas).cumprod(0)
        else:
            raise ValueError(
                f"beta_schedule: got {beta_schedule!r}; allowed are 'linear' and 'scaled_linear', "
                "or give trained_betas"
            )
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.sigmas: list[float] = []

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Tensor | Sequence[float] | None = None,
    ) -> None:
        """Choose the levels to visit: so many log-linear ones, or ``sigmas`` with its last 0."""
        train = sigmas_from_alphas_cumprod(self.alphas_cumprod)
        if sigmas is None:
            if num_inference_steps is None:
                raise ValueError("num_inference_steps: allowed is a number, or give sigmas")
            high = self.config.sigma_max or min(40.0, float(train[-1]))
            sigmas = log_linear(num_inference_steps, high, self.config.sigma_min or float(train[0]))
        self.sigmas = check_sigmas(sigmas)
        levels = torch.tensor(self.sigmas[:-1], dtype=torch.float64)
        if levels[0] > train[-1] * 1.001:
            raise ValueError(f"sigmas: got {self.sigmas[0]:g}; trained are up to {train[-1]:g}")
        self.timesteps = interpolate(levels.log(), train.log()).float().to(device)
        self.num_inference_steps = len(self.timesteps)
        self._index = 0
        self._before: Tensor | None = None

    def scale_model_input(self, sample: Tensor, *_: Any) -> Tensor:
        """Return ``sample``: the network is fed the state as it is."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        return_dict: bool = True,
        **_: Any,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One step down from the variance-preserving state ``sample``; levels go in order."""
        sigma, below = self.sigmas[self._index], self.sigmas[self._index + 1]
        scale = math.sqrt(1 + sigma**2)
        kind, eps = self.config.prediction_type, model_output
        if kind == "v_prediction":
            eps = (model_output + sigma * sample) / scale
        elif kind == "sample":
            eps = (scale * sample - model_output) / sigma
        gamma = self.config.gamma
        direction = eps if self._before is None else torch.lerp(self._before, eps, gamma)
        x = scale * sample + (below - sigma) * direction
        self._index, self._before = self._index + 1, eps
        previous = x / math.sqrt(1 + below**2)
        return SchedulerOutput(prev_sample=previous) if return_dict else (previous,)

    def __len__(self) -> int:
        return self.config.num_train_timesteps


def from_scheduler(scheduler: type, **config: Any) -> Callable[..., Tensor]:
    """Make a sampler of this module's signature from a class of diffusers' schedulers.

    The scheduler takes exactly the levels that it is given, not the nearest of a trained grid, and
    exactly one evaluation a level. Where the last level is 0, the last step is the denoiser's
    answer, which is what these schedulers do there themselves, if they know the level 0 at all.

    Parameters
    ----------
    scheduler : class, such as ``DDIMScheduler``, ``DPMSolverMultistepScheduler``,
        ``UniPCMultistepScheduler`` or ``DEISMultistepScheduler``
    **config : settings for its constructor, such as ``solver_order=3``

    Returns
    -------
    sampler(denoiser, x, sigmas, *, callback=None), as ``samplers.ddim``
    """
    known = {"prediction_type": "sample", "timestep_spacing": "trailing", **config}
    if "clip_sample" in inspect.signature(scheduler).parameters:  # on by default in DDIM's
        known.setdefault("clip_sample", False)

    @torch.no_grad()
    def sampler(
        denoiser: Denoiser, x: Tensor, sigmas: Tensor, *, callback: Callback | None = None
    ) -> Tensor:
        check_state(x)
        levels = check_sigmas(sigmas)
        steps = len(levels) - 1
        stepper = _at_levels(scheduler, levels, known)
        z = x / math.sqrt(1 + levels[0] ** 2)
        for i, t in enumerate(stepper.timesteps):
            x = z * math.sqrt(1 + levels[i] ** 2)
            denoised = denoiser(x, levels[i])
            if callback is not None:
                callback(Step(i, levels[i], x, denoised))
            if i == steps - 1 and levels[-1] == 0:
                return denoised
            z = stepper.step(denoised, t, z, return_dict=False)[0]
        return z * math.sqrt(1 + levels[-1] ** 2)

    return sampler


def _at_levels(scheduler: type, levels: list[float], config: dict[str, Any]) -> Any:
    """A scheduler whose training schedule is ``levels``, so that it visits each of them once."""
    steps = len(levels) - 1
    visited = torch.tensor(levels[:-1], dtype=torch.float64)
    alphas_cumprod = (1 / (1 + visited**2)).flip(0)
    betas = 1 - alphas_cumprod / torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    made = scheduler(num_train_timesteps=steps, trained_betas=betas.tolist(), **config)
    made.set_timesteps(steps)
    # The constructor and set_timesteps round to float32: hand over the levels themselves.
    made.alphas_cumprod = alphas_cumprod
    made.final_alpha_cumprod = torch.tensor(1 / (1 + levels[-1] ** 2), dtype=torch.float64)
    if hasattr(made, "sigmas"):
        made.sigmas = torch.tensor(levels)
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(0)
    return made
