"""Folders of images: what is read and written back, and which files are refused."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest

iio = pytest.importorskip("imageio.v3")
tifffile = pytest.importorskip("tifffile")

from noisy_pictures import pictures  # noqa: E402

from companion.data import DataError, folders  # noqa: E402
from companion.data.folders import folder, write  # noqa: E402

RNG = np.random.default_rng(0)
grey, bytes8 = pictures(RNG)


# ---------------------------------------------------------------- what is read and written back
RGB = np.stack([bytes8(), bytes8(), bytes8()], -1)
READABLE = {
    "grey8.png": bytes8(),
    "grey16.png": (bytes8().astype(np.uint16) << 8) + 7,
    "colour.png": RGB,
    "alpha.png": np.concatenate([RGB, np.full((48, 40, 1), 200, np.uint8)], -1),
    "greyalpha.png": np.stack([bytes8(), np.arange(48 * 40).reshape(48, 40).astype(np.uint8)], -1),
    "grey8.tif": bytes8(),
    "grey16.TIFF": bytes8().astype(np.uint16) * 200,
    "float.tif": grey().astype(np.float32),
    "double.tif": grey() / 255,
    "stack.tif": np.stack([bytes8(), bytes8(), bytes8(), bytes8(), bytes8()]),
    "colour.tif": RGB,
    "grey.npy": grey(),
    "stack.npy": np.stack([grey(), grey()]).astype(np.float16),
    "colours.npy": RGB[None].repeat(2, 0),
    "signed.npy": grey().astype(np.int16) - 100,
}


@pytest.fixture(scope="module")
def readable(tmp_path_factory):
    where = tmp_path_factory.mktemp("readable")
    for name, array in READABLE.items():
        if name.endswith(".npy"):
            np.save(where / name, array)
        elif name.lower().endswith((".tif", ".tiff")):
            photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
            tifffile.imwrite(where / name, array, photometric=photometric)
        else:
            iio.imwrite(where / name, array)
    return where


def test_every_format_comes_back_as_it_was(readable, tmp_path):
    """Shape, type and values, after reading, writing and reading again."""
    found = folder(readable)
    assert [p.name for p in found.pictures] == sorted(READABLE) and not found.skipped
    for picture in found.pictures:
        array = picture.array(picture.values)
        original = READABLE[picture.name]
        assert array.dtype == original.dtype and array.shape == original.shape
        np.testing.assert_allclose(array, original, rtol=1e-6)
        write(tmp_path / picture.name, array, picture)
    again = {p.name: p for p in folder(tmp_path).pictures}
    for picture in found.pictures:
        there = again[picture.name]
        assert (there.dtype, there.shape) == (picture.dtype, picture.shape), picture.name
        np.testing.assert_array_equal(there.values, picture.values)


def test_grey_saved_as_colour_is_read_as_grey(tmp_path):
    """Its three channels have one noise, which a method for colours would take for three."""
    array = np.repeat(bytes8()[..., None], 3, -1)
    write(tmp_path / "scan.png", array)
    found = folder(tmp_path)
    (picture,) = found.pictures
    assert found.channels == 1 and picture.values.shape == (1, 1, 48, 40)
    assert np.array_equal(picture.array(picture.values), array)
    assert "three channels are equal" in picture.notes[-1]
    assert folder(tmp_path, merge=False).channels == 3


def test_of_a_telephones_jpeg_the_first_picture_is_read(tmp_path):
    from PIL import Image

    first, second = (Image.fromarray(np.stack([bytes8(*s)] * 3, -1)) for s in ((48, 40), (24, 20)))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    (picture,) = folder(tmp_path).pictures
    assert picture.shape == (48, 40, 3) and any("only the first" in n for n in picture.notes)


def test_values_are_rounded_and_clipped_to_the_type(readable):
    picture = next(p for p in folder(readable).pictures if p.name == "alpha.png")
    array = picture.array(picture.values * 0 + 300.6)
    assert (array[..., :3] == 255).all() and (array[..., 3] == 200).all()


def test_a_palette_becomes_rgb_and_jpeg_stays_jpeg(tmp_path):
    from PIL import Image

    Image.fromarray(RGB).convert("P").save(tmp_path / "palette.png")
    iio.imwrite(tmp_path / "photo.jpg", RGB)
    palette, photo = sorted(folder(tmp_path).pictures, key=lambda p: p.name)
    assert palette.values.shape == photo.values.shape == (1, 3, 48, 40)
    assert "palette" in palette.notes[0] and "JPEG" in photo.notes[0]
    write(tmp_path / "again.jpeg", photo.array(photo.values), photo)
    assert (tmp_path / "again.jpeg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_which_way_is_up_and_the_colours_are_kept(tmp_path, name):
    from PIL import Image, ImageCms

    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by a quarter to show it
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = Image.fromarray(RGB)
    made.save(tmp_path / name, exif=exif, icc_profile=profile, dpi=(300, 300))
    (photo,) = folder(tmp_path).pictures
    assert photo.values.shape[2:] == RGB.shape[:2]  # as it is stored
    again = tmp_path / f"again-{name}"
    write(again, photo.array(photo.values), photo)
    with Image.open(again) as image:
        assert image.getexif()[0x0112] == 6 and image.info["icc_profile"] == profile
        assert round(image.info["dpi"][0]) == 300
    (tmp_path / name).unlink()
    write(again, photo.array(photo.values), photo)  # the input has gone: the pixels are written
    assert iio.imread(again).shape == RGB.shape


# ---------------------------------------------------------------- bad files
def png(depth, colour, width=32, height=32, rows=32):
    """The start of a PNG file with another depth or size than Pillow writes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = zlib.compress(bytes((1 + min(width, 32) * 8) * rows))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )


