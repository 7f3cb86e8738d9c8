"""The choice of a profile in Colab, progress bars, and what differs on an older GPU."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from companion import devices, progress
from companion.experiments.experiment import PROFILES
from companion.experiments.starting import choose, start


@pytest.fixture
def colab(monkeypatch):
    """A live Colab notebook, as far as `choose` can tell; say which GPU it has."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.delenv("COMPANION_PROFILE", raising=False)

    def runtime(gpu: str | None, gib: int = 15) -> None:
        facts = types.SimpleNamespace(name=gpu, total_memory=gib * 2**30)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)

    return runtime


def test_outside_of_colab_the_profile_stays(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("COMPANION_PROFILE", "gpu")
    assert [choose(name) for name in PROFILES] == list(PROFILES)
    assert capsys.readouterr().out == ""


def test_in_colab_the_machine_chooses(colab, capsys):
    colab("Tesla T4")
    assert choose("cpu") == "gpu"
    said = capsys.readouterr().out
    assert "Tesla T4, 15 GiB: profile 'gpu'" in said and "COMPANION_PROFILE=cpu" in said
    colab(None)
    assert choose("cpu") == "cpu"
    assert "no GPU: profile 'cpu'" in capsys.readouterr().out


def test_in_colab_a_reader_who_has_chosen_is_heard(colab, monkeypatch, capsys):
    colab("Tesla T4")
    assert choose("smoke") == "smoke" and choose("gpu") == "gpu"
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("COMPANION_PROFILE", "cpu")
    assert choose("cpu") == "cpu"
    assert "as COMPANION_PROFILE says" in capsys.readouterr().out


def test_a_profile_that_is_none_is_refused(colab, monkeypatch):
    colab(None)
    with pytest.raises(ValueError, match="profile: got 'tpu'; allowed are 'smoke', 'cpu'"):
        choose("tpu")
    monkeypatch.setenv("COMPANION_PROFILE", "fast")
    with pytest.raises(ValueError, match="COMPANION_PROFILE: got 'fast'"):
        choose("cpu")


def test_a_chapter_starts_with_the_house_style(colab):
    import matplotlib

    colab(None)
    with matplotlib.rc_context():
        session = start("cpu", 3)
        assert not matplotlib.rcParams["axes.spines.top"]
    assert (session.profile, session.seed, session.smoke) == ("cpu", 3, False)
    assert session.generator(7).initial_seed() == 3007


@pytest.mark.parametrize("capability, precision", [((7, 5), "fp16"), ((8, 0), "bf16")])
def test_older_gpus_train_in_fp16_and_are_not_compiled_for(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    asked = {}
    monkeypatch.setattr("accelerate.Accelerator", lambda **settings: asked.update(settings))
    with pytest.raises(AttributeError), devices.accelerated("cuda", None):
        pass  # the stand-in has no device
    assert asked["mixed_precision"] == precision
    assert devices.has_bf16(torch.device("cuda")) == (precision == "bf16")
    assert not devices.has_bf16(torch.device("cpu"))


def test_data_that_would_fill_a_small_gpu_stay_where_they_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 16_000))
    data = [torch.zeros(200)]  # 800 bytes, more than half of what is free
    assert devices.on_device(data, torch.device("cuda"))[0] is data[0]


def test_progress_is_shown_to_those_who_watch(monkeypatch, capsys):
    assert list(progress.track(range(3), "quiet")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "watched", lambda: True)
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    assert list(progress.track(iter("ab"), "loud", total=2)) == ["a", "b"]
    err = capsys.readouterr().err
    assert "loud" in err and "<" in err, "no estimate of the time left"
    monkeypatch.undo()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    assert progress.watched()
    monkeypatch.setenv("COMPANION_PROGRESS", "0")
    assert not progress.watched()
