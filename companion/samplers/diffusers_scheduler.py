"""Gradient estimation as a scheduler inside diffusers' pipelines.

Needs diffusers; ``import companion.samplers`` does not load this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from torch import Tensor

from companion import checks
from companion.noise import check_sigmas, log_linear
from companion.noise.schedules import interpolate
from companion.samplers.diffusers_peers import from_scheduler
from companion.samplers.diffusers_settings import HONOURED, NEUTRAL, check_settings, trained

__all__ = ["GradientEstimationScheduler", "from_scheduler"]


class GradientEstimationScheduler(SchedulerMixin, ConfigMixin):
    """Gradient estimation (eq-gradient-estimation) as a scheduler for diffusers' pipelines.

    ``pipe.scheduler = GradientEstimationScheduler.from_config(pipe.scheduler.config,
    timestep_spacing="log_linear")``. The state that ``step`` takes and returns is
    variance-preserving, as with diffusers' DDIM. Start and mask of img2img and inpainting
    pipelines work as with diffusers' own schedulers.

    Parameters
    ----------
    num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas
        The schedule that the network was trained with, as in diffusers.
    rescale_betas_zero_snr
        Whether that schedule was rescaled to end in pure noise, as in diffusers.
    prediction_type : {"epsilon", "v_prediction", "sample"}
        What the network predicts (default "epsilon").
    gamma : float
        Weight of the present direction (default 2, the paper's choice; 1 is DDIM).
    timestep_spacing : {"log_linear", "leading", "linspace", "trailing"}
        How the levels are chosen: log-linear in the noise level, as in the paper (default), with
        fractional timesteps; or as diffusers' DDIM chooses them.
    sigma_max, sigma_min : float, optional
        Largest and smallest positive level of "log_linear" (default: at most 40, and the smallest
        trained level).
    steps_offset : int
        Added to the timesteps of "leading" (default 0).
    set_alpha_to_one : bool
        Whether the last level is 0 (default), or the smallest trained one.
    clip_sample, clip_sample_range, thresholding, dynamic_thresholding_ratio, sample_max_value
        Whether and how the predicted clean sample is clipped, as in diffusers' DDPM: the direction
        is that of the clipped prediction. Default: not at all.

    Raises
    ------
    TypeError, ValueError
        If a setting is none of these, or cannot be honoured; ``from_config`` names it.
    """

    config: Any  # the arguments below, as ConfigMixin keeps them
    _compatibles = [e.name for e in KarrasDiffusionSchedulers]  # noqa: RUF012
    order = 1
    init_noise_sigma = 1.0
    _steps_by_clean = False  # whether a step needs the predicted clean sample

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
        timestep_spacing: str = "log_linear",
        steps_offset: int = 0,
        set_alpha_to_one: bool = True,
        rescale_betas_zero_snr: bool = False,
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
    ):
        check_settings(self.config)
        betas = trained_betas if trained_betas is None else tuple(map(float, trained_betas))
        schedule = (num_train_timesteps, beta_start, beta_end, beta_schedule, betas)
        self._train, alphas_cumprod, self._levels = trained(
            *schedule,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
            thresholding=thresholding,
            dynamic_thresholding_ratio=dynamic_thresholding_ratio,
            sample_max_value=sample_max_value,
        )
        self.alphas_cumprod = alphas_cumprod.clone()
        self.timesteps = torch.arange(len(self._levels) - 1, -1, -1)
        self.num_inference_steps: int | None = None
        self.sigmas: list[float] = []
        self._begin: int | None = None
        self._index: int | None = None

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any):
        """Make one with the settings of another scheduler.

        Raises
        ------
        ValueError
            If a setting changes what the other one does and is not supported here. Give another
            value for it, such as ``use_karras_sigmas=False``, to go on without it.
        """
        if isinstance(config, Mapping):
            settings = {**config, **kwargs}
            name = settings.get("_class_name", cls.__name__)
            if "beta_schedule" not in config and "trained_betas" not in config:
                raise ValueError(
                    f"config: got no beta_schedule, only {', '.join(config)}; allowed is the "
                    "config of a variance-preserving scheduler"
                )
            if name not in (cls.__name__, *cls._compatibles):
                raise ValueError(
                    f"config: got one of {name}; allowed are those of {', '.join(cls._compatibles)}"
                )
            for key, allowed in NEUTRAL.items():
                if settings.get(key) not in allowed:
                    raise ValueError(
                        f"{key}: got {settings[key]!r}, which is not supported; from_config(..., "
                        f"{key}={allowed[0]!r}) goes on without it"
                    )
            kwargs = {k: v for k, v in kwargs.items() if k not in NEUTRAL}
            for key in HONOURED:  # diffusers forgets settings that were defaults of their class
                if key in config:
                    kwargs.setdefault(key, config[key])
        return super().from_config(config, return_unused_kwargs, **kwargs)

    # --- levels

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Tensor | Sequence[float] | None = None,
        timesteps: Tensor | Sequence[float] | None = None,
    ) -> None:
        """Choose the levels to visit, and start afresh.

        Parameters
        ----------
        num_inference_steps : int, optional; levels spaced as ``timestep_spacing`` says
        device : device of ``timesteps``, optional
        sigmas : decreasing noise levels, optional; the last one is where the last step ends
        timesteps : decreasing training timesteps, optional; fractions allowed
        """
        if [num_inference_steps, sigmas, timesteps].count(None) != 2:
            raise ValueError(
                "num_inference_steps, sigmas, timesteps: allowed is exactly one of the three"
            )
        grid = self._levels[self._levels.isfinite()]
        if timesteps is None and sigmas is None:
            steps = checks.whole("num_inference_steps", num_inference_steps, 1)
            if self.config.timestep_spacing == "log_linear":
                high = self.config.sigma_max or min(40.0, float(grid[-1]))
                low = self.config.sigma_min or float(grid[0])
                sigmas = log_linear(steps, high, low, final_zero=self.config.set_alpha_to_one)
            else:
                timesteps = self._spaced(steps)
        if timesteps is not None:
            last = len(self._levels) - 1
            given = timesteps.tolist() if isinstance(timesteps, Tensor) else timesteps
            times = torch.tensor(
                checks.numbers("timesteps", given, at_least=0, at_most=last), dtype=torch.float64
            )
            if (times.diff() >= 0).any():
                raise ValueError(
                    f"timesteps: got {times.tolist()}; allowed are decreasing ones of {last} to 0"
                )
            end = 0.0 if self.config.set_alpha_to_one else float(grid[0])
            self.sigmas = [*self._level(times).tolist(), end]
            self.timesteps = times.float().to(device)
            if self.sigmas[0] == math.inf and self.config.prediction_type == "epsilon":
                raise ValueError(
                    "prediction_type: got 'epsilon' for a first level without any signal (zero "
                    "terminal SNR); allowed there are 'v_prediction' and 'sample'"
                )
        elif sigmas is not None:
            self.sigmas = check_sigmas(sigmas)
            levels = torch.tensor(self.sigmas[:-1], dtype=torch.float64)
            if levels[0] > grid[-1] * 1.001:
                raise ValueError(f"sigmas: got {self.sigmas[0]:g}; trained are up to {grid[-1]:g}")
            self.timesteps = interpolate(levels.log(), grid.log()).float().to(device)
        self.num_inference_steps = len(self.timesteps)
        self._times: list[float] = self.timesteps.tolist()
        self._begin = self._index = None
        self._before: Tensor | None = None

    def _spaced(self, steps: int) -> list[float]:
        """Timesteps as diffusers' DDIM chooses them."""
        total, spacing = len(self._levels), self.config.timestep_spacing
        if steps > total:
            raise ValueError(f"num_inference_steps: got {steps}; allowed are 1 to {total}")
        if spacing == "linspace":
            return np.linspace(0, total - 1, steps).round()[::-1].tolist()
        if spacing == "leading":
            times = (np.arange(steps) * (total // steps))[::-1] + self.config.steps_offset
            return np.minimum(times, total - 1).tolist()
        return (np.round(np.arange(total, 0, -total / steps)) - 1).tolist()

    def _level(self, timesteps: Tensor) -> Tensor:
        """Noise levels of training timesteps (...), log-linear between whole ones."""
        low = timesteps.floor().long()
        high = (low + 1).clamp_max(len(self._levels) - 1)
        below, above = self._levels[low], self._levels[high]
        between = torch.lerp(below.log(), above.log(), timesteps - low).exp()
        return torch.where(timesteps == low, below, between)

    @property
    def step_index(self) -> int | None:
        """Index of the next step; None before the first one."""
        return self._index

    @property
    def begin_index(self) -> int | None:
        """Index of the first step, if ``set_begin_index`` said so."""
        return self._begin

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Say at which of ``timesteps`` the first step is, as img2img pipelines do."""
        self._require_timesteps()
        self._begin = checks.whole("begin_index", begin_index, 0, len(self.timesteps) - 1)

    def index_for_timestep(self, timestep: Tensor | float) -> int:
        """Index of a timestep in ``timesteps``.

        Raises
        ------
        ValueError
            If it is none of them.
        """
        self._require_timesteps()
        timestep = as_number(timestep)
        at = (self.timesteps.cpu().double() - timestep).abs() < 1e-3
        if not at.any():
            raise ValueError(
                f"timestep: got {timestep:g}; allowed are those of timesteps, "
                f"{self.timesteps[0]:g} to {self.timesteps[-1]:g}"
            )
        return int(at.nonzero()[0])

    def _require_timesteps(self) -> None:
        if self.num_inference_steps is None:
            raise ValueError("no timesteps are set: call set_timesteps first")

    def _position(self, timestep: float) -> int:
        """Index of this step: where ``timestep`` is at the first one, then one after the other."""
        self._require_timesteps()
        index = self._begin if self._index is None else self._index
        if index is None:
            return self.index_for_timestep(timestep)
        if index >= len(self._times):
            raise ValueError(
                f"timestep: got {timestep:g} after the last step; set_timesteps starts anew"
            )
        expected = self._times[index]
        if abs(expected - timestep) > 1e-3:
            raise ValueError(
                f"timestep: got {timestep:g}; allowed is the next one, {expected:g} "
                "(set_timesteps starts anew)"
            )
        return index

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Return ``sample``: the network is fed the state as it is."""
        return checks.tensor("sample", sample)

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor]:
        """One step down from the variance-preserving state ``sample``.

        Parameters
        ----------
        model_output : (B, *shape), what the network answered
        timestep : one of ``timesteps``; the first may be any of them, then they go in order
        sample : (B, *shape), the state
        generator : not used: the step has no randomness
        return_dict : bool

        Returns
        -------
        DDIMSchedulerOutput with ``prev_sample`` and ``pred_original_sample``; without
        ``return_dict`` the tuple of ``prev_sample`` alone, as diffusers' multistep schedulers do

        Raises
        ------
        ValueError
            If ``timestep`` is not the next one, or not on the schedule, or the last was done.
        """
        checks.tensor("sample", sample)
        checks.like("model_output", model_output, sample, "sample")
        checks.generator("generator", generator)
        index = self._position(as_number(timestep))
        dtype = sample.dtype
        half = dtype not in (torch.float32, torch.float64)
        z = sample.float() if half else sample
        output = model_output if model_output.dtype == z.dtype else model_output.to(z.dtype)
        clean, eps = self._predictions(
            output, z, self.sigmas[index], return_dict or self._steps_by_clean
        )
        previous = self._leave(index, z, clean, eps)
        self._index = index + 1
        if half:
            previous = previous.to(dtype)
        if not return_dict:
            return (previous,)
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=clean.to(dtype))

    def _leave(self, index: int, z: Tensor, clean: Any, eps: Tensor) -> Tensor:
        """State at the next level: along the direction from sqrt(1 + sigma^2) z, scaled."""
        sigma, below = self.sigmas[index], self.sigmas[index + 1]
        scale, before = math.sqrt(1 + below**2), self._before
        self._before = eps
        if sigma == math.inf:
            return torch.add(clean, eps, alpha=below).mul_(1 / scale)
        length, gamma = (below - sigma) / scale, self.config.gamma
        state = torch.mul(z, math.sqrt(1 + sigma**2) / scale)
        if before is None:
            return state.add_(eps, alpha=length)
        return state.add_(eps, alpha=length * gamma).add_(before, alpha=length * (1 - gamma))

    def _predictions(
        self, output: Tensor, z: Tensor, sigma: float, with_clean: bool
    ) -> tuple[Any, Tensor]:
        """Clean sample, if it is needed, and noise that the network sees in the state ``z``."""
        kind, clip, threshold = (
            self.config.prediction_type, self.config.clip_sample, self.config.thresholding
        )  # fmt: skip
        if kind == "epsilon" and not (with_clean or clip or threshold):
            return None, output
        signal = 1 / math.sqrt(1 + sigma**2)
        share = 1.0 if sigma == math.inf else sigma * signal
        if kind == "epsilon":
            clean, eps = torch.sub(z, output, alpha=share).mul_(1 / signal), output
        elif kind == "v_prediction":
            clean = torch.mul(z, signal).sub_(output, alpha=share)
            eps = torch.mul(output, signal).add_(z, alpha=share)
        else:
            clean, eps = output, torch.sub(z, output, alpha=signal).mul_(1 / share)
        if not (clip or threshold):
            return clean, eps
        if threshold:
            clean = self._train._threshold_sample(clean)
        else:
            clean = clean.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return clean, torch.sub(z, clean, alpha=signal).mul_(1 / share)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the variance-preserving state of clean samples at training timesteps (B,)."""
        checks.tensor("original_samples", original_samples)
        checks.like("noise", noise, original_samples, "original_samples")
        if not isinstance(timesteps, Tensor):
            timesteps = torch.tensor(checks.numbers("timesteps", timesteps))
        times = timesteps.detach().cpu().double().flatten()
        last = len(self._levels) - 1
        if not ((times >= 0) & (times <= last)).all():
            raise ValueError(f"timesteps: got {times.tolist()}; allowed are those of 0 to {last}")
        variance = 1 / (1 + self._level(times) ** -2)
        shape = (-1, *[1] * (original_samples.ndim - 1))
        signal, share = (
            v.sqrt().to(original_samples).reshape(shape) for v in (1 - variance, variance)
        )
        return signal * original_samples + share * noise

    def __len__(self) -> int:
        return len(self._levels)


def as_number(timestep: Any) -> float:
    """Return a timestep as a number; pipelines hand over tensors of one."""
    if isinstance(timestep, Tensor) and timestep.numel() == 1:
        timestep = timestep.item()  # a check of a tensor would write it out, at each step
    if type(timestep) in (int, float) and math.isfinite(timestep):
        return float(timestep)
    return checks.number("timestep", timestep)
