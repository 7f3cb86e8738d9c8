import hashlib
import io
import math
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import data
from companion.data import image_sets, point_sets

# --- points ---


@pytest.mark.parametrize("name", data.POINTS)
def test_points_have_unit_scale_and_follow_the_generator(name):
    before = torch.random.get_rng_state()
    x = data.points(name, 20_000, generator=seeded())
    assert x.shape == (20_000, 2) and x.dtype == torch.float32 and x.isfinite().all()
    assert x.mean(0).abs().max() < 0.04
    assert x.square().mean().sqrt().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(x, data.points(name, 20_000, generator=seeded()))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["swiss_roll", "two_moons", "dinosaur"])
def test_curve_points_lie_on_the_curve_and_noise_leaves_it(name):
    start, end, _ = point_sets._segments(name)
    x = data.points(name, 200, generator=seeded())
    assert torch.cdist(x.double(), (start + end) / 2).min(1).values.max() < 0.01
    noisy = data.points(name, 20_000, noise=0.5, generator=seeded())
    assert noisy.square().mean().item() == pytest.approx(1.25, abs=0.04)


@pytest.mark.parametrize("name", ["ring", "spirals"])
def test_points_come_from_the_mixture_of_their_name(name):
    mixture = data.mixture(name)
    assert torch.equal(
        data.points(name, 100, generator=seeded(3)), mixture.sample(100, seeded(3)).float()
    )
    # Exactly unit variance per coordinate, and mean 0.
    variance = mixture.means.square().mean() + mixture.stds[0] ** 2
    assert variance.item() == pytest.approx(1, abs=1e-9)
    assert mixture.means.mean(0).abs().max() < 1e-9


def test_ring_is_eight_separate_modes():
    means = data.mixture("ring").means
    distances = torch.cdist(means, means) + torch.eye(8) * 10
    assert len(means) == 8 and distances.min() > 10 * 0.1


def test_two_modes():
    assert data.mixture("two_modes").means.tolist() == [[-1.0], [1.0]]


@pytest.mark.parametrize("name", [n for n in data.POINTS if n not in data.MIXTURES])
def test_unknown_mixture_lists_the_known(name):
    with pytest.raises(ValueError, match=r"name: got .*'ring', 'spirals', 'two_modes'"):
        data.mixture(name)


def test_bad_points():
    with pytest.raises(
        ValueError, match=r"name: got 'rings'; allowed are 'swiss_roll'.*'dinosaur'"
    ):
        data.points("rings", 3)
    for n in (0, -1, 1.5):
        with pytest.raises(ValueError, match="n: got"):
            data.points("ring", n)
    for noise in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="noise: got"):
            data.points("ring", 3, noise=noise)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(data.POINTS), st.integers(1, 50), st.integers(0, 2**31))
def test_points_of_any_size(name, n, seed):
    x = data.points(name, n, generator=seeded(seed))
    assert x.shape == (n, 2) and x.abs().max() < 4


# --- digits ---


def test_digits_split_is_fixed_stratified_and_disjoint():
    train, labels = data.images("digits")
    test, test_labels = data.images("digits", "test")
    assert train.shape == (1433, 1, 8, 8) and test.shape == (364, 1, 8, 8)
    assert train.dtype == torch.float32 and labels.dtype == torch.int64
    assert train.min() == -1 and train.max() == 1
    assert test_labels.bincount().tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]
    everything = torch.cat([train, test]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797  # disjoint, and nothing is lost
    assert (labels[:100].bincount() > 3).all()  # any first part is mixed
    # The split itself: a change would make every recorded number incomparable.
    assert labels[:12].tolist() == [2, 6, 8, 2, 8, 6, 6, 6, 1, 5, 8, 8]
    digest = hashlib.sha256(((train + 1) * 8).byte().numpy().tobytes()).hexdigest()
    assert digest[:12] == "6f9f1164b69e"


def test_unknown_images_list_the_known():
    with pytest.raises(ValueError, match="name: got 'svhn'; allowed are 'digits', 'mnist'"):
        data.images("svhn")
    with pytest.raises(ValueError, match="split: got 'valid'; allowed are 'train', 'test'"):
        data.images("digits", "valid")


# --- idx files ---


def idx(array):
    array = np.asarray(array, dtype=np.uint8)
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def write_mnist(folder, name="MNIST", n=6):
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (n, 28, 28))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return raw


