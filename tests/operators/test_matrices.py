"""Which matrices modules hold, and which way round: compared with what the modules do to unit inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import brittle
from brittle.operators.matrices import held_matrices
from brittle.operators.network import read_network
from tests.operators.nets import settled


class Doubled(nn.Linear):
    """A kind of linear layer."""


class Stranger(nn.Module):
    """A module that nobody knows, with parameters of several shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.ones(3, 4))
        self.blocks = nn.Parameter(torch.ones(2, 3, 4))
        self.shift = nn.Parameter(torch.ones(3))
        self.pos_embed = nn.Parameter(torch.ones(1, 3, 4))
        self.reg_token = nn.Parameter(torch.ones(1, 2, 4))
        self.relative_position_bias_table = nn.Parameter(torch.ones(9, 2))
        self.temperature = nn.Parameter(torch.ones(()))
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))


def _one(model: nn.Module) -> Tensor:
    (layer,) = read_network(model, None).layers
    return layer.view.matrix()


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_has_outputs_as_rows(groups: int) -> None:
    """With a 1 x 1 input each output channel is its row times the input: the module itself, on unit inputs."""
    module = settled(nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)).double()
    units = torch.eye(4, dtype=torch.float64).view(4, 4, 1, 1)
    with torch.no_grad():
        out = module(units)  # (input channel, output channel, 3, 3)
    dense = out.movedim(0, 1)  # (output channel, input channel, 3, 3)
    matrix = _one(module)
    assert tuple(matrix.shape) == (6, 4 // groups * 9)
    for row, block in zip(matrix, dense, strict=True):
        own = block[block.abs().sum((1, 2)) > 0].flatten()
        torch.testing.assert_close(row, own)


def test_three_axes_embeddings_and_subclasses() -> None:
    model = nn.ModuleDict(
        {"c": nn.Conv3d(2, 3, 2), "e": nn.Embedding(7, 4), "b": nn.EmbeddingBag(5, 4), "d": Doubled(4, 2)}
    )
    found = {
        layer.name: (layer.view.kind, tuple(layer.view.matrix().shape)) for layer in read_network(model, None).layers
    }
    assert found == {
        "c": ("conv3d", (3, 16)),
        "e": ("embedding", (7, 4)),
        "b": ("embedding", (5, 4)),
        "d": ("linear", (2, 4)),
    }


@pytest.mark.parametrize("cls", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_have_all_their_matrices(cls: type[nn.RNNBase]) -> None:
    module = cls(3, 4, num_layers=2, bidirectional=True)
    network = read_network(module, None)
    assert {layer.name for layer in network.layers} == {n for n, p in module.named_parameters() if p.dim() == 2}
    assert network.unmeasured == ()
    assert sum(layer.parameters for layer in network.layers) == sum(p.numel() for p in module.parameters())
    cell = read_network(nn.ModuleDict({"cell": nn.LSTMCell(3, 4)}), None)
    assert [layer.name for layer in cell.layers] == ["cell.weight_ih", "cell.weight_hh"]
    assert cell.unmeasured == ()


@pytest.mark.parametrize("other", [{}, {"kdim": 6, "vdim": 10}])
def test_torch_attention_in_parts_does_what_the_module_does(other: dict[str, int]) -> None:
    """The module's output, written out with the matrices of the table: rows are outputs, and the order is q, k, v."""
    module = settled(nn.MultiheadAttention(8, 2, bias=False, batch_first=True, **other)).double()
    rows = {
        layer.name.rpartition(".")[2]: layer.view for layer in read_network(nn.ModuleDict({"a": module}), None).layers
    }
    names = ("q_proj", "k_proj", "v_proj") if other else ("q", "k", "v")
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(1, 5, width, generator=generator, dtype=torch.float64)
        for width in (8, other.get("kdim", 8), other.get("vdim", 8))
    ]
    q, k, v = (
        (x[0] @ rows[name].matrix().T).view(5, 2, 4).transpose(0, 1) for x, name in zip(inputs, names, strict=True)
    )
    out = ((q @ k.transpose(1, 2) / 4**0.5).softmax(-1) @ v).transpose(0, 1).reshape(5, 8) @ rows["out_proj"].matrix().T
    with torch.no_grad():
        torch.testing.assert_close(out, module(*inputs)[0][0])
    assert [rows[name].heads.count for name in names] == [2, 2, 2]
    assert (rows["out_proj"].heads.count, rows["out_proj"].heads.axis) == (2, 1)


def test_attention_counts_every_parameter() -> None:
    for options in ({}, {"kdim": 6, "vdim": 10}, {"add_bias_kv": True}):
        module = nn.MultiheadAttention(8, 2, **options)
        network = read_network(module, None)
        listed = {row.name: row.why for row in network.unmeasured}
        sizes = {name: p.numel() for name, p in module.named_parameters()}
        assert sum(layer.parameters for layer in network.layers) + sum(sizes[n] for n in listed) == sum(sizes.values())
        assert set(listed) == ({"bias_k", "bias_v"} if "add_bias_kv" in options else set())
        assert set(listed.values()) <= {"a token: joined to the sequence, no map"}


def test_what_is_not_known_is_listed_with_its_reason() -> None:
    why = {row.name: row.why for row in read_network(nn.ModuleDict({"s": Stranger()}), None).unmeasured}
    unknown = "of Stranger, a module that is not known: which side is the input is not known"
    assert why == {
        "s.mix": f"'mix' {unknown}",
        "s.blocks": f"'blocks' {unknown}",
        "s.shift": "a vector (gain, shift or token), not a matrix",
        "s.pos_embed": "positions: added to the tokens, no map",
        "s.reg_token": "a token: joined to the sequence, no map",
        "s.relative_position_bias_table": "a table of biases for attention scores: added, no map",
        "s.temperature": "a number, not a matrix",
        "s.scale": "a vector (gain, shift or token), not a matrix",
    }


def test_integers_without_their_scale_are_not_measured() -> None:
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(torch.ones(3, 4, dtype=torch.int8), requires_grad=False)
    network = read_network(layer, None)
    assert network.layers == ()
    assert {row.name: row.why for row in network.unmeasured}["weight"] == "stored as int8, its scale is not known"


def test_half_precision_and_transposed_memory_are_measured_without_a_copy_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)).to(torch.bfloat16)
    network = read_network(model, None)
    stored = network.layers[0].view.stored  # type: ignore[attr-defined]
    assert stored.data_ptr() == model[0].weight.data_ptr()
    assert stored.dtype == torch.bfloat16
    first, second = brittle.structure(model)
    assert first.norms["l2"].value == pytest.approx(float(torch.linalg.matrix_norm(model[0].weight.double(), 2)))
    assert second.shape == (3, 4)
    assert model[0].weight.dtype == torch.bfloat16


def test_labels_are_parameters_without_their_last_word() -> None:
    model = nn.ModuleDict({"a": nn.MultiheadAttention(4, 2), "l": nn.Linear(2, 2)})
    assert [held.label for held in held_matrices(model)] == ["a.in_proj_weight", "a.out_proj", "l"]
    assert [held.label for held in held_matrices(nn.Linear(2, 2))] == ["weight"]
