"""Eight-bit weights: the right scale, or none at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from brittle.checkpoints.measure import measure_matrix
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.reading import reading
from brittle.results.structure import MatrixStructure
from tests.checkpoints.made import normal, only, planned

CODES = torch.randint(-127, 128, (256, 130), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
F8 = normal(256, 130, seed=1).to(torch.float8_e4m3fn)
F8_WIDE = normal(256, 130, seed=1).to(torch.float8_e5m2)
ROWS = normal(256, 1, seed=2).abs()
GRID = normal(2, 2, seed=3).abs()


def spread(grid: Tensor) -> Tensor:
    return grid.repeat_interleave(128, 0).repeat_interleave(128, 1)[:256, :130].double()


# Names and tensors; the weights they stand for.
CASES: dict[str, tuple[dict[str, Tensor], Tensor]] = {
    "bitsandbytes": ({"a.weight": CODES, "a.SCB": ROWS[:, 0]}, CODES.double() * ROWS.double() / 127),
    "one for each row": ({"a.weight": F8, "a.weight_scale": ROWS}, F8.double() * ROWS.double()),
    "one for all": ({"a.weight": F8_WIDE, "a.weight_scale": torch.tensor(0.37)}, F8_WIDE.double() * 0.37),
    "one in a list": ({"a.weight": F8, "a.scale_weight": torch.tensor([0.5])}, F8.double() * 0.5),
    "blocks": ({"a.weight": F8, "a.weight_scale_inv": GRID}, F8.double() * spread(GRID)),
    "groups of columns": (
        {"a.weight": CODES, "a.weight_scale": normal(256, 10, seed=4)},
        CODES.double() * normal(256, 10, seed=4).double().repeat_interleave(13, 1),
    ),
    "quanto": ({"a.weight._data": CODES, "a.weight._scale": ROWS}, CODES.double() * ROWS.double()),
}


@pytest.mark.parametrize("name", CASES)
def test_weights_are_codes_times_scale(name: str, tmp_path: Path) -> None:
    tensors, truth = CASES[name]
    found = planned(tmp_path, tensors)
    (matrix,) = found.matrices
    assert matrix.name == "a"
    assert matrix.notes == ()
    assert [row.why for row in found.unmeasured] == [f"the scale of {next(iter(tensors))}, read with it"]
    with reading(matrix) as reader:
        torch.testing.assert_close(reader.block((0, 256)), truth, rtol=1e-6, atol=0)
        torch.testing.assert_close(reader.block((100, 201), (90, 130)), truth[100:201, 90:130], rtol=1e-6, atol=0)


def test_a_split_matrix_keeps_its_part_of_the_scale(tmp_path: Path) -> None:
    codes, scale = normal(96, 32, seed=5).to(torch.float8_e4m3fn), normal(96, 1, seed=6).abs()
    parts = planned(tmp_path, {"attn.qkv.weight": codes, "attn.qkv.weight_scale": scale}).matrices
    whole = codes.double() * scale.double()
    for i, part in enumerate(parts):
        with reading(part) as reader:
            torch.testing.assert_close(reader.block((0, 32)), whole[32 * i : 32 * i + 32], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"a.weight_scale": torch.ones(7)},
        {"a.weight_scale": torch.ones(1, 1, 1)},
        {"a.weight_scale": torch.ones(256, dtype=torch.int32)},
        {"a.weight_scale": ROWS, "a.weight_zero_point": torch.ones(256, 1)},
        {"b.weight_scale": ROWS},
    ],
    ids=["none", "wrong length", "three dimensions", "integers", "zero points", "another layer's"],
)
def test_where_in_doubt_the_codes_are_measured_and_it_is_said(others: dict[str, Tensor], tmp_path: Path) -> None:
    matrix = next(m for m in planned(tmp_path, {"a.weight": CODES, **others}).matrices if m.name == "a")
    assert "eight-bit codes without a scale" in matrix.notes[0]
    row = measure_matrix(matrix, CheckpointOptions())
    assert isinstance(row, MatrixStructure)
    assert row.notes == matrix.notes
    assert row.frobenius == pytest.approx(float(CODES.double().norm()))


def test_floats_need_no_scale(tmp_path: Path) -> None:
    found = planned(tmp_path, {"a.weight": normal(4, 3, seed=0), "a.weight_scale": torch.ones(4, 1)})
    assert [m.name for m in found.matrices] == ["a", "a.weight_scale"]
    assert only(tmp_path, {"a.weight": normal(4, 3, seed=0)}).notes == ()
