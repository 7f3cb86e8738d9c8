import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from companion import (
    denoisers,
    networks,
    noise,
    objectives,
    oracles,
    samplers,
    training,
    training_run,
)

GM = oracles.GaussianMixture([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], 0.2)
DATA = GM.sample(2000, torch.Generator().manual_seed(0))
OBJECTIVE = objectives.DenoisingScoreMatching(noise.LogNormal(-1.0, 1.2), sigma_data=0.7)


def network(seed=0, width=32):
    return networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, width), 0.7), seed)


def parameters(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_training_reaches_the_exact_denoiser():
    """eq-dsm: what is minimised is the distance to the posterior mean, plus a constant."""
    fit = training.fit([network(s) for s in range(2)], OBJECTIVE, DATA, steps=1500, lr=4e-3)
    x0 = GM.sample(4000, torch.Generator().manual_seed(9))
    for sigma in (0.1, 0.5, 3.0):
        x = noise.corrupt(x0, sigma, generator=torch.Generator().manual_seed(1))
        exact = GM.denoiser(x, sigma)
        bayes = (exact - x0).square().mean()
        for run in range(2):
            excess = (fit.denoiser[run](x, sigma) - exact).square().mean()
            untrained = (network(run)(x, sigma) - exact).square().mean()
            assert excess < 0.05 * bayes and excess < 0.1 * untrained
            risk = (fit.denoiser[run](x, sigma) - x0).square().mean()
            assert risk.item() == pytest.approx((bayes + excess).item(), rel=0.02)


def test_a_seed_gives_the_same_run_and_arguments_stay_as_they_were():
    net = network()
    before = parameters(net).clone()
    a, b, c = (training.fit(net, OBJECTIVE, DATA, steps=30, seed=s) for s in (3, 3, 4))
    assert torch.equal(parameters(net), before)
    assert torch.equal(a.losses, b.losses) and torch.equal(
        parameters(a.denoiser), parameters(b.denoiser)
    )
    assert not torch.equal(a.losses, c.losses)
    assert a.losses.shape == (30,) and a.steps_per_second > 0
    assert not a.denoiser.training and not any(p.requires_grad for p in a.denoiser.parameters())


@pytest.mark.parametrize("mixed", [False, True])
def test_a_stacked_run_equals_the_same_run_alone(mixed):
    others = [OBJECTIVE, objectives.DenoisingScoreMatching(noise.LogUniform(0.01, 3.0), "epsilon")]
    goals = [others[0], others[0], others[1], others[0]] if mixed else [OBJECTIVE] * 4
    data = [DATA, DATA[:500], DATA, DATA] if mixed else [DATA] * 4
    nets = [network(s) for s in range(4)]
    seeds = [11, 7, 5, 3]
    options = {"steps": 60, "batch_size": 64, "lr": 3e-3, "clip": 0.5, "weight_decay": 0.1}
    stack = training.fit(
        nets, goals if mixed else OBJECTIVE, data if mixed else DATA, seed=seeds, **options
    )
    assert stack.losses.shape == (60, 4)
    x = torch.randn(8, 2)
    together = stack.denoiser(x.repeat(4, 1), torch.full((32,), 0.4)).view(4, 8, 2)
    for r in range(4):
        alone = training.fit(nets[r], goals[r], data[r], seed=seeds[r], **options)
        torch.testing.assert_close(stack.losses[:, r], alone.losses, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(alone.denoiser(x, 0.4), together[r], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            parameters(alone.denoiser), parameters(stack.denoiser[r]), rtol=1e-3, atol=1e-4
        )


def test_images_train_through_a_unet():
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    net = networks.seeded(lambda: denoisers.Preconditioned(networks.UNet((1, 8, 8), (8, 16))), 0)
    fit = training.fit(net, objectives.DenoisingScoreMatching(), images, steps=4, batch_size=8)
    assert fit.losses.isfinite().all()
    assert fit.losses[0].item() == pytest.approx(1, abs=0.8)


def test_learning_rate_warms_up_and_decays():
    rate = [training_run.learning_rate(k, 100, 2.0, 10, "cosine") for k in range(100)]
    assert rate[0] == 0.2 and rate[9] == rate[10] == 2.0
    assert all(b < a for a, b in pairwise(rate[10:]))
    assert rate[-1] < 0.001 and rate[55] == pytest.approx(1.0)
    assert training_run.learning_rate(99, 100, 2.0, 0, "constant") == 2.0


def test_gradients_are_clipped_run_by_run():
    stack = training.Stack([network(s) for s in range(3)])
    for p in stack.parameters():
        p.grad = torch.ones_like(p) * torch.tensor([1e-4, 1.0, 100.0]).view(-1, *[1] * (p.ndim - 1))
    before = stack[0], [p.grad.clone() for p in stack.parameters()]
    training_run.clip_runs(list(stack.parameters()), 1.0)
    norms = sum(p.grad.flatten(1).square().sum(1) for p in stack.parameters()).sqrt()
    torch.testing.assert_close(norms[1:], torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close([p.grad[0] for p in stack.parameters()], [g[0] for g in before[1]])


def test_the_average_lags_behind_the_weights():
    fit = training.fit(network(), OBJECTIVE, DATA, steps=50, ema=0.999)
    none = training.fit(network(), OBJECTIVE, DATA, steps=50, ema=0.0)
    assert torch.equal(parameters(fit.last), parameters(none.last))
    assert torch.equal(parameters(none.denoiser), parameters(none.last))
    assert not torch.equal(parameters(fit.denoiser), parameters(fit.last))
    # Warmed up: after 50 steps the first weights are all but forgotten.
    moved = (parameters(fit.last) - parameters(network())).norm()
    assert (parameters(fit.denoiser) - parameters(fit.last)).norm() < 0.5 * moved


def test_a_loss_that_is_not_finite_says_where():
    class Breaks:
        sigmas = noise.LogUniform(0.01, 5.0)

        def __call__(self, denoiser, batch, generator=None):
            loss = OBJECTIVE(denoiser, batch, generator)
            self.calls = getattr(self, "calls", 0) + 1
            return loss / 0 if self.calls == 8 else loss

    with pytest.raises(
        training.TrainingDiverged, match=r"step 7 of 20.*sigma from 0\.01 to 5.*rate 0\.00"
    ) as e:
        training.fit(network(), Breaks(), DATA, steps=20)
    assert (e.value.step, e.value.run) == (7, 0)
    with pytest.raises(training.TrainingDiverged, match=r"of run 1 "):
        training.fit([network(), network(1)], [OBJECTIVE, Breaks()], DATA, steps=20)


PROCESS = """
import os, sys, torch
torch.set_num_threads(1)
from companion import training, objectives, denoisers, networks
data = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 16)), 0)
fit = training.fit(net, objectives.DenoisingScoreMatching(), data, steps=20)
assert fit.config["processes"] == 2
torch.save((fit.losses, fit.denoiser.state_dict()), sys.argv[1] + os.environ["RANK"])
"""


def test_two_processes_train_one_network_on_different_batches(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(PROCESS)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, script, tmp_path / "rank"], check=True, env=environment)
    (one, net), (two, other) = (torch.load(tmp_path / f"rank{r}") for r in range(2))
    assert not torch.equal(one, two)
    assert all(torch.equal(net[k], other[k]) for k in net)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": 0}, "steps: got 0"),
        ({"batch_size": 1.5}, "batch_size: got 1.5"),
        ({"lr": -1.0}, "lr: got -1"),
        ({"warmup": 99}, "warmup: got 99"),
        ({"decay": "linear"}, "decay: got 'linear'.*cosine"),
        ({"clip": 0.0}, "clip: got 0"),
        ({"ema": 1.0}, "ema: got 1"),
        ({"mixed_precision": "int8"}, "mixed_precision: got 'int8'"),
        ({"data": torch.zeros(3)}, r"data: got Tensor of shape \(3,\)"),
        ({"data": torch.zeros(3, 2, dtype=torch.long)}, "int64"),
        ({"data": [DATA, DATA]}, "data: got a sequence of 2"),
        (
            {"denoiser": [network(), network()], "seed": [1, 2, 3]},
            "seed: got a sequence of 3.*2 runs",
        ),
        ({"data": torch.full((3, 2), torch.nan)}, r"data: got nan at position \(0, 0\)"),
        ({"denoiser": []}, "denoisers: got none"),
        ({"denoiser": "network"}, "denoiser: got 'network'; allowed is a module"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"denoiser": network(), "objective": OBJECTIVE, "data": DATA, "steps": 10} | change
    with pytest.raises(ValueError, match=message):
        training.fit(**arguments)


def test_progress_is_silent_in_a_log_and_one_line_on_request(capfd):
    training.fit(network(), OBJECTIVE, DATA, steps=60)
    assert capfd.readouterr() == ("", "")
    training.fit(network(), OBJECTIVE, DATA, steps=1500, progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "\n" not in err and "loss=" in err


def test_import_is_fast_and_pulls_in_no_plotting():
    code = """
import sys, time, torch
start = time.perf_counter()
import companion, companion.training, companion.samplers, companion.oracles, companion.networks
assert not {"matplotlib", "IPython", "diffusers", "sklearn", "torchvision"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixed_precision", ["no", "bf16", "fp16"])
def test_on_a_gpu(mixed_precision):
    images = torch.rand(64, 1, 8, 8) * 2 - 1
    net = denoisers.Preconditioned(networks.UNet((1, 8, 8), (8, 16)))
    for compile in (False, True):
        fit = training.fit(
            net, objectives.DenoisingScoreMatching(), images, steps=30, batch_size=16,
            mixed_precision=mixed_precision, compile=compile,
        )  # fmt: skip
        assert fit.losses.isfinite().all()
        assert fit.denoiser(images.cuda(), 0.5).dtype == torch.float32


def test_weights_of_the_loss():
    """Each weight times the squared error of x_0 is what it says."""
    sigma, sigma_data = torch.tensor([0.1, 1.0, 7.0]), 0.5
    weights = {k: f(sigma, sigma_data) for k, f in objectives.denoising.WEIGHTS.items()}
    eps_error, scale = torch.tensor(0.3), sigma
    torch.testing.assert_close(
        weights["epsilon"] * (scale * eps_error) ** 2, eps_error.square().expand(3)
    )
    c_out = sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()
    torch.testing.assert_close(weights["edm"], c_out**-2)
    torch.testing.assert_close(weights["data"], torch.ones(3))
    with pytest.raises(ValueError, match="weight: got 'snr'"):
        objectives.DenoisingScoreMatching(weight="snr")
    with pytest.raises(ValueError, match="sigma_data: got 0"):
        objectives.DenoisingScoreMatching(sigma_data=0)


def test_a_stack_goes_on_as_its_runs():
    nets = [network(s) for s in range(2)]
    for net in nets:
        net.network.noise.requires_grad_(False)
    first = training.fit(nets, OBJECTIVE, DATA, steps=3)
    options = {"steps": 5, "batch_size": 64, "seed": 7}
    whole = training.fit(first.denoiser, OBJECTIVE, DATA, **options)
    runs = training.fit([first.denoiser[0], first.denoiser[1]], OBJECTIVE, DATA, **options)
    assert whole.losses.shape == (5, 2) and torch.equal(whole.losses, runs.losses)
    assert torch.equal(parameters(whole.denoiser), parameters(runs.denoiser))
    before, after = nets[0].network, whole.last[0].network
    assert torch.equal(before.noise.weight, after.noise.weight)
    assert not torch.equal(before.output.weight, after.output.weight)


def test_a_run_that_goes_on_leaves_the_random_numbers_of_others_alone(tmp_path):
    after = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        training.fit(network(), OBJECTIVE, DATA, steps=2, checkpoint=tmp_path)
        after.append(torch.rand(3))
    assert not torch.equal(*after)


def test_equal_objectives_that_hold_tensors_train_side_by_side():
    def goal():
        return objectives.ReverseKL(torch.sum, samplers.foellmer_times(4))

    assert training_run._equal_neighbours([goal(), goal()]) == [(0, 1), (1, 2)]
    same = goal()
    assert training_run._equal_neighbours([same, same]) == [(0, 2)]
