"""What a denoiser is, how it is read as noise or as score, and how networks become denoisers."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from companion import checks
from companion.noise import expand, sigmas_from_alphas_cumprod
from companion.noise.schedules import interpolate

__all__ = [
    "Clipped",
    "Counted",
    "Denoiser",
    "DiffusersDenoiser",
    "Guided",
    "Noised",
    "Preconditioned",
    "denoise",
    "epsilon",
    "from_diffusers",
    "score",
]


@runtime_checkable
class Denoiser(Protocol):
    """Anything that estimates clean data: ``D(x, sigma) = E[x_0 | x_sigma = x]`` (eq-denoiser).

    ``x`` is (B, *shape); ``sigma`` is a float, a 0-d tensor or (B,); the result is (B, *shape).
    """

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x``."""
        ...


def denoise(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Ask a denoiser, and check what is given to it and what it answers.

    Parameters
    ----------
    denoiser : Denoiser
    x : (B, *shape) floating-point tensor
    sigma : float, 0-d tensor or (B,) tensor

    Returns
    -------
    (B, *shape), the denoiser's answer

    Raises
    ------
    TypeError, ValueError
        If ``denoiser`` cannot be called, ``x`` is no floating-point tensor, or the answer is no
        tensor of its shape.
    """
    checks.function("denoiser", denoiser)
    checks.tensor("x", x)
    answer = denoiser(x, sigma)
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        raise ValueError(
            f"denoiser: got {checks.shown(answer)} as its answer; allowed is a tensor of the "
            f"shape of x, {tuple(x.shape)}"
        )
    return answer


def epsilon(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Noise that the denoiser sees: ``(x - D(x, sigma)) / sigma`` (eq-epsilon), (B, *shape)."""
    return (x - denoise(denoiser, x, sigma)) / expand(sigma, x, positive=True)


def score(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Tweedie's formula, ``(D(x, sigma) - x) / sigma^2 = grad log p_sigma(x)`` (eq-score).

    Source: Efron 2011 (after Robbins 1956); Vincent 2011. Returns (B, *shape).
    """
    return (denoise(denoiser, x, sigma) - x) / expand(sigma, x, positive=True) ** 2


class Noised:
    """The denoiser of data that carry noise already, ``x_0 + t eps`` (eq-nc-composed).

    What is behind a point with noise ``sigma`` on top is found from the same denoiser, asked at
    ``r = sqrt(t^2 + sigma^2)``. The noise that it sees is shared out as the variances are:
    ``D_t(x, sigma) = x - (sigma / r)^2 (x - D(x, r))``. It is exact when the denoiser is.

    Parameters
    ----------
    denoiser : Denoiser
    sigma_noise : float, 0-d tensor or (B,) tensor, 0 or more
        The level ``t`` of the noise already there, in the units of the data.
    """

    def __init__(self, denoiser: Denoiser, sigma_noise: Tensor | float):
        checks.function("denoiser", denoiser)
        checks.level("sigma_noise", sigma_noise)
        self.denoiser, self.sigma_noise = denoiser, sigma_noise

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate ``x_0 + t eps`` behind ``x`` (B, *shape)."""
        s, t = expand(sigma, x), expand(self.sigma_noise, x, name="sigma_noise")
        square = s**2 + t**2
        level = square**0.5
        if isinstance(level, Tensor):
            level = level.flatten() if level.ndim else level
        return x - s**2 / square * (x - denoise(self.denoiser, x, level))


class Preconditioned(nn.Module):
    """A network made into a denoiser by EDM preconditioning (eq-preconditioning).

    ``D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)`` keeps the input and the regression target
    of the network ``F`` at unit variance for every ``sigma``. At ``sigma = 0`` it returns ``x``.
    Source: Karras et al. 2022, eq. 7 and table 1.

    Parameters
    ----------
    network : nn.Module
        Called as ``network(x, c_noise)`` with ``x`` (B, *shape) and ``c_noise`` 0-d or (B,);
        returns (B, *shape).
    sigma_data : float
        Standard deviation of the clean data (default 0.5, the one of EDM's images).
    """

    def __init__(self, network: nn.Module, sigma_data: float = 0.5):
        super().__init__()
        self.network = checks.instance("network", network, nn.Module, "a module")
        self.sigma_data = checks.number("sigma_data", sigma_data, above=0)

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        checks.tensor("x", x)
        s = expand(sigma, x)
        variance = s**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / variance
        c_in = variance**-0.5
        c_out = s * self.sigma_data * c_in
        # The smallest normal float32 stands for sigma = 0, where c_out switches the network off.
        if isinstance(s, Tensor):
            c_noise = s.flatten().clamp_min(1e-38).log() / 4
            c_noise = c_noise[0] if s.ndim == 0 else c_noise
        elif torch.compiler.is_compiling():  # as a tensor, for one graph of all levels
            level = torch.full((), s, dtype=torch.float64, device="cpu")
            c_noise = (level.clamp_min(1e-38).log() / 4).to(x)
        else:
            c_noise = x.new_tensor(math.log(max(s, 1e-38)) / 4)
        return c_skip * x + c_out * self.network(c_in * x, c_noise)

    def extra_repr(self) -> str:
        """Show ``sigma_data`` in the module's text."""
        return f"sigma_data={self.sigma_data}"


class DiffusersDenoiser(nn.Module):
    """A pretrained Hugging Face diffusers model as a denoiser; made by ``from_diffusers``."""

    log_sigmas: Tensor

    def __init__(self, unet: nn.Module, alphas_cumprod: Tensor, prediction_type: str = "epsilon"):
        super().__init__()
        checks.choice("prediction_type", prediction_type, ("epsilon", "v_prediction", "sample"))
        checks.instance("unet", unet, nn.Module, "a module")
        if not isinstance(alphas_cumprod, (Tensor, np.ndarray)):
            raise TypeError(
                f"alphas_cumprod: got {checks.shown(alphas_cumprod)}; allowed is a tensor or array"
            )
        alphas_cumprod = torch.as_tensor(alphas_cumprod)
        if alphas_cumprod.ndim != 1 or len(alphas_cumprod) < 2:
            raise ValueError(
                f"alphas_cumprod: got {checks.shown(alphas_cumprod)}; allowed is a tensor of one "
                "dimension with two or more entries"
            )
        inside = (alphas_cumprod[0] < 1) and (alphas_cumprod[-1] >= 0)
        if not ((alphas_cumprod.diff() < 0).all() and inside):
            raise ValueError(
                f"alphas_cumprod: got {alphas_cumprod[0]:g} to {alphas_cumprod[-1]:g}; allowed is "
                "a decreasing sequence below 1 and not below 0"
            )
        if alphas_cumprod[-1] == 0 and prediction_type == "epsilon":
            raise ValueError(
                "prediction_type: got 'epsilon' with a last alphas_cumprod of 0 (zero terminal "
                "SNR), where the noise says nothing about the data; allowed are 'v_prediction' "
                "and 'sample'"
            )
        self.unet = unet
        self.prediction_type = prediction_type
        sigmas = sigmas_from_alphas_cumprod(alphas_cumprod.double())
        # At zero terminal SNR the last level is infinite; its neighbour is the largest to be asked.
        sigmas = sigmas[sigmas.isfinite()]
        self.register_buffer("log_sigmas", sigmas.log().float(), persistent=False)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Fractional training timestep of a noise level, by linear interpolation of its log."""
        checks.tensor("sigma", sigma, "(n,)", at_least=0)
        return interpolate(sigma.log(), self.log_sigmas)

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, C, H, W)."""
        checks.tensor("x", x, "(B, C, H, W)", at_least=2)
        s = expand(sigma, x)
        level = s.flatten() if isinstance(s, Tensor) else x.new_full((1,), s)
        t = self.timestep(level.to(self.log_sigmas)).expand(x.shape[0])
        scale = (1 + s**2) ** -0.5
        out = self.unet(scale * x, t, return_dict=False)[0][:, : x.shape[1]]
        if self.prediction_type == "epsilon":
            return x - s * out
        if self.prediction_type == "sample":
            return out
        return scale**2 * x - s * scale * out


def from_diffusers(
    unet: nn.Module, alphas_cumprod: Tensor, prediction_type: str = "epsilon"
) -> DiffusersDenoiser:
    """Make a denoiser of a pretrained, variance-preserving diffusers model.

    Parameters
    ----------
    unet : diffusers ``UNet2DModel`` or alike, called as ``unet(z, timestep)``
        ``z`` is the variance-preserving state ``x_sigma / sqrt(1 + sigma^2)`` (eq-vp). Output
        channels beyond those of the data (learned variances) are ignored.
    alphas_cumprod : (T,) decreasing tensor or array
        The scheduler's ``alphas_cumprod``. Levels outside of its range are clamped to its ends. A
        last one of 0 (zero terminal SNR) is allowed, unless the model predicts "epsilon".
    prediction_type : {"epsilon", "v_prediction", "sample"}
        What the model predicts, as in the scheduler's configuration (default "epsilon").

    Examples
    --------
    >>> from diffusers import DDPMScheduler, UNet2DModel           # doctest: +SKIP
    >>> unet = UNet2DModel.from_pretrained("google/ddpm-cifar10-32")  # doctest: +SKIP
    >>> denoiser = from_diffusers(unet, DDPMScheduler().alphas_cumprod)  # doctest: +SKIP
    """
    return DiffusersDenoiser(unet, alphas_cumprod, prediction_type)


class Clipped:
    """A denoiser whose answers stay where data can be.

    Parameters
    ----------
    denoiser : Denoiser
    low, high : float
        Smallest and largest value of clean data (default -1 and 1).
    quantile : float in (0, 1], optional
        Dynamic thresholding (Saharia et al. 2022, Imagen): values are clipped at this quantile of
        each sample's absolute values, if it is above ``high``, and scaled back by it. Needs
        ``low = -high``. Default: plain clipping.

    Notes
    -----
    The exact denoiser of data within the bounds never leaves them, so clipping only mends errors.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        low: float = -1.0,
        high: float = 1.0,
        *,
        quantile: float | None = None,
    ):
        self.denoiser = checks.function("denoiser", denoiser)
        self.high = checks.number("high", high)
        self.low = checks.number("low", low, below=self.high)
        if quantile is not None:
            quantile = checks.number("quantile", quantile, above=0, at_most=1)
            if self.low != -self.high:
                raise ValueError(
                    f"low, high: got {self.low:g} and {self.high:g} with quantile; allowed with it "
                    "is low = -high"
                )
        self.quantile = quantile

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape), within the bounds."""
        answer = denoise(self.denoiser, x, sigma)
        if self.quantile is None:
            return answer.clamp(self.low, self.high)
        reach = answer.flatten(1).abs().float().quantile(self.quantile, dim=1)
        factor = (reach / self.high).clamp_min(1).to(answer).reshape(-1, *[1] * (x.ndim - 1))
        return (answer / factor).clamp(self.low, self.high)


class Guided:
    """Classifier-free guidance: ``D_u + weight (D_c - D_u)`` (Ho & Salimans 2022).

    Parameters
    ----------
    conditional, unconditional : Denoiser
        The same network with and without its label; see ``conditional``.
    weight : float
        1 is the conditional denoiser, 0 the unconditional one, above 1 is guidance.

    Notes
    -----
    It takes two evaluations. All samplers here work with it as with any denoiser; for gradient
    estimation both directions are then guided ones. CFG++ (Chung et al. 2024), which renoises with
    the unconditional direction, is another sampler and not this wrapper.
    """

    def __init__(self, conditional: Denoiser, unconditional: Denoiser, weight: float):
        self.conditional = checks.function("conditional", conditional)
        self.unconditional = checks.function("unconditional", unconditional)
        self.weight = checks.number("weight", weight)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        without = denoise(self.unconditional, x, sigma)
        return torch.lerp(without, denoise(self.conditional, x, sigma), self.weight)


class Counted:
    """A denoiser that counts what it is asked, for comparisons at equal cost.

    Attributes
    ----------
    calls : int
        Calls so far: what a sampler waits for when everything in a call runs side by side.
    evaluations : int
        Samples times noise levels evaluated so far: the work.
    """

    def __init__(self, denoiser: Denoiser):
        self.denoiser = checks.function("denoiser", denoiser)
        self.calls = 0
        self.evaluations = 0

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x``, and count."""
        answer = denoise(self.denoiser, x, sigma)
        self.calls += 1
        self.evaluations += x.shape[0]
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)
