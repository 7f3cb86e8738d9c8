"""Folders of images as arrays: read with what is needed to write them back as they were.

Needs the extra ``images``: ``pip install ".[images]"`` in a clone of the repository.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from companion import checks
from companion.data.image_sets import DataError
from companion.data.tiffs import Unreadable, read_tiff, write_tiff

__all__ = ["SMALLEST", "SUFFIXES", "Folder", "Picture", "folder"]

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".npy")
"""Endings of the files that ``folder`` reads, in small or capital letters."""

SMALLEST = 16
"""Smallest height and width that is read, in pixels."""

LARGEST = 200_000_000
"""Most values in one file: more do not fit into the memory of a small machine."""


LONGEST = 200
"""Most bytes of a file's name: results have its name with something added."""


@dataclass
class Picture:
    """One file of a folder.

    Attributes
    ----------
    path : Path
    values : (N, C, H, W) float32 array
        In the file's own grey values: N pages of a stack (1 otherwise), C is 1 or 3. Three equal
        channels are read as one.
    dtype : numpy dtype, of the file
    shape : tuple of int, of the array in the file
    alpha : array or None
        The transparency, which stays as it is.
    notes : list of str
        What is unusual about the file, in plain sentences.
    colour : bool
        Whether the file has three channels, or four.
    said : dict
        What a TIFF says of its pixels, for ``write``.
    """

    path: Path
    values: np.ndarray
    dtype: np.dtype
    shape: tuple[int, ...]
    alpha: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    colour: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name

    @property
    def range(self) -> tuple[float, float] | None:
        """Smallest and largest grey value that the file's type holds; None for floats."""
        if self.dtype.kind not in "ui":
            return None
        limits = np.iinfo(self.dtype)
        return float(limits.min), float(limits.max)

    def array(self, values: np.ndarray) -> np.ndarray:
        """Give (N, C, H, W) values the shape and the type of the file: rounded and clipped."""
        checks.instance("values", values, np.ndarray, "an array (N, C, H, W)")
        if values.shape != self.values.shape:
            raise ValueError(f"values: got {values.shape}; allowed is {self.values.shape}")
        if self.range is not None:
            values = np.rint(values).clip(*self.range)
        array = np.moveaxis(values, 1, -1).astype(self.dtype)
        if self.colour and array.shape[-1] == 1:
            array = np.repeat(array, 3, -1)
        if self.alpha is not None:
            array = np.concatenate([array, self.alpha], -1)
        return array.reshape(self.shape)


@dataclass
class Folder:
    """What ``folder`` found: pictures that can be restored, and files that were skipped."""

    path: Path
    pictures: list[Picture]
    skipped: dict[str, str]
    """File name -> why it was skipped, in a plain sentence."""
    other: dict[str, int] = field(default_factory=dict)
    """Ending of files that are not read -> how many there are."""

    @property
    def channels(self) -> int:
        """3 if all pictures have colours, else 1: a mixture is treated channel by channel."""
        return 3 if all(p.values.shape[1] == 3 for p in self.pictures) else 1

    def pages(self) -> list[np.ndarray]:
        """All pages of all pictures, each (channels, H, W), in the order of ``pictures``."""
        c = self.channels
        return [
            page for p in self.pictures for page in p.values.reshape(-1, c, *p.values.shape[2:])
        ]

    def __len__(self) -> int:
        return len(self.pictures)


