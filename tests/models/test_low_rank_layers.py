"""Low-rank layers against dense products in numpy and the Eckart-Young optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.errors import ModelError
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear, conv2d, linear


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_truncated_svd_is_the_best_approximation(d: int, h: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(d, h)))
    dense = nn.Linear(d, h).double()
    nn.init.normal_(dense.weight, generator=_seeded(d * 10 + h))
    low = LowRankLinear.from_linear(dense, rank)
    product = low.second.weight.detach().numpy() @ low.first.weight.detach().numpy()
    weight = dense.weight.detach().numpy()
    s = np.linalg.svd(weight, compute_uv=False)
    # Eckart and Young: no matrix of this rank is nearer, in either norm
    np.testing.assert_allclose(np.linalg.norm(weight - product), np.sqrt((s[rank:] ** 2).sum()), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(weight - product, 2), s[rank] if rank < len(s) else 0.0, atol=1e-9)
    assert torch.equal(low.second.bias, dense.bias)


def test_factors_share_the_singular_values() -> None:
    dense = nn.Linear(7, 5).double()
    low = LowRankLinear.from_linear(dense, 3)
    s = np.linalg.svd(dense.weight.detach().numpy(), compute_uv=False)[:3]
    for factor in (low.first.weight, low.second.weight):
        np.testing.assert_allclose(np.linalg.svd(factor.detach().numpy(), compute_uv=False), np.sqrt(s), rtol=1e-9)


def test_linear_forward_is_the_product() -> None:
    low = LowRankLinear(6, 4, 2).double()
    x = torch.rand(3, 6, dtype=torch.float64, generator=_seeded(1))
    a, b, c = (p.detach().numpy() for p in (low.first.weight, low.second.weight, low.second.bias))
    np.testing.assert_allclose(low(x).detach().numpy(), x.numpy() @ a.T @ b.T + c, rtol=1e-12)
    assert low.first.bias is None
    assert LowRankLinear(6, 4, 2, bias=False).second.bias is None


def test_from_linear_keeps_dtype_mode_and_missing_bias() -> None:
    dense = nn.Linear(4, 4, bias=False).to(torch.bfloat16).eval()
    low = LowRankLinear.from_linear(dense, 2)
    assert low.first.weight.dtype == low.second.weight.dtype == torch.bfloat16
    assert low.second.bias is None
    assert not low.training
    assert LowRankLinear.from_linear(nn.Linear(4, 4), 2).training


CONVS = [
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 1), "bias": False},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
]


@pytest.mark.parametrize("options", CONVS, ids=str)
def test_conv_at_full_rank_is_the_convolution(options: dict[str, object]) -> None:
    dense = nn.Conv2d(3, 5, **options).double()
    low = LowRankConv2d.from_conv(dense, 5)
    x = torch.rand(2, 3, 9, 8, dtype=torch.float64, generator=_seeded(2))
    torch.testing.assert_close(low(x), dense(x), rtol=1e-9, atol=1e-12)


def test_conv_truncates_the_reshaped_kernel() -> None:
    dense = nn.Conv2d(3, 8, 3).double()
    low = LowRankConv2d.from_conv(dense, 2)
    product = low.second.weight.detach().flatten(1).numpy() @ low.first.weight.detach().flatten(1).numpy()
    weight = dense.weight.detach().flatten(1).numpy()
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    np.testing.assert_allclose(product, (u[:, :2] * s[:2]) @ vt[:2], atol=1e-12)
    assert torch.equal(low.second.bias, dense.bias)


@pytest.mark.parametrize("rank", [0, -1, 5])
def test_impossible_ranks(rank: int) -> None:
    with pytest.raises(ModelError, match=f"rank must be between 1 and 4, the layer's full rank, got {rank}"):
        LowRankLinear(6, 4, rank)
    with pytest.raises(ModelError, match="rank must be between 1 and 4"):
        LowRankConv2d(2, 4, 3, rank)
    with pytest.raises(ModelError, match="rank must be between 1 and 4"):
        LowRankLinear.from_linear(nn.Linear(4, 6), rank)


def test_conv_full_rank_counts_the_kernel() -> None:
    LowRankConv2d(1, 100, (2, 3), 6)
    with pytest.raises(ModelError, match="between 1 and 6"):
        LowRankConv2d(1, 100, (2, 3), 7)


@pytest.mark.parametrize("options", CONVS, ids=str)
def test_conv_after_pixels_is_the_convolution_of_the_product(options: dict[str, object]) -> None:
    low = LowRankConv2dIn(3, 5, rank=2, **options).double()  # type: ignore[arg-type]
    dense = nn.Conv2d(3, 5, **options).double()
    with torch.no_grad():
        dense.weight.copy_(torch.einsum("hrab,rc->hcab", low.second.weight, low.first.weight[:, :, 0, 0]))
        if dense.bias is not None:
            dense.bias.copy_(low.second.bias)
    x = torch.rand(2, 3, 9, 8, dtype=torch.float64, generator=_seeded(2))
    torch.testing.assert_close(low(x), dense(x), rtol=1e-9, atol=1e-12)
    assert low.first.bias is None
    assert (low.second.bias is None) == (options.get("bias") is False)


def test_conv_after_pixels_full_rank_counts_the_filters() -> None:
    LowRankConv2dIn(100, 1, (2, 3), 6)
    with pytest.raises(ModelError, match="between 1 and 6, the layer's full rank, got 7"):
        LowRankConv2dIn(100, 1, (2, 3), 7)
    with pytest.raises(ModelError, match="between 1 and 4"):
        LowRankConv2dIn(4, 9, 3, 0)


def test_grouped_convolutions_are_refused() -> None:
    with pytest.raises(ModelError, match="2 groups cannot be factorised"):
        LowRankConv2d.from_conv(nn.Conv2d(4, 4, 3, groups=2), 2)


def test_weights_must_be_finite() -> None:
    dense, conv = nn.Linear(3, 3), nn.Conv2d(1, 3, 3)
    with torch.no_grad():
        dense.weight[0, 0] = float("nan")
        conv.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(ModelError, match="NaN or infinity, so it has no SVD"):
        LowRankLinear.from_linear(dense, 2)
    with pytest.raises(ModelError, match="NaN or infinity, so it has no SVD"):
        LowRankConv2d.from_conv(conv, 2)


def test_rank_zero_is_dense() -> None:
    assert type(linear(3, 4)) is nn.Linear
    assert type(linear(3, 4, rank=2)) is LowRankLinear
    assert type(conv2d(3, 4, 3, stride=1, padding=1)) is nn.Conv2d
    assert type(conv2d(3, 4, 3, stride=1, padding=1, rank=2)) is LowRankConv2d
