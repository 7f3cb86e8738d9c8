"""Weights and training runs as data: digests, named arrays, and checkpoints to resume from."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from companion import checks
from companion.checks import shown
from companion.identity import digest
from companion.stack import Stack

__all__ = ["FILE", "Checkpoint", "DamagedCheckpoint", "digest", "from_arrays", "to_arrays"]

FILE = "checkpoint.safetensors"
"""Name of the file in the folder of a checkpoint."""

LOCK = ".lock"
"""Beside it: held by the process that trains there."""


class DamagedCheckpoint(ValueError):
    """A checkpoint that was cut short or changed; deleting it starts the run again."""


# --- weights as named arrays --------------------------------------------------------------------


def to_arrays(modules: nn.Module | Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return the weights of modules as named arrays, exactly, for ``Results(arrays=...)``.

    Parameters
    ----------
    modules : nn.Module or ``Stack``, or a mapping of names to such

    Returns
    -------
    dict of str -> array on the CPU, in the type of the weights
        Of one module the names of its ``state_dict``, such as ``"network.input.weight"``; of a
        mapping with the module's name before them: ``"plain.network.input.weight"``. A ``Stack``
        of R has the names of one run, and parameters with a new first dimension of R.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> arrays = to_arrays({"plain": denoiser})             # doctest: +SKIP
    >>> denoiser = from_arrays(arrays, untrained, "plain")  # doctest: +SKIP
    """
    if not isinstance(modules, (nn.Module, Mapping)):
        raise ValueError(
            f"modules: got {shown(modules)}; allowed is a module, or a mapping of names to modules"
        )
    if isinstance(modules, nn.Module):
        weights = (modules.module if isinstance(modules, Stack) else modules).state_dict()
        return {name: value.detach().cpu().numpy().copy() for name, value in weights.items()}
    return {
        f"{prefix}.{name}": array
        for prefix, module in modules.items()
        for name, array in to_arrays(module).items()
    }


def from_arrays(arrays: Mapping[str, Any], module: nn.Module, prefix: str = "") -> Any:
    """Return a module, or a ``Stack``, with the weights that ``to_arrays`` made arrays of.

    Parameters
    ----------
    arrays : mapping of str -> array
        Others may be among them. Weights are converted to the type that ``module`` has.
    module : nn.Module
        One network of the architecture, whose own weights do not matter. Copied.
    prefix : str
        Name of the module among the arrays (default: none, the arrays are those of one module).

    Returns
    -------
    nn.Module
        In evaluation mode, without gradients: of the type of ``module``, or a ``Stack`` of R if the
        arrays are those of one.

    Raises
    ------
    ValueError
        If an array is missing or its shape is not that of the architecture.
    """
    checks.instance("arrays", arrays, Mapping, "a mapping of names to arrays")
    checks.instance("module", module, nn.Module, "a module")
    start = f"{prefix}." if prefix else ""
    template = module[0] if isinstance(module, Stack) else copy.deepcopy(module)
    names = list(template.state_dict())
    missing = [start + name for name in names if start + name not in arrays]
    if missing:
        raise ValueError(
            f"arrays: no {missing[0]!r} ({len(missing)} of {len(names)} are missing); "
            f"there are {', '.join(map(repr, list(arrays)[:20]))}"
        )
    weights = {name: torch.tensor(arrays[start + name]) for name in names}
    runs = _runs(weights, template)
    if runs is None:
        return _with_weights(template, weights, start).eval().requires_grad_(False)
    stacked = dict(template.named_parameters())
    each = [
        {name: value[r] if name in stacked else value for name, value in weights.items()}
        for r in range(runs)
    ]
    parts = [_with_weights(copy.deepcopy(template), part, start) for part in each]
    return Stack(parts).eval().requires_grad_(False)


def _runs(weights: Mapping[str, Tensor], module: nn.Module) -> int | None:
    """Return of how many runs the weights are, or None if they are of a single module."""
    for name, parameter in module.named_parameters():
        if weights[name].ndim == parameter.ndim + 1:
            return len(weights[name])
    return None


def _with_weights(module: nn.Module, weights: Mapping[str, Tensor], start: str) -> nn.Module:
    for name, value in module.state_dict().items():
        if weights[name].shape != value.shape:
            raise ValueError(
                f"arrays[{start + name!r}]: got the shape {tuple(weights[name].shape)} for a "
                f"network; allowed is {tuple(value.shape)}, that of the module"
            )
    module.load_state_dict(dict(weights))
    return module


# --- resuming -----------------------------------------------------------------------------------


