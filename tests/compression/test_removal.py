"""Networks with fewer units: exact copies of what stays, refusals before any change, files, training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.removal import checked_units, remove, without_units
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention
from brittle.models.file import load, save
from brittle.models.recipe import recipe_of
from tests.compression.coupled_nets import NETS, SMALL, case, ignoring, random_kept


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(SMALL), seed=st.integers(0, 2**31))
def test_any_units_can_go_together(name: str, seed: int) -> None:
    net = case(name)
    kept = random_kept(net.couplings, seed)
    x = net.pixels(2, seed)
    with torch.no_grad():
        wanted = ignoring(net.model, net.couplings, kept)(x)
        got = remove(net.model, kept, net.couplings)(x)
    assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max()


def test_what_stays_is_copied_exactly_with_its_format_modes_and_flags() -> None:
    net = case("resnet, projected")
    model = copy.deepcopy(net.model).to(torch.bfloat16).train()
    model.bn1.eval()
    model.conv1.weight.requires_grad_(False)
    kept = {"conv1": [3, 1], "layer2.0.conv1": [0, 2, 5]}
    child = remove(model, kept, net.couplings)
    assert torch.equal(child.conv1.weight, model.conv1.weight[[1, 3]])
    assert torch.equal(child.bn1.running_var, model.bn1.running_var[[1, 3]])
    assert torch.equal(child.bn1.bias, model.bn1.bias[[1, 3]])
    block, old = child.layer2[0], model.layer2[0]
    assert torch.equal(block.conv1.weight, old.conv1.weight[[0, 2, 5]][:, [1, 3]])
    assert torch.equal(block.conv2.weight, old.conv2.weight[:, [0, 2, 5]])
    assert torch.equal(block.shortcut[0].weight, old.shortcut[0].weight[:, [1, 3]])
    assert (block.conv1.in_channels, block.conv1.out_channels, child.bn1.num_features) == (2, 3, 2)
    assert {p.dtype for p in child.parameters()} == {torch.bfloat16}
    assert [m.training for m in child.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in child.parameters()] == [p.requires_grad for p in model.parameters()]


def test_grouped_convolutions_lose_whole_groups() -> None:
    net = case("groups")
    child = remove(net.model, {"layers.a": [0, 3]}, net.couplings)
    b, old = child.layers["b"], net.model.layers["b"]
    assert (b.groups, b.in_channels, b.out_channels) == (2, 4, 6)
    assert torch.equal(b.weight, old.weight[[0, 1, 2, 9, 10, 11]])
    assert torch.equal(b.bias, old.bias[[0, 1, 2, 9, 10, 11]])


def test_torchs_attention_gives_way_to_one_with_fewer_heads() -> None:
    net = case("torchvision vit")
    model = copy.deepcopy(net.model)
    old = model.encoder.layers.encoder_layer_0.self_attention
    old.in_proj_weight.requires_grad_(False)
    child = remove(model, {net.couplings[0].name: [1, 2]}, net.couplings)
    new = child.encoder.layers.encoder_layer_0.self_attention
    assert isinstance(new, SelfAttention)
    assert new.heads == 2
    assert torch.equal(new.k.weight, old.in_proj_weight[32 + 8 : 32 + 24])
    assert torch.equal(new.proj.weight, old.out_proj.weight[:, 8:24])
    assert not new.v.weight.requires_grad
    assert new.proj.weight.requires_grad
    assert type(child.encoder.layers.encoder_layer_1.self_attention) is nn.MultiheadAttention  # kept all its heads


def test_timms_attention_knows_its_new_sizes() -> None:
    net = case("timm vit_tiny")
    attention = remove(net.model, {"blocks.1.attn": [2]}, net.couplings).blocks[1].attn
    assert (attention.num_heads, attention.head_dim, attention.attn_dim) == (1, 64, 64)
    assert torch.equal(attention.qkv.weight[64:128], net.model.blocks[1].attn.qkv.weight[192 + 128 : 192 + 192])


def test_all_units_kept_is_the_same_network_and_the_original_is_left_alone() -> None:
    net = case("cnn, norms and pools")
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    child = remove(net.model, {c.name: range(c.units) for c in net.couplings}, net.couplings)
    assert torch.equal(child(net.pixels(2)), net.model(net.pixels(2)))
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(v, before[k]) for k, v in net.model.state_dict().items())


@pytest.mark.parametrize("name", ["mlp, normalised", "cnn", "cnn, low rank", "resnet, padded", "resnet_b", "vit"])
def test_children_of_zoo_models_can_be_saved(name: str, tmp_path: Path) -> None:
    net = case(name)
    model = copy.deepcopy(net.model).float()
    child = remove(model, random_kept(net.couplings, 3), net.couplings)
    save(child, tmp_path / "child.safetensors")
    x = net.pixels(3).float()
    assert torch.equal(load(tmp_path / "child.safetensors")(x), child(x))
    assert recipe_of(model) != recipe_of(child)


@pytest.mark.parametrize("name", NETS)
def test_every_child_trains_a_step(name: str) -> None:
    net = case(name)
    half = {c.name: range((c.units + 1) // 2) for c in net.couplings}
    child = remove(net.model, half, net.couplings).train()
    before = [p.detach().clone() for p in child.parameters()]
    optimiser = torch.optim.SGD(child.parameters(), lr=0.1)
    loss = functional.cross_entropy(child(net.pixels(4)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    optimiser.step()
    assert all(torch.isfinite(p).all() for p in child.parameters())
    moved = [not torch.equal(p, old) for p, old in zip(child.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2


def test_refusals_come_before_any_change() -> None:
    net = case("cnn")
    for kept, message in (
        ({"conv9": [0]}, "no coupling 'conv9' to take units from: expected one of conv1, conv2, fc1"),
        ({"conv1": []}, "coupling 'conv1' would lose all of its 6 channels: keep at least one"),
        ({"fc1": [0, 10]}, r"units of 'fc1' to keep must be distinct numbers in 0\.\.9, got \[0, 10\]"),
        ({"conv1": [-1, 0]}, r"distinct numbers in 0\.\.5, got \[-1, 0\]"),
        ({"conv2": [1, 1]}, r"distinct numbers in 0\.\.7, got \[1, 1\]"),
        ({"fc1": range(5, 30)}, r"got \[5, 6, 7, 8, 9, 10, 11, 12\]\.\.\."),
    ):
        with pytest.raises(ModelError, match=message):
            remove(net.model, kept, net.couplings)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected one of none"):
        checked_units({"conv1": [0]}, ())


def test_couplings_of_another_network_are_refused() -> None:
    net, other = case("cnn"), case("resnet, padded")
    with pytest.raises(
        ModelError, match=r"the model has no layer 'layer1\.0\.conv1' with channels: take the couplings"
    ):
        remove(net.model, {"layer1.0.conv1": [0]}, other.couplings)
    wider = case("vit").couplings  # block1.fc1 has 24 neurons
    narrow = case("vit, low rank").model
    with pytest.raises(ModelError, match=r"'block1\.fc1' with channels"):
        remove(narrow, {"block1.fc1": [0]}, wider)
    with pytest.raises(ModelError, match=r"layer 'fc1' has 10 positions, coupling 'fc1' names position 11: take"):
        remove(net.model, {"fc1": [0]}, case("mlp").couplings)


def test_couplings_that_empty_a_layer_together_are_refused() -> None:
    halves = [
        Coupling(name, "neurons", 2, (Member("fc1", "out", index), Member("head", "in", index)))
        for name, index in (("a", (tuple(range(5)), ())), ("b", (tuple(range(5, 10)), ())))
    ]
    with pytest.raises(ModelError, match="layer 'fc1' would lose all of its channels: keep more units"):
        without_units(case("cnn").model, {"a": [1], "b": [1]}, halves)


def test_a_convolution_cannot_lose_part_of_a_group() -> None:
    part = Coupling("layers.b", "channels", 12, (Member("layers.b", "out", tuple((i,) for i in range(12))),))
    with pytest.raises(ModelError, match=r"layer 'layers\.b': a group of a convolution can only go as a whole"):
        without_units(case("groups").model, {"layers.b": range(1, 12)}, [part])
