import diffusers
import pytest
import torch
from conftest import seeded, tiny_unet

import companion
from companion import denoisers, networks, noise, oracles


@pytest.mark.parametrize("sigma_data", [0.5, 1.7])
def test_preconditioning_keeps_unit_variance(sigma_data):
    """eq-preconditioning: inputs and regression targets of the network have variance 1."""
    g = seeded()
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, x, c_noise):
            seen["x"], seen["c_noise"] = x, c_noise
            return seen.get("target", torch.zeros_like(x))

    denoiser = denoisers.Preconditioned(Spy(), sigma_data)
    x0 = sigma_data * noise.randn((200_000, 1), generator=g)
    for sigma in (0.01, 0.3, 2.0, 50.0):
        x = noise.corrupt(x0, sigma, generator=g)
        seen.pop("target", None)
        skip = denoiser(x, sigma)
        assert seen["x"].var().item() == pytest.approx(1, abs=0.02)
        assert seen["c_noise"].item() == pytest.approx(torch.tensor(sigma).log().item() / 4)
        seen["target"] = torch.ones_like(x)
        c_out = denoiser(x, sigma) - skip
        target = (x0 - skip) / c_out
        assert target.var().item() == pytest.approx(1, abs=0.02)


def test_preconditioned_at_zero_noise_is_the_identity():
    net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2)), 0)
    torch.nn.init.normal_(net.network.output.weight)
    x = torch.randn(4, 2)
    assert torch.equal(net(x, 0.0), x)
    assert torch.equal(net(x, torch.zeros(4)), x)


@pytest.mark.parametrize("make", [
    lambda: (networks.MLP(2, width=16), (5, 2)),
    lambda: (networks.MLP((1, 4, 4), width=16), (5, 1, 4, 4)),
    lambda: (networks.UNet((1, 8, 8), (8, 16)), (5, 1, 8, 8)),
    lambda: (networks.UNet((3, 16, 16), (8, 16), attention=(False, True)), (5, 3, 16, 16)),
    lambda: (networks.UNet((1, 28, 28), (8, 8, 8)), (2, 1, 28, 28)),
])  # fmt: skip
def test_sigma_as_float_scalar_or_per_sample(make):
    net, shape = networks.seeded(make, 0)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    denoiser = denoisers.Preconditioned(net, 0.6)
    assert isinstance(denoiser, denoisers.Denoiser)
    x = torch.randn(shape)
    same = denoiser(x, 0.7)
    assert same.shape == x.shape and same.isfinite().all()
    torch.testing.assert_close(denoiser(x, torch.tensor(0.7)), same)
    torch.testing.assert_close(denoiser(x, torch.full(shape[:1], 0.7)), same)
    sigma = torch.logspace(-3, 2, shape[0])
    each = torch.cat([denoiser(x[i : i + 1], s) for i, s in enumerate(sigma.tolist())])
    torch.testing.assert_close(denoiser(x, sigma), each, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="sigma: got shape"):
        denoiser(x, torch.ones(shape[0] + 1))


def test_untrained_networks_start_at_c_skip():
    for net, shape in ((networks.MLP(2), (3, 2)), (networks.UNet((1, 8, 8), (8,)), (3, 1, 8, 8))):
        x = torch.randn(shape)
        expected = 0.25 / (0.25 + 4) * x
        torch.testing.assert_close(denoisers.Preconditioned(net, 0.5)(x, 2.0), expected)


def test_epsilon_and_score():
    """eq-epsilon and eq-score are two readings of one denoiser."""
    gm = oracles.GaussianMixture([[0.0, 1.0], [1.0, 0.0]], 0.3)
    x, sigma = torch.randn(6, 2), torch.rand(6) + 0.1
    eps = denoisers.epsilon(gm.denoiser, x, sigma)
    torch.testing.assert_close(x - sigma[:, None] * eps, gm.denoiser(x, sigma))
    torch.testing.assert_close(-eps / sigma[:, None], denoisers.score(gm.denoiser, x, sigma))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_from_diffusers_agrees_with_their_scheduler(prediction_type, tmp_path):
    """A tiny model, saved and loaded as a pretrained one is; their x_0 is our denoiser's."""
    torch.manual_seed(0)
    tiny_unet().save_pretrained(tmp_path)
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path).double()
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction_type, clip_sample=False)
    scheduler.set_timesteps(20)
    denoiser = denoisers.from_diffusers(unet, scheduler.alphas_cumprod, prediction_type)
    for t in (1, 50, 951):
        sigma = noise.sigmas_from_alphas_cumprod(scheduler.alphas_cumprod.double())[t]
        x = sigma * torch.randn(2, 1, 8, 8, dtype=torch.float64)
        z = noise.to_variance_preserving(x, sigma)
        with torch.no_grad():
            theirs = scheduler.step(unet(z, t).sample, t, z).pred_original_sample
            ours = denoiser(x, sigma.item())
        assert denoiser.timestep(sigma.float()).item() == pytest.approx(t, abs=2e-3)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * x.abs().max().item())


def test_from_diffusers_with_learned_variances():
    class Six(torch.nn.Module):
        def forward(self, z, t, return_dict=True):
            return (torch.cat([z, 100 + z], 1),)

    denoiser = denoisers.from_diffusers(Six(), noise.ddpm_alphas_cumprod())
    assert denoiser(torch.randn(2, 3, 4, 4), torch.tensor([1.0, 2.0])).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: denoisers.from_diffusers(torch.nn.Identity(), torch.ones(3)), "decreasing"),
        (lambda: denoisers.from_diffusers(torch.nn.Identity(), torch.ones(1)), r"shape \(1,\)"),
        (
            lambda: denoisers.from_diffusers(
                torch.nn.Identity(), noise.ddpm_alphas_cumprod(), "x0"
            ),
            "prediction_type: got 'x0'",
        ),
        (lambda: denoisers.Preconditioned(torch.nn.Identity(), 0), "sigma_data: got 0"),
        (lambda: denoisers.Noised(torch.nn.Identity(), -0.1), "sigma_noise: got -0.1"),
        (lambda: networks.MLP(2, dropout=1.0), "dropout: got 1.0"),
        (lambda: networks.UNet((1, 8, 8), layers=0), "layers: got 0"),
        (lambda: networks.seeded(torch.nn.Identity, 0.5), "seed: got 0.5"),
        (lambda: networks.MLP(2, width=0), "width: got 0"),
        (lambda: networks.UNet((1, 9, 8)), "shape: got"),
        (lambda: networks.UNet((1, 8, 8), (30,)), "channels: got"),
        (lambda: networks.UNet((1, 8, 8), attention=[True]), "attention: got 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_seeded_leaves_the_global_state_alone():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    a, b = (networks.seeded(lambda: networks.MLP(2), 7) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_counted():
    counted = denoisers.Counted(oracles.GaussianMixture([[0.0, 0.0]], 1.0).denoiser)
    counted(torch.zeros(7, 2), 1.0)
    counted(torch.zeros(3, 2), 1.0)
    assert (counted.calls, counted.evaluations) == (2, 10)


def test_package_lists_its_modules():
    assert companion.noise is noise
    assert set(companion.__all__) <= set(dir(companion))
    with pytest.raises(AttributeError, match=r"no attribute 'sampler'.*samplers"):
        companion.sampler  # noqa: B018
