"""Nested factors against exact decompositions, direct minimisation and each other."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from brittle.compression.nested_factors import mode_energies, nested_factors
from brittle.compression.nesting import Nesting

SHAPE = (7, 5, 6)


def _moment(size: int, seed: int) -> Tensor:
    rows = torch.randn(3 * size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scale = torch.logspace(0, 1, size, dtype=torch.float64)
    return (rows * scale).T @ (rows * scale) / len(rows)


def _weight(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _error(weight: Tensor, other: Tensor, moment: Tensor, weigh: Tensor | None = None) -> float:
    gap = (weight - other).flatten(1)
    return float(((gap @ moment @ gap.T) * (torch.eye(len(gap), dtype=gap.dtype) if weigh is None else weigh)).sum())


@pytest.mark.parametrize(("a", "s", "r"), [(3, 0, 0), (0, 2, 0), (3, 2, 0), (3, 2, 4)])
def test_a_kernel_of_these_sizes_comes_back(a: int, s: int, r: int) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    core = draw(7, a or 5, s or 6)
    if r:
        core = (draw(7, r) @ draw(r, a * s)).view(7, a, s)
    whole = torch.einsum(
        "has,ac,sp->hcp", core, draw(a, 5) if a else torch.eye(5).double(), draw(s, 6) if s else torch.eye(6).double()
    )
    found = nested_factors(whole, _moment(30, 2), Nesting(SHAPE, a, s, r))
    torch.testing.assert_close(found.product(), whole, rtol=1e-6, atol=1e-6)
    assert (found.channels is None, found.positions is None, found.pair is None) == (not a, not s, not r)


def test_one_channel_mode_of_white_inputs_is_the_truncated_svd() -> None:
    weight = _weight()
    found = nested_factors(weight, torch.eye(30, dtype=torch.float64), Nesting(SHAPE, 2, 0, 0))
    values = torch.linalg.svdvals(weight.transpose(0, 1).flatten(1))
    assert _error(weight, found.product(), torch.eye(30).double()) == pytest.approx(float(values[2:].square().sum()))


def test_the_core_is_the_least_squares_answer_for_its_mixtures() -> None:
    weight, moment = _weight(), _moment(30, 3)
    found = nested_factors(weight, moment, Nesting(SHAPE, 3, 2, 0))
    assert found.channels is not None
    assert found.positions is not None
    mixed = torch.kron(found.channels, found.positions)
    root = torch.linalg.cholesky(moment)
    best = torch.linalg.lstsq((mixed @ root).T, (weight.flatten(1) @ root).T).solution.T
    torch.testing.assert_close(found.core.flatten(1), best, rtol=1e-7, atol=1e-9)


def test_a_rank_of_the_core_is_the_best_in_the_weighed_norm() -> None:
    weight, moment, weigh = _weight(), _moment(30, 4), _moment(7, 5)
    wanted = Nesting(SHAPE, 3, 4, 2)
    found = nested_factors(weight, moment, wanted, weigh, sweeps=0)
    assert found.channels is not None
    assert found.positions is not None
    mixed = torch.kron(found.channels, found.positions)
    inputs, outputs = torch.linalg.cholesky(mixed @ moment @ mixed.T), torch.linalg.cholesky(weigh)
    full = torch.linalg.solve(mixed @ moment @ mixed.T, mixed @ moment @ weight.flatten(1).T).T
    values = torch.linalg.svdvals(outputs.T @ full @ inputs)
    lost = _error(full.view(7, 3, 4), found.core, mixed @ moment @ mixed.T, weigh)
    assert lost == pytest.approx(float(values[2:].square().sum()))


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize(("a", "s", "r"), [(3, 0, 0), (0, 3, 0), (2, 3, 0), (2, 3, 3)])
def test_sweeps_only_help_and_end_at_a_stationary_point(a: int, s: int, r: int, weighed: bool) -> None:
    weight, moment = _weight(), _moment(30, 6)
    weigh = _moment(7, 7) if weighed else None
    wanted = Nesting(SHAPE, a, s, r)
    errors = [
        _error(weight, nested_factors(weight, moment, wanted, weigh, sweeps=n).product(), moment, weigh)
        for n in range(4)
    ]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(errors))
    assert errors[1] < errors[0] * (1 - 1e-6)
    end = nested_factors(weight, moment, wanted, weigh, sweeps=300)
    parts = [part.clone().requires_grad_(True) for part in (end.channels, end.positions) if part is not None]
    core = end.core.clone().requires_grad_(True)
    product, left = core, list(parts)
    if a:
        product = torch.einsum("has,ac->hcs", product, left.pop(0))
    if s:
        product = torch.einsum("hcp,ps->hcs", product, left.pop(0))
    gap = (weight - product).flatten(1)
    loss = (gap @ moment @ gap.T * (torch.eye(7).double() if weigh is None else weigh)).sum()
    for gradient in torch.autograd.grad(loss, parts if r else [*parts, core]):
        assert float(gradient.abs().max()) < 1e-3 * errors[0]


def test_neighbouring_parts_share_their_singular_values() -> None:
    found = nested_factors(_weight(), _moment(30, 8), Nesting(SHAPE, 3, 0, 2))
    assert found.pair is not None
    left, right = (torch.linalg.svdvals(part) for part in found.pair)
    torch.testing.assert_close(left, right)
    found = nested_factors(_weight(), _moment(30, 8), Nesting(SHAPE, 3, 0, 0))
    assert found.channels is not None
    outer = found.core.transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(torch.linalg.svdvals(outer), torch.linalg.svdvals(found.channels))


def test_mode_energies_of_white_inputs_are_those_of_the_unfoldings() -> None:
    weight = _weight()
    positions, channels, outputs = mode_energies(weight, torch.eye(30, dtype=torch.float64))
    for energies, axis in ((positions, 2), (channels, 1), (outputs, 0)):
        expected = torch.linalg.svdvals(weight.movedim(axis, 0).flatten(1)).square()
        torch.testing.assert_close(energies, expected)


def test_output_energies_sum_to_that_of_the_outputs() -> None:
    weight, moment = _weight(), _moment(30, 9)
    assert float(mode_energies(weight, moment)[2].sum()) == pytest.approx(_error(weight, 0 * weight, moment))
