"""A function of singular values against the same function by eigenvectors in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import brittle.training.penalties.rational as module
from brittle.training.penalties.rational import left_factor, symmetric_product
from brittle.training.penalties.zolotarev import Step, one_step, two_steps
from tests.training.penalties.made import normal, with_values
from tests.training.penalties.test_zolotarev import values


def raised(w: Tensor, steps: tuple[Step, ...]) -> Tensor:
    u, sigma, vt = torch.linalg.svd(w, full_matrices=False)
    return (u * values(steps, sigma)[..., None, :]) @ vt


@pytest.mark.parametrize("steps", [one_step(1e-2, 2), one_step(0.1, 1), two_steps(1e-3, 2, 1), two_steps(1e-3, 1, 2)])
@pytest.mark.parametrize("members", [(), (3,)])
def test_it_is_the_function_of_singular_values(steps: tuple[Step, ...], members: tuple[int, ...]) -> None:
    w = with_values(torch.logspace(0, -3, 30), 30, 40).expand(*members, 30, 40)
    p = left_factor(w @ w.mT, steps)
    assert p is not None
    torch.testing.assert_close(p @ w, raised(w, steps), atol=1e-8, rtol=0)


@pytest.mark.parametrize("after", [0, 2])
def test_none_where_a_matrix_is_indefinite(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, or in the second step."""
    cholesky, calls = module._shifted_cholesky, []

    def fails(g: Tensor, shift: float) -> Tensor | None:
        calls.append(shift)
        return cholesky(g - torch.eye(len(g)) if len(calls) > after else g, shift)

    monkeypatch.setattr(module, "_shifted_cholesky", fails)
    w = with_values(torch.logspace(0, -3, 12), 12, 20).float()
    assert left_factor(w @ w.T, two_steps(1e-3, 2, 1)) is None
    assert len(calls) == after + 1


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_a_symmetric_product_from_its_lower_half(rows: int) -> None:
    w = normal(2, rows, 9)
    torch.testing.assert_close(symmetric_product(w, w.mT), w @ w.mT)
    torch.testing.assert_close(symmetric_product(w[0], w[0].T), w[0] @ w[0].T)
