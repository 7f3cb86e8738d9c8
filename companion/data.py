"""Data: points in the plane, images, and data corrupted once and for all.

Points are scaled to unit standard deviation, images to [-1, 1], so that a noise level ``sigma``
means about the same thing everywhere.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tarfile
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.noise import rand, randn_like
from companion.oracles import GaussianMixture

__all__ = [
    "IMAGES",
    "LAWS",
    "MIXTURES",
    "POINTS",
    "DataError",
    "FrozenNoise",
    "data_folder",
    "images",
    "mixture",
    "points",
]

POINTS = ("swiss_roll", "two_moons", "ring", "spirals", "dinosaur")
"""Names that ``points`` knows."""

MIXTURES = ("ring", "spirals", "two_modes")
"""Names that ``mixture`` knows."""

IMAGES = {
    "digits": "Digits (8 × 8)",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10-jpeg": "CIFAR-10 (JPEG q75)",
}
"""Names that ``images`` knows, with the title that a figure made on them carries."""

LAWS = ("gaussian", "laplace", "uniform")
"""Laws of the noise that ``FrozenNoise`` knows."""

JPEG_ARCHIVE = "cifar10-jpeg.tar.xz"


class DataError(RuntimeError):
    """Data that are missing, cannot be downloaded, or are damaged. The message says what to do."""


def _known(argument: str, name: Any, names) -> None:
    if name not in tuple(names):
        raise ValueError(f"{argument}: got {name!r}; allowed are {', '.join(map(repr, names))}")


# --- points -------------------------------------------------------------------------------------

# The outline of a sauropod, drawn for this book: (x, y) in percent of its height.
_DINOSAUR = """
    0 20    9 23   18 30   26 40   34 49   44 54   54 53   61 54   66 62   69 74   72 86   76 94
    83 98   90 96  97 91   99 86.5 94 84   86 83.5 82.5 77 81 66   79 53   77 41   75 31   75 17
    76 4.5  74 1   67 1    65 4.5  65.5 16 62 23   52 21.5 45 22   42 16   42.5 4.5 40.5 1 33.5 1
    31.5 4.5 32 17 28 25   18 23   9 19
"""


@cache
def _segments(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Starts (S, 2), ends (S, 2) and cumulated lengths (S,) of a curve, in scaled units."""
    u = np.linspace(0, 1, 2001)
    if name == "swiss_roll":
        t = 1.5 * math.pi * (1 + 2 * u)
        curves = [np.stack([t * np.cos(t), t * np.sin(t)], 1)]
    elif name == "two_moons":
        t = math.pi * u
        upper = np.stack([np.cos(t), np.sin(t)], 1)
        curves = [upper, np.array([1.0, 0.5]) - upper]
    else:
        from scipy.interpolate import CubicSpline

        knots = np.array(_DINOSAUR.split(), dtype=float).reshape(-1, 2)
        knots = np.vstack([knots, knots[:1]])
        chords = np.linalg.norm(np.diff(knots, axis=0), axis=1)
        t = np.concatenate([[0], np.cumsum(np.sqrt(chords))])  # centripetal: no loops
        curves = [CubicSpline(t, knots, bc_type="periodic")(u * t[-1])]
    start = np.concatenate([curve[:-1] for curve in curves])
    end = np.concatenate([curve[1:] for curve in curves])
    length = np.linalg.norm(end - start, axis=1)
    middle, weight = (start + end) / 2, length[:, None] / length.sum()
    mean = (weight * middle).sum(0)
    scale = math.sqrt((weight * (middle - mean) ** 2).sum() / 2)
    return (
        torch.from_numpy((start - mean) / scale),
        torch.from_numpy((end - mean) / scale),
        torch.from_numpy(np.cumsum(length) / length.sum()),
    )


