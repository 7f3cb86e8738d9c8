"""Chapter 6: its equations against exact answers, and the module's parts that they stand for."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from conftest import seeded

from companion import data, noise, objectives, oracles
from companion.oracles import bessel_ratio

CIRCLE = oracles.VonMises(2.0, (1.0, 1.0))
ANGLES = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[:-1]
POINTS = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
X = torch.tensor([[0.9, -0.3], [0.0, 0.0], [-2.0, 1.5]], dtype=torch.float64)


def on_circle(x):
    return x.square().sum(1) - 1


# --- the circle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_von_mises_against_quadrature(sigma):
    """eq-ph-von-mises: density, denoiser and score by integration over the circle."""
    prior = CIRCLE.log_prob(POINTS).exp()
    assert float(prior.mean()) * 2 * math.pi == pytest.approx(1, abs=1e-10)
    logits = -(X[:, None] - POINTS).square().sum(2) / (2 * sigma**2)
    weight = prior * logits.exp()
    mass = weight.mean(1) * 2 * math.pi / (2 * math.pi * sigma**2)
    assert torch.allclose(CIRCLE.log_prob(X, sigma), mass.log(), atol=1e-9)
    mean = (prior * (logits - logits.amax(1, keepdim=True)).exp()) @ POINTS
    mean = mean / (prior * (logits - logits.amax(1, keepdim=True)).exp()).sum(1, keepdim=True)
    assert torch.allclose(CIRCLE.denoiser(X, sigma), mean, atol=1e-9)
    x = X.clone().requires_grad_()
    (score,) = torch.autograd.grad(CIRCLE.log_prob(x, sigma).sum(), x)
    assert torch.allclose(CIRCLE.score(X, sigma), score, atol=1e-7)


def test_von_mises_samples():
    x = CIRCLE.sample(40_000, seeded(0), dtype=torch.float64)
    assert torch.allclose(x.norm(dim=1), torch.ones(len(x), dtype=torch.float64))
    mean = CIRCLE.mean_length * torch.tensor([0.5, 0.5], dtype=torch.float64).sqrt()
    assert torch.allclose(x.mean(0), mean, atol=4 * 0.7 / 200)
    assert CIRCLE.mean_length == pytest.approx(0.697775, abs=1e-6)
    assert oracles.VonMises(0).denoiser(X, 0.5)[1].abs().max() == 0
    assert torch.equal(CIRCLE.project(X[:1]), X[:1] / X[:1].norm())


def test_bad_circles():
    for kappa, direction in ((-1, (1, 0)), (1, (0, 0)), (1, (1, 2, 3))):
        with pytest.raises(ValueError, match="allowed"):
            oracles.VonMises(kappa, direction)
    with pytest.raises(ValueError, match="sigma"):
        CIRCLE.denoiser(X, 0.0)


# --- the objective -------------------------------------------------------------------------------


def test_variance_is_that_of_ddpm():
    """eq-ph-variance: beta_t (1 - a_{t-1}) / (1 - a_t) in the code's variables."""
    levels = noise.log_linear(5, 5.0, 0.1, final_zero=False).double()
    signal = 1 / (1 + levels**2)
    beta = 1 - signal[:-1] / signal[1:]
    expected = beta * (1 - signal[1:]) / (1 - signal[:-1])
    variance = objectives.PosteriorVariance(levels)
    assert torch.allclose(variance(levels[:-1]), expected)
    assert variance(levels[-1:]) == variance(levels[-2:-1])
    assert torch.allclose(variance(levels[:-1] * 1.01), expected)


def test_levels_of_the_official_code():
    levels = objectives.physics_levels(100).double()
    signal = 1 / (1 + levels**2)
    assert len(levels) == 100 and (levels.diff() < 0).all()
    assert float(signal[50] / signal[-1]) == pytest.approx(
        math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
        / math.cos((0.01 + 0.008) / 1.008 * math.pi / 2) ** 2, abs=0.02
    )  # fmt: skip


def test_loss_is_denoising_plus_residual():
    """eq-ph-loss: both forms by hand, at one level."""
    level, lowest = 0.8, 0.1
    sigmas = noise.Discrete((level,))
    make = partial(objectives.PhysicsInformed, on_circle, 0.3, sigmas=sigmas)
    batch = CIRCLE.sample(6, seeded(1), dtype=torch.float64)
    denoiser = lambda x, sigma: 0.5 * x  # noqa: E731
    generator = seeded(2)
    sigma = sigmas.sample(6, generator=generator)
    x = noise.corrupt(batch, sigma.double(), generator=generator)
    v = objectives.PosteriorVariance(objectives.physics_levels())(sigma.double())
    plain = min(1 / level**2, 5) * (x / 2 - batch).square().mean(1)
    by_hand = plain + 0.3 * on_circle(x / 2).square() / (2 * v)
    assert torch.allclose(make()(denoiser, batch, seeded(2)), by_hand)
    clamped = make(clamp=0.5)(denoiser, batch, seeded(2))
    assert torch.allclose(clamped, torch.minimum(by_hand, plain + 0.3 * 0.5))
    two = make(form="sample", sigmas=noise.Discrete((level, lowest)))
    assert two.evaluations == 2 and make().evaluations == 1
    asked = []

    def counting(x, sigma):
        asked.append(sigma)
        return 0.5 * x

    generator = seeded(2)
    sigma = two.sigmas.sample(6, generator=generator).double()
    x = noise.corrupt(batch, sigma, generator=generator)
    stepped = x / 2 + (lowest / sigma)[:, None] * x / 2
    v = objectives.PosteriorVariance(objectives.physics_levels())(sigma)
    by_hand = (1 / sigma**2).clamp_max(5) * (x / 2 - batch).square().mean(1)
    by_hand = by_hand + 0.3 * on_circle(stepped / 2).square() / (2 * v)
    assert torch.allclose(two(counting, batch, seeded(2)), by_hand, rtol=1e-6)
    assert len(asked) == 2 and torch.allclose(asked[1].double(), torch.tensor(lowest).double())


