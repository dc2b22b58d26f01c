"""What nested sizes cost: against the parameters of the modules themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from brittle.compression.modes import Modes
from brittle.compression.nesting import nesting
from brittle.models.tucker import TuckerConv2d, TuckerLinear


@given(*(st.integers(1, n) for n in (9, 8, 9)), *(st.integers(0, n) for n in (9, 10, 12)))
def test_dense_weights_are_those_of_the_module(h: int, c: int, each: int, a: int, s: int, rank: int) -> None:
    found = nesting((h, c * each), Modes(a, s, each), rank)
    read = (a if a < c and a else c) * (s if s < each and s else each)
    used = rank if 0 < rank * (read + h) < read * h else 0
    channels, positions = (a if a < c else 0), (s if s < each else 0)
    if found is None:
        if channels or positions:
            module: nn.Module = TuckerLinear(c, each, h, channels=channels, positions=positions, rank=used, bias=False)
            assert sum(p.numel() for p in module.parameters()) >= h * c * each
        return
    assert (found.channels, found.positions, found.rank) == (channels, positions, used)
    module = TuckerLinear(c, each, h, channels=channels, positions=positions, rank=used, bias=False)
    sizes = {name.removesuffix(".weight"): p.numel() for name, p in module.named_parameters()}
    assert found.weights() == sizes
    assert sum(sizes.values()) < h * c * each


@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 9), st.integers(0, 12))
def test_convolution_weights_are_those_of_the_module(h: int, c: int, a: int, rank: int) -> None:
    found = nesting((h, c, 3, 2), Modes(channels=a, positions=2, each=6), rank)
    if found is None:
        return
    assert found.positions == 0, "a window is no map of positions"
    module = TuckerConv2d(c, h, (3, 2), a, found.rank, bias=False)
    assert found.weights() == {name.removesuffix(".weight"): p.numel() for name, p in module.named_parameters()}
    assert found.core == (h, a, 6)


def test_modes_that_fit_no_layer_are_none() -> None:
    assert nesting((5, 12), None, 2) is None
    assert nesting((5, 12), Modes(2, 0, each=5), 0) is None
    assert nesting((5, 12), Modes(2, 0, each=0), 0) is None
    assert nesting((50, 12), Modes(3, 4, each=4), 0) is None, "all of them is no mixing"
