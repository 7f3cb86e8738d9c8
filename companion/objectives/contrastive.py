"""The contrastive diffusion loss: a denoiser trained as the noise classifier that it implies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import softplus

from companion.denoisers import Denoiser
from companion.noise import Generator, LevelDensity, LogUniform, SigmaDistribution, rand, randn

__all__ = ["ContrastiveDiffusion"]


@dataclass(frozen=True)
class ContrastiveDiffusion:
    """Cross entropy of the classifier 'clean or noised by t' that a denoiser implies (eq-nc-loss).

    ``E_t[ E_{x ~ p} softplus(-LLR_t(x)) + E_{y ~ p_t} softplus(LLR_t(y)) ]`` in nats, where
    ``LLR_t = log p - log p_t`` is the integral over levels of ``metrics.log_likelihood_ratio``,
    estimated at a few random levels for each sample, all in one network call.

    The estimate of the ratio is unbiased, its softplus is not: it is too large by about an eighth
    of the estimate's variance where the classes overlap. Few points, or draws that are not shared
    by the two terms, therefore reward a denoiser for little variance instead of for the truth. Scan
    a scale error of an exact denoiser before trusting other settings than the default (chapter 3).

    Parameters
    ----------
    contrast : law of ``t`` (default ``LogUniform(0.05, 1.0)``, for data of unit variance)
        Between the narrowest feature of the data and its width: below, the classes are one; above,
        they are told apart with certainty; neither gives a gradient.
    levels : LogUniform or LogLogistic (default ``LogUniform(0.01, 20.0)``)
        Law of the integration levels. The integral is weighted by its density, and cut off where
        it ends; what is beyond is taken to be as for the Gaussian of ``sigma_data``.
    points : int
        Levels for each ratio (default 16).
    sigma_data : float
        Standard deviation of the clean data (default 1). Data of this width that are Gaussian are
        integrated exactly; for others it only changes the variance.
    shared : bool
        Use the same levels and the same noise in both terms of the ratio, and in the Gaussian
        subtracted from them (default). False: draws of their own, and the Gaussian's mean error,
        as in the official code.
    stratified : bool
        One level in each of ``points`` strata (default), or independent levels.
    antithetic : bool
        Take each noise with both signs (default), at twice the evaluations.
    both : bool
        Classify each sample clean and noised (default), or one of them by a coin and count it
        twice, at half the evaluations.
    preserving : bool
        Contrast with variance-preserving noise ``(x + t eps) / sqrt(1 + t^2)``, as the paper does;
        default: with ``x + t eps``.
    samples : int, optional
        Use only so many samples of each batch, counted more; default: all.

    Notes
    -----
    ``evaluations`` rows go through the network for each sample used, ``samples * evaluations`` in
    one call, which bounds the memory. The loss alone trains an integral over levels, not each
    level: add denoising, ``objectives.Sum((DenoisingScoreMatching(), this), (1.0, weight))``.

    References
    ----------
    Wu, Luo, Kong, Papalexakis & Ver Steeg, NeurIPS 2024.
    """

    contrast: SigmaDistribution = field(default_factory=lambda: LogUniform(0.05, 1.0))
    levels: LevelDensity = field(default_factory=lambda: LogUniform(0.01, 20.0))
    points: int = 16
    sigma_data: float = 1.0
    shared: bool = True
    stratified: bool = True
    antithetic: bool = True
    both: bool = True
    preserving: bool = False
    samples: int | None = None

    def __post_init__(self):
        for name in ("points", "samples"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not (whole or (name == "samples" and value is None)):
                raise ValueError(f"{name}: got {value!r}; allowed is a whole number of at least 1")
        if not 0 < self.sigma_data < math.inf:
            raise ValueError(
                f"sigma_data: got {self.sigma_data!r}; allowed is a finite number above 0"
            )
        if not callable(getattr(self.levels, "quantile", None)):
            raise ValueError(f"levels: got {self.levels!r}; allowed are LogUniform and LogLogistic")

    @property
    def evaluations(self) -> int:
        """Rows through the network for each sample: terms, points, signs, classes."""
        return 2 * self.points * (2 if self.antithetic else 1) * (2 if self.both else 1)

    @property
    def sigmas(self) -> LevelDensity:
        """Law of the integration levels, for messages about a run."""
        return self.levels

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,); its mean is the loss."""
        runs = 1 if generator is None or isinstance(generator, torch.Generator) else len(generator)
        each = len(batch) // runs
        used = each if self.samples is None else self.samples
        if used > each:
            raise ValueError(f"samples: got {used}; allowed are 1 to {each}, the size of a batch")
        x = batch.view(runs, each, *batch.shape[1:])[:, :used].flatten(0, 1)
        y, t, sign = self._draw(x, generator)
        loss = softplus(-sign * self.ratio(denoiser, y, t, generator))
        loss = loss.view(len(x), -1).mean(1) * (2 * each / used)
        total = loss.new_zeros(runs, each)
        total[:, :used] = loss.view(runs, used)
        return total.flatten()

    def _draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Points to classify (n, *shape), their ``t`` (n,) and their class, 1 clean or -1."""
        n = len(x)
        t = self.contrast.sample(n, generator=generator, device=x.device, dtype=_wide(x))
        noisy = x + _column(t, x) * randn(
            x.shape, generator=generator, device=x.device, dtype=x.dtype
        )
        if self.preserving:
            noisy = noisy * _column((1 + t**2).rsqrt(), x)
        if self.both:
            sign = t.new_tensor([1.0, -1.0]).repeat(n)
            return torch.stack([x, noisy], 1).flatten(0, 1), t.repeat_interleave(2), sign
        clean = rand((n,), generator=generator, device=x.device) < 0.5
        y = torch.where(clean.view(-1, *[1] * (x.ndim - 1)), x, noisy)
        return y, t, torch.where(clean, 1.0, -1.0).to(t)

    def ratio(
        self, denoiser: Denoiser, y: Tensor, t: Tensor, generator: Generator = None
    ) -> Tensor:
        """Estimate ``LLR_t(y)`` with gradients, in one network call.

        Parameters
        ----------
        denoiser : Denoiser
        y : (n, *shape) tensor
        t : (n,) tensor

        Returns
        -------
        (n,) tensor, float32 or wider. With variance-preserving noise it is the ratio of ``p`` to
        the law of ``(x + t eps) / sqrt(1 + t^2)``.
        """
        n, terms = len(y), 1 if self.shared else 2
        shape = (n, terms, self.points)
        u = rand(shape, generator=generator, device=y.device, dtype=_wide(y))
        if self.stratified:
            u = (torch.arange(self.points).to(u) + u) / self.points
        s = self.levels.quantile(u)
        weight = 1 / self.levels.density(s)
        signs = 2 if self.antithetic else 1
        eps = randn((*shape, *y.shape[1:]), generator=generator, device=y.device, dtype=y.dtype)
        eps = torch.stack([eps, -eps], 3) if self.antithetic else eps.unsqueeze(3)

        # From here: (n, term, point, sign, *shape); the terms are the clean and the noised law.
        def over(v: Tensor) -> Tensor:
            return v.reshape(*v.shape, *[1] * (eps.ndim - v.ndim)).to(y.dtype)

        shrink = (1 + t**2).rsqrt() if self.preserving else torch.ones_like(t)
        scale = torch.stack([torch.ones_like(t), shrink], 1)[..., None]  # (n, 2, 1)
        added = torch.stack([torch.zeros_like(t), t], 1)[..., None]
        own = s / scale  # noise on top, in the units of the clean data
        level = (own**2 + added**2).sqrt()
        share = over(own / level)
        noisy = (y.reshape(n, 1, 1, 1, *y.shape[1:]) + over(s) * eps) / over(scale)
        full = (n, 2, self.points, signs, *y.shape[1:])
        noisy = noisy.expand(full)
        rows = noisy.reshape(-1, *y.shape[1:])
        asked = level.unsqueeze(-1).expand(full[:4]).reshape(-1).to(y.dtype)
        estimate = share * ((rows - denoiser(rows, asked)).view(full) / over(level))

        square, width = self.sigma_data**2, math.prod(y.shape[1:])
        variance = scale**2 * (square + added**2)  # of the Gaussian and of its noised self
        log_ratio = 0.5 * width * (variance[:, 1, 0] / square).log()
        axes = tuple(range(4, eps.ndim))
        if self.shared:
            mine = over(s / (variance + s**2)) * noisy * over(scale)
            # |eps - estimate|^2 - |eps - mine|^2, without cancellation
            error = ((mine - estimate) * (2 * eps - mine - estimate)).to(t).sum(axes)
            flat = y.flatten(1).to(t).square().sum(1)
            log_ratio = log_ratio - 0.5 * flat * (1 / square - 1 / variance[:, 1, 0])
        else:
            error = (eps - estimate).to(t).square().sum(axes)
            error = error - (width * variance / (variance + s**2)).unsqueeze(-1)
        error = error.mean(-1)  # over signs: (n, term, point)
        integral = 0.5 * (weight * error).mean(2)
        return log_ratio + integral[:, 1] - integral[:, 0]


def _wide(x: Tensor) -> torch.dtype:
    """Type of the sums: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def _column(v: Tensor, x: Tensor) -> Tensor:
    return v.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