@pytest.fixture
def any_content(monkeypatch):
    """Small files of our own pass for the published ones."""
    monkeypatch.setattr(image_sets, "HASHES", {"mnist": {}, "fashion_mnist": {}})


@pytest.mark.usefixtures("any_content")
@pytest.mark.parametrize("name, folder", [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_reads_idx_files(tmp_path, name, folder):
    raw = write_mnist(tmp_path, folder)
    x, y = data.images(name, "test", root=tmp_path, download=False)
    assert x.shape == (6, 1, 28, 28) and y.tolist() == [0, 1, 2, 3, 4, 5]
    stored = np.frombuffer((raw / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    assert torch.equal(((x + 1) * 127.5).round().byte().flatten(), torch.tensor(stored))


def test_root_comes_from_the_environment_or_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path / "a"))
    assert data.data_folder() == tmp_path / "a"
    assert data.data_folder("b").name == "b"
    monkeypatch.delenv("COMPANION_DATA")
    assert "noise-on-purpose" in str(data.data_folder())


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[: len(b) // 2],
        lambda b: b[:7],
        lambda b: b"",
        lambda b: b + b"\0",
        lambda b: b"<html>" + b[6:],
    ],
    ids=["a byte short", "half", "no header", "empty", "too long", "a web page"],
)
def test_damaged_idx_file_is_named(tmp_path, file, damage):
    raw = write_mnist(tmp_path)
    (raw / file).write_bytes(damage((raw / file).read_bytes()))
    with pytest.raises(data.DataError, match=f"{file} is damaged .*: delete it and load"):
        data.images("mnist", root=tmp_path)


def test_labels_that_do_not_fit_the_images(tmp_path):
    raw = write_mnist(tmp_path)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(5)))
    with pytest.raises(data.DataError, match=r"train-labels-idx1-ubyte.*5 labels for 6 images"):
        data.images("mnist", root=tmp_path)


def test_a_flipped_pixel_is_noticed(tmp_path):
    """Files whose headers are right, but whose content is not the published one."""
    write_mnist(tmp_path)
    with pytest.raises(data.DataError, match=r"t10k-images-idx3-ubyte is damaged \(its SHA-256"):
        data.images("mnist", "test", root=tmp_path)


# --- downloads ---


def test_missing_without_download_says_what_to_do(tmp_path):
    for name in ("mnist", "cifar10"):
        with pytest.raises(data.DataError, match="download=True, or set COMPANION_DATA"):
            data.images(name, root=tmp_path / "none", download=False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("module", ["mnist", "cifar"])
def test_failing_download_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, module):
    def fail(url, download_root, **kwargs):
        os.makedirs(download_root, exist_ok=True)
        with open(os.path.join(download_root, "half"), "wb") as file:
            file.write(b"half")
        raise RuntimeError("<urlopen error\nno route to host>")

    monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", fail)
    name = {"mnist": "mnist", "cifar": "cifar10"}[module]
    with pytest.raises(data.DataError, match=r"could not be downloaded to .*no route") as caught:
        data.images(name, root=tmp_path)
    assert "check the connection and try again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def fake_download(tmp_path):
    """A script whose 'download' of MNIST copies files from ``source``; argv[1] may kill it."""
    source = write_mnist(tmp_path / "source")
    root = tmp_path / "root"
    return root, textwrap.dedent(f"""
        import os, shutil, signal, sys
        import torchvision.datasets.mnist as mnist
        from companion import data
        from companion.data import image_sets

        image_sets.HASHES["mnist"].clear()

        def download(url, download_root, filename, md5):
            name = filename.removesuffix(".gz")
            content = open(os.path.join({str(source)!r}, name), "rb").read()
            if name == sys.argv[1]:
                with open(os.path.join(download_root, name), "wb") as file:
                    file.write(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            with open(os.path.join(download_root, name), "wb") as file:
                file.write(content)

        mnist.download_and_extract_archive = download
        print(data.images("mnist", root={str(root)!r})[0].shape)
    """)


