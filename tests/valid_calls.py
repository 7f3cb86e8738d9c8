"""Valid arguments for everything public: what the campaign of bad calls starts from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from conftest import three, tiny_mlp
from matplotlib.figure import Figure

from companion import (
    checkpoint,
    denoisers,
    metrics,
    networks,
    noise,
    objectives,
    samplers,
    statistics,
)
from companion.samplers.diffusers_scheduler import GradientEstimationScheduler
from companion.samplers.learned_scheduler import LearnedScheduler

mpl.use("Agg")

NUMBERS = [0.5, 0.7, 0.9]
X = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
IMAGES = torch.linspace(-1, 1, 40 * 64).reshape(40, 1, 8, 8)
LABELS = torch.arange(40) % 2
SIGMAS = noise.log_linear(3, 5.0, 0.1)


class Unet(torch.nn.Module):
    """As small as a network of diffusers can be."""

    def forward(self, z, t, return_dict=False):
        """Answer with the state."""
        return (z,)


def frame() -> pd.DataFrame:
    """Two conditions, two seeds and three levels."""
    keys = [(c, s, k) for c in ("ddim", "heun") for s in (0, 1) for k in (1.0, 2.0, 3.0)]
    table = pd.DataFrame(keys, columns=["condition", "seed", "level"])
    return table.assign(value=np.arange(12.0) + 1)


def labelled_mlp() -> torch.nn.Module:
    """A denoiser that takes labels."""
    return denoisers.Preconditioned(networks.MLP(2, width=8, classes=3))


def saved_sampler() -> Path:
    """A file that ``LearnedSampler.load`` can read."""
    path = Path(tempfile.mkdtemp()) / "sampler.json"
    samplers.LearnedSampler((2.0, 1.0), (0.0, 0.1)).save(path)
    return path


VALID: dict[str, Callable[[], Any]] = {
    "a": lambda: X[:6],
    "alpha": lambda: 0.5,
    "alphas_cumprod": lambda: noise.ddpm_alphas_cumprod(20),
    "alt": lambda: "points that move",
    "arrays": lambda: checkpoint.to_arrays(tiny_mlp()),
    "ax": lambda: Figure().subplots(),
    "b": lambda: X[6:],
    "batch": lambda: X[:4],
    "below": lambda: torch.full((4,), 0.1),
    "class_labels": lambda: torch.tensor([0, 1, -1, 2]),
    "conditional": tiny_mlp,
    "conditions": lambda: [True, False],
    "config": lambda: diffusers.DDPMScheduler().config,
    "data": lambda: X,
    "denoiser": lambda: tiny_mlp(output=0.3),
    "denoisers": lambda: [tiny_mlp(0), tiny_mlp(1)],
    "dim": lambda: 2,
    "dims": lambda: 2,
    "distribution": three,
    "eps": lambda: torch.zeros(4, 2),
    "features_a": lambda: X[:6],
    "features_b": lambda: X[6:],
    "features_fake": lambda: X[:6],
    "features_real": lambda: X[6:],
    "figure": Figure,
    "frame": frame,
    "generator": lambda: torch.Generator().manual_seed(0),
    "high": lambda: 5,
    "holds": lambda: True,
    "images": lambda: IMAGES,
    "index": lambda: torch.tensor([0, 1]),
    "interval": lambda: statistics.Interval(0.8, 0.7, 0.9, 8),
    "kappa": lambda: 2.0,
    "known": lambda: X[:4],
    "labels": lambda: LABELS,
    "likelihood": lambda: metrics.LogLikelihood(torch.ones(4), torch.ones(4)),
    "log_density": lambda: lambda x: -x.square().sum(1),
    "make": lambda: lambda: networks.MLP(2, width=8),
    "mask": lambda: X[:4] > 0,
    "mean": lambda: [statistics.Interval(m, m - 0.1, m + 0.1, 5) for m in NUMBERS],
    "means": lambda: [[0.0, 0.0], [1.0, 1.0]],
    "metric": lambda: lambda a, b: float((a.double().mean() - b.double().mean()).abs()),
    "mixture": three,
    "model_output": lambda: X[:4],
    "module": tiny_mlp,
    "model": lambda: lambda state, time: state,
    "modules": tiny_mlp,
    "n": lambda: 5,
    "name": lambda: "ring",
    "network": lambda: networks.MLP(2, width=8),
    "noise": lambda: X[4:8],
    "objective": lambda: objectives.DenoisingScoreMatching(),
    "objectives": lambda: (objectives.DenoisingScoreMatching(),),
    "original_samples": lambda: X[:4],
    "path": lambda: Path(tempfile.mkdtemp()) / "written",
    "paths": lambda: X.reshape(3, 4, 2),
    "ratios": lambda: NUMBERS,
    "residual": lambda: lambda x: x[:, 0],
    "s": lambda: 0.2,
    "sample": lambda: X[:4],
    "sampler": lambda: samplers.ddim,
    "samples": lambda: X,
    "seed": lambda: 0,
    "shape": lambda: (2,),
    "sigma": lambda: 0.5,
    "sigma_data_noise": lambda: 0.2,
    "sigma_noise": lambda: 0.2,
    "sigmas": lambda: SIGMAS,
    "sizes": lambda: [1, 1],
    "smallest": lambda: 0.95,
    "start": lambda: 0,
    "stds": lambda: 0.1,
    "steps": lambda: 3,
    "stop": lambda: 1,
    "t": lambda: torch.full((4,), 0.5),
    "table": frame,
    "times": lambda: samplers.foellmer_times(3),
    "timesteps": lambda: torch.tensor([1, 2, 3, 4]),
    "title": lambda: "Paths",
    "train": lambda: X[:8] + 0.5,
    "u": lambda: torch.full((4,), 0.5),
    "unconditional": lambda: tiny_mlp(1),
    "v": lambda: X[:4],
    "value": lambda: torch.full((3,), 1.5),
    "verdicts": lambda: ["supported", "inconclusive"],
    "weight": lambda: 1.5,
    "weights": lambda: (1.0,),
    "x": lambda: X[:4],
    "x0": lambda: X[:4],
    "y": lambda: X[:4],
    "z": lambda: X[:4],
}
"""A valid value for each name of a parameter that has no default."""

LEVELS = {"sigma": lambda: torch.full((4,), 0.5)}

SPECIAL: dict[str, dict[str, Callable[[], Any]]] = {
    "DiffusersDenoiser": {"unet": Unet},
    "Discrete": {"sigmas": lambda: (0.1, 1.0)},
    "GaussianMixture": {"weights": lambda: [1.0, 2.0]},
    "LearnedSampler": {"sigmas": lambda: (2.0, 1.0), "weights": lambda: (0.0, 0.1)},
    "Linear": {"in_features": lambda: 2, "out_features": lambda: 3},
    "conditional": {"denoiser": lambda: labelled_mlp()},
    "PosteriorVariance": {"sigmas": lambda: (1.0, 0.1)},
    "best_of_others": {"scores": lambda: [[0.5, 0.6, 0.7], [0.6, 0.2, 0.9]]},
    "density": LEVELS,
    "from_foellmer_drift": {"drift": lambda: lambda x, t: x},
    "monte_carlo_drift": {"t": lambda: 0.5},
    "from_diffusers": {"unet": Unet},
    "from_learned": {"sampler": lambda: samplers.LearnedSampler((2.0, 1.0), (0.0, 0.1))},
    "from_scheduler": {"scheduler": lambda: diffusers.DDIMScheduler},
    "image_grid": {"images": lambda: IMAGES[:4]},
    "images": {"name": lambda: "digits"},
    "index_for_timestep": {"timestep": lambda: TIMESTEPS[1]},
    "interaction": dict.fromkeys(("neither", "first", "second", "both"), lambda: NUMBERS),
    "intervals_by": {"method": lambda: "bootstrap"},
    "load": {"path": saved_sampler},
    "mean_interval": {"a": lambda: NUMBERS},
    "method": {"name": lambda: "ddim"},
    "mixture": {"name": lambda: "ring"},
    "paired_difference": {"a": lambda: NUMBERS, "b": lambda: [0.1, 0.4, 0.2]},
    "paired_ratio": {"a": lambda: NUMBERS, "b": lambda: [0.1, 0.4, 0.2]},
    "percentile_bands": {"x": lambda: [1.0, 2.0]},
    "reverse_steps": LEVELS,
    "set_timesteps": {"num_inference_steps": lambda: 5},
    "step": {"timestep": lambda: TIMESTEPS[0]},
    "timestep": LEVELS,
    "train": {"steps": lambda: 1},
    "with_band": {"x": lambda: [1.0, 2.0, 3.0]},
    "plotting.density": {"sigma": lambda: 0.5},
    "objectives.PosteriorVariance.__call__": LEVELS,
    "objectives.Consistency.points": {"steps": lambda: 1},
}
"""Where a name means something else: by the name of a function, or its full name."""

_scheduler = GradientEstimationScheduler()
_scheduler.set_timesteps(5)
TIMESTEPS = _scheduler.timesteps
"""Those of a scheduler of five steps."""


def instance(name: str, cls: Any, arguments: dict[str, Any]) -> Any:
    """Make an object whose methods are called."""
    if cls is metrics.FeatureClassifier:
        return cls.train(IMAGES, LABELS, steps=1)
    if cls is LearnedScheduler:  # of the same levels, so that its timesteps are those above
        arguments = {"learned_sigmas": _scheduler.sigmas[:-1], "learned_weights": [0.0] * 5}
    made = cls(**arguments)
    if issubclass(cls, GradientEstimationScheduler):
        made.set_timesteps(5)
    return made