@pytest.mark.parametrize("form", ["mean", "sample"])
def test_gradients_reach_the_network(form):
    objective = objectives.PhysicsInformed(on_circle, 0.1, form)
    scale = torch.tensor(0.9, requires_grad=True)
    loss = objective(lambda x, sigma: scale * x, CIRCLE.sample(64, seeded(3)), seeded(4))
    loss.mean().backward()
    assert loss.shape == (64,) and scale.grad.isfinite() and scale.grad != 0


def test_bad_physics():
    with pytest.raises(ValueError, match="form"):
        objectives.PhysicsInformed(on_circle, form="median")
    with pytest.raises(ValueError, match="weight"):
        objectives.PhysicsInformed(on_circle, -1)
    with pytest.raises(ValueError, match="residual"):
        objectives.PhysicsInformed(lambda x: x.sum())(lambda x, s: x, X, seeded(0))
    with pytest.raises(ValueError, match="sigmas"):
        objectives.PosteriorVariance((0.1, 1.0))


# --- Jensen's gap --------------------------------------------------------------------------------


def test_no_gap_where_the_residual_is_linear():
    """eq-ph-jensen: R of the posterior mean is the mean of R, if and only if R is linear."""
    fields = {r: data.darcy.Line(8, r, terms=3) for r in ("source", "permeability")}
    largest = {}
    for name, line in fields.items():
        x = line.sample(200, seeded(5), dtype=torch.float64)
        exact = oracles.Empirical(x)
        denoised = exact.denoiser(noise.corrupt(x[:20], 0.7, generator=seeded(6)), 0.7)
        largest[name] = float(line.residual(denoised).abs().max())
    assert largest["source"] < 1e-10 and largest["permeability"] > 0.01


# --- Darcy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("random", ["source", "permeability"])
def test_lines_solve_the_equation(random):
    """eq-ph-line: the residual of the data is at rounding; that of anything else is not."""
    line = data.darcy.Line(random=random)
    x = line.sample(20, seeded(7), dtype=torch.float64)
    assert line.residual(x).abs().max() < 1e-9
    assert torch.equal(x, line.sample(20, seeded(7), dtype=torch.float64))
    wrong = x + 0.1 * torch.randn(x.shape, generator=seeded(8), dtype=x.dtype)
    assert line.residual(wrong).abs().max() > 1
    assert line.residual(line.repair(wrong)).abs().max() < 1e-9
    assert torch.allclose(line.scaled(line.physical(x)), x)


def test_line_converges_to_the_solution():
    """K = 1, f = 1: p = x (1 - x) / 2."""
    line = data.darcy.Line(64)
    x = (torch.arange(64, dtype=torch.float64)[None] + 0.5) / 64
    p = line.solve(torch.ones_like(x), torch.ones_like(x))
    assert torch.allclose(p, x * (1 - x) / 2, atol=1e-4)


def test_squares_solve_the_equation():
    square = data.darcy.Square(8, 4)
    x = square.sample(3, seeded(9), dtype=torch.float64)
    assert square.residual(x).abs().max() < 1e-9
    fields = square.physical(x)
    assert fields[:, 0].mean((1, 2)).abs().max() < 1e-12
    z, outside = square.coefficients(fields[:, 1])
    assert torch.allclose(square.log_permeability(z), fields[:, 1]) and outside.max() < 1e-12
    assert square.residual(x, faces="harmonic").abs().max() > 0
    x[:, 0] = 0
    assert square.residual(square.repair(x)).abs().max() < 1e-9


def test_bad_fields():
    with pytest.raises(ValueError, match="random"):
        data.darcy.Line(random="nothing")
    with pytest.raises(ValueError, match="x: got shape"):
        data.darcy.Line().residual(torch.zeros(3, 2, 31))
    with pytest.raises(ValueError, match="cells"):
        data.darcy.Square(4)


def test_bessel_ratio_is_the_mean_length():
    kappa = torch.tensor([0.1, 2.0, 50.0], dtype=torch.float64)
    expected = torch.special.i1e(kappa) / torch.special.i0e(kappa)
    assert torch.allclose(bessel_ratio(kappa, 1), expected)
