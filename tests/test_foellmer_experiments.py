"""Chapter 7: its experiments at tiny sizes, its figures and its tables."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from companion.experiments import foellmer as fo
from companion.experiments.foellmer import parametrisations, targets
from companion.experiments.foellmer.densities import METHODS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def test_everything_is_measured_and_shown(smoke):
    sampling, widths = smoke.run(fo.Sampling), smoke.run(fo.Widths)
    assert set(sampling.labels("method")) == set(METHODS)
    assert (sampling.where(measure="effective share")["value"] <= 1 + 1e-6).all()
    fo.figures.modes(sampling)
    fo.figures.error_by_parameters(widths)
    fo.figures.bounds(smoke.run(fo.Girsanov))
    fo.figures.two_pictures(steps=20, paths=4)
    shown = [fo.tables.sampling(sampling), fo.tables.levels(widths)]
    shown.append(fo.tables.identity(smoke.run(fo.Identity)))
    assert all("<table" in table.to_html() for table in shown)
    assert "Relative entropy" in fo.tables.entropy(smoke.run(fo.Entropy))
    assert len(fo.verdicts(smoke)) == 7 and fo.in_short(smoke).number


def test_a_learned_drift_spends_the_budget_and_no_more(monkeypatch):
    spent = []

    def fit(nets, objective, data, *, steps, batch_size, **_):
        spent.append(steps * batch_size)
        raise InterruptedError

    monkeypatch.setattr("companion.experiments.foellmer.densities.training.fit", fit)
    experiment = fo.Sampling(seeds=2)
    for name in ("PIS", "log-variance"):
        with pytest.raises(InterruptedError):
            experiment._fit(name, lambda x: -x.square().sum(1), 0)
    assert 2 * spent[0] + experiment.samples <= experiment.budget
    assert spent[1] + experiment.samples <= experiment.budget
    assert 2 * spent[0] > 0.95 * (experiment.budget - experiment.samples)


def test_lost_modes_are_counted():
    mixture = targets.target(2.0)
    first = mixture.means[:1].expand(50, 2)
    assert targets.lost_modes(first, mixture) == 2
    assert targets.modes_error(first, mixture) == pytest.approx(0.5, abs=1e-6)
    sample = mixture.sample(4000, torch.Generator().manual_seed(0))
    assert targets.lost_modes(sample, mixture) == 0
    assert targets.modes_error(sample, mixture) < 0.04


def test_levels_rise_and_carry_the_weights_of_their_loss():
    for loss in parametrisations.LOSSES:
        sigma, weights = parametrisations.levels(loss, 8)
        assert (sigma.diff() > 0).all()
        expected = sigma**-2 + (1 if loss == "even" else 0)
        torch.testing.assert_close(weights, expected)
