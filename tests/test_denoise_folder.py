"""The parts of ``companion denoise``: the diagnosis of the noise, and the method."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("pywt")
pytest.importorskip("skimage")
pytest.importorskip("tifffile")

from noisy_pictures import pictures

from companion.data.folders import folder
from companion.restoration import (
    collaborative,
    command,
    diagnosis,
    guided,
    noise_estimate,
    patches,
    restore,
)
from companion.restoration.collaborative import CollaborativeFilter
from companion.restoration.comparison import masked_error, sure
from companion.restoration.network import RestorationUNet
from companion.restoration.variance_stabilization import Anscombe

RNG = np.random.default_rng(0)
grey, bytes8 = pictures(RNG)


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


@pytest.mark.parametrize("where", ["half white", "three quarters black", "corners", "dark"])
def test_places_that_show_no_noise_do_not_count(tmp_path, where):
    """Scanned paper, an empty frame, a round field of view, a dark photograph: sigma is 20."""
    rows, columns = np.mgrid[:96, :96] - 48
    for i in range(3):
        y = grey(96, 96) - (100 if where == "dark" else 0)
        if where == "half white":
            y[:, 48:] = 255
        elif where == "three quarters black":
            y[:, 24:] = 0
        elif where == "corners":
            y[rows**2 + columns**2 > 48**2] = 0
        np.save(tmp_path / f"{i}.npy", np.rint(y).clip(0, 255).astype(np.uint8))
    noise = diagnosis.estimate(folder(tmp_path))
    assert np.minimum(noise.wavelet, noise.eigenvalue) == pytest.approx([20] * 3, rel=0.2)
    assert noise.stabilizer is None


def test_a_blank_channel_or_page_counts_for_nothing(tmp_path):
    page = grey(96, 96)
    noise = diagnosis.estimate(saved(tmp_path / "a", np.stack([page, 0 * page + 7])))
    assert noise.sigmas == pytest.approx([20], rel=0.1) and "different noise" not in str(noise)
    loud = diagnosis.estimate(saved(tmp_path / "b", np.stack([page, page + grey(96, 96, 100)])))
    assert "In one picture the channels or pages have different noise, such as 0.npy" in str(loud)


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_noise_that_channels_share_is_found(tmp_path, shared):
    common, own = RNG.standard_normal((96, 96)), RNG.standard_normal((96, 96, 3))
    noise = np.sqrt(shared) * common[..., None] + np.sqrt(1 - shared) * own
    np.save(tmp_path / "0.npy", (grey(96, 96, 0)[..., None] + 20 * noise).astype(np.float32))
    found = diagnosis.estimate(folder(tmp_path))
    assert found.shared == pytest.approx(shared, abs=0.07)
    assert ("The colours share noise" in str(found)) is (shared > 0)


@pytest.mark.parametrize("place", [(7, 8), (0, 0), (39, 40), (20, 21)])
def test_wavelets_that_see_a_pixel_that_is_cut_are_left_out(place):
    """The noise of the others alone is found, however large that pixel is."""
    import pywt

    channel = RNG.standard_normal((40, 41))
    channel[place] = 1e6
    found = noise_estimate.wavelet_sigma(channel[None], (-10, 1e6))
    kept = pywt.dwt2(channel, "db2")[1][2]
    kept = kept[np.abs(kept) < 100]
    assert found == pytest.approx(np.median(np.abs(kept)) / 0.6745, rel=1e-3)


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


class Correcting(torch.nn.Module):
    """In place of a network: it adds a known part of the truth, or noise, to the guide."""

    def __init__(self, change):
        super().__init__()
        self.change, self.unused = change, torch.nn.Parameter(torch.zeros(1))

    def forward(self, pair, sigma):
        return pair.chunk(2, 1)[1] + self.change


def test_each_page_says_how_much_of_the_correction_it_wants():
    """What Stein's estimate finds without the truth is what the truth says."""
    generator = torch.Generator().manual_seed(0)
    clean = 6 * torch.rand(1, 96, 96, generator=generator)
    page, other = (clean + torch.randn(1, 96, 96, generator=generator) for _ in range(2))
    guide = CollaborativeFilter(page, 1.0)(page)
    knows = clean - CollaborativeFilter(other, 1.0)(other)
    guesses = torch.randn(1, 96, 96, generator=generator)
    best = []
    for change in (knows, 2 * knows, -knows, guesses):
        best.append(float(((clean - guide) * change).sum() / change.square().sum()))
        found = guided.suited(guided.Guided(Correcting(change), 0.7), page).trust
        assert found == pytest.approx(min(1, max(0, best[-1])), abs=0.05)
    assert best[0] > 0.4 and best[2] < 0
    nothing = guided.Guided(Correcting(0 * knows), 0.7)  # a page that cannot tell
    assert guided.suited(nothing, page).trust == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("height", "width", "squares"), [(150, 130, 1), (150, 300, 2), (400, 300, 4)]
)
def test_of_a_large_page_squares_are_asked(monkeypatch, height, width, squares):
    asked = []
    monkeypatch.setattr(guided, "best_trust", lambda d, s, **_: asked.extend(s) or 0.5)
    denoiser = guided.Guided(Correcting(0.0))
    assert guided.suited(denoiser, torch.zeros(1, height, width)).trust == 0.5
    assert len(asked) == squares and all(s.shape[0] == 1 and 0 not in s.shape for s in asked)
    assert all(s.shape[2] == (96 if width > 192 else width) for s in asked)


def test_the_network_takes_any_size():
    network = RestorationUNet(3, 2, (8, 8, 8), blocks=1)
    assert network(torch.randn(2, 6, 37, 50), torch.tensor(0.1)).shape == (2, 3, 37, 50)
