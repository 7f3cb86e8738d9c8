"""The contrastive diffusion loss: a denoiser trained as the noise classifier that it implies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import softplus

from companion import checks
from companion.denoisers import Denoiser, denoise
from companion.denoisers.wrappers import Conditional
from companion.noise import Generator, LevelDensity, LogUniform, SigmaDistribution, rand, randn
from companion.noise.distributions import check_distribution
from companion.objectives.denoising import check_batch

__all__ = ["ContrastiveDiffusion"]


@dataclass(frozen=True)
class ContrastiveDiffusion:
    """Cross entropy of the classifier 'clean or noised by t' that a denoiser implies (eq-nc-loss).

    ``E_t[ E_{x ~ p} softplus(-LLR_t(x)) + E_{y ~ p_t} softplus(LLR_t(y)) ]`` in nats, where
    ``LLR_t = log p - log p_t`` is the integral over levels of ``metrics.log_likelihood_ratio``,
    estimated at a few random levels for each sample, all in one network call. Levels are
    stratified; both terms of the ratio share levels and noise, and each noise is used with both
    signs.

    The estimate of the ratio is unbiased, its softplus is not: it is too large by about an eighth
    of the estimate's variance where the classes overlap. Few points therefore reward a denoiser for
    little variance instead of for the truth. Scan a scale error of an exact denoiser before
    trusting other settings than the default. Chapter 3 does, also for the draws of the official
    code (``experiments.noise_classifier.AblatedContrast``).

    Parameters
    ----------
    contrast : distribution of ``t`` (default ``LogUniform(0.05, 1.0)``, for data of unit variance)
        Between the narrowest feature of the data and its width: below, the classes are one; above,
        they are told apart with certainty; neither gives a gradient.
    levels : LogUniform or LogLogistic (default ``LogUniform(0.01, 20.0)``)
        Distribution of the integration levels. The integral is weighted by its density, and cut
        off where it ends; what is beyond is taken to be as for the Gaussian of ``sigma_data``.
    points : int
        Levels for each ratio (default 16).
    sigma_data : float
        Standard deviation of the clean data (default 1). Data of this width that are Gaussian are
        integrated exactly; for others it only changes the variance.
    samples : int, optional
        Use only so many samples of each batch, counted more; default: all.

    Raises
    ------
    ValueError
        If an argument is not as above, or a batch has fewer than ``samples``.

    Notes
    -----
    ``samples * evaluations`` points go through the network in one call, which bounds the memory.
    The loss alone trains an integral over levels, not each level: add denoising,
    ``objectives.Sum((DenoisingScoreMatching(), this), (1.0, weight))``.

    References
    ----------
    Wu, Luo, Kong, Papalexakis & Ver Steeg, NeurIPS 2024.
    """

    contrast: SigmaDistribution = field(default_factory=lambda: LogUniform(0.05, 1.0))
    levels: LevelDensity = field(default_factory=lambda: LogUniform(0.01, 20.0))
    points: int = 16
    sigma_data: float = 1.0
    samples: int | None = None

    def __post_init__(self):
        checks.whole("points", self.points)
        if self.samples is not None:
            checks.whole("samples", self.samples)
        checks.number("sigma_data", self.sigma_data, above=0)
        check_distribution("contrast", self.contrast)
        check_distribution("levels", self.levels, "quantile")

    @property
    def evaluations(self) -> int:
        """Network evaluations for each sample: two terms, points, two signs, two classes."""
        return 8 * self.points

    @property
    def sigmas(self) -> LevelDensity:
        """Distribution of the integration levels, for messages about a run."""
        return self.levels

    def __call__(self, denoiser: Denoiser, batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of each sample of the clean ``batch`` (B, *shape), (B,); its mean is the loss."""
        check_batch(batch, generator)
        runs = 1 if generator is None or isinstance(generator, torch.Generator) else len(generator)
        each = len(batch) // runs
        used = each if self.samples is None else self.samples
        if used > each:
            raise ValueError(f"samples: got {used}; allowed are 1 to {each}, the size of a batch")
        x = batch.view(runs, each, *batch.shape[1:])[:, :used].flatten(0, 1)
        if isinstance(denoiser, Conditional):
            kept = torch.arange(len(batch)).view(runs, each)[:, :used].flatten()
            denoiser = denoiser.pick(kept.repeat_interleave(self.evaluations))
        y, t, sign = self._draw(x, generator)
        loss = softplus(-sign * self.ratio(denoiser, y, t, generator))
        loss = loss.view(len(x), -1).mean(1) * (2 * each / used)
        total = loss.new_zeros(runs, each)
        total[:, :used] = loss.view(runs, used)
        return total.flatten()

    def _draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Points to classify (2B, *shape), their ``t`` (2B,) and their class, 1 clean or -1."""
        wide = torch.promote_types(x.dtype, torch.float32)
        t = self.contrast.sample(len(x), generator=generator, device=x.device, dtype=wide)
        eps = randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        noisy = x + t.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) * eps
        sign = t.new_tensor([1.0, -1.0]).repeat(len(x))
        return torch.stack([x, noisy], 1).flatten(0, 1), t.repeat_interleave(2), sign

    def ratio(
        self, denoiser: Denoiser, y: Tensor, t: Tensor, generator: Generator = None
    ) -> Tensor:
        """Estimate ``LLR_t(y)`` with gradients, in one network call (eq-nc-ratio).

        Parameters
        ----------
        denoiser : Denoiser
        y : (n, *shape) tensor
        t : (n,) tensor

        Returns
        -------
        (n,) tensor, float32 or wider
        """
        checks.batch("y", y)
        checks.generator("generator", generator)
        if checks.tensor("t", t, "(n,)").shape != y.shape[:1]:
            raise ValueError(f"t: got shape {tuple(t.shape)}; allowed is ({len(y)},)")
        n, *shape = y.shape
        wide = torch.promote_types(y.dtype, torch.float32)
        u = rand((n, 1, self.points), generator=generator, device=y.device, dtype=wide)
        s = self.levels.quantile((torch.arange(self.points).to(u) + u) / self.points)
        eps = randn(
            (n, 1, self.points, *shape), generator=generator, device=y.device, dtype=y.dtype
        )
        eps = torch.stack([eps, -eps], 3)

        # From here: (n, term, point, sign, *shape); the terms are clean and noised by t.
        def over(v: Tensor) -> Tensor:
            return v.reshape(*v.shape, *[1] * (eps.ndim - v.ndim)).to(y.dtype)

        full = (n, 2, self.points, 2, *shape)
        noisy = (y.reshape(n, 1, 1, 1, *shape) + over(s) * eps).expand(full)
        added = torch.stack([torch.zeros_like(t), t], 1)[..., None]
        level = (s**2 + added**2).sqrt()
        asked = level.unsqueeze(-1).expand(full[:4]).reshape(-1).to(y.dtype)
        flat = noisy.reshape(-1, *shape)
        estimate = over(s / level) * (
            (flat - denoise(denoiser, flat, asked)).view(full) / over(level)
        )

        # |eps - estimate|^2 less that of a Gaussian, whose ratio is known; without cancellation.
        square = self.sigma_data**2
        variance = square + added**2
        gaussian = over(s / (variance + s**2)) * noisy
        error = ((gaussian - estimate) * (2 * eps - gaussian - estimate)).to(t)
        error = error.sum(tuple(range(4, eps.ndim))).mean(-1)
        integral = 0.5 * (1 / self.levels.density(s) * error).mean(2)
        length = y.flatten(1).to(t).square().sum(1)
        log_ratio = 0.5 * math.prod(shape) * (variance[:, 1, 0] / square).log()
        log_ratio = log_ratio - 0.5 * length * (1 / square - 1 / variance[:, 1, 0])
        return log_ratio + integral[:, 1] - integral[:, 0]
