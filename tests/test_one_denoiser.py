"""Chapter 0: its experiments at tiny sizes, and its tables and figures on made-up results."""

import numpy as np
import pytest
import torch
from conftest import seeded
from matplotlib import pyplot as plt

from companion import noise, samplers
from companion.experiments import Results, one_denoiser, tidy
from companion.experiments.one_denoiser import drawn, figures, points, summary, tables


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_trained_networks_come_back_from_results(session):
    results = session.run(one_denoiser.PointNetworks)
    stack = one_denoiser.PointNetworks.trained(results)
    assert len(stack) == len(results.values(measure="final loss")) == 2
    x = noise.randn((6, 2), generator=seeded())
    both = stack(x.repeat(2, 1), 0.5).view(2, 6, 2)
    torch.testing.assert_close(both[1], stack[1](x, 0.5))
    assert not torch.equal(both[0], both[1])
    new = one_denoiser.PointNetworks.network(0)
    assert not torch.equal(new(x, 0.5), stack[0](x, 0.5)), "the weights are those before training"


def test_excess_error_stands_beside_the_bayes_error(session):
    """The Bayes error is that of the exact denoiser: it grows with the noise up to the variance."""
    results = session.run(one_denoiser.ExcessError)
    bayes = results.grid("level", measure="Bayes error")
    excess = results.grid("seed", "level", measure="excess error")
    assert (np.diff(bayes) > 0).all() and bayes[-1] == pytest.approx(1, rel=0.1)
    assert bayes[0] == pytest.approx(0.02**2, rel=0.2), "with little noise all of it is left"
    assert excess.shape == (2, 7) and (excess > 0).all()


@pytest.mark.parametrize("name", points.METHODS)
def test_a_sampler_spends_its_budget(name):
    calls = []

    def denoiser(x, sigma):
        calls.append(float(sigma))
        return torch.zeros_like(x)

    start = 10 * noise.randn((3, 2), generator=seeded())
    points.sample(name, 7, denoiser, start, 10.0, seeded())
    assert len(calls) == 7 and calls[0] == 10.0 and min(calls) == pytest.approx(0.02)


def test_budgets_end_at_the_flow_and_at_the_data(session):
    results = session.run(one_denoiser.Budgets(budgets=(5, 41)))
    for method in ("ddim", "heun", "gradient_estimation"):
        few, many = (
            results.values(measure="to the flow", method=method, budget=b) for b in (5, 41)
        )
        assert (many < few).all() and (many < 0.05).all()
    assert "ddpm" not in results.labels("method", measure="to the flow")
    mean, low, high = results.facts["noise floor"]
    assert low <= mean <= high and len(figures.budgets(results).axes) == 2
    assert len(tables.gains(results)) == 4


def test_likelihood_of_the_exact_denoiser_is_exact(session):
    results = session.run(one_denoiser.Likelihood(levels=256))
    medians = tables.likelihood(results)["median, nats"]
    assert medians["error with the exact denoiser"] < 0.6
    assert medians["error with a trained network"] > 0
    assert len(figures.likelihood(results).axes) == 2


def test_digits_at_tiny_sizes(session):
    errors = tables.held_out(session.run(one_denoiser.HeldOut))
    assert list(errors) == ["trained", "memorised"] and len(errors) == 4
    # With little noise the memorised answer is another digit; with much, all answer the mean.
    assert errors["memorised"].iloc[0] > 5 * 0.1**2
    assert errors["memorised"].iloc[-1] < 0.5
    results = session.run(one_denoiser.DigitSamples)
    assert results.tensor("samples").shape == (60, 1, 8, 8)
    assert results.tensor("samples").abs().max() <= 1
    table = tables.samples(results)
    assert len(table) == 5 and table["samples"].iloc[-1] == "half of the data"
    assert "accuracy" in results.facts["classifier"]


