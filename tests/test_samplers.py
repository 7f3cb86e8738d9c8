"""Samplers against other people's implementations, exact flows, and each other."""

import copy
import math
import warnings
from itertools import pairwise

import diffusers
import pytest
import smalldiffusion
import torch
from conftest import seeded, three, tiny_mlp

from companion import denoisers, networks, noise, oracles, samplers, training

ALL = [
    samplers.ddim,
    samplers.ddpm,
    samplers.heun,
    samplers.gradient_estimation,
    samplers.picard,
]


@pytest.fixture(scope="module")
def network():
    """A small network with random weights: its values mean nothing, its samples can be compared."""
    return tiny_mlp(width=32, depth=3, sigma_data=0.7, output=0.2).double()


def start(n=64, sigma=40.0, seed=0, dtype=torch.float64):
    return sigma * noise.randn((n, 2), generator=seeded(seed), dtype=dtype)


class OursForTheirs(torch.nn.Module, smalldiffusion.ModelMixin):
    """Our denoiser as a smalldiffusion model."""

    def __init__(self, denoiser, noises):
        super().__init__()
        self.denoiser, self.noises, self.input_dims = denoiser, iter(noises), (2,)

    def forward(self, x, sigma, cond=None):
        return denoisers.epsilon(self.denoiser, x, sigma)

    def rand_input(self, batchsize):
        return next(self.noises)


@pytest.mark.parametrize("gamma, mu", [(1.0, 0.0), (2.0, 0.0), (1.6, 0.0), (1.0, 0.5)])
def test_against_smalldiffusion(network, gamma, mu):
    """eq-ddim, eq-gradient-estimation and eq-ddpm: same network, same noise, every state."""
    x, sigmas = start(), noise.log_linear(12, 40.0, 0.02, final_zero=False).double()
    noises = [noise.randn_like(x, seeded(i)) for i in range(12)]
    model = OursForTheirs(network, noises)
    theirs = list(smalldiffusion.samples(model, sigmas, gam=gamma, mu=mu, xt=x, batchsize=64))
    if mu == 0:
        ours = samplers.trajectory(samplers.gradient_estimation, network, x, sigmas, gamma=gamma)
        if gamma == 1:
            torch.testing.assert_close(samplers.ddim(network, x, sigmas), ours[-1])
    else:
        states = [x]
        for (a, b), z in zip(pairwise(sigmas.tolist()), noises):
            mean, std = samplers.sequential.ddpm_step(states[-1], network(states[-1], a), a, b)
            states.append(mean + std * z)
        ours = torch.stack(states)
    torch.testing.assert_close(ours[1:], torch.stack(theirs), rtol=1e-9, atol=1e-9)


def vp_schedule(scheduler, steps):
    """Timesteps and our sigmas of a Hugging Face scheduler."""
    scheduler.set_timesteps(steps)
    signal = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    sigmas = noise.sigmas_from_alphas_cumprod(signal)
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])


def run_diffusers(scheduler, denoiser, x, sigmas, **kw):
    z = noise.to_variance_preserving(x, sigmas[0].item())
    for t, sigma in zip(scheduler.timesteps, sigmas.tolist()):
        eps = denoisers.epsilon(denoiser, noise.from_variance_preserving(z, sigma), sigma)
        z = scheduler.step(eps, t, z, **kw).prev_sample
    return z


SPACED = {"timestep_spacing": "trailing", "clip_sample": False}


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_ddim_against_diffusers(network, steps):
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=True, **SPACED)
    sigmas = vp_schedule(scheduler, steps)
    x = start(sigma=sigmas[0].item())
    theirs = run_diffusers(scheduler, network, x, sigmas)
    # diffusers keeps its schedule in float32.
    torch.testing.assert_close(samplers.ddim(network, x, sigmas), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_ddpm_against_diffusers(network, steps):
    scheduler = diffusers.DDPMScheduler(variance_type="fixed_small", **SPACED)
    sigmas = vp_schedule(scheduler, steps)
    x = start(sigma=sigmas[0].item())
    g, h = seeded(5), seeded(5)
    theirs = run_diffusers(scheduler, network, x, sigmas, generator=g)
    ours = samplers.ddpm(network, x, sigmas, generator=h)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_heun_against_diffusers(network):
    """eq-heun, against the scheduler of k-diffusion's making."""
    scheduler = diffusers.HeunDiscreteScheduler(use_karras_sigmas=True, timestep_spacing="linspace")
    scheduler.set_timesteps(10)
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]]).double()
    x = start(sigma=sigmas[0].item())
    z = x
    for t in scheduler.timesteps:
        sigma = scheduler.sigmas[
            scheduler.index_for_timestep(t)
            if scheduler.step_index is None
            else scheduler.step_index
        ]
        z = scheduler.step(denoisers.epsilon(network, z, sigma.item()), t, z).prev_sample
    torch.testing.assert_close(samplers.heun(network, x, sigmas), z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "sampler, order",
    [(samplers.ddim, 1), (samplers.heun, 2), (samplers.gradient_estimation, 1)],
)
def test_ode_samplers_reach_the_exact_flow(sampler, order):
    """eq-probability-flow: for one Gaussian the flow is x sqrt((v + s'^2) / (v + s^2))."""
    std, high, low = 0.5, 10.0, 0.1
    gm = oracles.GaussianMixture([[0.0, 0.0]], std)
    x = start(sigma=high)
    exact = x * ((std**2 + low**2) / (std**2 + high**2)) ** 0.5
    errors = []
    for steps in (40, 80, 160):
        sigmas = noise.log_linear(steps, high, low, final_zero=False).double()
        errors.append((sampler(gm.denoiser, x, sigmas) - exact).norm().item())
    rates = [a / b for a, b in pairwise(errors)]
    assert all(r == pytest.approx(2**order, rel=0.12) for r in rates), errors


