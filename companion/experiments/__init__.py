"""The experiments of the book: one module a chapter. What is measured, and what decides.

``start`` begins a chapter; ``companion list`` shows all experiments, ``companion run`` runs them.
Nothing here imports a notebook or Jupyter. Chapters' modules are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

CHAPTERS = {
    "one_denoiser": "00-one-denoiser",
    "extra_noise": "01-extra-noise",
    "tweedie": "02-tweedie-consistency",
    "noise_classifier": "03-noise-classifier",
    "gradient_estimation": "04-gradient-estimation",
    "four_noises": "05-four-noises",
    "physics": "06-physics-informed",
    "foellmer": "07-foellmer",
    "adaptation": "08-adaptation",
    "your_images": "09-your-images",
}
"""Modules of experiments, in the order of the book, each with its chapter."""

_NAMES = {
    "Claim": "claims",
    "Claims": "claims",
    "Experiment": "experiment",
    "InShort": "in_short",
    "Records": "session",
    "Results": "results",
    "Session": "session",
    "start": "starting",
    "tidy": "results",
}

__all__ = ["CHAPTERS", *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"companion.experiments.{_NAMES[name]}"), name)
    try:
        return importlib.import_module(f"companion.experiments.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"companion.experiments.{name}":
            raise
    raise AttributeError(
        f"module 'companion.experiments' has no attribute {name!r}; it has "
        f"{', '.join([*_NAMES, *CHAPTERS])}"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES, *CHAPTERS])
