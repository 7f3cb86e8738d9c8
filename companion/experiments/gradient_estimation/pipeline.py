"""The sampler in a pipeline of diffusers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from companion import denoisers, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.pretrained import save_tiny_model
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["InAPipeline", "with_gradient_estimation"]


def with_gradient_estimation(pipe: Any, gamma: float = 2.0) -> Any:
    """Put gradient estimation into a pipeline of diffusers, and return it."""
    from companion.samplers.diffusers_scheduler import GradientEstimationScheduler

    pipe.scheduler = GradientEstimationScheduler.from_config(
        pipe.scheduler.config, gamma=gamma, timestep_spacing="log_linear", clip_sample=False
    )
    return pipe


@dataclass(frozen=True)
class InAPipeline(Experiment):
    """A pipeline with the scheduler against our sampler, on a tiny model that was saved to disk.

    Parameters
    ----------
    images : int
    steps : int
    """

    images: int = 16
    steps: int = 8

    seconds = 1

    def run(self, session: Session) -> Results:
        """Mean difference of the images."""
        import diffusers

        with tempfile.TemporaryDirectory() as folder:
            save_tiny_model(folder)
            unet = diffusers.UNet2DModel.from_pretrained(folder)
        old = diffusers.DDPMScheduler()
        pipe = with_gradient_estimation(diffusers.DDPMPipeline(unet, old))
        pipe.set_progress_bar_config(disable=True)
        asked = {"num_inference_steps": self.steps, "output_type": "np"}
        made = torch.from_numpy(pipe(self.images, session.generator(30), **asked).images)
        made = made.permute(0, 3, 1, 2)
        adapted = denoisers.from_diffusers(unet, old.alphas_cumprod)
        grid = torch.tensor(pipe.scheduler.sigmas)
        z = torch.randn(self.images, *made.shape[1:], generator=session.generator(30))
        start = noise.from_variance_preserving(z, grid[0])
        direct = samplers.gradient_estimation(adapted, start, grid)
        gap = float((made - (direct / 2 + 0.5).clamp(0, 1)).abs().mean())
        return Results(tidy([gap], {"measure": ["mean difference"]}))
