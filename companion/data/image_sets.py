"""Images with labels: found on disk, or downloaded."""

from __future__ import annotations

import hashlib
import io
import math
import os
import platform
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from companion import checks

__all__ = ["IMAGES", "DataError", "data_folder", "images"]

IMAGES = {
    "digits": "Digits (8 × 8)",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10-jpeg": "CIFAR-10 (JPEG q75)",
}

HASHES = {
    "mnist": {
        "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""SHA-256 of the files that torchvision's downloads unpack to."""

JPEG_ARCHIVE = "cifar10-jpeg.tar.xz"


class DataError(RuntimeError):
    """Data that are missing, cannot be downloaded, or are damaged. The message says what to do."""


def data_folder(root: str | Path | None = None) -> Path:
    """Folder that image data are read from and downloaded to.

    ``root`` if given, else the environment variable ``COMPANION_DATA``, else the user's cache
    folder for "noise-on-purpose".
    """
    if root is None:
        root = os.environ.get("COMPANION_DATA") or None
    else:
        checks.instance("root", root, (str, os.PathLike), "a path")
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
    checks.choice("name", name, IMAGES)
    checks.choice("split", split, ("train", "test"))
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
        for stale in folder.glob(".download-*"):
            if _abandoned(stale):
                shutil.rmtree(stale, ignore_errors=True)
        prefix = f".download-{platform.node()}-{os.getpid()}-"
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
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


def _abandoned(staging: Path) -> bool:
    """Whether the process that was downloading to a folder is dead, or must be."""
    import psutil

    host, _, process = staging.name.removeprefix(".download-").rpartition("-")[0].rpartition("-")
    if host == platform.node() and process.isdigit():
        return not psutil.pid_exists(int(process))
    return time.time() - staging.stat().st_mtime > 24 * 3600  # of another machine


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(
        f"{path} is damaged ({problem}): delete it and load the data again, "
        "which downloads it afresh."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    for path in files[0 if split == "train" else 1]:
        expected = HASHES[name].get(Path(path).name.rpartition("-idx")[0])
        if expected and _sha256(folder / path) != expected:
            raise _damaged(folder / path, "its SHA-256 is not that of the published file")
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
    files: list[tuple[str, str, np.ndarray]] = []
    try:
        with tarfile.open(path, "r|xz") as tar:
            for member in tar:
                part, *rest = member.name.removeprefix("./").split("/")
                if member.isfile() and part == split and len(rest) == 2:
                    content = tar.extractfile(member).read()  # type: ignore[union-attr]
                    with Image.open(io.BytesIO(content)) as image:
                        files.append((rest[0], rest[1], np.asarray(image.convert("RGB"))))
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise DataError(
            f"{path} is damaged or incomplete ({error}): copy it to that folder again."
        ) from error
    if not files:
        raise DataError(f"{path} has no images {split}/<class>/*.jpg: copy it again.")
    files.sort(key=lambda entry: entry[:2])
    classes = sorted({entry[0] for entry in files})
    order = np.random.RandomState(0).permutation(len(files))
    pixels = np.stack([files[i][2] for i in order])
    labels = [classes.index(files[i][0]) for i in order]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor(labels)
