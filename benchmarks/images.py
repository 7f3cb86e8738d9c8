"""Speed of the image experiments: training and sampling of a recipe's U-Net, and what bounds it.

    python benchmarks/images.py [--data mnist] [--size long] [--steps 60]

Training goes through `training.fit`, once to warm up (which compiles, if it does) and once on the
clock, in each precision that the device has. The matrix rate is that of a large product on the
same device in the same precision; a share of one would be a network of nothing else. On a GPU
`fit` keeps the data on the device and images in channels_last order.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time

import torch
from torch.profiler import ProfilerActivity, profile

from companion import noise, samplers, training
from companion.experiments import images

KINDS = {
    "convolution": ("conv", "cudnn", "mkldnn", "xmma", "implicit_gemm"),
    "normalisation": ("norm",),
    "products, attention": ("mm", "gemm", "attention", "flash", "softmax", "dot"),
    "optimiser, averages": ("adam", "foreach", "lerp", "clip"),
    "elementwise, copies": (
        "silu",
        "add",
        "mul",
        "div",
        "copy",
        "elementwise",
        "cat",
        "sum",
        "triton",
    ),
}


def kind(name: str) -> str:
    name = name.lower()
    return next((k for k, words in KINDS.items() if any(w in name for w in words)), "other")


def where_time_goes(setting: images.Setting, precision: str, steps: int) -> dict[str, float]:
    """Shares of the time that a training step spends in operations of each kind."""
    cuda = setting.device == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with profile(activities=activities) as seen:
        fit(setting, precision, False, steps)
    spent: dict[str, float] = {}
    for event in seen.key_averages():
        on_device = event.self_device_time_total if cuda else event.self_cpu_time_total
        if cuda and event.device_type == torch.autograd.DeviceType.CPU:
            continue
        spent[kind(event.key)] = spent.get(kind(event.key), 0.0) + on_device
    total = sum(spent.values())
    return {k: v / total for k, v in sorted(spent.items(), key=lambda e: -e[1])}


def fit(setting: images.Setting, precision: str, compiled: bool, steps: int) -> training.Fit:
    return training.fit(
        setting.network(0), setting.plain(), setting.train, steps=steps, lr=1e-3, progress=False,
        batch_size=setting.config.batch, mixed_precision=precision, compile=compiled,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="data set of the recipe (default mnist)")
    parser.add_argument("--size", default="long", help="size of the recipe (default long)")
    parser.add_argument("--steps", type=int, default=60, help="training steps on the clock (60)")
    options = parser.parse_args()
    setting = images.Setting(images.ImageExperiment(**images.recipe(options.data, options.size)))
    config = setting.config
    cuda = setting.device == "cuda"
    machine = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    each = setting._operations()
    print(f"\n## Image experiments: {setting.title}, recipe '{options.size}'\n")
    print(
        f"{machine}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"commit {commit.stdout.strip()}; channels {config.channels}, batch {config.batch}, "
        f"{sum(p.numel() for p in setting.network(0).parameters()) / 1e6:.2f} M parameters, "
        f"{each / 1e6:.0f} MFLOP a training image\n"
    )
    print("| training in | images/s | GFLOP/s | matrix rate | share |")
    print("|-------------|---------:|--------:|------------:|------:|")
    variants = [("no", False), ("bf16", False)] + ([("bf16", True)] if cuda else [("no", True)])
    if cuda and torch.cuda.get_device_capability() < (8, 0):
        variants = [("no", False), ("fp16", False)]
    for precision, compiled in variants:
        fit(setting, precision, compiled, 12)
        rate = (
            options.steps * config.batch / fit(setting, precision, compiled, options.steps).seconds
        )
        peak = images.matrix_rate(setting.device, precision)
        name = ("float32" if precision == "no" else precision) + (", compiled" if compiled else "")
        print(
            f"| {name:<17} | {rate:.0f} | {rate * each / 1e9:.0f} | {peak / 1e9:.0f} GFLOP/s "
            f"| {rate * each / peak:.0%} |"
        )
    best = "bf16" if cuda else "no"
    shares = where_time_goes(setting, best, 12)
    print(
        "\nTime of a training step: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()) + "."
    )
    denoiser = setting.fit(setting.plain(), 0, steps=12)
    sigmas = noise.log_linear(5, 40.0, 0.02)
    z = setting.noise(config.sample_batch, 0)
    for _ in range(2):
        began = time.perf_counter()
        setting.draw(lambda part, _: samplers.ddim(denoiser, 40 * part, sigmas), z)
        seconds = time.perf_counter() - began
    print(f"\nSampling, {config.sample_batch} together: {5 * len(z) / seconds:.0f} evaluations/s.")


if __name__ == "__main__":
    main()
