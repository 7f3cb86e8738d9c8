"""The ways to train that are compared: a cheap objective first, then all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from companion import data, noise, objectives, training
from companion.experiments.four_noises.calculation import GAMMA
from companion.experiments.results import Results
from companion.stack import Stack

__all__ = [
    "ALL",
    "CLEAN",
    "NOISY",
    "StageSettings",
    "TwoStages",
    "length",
    "train",
    "two_stages",
]

CLEAN = ("denoising", "perturbed", "contrastive", "both")
"""Ways to train on clean data."""
NOISY = ("ambient low", "naive high", "ambient high", "consistent high")
"""Ways to train on data with noise of the lower and of the higher level."""
ALL = CLEAN + NOISY


@dataclass(frozen=True)
class TwoStages:
    """A way to train: a cheap objective first, then all of it.

    Attributes
    ----------
    label : str
    first, second : objectives
    cost : float
        Network evaluations for a sample of the second stage.
    data_noise : float
        Standard deviation of the noise in the data; 0 for clean data.
    """

    label: str
    first: objectives.Objective
    second: objectives.Objective
    cost: float = 1
    data_noise: float = 0.0


@dataclass(frozen=True)
class StageSettings:
    """Settings of the networks on points and on digits.

    Parameters
    ----------
    steps, second_steps : int
        Of the first stage, and of the second where a sample costs one evaluation.
    batch : int
        Samples of a step.
    data_noise : (float, float)
        Lower and higher noise of noisy data.
    contrast : (float, float)
        Smallest and largest contrast of the contrastive loss.
    contrast_weight, consistency_weight : float
        Of these losses beside the others.
    width : int
        Hidden units.
    seeds : int
    """

    steps: int = 1000
    second_steps: int = 400
    batch: int = 64
    data_noise: tuple[float, float] = (0.1, 0.3)
    contrast: tuple[float, float] = (0.05, 0.5)
    contrast_weight: float = 0.01
    consistency_weight: float = 0.1
    width: int = 64
    seeds: int = 8


def length(trained: Results) -> str:
    """Return how long networks were trained, as text, from the settings of their experiment."""
    first, second, batch = (trained.settings[k] for k in ("steps", "second_steps", "batch"))
    return f"{first} and {second} steps of {batch}"


def two_stages(
    levels: noise.SigmaDistribution,
    data_std: float,
    data_noise: tuple[float, float],
    contrast: tuple[float, float],
    batch: int,
    contrast_weight: float = 0.01,
    consistency_weight: float = 0.1,
) -> dict[str, TwoStages]:
    """Return all ways to train that are compared, by name.

    Parameters
    ----------
    levels : distribution of the noise levels in training
    data_std : float
        Standard deviation of the clean data.
    data_noise, contrast, batch, contrast_weight, consistency_weight : as in ``StageSettings``
    """
    plain = objectives.DenoisingScoreMatching(levels, "edm", data_std)
    extra = objectives.InputPerturbation(GAMMA, "eps", levels, "edm", data_std)
    # One sample in 32 of a batch, each at 64 points: two more evaluations a sample.
    classify = objectives.ContrastiveDiffusion(
        noise.LogUniform(*contrast), noise.LogUniform(0.01, 20.0),
        points=8, sigma_data=data_std, samples=batch // 32,
    )  # fmt: skip
    low, high = data_noise
    ambient = {s: objectives.AmbientTweedie(s, levels, "edm", data_std) for s in data_noise}
    below = objectives.Consistency(high, antithetic=False, sigma_data=data_std)

    def with_contrast(objective: Any) -> objectives.Sum:
        return objectives.Sum((objective, classify), (1.0, contrast_weight))

    consistent = objectives.Sum((ambient[high], below), (1.0, consistency_weight))
    return {
        "denoising": TwoStages("denoising", plain, plain),
        "perturbed": TwoStages("input perturbation", extra, extra),
        "contrastive": TwoStages("contrastive", plain, with_contrast(plain), 3),
        "both": TwoStages("perturbation + contrastive", extra, with_contrast(extra), 3),
        "ambient low": TwoStages(
            f"ambient, data noise {low:g}", ambient[low], ambient[low], 1, low
        ),
        "naive high": TwoStages(f"naive, data noise {high:g}", plain, plain, 1, high),
        "ambient high": TwoStages(
            f"ambient, data noise {high:g}", ambient[high], ambient[high], 1, high
        ),
        "consistent high": TwoStages(
            f"ambient + consistency, {high:g}", ambient[high], consistent,
            1 + below.evaluations, high,
        ),
    }  # fmt: skip


def train(
    make: Callable[[int], nn.Module],
    listed: dict[str, TwoStages],
    clean: Tensor,
    settings: StageSettings,
    seeds: Sequence[int],
) -> dict[str, Stack]:
    """Train networks of all seeds at once; what costs more gets fewer steps in the second stage.

    Parameters
    ----------
    make : returns a denoiser with first weights of a seed
    listed : ways to train; equal first stages are shared
    clean : (N, *shape), the clean data
    settings : steps and batch
    seeds : one for each of R networks of a way to train

    Returns
    -------
    dict, name -> Stack of R
    """
    runs = len(seeds)

    def samples(way: TwoStages) -> list[Tensor]:
        if not way.data_noise:
            return [clean] * runs
        return [data.FrozenNoise(clean, way.data_noise, seed=s).noisy for s in seeds]

    def fit(models: list, group: list[TwoStages], second: bool, steps: float) -> Stack:
        return training.fit(
            models, [(w.second if second else w.first) for w in group for _ in seeds],
            [part for w in group for part in samples(w)], steps=int(steps),
            batch_size=settings.batch, lr=1e-3 if second else 3e-3,
            seed=[s + 50 * second for _ in group for s in seeds], device="cpu",
        ).denoiser  # fmt: skip

    starts = {(w.data_noise, repr(w.first)): w for w in listed.values()}
    models = [make(s) for _ in starts for s in seeds]
    base = fit(models, list(starts.values()), False, settings.steps)
    begun = {key: [base[i * runs + r] for r in range(runs)] for i, key in enumerate(starts)}
    stacks = {}
    for cost in sorted({w.cost for w in listed.values()}):
        group = {name: w for name, w in listed.items() if w.cost == cost}
        models = [m for w in group.values() for m in begun[w.data_noise, repr(w.first)]]
        trained = fit(models, list(group.values()), True, settings.second_steps / cost)
        for i, name in enumerate(group):
            stacks[name] = Stack([trained[r] for r in range(i * runs, (i + 1) * runs)])
    return {name: stacks[name].eval().requires_grad_(False) for name in listed}
