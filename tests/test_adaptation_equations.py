"""Chapter 8: the ceiling, what reaches it, and the guidance, against exact answers."""

import math

import pytest
import torch
from conftest import randn, three

from companion import noise
from companion.experiments.adaptation.classifiers import calibration_error
from companion.experiments.adaptation.known import class_probabilities
from companion.experiments.adaptation.line import Line, right, three_classes
from companion.experiments.adaptation.purifiers import (
    CORRUPTIONS,
    EntropyGuided,
    marginal_entropy,
    raised,
    shifts,
)
from companion.experiments.session import Session
from companion.oracles import GaussianMixture

MIX = three()
OWNER = torch.tensor([0, 1, 0])
Y = 2 * randn(60, 2, seed=5)


def test_the_ceiling_is_bayes_rule():
    """Checks eq-ad-ceiling: densities of each class alone, weighted."""
    joint = []
    for c in (0, 1):
        own = c == OWNER
        part = GaussianMixture(MIX.means[own], MIX.stds[own], MIX.weights[own])
        joint.append(part.log_prob(Y, 0.6) + MIX.weights[own].sum().log())
    exact = torch.stack(joint, 1).softmax(1)
    assert torch.allclose(class_probabilities(MIX, OWNER, Y, 0.6), exact)


def test_no_rule_is_right_more_often_than_the_ceiling():
    truth = class_probabilities(MIX, OWNER, Y, 0.6)
    top = right(truth, truth.argmax(1))
    for c in (0, 1):
        assert (right(truth, torch.full((len(Y),), c)) <= top + 1e-12).all()


def test_the_mean_over_samples_is_the_ceiling():
    """Checks eq-ad-average and eq-ad-one-sample, by many exact samples."""
    mixture, owner = three_classes()
    y, level, draws = torch.tensor([[-0.2], [0.1], [0.9]], dtype=torch.float64), 0.7, 40_000
    behind = mixture.posterior(y.repeat_interleave(draws, 0), level)
    generator = torch.Generator().manual_seed(0)
    index = torch.multinomial(behind.weights, 1, generator=generator)
    at = (torch.arange(len(index)), index[:, 0])
    z = torch.randn(len(index), 1, generator=generator, dtype=torch.float64)
    samples = behind.means[at] + behind.stds[at][:, None] * z
    clean = class_probabilities(mixture, owner, samples, 0.0)
    truth = class_probabilities(mixture, owner, y, level)
    assert torch.allclose(clean.view(3, draws, 3).mean(1), truth, atol=0.01)
    single = right(truth.repeat_interleave(draws, 0), clean.argmax(1)).view(3, draws).mean(1)
    assert torch.allclose(single, truth.square().sum(1), atol=0.01)


def test_one_call_is_one_to_one():
    """Checks eq-ad-one-to-one: the slope of D is a covariance over sigma^2, positive definite."""
    sigma = 0.8
    slope = torch.vmap(torch.func.jacrev(lambda y: MIX.denoiser(y[None], sigma)[0]))(Y)
    weights, means, stds = MIX.posterior(Y, sigma)
    mean = (weights[..., None] * means).sum(1)
    apart = means - mean[:, None]
    inside = (weights * stds**2).sum(1)[:, None, None] * torch.eye(2)
    covariance = inside + torch.einsum("bk,bki,bkj->bij", weights, apart, apart)
    assert torch.allclose(slope, covariance / sigma**2, atol=1e-8)
    assert (torch.linalg.eigvalsh(slope) > 0).all()


def test_the_mean_of_two_classes_can_look_like_a_third():
    mixture, owner = three_classes()
    y = torch.zeros(1, 1, dtype=torch.float64)
    assert class_probabilities(mixture, owner, y, 1.0)[0, 1] < 0.2
    clean = class_probabilities(mixture, owner, mixture.denoiser(y, 1.0), 0.0)
    assert clean[0, 1] > 0.99


