"""The objectives for noisy data: their options, their errors, and that they train in stacks."""

from __future__ import annotations

import math

import pytest
import torch

from companion import denoisers, networks, noise, samplers, training
from companion.denoisers import Counted
from companion.objectives import (
    AmbientTweedie,
    Consistency,
    DenoisingScoreMatching,
    Sum,
    Sure,
    reverse_steps,
)
from companion.oracles import GaussianMixture

S_N = 0.4
LAW = GaussianMixture([[-1.0, 0.0], [0.8, 0.6], [0.5, -0.9]], [0.2, 0.3, 0.25], [1, 2, 1])
ADDED = noise.LogUniform(0.1, 3.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy_data(n, seed=0, dtype=torch.float64):
    return noise.corrupt(LAW.sample(n, seeded(seed), dtype=dtype), S_N, generator=seeded(seed + 1))


def network(seed=0, shape=2):
    net = networks.seeded(lambda: networks.MLP(shape, width=16, depth=1), seed)
    with torch.no_grad():
        net.output.weight.normal_(0, 0.1, generator=seeded(seed))
    return denoisers.Preconditioned(net, 1.0)


OBJECTIVES = [
    AmbientTweedie(S_N, ADDED, sigma_data=1.0),
    AmbientTweedie(S_N, ADDED, "epsilon"),
    AmbientTweedie(S_N, weight="data"),
    Sure(S_N, ADDED, sigma_data=1.0),
    Consistency(S_N, sigma_data=1.0),
    Consistency(S_N, noise.LogUniform(S_N, 2.0), antithetic=False),
    Sum((AmbientTweedie(S_N, ADDED), Consistency(S_N, every=4)), (1.0, 0.3)),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: repr(o)[:60])
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_one_finite_loss_a_sample_and_finite_gradients(objective, shape):
    for dtype in (torch.float32, torch.float64):
        net = network(shape=shape).to(dtype)
        batch = torch.randn(8, *shape, generator=seeded(), dtype=dtype)
        loss = objective(net, batch, seeded(1))
        assert loss.shape == (8,) and loss.dtype == dtype and loss.isfinite().all()
        assert torch.equal(loss, objective(net, batch, seeded(1)))  # all draws from the generator
        loss.mean().backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert gradients and all(g.isfinite().all() for g in gradients)
        assert sum(g.abs().sum() for g in gradients) > 0


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: repr(o)[:60])
def test_a_run_in_a_stack_is_the_run_alone(objective):
    sets = [noisy_data(50, seed, torch.float32) for seed in (0, 5)]
    settings = {"steps": 6, "batch_size": 16, "lr": 1e-3}
    stack = training.fit([network(0), network(1)], objective, sets, seed=3, **settings)
    for r, data in enumerate(sets):
        alone = training.fit(network(r), objective, data, seed=3 + r, **settings)
        assert torch.allclose(stack.losses[:, r], alone.losses, rtol=1e-3, atol=1e-5)


def test_without_noise_in_the_data_ambient_is_denoising_score_matching():
    batch = LAW.sample(64, seeded(), dtype=torch.float64)
    for weight in ("edm", "epsilon", "data"):
        ours = AmbientTweedie(0.0, ADDED, weight, 0.7)(LAW.denoiser, batch, seeded(1))
        peer = DenoisingScoreMatching(ADDED, weight, 0.7)(LAW.denoiser, batch, seeded(1))
        assert torch.allclose(ours, peer, rtol=1e-9)


def test_the_default_weight_starts_at_one_at_every_level():
    law = GaussianMixture([[0.0] * 8], 0.7)  # c_skip x is the exact denoiser of this Gaussian
    y = law.noisy(S_N).sample(40_000, seeded(), dtype=torch.float64)
    for t in (0.01, 0.1, 1.0, 10.0):
        objective = AmbientTweedie(S_N, noise.Discrete((t,)), sigma_data=0.7)
        loss = objective(law.denoiser, y, seeded(1)).mean().item()
        assert loss == pytest.approx(1, rel=0.02)


def test_reverse_steps_are_those_of_the_sampler():
    """Checks eq-tw-step against samplers.ddpm, which takes one level for all rows."""
    x = LAW.noisy(0.8).sample(10, seeded(), dtype=torch.float64)
    sigma, below = (torch.full((10,), s, dtype=torch.float64) for s in (0.8, 0.1))
    for steps in (1, 3):
        levels = noise.log_linear(steps, 0.8, 0.1, final_zero=False)
        peer = samplers.ddpm(LAW.denoiser, x, levels.double(), generator=seeded(1))
        ours = reverse_steps(LAW.denoiser, x, sigma, below, steps=steps, generator=seeded(1))
        assert torch.allclose(ours, peer, atol=1e-6)
        counted = Counted(LAW.denoiser)
        known = LAW.denoiser(x, sigma)
        again = reverse_steps(
            counted, x, sigma, below, steps=steps, generator=seeded(1), denoised=known
        )
        assert torch.equal(again, ours) and counted.calls == steps - 1
    still = reverse_steps(LAW.denoiser, x, sigma, sigma, steps=2, generator=seeded(1))
    assert torch.equal(still, x)