def test_ddpm_draws_from_the_data():
    """eq-ddpm: with an exact denoiser and many steps, means, widths and shares are right."""
    gm = oracles.GaussianMixture([[2.0, 0.0], [-2.0, 1.0]], [0.3, 0.6], [0.3, 0.7])
    g = seeded()
    x = samplers.ddpm(gm.denoiser, start(8000), noise.karras(100, 40.0, 0.01), generator=g)
    left = x[:, 0] < 0
    assert left.float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert x[left].std(0).tolist() == pytest.approx([0.6, 0.6], abs=0.025)
    assert x[~left].std(0).tolist() == pytest.approx([0.3, 0.3], abs=0.025)


def test_ddpm_without_its_noise_collapses():
    """noise_scale 0 is the mean alone: it contracts twice too fast, and is not DDIM."""
    gm = oracles.GaussianMixture([[0.0, 0.0]], 0.5)
    sigmas = noise.log_linear(200, 40.0, 0.01)
    still = samplers.ddpm(gm.denoiser, start(5000), sigmas, noise_scale=0.0)
    flow = samplers.ddim(gm.denoiser, start(5000), sigmas)
    assert still.std() < 0.02
    assert flow.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("window", [None, 1, 4, 7, 50])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("final_zero", [False, True])
@pytest.mark.parametrize("semilinear", [False, True])
def test_picard_is_the_sequential_sampler(network, window, stochastic, final_zero, semilinear):
    """eq-nc-picard and eq-nc-semilinear have the sequential sampler as their fixed point."""
    x, sigmas = start(), noise.karras(20, 40.0, 0.02, final_zero).double()
    g, h = seeded(1), seeded(1)
    if stochastic:
        sequential = samplers.ddpm(network, x, sigmas, generator=g)
    else:
        sequential = samplers.ddim(network, x, sigmas)
    calls = []
    parallel = samplers.picard(
        network, x, sigmas, window=window, tolerance=0, stochastic=stochastic, generator=h,
        semilinear=semilinear, callback=calls.append,
    )  # fmt: skip
    torch.testing.assert_close(parallel, sequential, rtol=1e-9, atol=1e-9)
    assert len(calls) <= 20 and calls[-1].start == 20
    assert calls[-1].evaluations <= 20 * (window or 20)


