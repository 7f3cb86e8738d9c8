"""Labels: conditional denoisers, training with them, guidance; and data that are known in part."""

import pytest
import torch
from conftest import randn, seeded, tiny_mlp, tiny_unet

from companion import data, denoisers, networks, noise, objectives, samplers, training
from companion.denoisers import Guided, Inpainted, Preconditioned, conditional
from companion.oracles import GaussianMixture

MEANS = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, 1.2]])
CLASSES = [GaussianMixture([m.tolist()], 0.3) for m in MEANS]
ALL = GaussianMixture(MEANS, 0.3)
X = randn(6, 2, dtype=torch.float32)
LABELS = torch.tensor([0, 2, 1, 0, -1, 2])


def exact(x, sigma, class_labels=None):
    """The exact denoiser of the labelled mixture, with and without labels."""
    answer = ALL.denoiser(x, sigma)
    if class_labels is not None:
        for label, law in enumerate(CLASSES):
            answer = answer.where((class_labels != label)[:, None], law.denoiser(x, sigma))
    return answer


def labelled(seed=0, **options):
    """A small network with classes whose answers depend on them."""

    def make():
        network = networks.MLP(2, width=16, depth=1, classes=3, **options)
        torch.nn.init.normal_(network.output.weight, std=0.5)
        return Preconditioned(network, 1.0)

    return networks.seeded(make, seed)


# --- asking with labels


def test_labels_reach_the_network():
    each = conditional(exact, LABELS)(X, 0.4)
    assert torch.allclose(each[1], CLASSES[2].denoiser(X[1:2], 0.4)[0])
    assert torch.allclose(each[4], ALL.denoiser(X[4:5], 0.4)[0])
    assert torch.equal(conditional(exact, 2)(X, 0.4), CLASSES[2].denoiser(X, 0.4))
    out = samplers.ddim(conditional(exact, 1), 40 * randn(300, 2), noise.log_linear(100, 40.0))
    assert torch.allclose(out.mean(0).float(), MEANS[1], atol=0.1)
    assert out.std(0).mean().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("make", [labelled, lambda: Preconditioned(networks.UNet(classes=3))])
def test_networks_with_classes(make):
    net = make()
    x = X if isinstance(net.network, networks.MLP) else randn(6, 1, 8, 8, dtype=torch.float32)
    if not isinstance(net.network, networks.MLP):
        torch.nn.init.normal_(net.network.unet.conv_out.weight, std=0.5)
    with torch.no_grad():
        plain = net(x, 0.5)
        assert torch.equal(conditional(net, -1)(x, 0.5), plain)
        each = conditional(net, LABELS)(x, 0.5)
        assert torch.allclose(each[4], plain[4], atol=1e-5)
        assert not torch.allclose(each[0], plain[0], atol=1e-4)
        stack = training.Stack([net, net])
        assert torch.allclose(conditional(stack, LABELS)(x, 0.5), each, atol=1e-5)


