"""All singular values, held whole or by blocks of the Gram matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brittle.checkpoints import exact
from brittle.checkpoints.exact import all_singular_values, gram
from brittle.checkpoints.reading import reading
from brittle.checkpoints.rows import row_pass
from tests.checkpoints.made import normal, only


@pytest.mark.parametrize("shape", [(40, 13), (13, 40), (9, 9), (1, 5)])
@pytest.mark.parametrize("whole", [0, 10**9])
@pytest.mark.parametrize("scale", [1.0, 1e200])
def test_against_torch(
    shape: tuple[int, int], whole: int, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "WHOLE_ENTRIES", whole)
    monkeypatch.setattr(exact, "GRAM_ENTRIES", 60)
    w = normal(*shape, seed=0).double()
    with reading(only(tmp_path, {"a.weight": w * scale})) as reader:
        row_pass(reader, transposed=False)
        sigma = all_singular_values(reader)
    torch.testing.assert_close(sigma / scale, torch.linalg.svdvals(w), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 13), (13, 40)])
def test_the_gram_matrix_is_of_the_short_side(shape: tuple[int, int], tmp_path: Path) -> None:
    w = normal(*shape, seed=0).double()
    with reading(only(tmp_path, {"a.weight": w})) as reader:
        torch.testing.assert_close(gram(reader), w @ w.T if shape[0] < shape[1] else w.T @ w)