def declares(width, height):
    """A PNG of a few bytes that says it has so many pixels."""
    return lambda path: path.write_bytes(png(8, 0, width, height, rows=1))


def short_tiff(path):
    tifffile.imwrite(path, bytes8(), compression="zlib")
    path.write_bytes(path.read_bytes()[:-900])


def animated(path):
    from PIL import Image

    pages = [Image.fromarray(bytes8()) for _ in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def long_npy(path):
    """The header of an array of 8 terabytes."""
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)


def holes():
    array = grey()
    array[3, 4] = np.nan
    return array


def truncated(path):
    iio.imwrite(path, bytes8())
    path.write_bytes(path.read_bytes()[:200])


def cmyk(path):
    from PIL import Image

    Image.fromarray(np.zeros((32, 32, 4), np.uint8), "CMYK").save(path)


BAD = {
    "zero.png": (lambda p: p.write_bytes(b""), "0 bytes"),
    "zero.tif": (lambda p: p.write_bytes(b""), "0 bytes"),
    "zero.npy": (lambda p: p.write_bytes(b""), "0 bytes"),
    "text.png": (lambda p: p.write_text("hello"), "not what its name says"),
    "text.tif": (lambda p: p.write_text("hello"), "not what its name says"),
    "text.jpg": (lambda p: p.write_text("hello"), "not what its name says"),
    "text.npy": (lambda p: p.write_text("hello"), "not what its name says"),
    "short.png": (truncated, "damaged"),
    "nan.npy": (lambda p: np.save(p, holes()), "1 of its values are not finite"),
    "nan.tif": (lambda p: tifffile.imwrite(p, holes()), "not finite"),
    "inf.npy": (lambda p: np.save(p, grey() * np.inf), "not finite"),
    "huge.npy": (lambda p: np.save(p, grey() * 1e60), "too large for single precision"),
    "pixel.png": (lambda p: iio.imwrite(p, np.zeros((1, 1), np.uint8)), "1 x 1 pixels"),
    "thin.npy": (lambda p: np.save(p, grey()[:5]), "5 x 40 pixels"),
    "line.npy": (lambda p: np.save(p, grey()[0]), "its shape is (40,)"),
    "number.npy": (lambda p: np.save(p, np.array(3.0)), "its shape is ()"),
    "five.npy": (lambda p: np.save(p, np.zeros((2, 2, 3, 32, 32))), "its shape is"),
    "channels.npy": (lambda p: np.save(p, np.zeros((2, 32, 32, 7))), "7 channels"),
    "complex.npy": (lambda p: np.save(p, grey() * 1j), "complex128"),
    "object.npy": (lambda p: np.save(p, np.array([{}]), allow_pickle=True), "not what its name"),
    "words.npy": (lambda p: np.save(p, np.full((32, 32), "a")), "its values are <U1"),
    "bool.npy": (lambda p: np.save(p, grey() > 120), "two values"),
    "bit.png": (lambda p: p.write_bytes(png(1, 0)), "two values"),
    "declared.png": (declares(100_000, 100_000), "10,000,000,000 values; allowed are 200,000,000"),
    "cut.tif": (short_tiff, "damaged"),
    "animated.png": (animated, "an animation"),
    "declared.npy": (long_npy, "memory"),
    "loop.png": (lambda p: os.symlink(p, p), "a link to a file that is not there"),
    "link.tif": (lambda p: os.symlink("nowhere.tif", p), "a link to a file that is not there"),
    f"{'long' * 55}.png": (lambda p: iio.imwrite(p, bytes8()), "longer than 200 bytes"),
    "deep.png": (lambda p: p.write_bytes(png(16, 2)), "save it as TIFF"),
    "cmyk.jpg": (cmyk, "CMYK"),
    "cmyk.tif": (
        lambda p: tifffile.imwrite(p, np.zeros((32, 32, 4), np.uint8), photometric="separated"),
        "CMYK colours",
    ),
}


def test_each_bad_file_is_named_and_skipped(tmp_path):
    for name, (make, _) in BAD.items():
        make(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    iio.imwrite(tmp_path / "good.png", bytes8())
    found = folder(tmp_path)
    assert [p.name for p in found.pictures] == ["good.png"]
    assert set(found.skipped) == set(BAD)
    for name, (_, reason) in BAD.items():
        assert reason in found.skipped[name], f"{name}: {found.skipped[name]}"


def test_a_file_that_is_too_large_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LARGEST", 1000)
    iio.imwrite(tmp_path / "large.png", bytes8())
    with pytest.raises(DataError, match=r"large\.png: it has 1,920 values; allowed are 1,000"):
        folder(tmp_path)


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"\.png, \.tif.*none among its 1 files.*folders inner"):
        folder(tmp_path)
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"among its 2 files, which end in \.gif, \.txt"):
        folder(tmp_path)
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    with pytest.raises(DataError, match="loop does not exist"):
        folder(tmp_path / "loop")
    with pytest.raises(DataError, match="does not exist"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file"):
        folder(tmp_path / "notes.txt")


def test_a_name_that_is_no_text_is_skipped(tmp_path):
    """Reports and tables are UTF-8."""
    iio.imwrite(tmp_path / "good.png", bytes8())
    try:
        (tmp_path / os.fsdecode(b"b\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system has only names that are text")
    assert folder(tmp_path).skipped == {"b\ufffd.png": "its name is not UTF-8; rename it"}
