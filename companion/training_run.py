"""One training run, or a stack of them: what a step does. ``training.fit`` takes the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from companion import checks, devices
from companion.checkpoint import Checkpoint, digest
from companion.denoisers.wrappers import Conditional
from companion.noise import rand, randint
from companion.objectives import Objective
from companion.stack import Stack
from companion.training_data import scaled

__all__ = [
    "AVERAGE_EVERY",
    "Settings",
    "TrainingDiverged",
    "TrainingRun",
    "clip_runs",
    "learning_rate",
]

AVERAGE_EVERY = 10
"""Steps from one update of the moving average to the next."""


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


def learning_rate(step: int, steps: int, lr: float, warmup: int, decay: str) -> float:
    """Learning rate at ``step`` (from 0): linear warm-up, then constant or half a cosine to 0."""
    if step < warmup:
        return lr * (step + 1) / warmup
    if decay == "constant":
        return lr
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass
class Settings:
    """Numbers of a training run, as ``fit`` documents them."""

    steps: int
    batch_size: int
    lr: float
    warmup: int
    decay: str
    weight_decay: float
    clip: float | None
    ema: float

    def __post_init__(self):
        self.steps = checks.whole("steps", self.steps)
        self.batch_size = checks.whole("batch_size", self.batch_size)
        self.lr = checks.number("lr", self.lr, above=0)
        self.warmup = checks.whole("warmup", self.warmup, 0, self.steps)
        checks.choice("decay", self.decay, ("cosine", "constant"))
        self.weight_decay = checks.number("weight_decay", self.weight_decay, at_least=0)
        if self.clip is not None:
            self.clip = checks.number("clip", self.clip, above=0)
        self.ema = checks.number("ema", self.ema, at_least=0, below=1)

    def rate(self, step: int) -> float:
        """Learning rate at ``step``."""
        return learning_rate(step, self.steps, self.lr, self.warmup, self.decay)


class TrainingRun:
    """What is trained, by what and with which random numbers; R at once for a ``Stack``.

    Parameters
    ----------
    model : nn.Module, or ``Stack`` of R
        Changed by the training.
    objectives, datasets, seeds : sequences of R
    settings : Settings
    accelerator : as of ``devices.accelerated``
    """

    def __init__(
        self,
        model: Any,
        objectives: list[Objective],
        datasets: list[Tensor],
        seeds: list[int],
        settings: Settings,
        accelerator: Any,
    ):
        self.stacked, self.runs = isinstance(model, Stack), len(objectives)
        self.objectives, self.seeds, self.settings = objectives, seeds, settings
        self.groups = _equal_neighbours(objectives)
        self.accelerator, self.device = accelerator, accelerator.device
        self.model = model.to(self.device)
        set_modes(self.model)
        self.images = self.device.type == "cuda" and datasets[0].ndim == 4 and not self.stacked
        if self.images:
            self.model.to(memory_format=torch.channels_last)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.share = 1.0
        self.averaged = AveragedModel(self.model, multi_avg_fn=self._move_average)
        self.averaged.module.eval()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.lr, weight_decay=settings.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        self.datasets = devices.on_device(datasets, self.device)
        self.generators = [torch.Generator(self.device) for _ in seeds]
        self.seed_generators(0)
        self.losses = torch.zeros(settings.steps, self.runs, device=self.device)
        self.labels: list[Tensor] | None = None
        self.trained: Any = self.model
        self.stepper: Any = self.optimizer

    def use_labels(self, labels: Sequence[Tensor], dropout: float) -> None:
        """Train with the labels (N,) of each run, of which a share is left out."""
        self.labels = devices.on_device(labels, self.device)
        self.label_dropout = dropout

    def seed_generators(self, step: int) -> None:
        """One process draws its own batches, and each run of a stack its own."""
        for seed, generator in zip(self.seeds, self.generators):
            generator.manual_seed(seed + 1_000_003 * self.accelerator.process_index + step)

    @property
    def config(self) -> dict[str, Any]:
        """What makes the run what it is, but for its data and first weights."""
        labelled = {} if self.labels is None else {"label_dropout": self.label_dropout}
        return {
            **asdict(self.settings),
            **labelled,
            "seeds": self.seeds,
            "objectives": [repr(o) for o in self.objectives],
            "mixed_precision": self.accelerator.mixed_precision,
            "processes": self.accelerator.num_processes,
        }

    def checkpoint(self, folder: str | Path, datasets: list[Tensor]) -> Checkpoint:
        """Return the checkpoint of this run, which is neither saved nor loaded yet."""
        contents = {
            "objectives": [digest(o, "objective") for o in self.objectives],
            "data": [digest(d) for d in datasets],
            "model": digest(self.model, "denoiser"),
        }
        if self.labels is not None:
            contents["labels"] = [digest(one) for one in self.labels]
        return Checkpoint(
            folder, self.config | contents, self.model, self.averaged, self.optimizer,
            self.generators, self.accelerator.scaler,
        )  # fmt: skip

    def prepare(self, compile: bool) -> None:
        """Wrap the network for the device, its precision and several processes."""
        model = torch.compile(self.model) if compile else self.model
        self.trained = self.accelerator.prepare(model)
        # accelerate's wrappers of the optimizer and of clipping look for other back ends at each
        # step, which takes longer than the step of a small network; only loss scaling needs them.
        if self.accelerator.scaler is not None:
            self.stepper = self.accelerator.prepare(self.optimizer)

    def take_step(self, step: int) -> Tensor:
        """Change the weights; return the loss, summed over runs."""
        self.optimizer.param_groups[0]["lr"] = self.settings.rate(step)
        loss = self._loss(*self._batch())
        total = loss.sum()
        self.losses[step] = loss.detach()
        self.accelerator.backward(total)
        if self.settings.clip is not None:
            self._clip(self.settings.clip)
        self.stepper.step()
        self.optimizer.zero_grad()
        return total

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Samples of all runs, (R * batch_size, *shape), and their places in the data."""
        size, first = self.settings.batch_size, self.datasets[0]
        if all(d is first for d in self.datasets):
            source = self.generators if self.runs > 1 else self.generators[0]
            chosen = randint(len(first), (self.runs * size,), generator=source)
            batch = first[chosen.to(first.device)]
        else:
            places = [
                randint(len(d), (size,), generator=g)
                for d, g in zip(self.datasets, self.generators)
            ]
            batch = torch.cat([d[i.to(d.device)] for d, i in zip(self.datasets, places)])
            chosen = torch.cat(places)
        batch = scaled(batch.to(self.device), self.parameters[0].dtype)
        if self.images:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch, chosen

    def _loss(self, batch: Tensor, chosen: Tensor) -> Tensor:
        """Mean loss of each run, (R,)."""
        size = self.settings.batch_size
        labels = None if self.labels is None else self._labels_of(chosen)
        if len(self.groups) == 1:
            source = self.generators if self.stacked else self.generators[0]
            loss = self._ask(0, self.trained, batch, chosen, labels, source)
        else:
            parts = self.model.split([b - a for a, b in self.groups])
            losses = []
            for part, (a, b) in zip(parts, self.groups):
                own = slice(a * size, b * size)
                asked = None if labels is None else labels[own]
                source = self.generators[a:b]
                losses.append(self._ask(a, part, batch[own], chosen[own], asked, source))
            loss = torch.cat(losses)
        return loss.view(self.runs, size).mean(1)

    def _ask(
        self, run: int, denoiser: Any, batch: Tensor, chosen: Tensor, labels: Tensor | None, source
    ) -> Tensor:
        """Loss of each sample by the objective of a run, told what is known of the samples."""
        objective: Any = self.objectives[run]
        if getattr(objective, "known_samples", None) is not None:
            objective = objective.pick(chosen)
        if labels is not None:
            denoiser = Conditional(denoiser, labels)
        return objective(denoiser, batch, source)

    def _labels_of(self, chosen: Tensor) -> Tensor:
        """Labels of the samples of all runs, (R * batch_size,), of which some are left out."""
        parts = zip(self.labels, chosen.chunk(self.runs))  # type: ignore[arg-type]
        labels = torch.cat([own[places.to(own.device)] for own, places in parts])
        if not self.label_dropout:
            return labels
        source = self.generators if self.runs > 1 else self.generators[0]
        dropped = rand(labels.shape, generator=source, device=self.device) < self.label_dropout
        return labels.to(self.device).masked_fill(dropped, -1)

    def _clip(self, largest: float) -> None:
        if self.stacked:
            clip_runs(self.parameters, largest)
            return
        if self.accelerator.scaler is not None:
            self.accelerator.unscale_gradients()
        nn.utils.clip_grad_norm_(self.parameters, largest)

    def update_average(self, step: int) -> None:
        """Bring the moving average up to date after ``step`` steps."""
        gap = (step - 1) % AVERAGE_EVERY + 1
        self.share = 1 - min(self.settings.ema, step / (9 + step)) ** gap
        self.averaged.update_parameters(self.model)

    def _move_average(self, averages, current, _count) -> None:
        torch._foreach_lerp_(averages, current, self.share)

    def check_losses(self, start: int, stop: int) -> None:
        """Raise ``TrainingDiverged`` if a loss of these steps is not finite."""
        bad = (~self.losses[start:stop].isfinite()).nonzero()
        if not len(bad):
            return
        step, run = start + int(bad[0, 0]), int(bad[0, 1])
        sigmas = getattr(self.objectives[run], "sigmas", None)
        levels = "sigma as the objective draws it"
        if sigmas is not None:
            levels = "sigma from {:.3g} to {:.3g}".format(*sigmas.range)
        which = f" of run {run}" if self.runs > 1 else ""
        raise TrainingDiverged(
            f"the loss{which} is {self.losses[step, run].item()} at step {step} of "
            f"{self.settings.steps} ({levels}, learning rate {self.settings.rate(step):.3g}); try "
            "a lower learning rate or clipping",
            step,
            run,
        )

    def wait(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def result(self) -> tuple[nn.Module, nn.Module, Tensor]:
        """Return averaged weights, last weights, and losses (steps,) or (steps, R)."""
        self.accelerator.unwrap_model(self.trained, keep_fp32_wrapper=False)
        self.optimizer.zero_grad()
        losses = self.losses.cpu() if self.stacked else self.losses[:, 0].cpu()
        averaged = self.averaged.module
        for average, buffer in zip(averaged.buffers(), self.model.buffers()):
            average.copy_(buffer)
        learns = [name for name, p in averaged.named_parameters() if p.requires_grad]
        averaged.learns = learns  # type: ignore[assignment]
        return averaged.requires_grad_(False), self.model.eval(), losses


def set_modes(model: nn.Module) -> None:
    """Put a module into training mode; what its owner had frozen or set apart stays so.

    A denoiser that ``fit`` returned has all parameters frozen, and a note of those that learn.

    Raises
    ------
    ValueError
        If all parameters are frozen.
    """
    parameters = dict(model.named_parameters())
    if not any(p.requires_grad for p in parameters.values()):
        learns = getattr(model, "learns", ())
        if not learns:
            raise ValueError(
                "denoiser: got one whose parameters are all frozen; allowed is one with at least "
                "one parameter that requires_grad"
            )
        for name in learns:
            parameters[name].requires_grad_(True)
    if not model.training:
        model.train()


def _equal_neighbours(objectives: Sequence[Objective]) -> list[tuple[int, int]]:
    """Bounds of the runs of equal neighbours."""
    starts = [i for i, o in enumerate(objectives) if i == 0 or not _equal(o, objectives[i - 1])]
    return list(zip(starts, [*starts[1:], len(objectives)]))


def _equal(a: Objective, b: Objective) -> bool:
    """Whether two objectives are the same; those with levels of their own are if they are one."""
    if a is b or any(getattr(o, "known_samples", None) is not None for o in (a, b)):
        return a is b
    try:
        return bool(a == b)
    except RuntimeError:  # their settings are tensors, which have no one truth
        return False


def clip_runs(parameters: list[nn.Parameter], clip: float) -> None:
    """Scale the gradients of each run of a stack to a norm of at most ``clip``."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    factor = (clip / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))
