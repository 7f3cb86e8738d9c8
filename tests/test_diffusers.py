"""Gradient estimation inside diffusers, and diffusers' schedulers as samplers here."""

import importlib
import inspect
import math
import pkgutil
import subprocess
import sys

import diffusers
import pytest
import torch
from conftest import randn, seeded, tiny_unet
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)

from companion import data, samplers
from companion.denoisers import Counted, from_diffusers
from companion.noise import karras, log_linear
from companion.oracles import GaussianMixture
from companion.samplers.diffusers_peers import from_scheduler
from companion.samplers.diffusers_scheduler import GradientEstimationScheduler

# Said by diffusers' own code, at each of its steps.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SIGMAS = log_linear(20, 30.0, 0.02)


def every_scheduler():
    """Every scheduler class of the installed diffusers that can be imported."""
    package = diffusers.schedulers
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if "scheduling_" not in info.name:
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError:  # needs a package that is not installed
            continue
        for value in vars(module).values():
            if (
                inspect.isclass(value)
                and issubclass(value, diffusers.SchedulerMixin)
                and value.__module__ == info.name
            ):
                yield value


SCHEDULERS = sorted(set(every_scheduler()), key=lambda c: c.__name__)


def gaussian(x, sigma):
    """The exact denoiser of N(0, 1)."""
    return x / (1 + sigma**2)


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda c: c.__name__)
def test_every_scheduler_is_right_or_refused(scheduler):
    x = 30 * randn(4000, 1, seed=1).double()
    try:
        sampler = from_scheduler(scheduler)
    except TypeError as refused:
        assert scheduler.__name__ in str(refused) and "DPMSolverMultistepScheduler" in str(refused)
        return
    sigmas = log_linear(200, 30.0, 0.02)
    # The exact flow of N(0, 1) shrinks the start by sqrt(1 + 30^2); its last step is the denoiser.
    flow = x / math.sqrt(1 + 30.0**2)
    assert (sampler(gaussian, x, sigmas) - flow).abs().max() < 0.05


