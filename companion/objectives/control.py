"""Objectives for a density that can only be evaluated: what a drift is trained for without data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from companion import checks
from companion.denoisers import Denoiser
from companion.noise import Generator
from companion.objectives.denoising import check_batch
from companion.samplers.foellmer import (
    FORMS,
    Controlled,
    LogDensity,
    ask_density,
    check_times,
    controlled,
    log_normal,
)

__all__ = ["LogVariance", "ReverseKL"]


@dataclass(frozen=True)
class ReverseKL:
    """Reverse KL divergence of controlled paths, up to ln Z (eq-fo-reverse-kl).

    ``E[ sum |c|^2 / 2 + log N(X_1; 0, I) - log gamma(X_1) ]`` over paths of the drift itself, with
    ``c`` the control of a step in units of its noise. The least value is ``-ln Z``. It is the loss
    of the path integral sampler (Zhang & Chen 2022) for ``form="pinned"``, and that of denoising
    diffusion samplers (Vargas et al. 2023) for ``form="variance_preserving"``. It never sees what
    its paths do not reach, so it may miss modes.

    Parameters
    ----------
    log_density : function, (B, d) -> (B,)
        Log of the unnormalised density; differentiable. One evaluation with its gradient a path.
    times : (N + 1,) tensor, rising from 0 to 1; see ``samplers.foellmer_times``
    form : {"pinned", "variance_preserving"}
        As in ``samplers.controlled`` (default "pinned").

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    log_density: LogDensity
    times: Tensor
    form: str = "pinned"

    def __post_init__(self):
        _check(self)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each path, (B,); of ``batch`` (B, d) only the shape counts."""
        paths = _paths(self, denoiser, batch, generator, detached=False)
        return paths.energy + log_normal(paths.x) - ask_density(self.log_density, paths.x)


@dataclass(frozen=True)
class LogVariance:
    """Variance of the log weights of paths, which are held fixed (eq-fo-log-variance).

    It is 0 exactly for the optimal drift, whatever the paths are, and needs no gradient of the
    density. Source: Nüsken & Richter 2021; Richter & Berner 2024, *Improved sampling via learned
    diffusions*.

    Parameters
    ----------
    log_density, times, form : as of ``ReverseKL``
        One evaluation a path, without gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    log_density: LogDensity
    times: Tensor
    form: str = "pinned"

    def __post_init__(self):
        _check(self)

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Squared deviation of each path's log weight from the mean of its run, (B,).

        Runs are told apart by their generators. Of ``batch`` (B, d) only the shape counts.
        """
        paths = _paths(self, denoiser, batch, generator, detached=True)
        runs = len(generator) if isinstance(generator, Sequence) else 1
        logs = paths.log_weights(self.log_density).view(runs, -1)
        return (logs - logs.mean(1, keepdim=True)).square().flatten()


def _check(objective: ReverseKL | LogVariance) -> None:
    checks.function("log_density", objective.log_density)
    check_times(objective.times)
    checks.choice("form", objective.form, FORMS)


def _paths(
    objective: ReverseKL | LogVariance,
    denoiser: Denoiser,
    batch: Tensor,
    generator: Generator,
    detached: bool,
) -> Controlled:
    checks.function("denoiser", denoiser)
    check_batch(batch, generator)
    start = torch.zeros_like(batch)
    return controlled(
        denoiser, start, objective.times, form=objective.form, detached=detached,
        generator=generator,
    )  # fmt: skip
