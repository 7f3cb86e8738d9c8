"""``companion denoise`` that was killed and goes on: the same numbers as without a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("skimage")
pytest.importorskip("tifffile")

from companion import restoration
from companion.restoration import restore
from companion.restoration.network import RestorationUNet
from companion.training_run import TrainingRun


@pytest.fixture
def small(monkeypatch):
    """A network that is trained in no time."""
    net = lambda channels, images: RestorationUNet(channels, images, (8, 8), blocks=1)  # noqa: E731
    monkeypatch.setattr(restore, "RestorationUNet", net)


@pytest.fixture
def noisy(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(2):
        page = 100 + 50 * np.sin(np.arange(40) / 5) + 20 * rng.standard_normal((40, 40))
        np.save(tmp_path / "in" / f"{i}.npy", page)
    return restoration.folder(tmp_path / "in")


def test_a_training_that_was_killed_ends_with_the_same_weights(small, noisy, tmp_path, monkeypatch):
    """To the bit, with few pictures that are learned by heart, at a fixed number of steps."""
    noise = restoration.estimate(noisy, 20.0)
    options = {"steps": 60, "seed": 3, "progress": False}
    whole = restoration.fit(noisy, noise, **options, checkpoint=tmp_path / "whole")
    step = TrainingRun.take_step

    def killed(self, number):
        if number == 33:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingRun, "take_step", killed)
        restoration.fit(noisy, noise, **options, checkpoint=tmp_path / "stopped")
    gone_on = restoration.fit(noisy, noise, **options, checkpoint=tmp_path / "stopped")
    assert gone_on.denoiser.trust == whole.denoiser.trust
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(value, gone_on.denoiser.state_dict()[name]), name
