"""Cost of a sampling step against the bare network call, and error against evaluations.

    python benchmarks/samplers.py [--points 2048] [--steps 20] [--rounds 31] [--threads 1]

Our samplers, smalldiffusion's, k-diffusion's (skipped with a line where it is not installed) and
diffusers' take the same steps with the same network from the same noise. In each round all are
timed, in a new order, and divided by the bare network calls of that round: the first table shows
the median of these ratios, in steps' worth of one call. Errors are those of the exact denoiser of a
known law, against its converged flow: in the first table on one log-linear schedule for all; in the
second with the best of twelve schedules for each, chosen on other noise, and with the time of a run
of ten evaluations. The learned sampler is learned on that other noise. Run it on an otherwise idle
machine; on a small batch of a small network, where overhead shows most.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import platform
import random
import re
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

warnings.filterwarnings("ignore", message=".*(IProgress|__array).*")

from companion import data, denoisers, networks, noise, samplers  # noqa: E402
from companion.samplers.diffusers_scheduler import (  # noqa: E402
    GradientEstimationScheduler,
    from_scheduler,
)

Sampler = Callable[[Any, Tensor, Tensor], Tensor]
HIGH, LOW = 40.0, 0.02
LEARNED = "ours: learned"


def bare(denoiser: Any, x: Tensor, sigmas: Tensor) -> Tensor:
    with torch.no_grad():
        for sigma in sigmas.tolist()[:-1]:
            out = denoiser(x, sigma)
    return out


def smalldiffusion(gamma: float) -> Sampler:
    from accelerate import Accelerator
    from smalldiffusion import samples

    accelerator = Accelerator(cpu=True)

    class Model(torch.nn.Module):
        def __init__(self, denoiser, shape):
            super().__init__()
            self.denoiser, self.shape = denoiser, shape

        def rand_input(self, batch):
            return torch.randn(batch, *self.shape)

        def predict_eps_cfg(self, x, sigma, cond, cfg_scale):
            return denoisers.epsilon(self.denoiser, x, sigma)

    def sampler(denoiser, x, sigmas):
        model = Model(denoiser, x.shape[1:])
        run = samples(model, sigmas, gam=gamma, batchsize=len(x), xt=x, accelerator=accelerator)
        return list(run)[-1]

    return sampler


def k_diffusion(name: str) -> Sampler:
    """A sampler of k-diffusion: of its modules that one alone, without what it trains with."""
    if "k_diffusion" not in sys.modules:
        package = importlib.util.find_spec("k_diffusion")
        if package is None or not package.submodule_search_locations:
            raise ImportError("No module named 'k_diffusion'")
        stub = types.ModuleType("k_diffusion")
        stub.__path__ = list(package.submodule_search_locations)
        sys.modules["k_diffusion"] = stub
    function = getattr(importlib.import_module("k_diffusion.sampling"), name)

    def sampler(denoiser, x, sigmas):
        return function(denoiser, x, sigmas, disable=True)

    return sampler


def as_scheduler(denoiser: Any, x: Tensor, sigmas: Tensor) -> Tensor:
    """Gradient estimation as diffusers' pipelines run it."""
    scheduler = GradientEstimationScheduler(prediction_type="sample")
    scheduler.set_timesteps(sigmas=sigmas)
    levels = sigmas.tolist()
    z = x / (1 + levels[0] ** 2) ** 0.5
    with torch.no_grad():
        for t, sigma in zip(scheduler.timesteps, levels):
            denoised = denoiser(z * (1 + sigma**2) ** 0.5, sigma)
            z = scheduler.step(denoised, t, z, return_dict=False)[0]
    return z


def on_given_levels(denoiser: Any, x: Tensor, sigmas: Tensor) -> Tensor:
    """A learned sampler's step, with weights that were not learned: for its cost."""
    return _unlearned(tuple(sigmas.tolist()[:-1]))(denoiser, x)


