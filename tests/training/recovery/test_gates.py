"""Gates: closed they remove a unit, and their gradients are those of brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.find import couplings as find
from brittle.compression.removal import remove
from brittle.errors import ModelError
from brittle.models.layers import LowRankConv2dIn, LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.training.recovery.gates import gated, read_by
from tests.training.recovery.nets import channels, weights
from tests.training.toys import same


def cnn() -> tuple[nn.Module, list[Coupling], Tensor]:
    """A convolution read by a grouped one, that one by a dense layer after a flatten."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        LowRankLinear(6 * 4, 5, 3),
        nn.Tanh(),
        nn.Linear(5, 3),
    )
    nn.init.constant_(net[1].bias, 0.5)  # so that no unit is dead
    couplings = [channels("0", 4, "3"), channels("3", 6, "6", places=4), channels("6", 5, "8")]
    return net.double().eval(), couplings, torch.rand(3, 1, 4, 4, dtype=torch.float64)


def test_a_closed_gate_is_a_reader_that_ignores_the_unit() -> None:
    net, couplings, x = cnn()
    open_ = {c.name: torch.ones(c.units, dtype=torch.float64) for c in couplings}
    with gated(net, couplings, open_):
        torch.testing.assert_close(net(x), net(x))
        whole = net(x)
    torch.testing.assert_close(whole, net(x))
    changes: list[float] = []
    for unit in range(4):
        closed = torch.ones(4).double().index_fill(0, torch.tensor([unit]), 0.0)
        with gated(net, couplings, {"0": closed}):
            answer = net(x)
        kept = net[3].weight.detach().clone()
        with torch.no_grad():  # input channel `unit` is the first or second of its group
            net[3].weight[(unit // 2) * 3 : (unit // 2 + 1) * 3, unit % 2] = 0
            expected = net(x)
            net[3].weight.copy_(kept)
        torch.testing.assert_close(answer, expected)
        changes.append(float((answer - whole).detach().abs().max()))
    assert min(changes) > 1e-4, changes


def test_gradients_of_gates_are_differences() -> None:
    net, couplings, x = cnn()
    generator = torch.Generator().manual_seed(1)
    gates = {c.name: torch.rand(c.units, generator=generator, dtype=torch.float64) for c in couplings}

    def loss(values: dict[str, Tensor]) -> Tensor:
        with gated(net, couplings, values):
            found: Tensor = net(x).square().sum()
        return found

    leaves = {name: value.clone().requires_grad_() for name, value in gates.items()}
    gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
    for name, gradient in zip(gates, gradients, strict=True):
        for j in range(len(gradient)):
            up, down = (
                float(loss({**gates, name: gates[name] + sign * 1e-6 * (torch.arange(len(gradient)) == j)}).detach())
                for sign in (1, -1)
            )
            assert float(gradient[j]) == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9), (name, j)


@pytest.mark.parametrize("behind", [True, False])
def test_heads_of_torchs_attention(behind: bool) -> None:
    """Its projection is read and never called; the member may name it or the attention itself."""
    torch.manual_seed(0)

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.attention(x, x, x, need_weights=False)[0]
            return y.mean(1)

    net, x = Attending().double().eval(), torch.rand(2, 5, 6, dtype=torch.float64)
    places = ((0, 1), (2, 3), (4, 5))
    reader = Member("attention.out_proj" if behind else "attention", "in", places)
    coupling = Coupling("attention", "heads", 3, (reader,))
    before, whole = weights(net), net(x)
    gate = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    with gated(net, [coupling], {"attention": gate}):
        answer = net(x)
        (slope,) = torch.autograd.grad(net(x).sum(), gate)
        with torch.no_grad():
            torch.testing.assert_close(net(x), answer)
    assert same(before, weights(net))
    torch.testing.assert_close(net(x), whole)
    with torch.no_grad():
        net.attention.out_proj.weight[:, 2:4] = 0
    torch.testing.assert_close(answer.detach(), net(x))
    assert float(slope.abs().min()) > 0


def test_couplings_without_gates_and_an_error_leave_nothing_behind() -> None:
    net, couplings, x = cnn()
    before = net(x)
    gates = {"0": torch.zeros(4)}

    def stopped() -> None:
        with gated(net, couplings, gates):
            assert not torch.equal(net(x), before)
            gates["0"] = torch.ones(4)
            torch.testing.assert_close(net(x), before)  # gates are looked up in every pass
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    torch.testing.assert_close(net(x), before)


def test_the_weights_that_read_each_input() -> None:
    net, _, _ = cnn()
    conv, linear = net[3], net[8]
    by_channel = read_by(net, Member("3", "in", ()))
    for i in range(4):
        expected = conv.weight[(i // 2) * 3 : (i // 2 + 1) * 3, i % 2].flatten()
        torch.testing.assert_close(by_channel[i], expected)
    torch.testing.assert_close(read_by(net, Member("8", "in", ())), linear.weight.T)
    torch.testing.assert_close(read_by(net, Member("6", "in", ())), net[6].first.weight.T)
    pair = nn.Sequential(LowRankConv2dIn(4, 3, 3, 2))
    torch.testing.assert_close(read_by(pair, Member("0", "in", ())), pair[0].first.weight.flatten(1).T)


def test_what_cannot_be_gated_is_refused_and_undone() -> None:
    net, couplings, x = cnn()
    before = net(x)
    strange = Coupling("1", "channels", 4, (Member("1", "in", tuple((j,) for j in range(4))),))
    gates = {"0": torch.zeros(4), "1": torch.zeros(4)}
    with (
        pytest.raises(ModelError, match=r"cannot gate what '1' reads: expected a dense layer .*, got BatchNorm2d"),
        gated(net, [couplings[0], strange], gates),
    ):
        pass
    torch.testing.assert_close(net(x), before)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("cnn", {"channels": (4, 6), "fc": (8,), "batch_norm": True}), ("resnet", {"depth": 8}), ("vit", {})],
)
def test_closed_gates_are_what_removal_leaves(architecture: str, options: dict[str, object]) -> None:
    shape = (3, 32, 32) if architecture == "resnet" else (1, 16, 16)
    net = build(Recipe(architecture, shape, 10, options), seed=0).double().eval()
    x, generator = torch.rand(2, *shape, dtype=torch.float64), torch.Generator().manual_seed(0)
    found = find(net, x)
    gates = {c.name: (torch.rand(c.units, generator=generator) < 0.6).double() for c in found}
    for gate in gates.values():
        gate[0] = 1.0
    smaller = remove(net, {name: gate.nonzero().flatten().tolist() for name, gate in gates.items()}, found)
    with gated(net, found, gates), torch.no_grad():
        torch.testing.assert_close(net(x), smaller(x))
    assert len(found) > 2
