"""A generator of clean images from noisy ones, kept as a diffusers pipeline folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import checks, training
from companion.data.folders import Folder, write_text
from companion.denoisers import DiffusersDenoiser, from_diffusers
from companion.networks import seeded
from companion.noise import LogUniform, log_linear
from companion.objectives import AmbientTweedie, Consistency, Sum
from companion.restoration.diagnosis import Noise
from companion.restoration.patches import RandomSymmetries, patches
from companion.restoration.sample import SAMPLERS

LARGEST_SIGMA = 40.0
"""Level that sampling starts at, for images from -1 to 1."""

SCALE = "companion.json"
"""File in the model's folder with the grey values that -1 and 1 stand for."""

CARD = """\
# A generator of {size} x {size} images, trained on noisy images alone

With diffusers alone (`pip install diffusers`), by DDIM:

```python
from diffusers import DDIMPipeline

pipeline = DDIMPipeline.from_pretrained("{folder}")
images = pipeline(batch_size=4, num_inference_steps=50).images
```

With noise-on-purpose, by gradient estimation in fewer steps, from the same folder:

```python
from diffusers import DDPMPipeline  # it takes any scheduler; DDIMPipeline takes its own alone
from companion.samplers.diffusers_scheduler import GradientEstimationScheduler

scheduler = GradientEstimationScheduler.from_pretrained(
    "{folder}", subfolder="scheduler", timestep_spacing="log_linear"
)
pipeline = DDPMPipeline.from_pretrained("{folder}", scheduler=scheduler)
images = pipeline(batch_size=4, num_inference_steps=10).images
```

Or in a terminal: `companion sample {folder} -n 16 --steps 10`. {scale}
"""
"""Model card: how the folder is used, and what black and white stand for."""


