import math

import pytest
import torch
from conftest import seeded
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from companion import noise

SCHEDULES = [noise.log_linear, noise.karras, noise.cosine, noise.ddpm]


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(steps=st.integers(1, 300), final_zero=st.booleans())
def test_schedules_decrease_from_sigma_max(schedule, steps, final_zero):
    sigmas = schedule(steps, 40.0, 0.02, final_zero)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[0] == 40
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == (0 if final_zero else torch.tensor(0.02))
    assert noise.check_sigmas(sigmas) == sigmas.tolist()


def test_karras_matches_its_formula():
    n, high, low, rho = 18, 80.0, 0.002, 7.0
    expected = [
        (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        for i in range(n)
    ]
    torch.testing.assert_close(noise.karras(n, high, low), torch.tensor([*expected, 0.0]))


def test_ddpm_levels_are_those_of_diffusers():
    """Theirs are formed in float32, which costs them four digits at the smallest level."""
    alphas_cumprod = DDPMScheduler().alphas_cumprod
    expected = noise.sigmas_from_alphas_cumprod(alphas_cumprod.double()).flip(0).float()
    given = noise.ddpm(1000, alphas_cumprod=alphas_cumprod)
    torch.testing.assert_close(given[:-1], expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(noise.ddpm(1000)[:-1], expected, rtol=2e-4, atol=0)
    third = noise.ddpm(333, final_zero=False)
    torch.testing.assert_close(third, noise.ddpm(1000)[:-1][::3], rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"sigma_max.*ends at 157"):
        noise.ddpm(10, sigma_max=200)
    with pytest.raises(ValueError, match=r"sigma_min.*starts at 0\.01"):
        noise.ddpm(10, sigma_min=0.001)


def test_cosine_is_nichol_and_dhariwal():
    """Their signal power is cos^2 of an angle at equal steps: so is ours."""
    sigmas = noise.cosine(50, 20.0, 0.01, final_zero=False).double()
    signal = 1 / (1 + sigmas**2)
    angles = signal.sqrt().acos()
    torch.testing.assert_close(angles.diff(), angles.diff()[:1].expand(50), rtol=1e-4, atol=0)
    train = noise.sigmas_from_alphas_cumprod(
        DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    )
    steps = torch.atan(train[100:900]).diff()
    torch.testing.assert_close(steps, steps.mean().expand_as(steps), rtol=2e-2, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [0, -3, 1.5, True])
def test_steps_below_one(schedule, steps):
    with pytest.raises((TypeError, ValueError), match=r"steps: got .*at least 1"):
        schedule(steps)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("high, low", [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0), (math.inf, 0.1)])
def test_sigma_min_not_below_sigma_max(schedule, high, low):
    with pytest.raises(ValueError, match="sigma_m"):
        schedule(5, high, low)


@pytest.mark.parametrize(
    "sigmas, message",
    [
        ([1.0], "two or more"),
        ([], "two or more"),
        ([1.0, 1.0, 0.0], "entries 0 and 1 are 1 and 1"),
        ([1.0, 2.0], "strictly decreasing"),
        ([math.inf, 1.0], "finite"),
        ([math.nan, 1.0], "finite"),
        ([1.0, -0.5], "0 or more"),
        ([[1.0, 0.5]], "one dimension"),
    ],
)
def test_bad_schedules(sigmas, message):
    with pytest.raises(ValueError, match=message):
        noise.check_sigmas(torch.tensor(sigmas))


@given(st.floats(1e-4, 1e4))
def test_log_snr_round_trip(sigma):
    """eq-log-snr."""
    assert noise.sigma_from_log_snr(noise.log_snr(sigma)) == pytest.approx(sigma, rel=1e-9)
    tensor = torch.tensor(sigma, dtype=torch.float64)
    back = noise.sigma_from_log_snr(noise.log_snr(tensor))
    torch.testing.assert_close(back, tensor)


def test_variance_preserving():
    """eq-vp: of unit variance for data of unit variance, and undone exactly."""
    g = seeded()
    x = noise.randn((20000, 3), generator=g)
    sigma = torch.linspace(0.01, 50, 20000)
    noisy = noise.corrupt(x, sigma, generator=g)
    z = noise.to_variance_preserving(noisy, sigma)
    assert z.var(0).sub(1).abs().max() < 0.05
    torch.testing.assert_close(noise.from_variance_preserving(z, sigma), noisy)
    alphas_cumprod = 1 / (1 + sigma**2)
    torch.testing.assert_close(
        noise.sigmas_from_alphas_cumprod(alphas_cumprod), sigma, rtol=1e-3, atol=1e-4
    )


def test_corrupt_adds_noise_of_the_level_per_sample():
    """eq-corruption."""
    x = torch.zeros(3, 50000)
    noisy = noise.corrupt(x, torch.tensor([0.1, 1.0, 10.0]), generator=seeded(1))
    torch.testing.assert_close(noisy.std(1), torch.tensor([0.1, 1.0, 10.0]), rtol=0.02, atol=0)
    eps = torch.ones(3, 4)
    torch.testing.assert_close(noise.corrupt(torch.zeros(3, 4), 2.0, eps=eps), 2 * eps)
    with pytest.raises(ValueError, match=r"eps: got shape \(2, 4\)"):
        noise.corrupt(torch.zeros(3, 4), 2.0, eps=torch.ones(2, 4))


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3)])
def test_sigma_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"sigma: got shape .*\(3,\)"):
        noise.expand(torch.ones(shape), torch.zeros(3, 5))


