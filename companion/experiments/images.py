"""Image experiments: what those of all chapters share, so that what can be shared is made once.

An ``ImageExperiment`` has the settings of its images, network and training; its ``Setting`` holds
the images, the network, the classifier whose features measure samples, and trains networks. Sizes:
``smoke`` (a few steps on digits), ``long`` (two CPU cores, about eight minutes a network and core)
and ``gpu``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from companion import data, denoisers, networks
from companion.experiments.experiment import Experiment
from companion.experiments.image_setting import Setting, cache_folder, matrix_rate
from companion.experiments.results import Results

__all__ = [
    "ImageExperiment",
    "Setting",
    "cache_folder",
    "matrix_rate",
    "packed",
    "recipe",
    "restored",
]

_SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28, "cifar10": 32, "cifar10-jpeg": 32}

_RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "smoke"): {
        "images": 100, "shrink": 1, "channels": (8, 16), "layers": 1, "steps": 3, "batch": 16,
        "lr": 1e-3, "classifier_steps": 2, "sample_batch": 64,
    },
    ("mnist", "long"): {
        "images": 60_000, "shrink": 2, "channels": (16, 32), "layers": 1, "steps": 5600,
        "batch": 64, "lr": 2e-3, "classifier_steps": 2000, "sample_batch": 256,
    },
    ("mnist", "gpu"): {
        "images": 60_000, "shrink": 1, "channels": (32, 64, 128), "layers": 1, "steps": 1000,
        "batch": 512, "lr": 2e-3, "classifier_steps": 2000, "sample_batch": 2048,
    },
    ("cifar10", "gpu"): {
        "images": 50_000, "shrink": 1, "channels": (64, 128, 128), "layers": 2, "steps": 1500,
        "batch": 256, "lr": 1e-3, "classifier_steps": 4000, "sample_batch": 2048,
    },
}  # fmt: skip


def recipe(name: str, size: str, **differ: Any) -> dict[str, Any]:
    """Return the settings that all experiments on a data set share at a size.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10"}
    size : {"smoke", "long", "gpu"}
    **differ : settings that one experiment adds or changes

    Returns
    -------
    dict of settings of ``ImageExperiment``, for its ``sizes``.

    Raises
    ------
    ValueError
        If there is no recipe for the two.
    """
    if (name, size) not in _RECIPES:
        allowed = ", ".join(f"{n!r} with {s!r}" for n, s in _RECIPES)
        raise ValueError(f"name, size: got {name!r} with {size!r}; allowed are {allowed}")
    return {"data": name, **_RECIPES[name, size], **differ}


@dataclass(frozen=True)
class ImageExperiment(Experiment):
    """Base class of the experiments on images: their shared settings.

    Parameters
    ----------
    data : str
        Data set, a name of ``data.IMAGES``.
    images : int
        How many are trained on.
    shrink : int
        Means of so many by so many pixels.
    channels, layers : tuple of int, int
        Of ``networks.UNet``.
    steps, batch, lr : int, int, float
        Of ``training.fit``.
    classifier_steps : int
        Training of the classifier whose features measure samples.
    sample_batch : int
        Samples that are drawn together.
    """

    data: str = "mnist"
    images: int = 60_000
    shrink: int = 1
    channels: tuple[int, ...] = (32, 64, 128)
    layers: int = 1
    steps: int = 1000
    batch: int = 512
    lr: float = 2e-3
    classifier_steps: int = 2000
    sample_batch: int = 2048

    recorded: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """What the images are."""
        name = data.IMAGES[self.data]
        side = _SIDES[self.data] // self.shrink
        return name if self.shrink == 1 else f"{name} at {side} × {side}"

    def setting(self) -> Setting:
        """Return images, network and classifier."""
        return Setting(self)


# --- weights in a record ------------------------------------------------------------------------


def packed(denoiser: nn.Module, limit: int = 1_000_000) -> dict[str, Tensor]:
    """Return the weights of a denoiser as an array for a record, in half precision.

    Returns
    -------
    dict with ``weights``, a float16 vector, or an empty one if it takes more than ``limit`` bytes.
    """
    vector = nn.utils.parameters_to_vector(denoiser.parameters()).detach().cpu().half()
    return {"weights": vector} if 2 * len(vector) <= limit else {}


def restored(results: Results) -> denoisers.Preconditioned | None:
    """Return the denoiser whose weights are packed in results, on the CPU, ready for sampling.

    Parameters
    ----------
    results : Results
        With ``shape`` and ``data_std`` of its ``Setting`` among its facts.

    Returns
    -------
    Preconditioned, or None if there are no weights.
    """
    if "weights" not in results.arrays:
        return None
    settings, facts = results.settings, results.facts
    network = networks.UNet(facts["shape"], settings["channels"], settings["layers"])
    denoiser = denoisers.Preconditioned(network, facts["data_std"])
    nn.utils.vector_to_parameters(results.tensor("weights").float(), denoiser.parameters())
    return denoiser.eval().requires_grad_(False)
