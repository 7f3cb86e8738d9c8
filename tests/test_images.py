"""What the image experiments share: settings, the cache of trained networks, records by profile."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from companion import data, noise, objectives, samplers
from companion.experiments import Experiment, Results, Session, images, tidy
from companion.experiments import session as sessions
from companion.experiments.images import ImageExperiment, Setting, recipe

SMALL = ImageExperiment(**recipe("digits", "smoke"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """Keep records, results and trained networks of a test to itself."""
    for name in ("results", "trained", "memory"):
        monkeypatch.setenv(f"COMPANION_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("COMPANION_PROGRESS", "0")


def changed(**settings):
    return dataclasses.replace(SMALL, **settings)


def weights(denoiser):
    return torch.cat([p.flatten() for p in denoiser.parameters()])


# --- setting


def test_a_network_is_trained_once_for_all_that_ask_for_it(tmp_path):
    first = Setting(SMALL, cache=tmp_path)
    a = first.fit(first.plain(), 0)
    second = Setting(SMALL, cache=tmp_path)
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
        {"images": True},
        {"start": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_is_trained_anew(tmp_path, change):
    setting = Setting(SMALL, cache=tmp_path)
    plain = {"objective": setting.plain(), "seed": 0}
    before = setting.fit(**plain)
    if "images" in change:
        change = {"images": data.FrozenNoise(setting.train, 0.2, seed=0).noisy}
    if "start" in change:
        change = {"start": before}
    after = setting.fit(**{**plain, **change})
    assert [e["shared"] for e in setting.report()["trainings"]] == [False, False]
    assert not torch.equal(weights(before), weights(after))
    assert len(list(tmp_path.iterdir())) == 2


def test_digits_are_not_kept_unless_asked(tmp_path):
    setting = SMALL.setting()
    setting.fit(setting.plain(), 0)
    assert not images.cache_folder().exists()
    assert images.cache_folder() == tmp_path / "trained"


def test_shrunken_images_are_means_of_their_pixels():
    whole, half = Setting(SMALL), Setting(changed(shrink=2))
    assert half.shape == (1, 4, 4) and len(half.train) == len(whole.train) == SMALL.images
    corner = whole.train[:, 0, :2, :2].mean((1, 2))
    torch.testing.assert_close(half.train[:, 0, 0, 0], corner)
    assert half.data_std == pytest.approx(float(half.train.std()))
    assert (whole.title, half.title) == ("Digits (8 × 8)", "Digits (8 × 8) at 4 × 4")


def test_draw_splits_the_noise_and_keeps_its_order():
    setting = Setting(changed(sample_batch=5))
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
    setting = Setting(SMALL)
    assert setting.error(lambda x, sigma: x, 0.3) == pytest.approx(0.3, rel=0.02)
    number = len(setting.test)
    torch.testing.assert_close(
        setting.error(lambda x, sigma: setting.test[: len(x)], 0.3, number=min(64, number)), 0.0
    )


def test_frechet_of_real_images_is_the_floor_and_broken_samples_are_nan():
    setting = Setting(changed(classifier_steps=30))
    assert setting.frechet(setting.test) == pytest.approx(0.0, abs=1e-3)
    assert setting.floor(80) == setting.frechet(setting.train[:80]) > 0.01
    assert setting.frechet(setting.noise(80, 0)) > 2 * setting.floor(80)
    broken = setting.train[:80].clone()
    broken[0, 0, 0, 0] = torch.inf
    assert setting.frechet(broken) != setting.frechet(broken)


def test_the_report_counts_the_network_and_measures_the_machine():
    setting = Setting(SMALL)
    setting.fit(setting.plain(), 0)
    report = setting.report()
    speed = report["speed"]
    assert speed["rate"] == speed["images_per_second"] * speed["operations_per_image"]
    assert speed["share"] == speed["rate"] / speed["matrix_rate"]
    assert "Digits" in report["classifier"]
    # By hand: the first convolution alone, three passes but for the gradient of the input.
    first = 2 * 2 * 64 * 9 * SMALL.channels[0]
    assert speed["operations_per_image"] > 20 * first
    json.dumps(report)


@dataclass(frozen=True)
class Trained(ImageExperiment):
    """One network, whose weights travel with the results."""

    recorded: ClassVar[bool] = False
    sizes: ClassVar[dict[str, Any]] = {"smoke": recipe("digits", "smoke")}

    def run(self, session):
        setting = self.setting()
        denoiser = setting.fit(setting.plain(), session.seed)
        x = setting.train[:4]
        facts = {"shape": list(setting.shape), "data_std": setting.data_std}
        arrays = {**images.packed(denoiser), "x": x, "denoised": denoiser(x, 0.5)}
        return Results(tidy([0.0], {"seed": [0]}), arrays, facts)


def test_weights_go_into_results_and_come_back():
    session = Session("smoke")
    session.run(Trained)
    results = session.run(Trained)  # from memory, as a record would be
    assert results.tensor("weights").dtype == torch.float16
    back = images.restored(results)
    answer = back(results.tensor("x"), 0.5)
    torch.testing.assert_close(answer, results.tensor("denoised"), atol=2e-3, rtol=0)
    assert images.packed(back, limit=100) == {}
    assert images.restored(dataclasses.replace(results, arrays={})) is None


def test_a_recipe_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="got 'mnist' with 'huge'; allowed are 'digits' with"):
        recipe("mnist", "huge")


def test_a_recipe_takes_what_one_experiment_adds():
    assert recipe("mnist", "gpu", steps=7) == {**recipe("mnist", "gpu"), "steps": 7}
    ImageExperiment(**recipe("cifar10", "gpu"))


def test_samplers_run_on_a_setting():
    setting = Setting(SMALL)
    denoiser = setting.fit(setting.plain(), 0)
    sigmas = noise.log_linear(3, 40.0, 0.1)
    out = setting.draw(lambda p, _: samplers.ddim(denoiser, 40 * p, sigmas), setting.noise(70, 0))
    assert out.shape == (70, *setting.shape) and out.isfinite().all()


# --- records by profile


@dataclass(frozen=True)
class Count(ImageExperiment):
    """Takes the place of an experiment."""

    sizes: ClassVar[dict[str, Any]] = {
        "gpu": [{"data": "digits", "steps": 1000}],
        "long": {"data": "digits", "steps": 100, "shrink": 2},
        "smoke": {"data": "digits", "steps": 1},
    }

    def run(self, session):
        return Results(tidy([self.steps], {"seed": [0]}, measure="steps"))


@dataclass(frozen=True)
class Same(Count):
    """One size for both."""

    sizes: ClassVar[dict[str, Any]] = {
        "gpu": [{"data": "digits", "steps": 1000}],
        "long": [{"data": "digits", "steps": 1000}],
    }


@dataclass(frozen=True)
class Photographs(Count):
    """Of a data set that has a smaller version."""

    sizes: ClassVar[dict[str, Any]] = {"gpu": [{"data": "cifar10", "steps": 5}]}


def steps(shown):
    return {name: int(r.value(measure="steps")) for name, r in shown.items_there()}


def names(tmp_path):
    return sorted(path.stem for path in (tmp_path / "results").glob("*.json"))


def test_records_are_made_at_the_size_of_the_profile_and_the_rest_is_shown(tmp_path):
    assert list(Session("cpu").records(Count).values()) == [None, None]
    Session("long").records(Count)
    assert names(tmp_path) == ["test_images.count-digits-long"]
    shown = Session("cpu").records(Count)
    assert steps(shown) == {"Digits (8 × 8) at 4 × 4": 100} and len(shown) == 2
    Session("gpu").records(Count)
    both = Session("cpu").records(Count)
    assert list(steps(both).values()) == [1000, 100]
    assert not any(r.stale for r in both.there().values())


def test_a_smoke_run_leaves_no_record(tmp_path):
    shown = Session("smoke").records(Count)
    assert steps(shown) == {"Digits (8 × 8), smoke run": 1}
    assert not (tmp_path / "results").exists()


def test_one_size_has_one_record_whichever_profile_made_it(tmp_path):
    Session("long").records(Same)
    assert names(tmp_path) == ["test_images.same-digits"]
    for profile in ("cpu", "gpu"):
        assert steps(Session(profile).records(Same)) == {"Digits (8 × 8)": 1000}


def test_records_say_where_they_came_from_and_what_is_missing():
    Session("long").records(Count)
    shown = Session("cpu").records(Count)
    for text in (str(shown), repr(shown), shown._repr_html_()):
        assert "Recorded on CPU" in text and "Not yet recorded" in text
        assert "Digits (8 × 8) at 4 × 4" in text
        assert "commit" in text


def test_cifar10_falls_back_to_its_jpeg_version_under_its_own_name(monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "_available", lambda name: name == "cifar10-jpeg")
    assert steps(Session("gpu").records(Photographs)) == {"CIFAR-10 (JPEG q75)": 5}
    assert names(tmp_path) == ["test_images.photographs-cifar10-jpeg"]
    assert steps(Session("cpu").records(Photographs)) == {"CIFAR-10 (JPEG q75)": 5}


def test_without_its_data_the_record_is_shown(monkeypatch):
    Session("gpu").records(Count)
    monkeypatch.setattr(sessions, "_available", lambda name: False)
    assert steps(Session("gpu", 1).records(Count))["Digits (8 × 8)"] == 1000


def test_data_that_cannot_be_had_are_named_not_fatal(monkeypatch, capsys):
    def nothing(name, split):
        raise data.DataError("mnist: no network")

    monkeypatch.setattr(sessions.data, "images", nothing)
    assert list(Session("gpu").records(Count).values()) == [None, None]
    assert "mnist: no network" in capsys.readouterr().out


def test_what_is_not_recorded_is_run_instead():
    with pytest.raises(ValueError, match=r"trained is not recorded: use session.run\(\)"):
        Session("cpu").records(Trained)


def test_a_setting_that_is_none_is_refused():
    @dataclass(frozen=True)
    class Wrong(Experiment):
        """Sizes name a setting that it has not."""

        sizes: ClassVar[dict[str, Any]] = {"smoke": {"step": 1}}

    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        Wrong.planned("smoke")
