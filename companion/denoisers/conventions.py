"""Models of other conventions as denoisers: variance preserving, log-SNR, flow matching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from companion import checks
from companion.noise import expand, log_snr

__all__ = ["from_flow_matching", "from_log_snr", "from_variance_preserving"]

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Adapted(nn.Module):
    """A model of another convention as a denoiser; made by the functions of this file.

    Parameters
    ----------
    model : module or function
        Called as ``model(state, time)``, with ``class_labels=labels`` where labels are given.
    state : function (x, sigma) -> the model's state, (B, *shape)
    time : function sigma -> the model's time; ``sigma`` is (B,)
    answer : function (x, sigma, output) -> D(x, sigma), (B, *shape)
    """

    def __init__(self, model: Any, state: Callable, time: Callable, answer: Callable):
        super().__init__()
        self.model = checks.function("model", model)
        self.state, self.time = checks.function("state", state), checks.function("time", time)
        self.answer = checks.function("answer", answer)

    def forward(
        self, x: Tensor, sigma: Tensor | float, class_labels: Tensor | None = None
    ) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape), of ``class_labels`` (B,) if given."""
        checks.batch("x", x)
        level = torch.as_tensor(expand(sigma, x), dtype=x.dtype, device=x.device)
        each = level.flatten().expand(len(x))
        level = each.reshape(-1, *[1] * (x.ndim - 1))
        given = {}
        if class_labels is not None:
            given["class_labels"] = checks.labels("class_labels", class_labels)
        output = self.model(self.state(x, level), self.time(each), **given)
        return self.answer(x, level, checks.answer("model", output, x))


def from_flow_matching(model: Any) -> Adapted:
    """Make a denoiser of a model of flow matching (rectified flow).

    Its state is ``x_t = (1 - t) x_0 + t eps`` with ``t`` from 0 (data) to 1 (noise), and it returns
    the velocity ``v = eps - x_0``. The state is ours over ``1 + sigma``, at
    ``sigma = t / (1 - t)``, and ``D(x, sigma) = x_t - t v``. Source: Lipman et al. 2023, Liu et al.
    2023; some write ``1 - t`` for this ``t``, and then ``-v`` for ``v``.

    Parameters
    ----------
    model : module or function
        Called as ``model(x_t, t)`` with ``x_t`` (B, *shape) and ``t`` (B,) from 0 to 1, below 1;
        returns ``v`` (B, *shape).

    Returns
    -------
    Adapted, a denoiser

    Raises
    ------
    TypeError
        If ``model`` cannot be called.
    ValueError
        When it is asked, if the answer is no tensor of the shape of ``x``.

    Examples
    --------
    >>> denoiser = from_flow_matching(lambda x, t: torch.zeros_like(x))
    >>> denoiser(torch.ones(2, 3), 1.0)[0]
    tensor([0.5000, 0.5000, 0.5000])
    """
    return Adapted(
        model,
        state=lambda x, sigma: x / (1 + sigma),
        time=lambda sigma: sigma / (1 + sigma),
        answer=lambda x, sigma, v: (x - sigma * v) / (1 + sigma),
    )


def from_variance_preserving(model: Any, prediction_type: str = "epsilon") -> Adapted:
    """Make a denoiser of a variance-preserving model that is asked at a level, not a timestep.

    Its state is ``z = sqrt(a) x_0 + sqrt(1 - a) eps`` (eq-vp), with ``a = 1 / (1 + sigma^2)``, the
    share of signal. ``from_diffusers`` is for models that are asked at timesteps.

    Parameters
    ----------
    model : module or function
        Called as ``model(z, a)`` with ``z`` (B, *shape) and ``a`` (B,), above 0, at most 1.
    prediction_type : {"epsilon", "v_prediction", "sample"}
        What it returns, (B, *shape): the noise (default), ``sqrt(a) eps - sqrt(1 - a) x_0``, or
        the clean sample.

    Returns
    -------
    Adapted, a denoiser

    Raises
    ------
    TypeError, ValueError
        As of ``from_flow_matching``; also if ``prediction_type`` is unknown.
    """
    answer = _prediction(prediction_type)
    return Adapted(model, _variance_preserving, lambda sigma: 1 / (1 + sigma**2), answer)


def from_log_snr(model: Any, prediction_type: str = "epsilon") -> Adapted:
    """Make a denoiser of a variance-preserving model that is asked at a log-SNR.

    Its state is that of ``from_variance_preserving``, its time the log signal-to-noise ratio
    ``alpha = -2 ln sigma`` (eq-log-snr). So ``sigma`` must be above 0. Source: Kong et al. 2023.

    Parameters
    ----------
    model : module or function
        Called as ``model(z, alpha)`` with ``z`` (B, *shape) and ``alpha`` (B,).
    prediction_type : as of ``from_variance_preserving``

    Returns
    -------
    Adapted, a denoiser

    Raises
    ------
    TypeError, ValueError
        As of ``from_variance_preserving``.
    """
    return Adapted(model, _variance_preserving, log_snr, _prediction(prediction_type))


def _variance_preserving(x: Tensor, sigma: Tensor) -> Tensor:
    return x * (1 + sigma**2) ** -0.5


def _prediction(prediction_type: str) -> Callable:
    """Return how the denoiser follows from the output of a variance-preserving model."""
    checks.choice("prediction_type", prediction_type, PREDICTIONS)
    if prediction_type == "epsilon":
        return lambda x, sigma, eps: x - sigma * eps
    if prediction_type == "sample":
        return lambda x, sigma, clean: clean
    return lambda x, sigma, v: x / (1 + sigma**2) - sigma * v * (1 + sigma**2) ** -0.5
