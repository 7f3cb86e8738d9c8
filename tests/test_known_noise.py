"""Levels of noise that are known for each sample, and gamma as a function of sigma."""

import math

import pytest
import torch
from conftest import randn, seeded, three, tiny_mlp

from companion import data, denoisers, noise, training
from companion.objectives import (
    AmbientTweedie,
    Consistency,
    ContrastiveDiffusion,
    DenoisingScoreMatching,
    InputPerturbation,
    NoisyData,
    Relabelled,
    Sum,
    Sure,
    relabelled,
)

LAW = three()
N = 30_000
ADDED = noise.LogUniform(0.3, 2.0)


def mixed(n=N, dtype=torch.float64):
    """Data of three levels, one of them clean."""
    levels = torch.tensor([0.0, 0.3, 0.8], dtype=dtype)[torch.arange(n) % 3]
    return data.FrozenNoise(LAW.sample(n, seeded(), dtype=dtype), levels, seed=1), levels


def minimum(objective, samples, best, *others, seed=2):
    """Mean loss of the best denoiser, and by how much the same draws cost others more."""
    asked = lambda d: objective(d, samples, seeded(seed))  # noqa: E731
    ours = asked(best)
    more = [(asked(other) - ours) for other in others]
    return ours.mean(), [(m.mean() / m.std() * math.sqrt(len(m))).item() for m in more]


# --- frozen noise


def test_each_sample_has_its_own_noise():
    frozen, levels = mixed()
    clean = LAW.sample(N, seeded(), dtype=torch.float64)
    z = (frozen.noisy - clean)[levels > 0] / levels[levels > 0, None]
    assert torch.equal(frozen.noisy[levels == 0], clean[levels == 0])
    assert z.std().item() == pytest.approx(1, abs=0.01)
    one = data.FrozenNoise(clean, 0.8, seed=1).noisy  # the same draws, scaled
    assert torch.allclose(one[levels == 0.8], frozen.noisy[levels == 0.8])
    assert "sigma=0 to 0.8" in repr(frozen) and "sigma=0.3" in repr(data.FrozenNoise(clean, 0.3))


@pytest.mark.parametrize("levels", [torch.ones(3), -torch.ones(12), torch.ones(12, 1)])
def test_levels_that_do_not_fit(levels):
    with pytest.raises(ValueError, match="sigma: got"):
        data.FrozenNoise(randn(12, 2), levels)


# --- objectives


@pytest.mark.parametrize("kind", [AmbientTweedie, Sure])
def test_the_exact_denoiser_is_best_for_mixed_levels(kind):
    """Against it told another level, and shrunken: both cost more on the same draws."""
    frozen, levels = mixed()
    objective = kind(levels, ADDED, sigma_data=1.0)
    wrong = [Relabelled(LAW.denoiser, 1.2), Relabelled(LAW.denoiser, 0.8),
        lambda x, s: 0.9 * LAW.denoiser(x, s)]  # fmt: skip
    _, worse = minimum(objective, frozen.noisy, LAW.denoiser, *wrong)
    assert min(worse) > 4


@pytest.mark.parametrize("kind", [AmbientTweedie, Sure, Consistency])
def test_equal_levels_are_one_level(kind):
    y = randn(32, 2)
    options = {} if kind is Consistency else {"added": ADDED}
    one, each = kind(0.4, **options), kind(torch.full((32,), 0.4).double(), **options)
    loss = one(LAW.denoiser, y, seeded(3))
    assert torch.allclose(each(LAW.denoiser, y, seeded(3)), loss, rtol=1e-6)
    part = torch.tensor([5, 1, 5, 9])
    assert torch.allclose(
        each.pick(part)(LAW.denoiser, y[part], seeded(3)), one(LAW.denoiser, y[part], seeded(3))
    )
    assert one.pick(part) is one and one.known_samples is None and each.known_samples == 32


def test_consistency_brings_each_sample_to_its_points():
    """The exact denoiser is consistent up to the length of a step; a shrunken one is not."""
    frozen, levels = mixed(3000)
    objective = Consistency(levels, ratio=0.9, weight="data")
    assert objective.sigmas.range[0] == pytest.approx(0.3 / 20)
    assert objective.sigmas.range[1] == pytest.approx(0.8)
    x, s = objective.points(LAW.denoiser, frozen.noisy, seeded(1), steps=20)
    spread = LAW.means.T.cov(correction=0, aweights=LAW.weights).trace()
    spread = spread + 2 * (LAW.weights * LAW.stds**2).sum()
    for own in (0.0, 0.3, 0.8):  # variance of the points of each kind: that of x_s
        chosen = levels == own
        excess = x[chosen].var(0).sum() - 2 * s[chosen].square().mean()
        assert excess.item() == pytest.approx(spread.item(), abs=0.15)
    exact, worse = minimum(
        objective, frozen.noisy, LAW.denoiser, lambda x, s: LAW.denoiser(x, s) * (1 + s[:, None])
    )
    assert min(worse) > 4 and abs(exact) < 1e-3
    every = Consistency(levels, every=3)
    assert every(LAW.denoiser, frozen.noisy, seeded()).shape == (3000,)
    with pytest.raises(ValueError, match="got 0 for each sample"):
        Consistency(torch.zeros(4))


