"""Samplers: from a noisy state down to data, one function each, one signature for all.

``x`` is the state at ``sigmas[0]`` (for a wide enough ``sigmas[0]``: ``sigmas[0] * eps``), and what
comes back is the state at ``sigmas[-1]``. No sampler seeds, or uses global random state where a
``generator`` is given.
"""

from companion.samplers.foellmer import (
    Controlled,
    controlled,
    foellmer,
    foellmer_from_density,
    foellmer_times,
    monte_carlo_drift,
)
from companion.samplers.learned import LearnedSampler
from companion.samplers.learning import learn
from companion.samplers.multistep import deis, dpmpp_2m, dpmpp_3m, unipc
from companion.samplers.parallel import PicardIteration, picard
from companion.samplers.sequential import (
    Start,
    Step,
    ddim,
    ddpm,
    gradient_estimation,
    heun,
    partway,
    trajectory,
)

__all__ = [
    "Controlled",
    "LearnedSampler",
    "PicardIteration",
    "Start",
    "Step",
    "controlled",
    "ddim",
    "ddpm",
    "deis",
    "dpmpp_2m",
    "dpmpp_3m",
    "foellmer",
    "foellmer_from_density",
    "foellmer_times",
    "gradient_estimation",
    "heun",
    "learn",
    "monte_carlo_drift",
    "partway",
    "picard",
    "trajectory",
    "unipc",
]
