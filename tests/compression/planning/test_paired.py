"""Moments of what a child's layer receives beside what the parent's layer says: against all rows, gathered by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.compression.planning.paired import Moments, call_order, paired_moments

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(20, 3, 9, 9, generator=GENERATOR)


class Two(nn.Module):
    """Two convolutions and a head; `second` is strided, dilated and padded unevenly."""

    def __init__(self, width: int, mode: str = "zeros", bias: bool = True) -> None:
        super().__init__()
        self.head = nn.Linear(5, 4)
        self.first = nn.Conv2d(3, width, 3)
        self.second = nn.Conv2d(width, 5, (3, 2), 2, (2, 1), 2, bias=bias, padding_mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))


def by_hand(u: Tensor, y: Tensor, centred: bool) -> Moments:
    u, y = u.double(), y.double()
    mean_in, mean_out = (u.mean(0), y.mean(0)) if centred else (torch.zeros(u.shape[1]), torch.zeros(y.shape[1]))
    a, b = u - mean_in, y - mean_out
    return Moments(a.T @ a / len(a), b.T @ a / len(a), mean_in.double(), mean_out.double())


def same(a: Moments, b: Moments) -> bool:
    pairs = ((a.inputs, b.inputs), (a.across, b.across), (a.mean_in, b.mean_in), (a.mean_out, b.mean_out))
    return all(torch.allclose(p, q, atol=1e-6) for p, q in pairs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_rows_of_a_convolution_are_the_patches_that_its_kernel_meets(mode: str, bias: bool) -> None:
    child, parent = Two(4, mode, bias), Two(6, mode, bias)
    with torch.no_grad():
        inside = child.first(X).relu()
        answers = parent.second(parent.first(X).relu())
        # The patches by an identity convolution: one output for each entry of the window.
        probe = nn.Conv2d(4, 24, (3, 2), 2, (2, 1), 2, bias=False, padding_mode=mode)
        probe.weight.copy_(torch.eye(24).view(24, 4, 3, 2))
        u, y = probe(inside).permute(0, 2, 3, 1).flatten(0, 2), answers.permute(0, 2, 3, 1).flatten(0, 2)
    for batch_size in (3, 20):
        found = paired_moments(child, parent, "second", X, batch_size=batch_size, seed=0)
        assert same(found, by_hand(u, y, centred=bias))


def test_dense_layers_see_rows_and_tokens() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    tokens = torch.rand(6, 7, 4, generator=GENERATOR)
    with torch.no_grad():
        u = net[1](net[0](tokens)).flatten(0, 1)
        y = net[2](net[1](net[0](tokens))).flatten(0, 1)
    outputs = torch.tensor([2, 0])
    found = paired_moments(net, net, "2", tokens, outputs=outputs, batch_size=4, seed=0)
    assert same(found, by_hand(u, y[:, outputs], centred=True))


def test_of_many_places_enough_are_drawn_and_they_pair_up() -> None:
    """A 1 x 1 convolution of 300 samples with 400 places each: far more rows than its two inputs need."""
    conv = nn.Conv2d(2, 3, 1)
    x = torch.rand(300, 2, 20, 20, generator=GENERATOR)
    found = paired_moments(conv_net := nn.Sequential(conv), conv_net, "0", x, batch_size=100, seed=0)
    weight = conv.weight.detach().double().flatten(1)
    assert torch.allclose(found.across, weight @ found.inputs, atol=1e-6), "y is W u at the very same places"
    expected = x.permute(0, 2, 3, 1).flatten(0, 2).double()
    assert torch.allclose(found.mean_in, expected.mean(0), atol=0.03)
    assert not torch.allclose(found.mean_in, expected.mean(0), atol=1e-7), "not all of them were taken"
    again = paired_moments(conv_net, conv_net, "0", x, batch_size=100, seed=0)
    assert torch.equal(found.inputs, again.inputs)


def test_more_rows_for_each_input_come_closer_to_all_of_them() -> None:
    """A dense layer with 2,000 inputs and 12,000 samples: four rows an input take 8,000 samples, six take them all."""
    net = nn.Sequential(nn.Linear(2000, 1))
    x = torch.rand(12000, 2000, generator=torch.Generator().manual_seed(3))
    few = paired_moments(net, net, "0", x, batch_size=4000, seed=0)
    many = paired_moments(net, net, "0", x, batch_size=4000, seed=0, rows_each=6)
    assert torch.allclose(few.mean_in, x[:8000].double().mean(0))
    assert torch.allclose(many.mean_in, x.double().mean(0))


def test_restricted_moments_are_those_of_the_parts() -> None:
    u, y = torch.rand(50, 6, generator=GENERATOR), torch.rand(50, 4, generator=GENERATOR)
    inputs, outputs = torch.tensor([0, 3, 4]), torch.tensor([1, 3])
    whole = by_hand(u, y, centred=True)
    assert same(whole.restricted(outputs, inputs), by_hand(u[:, inputs], y[:, outputs], centred=True))


def test_layers_come_in_the_order_of_their_calls_and_nothing_is_left_behind() -> None:
    net = Two(4).train()
    assert call_order(net, ["head", "second", "first"], X[:1]) == ["first", "second", "head"]
    paired_moments(net, net, "first", X, batch_size=20, seed=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.training
    assert F.relu(net(X)).requires_grad