def test_several_generators_draw_as_each_alone():
    def three():
        return [seeded(s) for s in range(3)]

    for draw in (
        lambda g, n: noise.randn((n, 4), generator=g),
        lambda g, n: noise.rand((n,), generator=g),
        lambda g, n: noise.randint(100, (n,), generator=g),
        lambda g, n: noise.LogNormal().sample(n, generator=g),
        lambda g, n: noise.Discrete((0.1, 1.0, 2.0)).sample(n, generator=g),
    ):
        together = draw(three(), 15)
        alone = torch.cat([draw(g, 5) for g in three()])
        assert torch.equal(together, alone)
    with pytest.raises(ValueError, match="3 generators"):
        noise.randn((10, 2), generator=three())


@pytest.mark.parametrize(
    "distribution",
    [noise.LogNormal(-1, 0.7), noise.LogUniform(0.01, 5), noise.Discrete((0.1, 0.5, 3.0))],
)
def test_distributions_stay_in_their_range_and_follow_the_generator(distribution):
    draw = distribution.sample(20000, generator=seeded(3))
    low, high = distribution.range
    inside = ((draw >= low * 0.999) & (draw <= high * 1.001)).float().mean()
    assert inside > 0.998
    again = distribution.sample(20000, generator=seeded(3))
    assert torch.equal(draw, again)


def test_log_normal_moments():
    draw = noise.LogNormal(-1.2, 1.2).sample(200000, generator=seeded())
    assert draw.log().mean().item() == pytest.approx(-1.2, abs=0.01)
    assert draw.log().std().item() == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(
    "make",
    [lambda: noise.LogNormal(0, 0), lambda: noise.LogUniform(2, 1), lambda: noise.Discrete(())],
)
def test_bad_distributions(make):
    with pytest.raises(ValueError, match="allowed"):
        make()


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    g = seeded(1)
    noise.randn((3,), generator=g)
    noise.corrupt(torch.zeros(2, 2), 1.0, generator=g)
    noise.LogNormal().sample(4, generator=g)
    assert torch.equal(before, torch.get_rng_state())


def test_a_training_schedule_of_ones_own():
    alphas = noise.ddpm_alphas_cumprod()
    zero = alphas.clone()
    zero[-1] = 0  # zero terminal SNR
    sigmas = noise.ddpm(10, alphas_cumprod=zero)
    assert sigmas[0].item() == pytest.approx(math.sqrt(1 / alphas[-2] - 1))
    assert torch.equal(noise.ddpm(10, alphas_cumprod=alphas.numpy()), noise.ddpm(10))
    for wrong in (alphas.flip(0), torch.tensor([0.9, 0.2, 0.8, 0.1]), alphas[:1], 1 + alphas):
        with pytest.raises(ValueError, match="alphas_cumprod: got"):
            noise.ddpm(5, alphas_cumprod=wrong)
    with pytest.raises(ValueError, match=r"alphas_cumprod: got 0\.5 to 1\.5; allowed are numbers"):
        noise.sigmas_from_alphas_cumprod(torch.tensor([1.5, 0.5]))
