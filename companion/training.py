"""Training: one loop for every objective, for one network or for many small ones at once."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from companion.checkpoint import Checkpoint, digest
from companion.noise import randint
from companion.objectives import Objective
from companion.progress import bar as progress_bar
from companion.progress import watched as progressing
from companion.stack import Stack

__all__ = ["Fit", "Stack", "TrainingDiverged", "fit"]

AVERAGE_EVERY = 10


class TrainingDiverged(RuntimeError):
    """A loss that is not finite; says where.

    Attributes
    ----------
    step : int
        Step of the loss, from 0.
    run : int
        Which of the stacked runs, 0 for a single one.
    """

    def __init__(self, message: str, step: int, run: int):
        super().__init__(message)
        self.step = step
        self.run = run


@dataclass
class Fit:
    """What ``fit`` returns."""

    denoiser: Any
    """The averaged denoiser, in evaluation mode: a module, or a ``Stack`` of R."""
    last: Any
    """The denoiser after the last step, without averaging."""
    losses: Tensor
    """Loss at each step, (steps,) or (steps, R), on the CPU."""
    seconds: float
    """Time spent in the loop, over all resumptions."""
    config: dict[str, Any] = field(default_factory=dict)
    """The settings of the run."""

    @property
    def steps_per_second(self) -> float:
        """Training steps a second, all runs of a stack counting as one."""
        return len(self.losses) / self.seconds if self.seconds else math.inf


def learning_rate(step: int, steps: int, lr: float, warmup: int, decay: str) -> float:
    """Learning rate at ``step`` (from 0): linear warm-up, then constant or half a cosine to 0."""
    if step < warmup:
        return lr * (step + 1) / warmup
    if decay == "constant":
        return lr
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def fit(
    denoiser: nn.Module | Sequence[nn.Module],
    objective: Objective | Sequence[Objective],
    data: Tensor | Sequence[Tensor],
    *,
    steps: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    warmup: int | None = None,
    decay: str = "cosine",
    weight_decay: float = 0.0,
    clip: float | None = 1.0,
    ema: float = 0.999,
    seed: int | Sequence[int] = 0,
    mixed_precision: str | None = None,
    compile: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1000,
    device: str | torch.device | None = None,
    progress: bool | None = None,
) -> Fit:
    """Train a denoiser, or many small ones at once, with AdamW; the arguments stay as they were.

    A single denoiser goes through Hugging Face accelerate, so the same call runs under
    ``accelerate launch`` on several devices. A sequence of R denoisers is trained as a ``Stack``;
    every run has its own seed, and may have its own objective and data. A run gives the same result
    in a stack as alone, to rounding. Batches are drawn with replacement.

    Parameters
    ----------
    denoiser : nn.Module, or sequence of R of one architecture
        Copied; what is passed is not changed.
    objective : Objective, or sequence of R
        Equal neighbours share one network call.
    data : (N, *shape) tensor, or sequence of R
        Moved to the device as one tensor, unless it would take more than half of its free memory.
    steps, batch_size : int, at least 1
        Optimiser steps, and samples a step and run (a process under ``accelerate launch``).
    lr, warmup, decay, weight_decay : learning rate, its schedule, and AdamW's decay
        Linear warm-up over ``warmup`` steps (default: a twentieth of ``steps``), then half a cosine
        to 0 with ``decay="cosine"`` (default) or ``"constant"``.
    clip : float or None
        Largest gradient norm of a run (default 1); ``None`` for no clipping.
    ema : float in [0, 1)
        Decay a step of the exponential moving average (default 0.999), which is brought up to date
        every 10 steps and at the end. After k steps it is at most ``k / (9 + k)``, so that short
        runs forget their first weights.
    seed : int, or sequence of R
        Seeds batches, noise levels and noise; for a stack ``seed + r`` when an int. First weights
        and dropout draw from torch's global state (see ``networks.seeded``).
    mixed_precision : {"no", "fp16", "bf16"}, optional
        Default: bf16 where a GPU has it, fp16 on older ones, "no" on the CPU and for stacks.
    compile : bool, optional
        Whether to ``torch.compile`` (default: on GPUs from compute capability 8.0, single runs of
        more than 1000 steps).
    checkpoint : folder, optional
        Where to keep one checkpoint, written atomically every ``checkpoint_every`` steps and at the
        end. If it is there already the run resumes from it, to the same result (with several
        processes, to another sample of it).
    device : optional (default: accelerate's choice, a GPU if there is one)
    progress : bool, optional
        A progress bar with loss and speed, cleared at the end. Default: only on a terminal or in a
        live notebook, and never with the environment variable ``COMPANION_PROGRESS=0``.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        For arguments outside of what is allowed, or a checkpoint of another run.
    TrainingDiverged
        When a loss is not finite; names step, run, learning rate and range of sigma.
    """
    stacked = not isinstance(denoiser, nn.Module)
    models = [denoiser] if isinstance(denoiser, nn.Module) else list(denoiser)
    runs = len(models)
    objectives = _per_run("objective", objective, runs, stacked)
    datasets = _per_run("data", data, runs, stacked)
    seeds = _per_run("seed", seed, runs, stacked)
    if isinstance(seed, int):
        seeds = [seed + r for r in range(runs)]
    warmup = steps // 20 if warmup is None else warmup
    _check_settings(datasets, steps, batch_size, lr, warmup, decay, clip, ema, checkpoint_every)

    accelerator = _accelerator(device, "no" if stacked else mixed_precision)
    place = accelerator.device
    if place.type == "cpu":
        _keep_freed_memory()
    model: Any = Stack(models) if stacked else copy.deepcopy(models[0])
    model.to(place).train().requires_grad_(True)
    images = place.type == "cuda" and datasets[0].ndim == 4 and not stacked
    if images:
        model.to(memory_format=torch.channels_last)
    if compile is None:
        compile = has_bf16(place) and not stacked and steps > 1000

    decay_now = 0.0

    def average(averages, current, _count) -> None:
        torch._foreach_lerp_(averages, current, 1 - decay_now)

    averaged = AveragedModel(model, multi_avg_fn=average)
    averaged.module.eval()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=lr, weight_decay=weight_decay, fused=place.type in ("cpu", "cuda")
    )
    resident = _place(datasets, place)
    # One process draws its own batches, and each run of a stack its own.
    generators = [
        torch.Generator(place).manual_seed(s + 1_000_003 * accelerator.process_index) for s in seeds
    ]
    losses = torch.zeros(steps, runs, device=place)
    config = {
        "steps": steps, "batch_size": batch_size, "lr": lr, "warmup": warmup, "decay": decay,
        "weight_decay": weight_decay, "clip": clip, "ema": ema, "seeds": seeds,
        "objectives": [repr(o) for o in objectives], "mixed_precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
    }  # fmt: skip

    keeper = None
    step, before = 0, 0.0
    if checkpoint is not None:
        identity = {**config, "data": [digest(d) for d in datasets], "model": digest(model)}
        keeper = Checkpoint(
            checkpoint, identity, model, averaged, optimizer, generators, accelerator.scaler
        )
        step, before = keeper.load(losses)
        if step and accelerator.process_index:  # the checkpoint holds the first process's draws
            for s, g in zip(seeds, generators):
                g.manual_seed(s + 1_000_003 * accelerator.process_index + step)

    raw = model
    trained = torch.compile(model) if compile else model
    trained = accelerator.prepare(trained)
    # accelerate's wrappers of the optimizer and of clipping look for other back ends at each step,
    # which takes longer than the step of a small network; only loss scaling (fp16) needs them.
    scaled = accelerator.scaler is not None
    stepper = accelerator.prepare(optimizer) if scaled else optimizer
    parameters = list(raw.parameters())
    groups = _groups(objectives)
    watched = progressing() if progress is None else progress
    watched = watched and accelerator.is_main_process
    bar = progress_bar(steps, done=step) if watched else None
    started = time.perf_counter()
    try:
        while step < steps:
            rate = learning_rate(step, steps, lr, warmup, decay)
            optimizer.param_groups[0]["lr"] = rate
            batch = _draw(resident, batch_size, generators, place, images)
            if len(groups) == 1:
                source = generators if stacked else generators[0]
                loss = objectives[0](trained, batch, source).view(runs, batch_size)
            else:
                parts = raw.split([b - a for a, b in groups])
                loss = torch.cat(
                    [
                        objectives[a](
                            part, batch[a * batch_size : b * batch_size], generators[a:b]
                        ).view(b - a, batch_size)
                        for part, (a, b) in zip(parts, groups)
                    ]
                )
            loss = loss.mean(1)
            total = loss.sum()
            losses[step] = loss.detach()
            accelerator.backward(total)
            if clip is not None:
                if stacked:
                    _clip_runs(parameters, clip)
                else:
                    if scaled:
                        accelerator.unscale_gradients()
                    nn.utils.clip_grad_norm_(parameters, clip)
            stepper.step()
            optimizer.zero_grad()
            step += 1
            if step % AVERAGE_EVERY == 0 or step == steps:
                gap = (step - 1) % AVERAGE_EVERY + 1
                decay_now = min(ema, step / (9 + step)) ** gap
                averaged.update_parameters(raw)
            saving = keeper is not None and (step % checkpoint_every == 0 or step == steps)
            # Asking a GPU for a number makes it wait; a CPU is asked at each step.
            on_cpu = place.type == "cpu"
            suspicious = not math.isfinite(total.item()) if on_cpu else step % 25 == 0
            if suspicious or saving or step == steps:
                _check_losses(losses, max(0, step - 25), step, objectives, config)
            if bar is not None:
                bar.update()
                if step % 50 == 0 or step == steps:
                    bar.set_postfix(loss=f"{losses[step - 1].mean().item():.4g}", refresh=False)
            if saving and accelerator.is_main_process:
                if place.type == "cuda":
                    torch.cuda.synchronize()
                seconds = before + time.perf_counter() - started
                keeper.save(step, seconds, losses)  # type: ignore[union-attr]
        if place.type == "cuda":
            torch.cuda.synchronize()
    finally:
        if bar is not None:
            bar.close()
    seconds = before + time.perf_counter() - started
    accelerator.unwrap_model(trained, keep_fp32_wrapper=False)
    optimizer.zero_grad()
    history = losses.cpu() if stacked else losses[:, 0].cpu()
    averaged.module.requires_grad_(False)
    return Fit(averaged.module, raw.eval(), history, seconds, config)


# --- pieces -------------------------------------------------------------------------------------


def _per_run(name: str, value: Any, runs: int, stacked: bool) -> list:
    if isinstance(value, (list, tuple)):
        if not stacked or len(value) != runs:
            raise ValueError(
                f"{name}: got a sequence of {len(value)}; allowed is one for all"
                + (f", or one for each of the {runs} runs" if stacked else "")
            )
        return list(value)
    return [value] * runs


def _check_settings(
    datasets, steps, batch_size, lr, warmup, decay, clip, ema, checkpoint_every
) -> None:
    for name, value in (
        ("steps", steps), ("batch_size", batch_size), ("checkpoint_every", checkpoint_every)
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: got {value!r}; allowed is a whole number of at least 1")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr: got {lr!r}; allowed is a number above 0")
    if not 0 <= warmup <= steps:
        raise ValueError(f"warmup: got {warmup!r}; allowed are 0 to {steps} steps")
    if decay not in ("cosine", "constant"):
        raise ValueError(f"decay: got {decay!r}; allowed are 'cosine' and 'constant'")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip: got {clip!r}; allowed is a number above 0, or None")
    if not 0 <= ema < 1:
        raise ValueError(f"ema: got {ema!r}; allowed is a number from 0 to below 1")
    for d in datasets:
        if not isinstance(d, Tensor) or d.ndim < 2 or not len(d) or not d.is_floating_point():
            given = f"shape {tuple(d.shape)} of {d.dtype}" if isinstance(d, Tensor) else type(d)
            raise ValueError(f"data: got {given}; allowed is a floating-point tensor (N, *shape)")
        if d.shape[1:] != datasets[0].shape[1:]:
            raise ValueError("data: allowed are tensors of one sample shape for all runs")


def has_bf16(device: torch.device) -> bool:
    """Whether it is a GPU that has bf16 and gains by compiling; Colab's T4 (7.5) is not."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _accelerator(device, mixed_precision: str | None):
    with warnings.catch_warnings():  # accelerate asks tqdm for widgets, which it then does not use
        warnings.filterwarnings("ignore", message="IProgress not found")
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, PartialState

    allowed = (None, "no", "fp16", "bf16")
    if mixed_precision not in allowed:
        raise ValueError(f"mixed_precision: got {mixed_precision!r}; allowed are {allowed[1:]}")
    # A process keeps one accelerate state; a second call may ask for another precision or device.
    if AcceleratorState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
    cpu = device is not None and torch.device(device).type == "cpu"
    if mixed_precision is None:
        mixed_precision = "no"
        if torch.cuda.is_available() and not cpu:
            mixed_precision = "bf16" if has_bf16(torch.device("cuda")) else "fp16"
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    if device is not None and accelerator.device.type != torch.device(device).type:
        raise ValueError(
            f"device: got {str(device)!r}; allowed here is {accelerator.device.type!r}"
        )
    return accelerator


def _keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next step; a stack spends a fifth of it on page faults.

    Its limit for giving memory back to the system grows when a large block comes and goes.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _groups(objectives: Sequence[Objective]) -> list[tuple[int, int]]:
    """Bounds of the runs of equal neighbours."""
    starts = [i for i, o in enumerate(objectives) if i == 0 or o != objectives[i - 1]]
    return list(zip(starts, [*starts[1:], len(objectives)]))


def _place(datasets: list[Tensor], device: torch.device) -> list[Tensor]:
    """Move data to the device, each set once, unless they would fill it."""
    unique = {id(d): d for d in datasets}
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(d.nbytes for d in unique.values()) > free / 2:
            return datasets
    moved = {key: d.to(device) for key, d in unique.items()}
    return [moved[id(d)] for d in datasets]


def _draw(
    datasets: list[Tensor],
    batch_size: int,
    generators: list[torch.Generator],
    device: torch.device,
    images: bool,
) -> Tensor:
    if all(d is datasets[0] for d in datasets):
        data, runs = datasets[0], len(datasets)
        source = generators if runs > 1 else generators[0]
        batch = data[randint(len(data), (runs * batch_size,), generator=source).to(data.device)]
    else:
        batch = torch.cat(
            [
                d[randint(len(d), (batch_size,), generator=g).to(d.device)]
                for d, g in zip(datasets, generators)
            ]
        )
    batch = batch.to(device)
    return batch.contiguous(memory_format=torch.channels_last) if images else batch


def _clip_runs(parameters: list[nn.Parameter], clip: float) -> None:
    """Scale the gradients of each run of a stack to a norm of at most ``clip``."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    factor = (clip / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))


def _check_losses(losses: Tensor, start: int, stop: int, objectives, config) -> None:
    bad = (~losses[start:stop].isfinite()).nonzero()
    if not len(bad):
        return
    step, run = start + int(bad[0, 0]), int(bad[0, 1])
    rate = learning_rate(step, config["steps"], config["lr"], config["warmup"], config["decay"])
    law = getattr(objectives[run], "sigmas", None)
    levels = "sigma as the objective draws it"
    if law is not None:
        levels = "sigma from {:.3g} to {:.3g}".format(*law.range)
    which = f" of run {run}" if losses.shape[1] > 1 else ""
    raise TrainingDiverged(
        f"the loss{which} is {losses[step, run].item()} at step {step} of {config['steps']} "
        f"({levels}, learning rate {rate:.3g}); try a lower learning rate or clipping",
        step,
        run,
    )