def test_the_usual_schedulers_are_not_refused():
    names = ("DDIM", "DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "EulerDiscrete")
    for name in names:
        from_scheduler(getattr(diffusers, f"{name}Scheduler"))


def test_their_euler_is_ddim():
    law, x = data.mixture("ring"), 30 * randn(50, 2, seed=2)
    theirs = from_scheduler(diffusers.EulerDiscreteScheduler)(law.denoiser, x, SIGMAS)
    assert torch.allclose(theirs, samplers.ddim(law.denoiser, x, SIGMAS), atol=1e-4)


def test_a_setting_of_another_scheduler_is_named():
    with pytest.raises(TypeError, match="solver_order: not a setting of DDIMScheduler"):
        from_scheduler(diffusers.DDIMScheduler, solver_order=3)
    with pytest.raises(TypeError, match="use_karras_sigmas: not a setting"):
        from_scheduler(diffusers.UniPCMultistepScheduler, use_karras_sigmas=True)


# --- the position on the schedule ---


def run(scheduler, z, timesteps, denoiser=gaussian):
    """Go down ``timesteps`` from the variance-preserving state ``z``."""
    for t in timesteps:
        sigma = scheduler.sigmas[int((scheduler.timesteps == t).nonzero()[0])]
        scale = math.sqrt(1 + sigma**2)
        clean = denoiser(z * scale, sigma)
        z = scheduler.step((z * scale - clean) / sigma, t, z).prev_sample
    return z


@pytest.mark.parametrize("begin", [False, True])
def test_a_loop_from_the_middle_starts_at_its_timestep(begin):
    """As img2img does: clean data, noised to the level of a timestep in the middle."""
    scheduler = GradientEstimationScheduler()
    scheduler.set_timesteps(20)
    clean, noise = randn(4000, 1, seed=3), randn(4000, 1, seed=4)
    times = scheduler.timesteps[10:]
    if begin:
        scheduler.set_begin_index(10)
        assert scheduler.begin_index == 10
    z = run(scheduler, scheduler.add_noise(clean, noise, times[:1].repeat(4000)), times)
    assert z.std() == pytest.approx(1, abs=0.05)
    assert scheduler.step_index == 20


def test_argument_and_position_may_not_disagree():
    scheduler = GradientEstimationScheduler()
    z = randn(3, 1)
    with pytest.raises(ValueError, match="set_timesteps first"):
        scheduler.step(z, 999, z)
    scheduler.set_timesteps(5)
    t = scheduler.timesteps
    with pytest.raises(ValueError, match="timestep: got 500"):
        scheduler.step(z, 500, z)
    scheduler.step(z, t[0], z)
    for wrong in (t[0], t[2]):
        with pytest.raises(ValueError, match=f"allowed is the next one, {float(t[1]):g}"):
            scheduler.step(z, wrong, z)
    run(scheduler, z, t[1:])
    with pytest.raises(ValueError, match="after the last step"):
        scheduler.step(z, t[-1], z)
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(2)
    with pytest.raises(ValueError, match="allowed is the next one"):
        scheduler.step(z, t[0], z)
    with pytest.raises(ValueError, match="begin_index: got 5"):
        scheduler.set_begin_index(5)
    with pytest.raises(ValueError, match="model_output: got shape"):
        scheduler.step(randn(3, 2), t[2], z)


def test_noise_is_added_as_diffusers_adds_it():
    scheduler, theirs = GradientEstimationScheduler(), diffusers.DDIMScheduler()
    x, eps, times = randn(4, 1, 2, 2), randn(4, 1, 2, 2, seed=5), torch.tensor([0, 10, 500, 999])
    assert torch.allclose(
        scheduler.add_noise(x, eps, times), theirs.add_noise(x, eps, times), atol=1e-5
    )


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_spacing_and_clipping_are_those_of_ddim(spacing):
    """At gamma 1 it is DDIM on the same timesteps, with the direction of the clipped prediction."""
    settings = {"timestep_spacing": spacing, "clip_sample": True, "clip_sample_range": 0.5}
    theirs = diffusers.DDIMScheduler(**settings, steps_offset=1)
    ours = GradientEstimationScheduler.from_config(theirs.config, gamma=1.0)
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    assert torch.equal(ours.timesteps.long(), theirs.timesteps)
    a = b = randn(6, 1, 2, 2, seed=6)
    for t in theirs.timesteps:
        if spacing == "linspace" and t < 999:
            break  # diffusers' DDIM then steps by whole strides, which do not meet its timesteps
        a = theirs.step(a.sin(), t, a, use_clipped_model_output=True)
        b = ours.step(b.sin(), t, b)
        assert torch.allclose(a.pred_original_sample, b.pred_original_sample, atol=1e-5)
        assert b.pred_original_sample.abs().max() <= 0.5
        a, b = a.prev_sample, b.prev_sample
        if spacing != "linspace":
            assert torch.allclose(a, b, atol=1e-4)


def test_thresholding_is_theirs():
    ours = GradientEstimationScheduler(thresholding=True, prediction_type="sample")
    theirs = diffusers.DDPMScheduler(thresholding=True)
    ours.set_timesteps(5)
    out = 3 * randn(2, 1, 4, 4)
    got = ours.step(out, ours.timesteps[0], randn(2, 1, 4, 4, seed=7)).pred_original_sample
    assert torch.equal(got, theirs._threshold_sample(out)) and got.abs().max() <= 1


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("zero", [False, True])
def test_trained_schedules_are_theirs(schedule, zero):
    theirs = diffusers.DDPMScheduler(beta_schedule=schedule, rescale_betas_zero_snr=zero)
    ours = GradientEstimationScheduler.from_config(theirs.config)
    assert torch.allclose(ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-7)


def test_zero_terminal_snr_starts_from_pure_noise():
    settings = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    ours = GradientEstimationScheduler(prediction_type="v_prediction", **settings)
    ours.set_timesteps(50)
    assert ours.sigmas[0] == math.inf
    z = randn(4000, 1, seed=8)
    for t, sigma in zip(ours.timesteps, ours.sigmas):
        signal = 1 / math.sqrt(1 + sigma**2)
        # Of N(0, 1) data the state is N(0, 1) too, and v = 0 is the exact prediction.
        assert signal >= 0
        z = ours.step(torch.zeros_like(z), t, z).prev_sample
    assert z.std() == pytest.approx(1, abs=0.05) and z.isfinite().all()
    blind = GradientEstimationScheduler(prediction_type="epsilon", **settings)
    with pytest.raises(ValueError, match="zero terminal SNR"):
        blind.set_timesteps(50)


def test_last_level_and_timesteps_of_ones_own():
    scheduler = GradientEstimationScheduler(set_alpha_to_one=False)
    lowest = float((1 / scheduler.alphas_cumprod[0] - 1).sqrt())
    scheduler.set_timesteps(5)
    assert scheduler.sigmas[-1] == pytest.approx(lowest)
    assert len(scheduler.timesteps) == 5 == len(scheduler.sigmas) - 1
    other = GradientEstimationScheduler(set_alpha_to_one=False, sigma_min=0.5)
    other.set_timesteps(5)
    assert other.sigmas[-1] == pytest.approx(0.5) and len(other.timesteps) == 5
    scheduler.set_timesteps(timesteps=[900, 500.5, 100])
    assert scheduler.timesteps.tolist() == [900, 500.5, 100] and len(scheduler.sigmas) == 4
    assert scheduler.sigmas[0] == pytest.approx(
        float((1 / scheduler.alphas_cumprod[900] - 1).sqrt())
    )
    for wrong in ([100, 500], [1000, 3], [5, -1]):
        with pytest.raises(ValueError, match="timesteps: got"):
            scheduler.set_timesteps(timesteps=wrong)
    with pytest.raises(ValueError, match="exactly one"):
        scheduler.set_timesteps(5, timesteps=[3, 1])


@pytest.mark.parametrize(
    "setting",
    [{"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"}, {"use_flow_sigmas": True}],
)
def test_what_is_not_supported_is_refused_by_name(setting):
    theirs = diffusers.DPMSolverMultistepScheduler(**setting)
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name}: got .*goes on without it"):
        GradientEstimationScheduler.from_config(theirs.config)
    allowed = {"final_sigmas_type": "zero"}.get(name, False)
    GradientEstimationScheduler.from_config(theirs.config, **{name: allowed})