def train_generator(
    noisy: Folder,
    noise: Noise,
    *,
    steps: int,
    size: int = 32,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> tuple[DiffusersDenoiser, Any, dict[str, Any]]:
    """Train a diffusers U-Net on patches of noisy pictures, by the ambient loss and consistency.

    The ambient loss (eq-tw-ambient) teaches the levels above the noise, consistency
    (eq-tw-consistency) those below. Held-out noisy pictures cannot choose between with and without
    consistency: their ambient loss sees the levels above the noise only, where both have the same
    minimum; and clean samples, noised again, no longer show what is finer than the noise. So it
    is always used. Less noisy pictures get noise up to the noisiest one's level.

    Parameters
    ----------
    noisy, noise : as for ``fit``
    steps : int
        Training steps, of 32 patches.
    size : int
        Side of a patch and of what is generated, a multiple of 8 (default 32).
    seed, checkpoint, progress : as for ``fit``

    Returns
    -------
    denoiser, scheduler, scale
        For images from -1 to 1; diffusers' ``DDIMScheduler``; what -1 and 1 stand for.
    """
    from diffusers import DDIMScheduler, UNet2DModel

    size = checks.whole("size", size, 16) // 8 * 8
    rng = np.random.default_rng(checks.seed("seed", seed))
    c, loudest = noisy.channels, float(noise.sigmas.max())
    values = []
    for i, q in enumerate(noisy.pictures):
        y = q.values if noise.stabilizer is None else noise.stabilizer.forward(q.values)
        missing = math.sqrt(loudest**2 - noise.sigmas[i] ** 2)
        y = y + missing * rng.standard_normal(y.shape) if missing else y
        values += list(y.reshape(-1, c, *y.shape[2:]))
    whole = noisy.pictures[0].range if noise.stabilizer is None else None
    every = np.concatenate([v.ravel()[:: max(1, v.size // 100_000)] for v in values])
    low, high = whole or (float(np.quantile(every, q)) for q in (0.001, 0.999))
    factor = 2 / max(high - low, 1e-12)
    data = patches([((v - low) * factor - 1).astype(np.float32) for v in values], rng, size)
    level = loudest * factor
    unet = seeded(
        lambda: UNet2DModel(
            sample_size=data.shape[-1], in_channels=c, out_channels=c, norm_num_groups=8,
            block_out_channels=(32, 64, 64), layers_per_block=1,
            down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3,
        ),
        seed,
    )  # fmt: skip
    scheduler = DDIMScheduler(timestep_spacing="trailing")  # starts in pure noise
    goal = RandomSymmetries(
        Sum(
            (
                AmbientTweedie(level, LogUniform(level / 3, LARGEST_SIGMA), "epsilon"),
                Consistency(level, weight="epsilon", every=8),
            ),
            (1.0, 1.0),
        )
    )
    done = training.fit(
        from_diffusers(unet, scheduler.alphas_cumprod), goal, data, steps=steps, batch_size=32,
        lr=5e-4, ema=0.995, seed=seed, checkpoint=checkpoint, progress=progress, compile=False,
    )  # fmt: skip
    scale = {
        "low": low,
        "high": high,
        "sigma_data_noise": level,
        "transformed": noise.stabilizer is not None,
        "size": data.shape[-1],
    }
    return done.denoiser, scheduler, scale


def planned_steps(noisy: Folder, noise: Noise, seconds: float, work: Path) -> int:
    """Steps that fit into some seconds, by a trial of four; kept, for a run that goes on."""
    path = work / "steps.json"
    if path.exists():
        return int(path.read_text(encoding="utf-8"))
    began = time.perf_counter()
    for count in (1, 4):  # the first warms up
        started = time.perf_counter()
        train_generator(noisy, noise, steps=count, progress=False)
    ended = time.perf_counter()
    steps = max(10, int((seconds - (ended - began)) / (ended - started) * count))
    work.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(steps))
    return steps


def save_generator(
    denoiser: DiffusersDenoiser, scheduler: Any, scale: dict[str, Any], folder: Path
) -> None:
    """Write a pipeline folder for diffusers alone (DDIM) and for our scheduler, with a card.

    ``DDIMPipeline.from_pretrained(folder)`` needs nothing of ours; with our package
    ``GradientEstimationScheduler.from_pretrained(folder, subfolder="scheduler")`` reads the same
    scheduler. ``README.md`` in the folder has both ways.

    Parameters
    ----------
    denoiser, scheduler, scale : as ``train_generator`` returns them
    folder : Path
    """
    from diffusers import DDIMPipeline

    DDIMPipeline(denoiser.unet, scheduler).save_pretrained(folder)
    (folder / SCALE).write_text(json.dumps(scale), encoding="utf-8")
    text = CARD.format(folder=folder.as_posix(), size=scale["size"], scale=_said(scale))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _said(scale: dict[str, Any]) -> str:
    """What -1 and 1 of a generated image stand for, in a sentence."""
    what = "values after the transform" if scale["transformed"] else "grey values"
    return f"Black and white of an image are the {what} {scale['low']:.4g} and {scale['high']:.4g}."


def load_generator(folder: str | Path) -> tuple[DiffusersDenoiser, tuple[int, ...]]:
    """Read the denoiser of a diffusers pipeline folder, ours or another one's.

    Returns
    -------
    denoiser, shape (C, H, W) of an image

    Raises
    ------
    ValueError
        If it is no folder with a ``UNet2DModel`` and a scheduler.
    """
    from diffusers import DDIMScheduler, UNet2DModel

    path = Path(folder).expanduser()
    if not (path / "unet").is_dir() or not (path / "scheduler").is_dir():
        raise ValueError(
            f"model: got {path}; allowed is a diffusers pipeline folder with unet/ and scheduler/, "
            "as companion denoise --model writes to OUT/model"
        )
    try:
        unet = UNet2DModel.from_pretrained(path, subfolder="unet")
        scheduler = DDIMScheduler.from_pretrained(path, subfolder="scheduler")
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"model: {path} cannot be loaded ({reason})") from error
    size = unet.config.sample_size
    shape = (unet.config.in_channels, *((size, size) if isinstance(size, int) else size))
    denoiser = from_diffusers(
        unet, scheduler.alphas_cumprod, scheduler.config.prediction_type
    ).eval()
    return denoiser, shape


@torch.no_grad()
def draw(
    denoiser: DiffusersDenoiser,
    shape: tuple[int, ...],
    n: int,
    *,
    sampler: str = "gradient_estimation",
    steps: int = 10,
    seed: int = 0,
) -> Tensor:
    """Draw clean images from -1 to 1, (n, C, H, W).

    Parameters
    ----------
    denoiser, shape : as ``load_generator`` returns them
    n : int
        Images.
    sampler : str
        One of ``sample.SAMPLERS`` (default "gradient_estimation").
    steps : int
        Of the sampler (default 10).
    seed : int
    """
    from companion import samplers

    checks.choice("sampler", sampler, SAMPLERS)
    n, steps = checks.whole("n", n), checks.whole("steps", steps)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    ends = denoiser.log_sigmas.exp()
    top = min(LARGEST_SIGMA, float(ends[-1]))
    sigmas = log_linear(steps, sigma_max=top, sigma_min=float(ends[0]))
    method: Callable[..., Tensor] = getattr(samplers, sampler)
    options = {"generator": generator} if sampler == "ddpm" else {}
    drawn = [
        method(
            denoiser, top * torch.randn(len(part), *shape, generator=generator), sigmas, **options
        )
        for part in torch.arange(n).split(16)
    ]
    return torch.cat(drawn).clamp(-1, 1)