@functools.cache
def _unlearned(levels: tuple[float, ...]) -> samplers.LearnedSampler:
    n = len(levels)
    return samplers.LearnedSampler(levels, (0.0, *[0.5] * (n - 1)), (0.0, *[-0.1] * (n - 1)))


def contestants() -> dict[str, Sampler]:
    import diffusers

    found: dict[str, Sampler] = {
        "ours: DDIM": samplers.ddim,
        "ours: gradient estimation": samplers.gradient_estimation,
        "ours: Heun": samplers.heun,
        "ours: DPM-Solver++(2M)": samplers.dpmpp_2m,
        "ours: DPM-Solver++(3M)": samplers.dpmpp_3m,
        "ours: UniPC": samplers.unipc,
        "ours: DEIS": samplers.deis,
        LEARNED: on_given_levels,
        "ours: gradient estimation as a scheduler": as_scheduler,
        "diffusers: DDIM": from_scheduler(diffusers.DDIMScheduler),
        "diffusers: DPM-Solver++(2M)": from_scheduler(diffusers.DPMSolverMultistepScheduler),
        "diffusers: UniPC": from_scheduler(diffusers.UniPCMultistepScheduler),
        "diffusers: DEIS": from_scheduler(diffusers.DEISMultistepScheduler),
    }
    try:
        found["smalldiffusion: DDIM"] = smalldiffusion(1.0)
        found["smalldiffusion: gradient estimation"] = smalldiffusion(2.0)
    except ImportError as reason:
        print(f"smalldiffusion is skipped: {reason}")
    try:
        for label, name in (("Euler", "sample_euler"), ("Heun", "sample_heun")):
            found[f"k-diffusion: {label}"] = k_diffusion(name)
        found["k-diffusion: DPM-Solver++(2M)"] = k_diffusion("sample_dpmpp_2m")
    except ImportError as reason:
        print(f"k-diffusion is skipped: {reason}")
    return found


def ratios(found: dict[str, Sampler], points: int, steps: int, rounds: int) -> dict[str, list]:
    """Time of a run over that of its network calls alone, round by round."""
    network = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2), 1.0), 0).eval()
    network.requires_grad_(False)
    x = HIGH * torch.randn(points, 2, generator=torch.Generator().manual_seed(0))
    sigmas = noise.log_linear(steps, HIGH, LOW)
    everyone = {"bare": bare, **found}
    calls = {}
    for name, sampler in everyone.items():
        counted = denoisers.Counted(network)
        for _ in range(2):  # the second is the one that counts
            counted.calls = 0
            sampler(counted, x, sigmas)
        calls[name] = counted.calls
    # Processor time: one thread's does not count what other programs do.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    table: dict[str, list[float]] = {name: [] for name in everyone}
    order = list(everyone)
    for _ in range(rounds):
        random.shuffle(order)
        seconds = {}
        for name in order:
            began = clock()
            everyone[name](network, x, sigmas)
            seconds[name] = (clock() - began) / calls[name]
        for name, each in seconds.items():
            table[name].append(each / seconds["bare"])
        table["bare"][-1] = seconds["bare"]
    return table


def error_table(found: dict[str, Sampler], budgets: list[int]) -> dict[str, list[float]]:
    """Mean distance to where the flow ends, for each number of evaluations."""
    law = data.mixture("spirals")
    x = HIGH * torch.randn(512, 2, generator=torch.Generator().manual_seed(1))
    end = samplers.heun(law.denoiser, x, noise.log_linear(400, HIGH, 0.001))
    table = {}
    for name, sampler in found.items():
        table[name] = []
        for n in budgets:
            if name == LEARNED:  # only the second table learns
                table[name].append(float("nan"))
                continue
            steps = (n + 1) // 2 if name.endswith("Heun") else n
            out = sampler(law.denoiser, x, noise.log_linear(steps, HIGH, LOW))
            table[name].append(float((out - end).norm(dim=1).mean()))
    return table


SCHEDULES = {
    f"{shape}, {low:g}": (make, low)
    for shape, make in (
        ("log-linear", noise.log_linear), ("Karras", noise.karras), ("cosine", noise.cosine)
    )
    for low in (0.01, 0.02, 0.1, 0.3)
}  # fmt: skip


