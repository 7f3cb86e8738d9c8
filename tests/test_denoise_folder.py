"""``companion denoise``: what it reads, what it refuses, and that nothing is lost."""

from __future__ import annotations

import errno
import json
import zlib

import numpy as np
import pytest
import torch

iio = pytest.importorskip("imageio.v3")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("skimage")

from companion import cli, restoration  # noqa: E402
from companion.data import DataError, folders  # noqa: E402
from companion.data.folders import folder, write  # noqa: E402
from companion.restoration import (  # noqa: E402
    collaborative,
    command,
    diagnosis,
    guided,
    outputs,
    patches,
    restore,
)
from companion.restoration.collaborative import CollaborativeFilter  # noqa: E402
from companion.restoration.comparison import classic_methods, masked_error, sure  # noqa: E402
from companion.restoration.network import RestorationUNet  # noqa: E402
from companion.restoration.variance_stabilization import Anscombe  # noqa: E402

RNG = np.random.default_rng(0)


def grey(height=48, width=40, sigma=20.0):
    """A smooth picture with white noise, in grey values of 8 bit."""
    rows, columns = np.mgrid[:height, :width] / 48
    clean = 120 + 50 * np.sin(4 * rows) * np.cos(3 * columns)
    return clean + sigma * RNG.standard_normal((height, width))


def bytes8(*shape):
    return np.rint(grey(*shape)).clip(0, 255).astype(np.uint8)


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


