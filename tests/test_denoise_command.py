"""``companion denoise`` as a whole: what it leaves, what it refuses, and that nothing is lost."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

iio = pytest.importorskip("imageio.v3")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("skimage")

from noisy_pictures import pictures  # noqa: E402

from companion import cli, restoration  # noqa: E402
from companion.data.folders import folder, write  # noqa: E402
from companion.restoration import budget, command, outputs, pipeline, restore  # noqa: E402
from companion.restoration.comparison import classic_methods  # noqa: E402
from companion.restoration.network import RestorationUNet  # noqa: E402

RNG = np.random.default_rng(0)
grey, bytes8 = pictures(RNG)


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

    replace = os.replace

    for place in ("plan.json", "patches.npy", "denoised", "0-spread.npy"):

        def full(source, target, place=place):
            if place in str(target):
                raise OSError(errno.ENOSPC, "No space left on device", target)
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            status, _, errors = denoise(capsys, tiny, "--out", out, *run)
        assert status == 1 and "No space left on device" in errors and "goes on" in errors
        assert place in errors and not [p for p in out.rglob("*") if "partial" in p.name]
    trained = json.loads((out / ".work" / "training" / "plan.json").read_text())
    assert trained["steps"] == 4

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # all is restored, no map is made yet
        patch.setattr(outputs, "deviations_of", interrupt)
        status, said, errors = denoise(capsys, tiny, "--out", out, *run)
    assert status == 130 and "is kept" in errors and "Going on" in said
    assert sorted(p.name for p in (out / "denoised").iterdir()) == ["a.png", "b.tif"]
    status, _, errors = denoise(capsys, tiny, "--out", out, "--sigma", 25, "--steps", 4)
    assert status == 2 and "of other sigma" in errors
    with monkeypatch.context() as patch:  # what was restored is not restored again
        patch.setattr(outputs, "cleaned", interrupt)
        assert denoise(capsys, tiny, "--out", out, *run)[0] == 0
    assert denoise(capsys, tiny, "--out", other, *run)[0] == 0
    for path in ("denoised/a.png", "denoised/b.tif", "uncertainty/a.png.tif", "samples/a-1.png"):
        assert (out / path).read_bytes() == (other / path).read_bytes(), path


def test_the_minutes_are_divided_before_training(tiny, tmp_path, capsys, monkeypatch):
    """All that comes after the training has its time; a folder that is too large is said so."""
    costs = budget.Costs(restoring=60, maps=240, samples=40, comparing=55)
    assert costs.total == pytest.approx(budget.MARGIN * 400)
    seconds, said = budget.divide(20, 10, costs, 8)
    assert seconds == 1200 - 10 - costs.total and said.startswith("The time: 12 minutes for train")
    seconds, said = budget.divide(8, 10, costs, 8)
    assert seconds == budget.LEAST * 480
    assert said.startswith("8 minutes are too few") and "60 seconds to restore 8 pages" in said
    measured = budget.trial(folder(tiny), 60, sampled=1, crops=2, truth=True)
    assert min(measured.restoring, measured.maps, measured.samples, measured.comparing) > 0
    more = budget.trial(folder(tiny), 60, sampled=0, crops=0, truth=False)
    assert more.samples == more.comparing == 0

    order = []
    monkeypatch.setattr(budget, "trial", lambda *_, **__: costs)
    fit = restoration.pipeline.fit

    def watched(noisy, noise, *, minutes, **options):
        order.append((minutes, capsys.readouterr().out))
        return fit(noisy, noise, minutes=minutes, **{**options, "steps": 2})

    monkeypatch.setattr(restoration.pipeline, "fit", watched)
    assert denoise(capsys, tiny, "--out", tmp_path / "out", "--minutes", 1)[0] == 0
    assert order[0][0] == budget.LEAST and "1 minutes are too few for this folder" in order[0][1]


def test_the_first_sentence_says_who_is_best():
    """Of made-up numbers: 10 dB are 90 % of the noise's power."""
    import pandas as pd

    def said(ours, theirs, truth=(), held_out=True):
        table = pd.DataFrame({"masked": [ours, theirs]}, index=[outputs.OURS, "wavelets"])
        rows = pd.DataFrame(truth, columns=["picture", "method", "psnr", "ssim"])
        return outputs.Findings(table, rows if len(rows) else None, [], held_out).summary

    assert "this tool removes 90% (10.0 dB)" in said(10, 3)
    assert "wavelets, the best of the other methods, removes 50% (3.0 dB)" in said(10, 3)
    assert "better choice" not in said(10, 3) and "wavelets is the better choice" in said(3, 10)
    assert "flatters this tool" in said(10, 3, held_out=False)
    # time was over before wavelets had restored b: the means are over a
    both = [("a", outputs.OURS, 30.0, 1), ("a", "wavelets", 28.0, 1), ("b", outputs.OURS, 20.0, 1)]
    assert said(10, 3, both).endswith("PSNR 30.00 dB, wavelets 28.00 dB.")
    assert said(10, 3, both[2:]).endswith("PSNR 20.00 dB.")


