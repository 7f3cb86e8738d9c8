"""Models of other conventions, made of a mixture's exact denoiser, are that denoiser again."""

import pytest
import torch
from conftest import randn, three

from companion import denoisers, noise, samplers

MIX = three()
X = 2 * randn(40, 2, seed=1)
LEVELS = [1e-3, 0.2, 1.0, 30.0]


def velocity(x_t, t):
    """``E[eps - x_0 | x_t]`` of the mixture: from its denoiser at ``x_t / (1 - t)``."""
    clean = MIX.denoiser(x_t / (1 - t)[:, None], t / (1 - t))
    eps = (x_t - (1 - t)[:, None] * clean) / t[:, None]
    return eps - clean


def variance_preserving(prediction_type):
    """Return the mixture's model of a state and its share of signal."""

    def model(z, share):
        a, sigma = share[:, None], (1 / share - 1).sqrt()
        clean = MIX.denoiser(z / a.sqrt(), sigma)
        eps = (z - a.sqrt() * clean) / (1 - a).sqrt()
        v = a.sqrt() * eps - (1 - a).sqrt() * clean
        return {"epsilon": eps, "v_prediction": v, "sample": clean}[prediction_type]

    return model


def at_log_snr(prediction_type):
    """Return the same at a log-SNR: the share of signal is its sigmoid."""
    return lambda z, alpha: variance_preserving(prediction_type)(z, alpha.sigmoid())


ADAPTED = {
    "flow matching": denoisers.from_flow_matching(velocity),
    **{
        f"{name}, {kind}": adapter(model(kind), kind)
        for name, adapter, model in (
            ("variance preserving", denoisers.from_variance_preserving, variance_preserving),
            ("log-SNR", denoisers.from_log_snr, at_log_snr),
        )
        for kind in ("epsilon", "v_prediction", "sample")
    },
}


@pytest.mark.parametrize("name", ADAPTED)
def test_a_model_of_another_convention_is_the_exact_denoiser(name):
    levels = torch.tensor(LEVELS).repeat(10).to(X)
    for sigma in [*LEVELS, torch.tensor(0.5), levels]:
        exact = MIX.denoiser(X, sigma)
        # The share of signal is one to within rounding at 1e-3, which costs digits of sigma.
        assert torch.allclose(ADAPTED[name](X, sigma), exact, atol=1e-6), sigma


@pytest.mark.parametrize("name", ["flow matching", "variance preserving, v_prediction"])
def test_it_samples_as_the_exact_denoiser_does(name):
    sigmas = noise.log_linear(20, 30.0, 0.01)
    start = 30 * randn(50, 2, seed=2)
    ours, exact = (samplers.ddim(d, start, sigmas) for d in (ADAPTED[name], MIX.denoiser))
    assert torch.allclose(ours, exact, atol=1e-5)


def test_the_state_of_flow_matching_is_on_the_straight_line():
    """``x_0 + sigma eps`` comes to the model as ``(1 - t) x_0 + t eps``, sigma = t / (1 - t)."""
    seen = []
    clean, eps, t = randn(6, 2, seed=3), randn(6, 2, seed=4), torch.rand(6, dtype=X.dtype)

    def model(x_t, time):
        seen.append((x_t, time))
        return eps - clean

    answer = denoisers.from_flow_matching(model)(clean + (t / (1 - t))[:, None] * eps, t / (1 - t))
    line = (1 - t)[:, None] * clean + t[:, None] * eps
    assert torch.allclose(seen[0][0], line) and torch.allclose(seen[0][1], t)
    assert torch.allclose(answer, clean)


def test_a_module_keeps_its_parameters_and_takes_labels():
    class Model(torch.nn.Linear):
        def forward(self, x_t, t, class_labels=None):
            self.labels = class_labels
            return super().forward(x_t)

    model = Model(2, 2).double()
    adapted = denoisers.from_flow_matching(model)
    assert len(list(adapted.parameters())) == 2
    denoisers.conditional(adapted, 3)(X, 0.5)
    assert model.labels.tolist() == [3] * len(X)


def test_what_cannot_be():
    for adapter in (denoisers.from_flow_matching, denoisers.from_log_snr):
        with pytest.raises(TypeError, match="model: got 3"):
            adapter(3)
    with pytest.raises(ValueError, match="prediction_type: got 'noise'"):
        denoisers.from_variance_preserving(velocity, "noise")
    with pytest.raises(ValueError, match=r"model: got .* allowed is a tensor of the shape of x"):
        denoisers.from_flow_matching(lambda x, t: x[:1])(X, 0.5)
    with pytest.raises(ValueError, match="sigma: got 0"):
        denoisers.from_log_snr(at_log_snr("sample"), "sample")(X, 0.0)
    with pytest.raises(ValueError, match="sigma: got -1"):
        ADAPTED["flow matching"](X, -1.0)
