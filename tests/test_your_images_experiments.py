"""Chapter 9: its experiments at tiny sizes, and the pictures that they are made of."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import randn

pytest.importorskip("skimage")

from companion.experiments import your_images as yi
from companion.experiments.your_images import losses, pictures, race

matplotlib.use("Agg")


def test_the_race_has_every_method_and_its_figures(smoke):
    results = smoke.run(yi.Race)
    methods = {race.NOISY, race.OURS, race.FILTER, *race.RIVALS}
    assert set(results.labels("method", measure="psnr")) == methods
    noisy = results.grid("picture", measure="psnr", method=race.NOISY)
    assert noisy == pytest.approx(20 * np.log10(255 / 25), abs=1)
    assert (results.grid("picture", measure="psnr", method=race.FILTER) > noisy).all()
    for figure in ("pictures", "race", "without", "uncertainty"):
        getattr(yi.figures, figure)(results)
    assert "best in bold" in yi.tables.each_picture(results, 25.0).to_html()
    plt.close("all")


def test_the_other_losses_and_levels(smoke):
    others = smoke.run(yi.Losses)
    assert set(others.labels("method")) == {race.OURS, losses.AMBIENT, losses.NOISE2SELF}
    found = smoke.run(yi.Levels)
    assert found.grid("draw", measure="folder") == pytest.approx(1, abs=0.2)
    yi.figures.losses(others)
    yi.figures.levels_found(found)
    plt.close("all")


def test_a_hidden_pixel_is_not_seen():
    """Neither in what the network is given, nor in the answer for it."""
    page = randn(1, 1, 12, 12)
    seen, mask = losses.hidden(page, 1, 2)
    assert mask.sum() == 9 and (seen[mask == 0] == page[mask == 0]).all()
    changed = page + 5 * mask
    torch.testing.assert_close(losses.hidden(changed, 1, 2)[0], seen)
    around = page[0, 0, [0, 2, 1, 1], [2, 2, 1, 3]]
    torch.testing.assert_close(seen[0, 0, 1, 2], around.mean())


def test_noise2self_has_its_least_loss_at_the_best_answer():
    """On flat pictures the mean of the neighbours is better than nothing and than twice it."""
    batch = torch.randn(200, 1, 8, 8) + 3
    loss = [
        float(losses.Noise2Self()(lambda x, s, k=k: k * x.mean((2, 3), keepdim=True).expand_as(x),
                                  batch, torch.Generator().manual_seed(0)).mean())
        for k in (0.8, 1.0, 1.2)
    ]  # fmt: skip
    assert loss[1] < min(loss[0], loss[2])


def test_the_folders_of_the_long_run():
    one = pictures.one()
    assert len(one) == 100 and {p.shape for p in one.values()} == {(128, 128)}
    assert set(pictures.pieces(128)) == set(pictures.PIECES)
    assert all(p.shape == (128, 128) for p in pictures.pieces(128).values())
