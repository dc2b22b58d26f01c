"""The recurrences against dense linear algebra."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brittle.checkpoints import reading as reading_module
from brittle.checkpoints.lanczos import gram_product, lanczos
from brittle.checkpoints.reading import reading
from tests.checkpoints.made import normal, only


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(40, 13), (13, 40), (9, 9)])
def test_products_by_blocks(shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module.Reader.rows, "__defaults__", (45,))
    w = normal(*shape, seed=0).double()
    x = normal(min(shape), 3, seed=1).double()
    with reading(only(tmp_path, {"a.weight": w})) as reader:
        truth = w @ (w.T @ x) if shape[0] < shape[1] else w.T @ (w @ x)
        torch.testing.assert_close(gram_product(reader)(x), truth)


def test_quadrature_integrates_polynomials_exactly() -> None:
    """k steps integrate degree 2 k - 1 without error: v^T G^p v by dense powers, for the same start vectors."""
    a = normal(30, 30, seed=0).double()
    g = a @ a.T / 30
    found = lanczos(lambda x: g @ x, 30, probes=4, steps=6, generator=generator(3))
    start = torch.randn(30, 4, dtype=torch.float64, generator=generator(3))
    start = start / start.norm(dim=0)
    for steps in (1, 3, 6):
        nodes, weights = found.quadrature(steps)
        for power in range(2 * steps):
            truth = (start * (torch.linalg.matrix_power(g, power) @ start)).sum(0)
            torch.testing.assert_close((weights * nodes**power).sum(1), truth, rtol=1e-10, atol=1e-12)


def test_bases_stay_orthogonal_so_that_values_do_not_repeat() -> None:
    """Without that, the dominant value would come again and again."""
    lam = torch.cat([torch.tensor([100.0], dtype=torch.float64), torch.linspace(0.1, 1, 59, dtype=torch.float64)])
    found = lanczos(lambda x: lam[:, None] * x, 60, probes=2, steps=40, generator=generator())
    assert (found.quadrature(40)[0] > 50).sum(1).tolist() == [1, 1]


def test_a_probe_that_has_seen_all_stops() -> None:
    lam = torch.zeros(50, dtype=torch.float64)
    lam[:3] = torch.tensor([1.0, 2.0, 3.0])
    found = lanczos(lambda x: lam[:, None] * x, 50, probes=3, steps=20, generator=generator())
    nodes, weights = found.quadrature(20)
    for probe in range(3):
        assert nodes[probe][weights[probe] > 1e-9].sort().values[-3:].tolist() == pytest.approx([1, 2, 3])
    assert float((weights * nodes).sum(1).max()) < 3
    assert not bool(found.beside[5:].any())


def test_more_steps_than_dimensions() -> None:
    lam = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    found = lanczos(lambda x: lam[:, None] * x, 3, probes=3, steps=40, generator=generator())
    assert found.diagonal.shape == (3, 3)
    torch.testing.assert_close(found.quadrature(3)[0], lam.expand(3, 3))