def test_sizes_may_differ_and_names_may_be_odd(tiny, tmp_path, capsys):
    """A truth with holes, and time that is over before the others have restored anything."""
    write(tiny / 'a "b" <ü>\n.png', bytes8(33, 80))
    np.save(tiny / "small.npy", grey(17, 90))
    (tmp_path / "truth").mkdir()
    np.save(tmp_path / "truth" / "small.npy", grey(18, 90))
    write(tmp_path / "truth" / "a.png", bytes8(40, 40))
    out = tmp_path / "out"
    options = ("--steps", 2, "--truth", tmp_path / "truth", "--minutes", 1e-6)
    status, said, errors = denoise(capsys, tiny, "--out", out, *options)
    assert status == 0, errors
    assert {p.name for p in (out / "denoised").iterdir()} == {p.name for p in tiny.iterdir()}
    assert "Against the truth: PSNR" in said
    page = (out / "report.html").read_text()
    assert "1 of 4 pictures have a true one." in errors
    assert "3 of 4 pictures have no true picture of their name and shape" in page
    assert "Time was over" in page and "a &quot;b&quot; &lt;ü&gt;" in page


def test_a_truth_that_does_not_fit_is_refused_at_once(tiny, tmp_path, capsys):
    (truth := tmp_path / "truth").mkdir()
    np.save(truth / "other.npy", grey())
    status, _, errors = denoise(capsys, tiny, "--out", tmp_path / "out", "--truth", truth)
    assert status == 2 and "where no picture has the name and the shape" in errors
    np.save(truth / "a.npy", grey(40, 40))
    status, _, errors = denoise(capsys, tiny, "--out", tmp_path / "out", "--truth", truth)
    assert status == 2 and "truth: got a.npy of float64; allowed is the type of a.png" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more, says",
    [((), "the same command goes on"), (("--overwrite",), "without --overwrite goes on")],
)
def test_a_full_memory_says_how_to_go_on(tiny, tmp_path, capsys, monkeypatch, more, says):
    def full(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(pipeline, "fit", full)
    status, _, errors = denoise(capsys, tiny, "--out", tmp_path / "out", "--steps", 2, *more)
    assert status == 1 and "the memory is full" in errors and says in errors


def test_files_of_other_kinds_are_counted(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "prepare", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    for name in ("a.heic", "b.heic", "notes"):
        (tiny / name).write_bytes(b"1")
    _, _, errors = denoise(capsys, tiny, "--out", tmp_path / "out")
    assert "Not read: files of other kinds, 2 that end in .heic, 1 that end in nothing." in errors


def test_results_may_stand_among_the_inputs(tiny, capsys):
    """A folder in FOLDER is not one of its images."""
    before = {p.name: p.read_bytes() for p in tiny.iterdir()}
    assert denoise(capsys, tiny, "--out", tiny / "out", "--steps", 2)[0] == 0
    assert {p.name: p.read_bytes() for p in tiny.iterdir() if p.is_file()} == before


def test_a_damaged_folder_of_results_is_refused(tiny, tmp_path, capsys):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    (tmp_path / "out" / ".work" / "settings.json").write_text("{")
    status, _, errors = denoise(capsys, tiny, "--out", tmp_path / "out", "--steps", 2)
    assert status == 2 and "settings.json is damaged; --overwrite starts anew" in errors


def test_tiles_of_large_pages_are_counted():
    """Pixels that are asked for, tiles overlapping."""
    for height, width in ((100, 50), (384, 385), (700, 1500)):
        tiles = [[b - a for a, b, *_ in restore._tiles(n)] for n in (height, width)]
        assert budget.tiled(height, width) == sum(tiles[0]) * sum(tiles[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "OUT"], "does not exist"),
        (["IN", "--out", "IN"], "is the folder of the inputs"),
        (["IN", "--out", "IN/.."], "is the folder of the inputs or holds it"),
        (["IN", "--out", "IN/a.png"], "is a file"),
        *((["IN", "--out", "OUT", "--sigma", v], "sigma: got") for v in ("0", "nan", "inf", "-3")),
        *((["IN", "--out", "OUT", "--minutes", v], "minutes: got") for v in ("0", "nan", "inf")),
        (["IN", "--out", "OUT", "--sigma", "IN/a.png"], "cannot be read as text"),
        (
            ["IN", "--out", "OUT", "--sigma", "LEVELS"],
            "no level for a.png, b.tif (2 of 2 pictures)",
        ),
        (["IN", "--out", "OUT", "--clean", "COLOURS"], "clean: got 3 channels of uint8"),
        (["IN/a.png", "--out", "OUT"], "is a file; allowed is a folder"),
        (["IN", "--out", "IN/a.png/OUT"], "cannot be written"),
        (["IN", "--out", "LOOP"], "cannot be written (Too many levels"),
        (["IN", "--out", "LOOP/inner"], "cannot be written (Too many levels"),
        (["IN", "--out", "OUT", "--steps", "0"], "steps: got"),
        (["IN", "--out", "OUT", "--truth", "nowhere"], "does not exist"),
        (["IN", "--out", "OUT", "--wrong"], "unknown arguments: --wrong"),
        (["IN", "--out", "/proc/out"], "cannot be written (No such file"),
    ],
)
def test_bad_options(tiny, tmp_path, capsys, arguments, message):
    names = {"IN": tiny.name, "OUT": "out", "LOOP": "loop", "LEVELS": "t.csv", "COLOURS": "rgb"}
    places = {key: str(tmp_path / name) for key, name in names.items()}
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "t.csv").write_text("file,sigma\nother.png,12\n")
    (tmp_path / "rgb").mkdir()
    iio.imwrite(tmp_path / "rgb" / "clean.png", np.stack([bytes8() for _ in range(3)], -1))
    given = [
        next((v + a[len(k) :] for k, v in places.items() if a.startswith(k)), a) for a in arguments
    ]
    status, _, errors = denoise(capsys, *given)
    assert status in (1, 2) and message in errors, errors
    assert not (tmp_path / "out").exists()
