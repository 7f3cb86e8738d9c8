"""Why samples of images are good or bad: what a denoiser does to them, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from companion import metrics, noise, samplers
from companion.experiments.images import Setting
from companion.experiments.results import tidy

__all__ = ["answers", "at_level", "drift", "jacobians", "left_noise", "mode_width"]

BLANK = 0.02
"""Standard deviation of a pixel over the clean images below which it counts as blank."""


def answers(
    setting: Setting, denoiser: Any, levels: Sequence[float], s_n: float, number: int, seed: int
) -> pd.DataFrame:
    """Three faults of a denoiser on clean test images with new noise, by level over ``s_n``.

    - error: root mean square over pixels.
    - bias: of the mean answer over all images, root mean square over pixels; 0 for an exact one,
      but for the noise of a mean of so many.
    - overshoot: ``E <D - mean, D - x_0> / E ||D - x_0||^2``. The error of an exact denoiser is
      uncorrelated with its answer, so that it is 0; above, the answers have too much contrast,
      below too little.
    """
    clean = setting.test[:number]
    rows: dict[str, list[float]] = {"error": [], "bias": [], "overshoot": []}
    for level in levels:
        sigma = level * s_n
        gen = torch.Generator().manual_seed(seed)
        noisy = noise.corrupt(clean, sigma, generator=gen)
        found = setting.draw(partial(at_level, denoiser, sigma), noisy)
        off = found - clean
        rows["error"].append(float(off.square().mean().sqrt()))
        rows["bias"].append(float(off.mean(0).square().mean().sqrt()))
        along = ((found - found.mean(0)) * off).mean() / off.square().mean()
        rows["overshoot"].append(float(along))
    return tidy(list(rows.values()), {"measure": rows, "level": levels})


def at_level(denoiser: Any, sigma: float, x: Tensor, part: int) -> Tensor:
    """Ask a denoiser at one level, as ``Setting.draw`` asks a sampler."""
    return denoiser(x, sigma)


def drift(
    setting: Setting, denoiser: Any, noisy: Tensor, s_n: float, seed: int, steps: int = 24
) -> pd.DataFrame:
    """How far the mean answer moves on the model's own way down, by level over ``s_n``.

    Noisy images walk down from ``s_n`` by the model's own ancestral steps. The answers of an exact
    denoiser are a martingale along it: their mean over the images stays what it was at ``s_n``.
    The drift is the root mean square over pixels of how far it does not.
    """
    sums: dict[float, Tensor] = {}

    def watch(step: samplers.Step) -> None:
        if step.number % max(1, steps // 6) == 0:
            level = round(step.sigma / s_n, 4)
            total = step.denoised.float().sum(0).cpu()
            sums[level] = sums.get(level, torch.zeros_like(total)) + total

    def walk(part: Tensor, number: int) -> Tensor:
        fresh = torch.Generator(setting.device).manual_seed(1000 * seed + number)
        down = noise.log_linear(steps, s_n, s_n / 20)
        return samplers.ddpm(denoiser, part, down, generator=fresh, callback=watch)

    setting.draw(walk, noisy)
    first = sums[max(sums)]
    moved = [float(((s - first) / len(noisy)).square().mean().sqrt()) for s in sums.values()]
    return tidy(moved, {"level": sums}, measure="drift")


def jacobians(
    setting: Setting, denoiser: Any, levels: Sequence[float], s_n: float, number: int, seed: int
) -> pd.DataFrame:
    """The Jacobian of a denoiser at a few noisy test images, means over them by level.

    That of an exact one is ``Cov(x_0 | x) / sigma^2``: symmetric, with no eigenvalue below 0, and
    ``sigma^2`` times its trace is the squared error.

    - trace: over the dimension.
    - top eigenvalue: of its symmetric part.
    - negative share: of the eigenvalues' absolute values that belongs to negative ones.
    - asymmetry: norm of its antisymmetric part over that of the whole.
    """
    names = ("trace", "top eigenvalue", "negative share", "asymmetry")
    found = torch.zeros(len(names), len(levels))
    clean = setting.test[:number]
    for column, level in enumerate(levels):
        sigma = level * s_n
        gen = torch.Generator().manual_seed(seed)
        noisy = noise.corrupt(clean, sigma, generator=gen).to(setting.device)

        spectra = []
        for image in noisy:
            whole = _jacobian(denoiser, image, sigma).double().cpu()
            values = torch.linalg.eigvalsh((whole + whole.T) / 2)
            spectra.append(
                [
                    whole.trace() / len(whole),
                    values.max(),
                    values.clamp_max(0).abs().sum() / values.abs().sum(),
                    ((whole - whole.T) / 2).norm() / whole.norm(),
                ]
            )
        found[:, column] = torch.tensor(spectra).mean(0)
    return tidy(found, {"measure": names, "level": levels})


def _jacobian(denoiser: Any, image: Tensor, sigma: float) -> Tensor:
    """Jacobian of D at one image, (d, d): a copy of the image for each row, all at once."""
    with torch.enable_grad():
        copies = image.expand(image.numel(), *image.shape).clone().requires_grad_()
        answers = denoiser(copies, sigma).flatten(1)
        (rows,) = torch.autograd.grad(answers.diagonal().sum(), copies)
    return rows.flatten(1)


def left_noise(samples: Tensor, clean: Tensor) -> float:
    """Root mean square of samples less the mean image, on pixels that are blank in all images.

    Parameters
    ----------
    samples, clean : (N, C, H, W) tensors
        NaN if no pixel is blank.
    """
    blank = clean.std(0) < BLANK
    off = (samples - clean.mean(0)).square().mean(0)[blank]
    return float(off.mean().sqrt()) if blank.any() else float("nan")


def mode_width(classifier: metrics.FeatureClassifier, samples: Tensor, real: Tensor) -> float:
    """Spread of samples within a class, over that of real images; 1 where both are as wide.

    Root of the trace of the covariance of the features within the class that the classifier says;
    geometric mean over the classes that at least ten of each belong to.

    Parameters
    ----------
    samples, real : (N, C, H, W) tensors in [-1, 1]
        NaN if no class has enough of both.
    """
    spreads = []
    for images in (samples, real):
        features, label = classifier.features(images), classifier.predict(images)
        spreads.append(
            {
                int(one): float(features[label == one].var(0).sum().sqrt())
                for one in label.unique()
                if (label == one).sum() >= 10
            }
        )
    ratios = [spreads[0][one] / spreads[1][one] for one in spreads[0] if one in spreads[1]]
    return float(torch.tensor(ratios).log().mean().exp()) if ratios else float("nan")
