"""The contrastive diffusion loss against exact likelihood ratios, the paper's notation, itself."""

import math

import pytest
import torch

from companion import data, denoisers, metrics, networks, noise, objectives, training
from companion.experiments.noise_classifier.ablations import AblatedContrast

RING = data.mixture("ring")
WIDE = noise.LogUniform(0.002, 80.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def classes(t, n=100, seed=0, shrink=1.0):
    """Points half of which carry noise ``t``, and their exact log-likelihood ratio."""
    x = RING.sample(2 * n, seeded(seed), dtype=torch.float64)
    x[n:] += t * torch.randn(n, 2, generator=seeded(seed + 1), dtype=torch.float64)
    x[n:] *= shrink
    noised = RING.log_prob(x / shrink, t) - 2 * math.log(shrink)
    return x, RING.log_prob(x) - noised


def scaled(factor):
    """The exact denoiser of the ring with its noise estimate scaled."""
    return lambda x, s: x - factor * (x - RING.denoiser(x, s))


def test_noised_data_have_the_same_denoiser_at_a_higher_level():
    """eq-nc-composed, against the mixture that was noised."""
    x = 2 * torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    levels = torch.logspace(-2, 1, 50, dtype=torch.float64)
    for t in (0.1, 1.0):
        exact = RING.noisy(t).denoiser
        for sigma in (0.3, levels):
            ours = denoisers.Noised(RING.denoiser, t)(x, sigma)
            torch.testing.assert_close(ours, exact(x, sigma))
    each = denoisers.Noised(RING.denoiser, levels.flip(0))(x, levels)
    alone = denoisers.Noised(RING.denoiser, levels[-8].item())(x[7:8], levels[7].item())
    torch.testing.assert_close(each[7:8], alone)
    with pytest.raises(ValueError, match=r"sigma_noise: got -1"):
        denoisers.Noised(RING.denoiser, -1.0)


@pytest.mark.parametrize("preserving", [False, True])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"antithetic": False},
        {"shared": False, "stratified": False, "antithetic": False},
        {"levels": noise.LogLogistic(1.5, 2.0, 5.0)},
        {"sigma_data": 0.5},
    ],
)
def test_the_ratio_is_unbiased(setting, preserving):
    """eq-nc-ratio: every way of drawing has the exact ratio as its mean."""
    t = 0.3
    y, exact = classes(t, 60, shrink=(1 + t * t) ** -0.5 if preserving else 1.0)
    goal = AblatedContrast(**{"points": 32, "levels": WIDE, "preserving": preserving, **setting})
    repeats = 16
    y, exact = y.repeat(repeats, 1), exact.repeat(repeats)
    found = goal.ratio(RING.denoiser, y, torch.full_like(exact, t), seeded(1))
    off = (found - exact).view(repeats, -1)
    error = off.std(0).mean() / repeats**0.5
    assert off.mean(0).abs().mean() < 1.3 * error  # E|N(0, 1)| is 0.8
    assert off.mean().abs() < 4 * off.std() / off.numel() ** 0.5


def test_preserving_noise_in_the_papers_own_notation():
    """eq-nc-vp: z, log SNR, and the composed level sigmoid(a') = sigmoid(a) sigmoid(zeta)."""
    n, points, zeta = 40, 6, 2.0
    t = noise.sigma_from_log_snr(zeta)
    x = RING.sample(n, seeded(), dtype=torch.float64)
    goal = AblatedContrast(
        points=points, levels=WIDE, preserving=True, antithetic=False, stratified=False
    )
    ours = goal.ratio(RING.denoiser, x, torch.full((n,), t, dtype=x.dtype), seeded(1))

    def eps_network(z, alpha):
        """What the paper's network sees: a variance-preserving state and its log SNR."""
        sigma = noise.sigma_from_log_snr(alpha)
        state = noise.from_variance_preserving(z, sigma)
        return denoisers.epsilon(RING.denoiser, state, sigma)

    g = seeded(1)
    u = torch.rand(n, 1, points, generator=g, dtype=torch.float64)[:, 0]
    eps = torch.randn(n, 1, points, 2, generator=g, dtype=torch.float64)[:, 0]
    alpha = noise.log_snr(WIDE.quantile(u))
    power, zetas = torch.sigmoid(alpha), torch.sigmoid(torch.tensor(zeta, dtype=torch.float64))
    composed = torch.logit(power * zetas)
    z = power.sqrt()[..., None] * x[:, None] + (1 - power).sqrt()[..., None] * eps
    flat, several = z.flatten(0, 1), eps.flatten(0, 1)
    share = (torch.sigmoid(-alpha) / torch.sigmoid(-composed)).sqrt().flatten()[:, None]
    plain = (several - eps_network(flat, alpha.flatten())).square().sum(1)
    noised = (several - share * eps_network(flat, composed.flatten())).square().sum(1)
    width = 2 * math.log(80 / 0.002)
    theirs = 0.5 * width * (noised - plain).view(n, points).mean(1)
    # The Gaussian subtracted from both terms is N(0, I), which this noise does not change.
    torch.testing.assert_close(ours, theirs)


