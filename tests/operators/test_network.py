"""The front door to a model's graph: what comes back, what is refused and why, and that the model stays as it was."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from brittle.errors import ModelError
from brittle.operators.network import Network, read_network
from brittle.operators.norms import OPERATOR_NORMS
from brittle.operators.twin import readable_copy
from tests.operators.nets import NETS, Step, settled


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 4)
    )


def names(network: Network) -> list[tuple[str, int, bool]]:
    return [(layer.name, layer.parameters, layer.on_input) for layer in network.layers]


def test_the_model_comes_back_as_it_was() -> None:
    model = net().train()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    seen: list[str] = []
    handle = model[0].register_forward_hook(lambda *_: seen.append("hook"))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    identities = [id(p) for p in model.parameters()]
    flags = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    network = read_network(model, (2, 6, 6))
    assert network.why == ""
    assert [(m.training, len(m._forward_hooks)) for m in model.modules()] == flags
    assert [id(p) for p in model.parameters()] == identities
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    for key, value in model.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])
    assert all(p.grad is None for p in model.parameters())
    handle.remove()


def test_layers_hold_weights_in_float64_on_the_real_input() -> None:
    model = net().eval()
    network = read_network(model, (2, 6, 6))
    assert names(network) == [("0", 57, True), ("5", 196, True)]
    assert network.layers[0].view.in_shape == (2, 6, 6)
    assert torch.equal(network.layers[1].view.matrix(), model[5].weight.detach().double())
    assert network.unmeasured == ()
    assert network.folded == ("1.weight", "1.bias")


def test_without_an_input_size_matrices_are_found_by_class() -> None:
    network = read_network(net(), None)
    assert network.graph is None
    assert network.why == "the input size is not known"
    assert names(network) == [("0", 57, False), ("5", 196, False)]
    assert tuple(network.layers[0].view.matrix().shape) == (3, 18)
    assert [(row.name, row.why) for row in network.unmeasured] == [
        ("1.weight", "gain or shift of BatchNorm2d: no matrix by itself"),
        ("1.bias", "gain or shift of BatchNorm2d: no matrix by itself"),
    ]


def test_by_class_counts_tied_and_parametrised_weights_once() -> None:
    tied = nn.Linear(4, 4)
    tied.weight = (first := nn.Linear(4, 4)).weight
    scaled = parametrizations.weight_norm(nn.Linear(4, 3))
    model = nn.Sequential(first, tied, scaled, nn.Bilinear(3, 3, 2))
    network = read_network(model, None)
    assert names(network) == [("0", 20 + 4, False), ("2", 3 + 3 + 12, False)]  # one matrix, two shifts
    assert {row.name: row.why for row in network.unmeasured} == {
        "3.weight": "a bilinear map has no matrix",
        "3.bias": "a vector (gain, shift or token), not a matrix",
    }
    assert read_network(nn.Linear(2, 2), None).layers[0].name == "weight"


class Branch(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if float(x.sum()) > 0 else self.fc(-x)


class Mixing(nn.Module):
    """Each sample's logits hold another sample's, by an operator the tables know: swapped axes of equal size."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(13, 13)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).transpose(0, 1) if len(x) == 13 else self.fc(x) + self.fc(x).mean(0)


def test_models_that_cannot_be_traced_fall_back_with_the_reason() -> None:
    network = read_network(Branch(), (4,))
    assert network.graph is None
    assert network.why.startswith("the model could not be traced: ")
    assert len(network.why) > 40
    assert "\n" not in network.why
    assert names(network) == [("fc", 15, False)]
    wrong_size = read_network(net(), (2, 5, 5))
    assert wrong_size.graph is None
    assert "could not be traced" in wrong_size.why


def test_samples_that_affect_each_other_are_refused() -> None:
    network = read_network(Mixing(), (13,))
    assert network.graph is None
    assert network.why == "a sample's logits change with the other samples of its batch"


def test_outputs_that_are_not_finite_are_refused() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4), *[Step(lambda x: (x.abs() * 1e200).relu()) for _ in range(2)], nn.Linear(4, 3)
    )
    network = read_network(model, (4,))
    assert network.graph is None
    assert "not all finite" in network.why


def test_zero_and_cancelling_outputs_are_read() -> None:
    zero = net()
    nn.init.zeros_(zero[5].weight), nn.init.zeros_(zero[5].bias)
    assert read_network(zero, (2, 6, 6)).why == ""
    # x - x + rounding: logits of 1e-17 that no relative comparison with the logits themselves could accept
    # (batch norm is folded, so that the graph rounds otherwise than the model)
    body = nn.Sequential(nn.Linear(4, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 50), nn.BatchNorm1d(50))
    cancelling = settled(nn.Sequential(body, Step(lambda x: (x * 3 - x - x) - x), nn.Linear(50, 3, bias=False)))
    assert read_network(cancelling, (4,)).why == ""