def made_up(heun, ours):
    """Distances of three seeds: DDIM's are about 1, the others differ from them as is said."""
    shifts = {"ddim": 0.0, "heun": heun, "gradient_estimation": ours}
    wobble = np.array([0.0, 0.001, -0.001])
    return Results(
        [
            tidy((1 + shift + wobble * (1 + i))[None], {"budget": [5], "seed": range(3)},
                 method=method, measure=measure)
            for measure in ("to the data", "to the flow")
            for i, (method, shift) in enumerate(shifts.items())
        ]
    )  # fmt: skip


@pytest.mark.parametrize("shift, word", [(-0.5, "closer"), (0.5, "farther"), (0.001, "unclear")])
def test_gains_say_what_is_plain(shift, word):
    table = tables.gains(made_up(heun=shift, ours=-0.5))
    heun, ours = table["closer to the data by"]
    assert heun.endswith(word) and ours.endswith("closer")
    assert ours.startswith("0.5")


def test_figures_that_need_little(session):
    assert len(figures.posterior().axes) == 2
    assert len(figures.excess_error(session.run(one_denoiser.ExcessError)).axes) == 1
    assert len(figures.one_point().axes) == 2


def test_in_short_says_what_was_found(session):
    known = [session.run(e) for e in (one_denoiser.ExcessError, one_denoiser.Budgets)]
    points = session.run(one_denoiser.PointNetworks)

    def told(trained, excess=0.01):
        errors = [
            tidy([[value]], {"level": [0.1], "seed": [0]}, measure="error", denoiser=name)
            for name, value in (("trained", trained), ("memorised", 1.0))
        ]
        where = {"level": [0.1], "seed": [0]}
        added = tidy([[excess]], where, measure="excess error")
        bayes = tidy([1.0], {"level": [0.1]}, measure="Bayes error")
        return summary.box(Results([added, bayes]), known[1], Results(errors), points)

    box = told(0.5)
    assert box.works.startswith("Yes: ") and "1.0% above the least" in box.works
    assert "trained for 60 steps" in box.caveat and "at every level" in box.caveat
    assert "5 evaluations" in box.number and "With 21" in box.number
    assert told(0.5, excess=2.0).works.startswith("No: ")
    assert "the exact minimiser of the training set has smaller errors" in told(2.0).caveat


def test_every_network_that_is_tried_is_trained_and_the_best_drawn_from(session):
    results = session.run(one_denoiser.ImageTraining)
    tried = results.settings["tried"]
    distances = {n: results.value(measure="Frechet distance", network=n, length=0.1) for n in tried}
    assert all(np.isfinite(v) and v > 0 for v in distances.values())
    assert results.facts["best"] == min(distances, key=distances.get)
    assert results.tensor("samples").shape == (60, 1, 8, 8)


def test_the_network_of_a_record_draws_again_what_it_drew(session):
    record = one_denoiser.trained_record(session)
    network = drawn.kept_network(record)
    levels = noise.log_linear(record.settings["solver_steps"], 40.0, 0.02)
    z = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    again = samplers.heun(network, 40.0 * z, levels).clamp(-1, 1)
    before = record.tensor("samples").float() / 127.5 - 1
    assert (again - before).abs().mean() < 0.02  # weights are kept in half precision
    large = one_denoiser.large_digits(session)
    assert large.tensor("samples").shape == (2, 1, 8, 8)
    assert large.facts["network"] == record.facts["best"]


def test_without_a_record_nothing_is_drawn(monkeypatch, session):
    monkeypatch.setattr(drawn, "trained_record", lambda session: None)
    assert one_denoiser.large_digits(session) is None


def test_figures_of_the_record_show_every_network(session):
    record = one_denoiser.trained_record(session)
    axes = figures.training(record).axes[0]
    assert len(axes.get_lines()) == len(record.settings["tried"]) + 1  # and real images
    assert len(figures.large_digits(one_denoiser.large_digits(session)).axes) == 1
