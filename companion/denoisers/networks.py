"""How networks become denoisers: EDM's preconditioning, pretrained models of diffusers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from companion import checks, devices
from companion.noise import expand, sigmas_from_alphas_cumprod
from companion.noise.schedules import check_alphas_cumprod, interpolate

__all__ = ["DiffusersDenoiser", "Preconditioned", "from_diffusers"]


class Preconditioned(nn.Module):
    """A network made into a denoiser by EDM preconditioning (eq-preconditioning).

    ``D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)`` keeps the input and the regression target
    of the network ``F`` at unit variance for every ``sigma``. At ``sigma = 0`` it returns ``x``.
    Source: Karras et al. 2022, eq. 7 and table 1.

    Parameters
    ----------
    network : nn.Module
        Called as ``network(x, c_noise)`` with ``x`` (B, *shape) and ``c_noise`` 0-d or (B,);
        returns (B, *shape). With labels: ``network(x, c_noise, class_labels=labels)``.
    sigma_data : float
        Standard deviation of the clean data (default 0.5, the one of EDM's images).
    """

    def __init__(self, network: nn.Module, sigma_data: float = 0.5):
        super().__init__()
        self.network = checks.instance("network", network, nn.Module, "a module")
        self.sigma_data = checks.number("sigma_data", sigma_data, above=0)

    def forward(
        self, x: Tensor, sigma: Tensor | float, class_labels: Tensor | None = None
    ) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape), of ``class_labels`` (B,) if given."""
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
        given = {}
        if class_labels is not None:
            given["class_labels"] = checks.labels("class_labels", class_labels)
        answer = checks.answer("network", self.network(c_in * x, c_noise, **given), x)
        return c_skip * x + c_out * answer

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
        alphas_cumprod = check_alphas_cumprod(alphas_cumprod)
        if alphas_cumprod[-1] == 0 and prediction_type == "epsilon":
            raise ValueError(
                "prediction_type: got 'epsilon' with a last alphas_cumprod of 0 (zero terminal "
                "SNR), where the noise says nothing about the data; allowed are 'v_prediction' "
                "and 'sample'"
            )
        self.unet = unet
        self.prediction_type = prediction_type
        sigmas = sigmas_from_alphas_cumprod(alphas_cumprod.to(devices.wide(alphas_cumprod.device)))
        # At zero terminal SNR the last level is infinite; its neighbour is the largest to be asked.
        sigmas = sigmas[sigmas.isfinite()]
        self.register_buffer("log_sigmas", sigmas.log().float(), persistent=False)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Fractional training timestep of a noise level, by linear interpolation of its log."""
        checks.tensor("sigma", sigma, "(n,)", at_least=0)
        return interpolate(sigma.log(), self.log_sigmas)

    def forward(
        self, x: Tensor, sigma: Tensor | float, class_labels: Tensor | None = None
    ) -> Tensor:
        """Estimate the clean data behind ``x`` (B, C, H, W), of ``class_labels`` (B,) if given."""
        checks.tensor("x", x, "(B, C, H, W)", at_least=2)
        s = expand(sigma, x)
        level = s.flatten() if isinstance(s, Tensor) else x.new_full((1,), s)
        t = self.timestep(level.to(self.log_sigmas)).expand(x.shape[0])
        scale = (1 + s**2) ** -0.5
        given = {}
        if class_labels is not None:
            given["class_labels"] = checks.labels("class_labels", class_labels)
        out = self.unet(scale * x, t, return_dict=False, **given)[0][:, : x.shape[1]]
        checks.answer("unet", out, x)
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