def tuned(
    found: dict[str, Sampler], budgets: list[int], points: int
) -> dict[str, list[tuple[float, str]]]:
    """Least error on new noise, with the schedule that was best on other noise."""
    law = data.mixture("spirals")
    few, many = min(points, 256), min(points, 512)
    z = torch.randn(few, 2, generator=torch.Generator().manual_seed(2))
    new = torch.randn(many, 2, generator=torch.Generator().manual_seed(1))
    fine = noise.log_linear(400, HIGH, 0.001)
    ends = [samplers.heun(law.denoiser, HIGH * noises, fine) for noises in (z, new)]

    def error(sampler: Sampler, sigmas: Tensor, held_in: bool) -> float:
        x, end = (z, ends[0]) if held_in else (new, ends[1])
        out = sampler(law.denoiser, HIGH * x, sigmas)
        return float((out - end).norm(dim=1).mean().nan_to_num(torch.inf))

    table: dict[str, list[tuple[float, str]]] = {}
    for name, sampler in found.items():
        table[name] = []
        for n in budgets:
            if name == LEARNED:
                generator = torch.Generator().manual_seed(3)
                best = samplers.learn(
                    law.denoiser, (2,), n, sigma_max=HIGH, samples=few, generator=generator
                )
                out = best(law.denoiser, HIGH * new)
                table[name].append((float((out - ends[1]).norm(dim=1).mean()), "learned"))
                continue
            steps = (n + 1) // 2 if name.endswith("Heun") else n
            tried = {key: make(steps, HIGH, low) for key, (make, low) in SCHEDULES.items()}
            key = min(tried, key=lambda k: error(sampler, tried[k], True))
            table[name].append((error(sampler, tried[key], False), key))
    return table


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text(errors="replace"))
        model = match[1].strip() if match else model
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budgets", type=int, nargs="*", default=[5, 10, 20, 50])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = contestants()
    timed = ratios(found, given.points, given.steps, given.rounds)
    errors = error_table(found, given.budgets)
    best = tuned(found, given.budgets, given.points)

    print(f"\n{machine()}; {given.points} points, {given.steps} steps, {given.rounds} rounds.")
    print(f"A bare call takes {statistics.median(timed['bare']) * 1e3:.3f} ms.\n")
    print(f"| {'sampler':40} | step / call | 50 % of rounds |" +
          "".join(f" error, N = {n:3} |" for n in given.budgets))  # fmt: skip
    print(f"|{'-' * 42}|------------:|---------------:|" + "--------------:|" * len(given.budgets))
    middle = {name: statistics.median(timed[name]) for name in found}
    for name in found:
        low, _, high = statistics.quantiles(timed[name], n=4)
        cells = "".join(f" {'-' if e != e else f'{e:.4f}':>13} |" for e in errors[name])
        print(f"| {name:40} | {middle[name]:11.3f} | {f'{low:.3f} to {high:.3f}':>14} |{cells}")
    print("\nWith the best of twelve schedules for each; time of a run of ten evaluations:\n")
    print(
        f"| {'sampler':40} | ms, N =  10 |"
        + "".join(f" {f'error, N = {n:3}':31} |" for n in given.budgets)
    )
    print(f"|{'-' * 42}|------------:|" + f"{'-' * 32}:|" * len(given.budgets))
    call = statistics.median(timed["bare"]) * 1e3
    for name in found:
        cells = "".join(f" {f'{e:.4f} ({key})':31} |" for e, key in best[name])
        print(f"| {name:40} | {10 * call * middle[name]:11.2f} |{cells}")
    peers = {name: value for name, value in middle.items() if not name.startswith("ours")}
    fastest = min(peers, key=lambda name: peers[name])
    ours = middle["ours: gradient estimation"]
    print(f"\nOurs: {ours:.3f} calls a step. The fastest peer, {fastest}: {peers[fastest]:.3f}.")


if __name__ == "__main__":
    main()
