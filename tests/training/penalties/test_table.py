"""What every penalty promises: names, sums, batches, gradients, zero layers, errors."""

from __future__ import annotations

import pytest
import torch

from brittle.errors import UsageError
from brittle.training.penalties import PENALTIES, penalty_named
from tests.training.penalties.made import normal, slopes

SCALE_INVARIANT = ["l1_si", "group_lasso_si", "nuclear_si", "nuclear_si_fast", "pq", "effective_rank", "alignment"]


@pytest.mark.parametrize("name", PENALTIES)
def test_the_name_is_the_key_and_the_printed_form_lasts(name: str) -> None:
    assert penalty_named(name).name == name
    assert " at 0x" not in repr(penalty_named(name))  # checkpoints tell runs apart by it


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"unknown penalty 'l3': expected one of l1, group_lasso"):
        penalty_named("l3")


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_of_the_term_is_that_of_the_value(name: str) -> None:
    """By central differences of `value` in float64."""
    weights = [normal(5, 4, seed=1), normal(6, 5, seed=2)]
    got = slopes(PENALTIES[name].start(), weights)
    direction = [normal(5, 4, seed=3), normal(6, 5, seed=4)]
    h = 1e-5
    up, down = (
        PENALTIES[name].value([w + s * h * d for w, d in zip(weights, direction, strict=True)]) for s in (1, -1)
    )
    expected = float(up - down) / (2 * h)
    assert sum(float((g * d).sum()) for g, d in zip(got, direction, strict=True)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_members_of_an_ensemble_do_not_mix(name: str) -> None:
    penalty = PENALTIES[name]
    members = [[normal(5, 4, seed=10 + i), normal(6, 5, seed=20 + i)] for i in range(3)]
    stacked = [torch.stack(layer) for layer in zip(*members, strict=True)]
    alone = torch.stack([penalty.value(member) for member in members])
    torch.testing.assert_close(penalty.value(stacked), alone)
    torch.testing.assert_close(penalty.start()(stacked), torch.stack([penalty.start()(m) for m in members]))
    apart = torch.stack([slopes(penalty.start(), member)[0] for member in members])
    torch.testing.assert_close(slopes(penalty.start(), stacked)[0], apart)


@pytest.mark.parametrize("name", sorted(set(PENALTIES) - {"alignment"}))
def test_layers_add_up(name: str) -> None:
    a, b = normal(5, 4, seed=1), normal(3, 7, seed=2)
    value = PENALTIES[name].value
    torch.testing.assert_close(value([a, b]), value([a]) + value([b]))


@pytest.mark.parametrize("name", SCALE_INVARIANT)
def test_scale_does_not_matter(name: str) -> None:
    weights = [normal(5, 4, seed=1), normal(6, 5, seed=2)]
    value = PENALTIES[name].value
    torch.testing.assert_close(value([300 * weights[0], weights[1]]), value(weights))
    gradient = slopes(PENALTIES[name].start(), weights)[0]
    assert float((gradient * weights[0]).sum()) == pytest.approx(0, abs=1e-12)  # no pull on the scale


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_layer_has_a_finite_value_and_gradient(name: str, dtype: torch.dtype) -> None:
    weights = [torch.zeros(5, 4, dtype=dtype), normal(6, 5).to(dtype)]
    assert bool(PENALTIES[name].value(weights).isfinite())
    assert PENALTIES[name].value(weights).dtype == dtype
    term = PENALTIES[name].start()
    for gradient in slopes(lambda w: 1e6 * term(w), weights):  # a strength must not make it infinite
        assert bool(gradient.isfinite().all())
        assert gradient.dtype == dtype


@pytest.mark.parametrize("name", PENALTIES)
def test_weights_that_are_no_numbers_make_the_penalty_none(name: str) -> None:
    """The training loop then says at which step; a failed decomposition would not."""
    weights = [torch.full((5, 4), torch.nan), torch.ones(6, 5)]
    assert not bool(PENALTIES[name].value(weights).isfinite())
    assert not bool(PENALTIES[name].start()(weights).isfinite())


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shapes", [(), ((3,),), ((0, 4),), ((5, 4), (2, 6, 5)), ((2, 5, 4), (3, 6, 5))])
def test_shapes_that_are_no_matrices(name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    weights = [torch.ones(*shape) for shape in shapes]
    for ask in (PENALTIES[name].value, PENALTIES[name].start()):
        with pytest.raises(UsageError, match=r"a penalty needs matrices \(h, d\), or \(M, h, d\) with one M, got"):
            ask(weights)
