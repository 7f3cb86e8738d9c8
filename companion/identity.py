"""What a value contains, as a short text: the identity of training runs and of cached networks."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from companion import checks

__all__ = ["digest"]

PLAIN = (bool, int, float, complex, str, bytes, enum.Enum, Path, range, slice,
    torch.dtype, torch.device, torch.Size)  # fmt: skip
"""What ``repr`` tells everything of."""

OWN_TO_MODULES = frozenset(vars(nn.Module()))
"""What torch keeps in every module, such as its hooks."""


def digest(value: Any, name: str = "value") -> str:
    """Return a hash of what a value contains: the same in each process, another for other content.

    Tensors count with all their numbers, modules and other objects with all that they hold,
    functions and classes of one's own with their source.

    Parameters
    ----------
    value : numbers, texts, tensors, arrays, modules, dataclasses, functions, and what holds them
    name : str
        Of the value in errors.

    Returns
    -------
    str, 16 hexadecimal digits

    Raises
    ------
    TypeError
        If something in it has no content that lasts, such as a generator or an open file.
    """
    hasher = hashlib.sha256()
    _feed(hasher, value, name, set())
    return hasher.hexdigest()[:16]


def _feed(hasher: Any, value: Any, name: str, above: set[int]) -> None:
    """Put a value into the hash; ``above`` has the objects that hold it."""

    def say(text: str) -> None:
        hasher.update(f"{len(text)}:{text};".encode())

    def feed(part: Any, label: str) -> None:
        if id(part) in above:
            say("itself")
            return
        _feed(hasher, part, f"{name}.{label}", above | {id(value)})

    if value is None or isinstance(value, PLAIN):
        say(f"{type(value).__name__} {value!r}")
    elif isinstance(value, (Tensor, np.ndarray, np.generic)):
        tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(value)
        say(f"{tuple(tensor.shape)} {tensor.dtype}")
        hasher.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        say("mapping")
        for key in sorted(value, key=repr):
            say(repr(key))
            feed(value[key], str(key))
    elif isinstance(value, (list, tuple)):
        say(f"{type(value).__name__} {len(value)}")
        for i, part in enumerate(value):
            feed(part, str(i))
    elif isinstance(value, (set, frozenset)):
        say(" ".join(sorted(digest(part, name) for part in value)))
    elif isinstance(value, functools.partial):
        say("partial")
        feed((value.func, value.args, value.keywords), "partial")
    elif inspect.ismethod(value):
        say("method")
        feed(value.__func__, value.__name__)
        feed(value.__self__, "self")
    elif isinstance(value, type) or inspect.isroutine(value):
        say(_code(value, name))
        if inspect.isfunction(value):
            say(_compiled(value.__code__))  # two functions of one line have the same source
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            feed((value.__defaults__, value.__kwdefaults__, cells), "holds")
    elif isinstance(value, nn.Module):
        say(_code(type(value), name))
        own = {k: v for k, v in vars(value).items() if k not in OWN_TO_MODULES}
        feed((own, dict(value._parameters), dict(value._buffers), dict(value._modules)), "holds")
    elif dataclasses.is_dataclass(value):
        say(_code(type(value), name))
        feed({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, "fields")
    elif hasattr(value, "__dict__"):
        say(_code(type(value), name))
        feed(vars(value), "holds")
    else:
        raise TypeError(
            f"{name}: got {checks.shown(value)}, which cannot be told from another of its kind "
            "tomorrow; allowed is what consists of numbers, texts, tensors, modules and functions"
        )


def _compiled(code: Any) -> str:
    """What a function does, without where it stands."""
    parts = [_compiled(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return f"{code.co_code!r} {code.co_names} {parts}"


def _code(value: Any, name: str) -> str:
    """Name of a function or class, with its source if it comes from no installed package."""
    module, called = getattr(value, "__module__", None) or "", value.__qualname__
    top = module.partition(".")[0]
    path = getattr(sys.modules.get(top), "__file__", None) or ""
    installed = top == "companion" or top in sys.stdlib_module_names or "-packages" in path
    if top == "builtins" or installed or inspect.isbuiltin(value):
        return f"{module}.{called}"
    try:
        return f"{called} {inspect.getsource(value)}"
    except (OSError, TypeError):
        raise TypeError(
            f"{name}: the source of {called} is not known, so it cannot be told from another of "
            "its name tomorrow; define it in a file or a notebook cell"
        ) from None
