"""What stands in front of a classifier: one call, sampling, and sampling guided by the entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from companion import checks, noise, samplers
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, expand

__all__ = [
    "CORRUPTIONS",
    "EntropyGuided",
    "averaged",
    "marginal_entropy",
    "one_call",
    "raised",
    "sampled",
    "shifts",
]

Classify = Callable[[Tensor], Tensor]
"""From images (B, *shape) to logits (B, classes)."""

LOWEST = 0.05
"""Last noise level before 0, in the units of the data."""


def raised(y: Tensor, level: float, sigma: float, generator: Generator = None) -> Tensor:
    """Bring data with noise ``level`` up to the noise level ``sigma``.

    Parameters
    ----------
    y : (B, *shape) tensor
    level : float, at least 0
        Standard deviation of the noise that is in ``y`` already.
    sigma : float, at least ``level``

    Returns
    -------
    (B, *shape); ``y`` itself where nothing is to be added
    """
    checks.number("level", level, at_least=0)
    checks.number("sigma", sigma, at_least=level)
    added = (sigma**2 - level**2) ** 0.5
    return noise.corrupt(y, added, generator=generator) if added else y


def one_call(denoiser: Denoiser, x: Tensor, sigma: float) -> Tensor:
    """Return ``D(x, sigma)``: the mean of what may be behind ``x``."""
    return denoise(denoiser, x, sigma)


def sampled(
    denoiser: Denoiser,
    x: Tensor,
    sigma: float,
    steps: int,
    generator: Generator = None,
    *,
    flow: bool = False,
) -> Tensor:
    """Go down from ``x`` (B, *shape) at the level ``sigma`` to clean data, in ``steps`` calls.

    By ancestral steps (DDPM), which sample what may be behind ``x``, or with ``flow`` by DDIM,
    which follows the flow from ``x`` and draws nothing.
    """
    sigmas = noise.log_linear(steps, sigma, min(LOWEST, sigma / 2))
    if flow:
        return samplers.ddim(denoiser, x, sigmas)
    return samplers.ddpm(denoiser, x, sigmas, generator=generator)


def averaged(
    classify: Classify,
    purify: Callable[[], Tensor],
    draws: int,
) -> Tensor:
    """Mean of the classifier's probabilities over several draws of ``purify``, (B, classes)."""
    return torch.stack([classify(purify()).softmax(-1) for _ in range(draws)]).mean(0)


# --- the guidance of GDA -------------------------------------------------------------------------


def shifts(x: Tensor, fill: float = -1.0) -> list[Tensor]:
    """Return images (B, C, H, W) as they are, and moved by a pixel to each of four sides."""
    padded = nn.functional.pad(x, [1] * 4, value=fill)
    height, width = x.shape[-2:]
    places = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return [padded[..., i : i + height, j : j + width] for i, j in places]


def marginal_entropy(classify: Classify, views: list[Tensor]) -> Tensor:
    """Entropy in nats of the mean of the answers over several views, (B,) (eq-ad-entropy)."""
    probabilities = torch.stack([classify(view).softmax(-1) for view in views]).mean(0)
    return -(probabilities * probabilities.clamp_min(1e-12).log()).sum(-1)


class EntropyGuided:
    """A denoiser pulled to where a classifier is sure: ``D - w sigma^2 grad H`` (eq-ad-guided).

    ``H`` is the marginal entropy of the classifier at ``D(x, sigma)`` over several views, and the
    gradient is with respect to ``x``. So the score of the data gets ``-w grad H`` added. Source:
    Tsai et al. 2024 (GDA), without the style term, which needs CLIP. It costs a call and its
    backward pass. The content term is that of Gao et al. 2023 (DDA): what is coarse stays.

    Parameters
    ----------
    denoiser : Denoiser
        Differentiable.
    classify : function, (B, *shape) -> logits (B, classes)
        Differentiable.
    weight : float, at least 0
        ``w``, in 1 / nats.
    content : float from 0 to 1
        Share of the way that the means over 2 x 2 pixels of the answer go to those of ``source``
        (default 0).
    source : (B, C, H, W) tensor, optional
        The corrupted image; needed with ``content``.
    views : function, (B, *shape) -> list of (B, *shape)
        Augmentations (default ``shifts``).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        classify: Classify,
        weight: float,
        *,
        content: float = 0.0,
        source: Tensor | None = None,
        views: Callable[[Tensor], list[Tensor]] = shifts,
    ):
        self.denoiser = checks.function("denoiser", denoiser)
        self.classify = checks.function("classify", classify)
        self.weight = checks.number("weight", weight, at_least=0)
        self.content = checks.number("content", content, at_least=0, at_most=1)
        if self.content and source is None:
            raise ValueError(f"source: got None with content={content:g}; allowed is an image")
        self.source = source
        self.views = checks.function("views", views)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            clean = denoise(self.denoiser, at, sigma)
            entropy = marginal_entropy(self.classify, self.views(clean)).sum()
            (slope,) = torch.autograd.grad(entropy, at)
        answer = clean.detach() - self.weight * expand(sigma, x) ** 2 * slope
        if self.source is not None and self.content:
            answer = answer + self.content * pixelate(self.source - answer)
        return answer


# --- corruptions that are no noise ---------------------------------------------------------------


def blur(x: Tensor) -> Tensor:
    """Mean over 3 x 3 pixels with weights 1, 2, 1 in each direction, of images (B, C, H, W)."""
    line = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
    kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    padded = nn.functional.pad(x, [1] * 4, mode="replicate")
    return nn.functional.conv2d(padded, kernel, groups=x.shape[1])


def contrast(x: Tensor, factor: float = 0.3) -> Tensor:
    """Bring pixels to the mean of their image, (B, C, H, W): ``factor`` of the contrast is left."""
    mean = x.flatten(1).mean(1).reshape(-1, *[1] * (x.ndim - 1))
    return mean + factor * (x - mean)


def pixelate(x: Tensor, side: int = 2) -> Tensor:
    """Replace squares of ``side`` x ``side`` pixels by their mean, of images (B, C, H, W)."""
    small = nn.functional.avg_pool2d(x, side)
    return small.repeat_interleave(side, -2).repeat_interleave(side, -1)


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": blur,
    "contrast": contrast,
    "pixelation": pixelate,
}
"""Corruptions that are no noise, by name."""


def log_uniform(low: float, high: float, generator: Any) -> float:
    """Draw one noise level, its logarithm uniform between those of ``low`` and ``high``."""
    share = float(torch.rand((), generator=generator))
    return low * (high / low) ** share
