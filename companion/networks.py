"""Networks for points and images; ``denoisers.Preconditioned`` makes denoisers of them.

Each is called as ``network(x, c_noise)`` with ``x`` (B, *shape) and ``c_noise = ln(sigma) / 4``,
0-d or (B,), and returns (B, *shape); with ``classes`` also as ``network(x, c_noise, class_labels)``
with labels (B,), of which -1 is no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from companion import checks

__all__ = ["MLP", "Linear", "UNet", "seeded"]

T = TypeVar("T")


def seeded(make: Callable[[], T], seed: int) -> T:
    """Call ``make`` with torch's global random state of the CPU at ``seed``, and put it back.

    Layers draw their first weights from the global state; this is how they get a seed.

    Parameters
    ----------
    make : function without arguments
        Builds what is returned.
    seed : int, at least 0

    Raises
    ------
    TypeError, ValueError
        If ``make`` cannot be called, or the seed is not such a number.
    """
    checks.function("make", make, classes=True)
    seed = checks.whole("seed", seed, at_least=0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


class Linear(nn.Linear):
    """``nn.Linear`` that can hold the parameters of R runs, stacked along a new first dimension.

    Then the leading dimension of ``x`` is R equal parts, and each meets its own parameters in one
    batched product. Networks of nothing but such layers are what a ``Stack`` runs fastest.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device=None, dtype=None
    ):
        sizes = checks.whole("in_features", in_features), checks.whole("out_features", out_features)
        super().__init__(*sizes, bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ..., in) to (B, ..., out)."""
        if self.weight.ndim == 2:
            return super().forward(x)
        parts = x.reshape(len(self.weight), -1, x.shape[-1])
        if self.bias is None:
            answers = torch.bmm(parts, self.weight.mT)
        else:
            answers = torch.baddbmm(self.bias.unsqueeze(1), parts, self.weight.mT)
        return answers.view(*x.shape[:-1], answers.shape[-1])


class MLP(nn.Module):
    """Residual multilayer perceptron for points and small images.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of one sample: 2 or (2,) for points, (1, 8, 8) for digits.
    width : int
        Hidden units (default 64).
    depth : int
        Hidden layers, each with a skip connection (default 3).
    frequencies : int
        Cosine and sine pairs that encode the noise level (default 8).
    dropout : float
        Share of hidden units dropped in training, below 1 (default 0).
    classes : int, at least 0
        Number of classes K of labelled data (default 0: no labels are taken).

    Raises
    ------
    ValueError
        If an argument is outside of what is allowed.
    """

    frequency: Tensor
    phase: Tensor

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 64,
        depth: int = 3,
        frequencies: int = 8,
        dropout: float = 0.0,
        classes: int = 0,
    ):
        super().__init__()
        self.shape = checks.shape("shape", shape if isinstance(shape, Sequence) else [shape])
        dim = math.prod(self.shape)
        width, depth = checks.whole("width", width), checks.whole("depth", depth)
        frequencies = checks.whole("frequencies", frequencies)
        dropout = checks.number("dropout", dropout, at_least=0, below=1)
        # Sines and cosines: sin(k pi/2 c) and, a quarter of a turn on, cos(k pi/2 c).
        self.register_buffer(
            "frequency", math.pi / 2 * torch.arange(1.0, frequencies + 1).repeat(2)
        )
        self.register_buffer(
            "phase", math.pi / 2 * torch.tensor([0.0, 1.0]).repeat_interleave(frequencies)
        )
        self.noise = Linear(2 * frequencies, width)
        self.input = Linear(dim, width)
        self.hidden = nn.ModuleList(Linear(width, width) for _ in range(depth))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.output = Linear(width, dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.classes = checks.whole("classes", classes, at_least=0)
        if self.classes:
            self.label = Linear(self.classes, width)

    def forward(self, x: Tensor, c_noise: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Return the network's output for ``x`` (B, *shape) at ``c_noise`` (0-d or (B,))."""
        waves = torch.sin(c_noise[..., None] * self.frequency + self.phase)
        if waves.ndim == 1 and self.noise.weight.ndim == 3:
            waves = waves.expand(len(x), -1)
        # Sums in place: a stack of many runs is bound by memory.
        h = self.input(x.flatten(1)).add_(self.noise(waves))
        if self.classes:  # one-hot; a row of zeros is no label, and has the bias
            labels = x.new_full((len(x),), -1) if class_labels is None else class_labels
            numbers = torch.arange(self.classes, device=x.device)
            h = h + self.label((labels[:, None] == numbers).to(x.dtype))
        else:
            _no_labels(class_labels)
        for layer in self.hidden:
            h = self.dropout(nn.functional.silu(layer(h))).add_(h)
        return self.output(h).view_as(x)


