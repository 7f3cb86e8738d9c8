"""Cost of training: `fit` against a bare loop, against smalldiffusion, and many runs against one.

    python benchmarks/training.py [--steps 400] [--rounds 7]

Everything is timed in turn, round after round, on the same network, data, batch size and number
of steps; the table shows medians over the rounds and ratios within a round. The bare loop does by
hand, on a tensor, what `fit` does: AdamW, warm-up and decay, clipping, moving average. 'Barest'
leaves the last three out. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import subprocess
import sys
import time

import torch
from torch.utils.data import DataLoader

from companion import data, denoisers, networks, noise, objectives, training, training_run

BATCH, STACK = 128, 32


def network(seed: int) -> denoisers.Preconditioned:
    return networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2), 1.0), seed)


def by_fit(points, steps, runs=1):
    nets = [network(s) for s in range(runs)]
    objective = objectives.DenoisingScoreMatching(sigma_data=1.0)
    fit = training.fit(nets if runs > 1 else nets[0], objective, points, steps=steps,
                       batch_size=BATCH, device="cpu")  # fmt: skip
    return fit.seconds


def by_hand(points, steps, everything=True):
    net, generator = network(0), torch.Generator().manual_seed(0)
    law = noise.LogNormal()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0, fused=True)
    averaged = copy.deepcopy(net)
    pairs = list(averaged.parameters()), list(net.parameters())
    warmup = steps // 20
    start = time.perf_counter()
    for step in range(steps):
        x = points[torch.randint(len(points), (BATCH,), generator=generator)]
        sigma = law.sample(BATCH, generator=generator)
        noisy = x + sigma[:, None] * torch.randn(x.shape, generator=generator)
        weight = (sigma**2 + 1) / sigma**2
        loss = (weight * (net(noisy, sigma) - x).square().mean(1)).mean()
        loss.backward()
        if everything:
            rate = training_run.learning_rate(step, steps, 1e-3, warmup, "cosine")
            optimizer.param_groups[0]["lr"] = rate
            torch.nn.utils.clip_grad_norm_(pairs[1], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if everything:
            with torch.no_grad():
                torch._foreach_lerp_(*pairs, 1 - min(0.999, (1 + step) / (10 + step)))
        loss.item()
    return time.perf_counter() - start


def by_smalldiffusion(points, steps):
    import smalldiffusion

    class Model(torch.nn.Module, smalldiffusion.ModelMixin):
        def __init__(self):
            super().__init__()
            self.net, self.input_dims = network(0), (2,)

        def forward(self, x, sigma, cond=None):
            return denoisers.epsilon(self.net, x, sigma.flatten())

    loader = DataLoader(points, batch_size=BATCH, shuffle=True, drop_last=True)
    schedule = smalldiffusion.ScheduleLogLinear(N=200, sigma_min=0.005, sigma_max=10)
    epochs = -(-steps // len(loader))
    start = time.perf_counter()
    for done, _ in enumerate(
        smalldiffusion.training_loop(loader, Model(), schedule, epochs=epochs), start=1
    ):
        if done == steps:
            break
    return time.perf_counter() - start


def import_seconds():
    code = (
        "import time, torch; t = time.perf_counter(); import companion.training,"
        " companion.samplers, companion.oracles, companion.networks; print(time.perf_counter() - t)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                check=True).stdout)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    points = data.points("swiss_roll", 4096, generator=torch.Generator().manual_seed(0))
    loops = {
        "fit": lambda: by_fit(points, options.steps),
        "bare loop, same work": lambda: by_hand(points, options.steps),
        "barest loop": lambda: by_hand(points, options.steps, everything=False),
        "smalldiffusion": lambda: by_smalldiffusion(points, options.steps),
        f"fit, {STACK} runs at once": lambda: by_fit(points, options.steps, STACK),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for round_number in range(options.rounds + 1):
        for name, loop in loops.items():
            taken = loop()
            if round_number:  # the first round warms up
                seconds[name].append(taken)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}; {options.steps} steps of batch {BATCH}, "
          f"{options.rounds} rounds")  # fmt: skip
    print(f"{'loop':28s}{'ms a step':>10s}{'times fit':>22s}")
    for name, taken in seconds.items():
        ratios = sorted(t / f for t, f in zip(taken, seconds["fit"]))
        middle = statistics.median(taken) / options.steps * 1e3
        print(f"{name:28s}{middle:10.3f}{statistics.median(ratios):10.2f} "
              f"[{ratios[0]:.2f}, {ratios[-1]:.2f}]")  # fmt: skip
    print(f"import of companion after torch: {import_seconds():.2f} s")


if __name__ == "__main__":
    main()
