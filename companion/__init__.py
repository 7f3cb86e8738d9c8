"""Companion module of *Noise on Purpose*: denoisers, objectives and samplers for diffusion models.

Everything here is about one object under one corruption,

    x_sigma = x_0 + sigma * eps,    eps ~ N(0, I),

a denoiser ``D(x, sigma) = E[x_0 | x_sigma = x]``. Noise levels are standard deviations ``sigma``.
Submodules are loaded when they are first used, so that ``import companion`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "checkpoint",
    "checks",
    "data",
    "denoisers",
    "devices",
    "experiments",
    "identity",
    "metrics",
    "networks",
    "noise",
    "objectives",
    "oracles",
    "plotting",
    "progress",
    "restoration",
    "samplers",
    "stack",
    "statistics",
    "training",
    "training_run",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"companion.{name}")
    raise AttributeError(f"module 'companion' has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
