"""The network that restores: a small residual U-Net at half resolution, made for the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from companion import checks


class Block(nn.Module):
    """Two convolutions around a ReLU, added to their input."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        return x + self.second(nn.functional.relu(self.first(x)))


class RestorationUNet(nn.Module):
    """Residual U-Net on pixels folded 2 x 2 into channels, for any height and width.

    Folding (as in FFDNet, Zhang et al. 2018) makes it fast: four times fewer places, and the
    noise is still whole. No normalisation, so that what it does at a place depends on its
    surroundings only (about 100 pixels), and patches and whole images are treated alike.

    Parameters
    ----------
    channels : int
        Of the images, 1 or 3 (default 1).
    images : int
        Given at a time, stacked as channels: 2 for an image and its guide (default 1).
    widths : sequence of int
        Channels at half resolution, a quarter, and so on (default (32, 64, 96): 0.77 million
        parameters).
    blocks : int
        Residual blocks at each resolution on the way down, and up (default 2).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(
        self,
        channels: int = 1,
        images: int = 1,
        widths: Sequence[int] = (32, 64, 96),
        blocks: int = 2,
    ):
        super().__init__()
        self.channels = checks.whole("channels", channels)
        self.images = checks.whole("images", images)
        self.widths = checks.shape("widths", widths)
        blocks = checks.whole("blocks", blocks)
        self.multiple = 2 ** len(self.widths)
        w = self.widths
        steps = list(pairwise(w))
        self.input = nn.Conv2d(4 * channels * self.images + 1, w[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Sequential(*[Block(n) for _ in range(blocks)]) for n in w)
        self.up = nn.ModuleList(nn.Sequential(*[Block(n) for _ in range(blocks)]) for n in w[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in steps)
        self.output = nn.Conv2d(w[0], 4 * channels, 3, padding=1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Return the network's output for ``x`` at ``c_noise`` (0-d or (B,)).

        ``x`` is (B, images * C, H, W), the output (B, C, H, W).
        """
        height, width = x.shape[-2:]
        extra = (-width % self.multiple, -height % self.multiple)
        if any(extra):
            x = nn.functional.pad(x, (0, extra[0], 0, extra[1]), mode="replicate")
        h = nn.functional.pixel_unshuffle(x, 2)
        level = (4 * c_noise).to(h).reshape(-1, 1, 1, 1).expand(len(h), 1, *h.shape[2:])
        h = torch.cat([h, level], 1).contiguous(memory_format=torch.channels_last)
        h, kept = self.input(h), []
        for i, blocks in enumerate(self.down):
            h = blocks(h)
            if i < len(self.shrink):
                kept.append(h)
                h = self.shrink[i](h)
        for i in reversed(range(len(self.up))):
            h = self.up[i](self.grow[i](h) + kept[i])
        h = nn.functional.pixel_shuffle(self.output(h), 2)
        return h[..., :height, :width]
