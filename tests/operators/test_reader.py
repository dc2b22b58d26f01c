"""Reading exported programs: the graph is the model, on every operator of the tables, and says so where it is not."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.operators import handlers, reader
from brittle.operators.graph import Activation, Affine, Opaque
from brittle.operators.network import read_network
from brittle.operators.program import Handler, UnreadableError, per_sample
from tests.operators.nets import MET, NETS, Made, Step, between, flat, graph_of, read, settled


@pytest.mark.parametrize("name", NETS)
def test_the_graph_is_the_model(name: str) -> None:
    make, shape = NETS[name]
    assert read(name).why == ""
    x = torch.randn(7, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3
    truth = make().double()(x)
    torch.testing.assert_close(graph_of(name).evaluate(x)[-1], truth, rtol=1e-10, atol=1e-10)


def test_every_operator_of_the_tables_is_met() -> None:
    for name in NETS:
        read(name)
    assert set(handlers.OPERATORS) - MET == set()


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_is_counted_once(name: str) -> None:
    network = read(name)
    sizes = {n: p.numel() for n, p in NETS[name][0]().named_parameters()}
    outside = [row.name for row in network.unmeasured] + list(network.folded)
    assert len(set(outside)) == len(outside)
    assert sum(layer.parameters for layer in network.layers) + sum(sizes[n] for n in outside) == sum(sizes.values())


class Mixed(nn.Module):
    """A body that is readable around one step that is not."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.first, self.step, self.last = nn.Linear(4, 4), step, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.step(F.relu(self.first(x))).mean(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(x, x, x, need_weights=False)[0]


OPAQUE: dict[str, tuple[nn.Module, str]] = {
    "layer norm": (nn.LayerNorm(4), "layer norm's constant grows"),
    "group norm": (nn.GroupNorm(1, 3), "group norm's constant grows"),
    "softmax": (nn.Softmax(-1), "softmax"),
    "attention": (Attention(), "no global Lipschitz constant"),
    "attention by hand": (Step(lambda x: (x @ x.transpose(1, 2)) @ x), "product of two values"),
    "batched product": (Step(lambda x: torch.bmm(x, x.transpose(1, 2)) @ x), "product of two values"),
    "product": (Step(lambda x: x * x.relu()), "product of two values"),
    "division by a value": (Step(lambda x: x / (1 + x.abs())), "division by something that depends on the input"),
    "division that rounds": (Step(lambda x: torch.div(x, 2.0, rounding_mode="floor")), "rounds"),
    "square": (Step(lambda x: x**2), "aten.pow is not covered"),
    "cat": (Step(lambda x: torch.cat([x, x], 1)), "aten.cat is not covered"),
    "chunk": (Step(lambda x: F.pad(x.chunk(2, -1)[0], (0, 2))), "is not covered"),
    "sum that broadcasts": (Step(lambda x: x + x.mean(1, keepdim=True)), "a sum that broadcasts"),
    "product that broadcasts": (Step(lambda x: x[:, :1] * torch.ones(3, 1).to(x)), "constant that broadcasts"),
    "merged batch": (Step(lambda x: x.reshape(-1, 4).relu().reshape(-1, 3, 4)), "batch dimension"),
    "mean over the batch": (Step(lambda x: x.mean(0, keepdim=True)), "batch dimension"),
    "constant per sample": (Step(lambda x: x * torch.ones(13, 1, 1).to(x)), "constant of the batch's size"),
    "dropout that stays on": (Step(lambda x: F.dropout(x, 0.5)), "dropout in training mode"),
    "softplus that jumps": (nn.Softplus(1.0, 3.0), "jumps"),
    "clamp by a value": (Step(lambda x: torch.clamp(x, min=x.mean(1, keepdim=True))), "settings that are tensors"),
    "padding with ones": (Step(lambda x: F.pad(x, (0, 0, 1, 1), value=1.0)), "constant other than zero"),
    "weight from the input": (Step(lambda x: F.linear(x, x[0, :, :].T @ x[0])), "weight or bias depends"),
    "linear bias from the input": (Step(lambda x: F.linear(x, torch.eye(4).to(x), x[0, 0])), "weight or bias depends"),
    "prelu from the input": (Step(lambda x: F.prelu(x, x[0, 0, :1])), "slope depends"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPAQUE)
def test_what_has_no_constant_is_opaque_with_the_reason(name: str) -> None:
    step, why = OPAQUE[name]
    network = read_network(settled(Mixed(copy.deepcopy(step))), (3, 4))
    assert network.graph is not None
    assert any(why in node.op.why for node in network.graph.nodes if isinstance(node.op, Opaque))
    assert network.why == "; ".join(network.graph.problems()) != ""
    assert {"first", "last"} <= {layer.name for layer in network.layers}


def _refused(make: Made, why: str) -> None:
    network = read_network(make[0](), make[1])
    assert network.graph is not None
    assert why in network.why


def test_images_that_mix_or_are_not_covered_are_opaque() -> None:
    _refused(between(nn.BatchNorm2d(4, track_running_stats=False)), "samples affect each other")
    always = between(lambda x: F.batch_norm(x, torch.zeros(4).to(x), torch.ones(4).to(x), training=True))
    _refused(always, "samples affect each other")
    _refused(between(nn.InstanceNorm2d(4)), "instance norm")
    _refused(between(lambda x: F.avg_pool2d(x, 2, divisor_override=3)), "its own divisor")
    _refused(between(nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 2, 1)), "conv3d is not covered")
    _refused(between(lambda x: F.conv2d(x, x[:1])), "kernel or bias depends")


