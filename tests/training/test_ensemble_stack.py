"""The stack against its members: logits, gradients, buffers, and what is written back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.models.activations import ACTIVATIONS, activation
from brittle.models.frozen import frozen
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.training.ensemble.grouped import is_chain
from brittle.training.ensemble.stack import Stack, trainable_numbers

M, B = 3, 4


class Tied(nn.Module):
    """One layer used twice under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x).tanh())
        return y


def chain(*layers: nn.Module, inputs: int = 6) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 5, bias=False), *layers, nn.Linear(5, 3))


MAKE: dict[str, Any] = {
    **{name: (lambda name=name: chain(activation(name))) for name in ACTIVATIONS},
    "nested": lambda: chain(nn.Sequential(nn.ReLU(), LowRankLinear(5, 5, rank=2)), nn.Tanh()),
    "one layer": lambda: nn.Linear(6, 3),
    "layer norm": lambda: chain(nn.LayerNorm(5)),
    "tied": Tied,
    "images": lambda: build(Recipe("cnn", (1, 8, 8), 3, {"channels": [2], "fc": 4, "batch_norm": True}), seed=0),
}
CHAINS = {*ACTIVATIONS, "nested", "one layer"}


def members(name: str) -> list[nn.Module]:
    """Float64 members with random weights."""
    torch.manual_seed(0)
    made = [MAKE[name]().double() for _ in range(M)]
    for net in made:
        for p in net.parameters():
            nn.init.normal_(p)
    return made


def samples(name: str, count: int = M * B) -> Tensor:
    shape = (1, 8, 8) if name == "images" else (6,)
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", list(MAKE))
def test_logits_gradients_and_buffers_are_the_members_own(name: str, train: bool) -> None:
    nets, x = members(name), samples(name)
    stack = Stack(nets).train(train)
    assert is_chain(nets[0]) == (name in CHAINS)
    pixels = x.clone().requires_grad_()
    logits = stack(pixels)
    gradient, *moved = torch.autograd.grad(logits.square().sum(), [pixels, *stack.trainable])
    assert stack.flat.shape == (M, trainable_numbers(nets[0]))
    for m, net in enumerate(nets):
        own = x[m * B : (m + 1) * B].clone().requires_grad_()
        expected = net.train(train)(own)
        torch.testing.assert_close(logits[m * B : (m + 1) * B], expected)
        at, *others = torch.autograd.grad(expected.square().sum(), [own, *net.parameters()])
        torch.testing.assert_close(gradient[m * B : (m + 1) * B], at)
        for ours, theirs in zip(moved, others, strict=True):
            torch.testing.assert_close(ours[m], theirs)
        for ours, theirs in zip(stack.net.buffers(), net.buffers(), strict=True):
            torch.testing.assert_close(ours[m], theirs)


@pytest.mark.parametrize("name", ["relu", "images"])
def test_together_shows_every_member_the_same_samples(name: str) -> None:
    nets, x = members(name), samples(name, 5)
    logits = Stack(nets).eval().together(x)
    for m, net in enumerate(nets):
        torch.testing.assert_close(logits[m], net.eval()(x))


@pytest.mark.parametrize("name", ["nested", "tied", "images"])
def test_members_are_copied_and_written_back(name: str) -> None:
    nets = members(name)
    before, stack = copy.deepcopy(nets), Stack(nets)
    for value in stack.changing():
        value.add_(torch.arange(1, M + 1, dtype=value.dtype).view(M, *[1] * (value.dim() - 1)))
    stack.flat[:, 0] = torch.arange(M)
    for net, old in zip(nets, before, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), old.state_dict().values(), strict=True))
    stack.write(stack.changing(), nets)
    for m, (net, old) in enumerate(zip(nets, before, strict=True)):
        flat = torch.cat([(p + m + 1).flatten() for p in old.parameters()])
        flat[0] = m
        torch.testing.assert_close(torch.cat([p.flatten() for p in net.parameters()]), flat)
        for a, b in zip(net.buffers(), old.buffers(), strict=True):
            torch.testing.assert_close(a, b + m + 1)
        torch.testing.assert_close(stack.eval().together(samples(name, 3))[m], net.eval()(samples(name, 3)))


def test_it_is_held_still_like_a_model() -> None:
    stack = Stack(members("images")).train()
    with frozen(stack):
        assert not any(p.requires_grad for p in stack.parameters())
        stack(samples("images"))
    assert all(int(b.max()) == 0 for name, b in stack.named_buffers() if name.endswith("num_batches_tracked"))
    assert all(p.requires_grad for p in stack.parameters())
    assert stack.training


def test_chains_are_known_by_exact_class_without_hooks() -> None:
    class Doubling(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    hooked = chain(nn.ReLU())
    hooked[1].register_forward_hook(lambda module, given, output: output + 1)
    assert is_chain(chain(nn.ReLU()))
    assert not is_chain(chain(Doubling(5, 5)))
    assert not is_chain(hooked)
    assert not is_chain(nn.Sequential(nn.Flatten(0), nn.Linear(6, 3)))
    assert not is_chain(chain(nn.Dropout(0.1)))
    doubled = [chain(Doubling(5, 5)) for _ in range(M)]
    x = torch.rand(M * B, 6)
    torch.testing.assert_close(Stack(doubled)(x)[:B], doubled[0](x[:B]))