@cache
def mixture(name: str) -> GaussianMixture:
    """Return the Gaussian mixture that stands behind a data set, so that answers are exact.

    Parameters
    ----------
    name : {"ring", "spirals", "two_modes"}
        "ring": 8 components of standard deviation 0.1 on a circle. "spirals": 2 arms of 80
        components of standard deviation 0.06. Both in 2 dimensions, with unit standard deviation;
        ``points`` of the same name are drawn from them. "two_modes": in 1 dimension, at -1 and 1,
        of standard deviation 0.2.

    Raises
    ------
    ValueError
        If ``name`` is unknown.
    """
    _known("name", name, MIXTURES)
    if name == "two_modes":
        return GaussianMixture([[-1.0], [1.0]], 0.2)
    if name == "ring":
        std = 0.1
        angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
        means = torch.stack([angle.cos(), angle.sin()], 1)
    else:
        std = 0.06
        turn = torch.linspace(0.35**2, 1, 80, dtype=torch.float64).sqrt()  # about equal spacing
        angle = 3 * math.pi * turn
        arm = turn[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        means = torch.cat([arm, -arm])
    # The law has mean 0; per coordinate its variance is that of the means plus std^2.
    means = means * ((1 - std**2) / means.square().mean()).sqrt()
    return GaussianMixture(means, std)


def points(
    name: str, n: int, *, noise: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw points in the plane, from a law of mean 0 and unit standard deviation.

    The standard deviation is that of both coordinates together (root mean square), so shapes keep
    their proportions. "swiss_roll", "two_moons" and "dinosaur" are uniform on a curve; "ring" and
    "spirals" come from the mixture of that name.

    Parameters
    ----------
    name : {"swiss_roll", "two_moons", "ring", "spirals", "dinosaur"}
    n : int
        Number of points, at least 1.
    noise : float
        Standard deviation of Gaussian noise to add, in the scaled units (default 0).
    generator : torch.Generator, optional
        Default: torch's global generator.

    Returns
    -------
    (n, 2) float32 tensor on the CPU.

    Raises
    ------
    ValueError
        If ``name`` is unknown, ``n`` below 1 or ``noise`` negative.
    """
    _known("name", name, POINTS)
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ValueError(f"n: got {n!r}; allowed is a whole number of at least 1")
    if not (0 <= noise < math.inf):
        raise ValueError(f"noise: got {noise!r}; allowed is a finite number of at least 0")
    n = int(n)
    if name in MIXTURES:
        x = mixture(name).sample(n, generator, device="cpu", dtype=torch.float32)
    else:
        start, end, cumulated = _segments(name)
        u = rand((n, 2), generator=generator, device="cpu", dtype=torch.float64)
        index = torch.searchsorted(cumulated, u[:, 0].contiguous()).clamp(max=len(cumulated) - 1)
        x = torch.lerp(start[index], end[index], u[:, 1:]).float()
    return x + noise * randn_like(x, generator) if noise else x


# --- images -------------------------------------------------------------------------------------


def data_folder(root: str | Path | None = None) -> Path:
    """Folder that image data are read from and downloaded to.

    ``root`` if given, else the environment variable ``COMPANION_DATA``, else the user's cache
    folder for "noise-on-purpose".
    """
    if root is None:
        root = os.environ.get("COMPANION_DATA") or None
    if root is None:
        from platformdirs import user_cache_dir

        root = user_cache_dir("noise-on-purpose", appauthor=False)
    return Path(root).expanduser()


def images(
    name: str, split: str = "train", *, root: str | Path | None = None, download: bool = True
) -> tuple[Tensor, Tensor]:
    """Load images and their labels.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist", "cifar10", "cifar10-jpeg"}
        "digits": scikit-learn's 1,797 handwritten digits of 8 x 8, in a fixed stratified split of
        1,433 and 364. "cifar10-jpeg": CIFAR-10 re-encoded as JPEG of quality 75, read from
        ``cifar10-jpeg.tar.xz`` under the root, in a fixed random order; its pixels have JPEG
        artefacts, so compare it only with itself. The others through torchvision.
    split : {"train", "test"}
    root : path, optional
        Where the files are or go; see ``data_folder`` for the default. Not used by "digits".
    download : bool
        Fetch what is missing (default). Files appear under the root only once they are complete.

    Returns
    -------
    images : (N, C, H, W) float32 tensor in [-1, 1]
    labels : (N,) int64 tensor

    Raises
    ------
    ValueError
        If ``name`` or ``split`` is unknown.
    DataError
        If files are missing, damaged or cannot be downloaded; the message says what to do.
    """
    _known("name", name, IMAGES)
    _known("split", split, ("train", "test"))
    if name == "digits":
        return _digits(split)
    folder = data_folder(root)
    if name == "cifar10-jpeg":
        pixels, labels = _cifar10_jpeg(folder / JPEG_ARCHIVE, split)
    else:
        read = _cifar10 if name == "cifar10" else _mnist
        pixels, labels = read(name, folder, split, download)
    return pixels.float().div_(127.5).sub_(1), labels.long()


def _digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(labels))  # a stream that NumPy keeps for ever
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[order[labels[order] == label][::5]] = True
    chosen = order[test[order] == (split == "test")]
    x = torch.from_numpy(pixels[chosen]).float().reshape(-1, 1, 8, 8)
    return x / 8 - 1, torch.from_numpy(labels[chosen]).long()


def _obtain(cls, folder: Path, paths: list[str], title: str, download: bool) -> None:
    """Make sure that the files of a torchvision data set are there; download them if allowed.

    Torchvision writes in place, and takes a file that a killed download left for a complete one.
    So it downloads to a folder beside, and complete files are moved from there one by one.
    """
    if all((folder / path).is_file() for path in paths):
        return
    where = (
        f"set COMPANION_DATA to a folder that has {paths[0]} and its companions, "
        "or choose 'digits', which needs no file"
    )
    if not download:
        raise DataError(f"{title} is not in {folder}: pass download=True, or {where}.")
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".download-*"):  # left by a process that was killed
            if time.time() - stale.stat().st_mtime > 24 * 3600:
                shutil.rmtree(stale, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
        cls(staging, download=True)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / path, folder / path)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{title} could not be downloaded to {folder} ({reason[:300]}): "
            f"check the connection and try again, or {where}."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(
        f"{path} is damaged ({problem}): delete it and load the data again, "
        "which downloads it afresh."
    )


def _check_idx(path: Path) -> int:
    """Number of items in an idx file whose length fits its header."""
    with open(path, "rb") as file:
        head = file.read(16)
    size = path.stat().st_size
    dims = head[3] if len(head) >= 4 else 0
    if head[:3] != b"\0\0\x08" or dims not in (1, 3) or len(head) < 4 + 4 * dims:
        raise _damaged(path, f"{size} bytes without the header of an idx file")
    shape = [int.from_bytes(head[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    expected = 4 + 4 * dims + math.prod(shape)
    if size != expected:
        raise _damaged(path, f"{size} bytes where its header promises {expected}")
    return shape[0]


def _mnist(name: str, folder: Path, split: str, download: bool) -> tuple[Tensor, Tensor]:
    from torchvision import datasets

    cls = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name]
    raw = f"{cls.__name__}/raw"
    files = [
        (f"{raw}/{part}-images-idx3-ubyte", f"{raw}/{part}-labels-idx1-ubyte")
        for part in ("train", "t10k")
    ]
    _obtain(cls, folder, [path for pair in files for path in pair], IMAGES[name], download)
    counts = [[_check_idx(folder / path) for path in pair] for pair in files]
    for pair, (n_images, n_labels) in zip(files, counts):
        if n_images != n_labels:
            raise _damaged(folder / pair[1], f"{n_labels} labels for {n_images} images")
    data = cls(folder, train=split == "train", download=False)
    return data.data[:, None], data.targets


def _cifar10(name: str, folder: Path, split: str, download: bool) -> tuple[Tensor, Tensor]:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    files = [*CIFAR10.train_list, *CIFAR10.test_list]
    files.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    paths = [f"{CIFAR10.base_folder}/{file}" for file, _ in files]
    _obtain(CIFAR10, folder, paths, IMAGES[name], download)
    try:
        data = CIFAR10(folder, train=split == "train", download=False)
    except RuntimeError:  # it checks every md5, but does not say which one is wrong
        for path, (_, md5) in zip(paths, files):
            if not check_integrity(folder / path, md5):
                raise _damaged(folder / path, "its md5 is not the published one") from None
        raise
    return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)


def _cifar10_jpeg(path: Path, split: str) -> tuple[Tensor, Tensor]:
    import lzma

    from PIL import Image

    if not path.is_file():
        raise DataError(
            f"{IMAGES['cifar10-jpeg']} is not in {path.parent}: set COMPANION_DATA to the folder "
            f"that has {path.name}, or choose 'cifar10', which is downloaded."
        )
    found: list[tuple[str, str, np.ndarray]] = []
    try:
        with tarfile.open(path, "r|xz") as tar:
            for member in tar:
                part, *rest = member.name.removeprefix("./").split("/")
                if member.isfile() and part == split and len(rest) == 2:
                    content = tar.extractfile(member).read()  # type: ignore[union-attr]
                    with Image.open(io.BytesIO(content)) as image:
                        found.append((rest[0], rest[1], np.asarray(image.convert("RGB"))))
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise DataError(
            f"{path} is damaged or incomplete ({error}): copy it to that folder again."
        ) from error
    if not found:
        raise DataError(f"{path} has no images {split}/<class>/*.jpg: copy it again.")
    found.sort(key=lambda entry: entry[:2])
    classes = sorted({entry[0] for entry in found})
    order = np.random.RandomState(0).permutation(len(found))
    pixels = np.stack([found[i][2] for i in order])
    labels = [classes.index(found[i][0]) for i in order]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor(labels)


# --- data corrupted once ------------------------------------------------------------------------


class FrozenNoise:
    """A data set that was corrupted once, before anyone saw it: ``y = x_0 + sigma * z``.

    The noise depends on the seed and the shape of the data only: drawn on the CPU, in float32, it
    is the same on every device and in every type. The clean data are not kept: a method that is
    given a ``FrozenNoise`` sees no more than it may.

    Parameters
    ----------
    data : (N, *shape) floating-point tensor
    sigma : float
        Standard deviation of the noise, in the units of the data; at least 0.
    seed : int
        Of the noise (default 0).
    law : {"gaussian", "laplace", "uniform"}
        Law of ``z``, independent in every coordinate, of mean 0 and variance 1 (default
        "gaussian", the one that Tweedie's formula assumes).

    Attributes
    ----------
    noisy : (N, *shape) tensor of the type and device of ``data``
    sigma, seed, law : as given

    Raises
    ------
    TypeError, ValueError
        If ``data`` are not floating-point, ``sigma`` is negative or ``law`` is unknown.

    Examples
    --------
    >>> frozen = FrozenNoise(torch.zeros(4, 2), 0.5, seed=1)
    >>> len(frozen), frozen[0].shape
    (4, torch.Size([2]))
    """

    def __init__(self, data: Tensor, sigma: float, *, seed: int = 0, law: str = "gaussian"):
        if not isinstance(data, Tensor) or not data.is_floating_point():
            kind = data.dtype if isinstance(data, Tensor) else type(data).__name__
            raise TypeError(f"data: got {kind}; allowed is a floating-point tensor")
        if not (0 <= sigma < math.inf):
            raise ValueError(f"sigma: got {sigma!r}; allowed is a finite number of at least 0")
        _known("law", law, LAWS)
        self.sigma = float(sigma)
        self.seed = int(seed)
        self.law = law
        generator = torch.Generator().manual_seed(self.seed)
        if law == "gaussian":
            z = torch.randn(data.shape, generator=generator, dtype=torch.float32)
        else:
            u = torch.rand(data.shape, generator=generator, dtype=torch.float32) - 0.5
            if law == "uniform":
                z = math.sqrt(12) * u
            else:  # the inverse distribution function of the Laplace law of scale 1 / sqrt(2)
                tail = (1 - 2 * u.abs()).clamp_(min=2**-25)
                z = -u.sign() * tail.log() / math.sqrt(2)
        self.noisy = data + self.sigma * z.to(data)

    def __len__(self) -> int:
        return len(self.noisy)

    def __getitem__(self, index) -> Tensor:
        return self.noisy[index]

    def __repr__(self) -> str:
        return (
            f"FrozenNoise({tuple(self.noisy.shape)}, sigma={self.sigma:g}, seed={self.seed}, "
            f"law={self.law!r})"
        )