def folder(path: str | os.PathLike, *, merge: bool = True) -> Folder:
    """Read all images of a folder (not of those in it), each with how to write it back.

    PNG (8 and 16 bit grey, 8 bit colour), TIFF (8, 16, 32 bit and floats, stacks), JPEG, and
    ``.npy`` arrays: (H, W) grey, (H, W, 3) or (H, W, 4) colour, (N, H, W) a stack of grey images.

    Parameters
    ----------
    path : path of a folder
    merge : bool
        Whether three equal channels, a grey picture saved as RGB, are read as one (default): they
        have the same noise, which methods for colours take for three. Written back are three.

    Returns
    -------
    Folder
        A file that cannot be read is named in ``skipped`` with the reason; ``other`` counts those
        whose endings are not read.

    Raises
    ------
    DataError
        If the folder is not there, or holds nothing that can be read. Says what was looked for.
    """
    checks.instance("path", path, (str, os.PathLike), "the path of a folder")
    where = Path(path).expanduser()
    if not where.exists():
        raise DataError(f"folder: {where} does not exist")
    if not where.is_dir():
        raise DataError(f"folder: {where} is a file; allowed is a folder with images in it")
    try:
        there = sorted(p for p in where.iterdir() if not p.name.startswith("."))
        files = [p for p in there if p.is_file() or (p.is_symlink() and not p.exists())]
    except OSError as error:
        raise DataError(f"folder: {where} cannot be read ({error.strerror})") from error
    pictures, skipped = [], {}
    other: dict[str, int] = {}
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            ending = _printable(file.suffix.lower())
            other[ending] = other.get(ending, 0) + 1
            continue
        try:
            pictures.append(_read(file, merge))
        except Unreadable as error:
            skipped[_printable(file.name)] = str(error)
        except MemoryError:
            skipped[_printable(file.name)] = "it does not fit into memory"
        except Exception as error:  # readers raise whatever they like
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            skipped[_printable(file.name)] = f"it is damaged, or not what its name says ({reason})"
    if not pictures:
        looked = f"files that end in {', '.join(SUFFIXES)}"
        reasons = "".join(f"\n  {name}: {why}" for name, why in skipped.items())
        found = f"none of the {len(skipped)} there can be read:{reasons}" if skipped else (
            f"there are none among its {len(files)} files{_endings(files)}"
        )  # fmt: skip
        deeper = [] if skipped else [p.name for p in there if p.is_dir()]
        hint = f"; it has the folders {', '.join(sorted(deeper)[:5])}" if deeper else ""
        raise DataError(f"folder: {where}: looked for {looked}, and {found}{hint}")
    return Folder(where, pictures, skipped, other)


def _endings(files: list[Path]) -> str:
    """What files that are not read end in."""
    kinds = sorted({p.suffix.lower() for p in files if p.suffix})[:5]
    return f", which end in {', '.join(kinds)}" if kinds else ""


# --- one file -----------------------------------------------------------------------------------


def _printable(name: str) -> str:
    """A file's name as text, question marks for bytes that are none."""
    return os.fsencode(name).decode("utf-8", "replace")


def _read(path: Path, merge: bool) -> Picture:
    if path.is_symlink() and not path.exists():
        raise Unreadable("it is a link to a file that is not there")
    if _printable(path.name) != path.name:
        raise Unreadable("its name is not UTF-8; rename it")
    if len(os.fsencode(path.name)) > LONGEST:
        raise Unreadable(f"its name is longer than {LONGEST} bytes; rename it")
    if path.stat().st_size == 0:
        raise Unreadable("it is empty (0 bytes)")
    kind = path.suffix.lower()
    notes: list[str] = []
    said: dict[str, Any] = {}
    if kind == ".npy":
        array = np.load(path, allow_pickle=False)
        axes = {2: "YX", 3: "YXS" if array.shape[-1:] in ((3,), (4,)) else "NYX", 4: "NYXS"}
        layout = axes.get(array.ndim, "")
    elif kind in (".tif", ".tiff"):
        array, layout, notes, said = read_tiff(path)
    else:
        array, layout, notes = _read_flat(path, kind)
    picture = _picture(path, array, layout, notes)
    picture.said = said
    three = picture.values
    if merge and picture.colour and (three == three[:, :1]).all():
        picture.values = three[:, :1].copy()
        picture.notes.append("its three channels are equal, so that it is treated as grey")
    return picture


