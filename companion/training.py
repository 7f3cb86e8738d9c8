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

from companion import checks, devices
from companion.checkpoint import Checkpoint
from companion.denoisers.wrappers import minus_one_allowed
from companion.objectives import Objective
from companion.progress import bar as progress_bar
from companion.progress import watched
from companion.stack import Stack
from companion.training_data import checked_labels, checked_samples
from companion.training_run import AVERAGE_EVERY, Settings, TrainingDiverged, TrainingRun

__all__ = ["Fit", "Stack", "TrainingDiverged", "fit"]


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


def fit(
    denoiser: nn.Module | Sequence[nn.Module],
    objective: Objective | Sequence[Objective],
    data: Tensor | Sequence[Tensor],
    *,
    steps: int,
    labels: Tensor | Sequence[Tensor] | None = None,
    label_dropout: float = 0.1,
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
        Copied; what is passed is not changed. What is frozen stays so. What ``fit`` returned is
        trained on as it was. A ``Stack`` is the sequence of its runs.
    objective : Objective, or sequence of R
        Equal neighbours share one network call. One that knows something of each sample of the data
        (``known_samples``, N) is asked for that of a batch (``pick(index)``), as with
        ``AmbientTweedie(levels)``.
    data : (N, *shape) tensor, array or Dataset, or sequence of R
        Finite numbers of the type of the parameters, or uint8 images, which are scaled to [-1, 1]
        batch by batch. A Dataset is read once, of its tuples the first entry; what does not fit in
        the memory can be a memory map of NumPy, which stays on the disk. Moved to the device as one
        tensor, unless it would take more than half of its free memory.
    labels : (N,) whole numbers, or sequence of R, optional
        Class of each sample, for a network with classes; -1 is none. See
        ``denoisers.conditional``.
    label_dropout : float from 0 to 1
        Share of labels that a batch does without, so that the denoiser learns to be asked without
        too, for guidance (default 0.1). Only used with labels.
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
        Default: bf16 where a GPU has it, fp16 on older ones, "no" on the CPU and for stacks, which
        allow nothing else.
    compile : bool, optional
        Whether to ``torch.compile`` (default: on GPUs from compute capability 8.0, single runs of
        more than 1000 steps).
    checkpoint : folder, optional
        Where to keep one checkpoint, written atomically every ``checkpoint_every`` steps and at the
        end. If it is there already the run resumes from it, to the same result (with several
        processes, to another sample of it); torch's global random state is then left as it was
        before. A second process waits for the first. A disk that is full ends in a warning, and
        the run goes on.
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
    if isinstance(denoiser, Stack):
        denoiser = [denoiser[r] for r in range(len(denoiser))]
    stacked = not isinstance(denoiser, nn.Module)
    models = _networks(denoiser)
    runs = len(models)
    steps = checks.whole("steps", steps)
    checkpoint_every = checks.whole("checkpoint_every", checkpoint_every)
    warmup = steps // 20 if warmup is None else warmup
    settings = Settings(steps, batch_size, lr, warmup, decay, weight_decay, clip, ema)
    objectives = _per_run("objective", objective, runs, stacked)
    for one in objectives:
        checks.function("objective", one)
    datasets = checked_samples(_per_run("data", data, runs, stacked), models)
    for one, samples in zip(objectives, datasets):
        known = getattr(one, "known_samples", None)
        if known not in (None, len(samples)):
            raise ValueError(
                f"objective: got one that knows {known} samples, for {len(samples)} of data; "
                "allowed is the same number"
            )
    classes = checked_labels(_per_run("labels", labels, runs, stacked), datasets, models)
    label_dropout = checks.number("label_dropout", label_dropout, at_least=0, at_most=1)
    if classes is not None and label_dropout and not minus_one_allowed(models[0]):
        raise ValueError(
            f"label_dropout: got {label_dropout:g} for a model of diffusers, which has no label -1 "
            "for none; allowed is 0, with the model's own number of no label among the labels"
        )
    seeds = _seeds(seed, runs, stacked)
    if stacked and mixed_precision not in (None, "no"):
        raise ValueError(
            f"mixed_precision: got {mixed_precision!r} for several denoisers; allowed is 'no'"
        )
    with (
        devices.accelerated(device, "no" if stacked else mixed_precision) as accelerator,
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        model = Stack(models) if stacked else copy.deepcopy(models[0])
        if accelerator.device.type == "cpu":
            devices.keep_freed_memory()
        run = TrainingRun(model, objectives, datasets, seeds, settings, accelerator)
        if classes is not None:
            run.use_labels(classes, label_dropout)
        if compile is None:
            compile = devices.has_bf16(run.device) and not stacked and steps > 1000
        if checkpoint is None:
            return _take_steps(run, None, compile, checkpoint_every, progress)
        with run.checkpoint(checkpoint, datasets) as store:
            return _take_steps(run, store, compile, checkpoint_every, progress)


def _take_steps(
    run: TrainingRun,
    store: Checkpoint | None,
    compile: bool,
    checkpoint_every: int,
    progress: bool | None,
) -> Fit:
    """Take all steps that are left."""
    steps, accelerator = run.settings.steps, run.accelerator
    found = torch.get_rng_state()
    step, before = (0, 0.0) if store is None else store.load(run.losses)
    resumed = step > 0
    if step and accelerator.process_index:  # the checkpoint holds the first process's draws
        run.seed_generators(step)
    run.prepare(compile)
    visible = (watched() if progress is None else progress) and accelerator.is_main_process
    bar = progress_bar(steps, done=step) if visible else None
    started = time.perf_counter()
    try:
        while step < steps:
            total = run.take_step(step)
            step += 1
            if step % AVERAGE_EVERY == 0 or step == steps:
                run.update_average(step)
            saving = store is not None and (step % checkpoint_every == 0 or step == steps)
            # Asking a GPU for a number makes it wait; a CPU is asked at each step.
            on_cpu = run.device.type == "cpu"
            suspicious = not math.isfinite(total.item()) if on_cpu else step % 25 == 0
            if suspicious or saving or step == steps:
                run.check_losses(max(0, step - 25), step)
            if bar is not None:
                bar.update()
                if step % 50 == 0 or step == steps:
                    bar.set_postfix(loss=f"{run.losses[step - 1].mean().item():.4g}", refresh=False)
            if store is not None and saving and accelerator.is_main_process:
                run.wait()
                _save(store, step, before + time.perf_counter() - started, run.losses)
        run.wait()
    finally:
        if bar is not None:
            bar.close()
        if resumed:  # the checkpoint's random state was for the steps only
            torch.set_rng_state(found)
    seconds = before + time.perf_counter() - started
    averaged, last, losses = run.result()
    return Fit(averaged, last, losses, seconds, run.config)


def _save(store: Checkpoint, step: int, seconds: float, losses: Tensor) -> None:
    try:
        store.save(step, seconds, losses)
    except OSError as error:  # what was trained is not lost for a full disk
        warnings.warn(f"{error}; the training goes on without it", RuntimeWarning, stacklevel=4)


def _per_run(name: str, value: Any, runs: int, stacked: bool) -> list:
    if isinstance(value, (list, tuple)):
        if not stacked or len(value) != runs:
            raise ValueError(
                f"{name}: got a sequence of {len(value)}; allowed is one for all"
                + (f", or one for each of the {runs} runs" if stacked else "")
            )
        return list(value)
    return [value] * runs


def _seeds(seed: int | Sequence[int], runs: int, stacked: bool) -> list[int]:
    seeds = [checks.whole("seed", s, at_least=0) for s in _per_run("seed", seed, runs, stacked)]
    return seeds if isinstance(seed, (list, tuple)) else [s + r for r, s in enumerate(seeds)]


def _networks(denoiser: Any) -> list[nn.Module]:
    if isinstance(denoiser, nn.Module):
        return [denoiser]
    if not isinstance(denoiser, Sequence) or not all(isinstance(d, nn.Module) for d in denoiser):
        raise ValueError(
            f"denoiser: got {checks.shown(denoiser)}; allowed is a module, or a sequence of modules"
        )
    return list(denoiser)
