"""Couplings of whole networks: which there are, and that removing units is ignoring them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.find import couplings
from brittle.compression.removal import remove
from brittle.errors import ModelError
from tests.compression.coupled_nets import NETS, Wired, case, conv, ignoring, random_kept
from tests.compression.foreign_nets import foreign


def singles(count: int, start: int = 0) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(start, start + count))


@pytest.mark.parametrize("name", NETS)
def test_the_couplings_are_those_that_a_person_would_name(name: str) -> None:
    names = [coupling.name for coupling in case(name).couplings]
    if NETS[name][2]:
        assert names == NETS[name][2]
    else:  # every block but the last convolution's neighbours, each named after its first layer
        assert len(names) == 24


@pytest.mark.parametrize("name", NETS)
def test_the_child_is_the_parent_that_ignores_the_units(name: str) -> None:
    net = case(name)
    x = net.pixels(3)
    for seed in (0, 1):
        kept = random_kept(net.couplings, seed)
        with torch.no_grad():
            wanted = ignoring(net.model, net.couplings, kept)(x)
            got = remove(net.model, kept, net.couplings)(x)
        assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max()
        assert not torch.allclose(wanted, net.model(x))  # the units had an effect


@pytest.mark.parametrize("name", NETS)
def test_each_coupling_can_lose_a_unit_on_its_own(name: str) -> None:
    net = case(name)
    x = net.pixels(2)
    chosen = net.couplings if len(net.couplings) < 8 else net.couplings[::6]
    for coupling in chosen:
        kept = {coupling.name: range(1, coupling.units)}
        with torch.no_grad():
            wanted = ignoring(net.model, net.couplings, kept)(x)
            got = remove(net.model, kept, net.couplings)(x)
        assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max(), coupling.name


def test_a_flatten_spreads_a_channel_over_its_pixels() -> None:
    conv1, conv2, fc1 = case("cnn").couplings
    assert conv1 == Coupling(
        "conv1", "channels", 6, (Member("conv1", "out", singles(6)), Member("conv2", "in", singles(6)))
    )
    pixels = tuple(tuple(range(9 * j, 9 * (j + 1))) for j in range(8))  # 12 x 12, halved twice
    assert conv2 == Coupling("conv2", "channels", 8, (Member("conv2", "out", singles(8)), Member("fc1", "in", pixels)))
    assert fc1 == Coupling("fc1", "neurons", 10, (Member("fc1", "out", singles(10)), Member("head", "in", singles(10))))


def test_an_addition_joins_the_layers_of_a_residual_stream() -> None:
    stream = case("resnet, projected").couplings[0]
    sides = {(m.module, m.side) for m in stream.members}
    assert sides == {
        ("conv1", "out"),
        ("bn1", "out"),
        ("layer1.0.conv1", "in"),
        ("layer1.0.conv2", "out"),
        ("layer1.0.bn2", "out"),
        ("layer2.0.conv1", "in"),
        ("layer2.0.shortcut.0", "in"),
    }


def test_concatenated_channels_keep_their_places() -> None:
    a, b, _ = case("concat").couplings
    assert {m.module: m.index for m in a.members} == {
        "layers.a": singles(4),
        "layers.norm": singles(4),
        "layers.c": singles(4),
    }
    assert {m.module: m.index for m in b.members} == {
        "layers.b": singles(6),
        "layers.norm": singles(6, start=4),
        "layers.c": singles(6, start=4),
    }


def test_groups_of_a_convolution_go_as_a_whole() -> None:
    pairs, triples = (tuple(tuple(range(n * g, n * (g + 1))) for g in range(4)) for n in (2, 3))
    grouped = case("groups").couplings[0]
    assert grouped.units == 4
    assert [(m.module, m.side, m.index) for m in grouped.members] == [
        ("layers.a", "out", pairs),
        ("layers.b", "out", triples),
        ("layers.c", "in", triples),
    ]
    doubling = case("depthwise, doubling").couplings[0]
    doubled = tuple((2 * j, 2 * j + 1) for j in range(6))
    assert [m.index for m in doubling.members] == [singles(6), doubled, doubled]


def test_channels_that_a_product_joins_are_one_unit() -> None:
    gated = case("gated").couplings[0]
    assert gated.members[0] == Member("layers.a", "out", tuple((j, j + 4) for j in range(4)))


def test_ranks_of_pairs_logits_and_pixels_are_no_units() -> None:
    low = {(m.module, m.side) for c in case("cnn, low rank").couplings for m in c.members}
    assert low == {
        ("conv1", "out"),
        ("conv2.first", "in"),
        ("conv2.second", "out"),
        ("fc1.first", "in"),
        ("fc1.second", "out"),
        ("head", "in"),
    }


def test_the_model_comes_back_as_it_was() -> None:
    model = NETS["resnet, projected"][0]().train()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    couplings(model, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_dead_and_zero_weights_hide_no_coupling() -> None:
    model = NETS["cnn"][0]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert couplings(model, torch.rand(2, 1, 12, 12)) == case("cnn").couplings


def test_a_network_without_a_graph_is_left_out_as_far_as_it_must_be() -> None:
    def shuffled(n: nn.ModuleDict, x: Tensor) -> Tensor:
        a = n["a"](x).relu()
        a = a.view(len(a), 2, 3, *a.shape[2:]).transpose(1, 2).flatten(1, 2)
        return n["head"](n["b"](a).relu().mean((2, 3)))

    model = Wired(shuffled, a=conv(3, 6), b=conv(6, 5), head=nn.Linear(5, 4))
    found = couplings(model, torch.rand(2, 3, 6, 6))
    assert "layers.a" not in {coupling.name for coupling in found}
    assert couplings(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.rand(2, 1, 2, 2)) == ()


@pytest.mark.parametrize("norm", [lambda: nn.LayerNorm(6), lambda: nn.GroupNorm(2, 6)], ids=["layer", "group"])
def test_channels_that_a_norm_mixes_stay(norm: Any) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), norm(), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    assert [c.name for c in couplings(model, torch.rand(2, 1, 2, 2))] == ["4"]


def test_computed_weights_stay() -> None:
    model = nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 5), nn.Linear(5, 3))
    assert [c.name for c in couplings(model, torch.rand(2, 1, 2, 2))] == ["3"]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.again(self.first(x.flatten(1))).relu()))


def _tied() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3))
    model[3].weight = model[1].weight
    return model


def _broken() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    return model


class Uncopied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.kept = self.layer(torch.zeros(4))  # carries a history

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_tied(), "layer '1' shares its weights with '3': tied layers cannot lose channels one by one"),
        (Twice(), "layer 'again' runs 2 times in one pass: shared layers cannot lose channels"),
        (_broken(), r"'1\.weight' holds NaN or infinity"),
        (nn.Sequential(nn.Linear(7, 3)), r"does not run on pixels of shape \(1, 2, 2\) in float64 \(.*\): pass pixels"),
        (nn.Conv2d(1, 2, 1), r"expected logits \(b, classes\) from the model, got shape \(2, 2, 2, 2\): wrap it"),
        (Uncopied(), r"the model cannot be copied \(.*\): pass a plain nn.Module"),
    ],
    ids=["tied", "shared", "nan", "shape", "logits", "copy"],
)
def test_refusals(model: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        couplings(model, torch.rand(2, 1, 2, 2))


def test_one_vector_is_no_batch_of_pixels() -> None:
    with pytest.raises(ModelError, match=r"couplings need example pixels \(b, \*shape\), got shape \(4,\)"):
        couplings(nn.Linear(4, 2), torch.rand(4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "name", "side", "count"),
    [
        ("torchvision", "vit_b_16", 224, 24),
        ("torchvision", "resnet50", 64, 37),
        ("torchvision", "densenet121", 64, 58),
        ("torchvision", "swin_t", 64, 12),
        ("timm", "vit_tiny_patch16_224", 224, 24),
    ],
)
def test_large_foreign_networks(package: str, name: str, side: int, count: int) -> None:
    model = foreign(package, name)
    x = torch.rand(2, 3, side, side)
    found = couplings(model, x)
    assert len(found) == count
    kept = random_kept(found, 0)
    model, x = model.double(), x.double()
    with torch.no_grad():
        wanted = ignoring(model, found, kept)(x)
        got = remove(model, kept, found)(x)
    assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max()


def test_the_check_does_not_depend_on_the_order_of_calls() -> None:
    model = copy.deepcopy(case("vit").model)
    assert couplings(model, torch.rand(2, 3, 8, 8)) == case("vit").couplings