# ---------------------------------------------------------------- bad files
def png(depth, colour, width=32, height=32):
    """The start of a PNG file with another depth than Pillow writes."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    rows = zlib.compress(bytes((1 + width * 8) * height))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )


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
    with pytest.raises(DataError, match="does not exist"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file"):
        folder(tmp_path / "notes.txt")


# ---------------------------------------------------------------- the diagnosis
def saved(where, *arrays):
    where.mkdir(exist_ok=True)
    for i, array in enumerate(arrays):
        np.save(where / f"{i}.npy", array.astype(np.float32))
    return folder(where)


def test_white_noise_is_found_with_its_level(tmp_path):
    noise = diagnosis.estimate(saved(tmp_path, *(grey(128, 128) for _ in range(4))))
    assert noise.sigmas == pytest.approx([20] * 4, rel=0.03)
    assert noise.stabilizer is None and max(noise.correlation) < diagnosis.CORRELATED
    assert "The noise is white" in str(noise) and "does not depend" in str(noise)


def test_correlated_noise_is_found(tmp_path):
    from scipy import ndimage

    smooth = ndimage.uniform_filter(RNG.standard_normal((2, 128, 128)), (0, 2, 2))
    noise = diagnosis.estimate(saved(tmp_path, *(40 * smooth + grey(128, 128, 0))))
    assert min(noise.correlation) > 0.3 and "not white" in str(noise)


def test_photon_noise_is_found_and_made_even(tmp_path):
    light = 2 + 60 * np.linspace(0, 1, 128) ** 2 + np.zeros((128, 1))
    found = saved(tmp_path, *(7.0 * RNG.poisson(light) for _ in range(4)))
    noise = diagnosis.estimate(found)
    assert noise.stabilizer.gain == pytest.approx(7, rel=0.15)
    assert noise.sigmas == pytest.approx([1] * 4, abs=0.08)
    assert "photons" in str(noise)
    assert "does not fit" in str(diagnosis.estimate(found, 20.0))


def test_levels_from_a_table(tmp_path):
    found = saved(tmp_path / "in", grey(), grey())
    table = tmp_path / "sigma.csv"
    table.write_text("file,sigma\n0.npy,10\n1.npy,30\n")
    levels = command.read_levels(str(table))
    assert list(diagnosis.estimate(found, levels).sigmas) == [10, 30]
    with pytest.raises(ValueError, match=r"no level for 1\.npy"):
        diagnosis.estimate(found, {"0.npy": 10})
    table.write_text("file,sigma\n0.npy,ten\n")
    with pytest.raises(ValueError, match="line 2"):
        command.read_levels(str(table))
    for text in ("-3", "nan", "nowhere.csv"):
        with pytest.raises(ValueError, match="sigma: got"):
            command.read_levels(text)


def test_pictures_without_noise(tmp_path):
    found = saved(tmp_path / "a", grey(), np.full((48, 40), 3.0))
    diagnosis.estimate(found)
    assert found.skipped == {"1.npy": "no noise was found in it"}
    with pytest.raises(ValueError, match="no noise was found"):
        diagnosis.estimate(saved(tmp_path / "b", np.full((48, 40), 3.0)))


def test_one_level_for_files_of_two_types_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", bytes8())
    np.save(tmp_path / "b.npy", grey())
    with pytest.raises(ValueError, match="float64 and uint8"):
        diagnosis.estimate(folder(tmp_path), 20.0)


@pytest.mark.parametrize("read", [0.0, 2.0])
def test_the_inverse_of_the_transform_is_unbiased(read):
    """The mean of transformed counts goes back to the mean of the counts, also for few photons."""
    transform = Anscombe(gain=3.0, read=3.0 * read, offset=10.0)
    for photons in (0.5, 2.0, 20.0, 500.0):
        light = RNG.poisson(photons, 400_000) + read * RNG.standard_normal(400_000)
        mean = transform.forward(10 + 3 * light).mean()
        assert transform.inverse(mean) == pytest.approx(10 + 3 * photons, rel=0.01)


# ---------------------------------------------------------------- parts of the method
class Gaussian:
    """Exact denoiser of pixels that are independent N(0, 4)."""

    def __call__(self, x, sigma):
        return x * 4 / (4 + sigma**2)


def test_uncertainty_and_samples_of_an_exact_denoiser():
    page = torch.randn(1, 40, 40) * 5**0.5
    exact = (4 / 5) ** 0.5
    assert restore.deviation(Gaussian(), page).numpy() == pytest.approx(exact, rel=1e-4)
    drawn = torch.stack(restore.posterior_samples(Gaussian(), page, 20)) - page * 4 / 5
    assert float(drawn.std()) == pytest.approx(exact, rel=0.02)
    assert abs(float((drawn[0] * drawn[1]).mean())) < 0.1


def test_errors_without_clean_images_are_right():
    """Of a function whose error is known: shrinking to 0."""
    clean = 2 * RNG.standard_normal((1, 200, 200)).astype(np.float32)
    page = clean + RNG.standard_normal(clean.shape).astype(np.float32)
    exact = float(((0.8 * page - clean) ** 2).mean())
    assert sure(lambda p: 0.8 * p, page) == pytest.approx(exact, rel=0.05)
    assert masked_error(lambda p: 0 * p, page) == pytest.approx(4.0, rel=0.05)


def test_large_pages_are_restored_in_tiles(monkeypatch):
    monkeypatch.setattr(restore, "TILE", 40)
    monkeypatch.setattr(restore, "MARGIN", 8)
    page = torch.randn(1, 101, 57)
    blur = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    whole = restore.restore(lambda x, s: blur(x), page, turns=1)
    torch.testing.assert_close(whole, blur(page[None])[0])


def test_symmetries_are_undone():
    x = torch.randn(2, 5, 5)
    seen = {tuple(patches.symmetry(x, k).flatten().tolist()) for k in range(8)}
    assert len(seen) == 8
    for k in range(8):
        torch.testing.assert_close(patches.symmetry(patches.symmetry(x, k), k, inverse=True), x)


def test_patches_stay_out_of_held_out_crops():
    pages = [np.arange(200 * 200, dtype=np.float32).reshape(1, 200, 200) + 1e5 * i for i in (0, 1)]
    crops = patches.held_out_crops(pages, np.random.default_rng(0))
    assert len(crops) == 2
    seen = patches.patches(pages, np.random.default_rng(0), without=crops)
    hidden = np.concatenate([c.of(pages).ravel() for c in crops])
    assert seen.shape[1:] == (1, 64, 64) and not np.isin(hidden, seen.numpy()).any()


def lesson_batch(own):
    """400 patches of clean Gaussian values of variance 4, with noise of level ``own``."""
    clean = 2 * torch.randn(400, 1, 16, 16)
    y = clean + own * torch.randn(clean.shape)
    added = torch.empty(400, 1, 1, 1).uniform_(*guided.LEVELS)
    x = y + added * torch.randn(y.shape)
    levels = (added, torch.full_like(added, own))
    return torch.cat([y, x, 0 * x, *(v.expand(y.shape) for v in levels)], 1)


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_the_exact_denoiser_has_the_least_ambient_loss(own):
    """Of noisy and of clean images; the guide is not looked at here."""
    batch = lesson_batch(own)
    values = [
        float(guided.GuidedAmbient()(
            lambda pair, s, k=k: k * Gaussian()(pair[:, :1], s.reshape(-1, 1, 1, 1)), batch
        ).mean())
        for k in (0.9, 1.0, 1.1)
    ]  # fmt: skip
    assert values[1] < min(values[0], values[2])


def test_lessons_hold_the_noisy_page_and_their_levels():
    page = grey(40, 48).astype(np.float32)[None] / 20
    made = guided.lessons([page, page], np.random.default_rng(0), size=40, draws=2).numpy()
    assert made.shape == (8, 5, 40, 40)
    for y, x, guide, levels, own in made:
        assert any((y == page[0, :, i : i + 40]).all() for i in range(9))
        added = float(levels[0, 0])
        assert guided.LEVELS[0] <= added <= guided.LEVELS[1] and (own == 1).all()
        assert (x - y).std() == pytest.approx(added, rel=0.1)
        assert (guide - y).std() == pytest.approx(1, rel=0.15)  # noise is removed
    late = guided.lessons([page] * 6, np.random.default_rng(0), size=40, seconds=0.0)
    assert len(late) == 6
    small = guided.lessons([page] * 6, np.random.default_rng(0), size=16, memory=0)
    assert len(small) == 48  # one from each of 48 noised pages


def test_large_pages_make_square_lessons(monkeypatch):
    monkeypatch.setattr(guided, "PAGE", 32)
    page = np.arange(40 * 90, dtype=np.float32).reshape(1, 40, 90)
    made = guided.lessons([page], np.random.default_rng(0), size=16, draws=1)
    assert made.shape == (4 * 8, 5, 16, 16)
    hole = [patches.Crop(0, 0, 0, 64)]
    made = guided.lessons([page], np.random.default_rng(0), size=16, draws=4, without=hole)
    assert len(made) and (made[:, 0] % 90 >= 64).all()


def test_a_small_folder_is_not_trained_on_for_ever(monkeypatch):
    """No pixel is visited more often than allowed, whatever the time."""
    small = lambda channels, images: RestorationUNet(channels, images, (8,), blocks=1)  # noqa: E731
    monkeypatch.setattr(restore, "RestorationUNet", small)
    data = torch.rand(8, 5, 16, 16) + 0.5
    plan = restore.make_plan(data, 60.0, pixels=400)
    assert plan.steps == restore.VISITS * 400 // (plan.batch_size * 16**2)


class Toy(torch.nn.Module):
    """A pair whose correction of the guide is k times the noisy image."""

    def __init__(self, k):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(float(k)))

    def forward(self, pair, sigma):
        x, guide = pair.chunk(2, 1)
        return guide + self.k * x


def test_a_guided_denoiser_adds_its_share_of_the_correction_to_the_filter():
    """D = g + a f (eq-yi-guided), with f = 3 x."""
    x = torch.from_numpy(RNG.standard_normal((1, 24, 24)).astype(np.float32))
    found = guided.Guided(Toy(3), trust=0.25)(x[None], 1.0)[0]
    torch.testing.assert_close(found, CollaborativeFilter(x, 1.0)(x) + 0.75 * x)


def test_trust_is_what_helps_most():
    """Of a network that adds the noise again, does nothing, or has a best share (eq-yi-trust)."""
    crop = RNG.standard_normal((1, 64, 64)).astype(np.float32)
    y = torch.from_numpy(crop)
    g = CollaborativeFilter(y, 1.0)(y)
    assert g.std() < 0.3
    best = -float(((g - y) * y).sum() + y.numel()) / float(y.square().sum())  # of k = 1: div = n
    assert guided.best_trust(guided.Guided(Toy(2 * best)), [crop]) == pytest.approx(0.5, rel=0.01)
    assert guided.best_trust(guided.Guided(Toy(1)), [crop]) < 0.1  # the noise comes back
    assert guided.best_trust(guided.Guided(Toy(0)), [crop]) == 1.0
    assert guided.best_trust(guided.Guided(Toy(1)), []) == 1.0


# ---------------------------------------------------------------- collaborative filtering
def test_the_filter_is_linear_and_keeps_constants():
    x = torch.from_numpy(grey(50, 37)).float()[None] / 20
    done = CollaborativeFilter(x, 1.0)
    v, w = torch.randn(2, *x.shape)
    torch.testing.assert_close(done(v + 2 * w), done(v) + 2 * done(w), atol=1e-4, rtol=1e-4)
    flat = torch.full_like(x, 200.0)  # far above the noise
    torch.testing.assert_close(CollaborativeFilter(flat, 1.0)(flat), flat, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="v: got shape"):
        done(v[:, :-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_filter_removes_noise(channels):
    clean = grey(64, 64, sigma=0) / 20
    x = torch.from_numpy(clean + RNG.standard_normal((channels, 64, 64))).float()
    error = float((CollaborativeFilter(x, 1.0)(x) - torch.from_numpy(clean)).square().mean())
    assert error < 0.06  # non-local means: 0.1


@pytest.mark.parametrize("basis", [collaborative.cosine_basis, collaborative.haar_basis])
@pytest.mark.parametrize("n", [8, 32])
def test_bases_are_orthonormal(basis, n):
    torch.testing.assert_close(basis(n) @ basis(n).T, torch.eye(n))


@pytest.mark.parametrize(
    ("basis", "name"),
    [(collaborative.haar_basis, "haar"), (collaborative.spline_basis, "bior1.5")],
)
def test_wavelets_are_those_of_another_package(basis, name):
    """Each row is a coefficient's weights, at length 1 (so that noise keeps its level)."""
    import pywt

    theirs = torch.eye(8, dtype=torch.float64)
    levels = []
    while len(theirs) > 1:
        means, details = pywt.dwt(theirs.numpy(), name, mode="periodization", axis=0)
        levels.insert(0, torch.from_numpy(details))
        theirs = torch.from_numpy(means)
    theirs = torch.cat([theirs, *levels])
    theirs = theirs / theirs.norm(dim=1, keepdim=True)
    torch.testing.assert_close(basis(8).double(), theirs, atol=1e-6, rtol=0)