def test_the_line_keeps_its_order():
    results = Session("smoke", 0).run(Line(noises=(1.0,), points=2000, seeds=2))
    way = {w: results.values(way=w, level=1.0).mean() for w in results.labels("way")}
    assert way["ceiling"] >= way["mean of 64"] > way["mean of 4"] > way["mean of 1"]
    assert way["one call"] < way["nothing"] < way["ceiling"]


# --- guidance ------------------------------------------------------------------------------------


def logits(x):
    """Return a linear classifier's answers to images (B, 1, 4, 4)."""
    return x.flatten(1) @ torch.linspace(-1, 1, 48, dtype=x.dtype).view(16, 3)


def test_marginal_entropy_of_sure_and_unsure_answers():
    """Checks eq-ad-entropy: views that are sure of different classes are not sure together."""
    sure = [torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])]
    assert marginal_entropy(lambda x: x, sure[:1]).item() == pytest.approx(0, abs=1e-6)
    assert marginal_entropy(lambda x: x, sure).item() == pytest.approx(math.log(2))


def test_guidance_is_the_gradient_of_the_entropy():
    """Checks eq-ad-guided by finite differences, through a denoiser that is not the identity."""

    def denoiser(x, sigma):
        return x.tanh() / (1 + sigma)

    x, sigma, h = randn(3, 1, 4, 4, seed=2), 0.7, 1e-5

    def entropy(x):
        return marginal_entropy(logits, shifts(denoiser(x, sigma)))

    plain, guided = denoiser(x, sigma), EntropyGuided(denoiser, logits, 2.0)(x, sigma)
    direction = randn(3, 1, 4, 4, seed=3)
    slope = (entropy(x + h * direction) - entropy(x - h * direction)) / (2 * h)
    along = ((guided - plain) * direction).flatten(1).sum(1)
    assert torch.allclose(along, -2 * sigma**2 * slope, atol=1e-6)
    assert torch.equal(EntropyGuided(denoiser, logits, 0.0)(x, sigma), plain)


def test_the_content_term_keeps_what_is_coarse():
    x, source = randn(2, 1, 4, 4, seed=1), randn(2, 1, 4, 4, seed=9)
    kept = EntropyGuided(lambda x, s: x, logits, 0.0, content=1.0, source=source)(x, 0.5)
    pool = torch.nn.functional.avg_pool2d
    assert torch.allclose(pool(kept, 2), pool(source, 2))
    with pytest.raises(ValueError, match=r"source: got None with content=0\.5"):
        EntropyGuided(lambda x, s: x, logits, 1.0, content=0.5)
    with pytest.raises(ValueError, match="weight: got -1"):
        EntropyGuided(lambda x, s: x, logits, -1.0)


# --- corruptions and measures --------------------------------------------------------------------


def test_noise_is_raised_to_the_level_that_is_asked():
    y = noise.corrupt(torch.zeros(20_000, 1), 0.3, generator=torch.Generator().manual_seed(0))
    up = raised(y, 0.3, 0.5, torch.Generator().manual_seed(1))
    assert up.std().item() == pytest.approx(0.5, rel=0.03) and raised(y, 0.3, 0.3) is y
    with pytest.raises(ValueError, match=r"sigma: got 0\.2"):
        raised(y, 0.3, 0.2)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_the_mean_of_an_even_image(name):
    flat = torch.full((2, 1, 8, 8), 0.3)
    assert torch.allclose(CORRUPTIONS[name](flat), flat)
    x = randn(2, 1, 8, 8)
    seen = CORRUPTIONS[name](x)
    assert seen.shape == x.shape and seen.std() < x.std()


def test_calibration_error_of_known_answers():
    labels = torch.tensor([0, 0, 0, 1])
    sure = torch.tensor([[1.0, 0.0]] * 4)
    three_of_four = torch.tensor([[0.75, 0.25]] * 4)
    both = calibration_error(torch.stack([sure, three_of_four]), labels)
    assert both.tolist() == pytest.approx([0.25, 0.0])
