"""``companion sample MODEL``: clean images from a diffusers pipeline folder."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from companion import checks

SAMPLERS = ("gradient_estimation", "ddim", "ddpm", "heun", "dpmpp_2m", "unipc")
"""Samplers that the command knows by name."""


def sample_job(options: argparse.Namespace, rest: list[str]) -> Callable[[], int]:
    """Check the options, and return what is to be done."""
    if rest:
        raise ValueError(f"unknown arguments: {' '.join(rest)}")
    checks.whole("n", options.n)
    checks.choice("sampler", options.sampler, SAMPLERS)
    checks.whole("steps", options.steps)
    checks.seed("seed", options.seed)
    path = Path(options.out or Path(options.model) / "samples.png").expanduser()
    if path.suffix != ".png":
        raise ValueError(f"out: got {path}; allowed is the name of a PNG, such as samples.png")
    if path.exists() and not options.overwrite:
        raise ValueError(f"out: {path} is there already; --overwrite replaces it")

    def job() -> int:
        from torchvision.utils import save_image

        from companion.restoration.generator import draw, load_generator

        try:
            denoiser, shape = load_generator(options.model)
            images = draw(
                denoiser, shape, options.n, sampler=options.sampler, steps=options.steps,
                seed=options.seed,
            )  # fmt: skip
            save_image(images / 2 + 0.5, path, nrow=math.ceil(math.sqrt(options.n)), padding=1)
        except (OSError, ValueError) as error:
            print(f"companion: {error}", file=sys.stderr)
            return 2
        print(f"{options.n} images of {' x '.join(map(str, shape))} in {path}")
        return 0

    return job