def test_the_loss_is_the_cross_entropy_of_the_best_classifier():
    """eq-nc-loss, and the exact denoiser is its minimum among scaled ones."""
    t = 0.4
    goal = objectives.ContrastiveDiffusion(contrast=noise.Discrete((t,)), points=64)
    x = RING.sample(400, seeded())
    found = goal(RING.denoiser, x, seeded(1)).mean().item()
    _, ratio = classes(t, n=20000)
    softplus = torch.nn.functional.softplus
    exact = (softplus(-ratio[:20000]).mean() + softplus(ratio[20000:]).mean()).item()
    assert found == pytest.approx(exact, abs=0.06)
    coin = AblatedContrast(contrast=noise.Discrete((t,)), points=64, both=False)
    assert coin(RING.denoiser, x, seeded(1)).mean().item() == pytest.approx(exact, abs=0.1)
    for factor in (0.8, 1.25):
        assert goal(scaled(factor), x, seeded(1)).mean() > found


def test_few_points_with_draws_of_their_own_move_the_minimum():
    """The estimate's variance is paid for: a larger noise estimate than the exact one wins."""
    x = RING.sample(1000, seeded())
    kw = {"shared": False, "stratified": False, "antithetic": False}
    official = AblatedContrast(points=8, **kw)
    ours = objectives.ContrastiveDiffusion(points=8)
    exact, larger = (official(scaled(f), x, seeded(1)).mean() for f in (1.0, 1.15))
    assert larger < exact
    exact, larger = (ours(scaled(f), x, seeded(1)).mean() for f in (1.0, 1.15))
    assert larger > exact


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
@pytest.mark.parametrize("both, antithetic, shared", [(True, True, True), (False, False, False)])
def test_cost_is_what_it_says_in_one_call(shape, both, antithetic, shared):
    goal = AblatedContrast(points=3, both=both, antithetic=antithetic, shared=shared, samples=5)
    asked = []

    def denoiser(x, sigma):
        asked.append((x.shape, sigma.shape))
        return x / (1 + sigma.view(-1, *[1] * len(shape)) ** 2)

    loss = goal(denoiser, torch.randn(8, *shape, generator=seeded()), seeded(1))
    rows = 5 * goal.evaluations
    assert asked == [((rows, *shape), (rows,))]
    assert goal.evaluations == 6 * (1 + both) * (1 + antithetic)
    assert loss.shape == (8,) and (loss[:5] > 0).all() and (loss[5:] == 0).all()


def test_with_no_choice_undone_the_ablation_is_the_loss_itself():
    """Draw by draw: what is measured with the one holds for the other."""
    kw = {"points": 5, "samples": 20, "sigma_data": 0.7}
    plain, ablated = objectives.ContrastiveDiffusion(**kw), AblatedContrast(**kw)
    assert plain.evaluations == ablated.evaluations
    x = RING.sample(32, seeded())
    pair = [goal(RING.denoiser, x, seeded(1)) for goal in (plain, ablated)]
    torch.testing.assert_close(*pair)
    undone = [
        AblatedContrast(**kw, **{name: value})(RING.denoiser, x, seeded(1))
        for name, value in (
            ("shared", False), ("stratified", False), ("antithetic", False), ("both", False),
            ("preserving", True),
        )
    ]  # fmt: skip
    assert all((loss - pair[0]).abs().max() > 1e-3 for loss in undone)