def test_similar_patches_are_the_nearest_in_reach(monkeypatch):
    """Against a search of every patch for every patch; of the right and lower borders too."""
    monkeypatch.setattr(collaborative, "REACH", 5)
    x = torch.randn(2, 32, 24) + 100
    patches = x.unfold(1, 8, 1).unfold(2, 8, 1).permute(1, 2, 0, 3, 4).flatten(2)
    expected = []
    for row in (*range(0, 24, 3), 24):
        for column in (*range(0, 16, 3), 16):
            d = (patches - patches[row, column]).square().sum(2)
            near = [
                (float(d[r, c]), r * 17 + c)
                for r in range(max(0, row - 5), min(25, row + 6))
                for c in range(max(0, column - 5), min(17, column + 6))
            ]
            expected.append([place for _, place in sorted(near)[:4]])
    assert collaborative.match(x, 4).tolist() == expected


def test_the_derivative_of_a_guided_denoiser():
    """That of the filter and the network together, by finite differences with the gains fixed."""
    x, v = torch.randn(2, 1, 24, 24)
    pair = guided.Pair(RestorationUNet(1, 2, (8, 8), blocks=1))
    torch.nn.init.normal_(pair.network.output.weight, std=0.1)
    denoiser, chosen = guided.Guided(pair), CollaborativeFilter(x, 1.0)
    with torch.no_grad():
        along = guided.derivative(denoiser, x, 1.0)(v)
        ends = [denoiser.improve(y[None], chosen(y)[None], 1.0)[0]
                for y in (x - 1e-3 * v, x + 1e-3 * v)]  # fmt: skip
    torch.testing.assert_close(along, (ends[1] - ends[0]) / 2e-3, atol=2e-2, rtol=2e-2)