def test_a_mistake_that_small_logits_could_hide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from brittle.operators import handlers, reader

    model = settled(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)))
    with torch.no_grad():
        model[2].weight.mul_(1e-9), model[2].bias.zero_()
    table = {**handlers.OPERATORS, "aten.relu": handlers.OPERATORS["aten.flatten"]}
    assert read_network(model, (4,)).why == ""
    monkeypatch.setattr(reader, "OPERATORS", table)
    assert "differs" in read_network(model, (4,)).why


def test_bad_models_are_refused_at_once() -> None:
    with pytest.raises(ModelError, match="has no parameters"):
        read_network(nn.ReLU(), (4,))
    broken = net()
    with torch.no_grad():
        broken[0].weight[0, 0, 0, 0] = float("nan")
    for shape in ((2, 6, 6), None):
        with pytest.raises(ModelError, match="finite weights"):
            read_network(broken, shape)

    class Uncopyable(nn.Linear):
        def __deepcopy__(self, memo: object) -> None:
            raise RuntimeError("holds a file")

    with pytest.raises(ModelError, match=r"cannot be copied \(holds a file\)"):
        read_network(Uncopyable(2, 2), (2,))


def test_one_name_stands_for_one_operator() -> None:
    """Norms are looked up by name: two weights without modules, and one used on two sizes, must not share a norm."""
    make, shape = NETS["shared"]
    network = read_network(make(), shape)
    assert network.graph is not None
    views = {}
    for node in network.graph.nodes:
        if hasattr(node.op, "view") and node.op.view.kind == "linear":
            assert node.name not in views
            views[node.name] = node.op.view
    parameters = dict(make().double().named_parameters())
    assert list(views) == ["fc", "fc (use 2)", "w1", "aten.linear", "aten.linear#2", "fc (use 3)", "w2"]
    assert torch.equal(views["w1"].weight, parameters["w1"])
    assert torch.equal(views["w2"].weight, parameters["w2"].T)
    assert torch.equal(views["aten.linear#2"].weight, parameters["b"] * 3)
    assert [layer.name for layer in network.layers] == ["fc", "w1", "aten.linear", "aten.linear#2", "w2"]
    assert network.folded == ("shift",)
    assert [(row.name, row.why) for row in network.unmeasured] == [("idle", "the model's output does not depend on it")]


def test_a_convolution_used_on_two_sizes_is_one_layer_and_two_operators() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(F.max_pool2d(self.conv(x), 2)).flatten(1))

    network = read_network(settled(Pyramid()), (2, 4, 4))
    assert names(network) == [("conv", 38, True), ("head", 27, True)]
    assert network.graph is not None
    assert [n.name for n in network.graph.nodes if hasattr(n.op, "view")] == ["conv", "conv (use 2)", "head"]


def test_pruned_and_parametrised_models_are_read() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    model(torch.ones(1, 6))  # the masked weight now has a history, which deepcopy refuses
    network = read_network(model, (6,))
    assert network.why == ""
    assert names(network) == [("0", 35, True), ("2", 18, True)]
    assert torch.equal(network.layers[0].view.matrix(), model[0].weight.detach().double())
    assert int((network.layers[0].view.matrix() == 0).sum()) == 15
    assert prune.is_pruned(model[0])

    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3))
    network = read_network(normed, (6,))
    assert names(network) == [("0", 40, True), ("2", 18, True)]
    torch.testing.assert_close(network.layers[0].view.matrix(), normed[0].weight.detach().double())


def test_the_copy_is_double_frozen_and_in_eval_mode() -> None:
    model = net().train()
    twin = readable_copy(model)
    assert not any(m.training for m in twin.modules())
    assert {p.dtype for p in twin.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in twin.parameters())
    assert model.training
    pruned = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    assert set(dict(readable_copy(pruned).named_parameters())) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert prune.is_pruned(pruned)


def test_norms_by_name() -> None:
    view = read_network(net().eval(), (2, 6, 6)).layers[1].view
    w = view.matrix()
    assert OPERATOR_NORMS["linf"](view).value == pytest.approx(float(w.abs().sum(1).max()), rel=1e-12)
    assert OPERATOR_NORMS["l2"](view).value == pytest.approx(float(torch.linalg.matrix_norm(w, 2)), rel=1e-12)
    assert set(OPERATOR_NORMS) == {"linf", "l2"}
