"""Rewrites keep values: every rule on a net made for it, and the cases a rule must leave alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.operators.fold import drop_unread, fold_scales, merge_pairs, number_repeats
from brittle.operators.graph import Affine, Graph, Node, Reshape, Source
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.network import Network, read_network
from brittle.operators.pointwise import DiagonalView
from tests.cases import normal
from tests.operators.nets import Residual, Step, settled


def affine(network: Network) -> list[tuple[str, str]]:
    assert network.graph is not None, network.why
    return [(n.name, n.op.view.kind) for n in network.graph.nodes if isinstance(n.op, Affine)]


def read(model: nn.Module, shape: tuple[int, ...]) -> Network:
    """As read; `read_network` itself refuses a graph whose values differ from the model's."""
    return read_network(settled(model), shape)


def test_batch_norm_joins_the_convolution_before_it() -> None:
    model = settled(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)))
    network = read_network(model, (2, 6, 6))
    assert affine(network) == [("0", "conv2d"), ("4", "linear")]
    conv, bn = model[0].double(), model[1].double()
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    torch.testing.assert_close(network.layers[0].view.matrix(), (conv.weight * gain[:, None, None, None]).flatten(1))
    assert [layer.parameters for layer in network.layers] == [57, 98]
    assert network.folded == ("1.weight", "1.bias")


def test_batch_norm_joins_linear_and_low_rank_layers() -> None:
    model = nn.Sequential(
        LowRankConv2d(2, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), LowRankLinear(64, 5, 2),
        nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.BatchNorm1d(4),
    )  # fmt: skip
    network = read(model, (2, 6, 6))
    assert affine(network) == [("0", "low-rank"), ("4", "low-rank"), ("7", "linear")]
    assert [layer.parameters for layer in network.layers] == [2 * 18 + 4 * 2 + 4, 2 * 64 + 5 * 2 + 5, 24]


def test_a_gain_on_tokens_joins_only_along_the_features() -> None:
    low = LowRankLinear(4, 3, 2)  # 3 tokens of 3 features: the axes must not be confused
    along, across = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [2.0], [3.0]])
    for kind, layer in (("low-rank", low), ("linear", nn.Linear(4, 3))):
        for gain, kinds in ((along, [kind]), (across, [kind, "scale"])):
            steps = nn.Sequential(layer, Step(lambda x, g=gain: x * g.to(x)), nn.Flatten(), nn.Linear(9, 2))
            assert [k for _, k in affine(read(steps, (3, 4)))] == [*kinds, "linear"]


def test_a_gain_that_varies_over_positions_stays() -> None:
    gain = normal(3, 4, 4, seed=1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), Step(lambda x: x * gain.to(x)), nn.Flatten(), nn.Linear(48, 2))
    assert [k for _, k in affine(read(model, (2, 6, 6)))] == ["conv2d", "scale", "linear"]


def test_batch_norm_after_a_sum_stays_a_scale() -> None:
    network = read(Residual(), (2, 6, 6))
    assert ("bn", "scale") in affine(network)
    assert set(network.folded) == {"bn.weight", "bn.bias"}


def test_batch_norm_of_a_value_that_others_read_stays() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn = nn.Linear(4, 3), nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            return self.bn(y) + y

    assert affine(read(Fork(), (4,))) == [("fc", "linear"), ("bn", "scale")]


class Pair(nn.Module):
    """Two linear maps in a row in a module, with more beside them if asked for."""

    def __init__(self, first: nn.Module, second: nn.Module, third: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, third

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return y if self.third is None else self.third(F.relu(y))


def test_a_pair_that_fills_its_module_is_one_layer_with_both_biases() -> None:
    model = nn.Sequential(Pair(nn.Linear(6, 2), nn.Linear(2, 5)), nn.ReLU(), nn.Linear(5, 3))
    network = read(model, (6,))
    assert affine(network) == [("0", "low-rank"), ("2", "linear")]
    model = settled(model).double()
    first, second = model[0].first, model[0].second
    assert network.graph is not None
    op = network.graph.nodes[1].op
    assert isinstance(op, Affine)
    torch.testing.assert_close(op.bias, second.weight @ first.bias + second.bias)
    torch.testing.assert_close(op.view.matrix(), second.weight @ first.weight)


def test_an_inner_bias_of_a_convolution_pair_goes_through_everywhere() -> None:
    model = nn.Sequential(Pair(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 4, 1)), nn.Flatten(), nn.Linear(100, 3))
    assert affine(read(model, (2, 5, 5))) == [("0", "low-rank"), ("2", "linear")]