def test_configs_of_other_worlds_are_refused():
    with pytest.raises(ValueError, match="got no beta_schedule"):
        GradientEstimationScheduler.from_config(diffusers.FlowMatchEulerDiscreteScheduler().config)
    config = {**diffusers.DDIMScheduler().config, "_class_name": "VQDiffusionScheduler"}
    with pytest.raises(ValueError, match="got one of VQDiffusionScheduler"):
        GradientEstimationScheduler.from_config(config)
    with pytest.raises(ValueError, match="variance_type: got 'learned'"):
        GradientEstimationScheduler.from_config(
            diffusers.DDPMScheduler(variance_type="learned").config
        )
    with pytest.raises(ValueError, match="timestep_spacing: got 'leading' with sigma_max"):
        GradientEstimationScheduler(timestep_spacing="leading", sigma_max=10.0)


# --- diffusers' schedulers as samplers ---

PEERS = {
    "DPM-Solver++": (DPMSolverMultistepScheduler, {}),
    "UniPC": (UniPCMultistepScheduler, {}),
    "UniPC 3": (UniPCMultistepScheduler, {"solver_order": 3}),
    "DEIS": (DEISMultistepScheduler, {}),
    "DEIS 3": (DEISMultistepScheduler, {"solver_order": 3}),
}


@pytest.fixture(scope="module")
def flow():
    """A distribution, states at sigma = 20, and where the flow takes them."""
    distribution, x = data.mixture("ring"), 20 * randn(256, 2, seed=9)
    sigmas = log_linear(600, 20.0, 0.02, final_zero=False).double()
    return distribution, x, samplers.heun(distribution.denoiser, x, sigmas)


@pytest.mark.parametrize("schedule", [log_linear, karras])
@pytest.mark.parametrize("end", [True, False])
def test_their_ddim_is_ours(schedule, end):
    distribution = GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], 0.1)
    sigmas = schedule(15, 80.0, 0.002, final_zero=end)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        x = 80 * randn(100, 2).to(dtype)
        ours = samplers.ddim(distribution.denoiser, x, sigmas)
        theirs = from_scheduler(DDIMScheduler)(distribution.denoiser, x, sigmas)
        assert theirs.dtype == dtype
        assert (ours - theirs).abs().max() < tolerance


@pytest.mark.parametrize("name", PEERS)
def test_peers_converge_to_the_same_flow_with_one_evaluation_a_step(flow, name):
    distribution, x, end = flow
    scheduler, config = PEERS[name]
    sampler = from_scheduler(scheduler, **config)
    errors = []
    for steps in (20, 80):
        counted = Counted(distribution.denoiser)
        visited: list = []
        sigmas = log_linear(steps, 20.0, 0.02, final_zero=False)
        out = sampler(counted, x, sigmas, callback=visited.append)
        assert counted.calls == steps
        assert [step.sigma for step in visited] == sigmas[:-1].tolist()
        errors.append((out - end).norm(dim=1).median().item())
    assert errors[1] < errors[0] / 8 and errors[1] < 3e-4
    to_zero = sampler(distribution.denoiser, x, log_linear(20, 20.0, 0.02))
    assert to_zero.isfinite().all() and to_zero.abs().max() < 3