def test_picard_of_a_stack_keeps_each_run_to_its_own_network(network):
    """Rows of a stack's runs stand in equal parts; the levels of picard must not mix them."""
    other = networks.seeded(lambda: copy.deepcopy(network), 0)
    torch.nn.init.normal_(other.network.output.weight, std=0.3)
    x, sigmas = start(), noise.karras(6, 40.0, 0.02).double()
    together = samplers.picard(training.Stack([network, other]), x, sigmas, tolerance=0)
    each = [
        samplers.picard(n, part, sigmas, tolerance=0)
        for n, part in zip([network, other], x.chunk(2))
    ]
    torch.testing.assert_close(together, torch.cat(each), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("semilinear", [False, True])
@pytest.mark.parametrize("window", [None, 4])
def test_one_sample_that_is_not_finite_does_not_end_picard_for_the_others(window, semilinear):
    """Issue 17: six good samples came back finite and wrong after one iteration."""
    gm, sigmas = three(), noise.log_linear(12, 10.0, 0.05)
    x = start(7, 10.0)
    x[3, 1] = torch.nan
    good = [0, 1, 2, 4, 5, 6]
    options = {"window": window, "semilinear": semilinear, "tolerance": 1e-6}
    with pytest.warns(RuntimeWarning, match="samples 3 of 7 are not finite"):
        out = samplers.picard(gm.denoiser, x, sigmas, **options)
    torch.testing.assert_close(out[good], samplers.picard(gm.denoiser, x[good], sigmas, **options))
    torch.testing.assert_close(
        out[good], samplers.ddim(gm.denoiser, x[good], sigmas), atol=1e-4, rtol=0
    )
    assert not out[3].isfinite().any()


@pytest.mark.parametrize("semilinear", [False, True])
def test_picard_goes_on_where_only_a_passing_state_is_not_finite(semilinear):
    """The start, asked at a low level, is not on the way of the samples: it heals."""
    gm, sigmas = three(), noise.log_linear(12, 10.0, 0.05)
    x = start(5, 14.0)

    def denoiser(x, sigma):
        answer = gm.denoiser(x, sigma)
        far = x.norm(dim=1) > 1.9 + 4 * sigma
        return answer.masked_fill(far[:, None], torch.nan)

    guess = x * (1 + 0.05**2) ** 0.5 / (1 + 10.0**2) ** 0.5
    assert not denoiser(guess, torch.full((5,), 0.05).double()).isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = samplers.picard(denoiser, x, sigmas, semilinear=semilinear, tolerance=1e-6)
    torch.testing.assert_close(out, samplers.ddim(gm.denoiser, x, sigmas), atol=1e-4, rtol=0)


def test_picard_names_a_sample_that_the_denoiser_loses():
    gm, sigmas = three(), noise.log_linear(12, 10.0, 0.05)
    x = start(4, 10.0)

    def denoiser(x, sigma):
        lost = (torch.arange(len(x)) // (len(x) // 4) == 2) & (sigma < 0.3)
        return gm.denoiser(x, sigma).masked_fill(lost[:, None], torch.nan)

    good = [0, 1, 3]
    with pytest.warns(RuntimeWarning, match="samples 2 of 4"):
        out = samplers.picard(denoiser, x, sigmas, tolerance=1e-6)
    torch.testing.assert_close(
        out[good], samplers.ddim(gm.denoiser, x[good], sigmas), atol=1e-4, rtol=0
    )


def test_picard_stops_by_tolerance_and_by_count():
    gm, x, sigmas = three(), start(), noise.karras(40, 40.0, 0.02).double()
    counted, calls = denoisers.Counted(gm.denoiser), []
    loose = samplers.picard(counted, x, sigmas, tolerance=1e-2, callback=calls.append)
    assert counted.calls == calls[-1].iteration < 40
    assert counted.evaluations == 64 * calls[-1].evaluations
    flow = samplers.ddim(gm.denoiser, x, sigmas)
    assert (loose - flow).abs().mean() < 0.02
    samplers.picard(one := denoisers.Counted(gm.denoiser), x, sigmas, max_iterations=3)
    assert one.calls == 3


def test_plain_picard_blows_up_as_the_exponential_series_and_semilinear_does_not():
    """eq-nc-series: with D = 0 the flow is v exp(-u), and the k-th iterate its series."""
    x, sigmas = start(), noise.log_linear(400, 40.0, 0.002, final_zero=False).double()
    found: dict[bool, list] = {False: [], True: []}
    for semilinear, calls in found.items():
        samplers.picard(
            lambda y, _: torch.zeros_like(y), x, sigmas, tolerance=0, max_iterations=4,
            semilinear=semilinear, callback=lambda step, calls=calls: calls.append(step.x[-1]),
        )  # fmt: skip
    kept = sigmas / (1 + sigmas**2).sqrt()  # v = x / sqrt(1 + sigma^2) is proportional to it
    exact = torch.tensor([1.0, 0, 0, 0, 0]).double()  # powers of the steps: their elementary sums
    for share in kept[1:] / kept[:-1]:
        exact[1:] = exact[1:] - (1 - share) * exact[:-1]
    u, v = (kept[0] / kept[-1]).log(), x / (1 + sigmas[0] ** 2).sqrt()
    limit = torch.tensor([(-u) ** m / math.factorial(m) for m in range(5)])
    for k, state in enumerate(found[False], 1):
        ends = state / (1 + sigmas[-1] ** 2).sqrt()
        torch.testing.assert_close(ends, exact[: k + 1].sum() * v, rtol=1e-9, atol=1e-9)
        assert exact[: k + 1].sum() == pytest.approx(float(limit[: k + 1].sum()), rel=0.1)
    assert found[False][-1].norm() > 20 * v.norm()
    for state in found[True]:
        torch.testing.assert_close(state, x / 20_000)


def test_picard_starts_from_the_same_variance_preserving_state_everywhere():
    """Shih et al. 2023, algorithm 1: the denoiser is first asked at v_0 at every level."""
    gm, x, sigmas = three(), start(), noise.karras(6, 40.0, 0.02).double()
    asked: list = []

    def denoiser(y, sigma):
        asked.append(y / (1 + sigma**2).sqrt()[:, None])
        return gm.denoiser(y, sigma)

    seen: list = []
    for window in (None, 2):
        samplers.picard(denoiser, x, sigmas, window=window, tolerance=0, callback=seen.append)
        first = asked[0].view(len(x), -1, 2)
        v = (x / (1 + sigmas[0] ** 2).sqrt())[:, None]
        torch.testing.assert_close(first, v.expand_as(first))
        asked.clear()
    # What the window has not reached yet starts from its last state.
    states = seen[6].x / (1 + sigmas**2).sqrt()[:, None, None]
    torch.testing.assert_close(states[3:], states[2].expand(4, *x.shape))


@pytest.mark.parametrize("stochastic", [False, True])
def test_semilinear_iterates_stay_between_the_start_and_the_data(stochastic):
    gm, x, sigmas = three(), start(), noise.log_linear(50, 40.0, 0.02).double()
    seen: list = []
    samplers.picard(
        gm.denoiser, x, sigmas, tolerance=1e-3, stochastic=stochastic, semilinear=True,
        generator=seeded(1), callback=seen.append,
    )  # fmt: skip
    limit = x.norm(dim=1).max() + (120 if stochastic else 2)
    assert max(step.x.norm(dim=2).max() for step in seen) < limit
    assert seen[-1].iteration < 50


@pytest.mark.parametrize("sampler", ALL)
def test_callback_sees_every_level_and_changes_nothing(sampler):
    gm, x, sigmas = three(), start(), noise.karras(6, 40.0, 0.02)
    kw = {"generator": seeded()} if sampler is samplers.ddpm else {}
    before, seen = x.clone(), []
    out = sampler(gm.denoiser, x, sigmas, callback=seen.append, **kw)
    assert torch.equal(x, before) and out.shape == x.shape and out.dtype == x.dtype
    if sampler is not samplers.picard:
        assert [s.number for s in seen] == list(range(6))
        assert [s.sigma for s in seen] == sigmas[:-1].tolist()
        for step in seen:
            torch.testing.assert_close(gm.denoiser(step.x, step.sigma), step.denoised)


@pytest.mark.parametrize("sampler", ALL)
def test_one_step_to_zero_is_the_denoiser(sampler):
    gm, x = three(), start(sigma=3.0)
    torch.testing.assert_close(
        sampler(gm.denoiser, x, torch.tensor([3.0, 0.0])), gm.denoiser(x, 3.0)
    )


def test_evaluations():
    gm, x, sigmas = three(), start(n=5), noise.karras(10)
    for sampler, calls in (
        (samplers.ddim, 10),
        (samplers.heun, 19),
        (samplers.gradient_estimation, 10),
    ):
        counted = denoisers.Counted(gm.denoiser)
        sampler(counted, x, sigmas)
        assert (counted.calls, counted.evaluations) == (calls, 5 * calls)


@pytest.mark.parametrize("sampler", ALL)
def test_global_random_state_is_left_alone(sampler):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    kw = {"stochastic": True} if sampler is samplers.picard else {}
    if sampler in (samplers.ddpm, samplers.picard):
        kw["generator"] = seeded(3)
    sampler(three().denoiser, start(), noise.karras(4), **kw)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize(
    "x, sigmas, message",
    [
        (torch.zeros(4, 2), [1.0], "sigmas: got 1 entries"),
        (torch.zeros(4, 2), [1.0, 2.0], "strictly decreasing"),
        (torch.zeros(4, 2), [2.0, 1.0, -1.0], "0 or more"),
        (torch.zeros(4), [1.0, 0.0], r"x: got Tensor of shape \(4,\)"),
        (torch.zeros(4, 2, dtype=torch.int64), [1.0, 0.0], "int64"),
        ("noise", [1.0, 0.0], "x: got 'noise'"),
    ],
)
def test_bad_input(sampler, x, sigmas, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sampler(three().denoiser, x, torch.tensor(sigmas))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda d, x, s: samplers.ddpm(d, x, s, noise_scale=-1), "noise_scale: got -1"),
        (
            lambda d, x, s: samplers.gradient_estimation(d, x, s, gamma=float("nan")),
            "gamma: got nan",
        ),
        (lambda d, x, s: samplers.picard(d, x, s, window=0), "window: got 0"),
        (lambda d, x, s: samplers.picard(d, x, s, max_iterations=0), "max_iterations: got 0"),
        (lambda d, x, s: samplers.picard(d, x, s, tolerance=-1.0), "tolerance: got -1"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call(three().denoiser, start(), noise.karras(4))
