"""A learned sampler as a scheduler inside diffusers' pipelines.

Needs diffusers; ``import companion.samplers`` does not load this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from diffusers.configuration_utils import register_to_config
from torch import Tensor

from companion import checks
from companion.samplers.diffusers_scheduler import GradientEstimationScheduler
from companion.samplers.learned import LearnedSampler, leave

__all__ = ["LearnedScheduler"]


class LearnedScheduler(GradientEstimationScheduler):
    """A ``LearnedSampler`` as a scheduler: ``LearnedScheduler.from_learned(sampler, config)``.

    The pipeline is then called with ``num_inference_steps=sampler.steps``. Its levels must be ones
    that the network was trained for: learn with ``sigma_max`` at most the largest of them. A
    pipeline that starts in the middle begins with a step of DDIM.

    Parameters
    ----------
    learned_sigmas, learned_weights, learned_second
        Those of the sampler.
    num_train_timesteps, others
        As of ``GradientEstimationScheduler``.

    Raises
    ------
    TypeError, ValueError
        If a setting is none of these, or cannot be honoured.
    """

    _steps_by_clean = True

    @register_to_config
    def __init__(
        self,
        learned_sigmas: Sequence[float] = (10.0, 1.0),
        learned_weights: Sequence[float] = (0.0, 0.0),
        learned_second: Sequence[float] = (),
        num_train_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        prediction_type: str = "epsilon",
        rescale_betas_zero_snr: bool = False,
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
    ):
        self._learned = LearnedSampler(
            tuple(learned_sigmas), tuple(learned_weights), tuple(learned_second)
        )
        super().__init__(
            num_train_timesteps,
            beta_start,
            beta_end,
            beta_schedule,
            trained_betas,
            prediction_type,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
            clip_sample=clip_sample,
            clip_sample_range=clip_sample_range,
            thresholding=thresholding,
            dynamic_thresholding_ratio=dynamic_thresholding_ratio,
            sample_max_value=sample_max_value,
        )
        self._answers: list[Tensor] = []

    @classmethod
    def from_learned(cls, sampler: LearnedSampler, config: Any, **settings: Any):
        """Make one from a learned sampler and the config of the pipeline's scheduler.

        Parameters
        ----------
        sampler : LearnedSampler
        config : such as ``pipe.scheduler.config``
        **settings : as ``from_config`` takes them
        """
        checks.instance("sampler", sampler, LearnedSampler, "a LearnedSampler")
        return cls.from_config(
            config,
            learned_sigmas=sampler.sigmas,
            learned_weights=sampler.weights,
            learned_second=sampler.second,
            **settings,
        )

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        timesteps: Any = None,
    ) -> None:
        """Start afresh on the levels that were learned.

        Parameters
        ----------
        num_inference_steps : int
            That of the sampler; a pipeline passes it on.
        device : device of ``timesteps``, optional
        sigmas, timesteps : not allowed: the levels are learned

        Raises
        ------
        ValueError
            If the number is another one, or levels are given.
        """
        steps = self._learned.steps
        if sigmas is not None or timesteps is not None:
            raise ValueError("sigmas, timesteps: got levels; allowed are the learned ones alone")
        if num_inference_steps != steps:
            raise ValueError(
                f"num_inference_steps: got {num_inference_steps}; allowed is {steps}, for which "
                "this sampler was learned"
            )
        super().set_timesteps(device=device, sigmas=[*self._learned.sigmas, 0.0])
        self._answers = []

    def _leave(self, index: int, z: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        sigma, below = self.sigmas[index], self.sigmas[index + 1]
        self._answers = [clean, *self._answers[:2]]
        state = leave(self._learned, index, z * math.sqrt(1 + sigma**2), self._answers)
        return state / math.sqrt(1 + below**2)
