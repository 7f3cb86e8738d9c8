"""Denoisers made of denoisers, and what is checked when one is asked."""

import copy
import pickle

import diffusers
import numpy as np
import pytest
import torch
from conftest import randn, three, tiny_mlp, tiny_unet
from torch._dynamo.testing import CompileCounter

from companion import denoisers, noise, samplers

MIX = three()
X = randn(40, 2, seed=1)


# --- clipping and guidance ---


def test_clipped_answers_stay_within_the_bounds():
    clipped = denoisers.Clipped(MIX.denoiser, -0.5, 0.3)
    answer, plain = clipped(X, 0.2), MIX.denoiser(X, 0.2)
    assert answer.min() == -0.5 and answer.max() == 0.3
    inside = (plain > -0.5) & (plain < 0.3)
    assert torch.equal(answer[inside], plain[inside])
    assert torch.equal(denoisers.Clipped(MIX.denoiser, -9, 9)(X, 0.2), plain)


def test_thresholding_is_that_of_diffusers():
    theirs = diffusers.DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=100.0
    )
    x = 3 * randn(5, 1, 4, 4)
    ours = denoisers.Clipped(lambda x, sigma: x, quantile=0.8)(x, 1.0)
    assert torch.allclose(ours, theirs._threshold_sample(x), atol=1e-6)
    with pytest.raises(ValueError, match="low, high: got 0 and 1 with quantile"):
        denoisers.Clipped(MIX.denoiser, 0, 1, quantile=0.9)


def test_guidance_at_its_ends_and_exactly_for_gaussians():
    """Of N(0, 1) and N(m, 1) the guided score is that of N(w m, 1)."""

    def normal(mean):
        return lambda x, sigma: mean + (x - mean) / (1 + sigma**2)

    label, none = normal(0.7), normal(0.0)
    assert torch.equal(denoisers.Guided(label, none, 0.0)(X, 0.5), none(X, 0.5))
    assert torch.allclose(denoisers.Guided(label, none, 1.0)(X, 0.5), label(X, 0.5))
    guided = denoisers.Guided(label, none, 3.0)
    assert torch.allclose(guided(X, 0.5), normal(2.1)(X, 0.5))
    out = samplers.ddim(guided, 50 * randn(500, 1), noise.log_linear(300, 50.0, 0.002))
    assert out.mean().item() == pytest.approx(2.1, abs=0.1)


# --- pretrained models ---


def test_zero_terminal_snr():
    scheduler = diffusers.DDIMScheduler(rescale_betas_zero_snr=True)
    assert scheduler.alphas_cumprod[-1] == 0
    with pytest.raises(ValueError, match="prediction_type: got 'epsilon' with a last"):
        denoisers.from_diffusers(tiny_unet(), scheduler.alphas_cumprod)
    x = 50 * randn(2, 1, 8, 8, dtype=torch.float32)
    for kind in ("v_prediction", "sample"):
        denoiser = denoisers.from_diffusers(tiny_unet(), scheduler.alphas_cumprod.numpy(), kind)
        assert denoiser(x, 50.0).isfinite().all()
        assert denoiser.log_sigmas.isfinite().all() and len(denoiser.log_sigmas) == 999


# --- torch.compile ---


@pytest.mark.parametrize("kind", ["float", "0-d tensor", "tensor"])
def test_compiled_once_for_all_levels(kind):
    """With a float the first level has a graph of its own, as torch.compile has it."""
    torch._dynamo.reset()
    denoiser, counter = tiny_mlp(output=0.3), CompileCounter()
    compiled = torch.compile(denoiser, backend=counter)
    x = randn(8, 2, dtype=torch.float32)
    for sigma in noise.log_linear(20, 5.0, 0.1)[:-1]:
        level = {"float": float(sigma), "0-d tensor": sigma, "tensor": sigma.repeat(8)}[kind]
        assert torch.allclose(compiled(x, level), denoiser(x, level), atol=1e-5)
    assert counter.frame_count == (2 if kind == "float" else 1)


# --- what is asked, and what is answered ---


@pytest.mark.parametrize(
    "answer",
    [lambda x, s: x[:, :1], lambda x, s: (x, x), lambda x, s: x.numpy(), lambda x, s: None],
)
def test_an_answer_of_another_shape_is_refused(answer):
    for ask in (denoisers.epsilon, denoisers.score, denoisers.denoise):
        with pytest.raises(ValueError, match=r"denoiser: got .* allowed is a tensor of the shape"):
            ask(answer, X, 0.5)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf"), torch.tensor(-1.0), "0.5"])
def test_levels_that_cannot_be(sigma):
    for ask in (MIX.denoiser, tiny_mlp(), lambda x, s: noise.corrupt(x, s)):
        with pytest.raises((TypeError, ValueError), match="sigma: got"):
            ask(X.float(), sigma)
    with pytest.raises(ValueError, match="sigma: got 0"):
        denoisers.epsilon(MIX.denoiser, X, 0.0)


def test_states_that_cannot_be():
    for x in (np.zeros((3, 2)), torch.ones(3, 2, dtype=torch.int64), "x"):
        with pytest.raises(TypeError, match=r"x: got .*floating-point tensor"):
            denoisers.epsilon(tiny_mlp(), x, 0.5)
    with pytest.raises(TypeError, match="denoiser: got 3"):
        denoisers.epsilon(3, X, 0.5)


def test_a_counter_can_be_copied_and_sent_to_another_process():
    counted = denoisers.Counted(tiny_mlp())
    counted(X[:2].float(), 0.5)
    for again in (copy.copy(counted), copy.deepcopy(counted), pickle.loads(pickle.dumps(counted))):
        assert again.calls == 1 and again.network is not None
        again(X[:2].float(), 0.5)
        assert again.calls == 2


def test_what_is_not_known_may_be_nan():
    mask = torch.tensor([True, False])
    known = torch.tensor([[0.5, float("nan")]], dtype=X.dtype).expand(40, 2)
    answer = denoisers.Inpainted(MIX.denoiser, known, mask)(X, 0.5)
    assert torch.equal(answer[:, 1], MIX.denoiser(X, 0.5)[:, 1]) and (answer[:, 0] == 0.5).all()
    with pytest.raises(ValueError, match="known: got nan"):
        denoisers.Inpainted(MIX.denoiser, known, ~mask)


class Narrow(torch.nn.Module):
    """Answers with one channel, whatever it is asked."""

    def forward(self, x, time, return_dict=True):
        answer = x[:, :1]
        return answer if return_dict else (answer,)


@pytest.mark.parametrize(
    "denoiser",
    [
        denoisers.Preconditioned(Narrow()),
        denoisers.from_foellmer_drift(Narrow()),
        denoisers.from_diffusers(Narrow(), noise.ddpm_alphas_cumprod()),
        denoisers.from_flow_matching(Narrow()),
    ],
)
def test_an_answer_of_another_shape_is_not_broadcast(denoiser):
    with pytest.raises(ValueError, match="as its answer; allowed is a tensor of the shape of x"):
        denoiser(torch.zeros(2, 3, 8, 8), 0.5)
    assert denoiser(torch.zeros(2, 1, 8, 8), 0.5).shape == (2, 1, 8, 8)