@pytest.mark.parametrize(
    ("pair", "shape"),
    [
        (Pair(nn.Linear(6, 2), nn.Linear(2, 5), nn.Linear(5, 5)), (6,)),
        (Pair(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 3, 2)), (2, 5, 5)),
        (Pair(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 3, 1, padding=1)), (2, 5, 5)),
        (Pair(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), nn.Linear(2, 5)), (6,)),
    ],
    ids=["a third layer", "second not 1 x 1", "second padded", "an activation between"],
)
def test_other_pairs_stay_apart(pair: nn.Module, shape: tuple[int, ...]) -> None:
    width = settled(pair)(torch.zeros(2, *shape)).flatten(1).shape[1]
    network = read(nn.Sequential(pair, nn.ReLU(), nn.Flatten(), nn.Linear(width, 3)), shape)
    assert "low-rank" not in [kind for _, kind in affine(network)]


def test_two_layers_at_the_top_stay_apart() -> None:
    assert affine(read(nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 5)), (6,))) == [("0", "linear"), ("1", "linear")]


def test_a_pair_used_twice_is_numbered() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.head = LowRankLinear(4, 4, 2), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.low(F.relu(self.low(x))))

    network = read(Twice(), (4,))
    names = [("low", "low-rank"), ("low (use 2)", "low-rank"), ("head", "linear")]
    assert affine(network) == names
    assert [(layer.name, layer.parameters) for layer in network.layers] == [("low", 20), ("head", 15)]


def chain(*views: DenseView | DiagonalView, names: tuple[str, ...]) -> tuple[Node, ...]:
    nodes = [Node("input", Source(), (), views[0].in_shape)]
    for i, (view, name) in enumerate(zip(views, names, strict=True)):
        nodes.append(Node(name, Affine(view, None), (i,), view.out_shape))
    return (*nodes, Node("output", Reshape(), (len(views),), views[-1].out_shape))


def test_rules_on_nodes_made_by_hand() -> None:
    a, b, s = DenseView(normal(2, 4, seed=1)), DenseView(normal(3, 2, seed=2)), DiagonalView(normal(3, seed=3), (3,))
    nodes = chain(a, b, s, names=("low.first", "low.second", "gain"))
    merged = merge_pairs(nodes, {"low.first": [], "low.second": []})
    assert [n.name for n in merged] == ["input", "low", "gain", "output"]
    folded = fold_scales(merged)
    assert [n.name for n in folded] == ["input", "low", "output"]
    assert isinstance(folded[1].op, Affine)
    assert isinstance(folded[1].op.view, FactorisedView)
    x = normal(5, 4, seed=4)
    torch.testing.assert_close(Graph(folded).evaluate(x)[-1], x @ a.weight.T @ b.weight.T * s.scale)
    assert merge_pairs(nodes, {"low.first": [], "low.second": [], "low.third": []}) == nodes
    assert merge_pairs(nodes, {"other": []}) == nodes


def test_nodes_nobody_reads_go_and_the_input_stays() -> None:
    a, b = DenseView(normal(2, 4, seed=1)), DenseView(normal(3, 4, seed=2))
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("unread", Affine(a, None), (0,), (2,)),
        Node("read", Affine(b, None), (0,), (3,)),
        Node("after", Affine(DenseView(normal(2, 2, seed=3)), None), (1,), (2,)),
        Node("output", Reshape(), (2,), (3,)),
    )
    kept = drop_unread(nodes)
    assert [(n.name, n.inputs) for n in kept] == [("input", ()), ("read", (0,)), ("output", (1,))]


def test_repeated_names_of_weights_are_numbered_and_others_are_not() -> None:
    a, s = DenseView(normal(4, 4, seed=1)), DiagonalView(torch.ones(4), (4,))
    nodes = number_repeats(chain(a, a, s, s, a, names=("fc", "fc", "fc", "fc", "fc")))
    assert [n.name for n in nodes[1:-1]] == ["fc", "fc (use 2)", "fc", "fc", "fc (use 3)"]
