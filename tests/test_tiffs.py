"""TIFF files: what they say of their pixels is said again in what is written."""

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile")

from noisy_pictures import pictures  # noqa: E402

from companion.data import DataError  # noqa: E402
from companion.data.folders import folder, write  # noqa: E402

grey, bytes8 = pictures(np.random.default_rng(5))


def there_and_back(path, array=None, **said):
    """Write a TIFF, read it with ``folder``, write it again; the picture and the new file."""
    if array is not None:
        tifffile.imwrite(path, array, **said)
    (picture,) = folder(path.parent).pictures
    again = path.parent / "again.tif"
    write(again, picture.array(picture.values), picture)
    return picture, again


@pytest.fixture
def path(tmp_path):
    return tmp_path / "one.tif"


def test_zero_may_be_white(path):
    array = bytes8(20, 30)
    _, again = there_and_back(path, array, photometric="miniswhite")
    with tifffile.TiffFile(again) as file:
        assert file.pages.first.photometric.name == "MINISWHITE"
        assert np.array_equal(file.asarray(), array)


@pytest.mark.parametrize("samples", [2, 4])
def test_transparency_stays_with_its_picture(path, samples):
    array = np.stack([bytes8(20, 30) for _ in range(samples)], -1)
    said = {"photometric": "rgb" if samples == 4 else "minisblack", "planarconfig": "contig"}
    picture, again = there_and_back(path, array, extrasamples=["unassalpha"], **said)
    assert picture.values.shape == (1, samples - 1, 20, 30)
    with tifffile.TiffFile(again) as file:
        assert len(file.pages) == 1 and file.pages.first.extrasamples
        assert np.array_equal(file.asarray(), array)


def test_a_plane_for_each_colour(path):
    planes = np.stack([bytes8(20, 30) for _ in range(3)])
    picture, again = there_and_back(path, planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(picture.values[0], planes)
    with tifffile.TiffFile(again) as file:
        assert file.pages.first.photometric.name == "RGB" and len(file.pages) == 1
        assert np.array_equal(np.moveaxis(file.asarray(), -1, 0), planes)


def test_which_way_is_up_and_the_size_of_a_pixel(path):
    _, again = there_and_back(
        path, bytes8(20, 30), resolution=(300, 200), resolutionunit="INCH",
        extratags=[(274, 3, 1, 6, False)],
    )  # fmt: skip
    with tifffile.TiffFile(again) as file:
        tags = file.pages.first.tags
        assert int(tags[274].value) == 6
        assert [tags[n].value[0] / tags[n].value[1] for n in (282, 283)] == [300, 200]


def test_a_stack_of_imagej_keeps_its_axes(path):
    stack = np.stack([bytes8(20, 30) for _ in range(6)]).reshape(3, 2, 20, 30)
    _, again = there_and_back(
        path, stack, imagej=True, resolution=(2.5, 2.5),
        metadata={"axes": "ZCYX", "unit": "um", "spacing": 0.7},
    )  # fmt: skip
    with tifffile.TiffFile(again) as file:
        assert file.is_imagej and file.series[0].axes == "ZCYX"
        assert file.imagej_metadata["unit"] == "um" and file.imagej_metadata["spacing"] == 0.7
        assert np.array_equal(file.asarray(), stack)


def test_a_stack_that_was_cut_short_is_skipped(path):
    tifffile.imwrite(path, np.stack([bytes8(20, 30) for _ in range(6)]), imagej=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="not all of its 6 pages are there"):
        folder(path.parent)


@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_compressed_files_are_read(path, compression):
    pytest.importorskip("imagecodecs")
    array = bytes8(20, 30)
    picture, _ = there_and_back(path, array, compression=compression)
    assert np.array_equal(picture.values[0, 0], array)
