"""How long a network for small images must be trained, and which; recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import denoisers, networks, noise, progress, samplers, training
from companion.experiments.images import ImageExperiment, Setting, packed, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageTraining", "PatchTransformer"]

SIGMA_MAX, SIGMA_MIN = 40.0, 0.02
"""Noise levels between which samples are drawn."""


class PatchTransformer(nn.Module):
    """Transformer over patches of an image, with a token for the noise level.

    Parameters
    ----------
    shape : (C, H, W)
    width, depth, heads : int
        Of the transformer.
    patch : int
        Side of a patch in pixels; H and W are multiples of it.
    """

    frequency: Tensor

    def __init__(
        self, shape: Sequence[int], width: int = 96, depth: int = 4, heads: int = 4, patch: int = 2
    ):
        super().__init__()
        channels, height, side = shape
        self.patch, self.size = patch, (height, side)
        entries, tokens = channels * patch**2, height * side // patch**2
        self.read = nn.Linear(entries, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.register_buffer("frequency", 2.0 ** torch.arange(8) * math.pi / 4)
        self.level = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.write = nn.Linear(width, entries)
        for p in self.write.parameters():
            nn.init.zeros_(p)  # training starts at D = c_skip x, as with the U-Net

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Return the network's output for ``x`` (B, C, H, W) at ``c_noise`` (0-d or (B,))."""
        angles = c_noise.expand(len(x))[:, None] * self.frequency
        level = self.level(torch.cat([angles.cos(), angles.sin()], 1))[:, None]
        patches = nn.functional.unfold(x, self.patch, stride=self.patch).mT
        tokens = self.layers(torch.cat([level, self.read(patches) + self.place + level], 1))
        out = self.write(tokens[:, 1:]).mT
        return nn.functional.fold(out, self.size, self.patch, stride=self.patch)


@dataclass(frozen=True)
class ImageTraining(ImageExperiment):
    """Fréchet distance and held-out error of plain networks against the time of their training.

    Every entry is a training of its own, with its learning rate brought to zero at its end, so that
    a point of the curve is what one gets for that time. Times are of one process and thread.

    Parameters
    ----------
    tried : tuple of str
        Networks, learning rates and batches: "unet 16 32, 0.002, 64" or "patches 96 4, 0.001, 64"
        (channels of the resolutions; width and depth).
    seconds_each : tuple of float
        Lengths of training, in seconds of this machine.
    best : float
        Length of the last training, of what was best at the longest of these; its weights are kept.
    solver_steps, samples : int
        Steps of Heun's method; samples of each network.
    level : float
        Noise level of the held-out error, pixels in [-1, 1].
    """

    tried: tuple[str, ...] = (
        "unet 16 32, 0.002, 64", "unet 16 32, 0.004, 64", "unet 16 32, 0.002, 32",
        "unet 8 16, 0.004, 64", "unet 24 48, 0.002, 64", "patches 64 4, 0.002, 64",
    )  # fmt: skip
    seconds_each: tuple[float, ...] = (60.0, 240.0)
    best: float = 480.0
    solver_steps: int = 16
    samples: int = 1024
    level: float = 0.5

    sizes = {
        "smoke": recipe(
            "digits", "smoke", tried=("unet 8 16, 0.002, 16", "patches 16 1, 0.002, 16"),
            seconds_each=(0.1,), best=0.2, solver_steps=2, samples=64,
        ),
        "long": recipe("mnist", "long"),
    }  # fmt: skip

    def run(self, session: Session) -> Results:
        """Distance, error, steps and time by network and length; the weights of the last."""
        setting, tables = self.setting(), []
        ends: dict[str, float] = {}
        for name in progress.track(self.tried, "networks"):
            for seconds in self.seconds_each:
                net, table, ends[name] = self._trained(setting, name, seconds, session.seed)
                tables += table
        best = min(ends, key=lambda name: ends[name])
        net, table, _ = self._trained(setting, best, self.best, session.seed)
        pictures = self._draw(setting, net, 60, session.seed + 1)
        arrays = {"samples": (127.5 * (pictures.clamp(-1, 1) + 1)).byte(), **packed(net)}
        facts = {
            "best": best, "floor": setting.floor(self.samples), "shape": list(setting.shape),
            "data_std": setting.data_std, **setting.report(),
        }  # fmt: skip
        return Results([*tables, *table], arrays, facts)

    def _trained(
        self, setting: Setting, name: str, seconds: float, seed: int
    ) -> tuple[Any, list, float]:
        """Train for so long; return the network, its numbers, and its Fréchet distance."""
        make, lr, batch = read(name, setting.shape)
        model = denoisers.Preconditioned(networks.seeded(make, seed), setting.data_std)
        options: dict[str, Any] = {"batch_size": batch, "lr": lr, "seed": seed}
        plain = setting.plain()
        trial = training.fit(
            model, plain, setting.train, steps=min(20, self.steps), progress=False, **options
        )
        steps = max(1, round(seconds * trial.steps_per_second))
        fit = training.fit(model, plain, setting.train, steps=steps, **options)
        samples = self._draw(setting, fit.denoiser, self.samples, seed)
        distance = setting.frechet(samples)
        values = {
            "Frechet distance": distance, "error": setting.error(fit.denoiser, self.level),
            "steps": steps, "seconds": fit.seconds,
            "parameters": sum(p.numel() for p in model.parameters()),
        }  # fmt: skip
        axes = {"network": [name], "length": [seconds]}
        return fit.denoiser, [tidy([[v]], axes, measure=m) for m, v in values.items()], distance

    def _draw(self, setting: Setting, net: Any, number: int, seed: int) -> Tensor:
        levels = noise.log_linear(self.solver_steps, SIGMA_MAX, SIGMA_MIN)
        return setting.draw(
            lambda part, _: samplers.heun(net, SIGMA_MAX * part, levels),
            setting.noise(number, seed),
        )


def read(name: str, shape: Sequence[int]) -> tuple[Any, float, int]:
    """Return what makes the network of such an entry of ``tried``, its learning rate and batch.

    Raises
    ------
    ValueError
        If it does not say what is asked for.
    """
    try:
        (kind, *sizes), lr, batch = (part.split() for part in name.split(","))
        numbers = [int(size) for size in sizes]
        make = {
            "unet": lambda: networks.UNet(shape, numbers, 1),
            "patches": partial(PatchTransformer, shape, *numbers),
        }[kind]
        return make, float(lr[0]), int(batch[0])
    except (ValueError, KeyError, IndexError):
        raise ValueError(
            f"tried: got {name!r}; allowed are entries such as 'unet 16 32, 0.002, 64' or "
            "'patches 96 4, 0.001, 64'"
        ) from None
