import pytest
import torch
from conftest import tiny_mlp

from companion import denoisers, networks
from companion.stack import Stack


class Plain(torch.nn.Sequential):
    """A network that knows nothing of stacks."""

    def __init__(self):
        super().__init__(torch.nn.Linear(3, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2))

    def forward(self, x, c_noise):
        return super().forward(torch.cat([x, c_noise.expand(len(x))[:, None]], 1))


@pytest.mark.parametrize("native", [True, False])
def test_stack_evaluates_each_part_with_its_own_run(native):
    nets = [tiny_mlp(s) if native else denoisers.Preconditioned(Plain()) for s in range(3)]
    for net in nets:
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.3)
    assert Stack(nets).native is native
    stack, x = Stack(nets), torch.randn(12, 2)
    sigma = torch.rand(12) + 0.1
    for level in (0.3, torch.tensor(0.3), sigma):
        parts = level.view(3, 4) if level is sigma else [level] * 3
        expected = torch.cat([n(p, s) for n, p, s in zip(nets, x.view(3, 4, 2), parts)])
        torch.testing.assert_close(stack(x, level), expected)
    torch.testing.assert_close(stack.part(1, 3)(x[4:], 0.3), stack(x, 0.3)[4:])
    torch.testing.assert_close(stack[-1](x, 0.3), nets[2](x, 0.3))
    with pytest.raises(ValueError, match=r"leading dimension of 11.*3 runs"):
        stack(x[:11], 0.3)
    with pytest.raises(ValueError, match="one architecture"):
        Stack([tiny_mlp(width=16), tiny_mlp(width=32)])
    with pytest.raises(IndexError, match="got 3"):
        stack[3]


@pytest.mark.parametrize(
    "other",
    [
        lambda: denoisers.Preconditioned(networks.MLP(2, 16), 5.0),
        lambda: denoisers.Preconditioned(networks.MLP(2, 16, dropout=0.3), 0.5),
        lambda: denoisers.Preconditioned(Plain(), 0.5),
    ],
)
def test_networks_with_other_settings_are_no_stack(other):
    """Each would be evaluated with the settings of the first."""
    with pytest.raises(ValueError, match="with the same settings"):
        Stack([denoisers.Preconditioned(networks.MLP(2, 16), 0.5), other()])


def test_layers_without_bias_and_with_more_dimensions():
    layers = [networks.Linear(3, 4, bias=False) for _ in range(2)]
    weights = torch.stack([layer.weight.detach() for layer in layers])
    x = torch.randn(4, 5, 3)
    expected = torch.cat([layer(part) for layer, part in zip(layers, x.chunk(2))])
    stacked = networks.Linear(3, 4, bias=False)
    stacked.weight = torch.nn.Parameter(weights)
    torch.testing.assert_close(stacked(x), expected)
