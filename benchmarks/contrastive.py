"""The contrastive diffusion loss in one call against a loop over samples; Picard against steps.

    python benchmarks/contrastive.py [--device cuda] [--rounds 7] [--threads 1] [--steps 50]

The first table times a loss and its backward pass at equal network evaluations: our batched loss,
and a loop in the structure of the official code (one sample after the other, a coin, two separate
likelihoods, a backward pass for each sample), which is written anew here. Both draw alike and give
the same loss on average. The official setting is two samples with 128 points. In each round the two
are timed in turns; the table shows the median of their ratio and the middle half of the rounds.

The second table solves the same trajectory step by step and by Picard iteration, with a network
trained for a moment: iterations (the depth), evaluations, and time over that of the steps. On a
CPU the network is tiny and a call mostly overhead, so that its times say nothing about larger ones;
on a GPU it is a U-Net. Iterations and evaluations are the same anywhere.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from companion import data, denoisers, networks, noise, objectives, samplers, training
from companion.experiments.noise_classifier.ablations import AblatedContrast

LEVELS = noise.LogLogistic(0.0, 3.0, 3.0)


def nll_up_to_a_constant(net: Any, y: Tensor, t: float, points: int) -> Tensor:
    """Likelihood of one point under the law with noise ``t``, with draws of its own."""
    sigma = LEVELS.sample(points, device=y.device)
    eps = torch.randn(points, *y.shape, device=y.device)
    column = sigma.view(-1, *[1] * y.ndim)
    total = (sigma**2 + t**2).sqrt()
    noisy = y + column * eps
    seen = (noisy - net(noisy, total)) / total.view_as(column)
    error = (eps - (sigma / total).view_as(column) * seen).flatten(1).square().sum(1)
    reference = y.numel() * (1 + t**2) / (1 + t**2 + sigma**2)
    return 0.5 * ((error - reference) / LEVELS.density(sigma)).mean()


def loop(net: Any, batch: Tensor, points: int) -> float:
    """One sample at a time, and a backward pass for each."""
    value = 0.0
    for x in batch:
        t = float(LEVELS.sample(1))
        clean = random.random() < 0.5
        y = x if clean else x + t * torch.randn_like(x)
        constant = 0.5 * x.numel() * torch.log1p(torch.tensor(t**2)).item()
        noised = nll_up_to_a_constant(net, y, t, points)
        ratio = constant + noised - nll_up_to_a_constant(net, y, 0.0, points)
        loss = 2 * softplus(-ratio if clean else ratio) / len(batch)
        loss.backward()
        value += float(loss.detach())
    return value


def batched(net: Any, batch: Tensor, points: int) -> float:
    """All samples, terms and points in one call."""
    goal = AblatedContrast(
        contrast=LEVELS, levels=LEVELS, points=points,
        shared=False, stratified=False, antithetic=False, both=False,
    )  # fmt: skip
    loss = goal(net, batch).mean()
    loss.backward()
    return float(loss.detach())


def shared(net: Any, batch: Tensor, points: int) -> float:
    """The book's setting at the same evaluations: shared draws, both signs, both classes."""
    goal = objectives.ContrastiveDiffusion(contrast=LEVELS, points=max(1, points // 4))
    loss = goal(net, batch).mean()
    loss.backward()
    return float(loss.detach())


def timed(function: Any, net: Any, batch: Tensor, points: int) -> float:
    net.zero_grad(set_to_none=True)
    if batch.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    function(net, batch, points)
    if batch.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def losses(net: Any, clean: Tensor, sizes: list[tuple[int, int]], rounds: int) -> None:
    print(f"| {'samples x points':>16} | evaluations | loop, ms | loop / ours | 50 % of rounds "
          "| loop / shared draws |")  # fmt: skip
    print("|-----------------:|------------:|---------:|------------:|---------------:"
          "|--------------------:|")  # fmt: skip
    for samples, points in sizes:
        batch = clean[:samples]
        everyone = [loop, batched, shared]
        for function in everyone:
            timed(function, net, batch, points)
        seconds: dict[str, list[float]] = {f.__name__: [] for f in everyone}
        for _ in range(rounds):
            random.shuffle(everyone)
            for function in everyone:
                seconds[function.__name__].append(timed(function, net, batch, points))
        pairs = list(zip(*(seconds[n] for n in ("loop", "batched", "shared"))))
        ratio = [a / b for a, b, _ in pairs]
        own = statistics.median(a / c for a, _, c in pairs)
        low, middle, high = statistics.quantiles(ratio, n=4)
        print(
            f"| {samples:6d} x {points:7d} | {2 * samples * points:11d} "
            f"| {1e3 * statistics.median(seconds['loop']):8.1f} | {middle:11.1f} "
            f"| {f'{low:.1f} to {high:.1f}':>14} | {own:19.1f} |"
        )


def parallel(net: Any, x: Tensor, steps: list[int], rounds: int, windows: list[int]) -> None:
    print(f"| {'steps':>5} | sampler | {'form':10} | window | iterations | evaluations "
          "| steps / Picard, time |")  # fmt: skip
    print("|------:|---------|------------|-------:|-----------:|------------:"
          "|---------------------:|")  # fmt: skip

    def clock(function: Any) -> float:
        found = []
        for _ in range(rounds):
            if x.is_cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            function()
            if x.is_cuda:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - began)
        return statistics.median(found)

    for count in steps:
        sigmas = noise.log_linear(count, 20.0, 0.02)
        start = 20.0 * x
        for stochastic in (False, True):
            sequential = samplers.ddpm if stochastic else samplers.ddim
            before = clock(partial(sequential, net, start, sigmas))
            for semilinear in (False, True):
                for window in (w for w in (count, *windows) if w <= count):
                    seen: list[samplers.PicardIteration] = []
                    options: dict[str, Any] = {
                        "window": window,
                        "stochastic": stochastic,
                        "tolerance": 0.02,
                    }
                    samplers.picard(
                        net, start, sigmas, semilinear=semilinear, callback=seen.append, **options
                    )
                    run = partial(
                        samplers.picard, net, start, sigmas, semilinear=semilinear, **options
                    )
                    took = clock(run)
                    form = "semilinear" if semilinear else "plain"
                    print(
                        f"| {count:5d} | {'DDPM' if stochastic else 'DDIM':7} | {form:10} "
                        f"| {window:6d} | {seen[-1].iteration:10d} | {seen[-1].evaluations:11d} "
                        f"| {before / took:20.2f} |"
                    )


def machine(device: str) -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text(errors="replace"))
        model = match[1].strip() if match else model
    if device.startswith("cuda"):
        model = torch.cuda.get_device_name()
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="*", default=None)
    parser.add_argument("--sizes", nargs="*", default=["2x128", "64x16", "64x64", "256x16"])
    parser.add_argument("--train", type=int, default=400, help="steps of training for Picard")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    random.seed(0)
    on_gpu = given.device.startswith("cuda")

    law = data.mixture("spirals")
    net: Any = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2), 1.0), 0)
    goal = objectives.DenoisingScoreMatching(noise.LogNormal(-1.2, 1.6), "edm", 1.0)
    clean = law.sample(20_000, torch.Generator().manual_seed(0))
    fitted = training.fit(
        net, goal, clean, steps=given.train, lr=3e-3, device=given.device, progress=False
    )
    trained = fitted.denoiser
    print(f"\n{machine(given.device)}; {given.rounds} rounds\n")
    print("Loss and backward pass of a small network on points, at equal evaluations:\n")
    sizes = [(int(a), int(b)) for a, b in (size.split("x") for size in given.sizes)]
    net.to(given.device)
    losses(net, clean.to(given.device), sizes, given.rounds)

    print("\nPicard iteration against steps, 16 samples, tolerance 0.02:\n")
    shape: tuple[int, ...] = (2,)
    if on_gpu:  # a U-Net, whose calls are long enough to be worth running side by side
        images = data.images("digits")[0]
        shape = tuple(images.shape[1:])
        unet = networks.seeded(
            lambda: denoisers.Preconditioned(networks.UNet(shape, (64, 128)), 0.75), 0
        )
        levels = noise.LogNormal(-0.5, 1.4)
        sharp = objectives.DenoisingScoreMatching(levels, "edm", 0.75)
        trained = training.fit(
            unet, sharp, images, steps=5 * given.train, device=given.device, progress=False
        ).denoiser
    x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(1)).to(given.device)
    steps = given.steps or ([100, 1000] if on_gpu else [50, 200])
    with torch.no_grad():
        parallel(trained, x, steps, given.rounds, [32] if on_gpu else [16])


if __name__ == "__main__":
    main()
