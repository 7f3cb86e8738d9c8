"""TIFF files: read with what they say of their pixels, and written with the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Unreadable", "read_tiff", "write_tiff"]

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
"""Numbers of TIFF tags."""


class Unreadable(ValueError):
    """Why one file is not read."""


def read_tiff(path: Path) -> tuple[np.ndarray, str, list[str], dict[str, Any]]:
    """Read a TIFF file.

    Returns
    -------
    array, layout, notes, said
        ``layout`` names the axes of the array: Y, X, S (samples of a pixel, last), N (all others).
        ``said`` is what ``write_tiff`` needs to say the same of its pixels.

    Raises
    ------
    Unreadable
        If it has no image, several of different shapes, CMYK, a palette, or too few pages.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series
        if not series:
            raise Unreadable("the TIFF has no image")
        shapes = [s.shape for s in series]
        if len(series) > 1 and len({s[-2:] for s in shapes}) > 1:
            raise Unreadable(f"the TIFF holds images of different shapes, {shapes[:4]}: save each")
        first: Any = file.pages.first
        colours = getattr(first.photometric, "name", "")
        if colours in ("SEPARATED", "PALETTE"):
            what = "CMYK colours" if colours == "SEPARATED" else "a palette"
            raise Unreadable(f"the TIFF has {what}; save it in grey or RGB first")
        promised = int((file.imagej_metadata or {}).get("images", 1))
        if file.is_imagej and promised > sum(s.size // first.size for s in series):
            raise Unreadable(f"it is cut short: not all of its {promised} pages are there")
        try:
            several = len(series) > 1
            array = np.stack([s.asarray() for s in series]) if several else series[0].asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                compression = getattr(first.compression, "name", first.compression)
                raise Unreadable(
                    f"its compression, {compression}, needs a package: pip install imagecodecs"
                ) from None
            raise
        axes = ("N" if len(series) > 1 else "") + series[0].axes
        said, ome = _said(first) | _said_by_imagej(file, array, axes), file.is_ome
    layout = "".join(a if a in "YXS" else "N" for a in axes)
    if layout.endswith("SYX"):  # a plane for each colour
        array, layout = np.moveaxis(array, -3, -1), layout.replace("SYX", "YXS")
    pages = int(np.prod([n for n, a in zip(array.shape, layout) if a == "N"]))
    notes = [f"a stack of {pages} pages"] if "N" in layout else []
    if ome:
        notes.append("what OME says of it is left out of the results")
    return array, layout, notes, said


def _said(page: Any) -> dict[str, Any]:
    """Whether 0 is white, which way is up, and the size of a pixel, as arguments of tifffile."""
    said: dict[str, Any] = {}
    if getattr(page.photometric, "name", "") == "MINISWHITE":
        said["photometric"] = "miniswhite"
    tags = page.tags
    if ORIENTATION in tags and int(tags[ORIENTATION].value) != 1:
        said["extratags"] = [(ORIENTATION, 3, 1, int(tags[ORIENTATION].value), False)]
    if X_RESOLUTION in tags and Y_RESOLUTION in tags:
        said["resolution"] = (tags[X_RESOLUTION].value, tags[Y_RESOLUTION].value)
        if RESOLUTION_UNIT in tags:
            said["resolutionunit"] = int(tags[RESOLUTION_UNIT].value)
    return said


def _said_by_imagej(file: Any, array: np.ndarray, axes: str) -> dict[str, Any]:
    """ImageJ's axes, units and labels, where it can be told them again."""
    kinds = (np.uint8, np.uint16, np.float32)
    if not file.is_imagej or array.dtype not in kinds or not set(axes) <= set("TZCYXS"):
        return {}
    told = file.imagej_metadata or {}
    own = {k: told[k] for k in ("unit", "spacing", "finterval", "min", "max", "Labels", "Info")
           if k in told}  # fmt: skip
    return {"imagej": True, "metadata": {**own, "axes": axes}}


def write_tiff(path: Path, array: np.ndarray, like: Any = None) -> None:
    """Write a TIFF file.

    Parameters
    ----------
    path : Path
    array : array as ``Picture.array`` returns it, or another of the same pixels
    like : Picture, optional
        The file that it belongs to. An array of its shape and type is written as it was; of others
        only which way is up and the size of a pixel are kept.
    """
    import tifffile

    said = {} if like is None else dict(like.said)
    same = like is not None and array.shape == like.shape and array.dtype == like.dtype
    if not same:
        said = {k: v for k, v in said.items() if k not in ("photometric", "imagej", "metadata")}
    colour = like is not None and like.colour and array.shape[-1] in (3, 4)
    said.setdefault("photometric", "rgb" if colour else "minisblack")
    if same and like.alpha is not None:
        said |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    if said.get("imagej"):  # it has its own way to tell colours
        said.pop("extratags", None)
    tifffile.imwrite(path, array, **said)
