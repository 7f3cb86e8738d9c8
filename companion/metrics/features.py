"""Features of images, from a small classifier that is trained on the spot."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from companion import checks
from companion.progress import track

__all__ = ["FeatureClassifier"]


def _network(channels: int, height: int, width: int, classes: int, seed: int) -> nn.Sequential:
    """Build (body, head), with weights from ``seed`` and from no global random state."""
    layers: list[nn.Module] = []
    before, filters, stride = channels, 32, 1
    with torch.device("meta"):
        while stride == 1 or max(height, width) > 4:
            layers.append(nn.Conv2d(before, filters, 3, stride=stride, padding=1))
            layers += [nn.GroupNorm(8, filters), nn.SiLU()]
            height, width = -(-height // stride), -(-width // stride)
            before, filters, stride = filters, min(2 * filters, 128), 2
        body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, 64))
        network = nn.Sequential(body, nn.Sequential(nn.SiLU(), nn.Linear(64, classes)))
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:  # biases, and the scales of the normalisation
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                parameter.mul_(math.sqrt(2 / fan_in))
    return network


def _check_images(images: Any, labels: Any) -> None:
    checks.tensor("images", images, "(N, C, H, W)", at_least=4)
    if images.ndim != 4:
        raise ValueError(f"images: got shape {tuple(images.shape)}; allowed is (N, C, H, W)")
    allowed = f"a tensor of {len(images)} whole numbers from 0"
    checks.instance("labels", labels, Tensor, allowed)
    wrong = labels.is_floating_point() or labels.shape != images.shape[:1]
    if wrong or (labels.numel() and labels.min() < 0):
        raise ValueError(f"labels: got {checks.shown(labels)}; allowed is {allowed}")


class FeatureClassifier:
    """A small convolutional classifier, whose features stand in for those of Inception.

    Inception's weights need a download, and its features mean little for digits. Make one with
    ``FeatureClassifier.train``. A Frechet distance in its features depends on what it was trained
    on and on its seed: show ``describe()`` beside the number.

    Attributes
    ----------
    data : str
        What it was trained on.
    seed : int
    held_out_accuracy : float
        Share of the held-out images that it classifies correctly.
    """

    num_features = 64

    def __init__(self, network: nn.Sequential, shape: tuple, data: str, seed: int, device: Any):
        self._network = network.to(device).eval().requires_grad_(False)
        self._shape = shape
        self._device = device
        self.data = data
        self.seed = seed
        self.held_out_accuracy = math.nan

    @classmethod
    def train(
        cls,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        held_out: tuple[Tensor, Tensor] | None = None,
        data: str = "unnamed images",
        steps: int | None = None,
    ) -> FeatureClassifier:
        """Train a classifier; the same seed gives the same one on the same machine.

        Parameters
        ----------
        images : (N, C, H, W) floating-point tensor in [-1, 1]
        labels : (N,) int64 tensor from 0
        seed : int
            Of the weights, the batches and the split (default 0).
        device : where to train (default: that of ``images``)
        held_out : (images, labels), optional
            To measure the accuracy on, such as the test split. Default: a tenth of the images,
            which are then not trained on.
        data : str
            What the images are, for ``describe``.
        steps : int, optional
            Batches of 64 (default 400 below 10,000 images, else 2,000).
        """
        _check_images(images, labels)
        seed = checks.seed("seed", seed)
        if len(images) < 20:
            raise ValueError(f"images: got {len(images)}; allowed are 20 or more")
        checks.finite("images", images)
        steps = (400 if len(images) < 10_000 else 2000) if steps is None else steps
        steps = checks.whole("steps", steps)
        device = images.device if device is None else torch.device(device)
        generator = torch.Generator().manual_seed(seed)
        images, labels = images.to(device, torch.float32), labels.to(device)
        classes = int(labels.max()) + 1
        if held_out is None:
            order = torch.randperm(len(images), generator=generator).to(device)
            tenth = len(images) // 10
            held_out = images[order[:tenth]], labels[order[:tenth]]
            images, labels = images[order[tenth:]], labels[order[tenth:]]
        channels, height, width = images.shape[1:]
        network = _network(channels, height, width, classes, seed).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
        reach = max(1, height // 12)  # images are shifted by up to this many pixels
        padded = nn.functional.pad(images, [reach] * 4, value=-1.0)
        for _ in track(range(steps), "classifier"):
            index = torch.randint(len(images), (64,), generator=generator).to(device)
            top, left = torch.randint(2 * reach + 1, (2,), generator=generator).tolist()
            batch = padded[index, :, top : top + height, left : left + width]
            loss = nn.functional.cross_entropy(network(batch), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        classifier = cls(network, (channels, height, width), data, seed, device)
        classifier.held_out_accuracy = classifier.accuracy(*held_out)
        return classifier

    @torch.no_grad()
    def _apply(self, network: nn.Module, images: Tensor) -> Tensor:
        checks.tensor("images", images, f"(N, *{self._shape})")
        if images.shape[1:] != self._shape:
            raise ValueError(f"images: got {tuple(images.shape)}; allowed is (N, *{self._shape})")
        parts = images.split(1024)
        return torch.cat([network(part.to(self._device, torch.float32)) for part in parts])

    def features(self, images: Tensor) -> Tensor:
        """Return the features, (N, 64) float32 on the device of ``images`` (N, C, H, W)."""
        return self._apply(self._network[0], images).to(images.device)

    def predict(self, images: Tensor) -> Tensor:
        """Return the most probable label of each of ``images`` (N, C, H, W), (N,) int64."""
        return self._apply(self._network, images).argmax(1).to(images.device)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of ``images`` (N, C, H, W) classified as ``labels`` (N,) say."""
        _check_images(images, labels)
        return (self.predict(images) == labels.to(images.device)).cpu().double().mean().item()

    def describe(self) -> str:
        """Name the data, the seed and the held-out accuracy: to go with every number."""
        return (
            f"features of a small classifier trained on {self.data} "
            f"(seed {self.seed}, held-out accuracy {self.held_out_accuracy:.1%})"
        )

    def __repr__(self) -> str:
        return f"FeatureClassifier: {self.describe()}"