def test_fit_picks_the_levels_of_its_batches():
    """Trained on mixed levels the denoiser of the clean data comes out, also in stacks and sums."""
    frozen, levels = mixed(6000, torch.float32)
    goal = AmbientTweedie(levels, ADDED, sigma_data=1.0)
    consistent = Consistency(levels[:600], every=4)
    both = Sum((DenoisingScoreMatching(), consistent), (1.0, 0.1))
    assert Sum((ContrastiveDiffusion(samples=4), goal), (1.0, 1.0)).known_samples == 6000
    done = training.fit(tiny_mlp(width=32), goal, frozen, steps=250, batch_size=256, lr=1e-2)
    for s in (0.6, 1.5):
        x = LAW.noisy(s).sample(2000, seeded(5))
        error = (done.denoiser(x, s) - LAW.denoiser(x, s)).square().mean()
        plain = (x / (1 + s**2) - LAW.denoiser(x, s)).square().mean()  # what it starts from
        assert error < 0.3 * plain
    few = [frozen.noisy[:600], frozen.noisy[600:1200]]
    runs = {"steps": 3, "batch_size": 16}
    nets = [tiny_mlp(0, output=0.3), tiny_mlp(1, output=0.3)]
    other = Sum((DenoisingScoreMatching(), Consistency(levels[600:1200], every=4)), (1.0, 0.1))
    stack = training.fit(nets, [both, other], few, seed=3, **runs)
    for r, objective in enumerate((both, other)):
        alone = training.fit(nets[r], objective, few[r], seed=3 + r, **runs)
        assert torch.allclose(stack.losses[:, r], alone.losses, rtol=1e-3)
    shared = training.fit(nets, NoisyData(0.1, both), few[0], seed=3, **runs)
    assert shared.losses.isfinite().all()
    with pytest.raises(ValueError, match="objective: got one that knows 6000 samples, for 600"):
        training.fit(tiny_mlp(), goal, few[0], steps=1)


def test_levels_and_batches_that_do_not_fit():
    goal = AmbientTweedie(torch.ones(5))
    with pytest.raises(ValueError, match="sigma_data_noise: got 5 levels for a batch of 4"):
        goal(LAW.denoiser, randn(4, 2).float())
    with pytest.raises(TypeError, match="index: got"):
        goal.pick(torch.ones(2))
    with pytest.raises(ValueError, match="objectives that know 5 and 6 samples"):
        Sum((goal, AmbientTweedie(torch.ones(6))), (1.0, 1.0))
    for levels in (torch.ones(2, 2), -torch.ones(3), torch.tensor([0.1, math.nan])):
        with pytest.raises(ValueError, match="sigma_data_noise: got"):
            AmbientTweedie(levels)


# --- gamma as a function of sigma


def gamma(sigma):
    """Large at small levels."""
    return 0.6 / (1 + sigma)


@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_gamma_of_sigma_has_the_minimum_of_the_formula(target):
    clean = LAW.sample(N, seeded(), dtype=torch.float64)
    objective = InputPerturbation(gamma, target, ADDED, "epsilon", 1.0)
    best = relabelled(LAW.denoiser, gamma, target)
    assert torch.allclose(
        best(clean[:9], 0.5), relabelled(LAW.denoiser, 0.4, target)(clean[:9], 0.5)
    )
    wrong = [LAW.denoiser, *(relabelled(LAW.denoiser, g, target) for g in (0.15, 0.5))]
    _, worse = minimum(objective, clean, best, *wrong)
    assert min(worse) > 3
    constant = InputPerturbation(lambda s: torch.full_like(s, 0.3), target)
    assert torch.equal(
        constant(LAW.denoiser, clean[:9], seeded()),
        InputPerturbation(0.3, target)(LAW.denoiser, clean[:9], seeded()),
    )


def test_gammas_that_cannot_be():
    clean = randn(4, 2)
    for bad in (lambda s: -s, lambda s: s[:2], lambda s: "0.1"):
        with pytest.raises((TypeError, ValueError), match="gamma: got"):
            InputPerturbation(bad)(LAW.denoiser, clean, seeded())
    with pytest.raises(TypeError, match="gamma: got"):
        InputPerturbation(torch.ones(4))
    with pytest.raises(ValueError, match="inverse: got True"):
        relabelled(LAW.denoiser, gamma, inverse=True)
    shifted = denoisers.Counted(Relabelled(LAW.denoiser, shrink=lambda s: 1 + s))
    assert shifted(clean, torch.full((4,), 0.5)).shape == clean.shape
