"""Convolutions against torch's modules, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.operators.conv import MODES, ConvView
from brittle.operators.conv_axis import Axis
from tests.cases import CONVOLUTIONS, normal


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("cls", "shape", "settings"),
    [
        (nn.Conv2d, (4, 7, 6), {"kernel_size": 3, "padding": 1}),
        (nn.Conv2d, (4, 7, 6), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 0), "dilation": (1, 3)}),
        (nn.Conv2d, (4, 7, 6), {"kernel_size": (4, 2), "padding": "same", "dilation": (1, 3), "groups": 2}),
        (nn.Conv2d, (4, 7, 6), {"kernel_size": 3, "padding": "valid"}),
        (nn.Conv1d, (4, 9), {"kernel_size": 4, "stride": 2, "padding": 3}),
        (nn.Conv1d, (4, 9), {"kernel_size": 4, "padding": "same", "dilation": 2}),
    ],
)
def test_of_a_module_is_the_module(mode: str, cls: Any, shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = cls(4, 6, bias=False, padding_mode=mode, **settings).double()
    view = ConvView.of(module, shape)
    x = normal(2, *shape, seed=0)
    out = module(x).detach()
    assert view.out_shape == tuple(out.shape[1:])
    torch.testing.assert_close(view.apply(x), out, rtol=1e-12, atol=1e-12)
    assert view.kind == ("conv2d" if cls is nn.Conv2d else "conv1d")
    assert view.matrix().shape == (6, module.weight[0].numel())


def test_the_norm_is_of_the_padded_map_not_of_the_reshaped_kernel() -> None:
    kernel = torch.ones(1, 1, 3, 3)
    view = ConvView(kernel, (1, 64, 64), padding=((1, 1),))
    assert view.spectral_norm().lower > 8.9  # the map adds nine pixels with one sign: near 9
    assert float(torch.linalg.matrix_norm(view.matrix(), 2)) == 3.0


def test_border_windows_decide_the_linf_norm_when_they_are_larger() -> None:
    # Reflection doubles the weight of pixel 1 for the first window: |1 - 1| inside against |1 + (-1)| merged to 0.
    view = ConvView(torch.tensor([[[1.0, 0.0, -1.0]]]), (1, 4), padding=((1, 1),), padding_mode="reflect")
    assert view.linf_norm().value == pytest.approx(2.0, rel=1e-12)
    assert view.abs_apply(torch.ones(1, 1, 4, dtype=torch.float64))[0, 0].tolist() == pytest.approx(
        [0, 2, 2, 0], abs=1e-15
    )


WEIGHT = torch.ones(4, 2, 3, 3)


@pytest.mark.parametrize(
    ("weight", "shape", "settings", "message"),
    [
        (torch.ones(4, 2), (2, 5, 5), {}, r"needs a weight \(c_o, c_i / groups, \[k_h,\] k_w\)"),
        (WEIGHT, (2, 5), {}, r"an input \(c_i, \[h,\] w\)"),
        (WEIGHT, (3, 5, 5), {}, "channels must be its groups times the weight's second size"),
        (WEIGHT, (6, 5, 5), {"groups": 3}, "channels must be its groups times"),
        (WEIGHT * float("inf"), (2, 5, 5), {}, "expected finite weights, got NaN or infinity"),
        (
            WEIGHT,
            (2, 5, 5),
            {"padding_mode": "mirror"},
            "unknown padding mode 'mirror': expected one of zeros, reflect",
        ),
        (
            WEIGHT,
            (2, 5, 5),
            {"stride": (1, 2, 3)},
            "needs one stride >= 1, dilation >= 1 and padding pair >= 0 per axis",
        ),
        (WEIGHT, (2, 5, 5), {"stride": (0,)}, r"got stride \(0, 0\)"),
        (WEIGHT, (2, 5, 5), {"padding": ((-1, 0),)}, r"padding \(\(-1, 0\), \(-1, 0\)\)"),
        (WEIGHT, (2, 5, 2), {}, "a window of 3 does not fit the padded input of 2"),
        (WEIGHT, (2, 0, 5), {"padding": ((2, 2),)}, "does not fit the padded input"),
        (
            WEIGHT,
            (2, 5, 5),
            {"padding": ((5, 0),), "padding_mode": "reflect"},
            "reflect padding of 5 is too wide for 5",
        ),
        (WEIGHT, (2, 5, 5), {"padding": ((6, 0),), "padding_mode": "circular"}, "circular padding of 6 is too wide"),
    ],
)
def test_refuses_what_torch_could_not_run(
    weight: torch.Tensor, shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        ConvView(weight, shape, **settings)


def test_weights_are_float64_and_free_of_gradients() -> None:
    view = ConvView.of(nn.Conv2d(1, 1, 1), (1, 2, 2))
    assert view.weight.dtype == torch.float64
    assert not view.weight.requires_grad


def test_axis_reads_the_pixels_under_each_window() -> None:
    axis = Axis(n=4, k=2, stride=2, left=1, right=1, dilation=2, mode="zeros")
    assert axis.extent == 3
    assert axis.windows == 2
    assert axis.reads().tolist() == [[-1, 1], [1, 3]]


def test_axis_merges_taps_on_one_pixel() -> None:
    axis = Axis(n=3, k=3, stride=1, left=1, right=1, dilation=1, mode="replicate")
    groups = {tuple(first.tolist()): windows.tolist() for first, windows in axis.merges()}
    assert groups == {(0, 0, 2): [0], (0, 1, 2): [1], (0, 1, 1): [2]}


def test_terms_cover_forward_and_adjoint() -> None:
    assert CONVOLUTIONS["depthwise"].terms == 9
    assert CONVOLUTIONS["plain"].terms == 5 * 9
    assert CONVOLUTIONS["one-dimensional"].terms == 5 * 4
