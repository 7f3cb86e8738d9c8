"""What the image experiments share: settings, the cache of trained networks, studies by profile."""

from __future__ import annotations

import json

import pytest
import torch

from companion import data, images, noise, objectives, records, samplers

SMALL = images.recipe("digits", "smoke")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """Keep records and trained networks of a test to itself."""
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COMPANION_TRAINED", str(tmp_path / "trained"))
    monkeypatch.setenv("COMPANION_PROGRESS", "0")


def weights(denoiser):
    return torch.cat([p.flatten() for p in denoiser.parameters()])


# --- setting


def test_a_network_is_trained_once_for_all_that_ask_for_it(tmp_path):
    first = images.Setting(SMALL, cache=tmp_path)
    a = first.fit(first.plain(), 0)
    second = images.Setting(SMALL, cache=tmp_path)
    b = second.fit(second.plain(), 0)
    assert torch.equal(weights(a), weights(b))
    first, second = (s.report()["trainings"][0] for s in (first, second))
    assert (first["shared"], second["shared"]) == (False, True)
    assert 0 < second["seconds"] <= first["seconds"] and first["loss"] == second["loss"]


@pytest.mark.parametrize(
    "change",
    [
        {"objective": objectives.DenoisingScoreMatching(noise.LogNormal(-1.0), "edm", 0.5)},
        {"seed": 1},
        {"steps": 4},
        {"lr": 2e-3},
        {"batch": 8},
        {"seen": True},
        {"start": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_is_trained_anew(tmp_path, change):
    setting = images.Setting(SMALL, cache=tmp_path)
    plain = {"objective": setting.plain(), "seed": 0}
    before = setting.fit(**plain)
    if "seen" in change:
        change = {"seen": data.FrozenNoise(setting.train, 0.2, seed=0).noisy}
    if "start" in change:
        change = {"start": before}
    after = setting.fit(**{**plain, **change})
    assert [e["shared"] for e in setting.report()["trainings"]] == [False, False]
    assert not torch.equal(weights(before), weights(after))
    assert len(list(tmp_path.iterdir())) == 2


def test_digits_are_not_kept_unless_asked(tmp_path):
    setting = images.Setting(SMALL)
    setting.fit(setting.plain(), 0)
    assert not images.cache_folder().exists()
    assert images.cache_folder() == tmp_path / "trained"


def test_shrunken_images_are_means_of_their_pixels():
    whole, half = images.Setting(SMALL), images.Setting({**SMALL, "shrink": 2})
    assert half.shape == (1, 4, 4) and len(half.train) == len(whole.train) == SMALL["images"]
    corner = whole.train[:, 0, :2, :2].mean((1, 2))
    torch.testing.assert_close(half.train[:, 0, 0, 0], corner)
    assert half.spread == pytest.approx(float(half.train.std()))


def test_draw_splits_the_noise_and_keeps_its_order():
    setting = images.Setting({**SMALL, "rows": 5})
    z = setting.noise(12, 3)
    torch.testing.assert_close(setting.noise(12, 3), z)
    sizes = []

    def sampler(part, number):
        sizes.append((number, len(part)))
        return 2 * part

    torch.testing.assert_close(setting.draw(sampler, z), 2 * z)
    assert sizes == [(0, 5), (1, 5), (2, 2)]


def test_error_is_that_of_the_denoiser_given():
    """A denoiser that answers with its input is off by the noise; one that is right, by nothing."""
    setting = images.Setting(SMALL)
    assert setting.error(lambda x, sigma: x, 0.3) == pytest.approx(0.3, rel=0.02)
    number = len(setting.test)
    torch.testing.assert_close(
        setting.error(lambda x, sigma: setting.test[: len(x)], 0.3, number=min(64, number)), 0.0
    )


def test_frechet_of_real_images_is_the_floor_and_broken_samples_are_nan():
    setting = images.Setting({**SMALL, "classifier_steps": 30})
    assert setting.frechet(setting.test) == pytest.approx(0.0, abs=1e-3)
    assert setting.floor(80) == setting.frechet(setting.train[:80]) > 0.01
    assert setting.frechet(setting.noise(80, 0)) > 2 * setting.floor(80)
    broken = setting.train[:80].clone()
    broken[0, 0, 0, 0] = torch.inf
    assert setting.frechet(broken) != setting.frechet(broken)


def test_the_report_counts_the_network_and_measures_the_machine():
    setting = images.Setting(SMALL)
    setting.fit(setting.plain(), 0)
    report = setting.report()
    speed = report["speed"]
    assert speed["rate"] == speed["images_per_second"] * speed["operations_per_image"]
    assert speed["share"] == speed["rate"] / speed["matrix_rate"]
    assert "Digits" in report["classifier"]
    # By hand: the first convolution alone, three passes but for the gradient of the input.
    first = 2 * 2 * 64 * 9 * SMALL["channels"][0]
    assert speed["operations_per_image"] > 20 * first
    json.dumps(report)


def test_weights_go_into_a_record_and_come_back(tmp_path):
    setting = images.Setting(SMALL)
    denoiser = setting.fit(setting.plain(), 0)
    arrays = images.packed(denoiser)
    assert arrays["weights"].dtype == torch.float16
    metrics = {"shape": list(setting.shape), "spread": setting.spread}
    record = records.Record("w", SMALL, metrics, arrays, {})
    record.save(tmp_path)
    back = images.restored(records.load("w", tmp_path))
    x = setting.train[:4]
    torch.testing.assert_close(back(x, 0.5), denoiser(x, 0.5), atol=2e-3, rtol=0)
    assert images.packed(denoiser, limit=100) == {}
    assert images.restored(records.Record("w", SMALL, metrics, {}, {})) is None


def test_a_recipe_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="got 'mnist' with 'huge'; allowed are 'digits' with"):
        images.recipe("mnist", "huge")


def test_samplers_run_on_a_setting():
    setting = images.Setting(SMALL)
    denoiser = setting.fit(setting.plain(), 0)
    sigmas = noise.log_linear(3, 40.0, 0.1)
    out = setting.draw(lambda p, _: samplers.ddim(denoiser, 40 * p, sigmas), setting.noise(70, 0))
    assert out.shape == (70, *setting.shape) and out.isfinite().all()


# --- study


def count(config):
    """Take the place of an experiment."""
    return {"steps": config["steps"]}, {}


GPU, LONG, SMOKE = ({"data": "digits", "steps": n} for n in (1000, 100, 1))
SIZES = {"gpu": [GPU], "long": [{**LONG, "shrink": 2}], "smoke": [SMOKE]}


def test_a_study_runs_at_the_size_of_the_profile_and_shows_the_rest():
    assert not any(images.study("s", count, SIZES, "cpu").values())
    made = images.study("s", count, SIZES, "long").made
    assert [r.name for r in made.values()] == ["s-digits-long"]
    shown = images.study("s", count, SIZES, "cpu")
    assert [bool(r) for r in shown.values()] == [False, True]
    assert shown.made["Digits (8 × 8) at 4 × 4"].metrics == {"steps": 100}
    images.study("s", count, SIZES, "gpu")
    both = images.study("s", count, SIZES, "cpu")
    assert [r.metrics["steps"] for r in both.values()] == [1000, 100]
    assert not any(r.stale for r in both.values())


def test_a_smoke_run_leaves_nothing_behind(tmp_path):
    found = images.study("s", count, SIZES, "smoke")
    assert [r.metrics["steps"] for r in found.made.values()] == [1]
    assert not (tmp_path / "results").exists()


def test_a_study_of_one_size_has_one_record_whichever_profile_made_it():
    same = {"gpu": [GPU], "long": [GPU]}
    first = images.study("s", count, same, "long").made
    assert [r.name for r in first.values()] == ["s-digits"]
    assert images.study("s", count, same, "cpu").made == first
    assert len(images.study("s", count, same, "gpu")) == 1


def test_a_study_says_where_its_records_came_from_and_what_is_missing():
    images.study("s", count, SIZES, "long")
    shown = images.study("s", count, SIZES, "cpu")
    for text in (repr(shown), shown._repr_html_()):
        assert "Recorded on CPU" in text and "ot yet recorded" in text
        assert "s-digits" in text and "gpu" in text


def test_cifar10_falls_back_to_its_jpeg_version_under_its_own_name(monkeypatch):
    monkeypatch.setattr(images, "_available", lambda name: name == "cifar10-jpeg")
    sizes = {"gpu": [{"data": "cifar10", "steps": 5}]}
    made = images.study("s", count, sizes, "gpu").made
    assert [(name, r.name) for name, r in made.items()] == [
        ("CIFAR-10 (JPEG q75)", "s-cifar10-jpeg")
    ]
    assert images.study("s", count, sizes, "cpu").made == made


def test_without_its_data_a_study_shows_the_record(monkeypatch):
    images.study("s", count, SIZES, "gpu")
    monkeypatch.setattr(images, "_available", lambda name: False)
    assert images.study("s", count, SIZES, "gpu").made["Digits (8 × 8)"].metrics["steps"] == 1000


def test_a_size_that_is_none_is_refused():
    with pytest.raises(ValueError, match="configs: got the size 'huge'"):
        images.study("s", count, {"huge": [GPU]}, "cpu")
