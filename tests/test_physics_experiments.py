"""Chapter 6: what its experiments compute, on problems with known answers."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import seeded, tiny_mlp

from companion import data, denoisers, noise, objectives, oracles, samplers
from companion.experiments.physics.circle import (
    angular_distance,
    minimiser,
    on_circle,
    radius,
)
from companion.experiments.physics.lines import minimiser as line_minimiser
from companion.experiments.physics.methods import Corrected, gauss_newton, weights

CIRCLE = oracles.VonMises(2.0)


@pytest.mark.parametrize("c", [0.005, 0.1])
def test_radius_minimises_the_mean_form(c):
    """eq-ph-radius: against a search, and by the objective's own gradient on posterior draws."""
    sigma = torch.tensor([1.0], dtype=torch.float64)
    w, v = weights(sigma)
    x = torch.tensor([[0.7, 0.9]], dtype=torch.float64)
    best = CIRCLE.denoiser(x, sigma)
    length = best.norm(dim=1)
    found = radius(length, w, c / v)
    grid = torch.linspace(0, 1.2, 200_001, dtype=torch.float64)
    loss = w * (grid - length) ** 2 / 2 + c * (grid**2 - 1) ** 2 / (2 * v)
    assert float(found) == pytest.approx(float(grid[loss.argmin()]), abs=1e-5)
    b = 2.0 * torch.tensor([1.0, 0.0], dtype=torch.float64) + x[0] / sigma**2
    posterior = oracles.VonMises(float(b.norm()), b.tolist())
    draws = posterior.sample(200_000, seeded(1), dtype=torch.float64)
    answer = (best * found / length).requires_grad_()
    misfit = on_circle(answer).square() / (2 * v)
    loss = w * (answer - draws).square().mean(1) + c * misfit
    (slope,) = torch.autograd.grad(loss.mean(), answer)
    assert slope.norm() < 0.01 * float(w)
    assert torch.allclose(minimiser(CIRCLE, c)(x, sigma), answer.detach(), atol=1e-6)


def test_the_sample_form_is_nearly_unbiased():
    x = torch.tensor([[0.7, 0.9], [-0.2, 0.1]], dtype=torch.float64)
    best = CIRCLE.denoiser(x, 1.0)
    moved = minimiser(CIRCLE, 0.1, "sample")(x, torch.tensor(1.0, dtype=torch.float64))
    mean = minimiser(CIRCLE, 0.1)(x, torch.tensor(1.0, dtype=torch.float64))
    assert 0 < (moved - best).norm() < 0.1 * (mean - best).norm()


def test_the_line_is_biased_only_if_bilinear():
    for random, is_biased in (("source", False), ("permeability", True)):
        line = data.darcy.Line(8, random, terms=3)
        exact = oracles.Empirical(line.sample(100, seeded(2), dtype=torch.float64))
        x = noise.corrupt(exact.data[:5], 0.7, generator=seeded(3))
        sigma = torch.tensor(0.7, dtype=torch.float64)
        best, moved = exact.denoiser(x, sigma), line_minimiser(line, exact, 1e-2)(x, sigma)
        assert ((moved - best).abs().max() > 1e-4) == is_biased
        if is_biased:
            w, v = weights(sigma.view(1))

            def loss(d, line=line, best=best, w=w, v=v):
                fit = w * (d - best).square().flatten(1).mean(1)
                return (fit + 1e-2 * line.residual(d).square().mean(1) / (2 * v)).sum()

            at = moved.clone().requires_grad_()
            (slope,) = torch.autograd.grad(loss(at), at)
            start = best.clone().requires_grad_()
            (before,) = torch.autograd.grad(loss(start), start)
            assert slope.norm() < 0.02 * before.norm()


def test_step_solves_what_is_linear():
    """eq-ph-step: one step makes a linear residual 0, and it is the shortest that does."""
    line = data.darcy.Line(8)
    x = torch.randn(3, 2, 8, generator=seeded(4), dtype=torch.float64)
    moved = gauss_newton(line.residual, x)
    assert line.residual(moved).abs().max() < 1e-4
    assert (moved - x).norm() < (line.repair(x) - x).norm()


def test_correction_acts_below_its_level_only():
    asked = denoisers.Counted(lambda x, sigma: 0.5 * x)
    corrected = Corrected(asked, CIRCLE.project, 0.3)
    x = torch.ones(2, 2)
    assert torch.equal(corrected(x, 1.0), 0.5 * x)
    assert torch.allclose(corrected(x, 0.2).norm(dim=1), torch.ones(2))


def test_angular_distance_of_a_turn():
    x = CIRCLE.sample(4000, seeded(5))
    turn = torch.tensor([[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]])
    narrow = torch.stack([torch.linspace(-1, 1, 500).cos(), torch.linspace(-1, 1, 500).sin()], 1)
    assert float(angular_distance(narrow @ turn.T, narrow)) == pytest.approx(0.1, abs=0.01)
    assert float(angular_distance(x[:2000], x[2000:])) < 0.1


def test_sampling_costs_the_same():
    """A network that was trained with a residual is asked as often as a plain one."""
    sigmas = noise.log_linear(7, 5.0, 0.1)
    counts = set()
    for form, c in (("mean", 0.0), ("mean", 0.1), ("sample", 0.1)):
        network = tiny_mlp()
        objective = objectives.PhysicsInformed(on_circle, c, form)
        objective(network, CIRCLE.sample(4, seeded(6)), seeded(7)).mean().backward()
        counted = denoisers.Counted(network)
        samplers.ddpm(counted, torch.ones(2, 2), sigmas, generator=seeded(8))
        counts.add(counted.calls)
    assert counts == {7}
