"""Row norms and Frobenius norm in one pass, also of extreme and broken weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brittle.checkpoints import reading as reading_module
from brittle.checkpoints.reading import reading
from brittle.checkpoints.rows import row_pass
from tests.checkpoints.made import normal, only, planned


@pytest.mark.parametrize("entries", [1, 37, 2**18])
def test_against_torch_for_any_block(entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module.Reader.rows, "__defaults__", (entries,))
    w = normal(31, 11, seed=0).bfloat16()
    with reading(only(tmp_path, {"a.weight": w})) as reader:
        found = row_pass(reader, transposed=False)
        torch.testing.assert_close(found.norms, w.double().abs().sum(1), rtol=1e-14, atol=0)
        assert found.frobenius == pytest.approx(float(torch.linalg.norm(w.double())), rel=1e-14)
        torch.testing.assert_close(row_pass(reader, transposed=True).norms, w.double().abs().sum(0), rtol=1e-14, atol=0)


def test_neurons_of_a_conv1d_are_columns(tmp_path: Path) -> None:
    tensors = {"h.0.attn.c_attn.weight": normal(4, 12, seed=1)}
    key = planned(tmp_path, tensors).matrices[1]
    with reading(key) as reader:
        found = row_pass(reader, transposed=key.part.transposed)
    torch.testing.assert_close(found.norms, tensors["h.0.attn.c_attn.weight"][:, 4:8].double().abs().sum(0))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e200, 1e300])
def test_extreme_weights(scale: float, tmp_path: Path) -> None:
    w = normal(6, 5, seed=0).double()
    with reading(only(tmp_path, {"a.weight": w * scale})) as reader:
        found = row_pass(reader, transposed=False)
        assert found.finite
        assert found.frobenius == pytest.approx(float(w.norm()) * scale, rel=1e-12)
        assert 1e-3 < float(reader.block((0, 6)).abs().max()) < 1e3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(bad: float, tmp_path: Path) -> None:
    w = normal(6, 5, seed=0)
    w[5, 4] = bad
    with reading(only(tmp_path, {"a.weight": w})) as reader:
        assert not row_pass(reader, transposed=False).finite
