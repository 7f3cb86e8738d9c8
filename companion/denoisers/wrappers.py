"""Denoisers made of denoisers: with labels, guided, clipped, counted, of part of the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from companion import checks
from companion.denoisers.asking import Denoiser, denoise
from companion.noise import expand

__all__ = ["Clipped", "Counted", "Guided", "Inpainted", "Noised", "conditional"]


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


class Conditional:
    """A denoiser that was given labels; made by ``conditional``, and by ``fit`` for each batch."""

    def __init__(self, denoiser: Denoiser, class_labels: int | Tensor):
        self.denoiser, self.class_labels = denoiser, class_labels

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape), each of its own class."""
        checks.tensor("x", x)
        labels = self.class_labels
        if not isinstance(labels, Tensor):
            labels = torch.full((len(x),), labels, device=x.device)
        elif len(labels) != len(x):
            raise ValueError(
                f"class_labels: got {len(labels)} labels for {len(x)} samples; allowed is one for "
                "all, or one for each"
            )
        asked: Any = self.denoiser
        return denoise(lambda x, s: asked(x, s, class_labels=labels.to(x.device)), x, sigma)

    def pick(self, index: Tensor | slice) -> Conditional:
        """Return it with the labels of some of the samples."""
        labels = self.class_labels
        return Conditional(self.denoiser, labels[index] if isinstance(labels, Tensor) else labels)


def conditional(denoiser: Denoiser, class_labels: int | Tensor) -> Conditional:
    """Give labels to a denoiser that takes them: then it is one as any other.

    Parameters
    ----------
    denoiser : Denoiser
        Called as ``denoiser(x, sigma, class_labels=labels)`` with labels (B,): ``Preconditioned``
        of a network with ``classes``, a ``Stack`` of such, or ``from_diffusers`` of a model with
        class embeddings.
    class_labels : int, or (B,) int64 tensor
        One label for all samples, or one for each, from 0 to K - 1; -1 is no label. A model of
        diffusers has no such -1: its number of no label is its own, often K.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the denoiser is known to have no such class.

    Examples
    --------
    >>> from companion.networks import MLP
    >>> network = Preconditioned(MLP(2, classes=3))                # doctest: +SKIP
    >>> guided = Guided(conditional(network, 2), network, 1.5)     # doctest: +SKIP
    """
    checks.function("denoiser", denoiser)
    many = isinstance(class_labels, Tensor) and class_labels.ndim
    given = class_labels if many else checks.whole("class_labels", class_labels, -1)
    listed = given if isinstance(given, Tensor) else torch.tensor([given])
    checks.labels("class_labels", listed, known_classes(denoiser), values=True)
    if not minus_one_allowed(denoiser) and (listed < 0).any():
        raise ValueError(
            "class_labels: got -1 for a model of diffusers, which has no such label; allowed is "
            "its own number of no label"
        )
    return Conditional(denoiser, given)


def known_classes(denoiser: Any) -> int | None:
    """Return the number of classes of a module, or None where it is not known."""
    return _classes(denoiser)[0]


def minus_one_allowed(denoiser: Any) -> bool:
    """Whether -1 may stand for no label, as far as is known: not with a model of diffusers."""
    return _classes(denoiser)[1]


def _classes(denoiser: Any) -> tuple[int | None, bool]:
    """Number of classes, and whether -1 may stand for none; ours may hold a model of diffusers."""
    for module in denoiser.modules() if isinstance(denoiser, nn.Module) else ():
        classes = getattr(module, "classes", None)
        if isinstance(classes, int):
            return classes, True
        embedded = getattr(getattr(module, "config", None), "num_class_embeds", None)
        if isinstance(embedded, int):
            return embedded, False
    return None, True


class Inpainted:
    """A denoiser of data that are known in part: it answers with what is known.

    ``D`` is ``known`` where ``mask`` is true, and the denoiser's answer elsewhere. A sampler that
    starts at ``noise.corrupt(known, sigmas[0])`` then carries the known part with its noise at
    each level, so this is inpainting by replacement (Song et al. 2021, *Score-based generative
    modeling through stochastic differential equations*), for every sampler here.

    Parameters
    ----------
    denoiser : Denoiser
    known : (B, *shape) or (*shape) floating-point tensor
        Clean values; those outside of the mask do not matter, and may be NaN.
    mask : bool tensor of the shape of ``known``, or one that broadcasts to it
        True where the values are known.

    Notes
    -----
    It is exact where the unknown part does not depend on the known one. Otherwise each answer sees
    the known part only through its noise, and the samples agree with it less than those of the
    true conditional distribution do (Trippe et al. 2023 show that more steps do not mend it).
    """

    def __init__(self, denoiser: Denoiser, known: Tensor, mask: Tensor):
        self.denoiser = checks.function("denoiser", denoiser)
        self.known = checks.tensor("known", known)
        boolean = isinstance(mask, Tensor) and mask.dtype == torch.bool
        try:
            fits = boolean and torch.broadcast_shapes(mask.shape, known.shape) == known.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise (ValueError if boolean else TypeError)(
                f"mask: got {checks.shown(mask)}; allowed is a bool tensor that fits known of "
                f"shape {tuple(known.shape)}"
            )
        self.mask = mask
        checks.finite("known", known.masked_fill(~mask.to(known.device), 0))

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (B, *shape)."""
        checks.tensor("x", x)
        if self.known.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"x: got shape {tuple(x.shape)} with known of shape {tuple(self.known.shape)}; "
                "allowed is the same, or one more dimension in front"
            )
        answer = denoise(self.denoiser, x, sigma)
        return torch.where(self.mask.to(x.device), self.known.to(x), answer)


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
        The same network with and without its label: ``conditional(network, 3)``, ``network``.
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
        if name == "denoiser" or name.startswith("__"):  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.denoiser, name)
