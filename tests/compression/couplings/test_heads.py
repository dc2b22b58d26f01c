"""Attention heads as couplings, by class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Member
from brittle.compression.couplings.heads import head_couplings
from brittle.compression.removal import without_units
from brittle.models.attention import SelfAttention
from brittle.models.vit_blocks import Attention
from tests.compression.coupled_nets import case

# Three heads of width 2.
BLOCKS = ((0, 1), (2, 3), (4, 5))
JOINED = tuple(tuple(part * 6 + i for part in range(3) for i in block) for block in BLOCKS)


class Around(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention


class Joint(nn.Module):
    """As timm writes it."""

    def __init__(self, *, bias_for_heads: bool = False, gate: bool = False) -> None:
        super().__init__()
        self.num_heads = 3
        self.qkv, self.proj = nn.Linear(5, 18), nn.Linear(6, 5)
        self.gate = nn.Linear(5, 6) if gate else None
        self.table = nn.Parameter(torch.zeros(3)) if bias_for_heads else None


Joint.__name__ = "Attention"


@pytest.mark.parametrize("attention", [Attention(6, 3, (0, 0, 0, 0)), SelfAttention(5, 6, 3)], ids=["zoo", "own"])
def test_separate_layers(attention: nn.Module) -> None:
    (heads,) = head_couplings(Around(attention))
    assert (heads.name, heads.kind, heads.units) == ("attention", "heads", 3)
    assert heads.members == (
        *(Member(f"attention.{name}", "out", BLOCKS) for name in "qkv"),
        Member("attention.proj", "in", BLOCKS),
    )


def test_low_rank_layers_lose_their_outer_ends() -> None:
    (heads,) = head_couplings(Around(Attention(6, 3, (2, 0, 0, 2))))
    assert [m.module for m in heads.members] == [
        "attention.q.second",
        "attention.k",
        "attention.v",
        "attention.proj.first",
    ]


def test_torchs_attention() -> None:
    (heads,) = head_couplings(Around(nn.MultiheadAttention(6, 3, batch_first=True)))
    assert heads.members == (Member("attention", "out", JOINED), Member("attention.out_proj", "in", BLOCKS))


def test_one_joint_layer() -> None:
    (heads,) = head_couplings(Around(Joint()))
    assert heads.members == (Member("attention.qkv", "out", JOINED), Member("attention.proj", "in", BLOCKS))
    assert case("timm vit_tiny").couplings[0].members[0].index[1][:2] == (64, 65)


@pytest.mark.parametrize(
    "attention",
    [
        nn.MultiheadAttention(6, 3),  # batches second
        nn.MultiheadAttention(6, 3, batch_first=True, add_bias_kv=True),
        nn.MultiheadAttention(6, 3, kdim=4, vdim=4, batch_first=True),
        nn.MultiheadAttention(6, 1, batch_first=True),  # one head always stays
        Joint(bias_for_heads=True),
        Joint(gate=True),
    ],
    ids=["order", "added tokens", "other keys", "one head", "bias for heads", "gate"],
)
def test_what_cannot_lose_heads_is_left_out(attention: nn.Module) -> None:
    assert head_couplings(Around(attention)) == []


def test_a_head_that_is_left_computes_what_it_did() -> None:
    """By hand: the output is the sum over heads of softmax(q k^t / sqrt(w)) v through that head's columns of proj."""
    attention = Attention(6, 3, (0, 0, 0, 0)).double()
    x = torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def one(block: tuple[int, ...]) -> Tensor:
        rows = list(block)
        q, k, v = (x @ layer.weight[rows].T + layer.bias[rows] for layer in (attention.q, attention.k, attention.v))
        return (q @ k.transpose(1, 2) / 2**0.5).softmax(-1) @ v @ attention.proj.weight[:, rows].T

    model = Around(attention)
    child = without_units(model, {"attention": [0, 2]}, head_couplings(model))
    wanted = one(BLOCKS[0]) + one(BLOCKS[2]) + attention.proj.bias
    assert torch.allclose(child.attention(x), wanted, atol=1e-12)
    assert child.attention.heads == 2