def test_rows_have_levels_of_their_own():
    x = noisy_data(6)
    sigma = torch.tensor([0.4, 0.4, 0.8, 0.8, 2.0, 2.0], dtype=torch.float64)
    below = torch.tensor([0.1, 0.4, 0.2, 0.7, 0.4, 1.9], dtype=torch.float64)
    z = torch.randn(6, 2, generator=seeded(2), dtype=torch.float64)
    together = reverse_steps(LAW.denoiser, x, sigma, below, z=z)
    for i in range(6):
        levels = torch.stack([sigma[i], below[i]])
        mean, std = samplers.sequential.ddpm_step(
            x[i : i + 1], LAW.denoiser(x[i : i + 1], sigma[i]), *levels.tolist()
        )
        assert torch.allclose(together[i], mean[0] + std * z[i])


@pytest.mark.parametrize(
    "objective, calls",
    [
        (Consistency(S_N), 6),
        (Consistency(S_N, antithetic=False), 4),
        (Consistency(S_N, sigmas=noise.LogUniform(S_N, 2.0)), 5),
    ],
)
def test_consistency_counts_its_evaluations(objective, calls):
    counted = Counted(LAW.denoiser)
    objective(counted, noisy_data(7), seeded())
    assert counted.calls == calls == objective.evaluations
    assert counted.evaluations == 7 * calls


def test_every_so_many_samples_stand_for_all():
    batch, objective = noisy_data(12), Consistency(S_N, every=3)
    counted = Counted(LAW.denoiser)
    loss = objective(counted, batch, seeded())
    assert counted.evaluations == 4 * objective.evaluations
    assert torch.equal(
        loss, Consistency(S_N)(LAW.denoiser, batch[::3], seeded()).repeat_interleave(3)
    )
    with pytest.raises(ValueError, match="batch: got 12 samples for 2 runs; allowed are multiples"):
        Consistency(S_N, every=4)(LAW.denoiser, batch, [seeded(), seeded(1)])


def test_points_of_consistency_are_distributed_as_their_level_says():
    y = noisy_data(40_000)
    for law in (noise.Discrete((1.5,)), noise.Discrete((S_N,)), noise.Discrete((0.35,))):
        x, s = Consistency(S_N, sigmas=law).points(LAW.denoiser, y, seeded(3))
        assert torch.equal(s, torch.full_like(s, law.sigmas[0]))
        exact = LAW.noisy(law.sigmas[0]).sample(40_000, seeded(4), dtype=torch.float64)
        assert torch.allclose(x.T.cov(), exact.T.cov(), atol=0.03)
        assert torch.allclose(x.mean(0), exact.mean(0), atol=0.03)


def test_a_sum_is_the_sum():
    parts = (AmbientTweedie(S_N), Sure(S_N))
    batch = noisy_data(16)
    g = seeded(4)
    first, second = (p(LAW.denoiser, batch, g) for p in parts)
    both = Sum(parts, (1, 0.25))(LAW.denoiser, batch, seeded(4))
    assert torch.allclose(both, first + 0.25 * second)
    assert Sum(parts, (1, 0.25)) == Sum(list(parts), [1.0, 0.25])  # equal neighbours share a call


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: AmbientTweedie(-0.1), "sigma_data_noise: got -0.1"),
        (lambda: AmbientTweedie(math.nan), "sigma_data_noise: got nan"),
        (lambda: Sure(0.0), "sigma_data_noise: got 0.0; allowed is a finite number above 0"),
        (lambda: Consistency(0.0), "sigma_data_noise: got 0.0"),
        (lambda: AmbientTweedie(0.1, weight="snr"), "weight: got 'snr'"),
        (lambda: AmbientTweedie(0.1, sigma_data=0), "sigma_data: got 0"),
        (lambda: Sure(0.1, step=0), "step: got 0"),
        (lambda: Consistency(0.1, ratio=1.0), "ratio: got 1.0"),
        (lambda: Consistency(0.1, every=0), "every: got 0"),
        (lambda: Sum((AmbientTweedie(0.1),), (1.0, 2.0)), "weights: got 2 for 1 objectives"),
        (lambda: Sum((AmbientTweedie(0.1),), (math.inf,)), "weights: got"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(ValueError, match="z: allowed for one step only"):
        s = torch.ones(3)
        reverse_steps(LAW.denoiser, torch.zeros(3, 2), s, s / 2, steps=2, z=torch.zeros(3, 2))
    x = torch.zeros(3, 2)
    for below, message in (
        (0 * s, "below: got 0; allowed are finite numbers above 0"),
        (2 * s, "below: got 2 where sigma is 1; allowed is sigma at most"),
        (s[:1], r"below: got shape \(1,\) for 3 samples"),
    ):
        with pytest.raises(ValueError, match=message):
            reverse_steps(LAW.denoiser, x, s, below)
