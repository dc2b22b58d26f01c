"""Proximal steps against the condition that decides: (W - V) / step is a subgradient of the norm at V.

For a norm N with dual N* this is `N*(G) <= 1` and `<G, V> = N(V)`, G = (W - V) / step.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.group_lasso import GroupLasso
from brittle.training.penalties.l1 import L1
from brittle.training.penalties.nuclear import FastNuclear, Nuclear
from brittle.training.penalties.threshold import randomised_threshold, threshold
from tests.training.penalties.made import normal, with_values


def norms(w: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Each norm and its dual."""
    rows, sigma = w.square().sum(1).sqrt(), torch.linalg.svdvals(w)
    return {
        "l1": (w.abs().sum(), w.abs().max()),
        "group_lasso": (rows.sum(), rows.max()),
        "nuclear": (sigma.sum(), sigma.max()),
    }


CASES = [L1(), GroupLasso(), Nuclear(), FastNuclear(rank=2)]


@pytest.mark.parametrize("penalty", CASES[:3], ids=lambda p: p.name)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9), columns=st.integers(1, 9), step=st.floats(1e-2, 5))
@settings(max_examples=25, deadline=None)
def test_optimality(penalty: object, seed: int, rows: int, columns: int, step: float) -> None:
    w = normal(rows, columns, seed=seed)
    v = penalty.prox(w, step)  # type: ignore[attr-defined]
    g = (w - v) / step
    length, dual = norms(v)[penalty.name][0], norms(g)[penalty.name][1]  # type: ignore[attr-defined]
    assert float(dual) <= 1 + 1e-8
    assert float((g * v).sum()) == pytest.approx(float(length), abs=1e-8)


@given(seed=st.integers(0, 10**6), above=st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_optimality_of_the_randomised_step(seed: int, above: int) -> None:
    """Values that fall slowly below the step: what the sketch misses is what remains."""
    sigma = torch.cat([torch.linspace(3, 1.5, above), torch.linspace(0.9, 0.2, 60 - above)])
    w = with_values(sigma, 60, 80, seed=seed % 1000)
    v = randomised_threshold(w, 1.0, rank=4, generator=torch.Generator().manual_seed(seed))
    assert float(torch.linalg.matrix_norm(w - v, 2)) <= 1.02
    assert float(((w - v) * v).sum()) == pytest.approx(float(torch.linalg.svdvals(v).sum()), rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("penalty", CASES, ids=lambda p: p.name)
def test_a_step_of_zero_changes_nothing_and_a_huge_one_leaves_nothing(penalty: object) -> None:
    w = normal(4, 6).float()
    torch.testing.assert_close(penalty.prox(w, 0.0), w)  # type: ignore[attr-defined]
    assert not bool(penalty.prox(w, 1e6).any())  # type: ignore[attr-defined]
    zero = torch.zeros(3, 4)
    assert torch.equal(penalty.prox(zero, 0.1), zero)  # type: ignore[attr-defined]


def test_a_sketch_finds_the_same_and_grows_until_it_does() -> None:
    sigma = torch.cat([torch.linspace(5, 2, 20), torch.full((100,), 0.1)])
    for w in (with_values(sigma, 120, 130), with_values(sigma, 130, 120)):
        for rank in (3, 24):  # 3 must grow: twenty values exceed the step
            got = randomised_threshold(w, 1.0, rank=rank, generator=torch.Generator().manual_seed(1))
            torch.testing.assert_close(got, threshold(w, 1.0), atol=1e-6, rtol=0)
        assert int(torch.linalg.matrix_rank(got, rtol=1e-9)) == 20


def test_a_sketch_saves_the_large_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    import brittle.training.penalties.threshold as module

    seen: list[int] = []
    real = module.factors
    monkeypatch.setattr(module, "factors", lambda w: seen.append(w.shape[0]) or real(w))
    FastNuclear(rank=8).prox(with_values(torch.tensor([3.0, 2.0]), 60, 70), 0.5)
    assert seen == [16]  # 8 and 8 to spare, in place of 60


def test_members_of_an_ensemble_are_thresholded_apart() -> None:
    pair = torch.stack([normal(5, 3, seed=1), normal(5, 3, seed=2)])
    torch.testing.assert_close(threshold(pair, 0.7), torch.stack([threshold(w, 0.7) for w in pair]))


def test_weights_that_are_no_numbers_stay_so() -> None:
    w = torch.full((5, 4), torch.nan)
    for penalty in (Nuclear(), FastNuclear(rank=1)):
        assert bool(penalty.prox(w, 0.1).isnan().all())


def test_errors() -> None:
    generator = torch.Generator()
    with pytest.raises(UsageError, match="a proximal step must be >= 0, got -1"):
        threshold(torch.ones(2, 2), -1.0)
    with pytest.raises(UsageError, match="a proximal step must be >= 0, got nan"):
        randomised_threshold(torch.ones(2, 2), float("nan"), rank=1, generator=generator)
    with pytest.raises(UsageError, match=r"a sketch needs a matrix and a rank >= 1, got \(2, 2\) and 0"):
        randomised_threshold(torch.ones(2, 2), 1.0, rank=0, generator=generator)
    with pytest.raises(UsageError, match=r"a sketch needs a matrix and a rank >= 1, got \(2, 2, 2\) and 1"):
        randomised_threshold(torch.ones(2, 2, 2), 1.0, rank=1, generator=generator)