def test_the_network_takes_any_size():
    network = RestorationUNet(3, 2, (8, 8, 8), blocks=1)
    assert network(torch.randn(2, 6, 37, 50), torch.tensor(0.1)).shape == (2, 3, 37, 50)


# ---------------------------------------------------------------- the command
@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A folder of small noisy pictures, and a network that is trained in no time."""
    monkeypatch.setenv("COMPANION_PROGRESS", "0")
    small = lambda channels, images: RestorationUNet(channels, images, (8, 8), blocks=1)  # noqa: E731
    monkeypatch.setattr(restore, "RestorationUNet", small)
    monkeypatch.setattr(restore, "save", lambda denoiser, folder: None)
    few = classic_methods()[:2]  # the others take seconds
    monkeypatch.setattr(outputs, "classic_methods", lambda: few)
    where = tmp_path / "in"
    where.mkdir()
    for name in ("a.png", "b.tif"):
        write(where / name, bytes8(40, 40))
    return where


def denoise(capsys, *arguments):
    status = cli.main(["denoise", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_folder_is_restored_and_reported(tiny, tmp_path, capsys):
    (tiny / "bad.png").write_text("hello")
    before = {p.name: p.read_bytes() for p in tiny.iterdir()}
    out = tmp_path / "out"
    status, said, errors = denoise(capsys, tiny, "--out", out, "--steps", 3, "--truth", tiny)
    assert status == 0, errors
    assert "Skipped bad.png" in errors and "Noise level" in said
    assert {p.name: p.read_bytes() for p in tiny.iterdir()} == before
    assert iio.imread(out / "denoised" / "a.png").dtype == np.uint8
    assert tifffile.imread(out / "uncertainty" / "b.tif.tif").shape == (40, 40)
    assert len(list((out / "samples").iterdir())) == 4
    page = (out / "report.html").read_text()
    for text in ("1 skipped", "bad.png", "BM3D", "PSNR, dB", 'alt="a.png, restored"'):
        assert text in page
    assert "http" not in page.replace("http-equiv", "")
    assert not (out / command.WORK).exists()
    # what is there is not overwritten, but on demand; what is not ours stays
    status, _, errors = denoise(capsys, tiny, "--out", out, "--steps", 3)
    assert status == 2 and "is not empty" in errors and "--overwrite" in errors
    (out / "mine.txt").write_text("mine")
    command.prepare(command.DenoiseSettings(str(tiny), str(out), overwrite=True), {})
    assert sorted(p.name for p in out.iterdir()) == [command.WORK, "mine.txt"]


def test_a_stopped_run_goes_on(tiny, tmp_path, capsys, monkeypatch):
    """A full disk, and Ctrl-C: nothing half is left, and the same command ends with the same."""
    out, other = tmp_path / "out", tmp_path / "other"
    run = ("--sigma", 20, "--steps", 4)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "a.png")

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "replace", full)
        status, _, errors = denoise(capsys, tiny, "--out", out, *run)
    assert status == 1 and "No space left on device" in errors and "goes on" in errors
    assert not [p for p in out.rglob("*") if "partial" in p.name]
    trained = json.loads((out / ".work" / "training" / "plan.json").read_text())
    assert trained["steps"] == 4

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restoration.pipeline, "denoise", interrupt)
        status, said, errors = denoise(capsys, tiny, "--out", out, *run)
    assert status == 130 and "is kept" in errors and "Going on" in said
    status, _, errors = denoise(capsys, tiny, "--out", out, "--sigma", 25, "--steps", 4)
    assert status == 2 and "of other sigma" in errors
    assert denoise(capsys, tiny, "--out", out, *run)[0] == 0
    assert denoise(capsys, tiny, "--out", other, *run)[0] == 0
    one, two = (iio.imread(where / "denoised" / "a.png") for where in (out, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "OUT"], "does not exist"),
        (["IN", "--out", "IN"], "is the folder of the inputs"),
        (["IN", "--out", "IN/.."], "is the folder of the inputs or holds it"),
        (["IN", "--out", "IN/a.png"], "is a file"),
        (["IN", "--out", "OUT", "--sigma", "0"], "sigma: got"),
        (["IN", "--out", "OUT", "--minutes", "0"], "minutes: got"),
        (["IN", "--out", "OUT", "--steps", "0"], "steps: got"),
        (["IN", "--out", "OUT", "--truth", "nowhere"], "does not exist"),
        (["IN", "--out", "OUT", "--wrong"], "unknown arguments: --wrong"),
        (["IN", "--out", "/proc/out"], "No such file or directory"),
    ],
)
def test_bad_options(tiny, tmp_path, capsys, arguments, message):
    places = {"IN": str(tiny), "OUT": str(tmp_path / "out")}
    given = [
        next((v + a[len(k) :] for k, v in places.items() if a.startswith(k)), a) for a in arguments
    ]
    status, _, errors = denoise(capsys, *given)
    assert status in (1, 2) and message in errors, errors
    assert not (tmp_path / "out").exists()
