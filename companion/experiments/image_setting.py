"""Images, network and classifier of an image experiment, and the training of its networks.

A network that another experiment has trained already is taken from a cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import (
    checkpoint,
    data,
    denoisers,
    devices,
    metrics,
    networks,
    noise,
    objectives,
    training,
)
from companion.experiments.source import code_hash

if TYPE_CHECKING:
    from companion.experiments.images import ImageExperiment

__all__ = ["Setting", "cache_folder", "matrix_rate"]


def cache_folder() -> Path:
    """Folder of the networks that image experiments have trained.

    The environment variable ``COMPANION_TRAINED``, else ``trained`` in the user's cache folder for
    "noise-on-purpose". It may be deleted at any time.
    """
    given = os.environ.get("COMPANION_TRAINED")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("noise-on-purpose", appauthor=False)) / "trained"


class Setting:
    """Images, network and classifier of an image experiment, from its settings.

    Parameters
    ----------
    config : ImageExperiment
    cache : path, optional
        Where trained networks are kept (default ``cache_folder()``; digits are not kept).

    Attributes
    ----------
    train, test : (N, C, H, W) tensors in [-1, 1]
        On the CPU.
    shape : (C, H, W)
    data_std : float
        Standard deviation of all pixels of ``train``, for ``sigma_data``.
    device : str
    """

    def __init__(self, config: ImageExperiment, *, cache: str | Path | None = None):
        self.config = config
        shrink, name = config.shrink, config.data
        self._cache = Path(cache) if cache else None if name == "digits" else cache_folder()
        (train, labels), (test, test_labels) = (data.images(name, s) for s in ("train", "test"))
        train, self._labels = (x[: config.images] for x in (train, labels))
        self._test_labels = test_labels
        if shrink > 1:
            train, test = (nn.functional.avg_pool2d(x, shrink) for x in (train, test))
        self.train, self.test = train, test
        self.shape, self.data_std = tuple(train.shape[1:]), float(train.std())
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._modern = devices.has_bf16(torch.device(self.device))
        self._log: list[dict[str, Any]] = []

    @property
    def title(self) -> str:
        """What the images are, for a figure."""
        return self.config.title

    # --- training

    def network(self, seed: int) -> denoisers.Preconditioned:
        """Return an untrained denoiser; the seed is that of its first weights."""
        make: Callable[[], nn.Module] = partial(
            networks.UNet, self.shape, self.config.channels, self.config.layers
        )
        return denoisers.Preconditioned(networks.seeded(make, seed), self.data_std)

    def plain(self) -> objectives.DenoisingScoreMatching:
        """Return the objective of the network that experiments share: EDM's levels and weight."""
        return objectives.DenoisingScoreMatching(noise.LogNormal(), "edm", self.data_std)

    def fit(
        self,
        objective: Any,
        seed: int,
        *,
        images: Tensor | None = None,
        start: nn.Module | None = None,
        steps: int | None = None,
        batch: int | None = None,
        lr: float | None = None,
    ) -> Any:
        """Train a denoiser, or take it from the cache if it was trained just so before.

        Parameters
        ----------
        objective : as of ``training.fit``
        seed : int
            Of the first weights and of everything drawn.
        images : (N, C, H, W) tensor
            What is trained on (default ``train``).
        start : denoiser to go on from (default: a new network of this seed)
        steps, batch, lr : default: those of the configuration

        Returns
        -------
        The averaged denoiser, in evaluation mode, on ``device``. On a GPU that gains by it training
        is compiled, once for all networks of a process.

        Raises
        ------
        ValueError, TrainingDiverged
            As ``training.fit`` does.
        """
        model = self.network(seed) if start is None else start
        images = self.train if images is None else images
        options: dict[str, Any] = {
            "steps": self.config.steps if steps is None else steps,
            "batch_size": self.config.batch if batch is None else batch,
            "lr": self.config.lr if lr is None else lr,
            "seed": seed,
        }
        folder, known = None, False
        if self._cache is not None:
            folder = self._cache / self._key(model, objective, images, options)
            known = (folder / checkpoint.FILE).exists()

        def trained() -> training.Fit:
            return training.fit(
                model, objective, images, checkpoint=folder, checkpoint_every=10**9,
                compile=self._modern and not known, **options,
            )  # fmt: skip

        try:
            fitted = trained()
        except checkpoint.DamagedCheckpoint:
            if folder is None:
                raise
            (folder / checkpoint.FILE).unlink()  # a cache mends itself
            known = False
            fitted = trained()
        self._log.append(
            {
                "objective": repr(objective), "steps": options["steps"],
                "batch": options["batch_size"], "seed": seed, "continued": start is not None,
                "seconds": fitted.seconds, "shared": known,
                "loss": float(fitted.losses[-50:].mean()),
                "precision": fitted.config["mixed_precision"],
            }
        )  # fmt: skip
        return fitted.denoiser

    def _key(self, model: nn.Module, objective: Any, images: Tensor, options: dict) -> str:
        place = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        parts = {
            "network": [list(self.shape), self.config.channels, self.config.layers],
            "model": checkpoint.digest(model),
            "objective": checkpoint.digest(objective, "objective"),
            "data": checkpoint.digest(images), **options,
            "place": place, "torch": torch.__version__,
            "code": code_hash("companion.experiments.image_setting"),
        }  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    # --- sampling and measuring

    def noise(self, number: int, seed: int) -> Tensor:
        """Return standard normal noise, (number, C, H, W), on the CPU."""
        return torch.randn(number, *self.shape, generator=torch.Generator().manual_seed(seed))

    def draw(self, sampler: Callable[[Tensor, int], Tensor], z: Tensor) -> Tensor:
        """Run ``sampler(part of z on the device, number of the part)`` over all of z, in parts.

        On a GPU that trains in bf16 the network is evaluated in it too; states stay in float32.
        """
        parts = z.split(self.config.sample_batch)
        with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=self._modern):
            samples = [sampler(p.to(self.device), i).float().cpu() for i, p in enumerate(parts)]
        return torch.cat(samples)

    @cached_property
    def classifier(self) -> metrics.FeatureClassifier:
        """Classifier trained on these images, whose features measure samples; seed 0."""
        return metrics.FeatureClassifier.train(
            self.train, self._labels, device=self.device, held_out=(self.test, self._test_labels),
            data=self.title, steps=self.config.classifier_steps,
        )  # fmt: skip

    @cached_property
    def _real(self) -> Tensor:
        return self.classifier.features(self.test)

    def frechet(self, samples: Tensor) -> float:
        """Frechet distance of samples to the test images, in the features of ``classifier``.

        NaN if a sample is not finite. Samples are clamped to [-1, 1], as images are when they are
        looked at.
        """
        if not samples.isfinite().all():
            return float("nan")
        return float(
            metrics.frechet_distance(self.classifier.features(samples.clamp(-1, 1)), self._real)
        )

    def floor(self, number: int) -> float:
        """Frechet distance of the first ``number`` training images to the test images.

        What as many real images show, to compare samples with; a bias for few images is in both.
        """
        return self.frechet(self.train[:number])

    def error(self, denoiser: Any, sigma: float, *, number: int = 1024, seed: int = 0) -> float:
        """Root mean square error a pixel of a denoiser, on test images with noise ``sigma``."""
        clean = self.test[:number]
        gen = torch.Generator().manual_seed(seed)
        noisy = noise.corrupt(clean, sigma, generator=gen)
        answer = self.draw(lambda part, _: denoiser(part, sigma), noisy)
        return float((answer - clean).square().mean().sqrt())

    # --- what it cost

    def report(self) -> dict[str, Any]:
        """Return what to keep beside the results: classifier, trainings and their speed.

        ``speed``: training images a second (median over the plain trainings, also shared ones), the
        floating-point operations of one in the network, the rate that makes, the rate of a large
        matrix product on the same device in the same precision, and the share of it that training
        reaches.
        """
        report: dict[str, Any] = {"classifier": self.classifier.describe(), "trainings": self._log}
        ran = [e for e in self._log if e["objective"] == repr(self.plain()) and not e["continued"]]
        if ran:
            rate = statistics.median(e["steps"] * e["batch"] / e["seconds"] for e in ran)
            each, peak = self._operations(), matrix_rate(self.device, ran[0]["precision"])
            report["speed"] = {
                "images_per_second": rate, "operations_per_image": each, "rate": rate * each,
                "matrix_rate": peak, "share": rate * each / peak, "precision": ran[0]["precision"],
            }  # fmt: skip
        return report

    def _operations(self) -> float:
        """Floating-point operations of the network, forwards and backwards, for one image."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.plain()(self.network(0).train(), self.train[:2]).sum().backward()
        return counter.get_total_flops() / 2


def matrix_rate(device: str, precision: str = "no") -> float:
    """Measure the rate of a large matrix product on a device, in operations a second.

    Parameters
    ----------
    device : {"cuda", "cpu"}
    precision : {"no", "bf16", "fp16"}
        "no" is float32 (as PyTorch multiplies it by default).

    Returns
    -------
    float, the median over ten products of random matrices, after a warm-up.
    """
    kinds = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    n = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device).to(kinds[precision]) for _ in range(2))

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(13):
        wait()
        began = time.perf_counter()
        a @ b
        wait()
        times.append(time.perf_counter() - began)
    return 2 * n**3 / statistics.median(times[3:])
