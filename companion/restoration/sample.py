"""``companion sample MODEL``: clean images from a diffusers pipeline folder."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from companion import checks

SAMPLERS = ("gradient_estimation", "ddim", "ddpm", "heun", "dpmpp_2m", "unipc")
"""Samplers that the command knows by name."""


def add_sample(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "sample",
        help="draw images from a diffusers pipeline folder",
        description="Draw images from a diffusers pipeline folder with a UNet2DModel, such as the "
        "one that 'companion denoise --model' writes to OUT/model.",
    )
    parser.add_argument("model", help="the pipeline folder")
    parser.add_argument("-n", type=int, default=16, help="images (default 16)")
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default=SAMPLERS[0], help="default: %(default)s"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--out", help="a PNG that is written (default MODEL/samples.png)")
    parser.add_argument("--overwrite", action="store_true", help="replace it")


def sample_job(options: argparse.Namespace, rest: list[str]) -> Callable[[], int]:
    """Check the options, and return what is to be done."""
    if rest:
        raise ValueError(f"unknown arguments: {' '.join(rest)}")
    checks.whole("n", options.n)
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
