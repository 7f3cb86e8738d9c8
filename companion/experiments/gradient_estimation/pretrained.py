"""The race on a pretrained model of diffusers; recorded."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from companion import data, denoisers, metrics, networks
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.images import TINY, Contest, contest
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["PretrainedRace", "save_tiny_model"]


def save_tiny_model(folder: str | Path) -> None:
    """Save a small network of random weights for 8 x 8 images, as diffusers does."""
    from diffusers import DDPMScheduler, UNet2DModel

    unet: Any = networks.seeded(
        lambda: UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1,
            block_out_channels=(8, 16), down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"), norm_num_groups=8,
        ), 0,
    )  # fmt: skip
    unet.save_pretrained(folder)
    scheduler: Any = DDPMScheduler()
    scheduler.save_pretrained(folder)


class InceptionMeasures:
    """Draws samples of a pretrained model and measures them, on Inception's features.

    Parameters
    ----------
    train : (N, C, H, W) images in [-1, 1] to compare with
    batch : int
        Images that are drawn and looked at together.
    inception : bool
        False compares pixels instead, for a trial run.
    """

    def __init__(self, train: Tensor, batch: int, inception: bool):
        self.train, self.batch = train, batch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.score: Any = None
        if inception:
            from torchmetrics.image.fid import FrechetInceptionDistance

            self.score = FrechetInceptionDistance(normalize=True, reset_real_features=False)
            self.score.to(self.device)
            self._show(train, real=True)

    def _show(self, x: Tensor, real: bool) -> None:
        for part in x.split(self.batch):
            self.score.update(((part.to(self.device) + 1) / 2).clamp(0, 1), real=real)

    def draw(self, sampler: Callable[[Tensor, int], Tensor], z: Tensor) -> Tensor:
        """Run a sampler over all of z, in parts."""
        parts = enumerate(z.split(self.batch))
        return torch.cat([sampler(part.to(self.device), i).float().cpu() for i, part in parts])

    def frechet(self, samples: Tensor) -> float:
        """Frechet distance to the images."""
        if self.score is None:
            real = self.train[: len(samples)].flatten(1)
            return float(metrics.frechet_distance(samples.flatten(1), real))
        self.score.reset()
        self._show(samples, real=False)
        return float(self.score.compute())


@dataclass(frozen=True)
class PretrainedRace(Contest, Experiment):
    """Every sampler on a pretrained diffusers model, by the Frechet distance on Inception.

    The other settings are those of ``Contest``.

    Parameters
    ----------
    model : str
        Name on the Hugging Face Hub, or a folder; empty for a tiny one of random weights.
    data : str
        Images to compare with.
    inception : bool
        False compares pixels instead, for a trial run.
    sample_batch : int
        Samples that are drawn together.
    """

    model: str = "google/ddpm-cifar10-32"
    data: str = "cifar10"
    inception: bool = True
    sample_batch: int = 512

    recorded: ClassVar[bool] = True
    sizes = {
        "smoke": {**TINY, "model": "", "data": "digits", "inception": False},
        "gpu": {
            "budgets": (5, 10), "lows_few": (0.02,), "samples": 50_000, "paired": 512, "seeds": 1,
        },
    }  # fmt: skip

    @property
    def title(self) -> str:
        """Which model."""
        return f"pretrained ({self.model or 'random weights'})"

    def possible(self) -> bool:
        """Whether the model, and what Inception's features need, can be had here."""
        from diffusers import UNet2DModel

        try:
            importlib.import_module("torch_fidelity")
            UNet2DModel.load_config(self.model)
        except (ImportError, OSError) as reason:
            print(f"{self.model}: {reason}")
            return False
        return True

    def run(self, session: Session) -> Results:
        """Error and distance by method, budget, setting and seed."""
        train, _ = data.images(self.data, "train")
        measures = InceptionMeasures(train, self.sample_batch, self.inception)
        if self.model:
            denoiser = _load(self.model)
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_tiny_model(folder)
                denoiser = _load(folder)
        denoiser = denoiser.to(measures.device).eval()
        tables = []
        for seed in range(session.seed, session.seed + self.seeds):
            gen = torch.Generator().manual_seed(seed)
            z = torch.randn(self.samples, *train.shape[1:], generator=gen)
            tables.append(contest(self, measures, denoiser, z, seed))
        return Results(tables)


def _load(model: str) -> Any:
    from diffusers import DDPMScheduler, UNet2DModel

    unet: Any = UNet2DModel.from_pretrained(model)
    trained: Any = DDPMScheduler.from_pretrained(model)
    return denoisers.from_diffusers(unet, trained.alphas_cumprod)
