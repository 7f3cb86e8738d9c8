"""The learned sampler inside diffusers' pipelines: its steps against our own."""

import math

import pytest
import torch
from conftest import randn, three

from companion.samplers import LearnedSampler
from companion.samplers.learned_scheduler import LearnedScheduler

MIX = three()
LEARNED = LearnedSampler((20.0, 4.0, 1.0, 0.2), (0.0, 0.6, 0.4, 0.1), (0.0, 0.0, -0.2, -0.1))
CONFIG = {"_class_name": "DDIMScheduler", "beta_schedule": "linear", "prediction_type": "sample"}

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def run(scheduler, z):
    scheduler.set_timesteps(4)
    for t, sigma in zip(scheduler.timesteps, LEARNED.sigmas):
        answer = MIX.denoiser(z * math.sqrt(1 + sigma**2), sigma)
        z = scheduler.step(answer, t, z, return_dict=False)[0]
    return z


def test_steps_are_those_of_the_sampler_and_a_second_run_starts_afresh():
    scheduler = LearnedScheduler.from_learned(LEARNED, CONFIG)
    x = 20 * randn(9, 2)
    for _ in range(2):
        out = run(scheduler, x / math.sqrt(1 + 20**2))
        assert torch.allclose(out, LEARNED(MIX.denoiser, x), atol=1e-9)


def test_it_is_saved_and_loaded_as_schedulers_are(tmp_path):
    LearnedScheduler.from_learned(LEARNED, CONFIG).save_pretrained(tmp_path)
    there = LearnedScheduler.from_pretrained(tmp_path)
    z = randn(5, 2)
    ours = LEARNED(MIX.denoiser, z * math.sqrt(1 + 20**2))
    assert torch.allclose(run(there, z), ours, atol=1e-9)


def test_errors():
    scheduler = LearnedScheduler.from_learned(LEARNED, CONFIG)
    with pytest.raises(ValueError, match="num_inference_steps: got 5; allowed is 4"):
        scheduler.set_timesteps(5)
    with pytest.raises(ValueError, match="allowed are the learned ones alone"):
        scheduler.set_timesteps(sigmas=[3.0, 0.0])
    with pytest.raises(TypeError, match="sampler: got 'five'"):
        LearnedScheduler.from_learned("five", CONFIG)
    high = LearnedScheduler.from_learned(LearnedSampler((900.0, 1.0), (0.0, 0.1)), CONFIG)
    with pytest.raises(ValueError, match="trained are up to"):
        high.set_timesteps(2)
