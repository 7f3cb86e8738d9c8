"""Picard iteration, plain and semilinear, without and with Anderson acceleration.

    python benchmarks/picard.py [--steps 50 200] [--samples 16] [--tolerance 0.02] [--seeds 3]

How many network calls one after the other (iterations), and how many evaluations for each sample,
until no state moves more than the tolerance; on the ring with its exact denoiser, and on digits
with a network that is trained here for half a minute. Counts, not times: they are the same on every
machine. The error is the largest distance to what the sequential sampler gives from the same noise,
root mean square over dimensions. Medians over seeds of the noise.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from typing import Any

import torch
from torch import Tensor

warnings.filterwarnings("ignore", message=".*(IProgress|__array).*")

from companion import data, denoisers, networks, noise, objectives, samplers, training  # noqa: E402

MEMORIES = (0, 1, 2, 4)
FORMS = {"plain": False, "semilinear": True}
HIGH, LOW = 20.0, 0.02


def digits(steps: int) -> denoisers.Denoiser:
    images, _ = data.images("digits")
    network = networks.seeded(
        lambda: denoisers.Preconditioned(networks.MLP((1, 8, 8), width=128, depth=3)), 0
    )
    goal = objectives.DenoisingScoreMatching()
    return training.fit(network, goal, images, steps=steps, lr=3e-3, progress=False).denoiser


def one(denoiser: Any, x: Tensor, sigmas: Tensor, tolerance: float, settings: dict) -> tuple:
    """Iterations, evaluations and error of one run."""
    seen: list[Any] = []
    end = samplers.picard(
        denoiser, x, sigmas, tolerance=tolerance, callback=seen.append, **settings
    )
    expected = getattr(samplers, settings["solver"])(denoiser, x, sigmas)
    error = (end - expected).flatten(1).square().mean(1).sqrt().max().item()
    return seen[-1].iteration, seen[-1].evaluations, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="*", default=[50, 200])
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--training", type=int, default=2000, help="steps of the digits' network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cases = {
        "ring": (data.mixture("ring").denoiser, (2,)),
        "digits": (digits(given.training), (1, 8, 8)),
    }
    print(f"\nPicard iteration: {given.samples} samples, tolerance {given.tolerance:g}, "
          f"{given.seeds} seeds; iterations / evaluations a sample (error)\n")  # fmt: skip
    titles = [f"memory {m}" if m else "no acceleration" for m in MEMORIES]
    print("| data   | steps | solver   | window | form       |"
          + "".join(f" {title:>20} |" for title in titles))  # fmt: skip
    print("|--------|------:|----------|-------:|------------|" + "---------------------:|" * 4)
    for name, (denoiser, shape) in cases.items():
        for steps in given.steps:
            sigmas = noise.log_linear(steps, HIGH, LOW)
            for solver in ("ddim", "dpmpp_2m"):
                for window in (None, 16):
                    for form, semilinear in FORMS.items():
                        cells = []
                        for memory in MEMORIES:
                            settings = {"solver": solver, "window": window,
                                "semilinear": semilinear, "anderson": memory}  # fmt: skip
                            runs = []
                            for seed in range(given.seeds):
                                source = torch.Generator().manual_seed(seed)
                                x = HIGH * torch.randn(given.samples, *shape, generator=source)
                                runs.append(one(denoiser, x, sigmas, given.tolerance, settings))
                            middle = [statistics.median(column) for column in zip(*runs)]
                            cells.append("{:.0f} / {:.0f} ({:.3f})".format(*middle))
                        print(f"| {name:6} | {steps:5} | {solver:8} | {window or steps:6} | "
                              f"{form:10} |" + "".join(f" {c:>20} |" for c in cells),
                              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
