"""The samplers that are compared, with every setting that they may try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from companion import noise, samplers

__all__ = [
    "METHODS",
    "OFFICIAL",
    "PEERS",
    "RIVALS",
    "SHAPES",
    "SIGMA_MAX",
    "Sampler",
    "gradient_estimation",
    "official",
    "schedule",
    "variants",
]

Sampler = Callable[..., Tensor]

RIVALS = ("dpm", "unipc", "deis")
"""Samplers of second order and more, of diffusers."""

PEERS = ("ddim", "heun", *RIVALS)
METHODS = ("ddim", "heun", "gradient_estimation", "ge-chosen", *RIVALS)

SIGMA_MAX = 40.0
"""Noise level from which the flow is followed."""

SHAPES: dict[str, Callable[..., Tensor]] = {
    "log": noise.log_linear,
    "Karras": noise.karras,
    "even t": noise.ddpm,
}
SMALLEST = {"even t": 0.0101}
"""DDPM's training schedule reaches no lower."""

OFFICIAL = ("DDIM", "DDIM from 40", "log-linear", "EDM")
"""Schedules of the official experiments."""


def gradient_estimation(gamma: float) -> Sampler:
    """Return the sampler with its one number filled in."""
    return partial(samplers.gradient_estimation, gamma=gamma)


def variants(method: str, evaluations: int, gammas: Sequence[float] = ()) -> dict[str, Sampler]:
    """Return the settings to try besides schedules: all that diffusers documents.

    Parameters
    ----------
    method : one of ``METHODS``
    evaluations : int
        The documentation of UniPC recommends another kind of solver below ten.
    gammas : sequence of float
        What "ge-chosen" may choose from.

    Returns
    -------
    dict of sampler by the name of the setting, which is empty where there is only one.
    """
    from diffusers import (
        DEISMultistepScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
    )

    from companion.samplers.diffusers_peers import from_scheduler

    if method == "unipc":
        make = partial(from_scheduler, UniPCMultistepScheduler)
        kinds = ("bh1", "bh2") if evaluations < 10 else ("bh2",)
        return {
            f"{k} {kind}": make(solver_order=k, solver_type=kind) for kind in kinds for k in (2, 3)
        }
    if method == "deis":
        return {str(k): from_scheduler(DEISMultistepScheduler, solver_order=k) for k in (2, 3)}
    if method == "ge-chosen":
        return {f"γ {g:g}": gradient_estimation(g) for g in gammas}
    single: dict[str, Sampler] = {
        "ddim": samplers.ddim,
        "heun": samplers.heun,
        "gradient_estimation": gradient_estimation(2.0),
        "dpm": from_scheduler(DPMSolverMultistepScheduler),
    }
    if method not in single:
        raise ValueError(f"method: got {method!r}; allowed are {', '.join(map(repr, METHODS))}")
    return {"": single[method]}


def schedule(method: str, evaluations: int, shape: str, high: float, low: float) -> Tensor:
    """Return noise levels from ``high`` to ``low`` and 0, as many as the evaluations allow."""
    steps = (evaluations + 1) // 2 if method == "heun" else evaluations
    return SHAPES[shape](steps, high, max(low, SMALLEST.get(shape, 0.0)))


def official(name: str, steps: int) -> Tensor:
    """Return a schedule of the official experiments; they end at 0.01, not at 0.

    Parameters
    ----------
    name : {"DDIM", "DDIM from 40", "log-linear", "EDM"}
    steps : int
    """
    even = noise.ddpm(steps, final_zero=False)
    if name == "DDIM":
        return even
    if name == "DDIM from 40":
        return noise.ddpm(steps, sigma_max=40.0, final_zero=False)
    if name == "EDM":
        return noise.karras(steps, 80.0, 0.01, final_zero=False)
    low = float((even[-2] * even[-1]).sqrt())
    most = noise.log_linear(steps - 1, 40.0, low, final_zero=False)
    return torch.cat([most, even[-1:]])