class Checkpoint:
    """One safetensors file with everything that a training run needs to go on.

    As a context it keeps other processes from the same folder: they wait.

    Parameters
    ----------
    folder : path
        Made at once, so that one that cannot be written is known before any work.
    identity : dict
        What the run is, as JSON can hold it; a file of a run with another one is not loaded.
    model, averaged : nn.Module
        Weights in training, and their moving average.
    optimizer : torch.optim.Optimizer
    generators : sequence of torch.Generator
    scaler : optional
        Of the loss, for fp16 (default: none).
    """

    def __init__(
        self,
        folder: str | Path,
        identity: Mapping[str, Any],
        model: nn.Module,
        averaged: nn.Module,
        optimizer: torch.optim.Optimizer,
        generators: Sequence[torch.Generator],
        scaler: Any = None,
    ):
        from filelock import FileLock

        folder = Path(folder).expanduser()
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / LOCK, "a"):
                pass
        except OSError as error:
            raise OSError(f"checkpoint: the folder {folder} cannot be written ({error})") from error
        self._lock = FileLock(folder / LOCK)
        self.identity = json.loads(json.dumps(identity))
        self.model, self.averaged = model, averaged
        self.optimizer, self.generators, self.scaler = optimizer, generators, scaler

    def __enter__(self) -> Checkpoint:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            print(f"Another process trains in {self.path.parent}; waiting for it.", file=sys.stderr)
            self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def save(self, step: int, seconds: float, losses: Tensor) -> None:
        """Write the state after ``step`` steps; the file is the old or the new one, never half.

        Parameters
        ----------
        step : int
        seconds : float
            Spent so far.
        losses : (steps, R) tensor
            Of which the first ``step`` are kept.

        Raises
        ------
        OSError
            If it cannot be written; the message says what and how large.
        """
        from safetensors.torch import save_file

        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.averaged.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {f"generator.{i}": g.get_state() for i, g in enumerate(self.generators)}
        tensors["random"] = torch.get_rng_state()
        if self._on_gpu():
            tensors["random of the GPU"] = torch.cuda.get_rng_state()
        tensors["losses"] = losses[:step]
        # Contiguous copies: safetensors refuses memory that two tensors share.
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        scaler = self.scaler.state_dict() if self.scaler is not None else None
        meta = {
            "step": step, "seconds": seconds, "identity": self.identity, "scaler": scaler,
            "content": digest(tensors),
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        try:
            save_file(tensors, partial, {"run": json.dumps(meta)})
            with open(partial, "rb+") as file:  # Windows flushes no file that was opened to read
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        except Exception as error:
            partial.unlink(missing_ok=True)
            size = sum(t.nbytes for t in tensors.values()) / 1e6
            raise OSError(
                f"checkpoint: {self.path} of {size:.1f} MB could not be written ({error})"
            ) from error

    def load(self, losses: Tensor) -> tuple[int, float]:
        """Put everything back, the losses so far into ``losses``; from 0 if there is no file.

        Returns
        -------
        int, float : steps done and the seconds that they took

        Raises
        ------
        DamagedCheckpoint
            If the file is not what was written.
        ValueError
            If it is of another run.
        """
        self.path.with_suffix(".partial").unlink(missing_ok=True)
        if not self.path.exists():
            return 0, 0.0
        meta, tensors = self._read()
        self._refuse_other(meta["identity"])

        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.averaged.load_state_dict(part("average."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        for i, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{i}"])
        torch.set_rng_state(tensors["random"])
        if self._on_gpu() and "random of the GPU" in tensors:
            torch.cuda.set_rng_state(tensors["random of the GPU"])
        if self.scaler is not None and meta["scaler"]:
            self.scaler.load_state_dict(meta["scaler"])
        losses[: meta["step"]] = tensors["losses"].to(losses)
        return meta["step"], meta["seconds"]

    def _on_gpu(self) -> bool:
        return any(p.is_cuda for p in self.model.parameters())

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                meta = json.loads(file.metadata()["run"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
            if digest(tensors) != meta["content"]:
                raise ValueError("its content is not what was written")
            return meta, tensors
        except (SafetensorError, TypeError, KeyError, ValueError, OSError) as error:
            raise DamagedCheckpoint(
                f"checkpoint: {self.path} is damaged ({error}); delete it to start again"
            ) from error

    def _refuse_other(self, identity: Mapping[str, Any]) -> None:
        keys = [k for k, v in self.identity.items() if identity.get(k) != v]
        if keys:
            here = {k: self.identity[k] for k in keys}
            there = {k: identity.get(k) for k in keys}
            raise ValueError(
                f"checkpoint: {self.path} is of another run; here {here}, there {there}. "
                "Delete it or name another folder"
            )
