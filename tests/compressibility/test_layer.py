"""One row of the layer table: its numbers belong together."""

from __future__ import annotations

from math import log

import pytest
import torch

from brittle.compressibility.layer import CURVE_POINTS, layer_structure, thinned
from brittle.errors import UsageError
from brittle.operators.linear import DenseView
from brittle.results.layer import LayerStructure
from brittle.results.serialise import from_dict, to_dict
from tests.cases import CONVOLUTIONS, normal


def test_a_known_diagonal_layer() -> None:
    row = layer_structure(
        "fc", DenseView(torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))), k_fraction=0.5, parameters=20
    )
    assert (row.name, row.kind, row.shape, row.parameters, row.on_input) == ("fc", "linear", (4, 4), 20, True)
    assert row.frobenius == row.scale == pytest.approx(22**0.5)
    assert row.norms["linf"].value == pytest.approx(4.0)
    assert row.norms["l2"].value == pytest.approx(4.0)
    for part in (row.neuron, row.spectral):
        assert part.k == 2
        assert part.epsilon == pytest.approx(2 / 8)
        assert part.beta == pytest.approx(0.5)
        assert part.beta_mean == pytest.approx(0.25)
        assert part.pq_index == pytest.approx(1 - 4**-0.5 * 8 / 22**0.5)
    assert row.neuron.keep_at_5pct == 1.0
    assert row.spectral.rank_at_5pct == 4
    assert row.spectral.stable_rank == pytest.approx(22 / 16)
    assert row.row_norms == (4.0, 2.0, 1.0, 1.0)
    assert row.singular_values == pytest.approx((4.0, 2.0, 1.0, 1.0))


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_logarithms_of_structure_and_scale_add_up_to_the_norm(name: str) -> None:
    row = layer_structure(name, CONVOLUTIONS[name], parameters=1)
    for p, factor in (("linf", row.structure.linf), ("l2", row.structure.l2)):
        if row.norms[p].value > 0:
            assert log(factor) + log(row.scale) == pytest.approx(log(row.norms[p].value), abs=1e-12)
        assert row.theorem31[p].lower <= row.theorem31[p].upper


def test_off_input_norms_are_those_of_the_structure_matrix() -> None:
    view = CONVOLUTIONS["plain"]
    on, off = (layer_structure("c", view, on_input=flag, parameters=1) for flag in (True, False))
    assert off.norms["l2"].value == pytest.approx(float(torch.linalg.matrix_norm(view.matrix(), 2)), rel=1e-9)
    assert on.norms["l2"].value > off.norms["l2"].value
    assert (on.on_input, off.on_input) == (True, False)
    assert off.theorem31["l2"].lower <= off.norms["l2"].value <= off.theorem31["l2"].upper


def test_a_zero_layer_has_a_row_of_zeros_that_json_can_hold() -> None:
    row = layer_structure("zero", DenseView(torch.zeros(3, 4)), parameters=12)
    assert row.frobenius == row.structure.linf == row.structure.l2 == 0.0
    assert row.neuron.epsilon == 0.0
    assert row.spectral.effective_rank == 0.0
    assert from_dict(LayerStructure, to_dict(row)) == row


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_scales_keep_every_scale_free_number(scale: float) -> None:
    w = normal(6, 8, seed=0)
    one, other = (layer_structure("fc", DenseView(w * s), parameters=1) for s in (1.0, scale))
    assert other.frobenius == pytest.approx(one.frobenius * scale, rel=1e-9)
    assert other.structure.l2 == pytest.approx(one.structure.l2, rel=1e-8)
    assert other.neuron.epsilon == pytest.approx(one.neuron.epsilon, rel=1e-9)
    assert other.spectral.stable_rank == pytest.approx(one.spectral.stable_rank, rel=1e-9)


def test_curves_are_thinned_with_both_ends_kept() -> None:
    values = normal(1000, seed=0)
    curve = thinned(values)
    assert len(curve) == CURVE_POINTS
    assert curve[0] == float(values.max())
    assert curve[-1] == float(values.min())
    assert list(curve) == sorted(curve, reverse=True)
    assert thinned(values[:10]) == tuple(sorted(values[:10].tolist(), reverse=True))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_k_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"k must be a fraction in \(0, 1\] of a layer's neurons"):
        layer_structure("fc", DenseView(torch.ones(2, 2)), k_fraction=fraction, parameters=1)