def test_few_samples_count_more():
    x = RING.sample(4000, seeded())
    goals = [objectives.ContrastiveDiffusion(points=2, samples=k) for k in (None, 1000)]
    full, some = (g(RING.denoiser, x, seeded(1)).mean().item() for g in goals)
    assert full == pytest.approx(some, rel=0.1)


def network(seed=0):
    return networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 16), 1.0), seed)


def test_a_stacked_run_equals_the_same_run_alone():
    goals = [
        objectives.Sum(
            (
                objectives.DenoisingScoreMatching(),
                objectives.ContrastiveDiffusion(points=2, samples=4),
            ),
            (1.0, 0.1),
        ),
        AblatedContrast(points=3, preserving=True, both=False),
    ]
    x = RING.sample(200, seeded())
    kw = {"steps": 12, "batch_size": 16, "device": "cpu"}
    runs = [goals[0], goals[0], goals[1]]
    stack = training.fit([network(s) for s in range(3)], runs, x, seed=[5, 6, 7], **kw)
    for r in (1, 2):
        alone = training.fit(network(r), runs[r], x, seed=5 + r, **kw)
        torch.testing.assert_close(stack.losses[:, r], alone.losses, rtol=1e-3, atol=1e-4)
        for a, b in zip(stack.last[r].parameters(), alone.last.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_are_finite_in_every_precision(dtype, shared):
    net = network().to(dtype)
    torch.nn.init.normal_(net.network.output.weight, std=0.1)
    goal = AblatedContrast(points=4, shared=shared)
    x = 30 * RING.sample(32, seeded()).to(dtype)  # far off, where the ratio is large
    loss = goal(net, x, seeded(1))
    loss.mean().backward()
    assert loss.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_training_improves_the_classifier():
    """A coarse denoiser classifies better after a little contrastive training."""
    before = denoisers.Preconditioned(networks.seeded(lambda: networks.MLP(2, 32), 0), 1.0)
    x = RING.sample(2000, seeded())
    goal = objectives.ContrastiveDiffusion(points=8)
    after = training.fit(before, goal, x, steps=60, batch_size=32, lr=3e-3, device="cpu").denoiser
    fresh = RING.sample(500, seeded(2))
    values = [goal(d, fresh, seeded(3)).mean().item() for d in (before, after, RING.denoiser)]
    assert values[2] < values[1] < values[0]


def test_levels_have_the_density_that_they_say():
    for law in (noise.LogUniform(0.01, 20.0), noise.LogLogistic(2.0, 1.5, 3.0)):
        u = torch.linspace(0, 1, 4001, dtype=torch.float64)
        sigma = law.quantile(u)
        alpha = noise.log_snr(sigma)
        assert (alpha.diff() > 0).all()
        slope = 1 / law.density(sigma)  # of the quantile function
        middle = (slope[1:] + slope[:-1]) / 2
        torch.testing.assert_close(alpha.diff() * 4000, middle, rtol=1e-3, atol=1e-3)
        low, high = law.range
        assert sigma[-1].item() == pytest.approx(low) and sigma[0].item() == pytest.approx(high)
        drawn = law.sample(2000, generator=seeded())
        assert drawn.min() >= low * 0.999 and drawn.max() <= high * 1.001


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: objectives.ContrastiveDiffusion(points=0), "points: got 0"),
        (lambda: objectives.ContrastiveDiffusion(samples=0), "samples: got 0"),
        (lambda: objectives.ContrastiveDiffusion(sigma_data=-1.0), "sigma_data: got -1"),
        (lambda: objectives.ContrastiveDiffusion(levels=noise.LogNormal()), "levels: got LogNorm"),
        (lambda: noise.LogLogistic(scale=0.0), "scale: got 0"),
        (
            lambda: objectives.ContrastiveDiffusion(samples=9)(RING.denoiser, torch.zeros(8, 2)),
            "samples: got 9; allowed are 1 to 8",
        ),
        (
            lambda: metrics.log_likelihood_ratio(RING.denoiser, torch.zeros(8, 2), 0.0),
            "sigma_noise: got 0",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