def test_a_network_without_classes_draws_the_weights_that_it_drew():
    a = networks.seeded(lambda: networks.MLP(2), 0).state_dict()
    b = networks.seeded(lambda: networks.MLP(2, classes=3), 0).state_dict()
    assert set(b) - set(a) == {"label.weight", "label.bias"}
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_models_of_diffusers_take_labels():
    from diffusers import UNet2DModel

    sizes = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = networks.seeded(
        lambda: UNet2DModel(8, 1, 1, num_class_embeds=4, **sizes, **blocks), 0
    ).eval()
    denoiser = denoisers.from_diffusers(unet, noise.ddpm_alphas_cumprod())
    x = randn(2, 1, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        a, b = (conditional(denoiser, label)(x, 0.5) for label in (0, 3))
        mixed = conditional(denoiser, torch.tensor([0, 3]))(x, 0.5)
    assert not torch.allclose(a, b) and torch.allclose(mixed[1], b[1], atol=1e-5)
    with pytest.raises(ValueError, match="class_labels: got 4"):
        conditional(denoiser, 4)
    for none in (-1, torch.tensor([0, -1])):
        with pytest.raises(ValueError, match="class_labels: got -1 for a model of diffusers"):
            conditional(denoiser, none)
    goal, labels = objectives.DenoisingScoreMatching(noise.LogNormal()), torch.tensor([0, 3])
    with pytest.raises(ValueError, match=r"label_dropout: got 0\.1 for a model of diffusers"):
        training.fit(denoiser, goal, x, labels=labels, steps=1)
    done = training.fit(denoiser, goal, x, labels=labels, label_dropout=0, steps=1, batch_size=2)
    assert done.losses.isfinite().all()


@pytest.mark.parametrize(
    "labels, message",
    [
        (3, "class_labels: got 3; allowed are whole numbers from -1 .* to 2"),
        (-2, "class_labels: got -2"),
        (torch.tensor([0, 5]), "class_labels: got 5"),
        ([0, 1], r"class_labels: got \[0, 1\]"),
        (torch.ones(2), "class_labels: got Tensor of shape"),
        (None, "class_labels: got None"),
    ],
)
def test_labels_that_cannot_be(labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        conditional(labelled(), labels)
    with pytest.raises(ValueError, match="class_labels: got labels for a network without classes"):
        conditional(tiny_mlp(), 0)
    with pytest.raises(ValueError, match="class_labels: got labels for a network without classes"):
        tiny_mlp()(X, 0.5, LABELS)
    with pytest.raises(ValueError, match="class_labels: got 6 labels for 2 samples"):
        conditional(labelled(), LABELS)(X[:2], 0.5)


def test_unlabelled_models_of_diffusers_refuse_by_name():
    denoiser = denoisers.from_diffusers(tiny_unet(), noise.ddpm_alphas_cumprod())
    with pytest.raises((TypeError, ValueError), match=r"class_labels|class_embedding"):
        conditional(denoiser, 0)(randn(2, 1, 8, 8, dtype=torch.float32), 0.5)


# --- training with labels


def points(n=1500, seed=0):
    """Samples of the labelled mixture."""
    labels = torch.randint(3, (n,), generator=seeded(seed))
    return MEANS[labels] + 0.3 * randn(n, 2, seed=seed + 1, dtype=torch.float32), labels


def test_trained_with_labels_it_is_the_denoiser_of_each_class_and_of_all():
    x, labels = points()
    net = networks.seeded(lambda: Preconditioned(networks.MLP(2, classes=3), 1.0), 0)
    goal = objectives.DenoisingScoreMatching(noise.LogUniform(0.2, 3.0), sigma_data=1.0)
    done = training.fit(
        net, goal, x, labels=labels, label_dropout=0.3, steps=500, batch_size=256, lr=1e-2
    )
    assert done.config["label_dropout"] == 0.3
    for sigma in (0.6, 1.5):
        y, own = points(2000, seed=5)
        y = noise.corrupt(y, sigma, generator=seeded(9))
        for answer, best in (
            (conditional(done.denoiser, own)(y, sigma), exact(y, sigma, own)),
            (done.denoiser(y, sigma), exact(y, sigma)),
        ):
            between = (exact(y, sigma, own) - exact(y, sigma)).square().mean()
            assert (answer - best).square().mean() < 0.1 * between


OBJECTIVES = [
    objectives.DenoisingScoreMatching(),
    objectives.Sum(
        (objectives.AmbientTweedie(0.2), objectives.Consistency(0.2, every=2)), (1.0, 0.1)
    ),
    objectives.ContrastiveDiffusion(points=2, samples=4),
]


@pytest.mark.parametrize("goal", OBJECTIVES, ids=["denoising", "tweedie", "contrastive"])
def test_a_labelled_run_in_a_stack_is_the_run_alone(goal):
    sets = [points(60, seed) for seed in (0, 3)]
    options = {"steps": 4, "batch_size": 8}
    nets = [labelled(0), labelled(1)]
    stack = training.fit(nets, goal, [x for x, _ in sets], labels=[y for _, y in sets], **options)
    for r, (x, labels) in enumerate(sets):
        alone = training.fit(nets[r], goal, x, labels=labels.numpy(), seed=r, **options)
        assert torch.allclose(stack.losses[:, r], alone.losses, rtol=1e-3)


def test_each_evaluation_has_the_label_of_its_sample():
    """Labels are the samples' first coordinates; the denoiser sees both."""
    x = torch.arange(8.0)[:, None].expand(8, 3).clone()
    asked = []

    def watching(state, sigma, class_labels):
        asked.append((state[:, 0] - class_labels).abs().max())
        return state

    quiet = noise.LogUniform(1e-4, 2e-4)
    for goal in (
        objectives.Consistency(1e-4, quiet, every=2),
        objectives.ContrastiveDiffusion(quiet, quiet, points=2, samples=3),
    ):
        goal(conditional(watching, torch.arange(8)), x, seeded())
    assert len(asked) > 4 and max(asked) < 0.01


@pytest.mark.parametrize(
    "labels, message",
    [
        (torch.zeros(59, dtype=torch.int64), "labels: got 59 for 60 samples"),
        (torch.full((60,), 3), "labels: got 3; allowed"),
        (torch.zeros(60), "labels: got Tensor"),
        ([0] * 60, "labels: got a sequence of 60"),
        ("0", "labels: got '0'"),
    ],
)
def test_labels_of_training_that_cannot_be(labels, message):
    x, _ = points(60)
    with pytest.raises((TypeError, ValueError), match=message):
        training.fit(labelled(), OBJECTIVES[0], x, labels=labels, steps=1)


def test_labels_belong_to_the_identity_of_a_run(tmp_path):
    x, labels = points(60)
    run = {"steps": 2, "batch_size": 8, "checkpoint": tmp_path}
    first = training.fit(labelled(), OBJECTIVES[0], x, labels=labels, **run)
    again = training.fit(labelled(), OBJECTIVES[0], x, labels=labels, **run)
    assert torch.equal(first.losses, again.losses)
    with pytest.raises(ValueError, match="of another run"):
        training.fit(labelled(), OBJECTIVES[0], x, labels=labels.flip(0), **run)


def test_digits_with_labels_are_recognised():
    """Samples asked for by class are taken for that class; guidance makes that more frequent."""
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = data.images("digits")
    net = networks.seeded(
        lambda: Preconditioned(networks.MLP((1, 8, 8), width=96, depth=2, classes=10)), 0
    )
    done = training.fit(net, OBJECTIVES[0], images, labels=labels, steps=400, lr=5e-3)
    judge = KNeighborsClassifier(3).fit(images.flatten(1).numpy(), labels.numpy())
    asked = torch.arange(100) % 10
    start = 20 * randn(100, 1, 8, 8, dtype=torch.float32)
    right = {}
    given = conditional(done.denoiser, asked)
    for weight in (0.0, 1.0, 2.0):
        guided = Guided(given, done.denoiser, weight)
        out = samplers.dpmpp_2m(guided, start, noise.karras(12, 20.0, 0.02))
        right[weight] = (judge.predict(out.flatten(1).numpy()) == asked.numpy()).mean()
    assert right[0.0] < 0.3 and right[1.0] > 0.7 and right[2.0] >= right[1.0]


# --- data that are known in part


def test_inpainting_is_exact_where_nothing_depends():
    """Of independent coordinates: the known one comes back, the other has its own law."""
    law = GaussianMixture([[0.5, -0.5]], 0.4)
    known = torch.tensor([[2.0, 9.0]]).expand(400, 2)
    mask = torch.tensor([True, False])
    partly = Inpainted(law.denoiser, known, mask)
    sigmas = noise.log_linear(60, 40.0)
    start = noise.corrupt(known, 40.0, generator=seeded())
    for sampler in (samplers.ddim, samplers.heun, samplers.gradient_estimation, samplers.dpmpp_2m):
        out = sampler(partly, start, sigmas)
        assert torch.allclose(out[:, 0], known[:, 0], atol=1e-4)
        assert out[:, 1].mean().item() == pytest.approx(-0.5, abs=0.15)
        assert out[:, 1].std().item() == pytest.approx(0.4, abs=0.06)
    states = samplers.trajectory(samplers.ddim, partly, start, sigmas)
    carried = (states[:-1, :, 0] - 2.0) / sigmas[:-1, None]  # the same noise at each level
    assert torch.allclose(carried, carried[0].expand_as(carried), atol=2e-2)


def test_inpainting_picks_the_mode_that_the_known_part_is_of():
    law = GaussianMixture([[-1.0, 1.0], [1.0, -1.0]], 0.1)
    known = torch.tensor([1.0, 0.0])
    partly = Inpainted(law.denoiser, known, torch.tensor([True, False]))
    start = noise.corrupt(known.expand(200, 2).clone(), 20.0, generator=seeded())
    out = samplers.ddpm(partly, start, noise.log_linear(100, 20.0), generator=seeded(1))
    assert ((out - torch.tensor([1.0, -1.0])).norm(dim=1) < 0.5).float().mean() > 0.8


def test_masks_that_do_not_fit():
    for mask, error in (
        (torch.ones(2), TypeError), (torch.ones(3, dtype=torch.bool), ValueError)
    ):  # fmt: skip
        with pytest.raises(error, match="mask: got"):
            Inpainted(ALL.denoiser, X, mask)
    with pytest.raises(ValueError, match="x: got shape"):
        Inpainted(ALL.denoiser, X, X > 0)(X[:3], 0.5)
