"""Settings of the scheduler for diffusers: what each may be, and which of others it honours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from diffusers import DDPMScheduler
from torch import Tensor

from companion import checks

SPACINGS = ("log_linear", "leading", "linspace", "trailing")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid")
PREDICTIONS = ("epsilon", "v_prediction", "sample")

HONOURED = ("clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio",
    "sample_max_value", "timestep_spacing", "steps_offset", "set_alpha_to_one")  # fmt: skip
"""Settings that are taken over by ``from_config`` even where they are their class's defaults."""

NEUTRAL = {
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "final_sigmas_type": ("zero", None),
    "interpolation_type": ("linear", None),
    "timestep_type": ("discrete", None),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", None),
}
"""Settings of other schedulers that are not supported, each with what it may be."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Raise if a setting of ``GradientEstimationScheduler`` is not as its documentation says.

    Raises
    ------
    TypeError, ValueError
        The message names the setting.
    """
    choices = {
        "prediction_type": PREDICTIONS, "timestep_spacing": SPACINGS, "beta_schedule": BETAS,
    }  # fmt: skip
    for name, allowed in choices.items():
        checks.choice(name, config[name], allowed)
    checks.whole("num_train_timesteps", config["num_train_timesteps"], 2)
    checks.whole("steps_offset", config["steps_offset"], 0)
    checks.number("beta_start", config["beta_start"], at_least=0, below=1)
    checks.number("beta_end", config["beta_end"], above=0, below=1)
    if config["trained_betas"] is not None:
        checks.numbers("trained_betas", config["trained_betas"], at_least=0, at_most=1)
    checks.number("gamma", config["gamma"])
    for name in ("clip_sample_range", "sample_max_value"):
        checks.number(name, config[name], above=0)
    checks.number(
        "dynamic_thresholding_ratio", config["dynamic_thresholding_ratio"], above=0, at_most=1
    )
    given = [name for name in ("sigma_max", "sigma_min") if config[name] is not None]
    for name in given:
        checks.number(name, config[name], above=0)
    if given and config["timestep_spacing"] != "log_linear":
        raise ValueError(
            f"timestep_spacing: got {config['timestep_spacing']!r} with sigma_max or sigma_min; "
            "allowed with them is 'log_linear'"
        )


@lru_cache(maxsize=8)
def trained(*schedule: Any, **settings: Any) -> tuple[Any, Tensor, Tensor]:
    """Diffusers' scheduler of a training schedule, its products of alphas, and its levels."""
    train: Any = DDPMScheduler(*schedule, **settings)
    alphas_cumprod = (1 - train.betas.double()).cumprod(0)
    return train, alphas_cumprod, ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
