"""Graphs made by hand: values, reasons, readers, and how many windows of a pooling share a pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Opaque, Reshape, Source, Sum
from brittle.operators.linear import DenseView
from tests.cases import normal

RELU = Activation("relu", Slopes(0.0, 1.0), torch.relu)
W = normal(3, 4, seed=1)


def test_values_of_all_kinds_of_nodes() -> None:
    pool = MaxPool((2, 2), (2, 2), (0, 0), (1, 1), False)
    graph = Graph(
        (
            Node("input", Source(), (), (1, 4, 4)),
            Node("pool", pool, (0,), (1, 2, 2)),
            Node("flat", Reshape(), (1,), (4,)),
            Node("relu", RELU, (2,), (4,)),
            Node("sum", Sum((2.0, -1.0, 0.5)), (2, 3, 2), (4,)),
            Node("fc", Affine(DenseView(W), torch.ones(3)), (4,), (3,)),
            Node("twice", Sum((1.0, 1.0)), (5, 5), (3,)),
        )
    )
    x = normal(5, 1, 4, 4, seed=2)
    h = F.max_pool2d(x, 2).flatten(1)
    wanted = 2 * ((2.5 * h - h.relu()) @ W.T + 1)
    torch.testing.assert_close(graph.evaluate(x)[-1], wanted)
    assert graph.consumers() == [[1], [2], [3, 4, 4], [4], [5], [6, 6], []]


def test_the_input_itself_is_a_graph() -> None:
    x = normal(2, 3, seed=3)
    graph = Graph((Node("input", Source(), (), (3,)), Node("output", Reshape(), (0,), (3,))))
    assert torch.equal(graph.evaluate(x)[-1], x)


def test_problems_are_those_of_nodes_the_output_needs() -> None:
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("unread", Opaque("nobody asks"), (0,), (4,)),
        Node("first", Opaque("no constant"), (0,), (4,)),
        Node("again", Opaque("no constant"), (2,), (4,)),
        Node("other", Opaque("not covered"), (3,), (4,)),
    )
    assert Graph(nodes).problems() == ("no constant", "not covered")
    assert Graph(nodes[:1]).problems() == ()
    with pytest.raises(ValueError, match="'first' cannot be evaluated: no constant"):
        Graph((nodes[0], Node("first", Opaque("no constant"), (0,), (4,)))).evaluate(normal(1, 4, seed=1))


@given(
    n=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    half=st.integers(0, 2),
    ceil_mode=st.booleans(),
)
def test_overlap_counts_windows_that_share_a_pixel(
    n: int, kernel: int, stride: int, dilation: int, half: int, ceil_mode: bool
) -> None:
    padding = min(half, kernel // 2)
    if n + 2 * padding < dilation * (kernel - 1) + 1:
        return
    pool = MaxPool((kernel, 1), (stride, 1), (padding, 0), (dilation, 1), ceil_mode)
    # A pixel that is larger than all others wins every window it is in: count the outputs it sets.
    shared = []
    for pixel in range(n):
        x = torch.zeros(1, 1, n, 2, dtype=torch.float64)
        x[0, 0, pixel, 0] = 1.0
        shared.append(int((pool.apply(x) == 1.0).sum()))
    assert pool.overlap((1, n, 2)) == max(*shared, 1)


def test_overlap_of_both_axes_multiplies() -> None:
    assert MaxPool((3, 3), (2, 1), (1, 1), (1, 1), False).overlap((2, 7, 7)) == 6
    assert MaxPool((2, 2), (1, 1), (0, 0), (2, 2), False).overlap((1, 5, 5)) == 4
