"""Heads of attention matrices: where they are certain, and which part of a matrix is whose."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.operators.heads import Heads, heads_of


class Attention(nn.Module):
    """Attributes as attention modules have them."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


def test_rows_and_columns_are_cut_in_order() -> None:
    w = torch.arange(24.0).view(4, 6)
    rows, columns = Heads(2, 0).cut(w), Heads(3, 1).cut(w)
    assert torch.equal(rows[1], w[2:])
    assert [torch.equal(columns[i], w[:, 2 * i : 2 * i + 2]) for i in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("attributes", "layer", "shape", "wanted"),
    [
        ({"num_heads": 4}, "q", (8, 6), Heads(4, 0)),
        ({"num_attention_heads": 4, "attention_head_size": 2}, "value", (8, 6), Heads(4, 0)),
        ({"num_heads": 4}, "proj", (6, 8), Heads(4, 1)),
        ({"num_heads": 4, "head_dim": 2}, "k_proj", (4, 6), Heads(2, 0)),  # grouped: half as many keys
        ({"head_dim": 2, "config": Attention(num_attention_heads=4)}, "q_proj", (8, 6), Heads(4, 0)),
        ({"num_heads": 4}, "fc1", (8, 6), None),
        ({"num_heads": 3}, "q", (8, 6), None),  # does not divide
        ({"num_heads": 4, "head_dim": 3}, "q", (8, 6), None),
        ({"num_heads": 3, "head_dim": 2}, "k", (4, 6), None),  # two groups of three heads
        ({"num_heads": True}, "q", (8, 6), None),
        ({}, "q", (8, 6), None),
    ],
)
def test_heads_are_named_only_where_they_are_certain(
    attributes: dict[str, object], layer: str, shape: tuple[int, int], wanted: Heads | None
) -> None:
    assert heads_of(Attention(**attributes), layer, shape) == wanted
    assert heads_of(None, layer, shape) is None