def test_download_killed_half_way_is_done_again(tmp_path):
    root, script = fake_download(tmp_path)

    def run(*arguments):
        command = [sys.executable, "-c", script, *arguments]
        where = Path(data.__file__).parents[2]  # `companion` need not be installed
        return subprocess.run(command, capture_output=True, text=True, cwd=where)

    killed = run("t10k-images-idx3-ubyte")
    assert killed.returncode == -signal.SIGKILL
    assert not (root / "MNIST").exists()
    leftover = list(root.iterdir())  # one hidden folder: no process was left to remove it
    assert [path.name.startswith(".download-") for path in leftover] == [True]
    again = run("none")
    assert "[6, 1, 28, 28]" in again.stdout, again.stderr
    assert [path.name for path in root.iterdir()] == ["MNIST"]


# --- CIFAR-10 ---


def write_cifar(folder, monkeypatch):
    from torchvision.datasets import CIFAR10

    base = folder / CIFAR10.base_folder
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lists = []
    for part, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        pixels = rng.integers(0, 256, (2, 3072), dtype=np.uint8)
        (base / part).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 4]}))
        lists.append([part, hashlib.md5((base / part).read_bytes()).hexdigest()])
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    meta = hashlib.md5((base / "batches.meta").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", lists[:5])
    monkeypatch.setattr(CIFAR10, "test_list", lists[5:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta})
    return base


def test_cifar10_is_read_and_a_damaged_file_is_named(tmp_path, monkeypatch):
    base = write_cifar(tmp_path, monkeypatch)
    x, y = data.images("cifar10", root=tmp_path, download=False)
    assert x.shape == (10, 3, 32, 32) and y.tolist() == [3, 4] * 5
    stored = pickle.loads((base / "data_batch_1").read_bytes())["data"][1].reshape(3, 32, 32)
    assert torch.equal(((x[1] + 1) * 127.5).round().byte(), torch.tensor(stored))
    (base / "data_batch_4").write_bytes((base / "data_batch_4").read_bytes()[:100])
    with pytest.raises(data.DataError, match=r"data_batch_4 is damaged \(its md5"):
        data.images("cifar10", root=tmp_path)


@pytest.fixture(scope="module")
def jpeg_archive(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("jpeg") / image_sets.JPEG_ARCHIVE
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:xz") as tar:
        for part in ("train", "test"):
            for label, name in enumerate(("airplane", "bird")):
                for i in range(20):
                    pixels = np.full((32, 32, 3), 40 + 100 * label, np.uint8)
                    pixels += rng.integers(0, 50, pixels.shape, dtype=np.uint8)
                    buffer = io.BytesIO()
                    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
                    member = tarfile.TarInfo(f"{part}/{name}/{i:04d}.jpg")
                    member.size = buffer.tell()
                    buffer.seek(0)
                    tar.addfile(member, buffer)
    return path


def test_jpeg_archive(jpeg_archive):
    x, y = data.images("cifar10-jpeg", "test", root=jpeg_archive.parent)
    assert x.shape == (40, 3, 32, 32) and y.bincount().tolist() == [20, 20]
    assert (y[:20] == 0).any() and (y[:20] == 1).any()  # classes are mixed
    assert torch.equal((x.mean((1, 2, 3)) > -0.1).long(), y)  # labels follow their images
    assert torch.equal(x, data.images("cifar10-jpeg", "test", root=jpeg_archive.parent)[0])


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_jpeg_archive_cut_short(jpeg_archive, tmp_path, keep):
    content = jpeg_archive.read_bytes()
    (tmp_path / image_sets.JPEG_ARCHIVE).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(data.DataError, match=r"cifar10-jpeg.tar.xz is damaged or incomplete"):
        data.images("cifar10-jpeg", root=tmp_path)


def test_jpeg_archive_missing(tmp_path):
    with pytest.raises(data.DataError, match="COMPANION_DATA"):
        data.images("cifar10-jpeg", root=tmp_path)


@pytest.mark.skipif(
    not (data.data_folder() / "MNIST/raw/t10k-images-idx3-ubyte").is_file(),
    reason="MNIST is not on this machine",
)
def test_real_mnist():
    x, y = data.images("mnist", "test", download=False)
    assert x.shape == (10_000, 1, 28, 28) and y[:4].tolist() == [7, 2, 1, 0]
    assert (x.min(), x.max()) == (-1, 1) and x.mean().item() == pytest.approx(-0.735, abs=1e-3)


# --- frozen noise ---


@pytest.mark.parametrize(
    "distribution, kurtosis", [("gaussian", 3), ("laplace", 6), ("uniform", 1.8)]
)
def test_frozen_noise_has_the_distribution(distribution, kurtosis):
    z = data.FrozenNoise(torch.zeros(100_000, 2), 2.0, seed=3, distribution=distribution).noisy / 2
    assert z.mean().abs() < 0.02
    assert z.square().mean().item() == pytest.approx(1, abs=0.02)
    assert (z**4).mean().item() == pytest.approx(kurtosis, rel=0.05)
    assert (z[:, 0] * z[:, 1]).mean().abs() < 0.02


def test_frozen_noise_is_frozen():
    clean = torch.linspace(-1, 1, 60).reshape(10, 2, 3)
    before = torch.random.get_rng_state()
    a, b = data.FrozenNoise(clean, 0.3, seed=5), data.FrozenNoise(clean, 0.3, seed=5)
    assert torch.equal(a.noisy, b.noisy) and torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(a.noisy, data.FrozenNoise(clean, 0.3, seed=6).noisy)
    assert torch.allclose(a.noisy, data.FrozenNoise(clean.double(), 0.3, seed=5).noisy.float())
    # The noise does not depend on the data or on the level.
    alone = data.FrozenNoise(clean * 0, 0.6, seed=5).noisy
    assert torch.allclose((a.noisy - clean) * 2, alone, atol=1e-6)
    assert torch.equal(data.FrozenNoise(clean, 0.0).noisy, clean)
    assert len(a) == 10 and torch.equal(a[2:4], a.noisy[2:4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_frozen_noise_is_the_same_on_a_gpu():
    clean = torch.zeros(64, 3)
    assert torch.equal(
        data.FrozenNoise(clean.cuda(), 1.0).noisy.cpu(), data.FrozenNoise(clean, 1.0).noisy
    )


def test_frozen_noise_does_not_keep_the_clean_data():
    frozen = data.FrozenNoise(torch.ones(4, 2), 1.0)
    assert set(vars(frozen)) == {"noisy", "sigma", "seed", "distribution"}


def test_bad_frozen_noise():
    with pytest.raises(TypeError, match=r"data: got .*torch.int64"):
        data.FrozenNoise(torch.ones(4, 2, dtype=torch.int64), 1.0)
    with pytest.raises(ValueError, match=r"sigma: got -1"):
        data.FrozenNoise(torch.ones(4, 2), -1)
    with pytest.raises(ValueError, match=r"data: got nan at position \(2, 1\)"):
        data.FrozenNoise(torch.tensor([[0.0, 0], [0, 0], [0, float("nan")]]), 1.0)
    with pytest.raises(ValueError, match=r"seed: got 1.9"):
        data.FrozenNoise(torch.ones(4, 2), 1.0, seed=1.9)
    assert data.FrozenNoise(torch.ones(4, 2), 1.0, seed=np.int64(3)).seed == 3
    with pytest.raises(ValueError, match="distribution: got 'cauchy'; allowed are 'gaussian'"):
        data.FrozenNoise(torch.ones(4, 2), 1.0, distribution="cauchy")