def test_results_that_are_no_logits_are_opaque() -> None:
    class Pair(nn.Module):
        def __init__(self, results: str) -> None:
            super().__init__()
            self.fc, self.results = nn.Linear(4, 3), results

        def forward(self, x: Tensor) -> object:
            y = self.fc(x)
            results = {"two": (y, y.relu()), "map": y[:, :, None], "number": y[:, 0], "constant": self.fc.bias * 1}
            return results[self.results]

    for results, why in {"two": "2 results", "map": "('batch', 3, 1)", "number": "('batch',)"}.items():
        network = read_network(Pair(results), (4,))
        assert why in network.why
        assert "expected logits" in network.why
    assert "0 of them" in read_network(Pair("constant"), (4,)).why


def test_a_constant_with_the_batch_in_front_is_no_constant() -> None:
    assert per_sample(torch.ones(1, 3), (3,)).shape == (3,)
    assert per_sample(torch.ones(3), (2, 3)).shape == (1, 3)
    with pytest.raises(UnreadableError, match="batch's size"):
        per_sample(torch.ones(4, 3), (3,))
    with pytest.raises(UnreadableError, match="broadcasts the value"):
        per_sample(torch.ones(4), (3,))


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_a_padding_mode_belongs_to_its_convolution(mode: str) -> None:
    views = [node.op.view for node in graph_of(mode).nodes if isinstance(node.op, Affine)]
    assert [view.kind for view in views] == ["conv2d", "linear"]  # no selection is left over
    module = NETS[mode][0]().double()[0]  # type: ignore[index]
    assert views[0].padding_mode == mode  # type: ignore[attr-defined]
    eye = torch.eye(84, dtype=torch.float64).view(84, 2, 6, 7)
    with torch.no_grad():
        dense = (module(eye) - module.bias[:, None, None]).flatten(1)
    assert views[0].spectral_norm().value == pytest.approx(float(torch.linalg.matrix_norm(dense, 2)), rel=1e-9)
    assert views[0].linf_norm().value == pytest.approx(float(dense.abs().sum(0).max()), rel=1e-9)


def test_paddings_that_cannot_join_stay() -> None:
    kinds = {}
    for name in (
        "zero pad, grouped conv",
        "circular pad, then padded conv",
        "crop, then conv",
        "pad of channels, then conv",
    ):
        kinds[name] = [n.op.view.kind for n in graph_of(name).nodes if isinstance(n.op, Affine)]
    assert kinds.pop("zero pad, grouped conv") == ["conv2d", "conv2d", "linear"]
    assert set(map(tuple, kinds.values())) == {("conv2d", "select", "conv2d", "linear")}


def test_extra_arguments_reach_the_slopes() -> None:
    def slopes(name: str) -> list[tuple[float, float]]:
        return [(n.op.slopes.low, n.op.slopes.high) for n in graph_of(name).nodes if isinstance(n.op, Activation)]

    assert slopes("leaky") == [(0.2, 1.0), (1.0, 1.5)]
    assert slopes("elu")[:2] == [(0.0, 1.7), (0.0, 1.0)]
    weight = NETS["prelu"][0]().get_parameter("0.1.weight").double()
    assert slopes("prelu") == [(min(1.0, float(weight.min())), max(1.0, float(weight.max())))]


