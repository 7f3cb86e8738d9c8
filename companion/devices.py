"""What the machine can do, and how training uses it: precision, devices, memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from companion import checks

__all__ = ["accelerated", "has_bf16", "keep_freed_memory", "on_device", "wide"]

PRECISIONS = ("no", "fp16", "bf16")
"""Of mixed precision, as accelerate names them."""


def has_bf16(device: torch.device) -> bool:
    """Whether it is a GPU that has bf16 and gains by compiling; Colab's T4 (7.5) is not."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def wide(device: torch.device) -> torch.dtype:
    """Widest floating-point type of a device: float64, but on Metal, which has float32 only."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def accelerated(device: str | torch.device | None, mixed_precision: str | None) -> Iterator[Any]:
    """Give an accelerator of Hugging Face accelerate; a caller's own works afterwards as before.

    Parameters
    ----------
    device : optional (default: accelerate's choice, a GPU if there is one)
    mixed_precision : {"no", "fp16", "bf16"}, optional
        Default: bf16 where a GPU has it, fp16 on older ones, "no" on the CPU.

    Raises
    ------
    ValueError
        If the precision is none of these or the device cannot compute in it, or the device is not
        there.
    """
    with warnings.catch_warnings():  # accelerate asks tqdm for widgets, which it then does not use
        warnings.filterwarnings("ignore", message="IProgress not found")
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState, PartialState

    try:
        where = None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device: got {device!r}; allowed is a device of torch") from error
    cpu = where is not None and where.type == "cpu"
    gpu = torch.cuda.is_available() and not cpu
    if mixed_precision is not None:
        checks.choice("mixed_precision", mixed_precision, PRECISIONS)
        if mixed_precision == "fp16" and not gpu:
            raise ValueError(
                "mixed_precision: got 'fp16' without a GPU, which would compute in float32; "
                "allowed there are 'no' and 'bf16'"
            )
    elif gpu:
        mixed_precision = "bf16" if has_bf16(torch.device("cuda")) else "fp16"
    else:
        mixed_precision = "no"
    states = (AcceleratorState, PartialState, GradientState)
    before = [dict(state._shared_state) for state in states]
    alone = not AcceleratorState._shared_state or PartialState().num_processes == 1
    # A process keeps one accelerate state; a second call may ask for another precision or device.
    if AcceleratorState._shared_state and alone:
        AcceleratorState._reset_state(reset_partial_state=True)
    try:
        new = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
        if where is not None and new.device.type != where.type:
            raise ValueError(f"device: got {str(device)!r}; allowed here is {new.device.type!r}")
        yield new
    finally:
        if alone and PartialState._shared_state.get("num_processes", 1) == 1:
            for state, content in zip(states, before):
                state._shared_state.clear()
                state._shared_state.update(content)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next step; a stack spends a fifth of it on page faults.

    Its limit for giving memory back to the system grows when a large block comes and goes.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def on_device(datasets: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Move data to a device, each set once, unless they would take over half of its free memory."""
    unique = {id(d): d for d in datasets}
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(d.nbytes for d in unique.values()) > free / 2:
            return list(datasets)
    moved = {key: d.to(device) for key, d in unique.items()}
    return [moved[id(d)] for d in datasets]
