"""Image experiments: what those of all chapters share, so that what can be shared is made once.

A *study* is a function of a configuration, run at one of three sizes and recorded: ``smoke`` (a few
steps on digits), ``long`` (two CPU cores and about two hours for the whole book) and ``gpu``. Its
``Setting`` holds the images, the network, the classifier whose features measure samples, and trains
networks. A network that another study has trained already is taken from a cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

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
    records,
    training,
)
from companion._html import STYLE

__all__ = [
    "SIZES",
    "Setting",
    "Studies",
    "cache_folder",
    "matrix_rate",
    "packed",
    "recipe",
    "restored",
    "study",
    "title",
]

SIZES = ("smoke", "long", "gpu")
"""Sizes of a study, named after the profiles that run them."""

_RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "smoke"): {
        "images": 100, "shrink": 1, "channels": [8, 16], "layers": 1, "steps": 3, "batch": 16,
        "lr": 1e-3, "classifier_steps": 2, "rows": 64,
    },
    ("mnist", "long"): {
        "images": 60_000, "shrink": 2, "channels": [16, 32], "layers": 1, "steps": 1500,
        "batch": 64, "lr": 2e-3, "classifier_steps": 2000, "rows": 256,
    },
    ("mnist", "gpu"): {
        "images": 60_000, "shrink": 1, "channels": [32, 64, 128], "layers": 1, "steps": 1000,
        "batch": 512, "lr": 2e-3, "classifier_steps": 2000, "rows": 2048,
    },
    ("cifar10", "gpu"): {
        "images": 50_000, "shrink": 1, "channels": [64, 128, 128], "layers": 2, "steps": 1500,
        "batch": 256, "lr": 1e-3, "classifier_steps": 4000, "rows": 2048,
    },
}  # fmt: skip


def recipe(name: str, size: str) -> dict[str, Any]:
    """Return the settings that all studies of a data set at a size share.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10"}
    size : {"smoke", "long", "gpu"}

    Returns
    -------
    dict with ``data``; ``images`` (how many are trained on), ``shrink`` (means of so many by so
    many pixels); ``channels``, ``layers`` of ``networks.UNet``; ``steps``, ``batch``, ``lr`` of
    ``training.fit``; ``classifier_steps``; ``rows`` (samples that are drawn together).

    Raises
    ------
    ValueError
        If there is no recipe for the two.
    """
    if (name, size) not in _RECIPES:
        allowed = ", ".join(f"{n!r} with {s!r}" for n, s in _RECIPES)
        raise ValueError(f"name, size: got {name!r} with {size!r}; allowed are {allowed}")
    return {"data": name, **_RECIPES[name, size]}


def cache_folder() -> Path:
    """Folder of the networks that studies have trained.

    The environment variable ``COMPANION_TRAINED``, else ``trained`` in the user's cache folder for
    "noise-on-purpose". It may be deleted at any time.
    """
    given = os.environ.get("COMPANION_TRAINED")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("noise-on-purpose", appauthor=False)) / "trained"


class Setting:
    """Images, network and classifier of a study, from its configuration.

    Parameters
    ----------
    config : dict
        At least what ``recipe`` gives.
    cache : path, optional
        Where trained networks are kept (default ``cache_folder()``; digits are not kept).

    Attributes
    ----------
    train, test : (N, C, H, W) tensors in [-1, 1]
        On the CPU.
    shape : (C, H, W)
    spread : float
        Standard deviation of all pixels of ``train``, for ``sigma_data``.
    device : str
    """

    def __init__(self, config: Mapping[str, Any], *, cache: str | Path | None = None):
        self.config = dict(config)
        shrink, name = self.config["shrink"], self.config["data"]
        self._cache = Path(cache) if cache else None if name == "digits" else cache_folder()
        (train, labels), (test, test_labels) = (data.images(name, s) for s in ("train", "test"))
        train, self._labels = (x[: self.config["images"]] for x in (train, labels))
        self._test_labels = test_labels
        if shrink > 1:
            train, test = (nn.functional.avg_pool2d(x, shrink) for x in (train, test))
        self.train, self.test = train, test
        self.shape, self.spread = tuple(train.shape[1:]), float(train.std())
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._modern = devices.has_bf16(torch.device(self.device))
        self._log: list[dict[str, Any]] = []

    @property
    def title(self) -> str:
        """What the images are, for a figure."""
        return title(self.config)

    # --- training

    def network(self, seed: int) -> denoisers.Preconditioned:
        """Return an untrained denoiser; the seed is that of its first weights."""
        make: Callable[[], nn.Module] = partial(
            networks.UNet, self.shape, self.config["channels"], self.config["layers"]
        )
        return denoisers.Preconditioned(networks.seeded(make, seed), self.spread)

    def plain(self) -> objectives.DenoisingScoreMatching:
        """Return the objective of a network that studies share: EDM's law of levels and weight."""
        return objectives.DenoisingScoreMatching(noise.LogNormal(), "edm", self.spread)

    def fit(
        self,
        objective: Any,
        seed: int,
        *,
        seen: Tensor | None = None,
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
        seen : (N, C, H, W) tensor
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
        seen = self.train if seen is None else seen
        options: dict[str, Any] = {
            "steps": self.config["steps"] if steps is None else steps,
            "batch_size": self.config["batch"] if batch is None else batch,
            "lr": self.config["lr"] if lr is None else lr,
            "seed": seed,
        }
        folder, known = None, False
        if self._cache is not None:
            folder = self._cache / self._key(model, objective, seen, options)
            known = (folder / checkpoint.FILE).exists()
        fitted = training.fit(
            model, objective, seen, checkpoint=folder, checkpoint_every=10**9,
            compile=self._modern and not known, **options,
        )  # fmt: skip
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

    def _key(self, model: nn.Module, objective: Any, seen: Tensor, options: dict) -> str:
        made_by: Any = training.fit, networks.UNet, type(objective)
        place = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        parts = {
            "network": [list(self.shape), self.config["channels"], self.config["layers"]],
            "model": checkpoint.digest(model),
            "objective": repr(objective), "data": checkpoint.digest(seen), **options,
            "place": place, "torch": torch.__version__,
            "code": records.fingerprint(*made_by),
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
        parts = z.split(self.config["rows"])
        with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=self._modern):
            made = [sampler(p.to(self.device), i).float().cpu() for i, p in enumerate(parts)]
        return torch.cat(made)

    @cached_property
    def judge(self) -> metrics.FeatureClassifier:
        """Classifier trained on these images, whose features measure samples; seed 0."""
        return metrics.FeatureClassifier.train(
            self.train, self._labels, device=self.device, held_out=(self.test, self._test_labels),
            data=self.title, steps=self.config["classifier_steps"],
        )  # fmt: skip

    @cached_property
    def _real(self) -> Tensor:
        return self.judge.features(self.test)

    def frechet(self, samples: Tensor) -> float:
        """Frechet distance of samples to the test images, in the features of ``judge``.

        NaN if a sample is not finite. Samples are clamped to [-1, 1], as images are when they are
        looked at.
        """
        if not samples.isfinite().all():
            return float("nan")
        return float(
            metrics.frechet_distance(self.judge.features(samples.clamp(-1, 1)), self._real)
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
        found: dict[str, Any] = {"classifier": self.judge.describe(), "trainings": self._log}
        ran = [e for e in self._log if e["objective"] == repr(self.plain()) and not e["continued"]]
        if ran:
            rate = statistics.median(e["steps"] * e["batch"] / e["seconds"] for e in ran)
            each, peak = self._operations(), matrix_rate(self.device, ran[0]["precision"])
            found["speed"] = {
                "images_per_second": rate, "operations_per_image": each, "rate": rate * each,
                "matrix_rate": peak, "share": rate * each / peak, "precision": ran[0]["precision"],
            }  # fmt: skip
        return found

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


# --- weights in a record ------------------------------------------------------------------------


def packed(denoiser: nn.Module, limit: int = 1_000_000) -> dict[str, Tensor]:
    """Return the weights of a denoiser as an array for a record, in half precision.

    Returns
    -------
    dict with ``weights``, a float16 vector, or an empty one if it takes more than ``limit`` bytes.
    """
    vector = nn.utils.parameters_to_vector(denoiser.parameters()).detach().cpu().half()
    return {"weights": vector} if 2 * len(vector) <= limit else {}


def restored(record: records.Record) -> denoisers.Preconditioned | None:
    """Return the denoiser whose weights are packed in a record, on the CPU, ready for sampling.

    Parameters
    ----------
    record : Record
        With ``shape`` and ``spread`` of its ``Setting`` among its metrics.

    Returns
    -------
    Preconditioned, or None if the record has no weights.
    """
    if "weights" not in record.arrays:
        return None
    config, shape = record.config, record.metrics["shape"]
    network = networks.UNet(shape, config["channels"], config["layers"])
    denoiser = denoisers.Preconditioned(network, record.metrics["spread"])
    vector = torch.from_numpy(record.arrays["weights"]).float()
    nn.utils.vector_to_parameters(vector, denoiser.parameters())
    return denoiser.eval().requires_grad_(False)


_SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28, "cifar10": 32, "cifar10-jpeg": 32}


# --- studies ------------------------------------------------------------------------------------


def title(config: Mapping[str, Any]) -> str:
    """What the images of a configuration are."""
    name, shrink = data.IMAGES[config["data"]], config.get("shrink", 1)
    if shrink == 1:
        return name
    side = _SIDES[config["data"]] // shrink
    return f"{name} at {side} × {side}"


class Studies(dict):
    """Records of a study by their titles; shows where each came from, or that it is missing."""

    @property
    def made(self) -> dict[str, records.Record]:
        """Those that there are."""
        return {name: record for name, record in self.items() if record}

    def __repr__(self) -> str:
        return "\n".join(f"{name}. {record!r}" for name, record in self.items())

    def _repr_html_(self) -> str:
        lines = [
            f'<p class="nop" style="margin-bottom:0"><strong>{name}</strong></p>'
            f"{record._repr_html_()}"
            for name, record in self.items()
        ]
        return STYLE + "".join(lines)


def study(
    name: str,
    function: Callable[[dict[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]],
    configs: Mapping[str, Sequence[Mapping[str, Any]]],
    profile: str,
) -> Studies:
    """Run a study at the size that the profile asks for, and show all that is recorded.

    A record is called ``name-data`` at the size ``gpu`` and ``name-data-long`` at ``long``, unless
    the two have the same configuration. At ``smoke`` it is made in a folder that is deleted. Where
    CIFAR-10 cannot be had but its JPEG version can, that is used, under its own name.

    Parameters
    ----------
    name : str
    function : callable, config -> (metrics, arrays)
    configs : dict, size -> configurations, each with an entry ``data``
    profile : {"smoke", "cpu", "long", "gpu"}

    Returns
    -------
    Studies : dict, title -> ``records.Record`` or, where there is none, ``records.Missing``
    """
    unknown = [size for size in configs if size not in SIZES]
    if unknown:
        raise ValueError(f"configs: got the size {unknown[0]!r}; allowed are {SIZES}")
    long = [dict(c) for c in configs.get("long", ())]
    full = [dict(c) for c in configs.get("gpu", ())]
    found = Studies()
    for config in [*full, *(c for c in long if c not in full)]:
        sizes = [s for s, among in (("gpu", full), ("long", long)) if config in among]
        ending = "" if "gpu" in sizes else "-long"
        versions = [config["data"], f"{config['data']}-jpeg"]
        versions = [v for v in versions if v in data.IMAGES]
        here = [v for v in versions if _available(v)][:1] if profile in sizes else []
        made = {}
        for version in here or versions:
            asked = {**config, "data": version}
            record = records.run(f"{name}-{version}{ending}", function, asked, live=bool(here))
            if record:
                made[title(asked)] = record
        missing = records.Missing(f"{name}-{config['data']}{ending}", sizes[0])
        found |= made or {title(config): missing}
    if profile == "smoke":
        with tempfile.TemporaryDirectory() as folder:
            for config in map(dict, configs.get("smoke", ())):
                toy = records.run(f"{name}-smoke", function, config, live=True, folder=folder)
                found[f"{title(config)}, smoke run"] = toy
    return found


def _available(name: str) -> bool:
    """Whether a data set is on this machine or can be downloaded; says why not."""
    try:
        data.images(name, "test")
    except data.DataError as reason:
        print(reason)
        return False
    return True