def _tanh_for_relu(program, node, name):  # type: ignore[no-untyped-def]
    return Activation("relu", handlers.SLOPES["aten.relu"](), torch.tanh), (node.args[0],)


def _conv_without_bias(program, node, name):  # type: ignore[no-untyped-def]
    op, sources = handlers.OPERATORS["aten.conv2d"](program, node, name)
    assert isinstance(op, Affine)
    return Affine(op.view, None), sources


def _broken(program, node, name):  # type: ignore[no-untyped-def]
    raise RuntimeError("a handler that breaks")


@pytest.mark.parametrize(
    ("kind", "wrong", "why"),
    [
        ("aten.relu", _tanh_for_relu, "the traced graph differs from the model by"),
        ("aten.conv2d", _conv_without_bias, "the traced graph differs from the model by"),
        ("aten.flatten", _broken, "could not be traced: a handler that breaks"),
    ],
)
def test_a_wrong_reading_is_refused(kind: str, wrong: Handler, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = between(nn.ReLU())
    assert read_network(make(), shape).graph is not None
    monkeypatch.setattr(reader, "OPERATORS", {**handlers.OPERATORS, kind: wrong})
    network = read_network(make(), shape)
    assert network.graph is None
    assert why in network.why
    assert [layer.name for layer in network.layers] == ["0.0", "1"]
    assert not any(layer.on_input for layer in network.layers)


def test_a_reading_that_is_wrong_for_one_sample_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def clipped(program, node, name):  # type: ignore[no-untyped-def]
        function = lambda v: torch.where(v == v.amax(), v - 1e-6, v)  # noqa: E731
        return Activation("relu", handlers.SLOPES["aten.relu"](), lambda v: function(torch.relu(v))), (node.args[0],)

    make, shape = flat(nn.ReLU())
    monkeypatch.setattr(reader, "OPERATORS", {**handlers.OPERATORS, "aten.relu": clipped})
    assert "differs" in read_network(make(), shape).why


def test_opaque_nodes_keep_their_place() -> None:
    network = read_network(settled(Mixed(nn.LayerNorm(4))), (3, 4))
    assert network.graph is not None
    (opaque,) = [node for node in network.graph.nodes if isinstance(node.op, Opaque)]
    assert opaque.name == "step"
    assert opaque.shape == (3, 4)
    assert network.unmeasured == ()
    assert network.folded == ("step.weight", "step.bias")  # only "last" reads them


def test_what_has_no_constant_by_nature_hides_what_is_not_understood() -> None:
    unread = Step(lambda x: torch.roll(x, 1, 1))
    both = nn.Sequential(unread, Step(lambda x: x @ x.transpose(1, 2) @ x))
    assert read_network(settled(Mixed(unread)), (3, 4)).why == "the operator aten.roll is not covered"
    why = read_network(settled(Mixed(both)), (3, 4)).why
    assert why == "a product of two values that depend on the input has no global constant"


@pytest.mark.parametrize(
    ("norm", "why"),
    [
        (nn.LayerNorm(4, eps=1e-6), "layer norm's constant grows to 1,000 as its input's variance shrinks: too large"),
        (nn.LayerNorm(4, eps=0.0), "layer norm's constant grows without limit as its input's variance shrinks"),
        (nn.RMSNorm(4, eps=1e-4), "root-mean-square norm's constant grows to 100 as"),
    ],
)
def test_a_norm_with_a_floor_has_a_constant_and_without_one_has_none(norm: nn.Module, why: str) -> None:
    """`1 / sqrt(eps)` is reached where the input does not vary: compared with the slope there."""
    assert read_network(settled(Mixed(copy.deepcopy(norm))), (3, 4)).why.startswith(why)
    eps = norm.eps
    if isinstance(norm, nn.LayerNorm) and eps:
        jacobian = torch.autograd.functional.jacobian(norm.double(), torch.ones(4, dtype=torch.float64))
        assert float(torch.linalg.matrix_norm(jacobian, 2)) == pytest.approx(eps**-0.5, rel=1e-6)


def test_a_matrix_on_the_left_is_not_covered_and_not_called_unbounded() -> None:
    why = read_network(settled(Mixed(Step(lambda x: torch.eye(3).to(x) @ x))), (3, 4)).why
    assert why == "a product with a batch of matrices, or with one on the left"
