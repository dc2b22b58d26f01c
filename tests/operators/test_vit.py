"""A vision transformer is read without failing: every matrix is measured, and no global constant is claimed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import brittle
from brittle.data.load import load_data
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import build, parse_zoo
from brittle.operators.heads import Heads
from brittle.operators.network import read_network

INSIDE = ("attention.q", "attention.k", "attention.v", "attention.proj", "fc1", "fc2")
BLOCKS = [f"block{i}.{name}" for i in (1, 2) for name in INSIDE]
SHAPE = (1, 8, 8)


def _built(query: str) -> torch.nn.Module:
    return build(parse_zoo(f"zoo:vit?patch=2&dim=6&depth=2&heads=3&{query}", SHAPE, 10), seed=4)


@pytest.mark.parametrize(
    "query", ["pooling=mean", "pooling=class", "ranks=3&dropout=0.2"], ids=["mean", "class", "low rank"]
)
def test_every_matrix_is_a_layer_and_every_parameter_is_accounted_for(query: str) -> None:
    model = _built(query)
    network = read_network(model, SHAPE)
    assert [layer.name for layer in network.layers] == ["embed", *BLOCKS, "head"]
    assert all(layer.on_input for layer in network.layers)
    norms = [f"block{i}.norm{j}" for i in (1, 2) for j in (1, 2)] + ["norm"]
    gains = {f"{name}.{part}" for name in norms for part in ("weight", "bias")}
    # The first layer of a low-rank pair reads the norm: gains join it all the same.
    assert set(network.folded) == {"positions.weight", *gains}
    assert network.unmeasured == ()
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    outside = sum(sizes[name] for name in network.folded)
    assert sum(layer.parameters for layer in network.layers) + outside == sum(sizes.values())


@pytest.mark.parametrize("query", ["", "ranks=3"], ids=["dense", "low rank"])
def test_structure_matrices_are_the_weights(query: str) -> None:
    model = _built(query)
    for layer in read_network(model, SHAPE).layers:
        module = model.get_submodule(layer.name)
        low = isinstance(module, LowRankLinear | LowRankConv2d)
        want = module.second.weight.flatten(1) @ module.first.weight.flatten(1) if low else module.weight.flatten(1)
        torch.testing.assert_close(layer.view.matrix(), want.double(), rtol=1e-5, atol=1e-7)
        assert (layer.view.kind == "low-rank") == low


def test_heads_are_known_by_their_rows_and_columns() -> None:
    heads = {layer.name: layer.view.heads for layer in read_network(_built(""), SHAPE).layers if "block1" in layer.name}
    row, column = Heads(3, 0), Heads(3, 1)
    assert heads == dict(zip([f"block1.{name}" for name in INSIDE], [row, row, row, column, None, None], strict=True))


def test_a_layer_acts_on_its_real_input() -> None:
    """Each view is compared with what the module does to what it is given, bias aside (gains are 1 and shifts 0)."""
    model = _built("pooling=class").double()
    views = {layer.name: layer.view for layer in read_network(model, SHAPE).layers}
    met: dict[str, tuple[Tensor, Tensor]] = {}
    for name in views:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: met.update({name: (inputs[0], output)})
        )
    x = torch.rand(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model(x)
    for name, view in views.items():
        before, after = met[name]
        bias = model.get_submodule(name).bias.view(-1, *([1] * (after.dim() - 2 if name == "embed" else 0)))
        assert view.in_shape == before.shape[1:]
        torch.testing.assert_close(view.apply(before) + bias, after, rtol=1e-9, atol=1e-12)


def test_no_global_constant_and_the_reasons() -> None:
    network = read_network(_built(""), SHAPE)
    assert network.graph is not None
    for why in ("layer norm's constant grows to 316", "product of two values", "softmax"):
        assert why in network.why
    assert network.why.count("layer norm") == 1  # five of them, one reason
    (rung,) = brittle.lipschitz(_built(""), "l2", SHAPE)
    assert rung.value is None
    assert rung.assumes == network.why


def test_audit_from_pixels_to_attacks() -> None:
    """A quick audit on real images: layers, no bound and why, attacks, and certificates that say none."""
    test = load_data("digits").split("test")
    radii = {"linf": 0.05, "l2": 0.5}
    audit = brittle.audit(
        _built("mean=0.3&std=0.4"), (test.x, test.y), samples=12, effort="quick", directions=0, epsilon=radii
    )
    assert [row.name for row in audit.layers] == [f"model.{name}" for name in ("embed", *BLOCKS, "head")]
    for row in audit.layers:
        assert 0 < row.norms["l2"].lower <= row.norms["l2"].value
    assert audit.unmeasured == ()
    assert [len(row.heads) for row in audit.layers[1:5]] == [3, 3, 3, 3]
    for norm in radii:
        product, jacobian = audit.bounds[norm].ladder
        assert product.value is None
        assert "softmax" in product.assumes
        assert jacobian.status == "lower_bound"
        assert audit.bounds[norm].best is None
    assert {(row.norm, row.epsilon) for row in audit.robustness} == set(radii.items())
    for row in audit.robustness:
        assert row.certified == 0
        assert row.certified_by.startswith("none (layer norm's constant")
        assert 0 <= row.attacked <= row.clean <= 1
        assert row.steps