class UNet(nn.Module):
    """Image U-Net: Hugging Face diffusers' ``UNet2DModel`` under this module's signature.

    Parameters
    ----------
    shape : (C, H, W)
        Shape of one image; H and W must halve evenly ``len(channels) - 1`` times.
    channels : sequence of int, multiples of 8
        Channels at each resolution, from the full one down (default (32, 64)).
    layers : int
        Residual blocks at each resolution (default 1).
    attention : sequence of bool, optional
        Whether a resolution has self-attention (default: none but the middle block's).
    dropout : float
        Share of activations dropped in training, below 1 (default 0).
    classes : int, at least 0
        Number of classes K of labelled data (default 0: no labels are taken).

    Raises
    ------
    ValueError
        If an argument is outside of what is allowed.
    """

    def __init__(
        self,
        shape: Sequence[int] = (1, 8, 8),
        channels: Sequence[int] = (32, 64),
        layers: int = 1,
        attention: Sequence[bool] | None = None,
        dropout: float = 0.0,
        classes: int = 0,
    ):
        from diffusers import UNet2DModel

        super().__init__()
        self.shape = checks.shape("shape", shape)
        channels = checks.shape("channels", channels)
        layers = checks.whole("layers", layers)
        dropout = checks.number("dropout", dropout, at_least=0, below=1)
        self.classes = checks.whole("classes", classes, at_least=0)
        attention = [False] * len(channels) if attention is None else attention
        attention = checks.listed("attention", attention, "truth values, one a resolution")
        if len(self.shape) != 3 or any(n % 2 ** (len(channels) - 1) for n in self.shape[1:]):
            raise ValueError(
                f"shape: got {self.shape} with {len(channels)} resolutions; allowed is (C, H, W) "
                f"with H and W multiples of {2 ** (len(channels) - 1)}"
            )
        if any(c % 8 for c in channels):
            raise ValueError(f"channels: got {channels}; allowed are multiples of 8")
        if len(attention) != len(channels):
            raise ValueError(
                f"attention: got {len(attention)} entries; allowed is one for each of the "
                f"{len(channels)} resolutions"
            )
        model = UNet2DModel(
            sample_size=self.shape[1:],
            in_channels=self.shape[0],
            out_channels=self.shape[0],
            block_out_channels=channels,
            layers_per_block=layers,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]),
            norm_num_groups=8,
            attention_head_dim=min(channels),
            dropout=dropout,
            num_class_embeds=self.classes + 1 if self.classes else None,  # the last is no label
        )
        self.unet = cast(nn.Module, model)
        # Zero, so that training starts at D = c_skip x, as with the MLP.
        for p in self.unet.get_submodule("conv_out").parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor, c_noise: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Return the network's output for ``x`` (B, C, H, W) at ``c_noise`` (0-d or (B,))."""
        labels = None
        if self.classes:
            labels = torch.full((len(x),), self.classes, device=x.device)
            if class_labels is not None:
                labels = torch.where(class_labels < 0, labels, class_labels)
        else:
            _no_labels(class_labels)
        # UNet2DModel's sinusoids are made for timesteps from 0 to 1000.
        return self.unet(x, 300 * c_noise, class_labels=labels, return_dict=False)[0]


def _no_labels(class_labels: Tensor | None) -> None:
    if class_labels is not None:
        raise ValueError(
            "class_labels: got labels for a network without classes; allowed is one that was made "
            "with classes=K"
        )