def _read_flat(path: Path, kind: str) -> tuple[np.ndarray, str, list[str]]:
    """PNG or JPEG."""
    import imageio.v3 as iio

    start = path.read_bytes()[:32]
    notes: list[str] = []
    if kind == ".png" and start[:8] == b"\x89PNG\r\n\x1a\n":
        width, height, depth, colour = struct.unpack(">IIBB", start[16:26])
        if width * height > LARGEST:
            raise Unreadable(_too_large(width * height))
        if depth == 16 and colour != 0:
            raise Unreadable(
                "a PNG of 16 bit with colours or transparency, of which the reader keeps 8 bit; "
                "save it as TIFF"
            )
        if depth == 1:
            raise Unreadable("a PNG of two values has no noise level")
        if colour == 3:
            notes.append("its palette became RGB, as a restored image has more colours than it")
    with iio.imopen(path, "r", plugin="pillow") as file:
        mode = file.metadata(index=0).get("mode")
        if mode in ("CMYK", "YCCK", "LAB"):
            raise Unreadable(f"its colours are {mode}; save it in grey or RGB first")
        array = file.read(index=0)
        frames = file.properties(index=...).n_images  # type: ignore[arg-type]
        if kind == ".png" and frames not in (None, 1):
            raise Unreadable("it is an animation; save its pages as a TIFF stack")
    if kind in (".jpg", ".jpeg"):
        if frames not in (None, 1):  # of a telephone, such as a map of distances
            notes.append("of the pictures in it only the first is restored")
        notes.append("JPEG compression changed its noise; the diagnosis says what is left")
    return array, "YX" if array.ndim == 2 else "YXS", notes


def _too_large(size: int) -> str:
    return f"it has {size:,} values; allowed are {LARGEST:,}: cut it up"


def _picture(path: Path, array: np.ndarray, layout: str, notes: list[str]) -> Picture:
    if array.dtype == bool:
        raise Unreadable("an image of two values has no noise level")
    if array.dtype.kind not in "uif":
        raise Unreadable(f"its values are {array.dtype}; allowed are whole numbers and floats")
    if len(layout) != array.ndim or not (
        layout in ("YX", "YXS") or layout.endswith(("NYX", "NYXS"))
    ):
        raise Unreadable(
            f"its shape is {array.shape}; allowed are (H, W), (H, W, 3), (H, W, 4) and stacks of "
            "such"
        )
    if array.size > LARGEST:
        raise Unreadable(_too_large(array.size))
    samples = array.shape[-1] if layout.endswith("S") else 1
    if samples > 4:
        raise Unreadable(f"it has {samples} channels; allowed are 1 to 4")
    height, width = array.shape[-3:-1] if layout.endswith("S") else array.shape[-2:]
    if min(height, width) < SMALLEST:
        raise Unreadable(
            f"it has {height} x {width} pixels; allowed are {SMALLEST} or more each way"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise Unreadable(f"{bad:,} of its values are not finite (NaN or infinite); fill them first")
    pages = array.reshape(-1, height, width, samples)
    alpha = None
    if samples in (2, 4):
        alpha, pages = pages[..., -1:], pages[..., :-1]
        notes = [*notes, "its transparency stays as it is"]
    with np.errstate(over="ignore"):
        values = np.moveaxis(pages, -1, 1).astype(np.float32, order="C")
    if not np.isfinite(values).all():
        raise Unreadable("some of its values are too large for single precision")
    return Picture(path, values, array.dtype, array.shape, alpha, notes, samples >= 3)


# --- writing ------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; raises ``OSError`` if it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write(path: Path, array: np.ndarray, like: Any = None) -> None:
    """Write an array in the format that the file's ending says; whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in one of ``SUFFIXES``.
    array : array as ``Picture.array`` returns it
    like : Picture, optional
        The file that it belongs to: what it says of its pixels, such as which way is up, their
        colours and their size, is said again.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk. No half file is left.
    """
    kind = path.suffix.lower()
    partial = path.with_name(f".{path.name}.partial{kind}")
    try:
        if kind == ".npy":
            with open(partial, "wb") as file:
                np.save(file, array)
        elif kind in (".tif", ".tiff"):
            write_tiff(partial, array, like)
        else:
            import imageio.v3 as iio

            options = _said_of(like)
            if kind in (".jpg", ".jpeg"):
                options |= {"quality": 95, "subsampling": 0}
            iio.imwrite(partial, array, plugin="pillow", **options)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _said_of(like: Any) -> dict[str, Any]:
    """What a PNG or JPEG says of its pixels: which way is up, their colours and their size."""
    from PIL import Image

    if like is None:
        return {}
    try:
        with Image.open(like.path) as image:
            names = ("exif", "icc_profile", "dpi")
            return {name: image.info[name] for name in names if image.info.get(name)}
    except OSError:  # a TIFF that Pillow cannot read, or a file that is no longer there
        return {}