# --- gradient estimation inside diffusers ---


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_scheduler_in_a_pipeline_is_our_sampler(tmp_path, prediction):
    """A model saved to disk, sampled by a pipeline of diffusers and by this module."""
    old = DDPMScheduler(prediction_type=prediction)
    DDPMPipeline(tiny_unet(), old).save_pretrained(tmp_path)
    pipe = DDPMPipeline.from_pretrained(tmp_path, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = GradientEstimationScheduler.from_config(
        pipe.scheduler.config,
        gamma=1.8,
        timestep_spacing="log_linear",
        sigma_max=30.0,
        clip_sample=False,
    )
    assert pipe.scheduler.config.prediction_type == prediction
    images = pipe(4, seeded(3), num_inference_steps=7, output_type="np").images
    images = torch.from_numpy(images).permute(0, 3, 1, 2)

    denoiser = from_diffusers(pipe.unet, old.alphas_cumprod, prediction)
    sigmas = log_linear(7, 30.0, float(denoiser.log_sigmas[0].exp()))
    x = torch.randn(4, 1, 8, 8, generator=seeded(3)) * math.sqrt(1 + 30.0**2)
    ours = samplers.gradient_estimation(denoiser, x, sigmas, gamma=1.8)
    # Timesteps agree to 1e-4, and this network of random weights is sensitive to them.
    assert (images - (ours / 2 + 0.5).clamp(0, 1)).abs().mean() < 1e-3
    again = pipe(4, seeded(3), num_inference_steps=7, output_type="np").images
    assert torch.equal(images, torch.from_numpy(again).permute(0, 3, 1, 2))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_scheduler_steps_are_those_of_our_sampler(prediction):
    distribution, sigmas = data.mixture("ring"), log_linear(9, 30.0, 0.02)
    scheduler = GradientEstimationScheduler(prediction_type=prediction)
    for _ in range(2):  # a second run starts afresh
        x = 30 * randn(50, 2, seed=11)
        ours = samplers.gradient_estimation(distribution.denoiser, x, sigmas)
        scheduler.set_timesteps(sigmas=sigmas)
        z = x / math.sqrt(1 + 30.0**2)
        for t, sigma in zip(scheduler.timesteps, sigmas.tolist()):
            scale = math.sqrt(1 + sigma**2)
            clean = distribution.denoiser(scale * scheduler.scale_model_input(z, t), sigma)
            eps = (scale * z - clean) / sigma
            velocity = (eps - sigma * clean) / scale
            said = {"epsilon": eps, "v_prediction": velocity, "sample": clean}[prediction]
            z = scheduler.step(said, t, z).prev_sample
        assert torch.allclose(z, ours, atol=1e-8)


def test_scheduler_settings_are_saved_and_checked(tmp_path):
    made = GradientEstimationScheduler(gamma=2.2, beta_schedule="scaled_linear")
    made.save_pretrained(tmp_path)
    assert GradientEstimationScheduler.from_pretrained(tmp_path).config.gamma == 2.2
    theirs = DDIMScheduler(beta_schedule="scaled_linear").alphas_cumprod
    assert torch.allclose(made.alphas_cumprod.float(), theirs, rtol=1e-4)
    made.set_timesteps(10)
    assert len(made.timesteps) == 10 and made.sigmas[0] <= 40 and made.sigmas[-1] == 0
    assert (made.timesteps.diff() < 0).all() and len(made) == 1000
    made.set_timesteps(sigmas=[5.0, 1.0, 0.1])
    assert made.sigmas == [5.0, 1.0, 0.1]
    with pytest.raises(ValueError, match="trained are up to"):
        made.set_timesteps(sigmas=[5000.0, 1.0])
    with pytest.raises(ValueError, match="num_inference_steps"):
        made.set_timesteps()
    with pytest.raises(ValueError, match="beta_schedule: got 'square'"):
        GradientEstimationScheduler(beta_schedule="square")
    with pytest.raises(ValueError, match="prediction_type: got 'flow'"):
        GradientEstimationScheduler(prediction_type="flow")


def test_the_samplers_do_not_load_diffusers():
    code = "import sys, companion.samplers; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
