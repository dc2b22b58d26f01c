from __future__ import annotations

from pathlib import Path

import pytest

from brittle.errors import BrittleError, DataError
from brittle.studies.grid import expand
from brittle.studies.trial import DynamicsSource, PenaltySource, Training
from brittle.studies.yaml_file import read_study

GOOD = """\
name: mine
question: Does it?  # 2020-01-01
base:
  data: digits
  training: &run
    epochs: 3
    learning_rate: 1e-3
grid:
  - seed: [0, 1]
    source:
      - kind: penalty
        name: l1
        strength: 2.5E-2
  - training:
      - <<: *run
        epochs: 4
cells:
  - source: {kind: dynamics, setting: optimiser, value: "1e-3"}
criterion:
  predictor: structure.rank
  outcome: robust.linf@0.05
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_says_what_it_means(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, GOOD))
    first, second, merged, cell = expand(study)
    assert (first.seed, second.seed) == (0, 1)
    assert first.source == PenaltySource(name="l1", strength=0.025)
    assert first.training == Training(epochs=3, learning_rate=0.001)
    assert merged.training == Training(epochs=4, learning_rate=0.001)
    assert cell.source == DynamicsSource(setting="optimiser", value="1e-3")
    assert study.criterion is not None
    assert study.criterion.smallest == 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("name: mine", "nam: mine", "1: name is missing: add it (and 1 more)"),
        ("epochs: 3", "epochs: 0", "6: base.training.epochs must be >= 1, got 0: choose another value"),
        ("epochs: 3", "epoch: 3", "6: unknown key base.training.epoch: did you mean epochs?"),
        ("epochs: 3", "epochs: .inf", "6: base.training.epochs must be a finite number, got .inf"),
        ("epochs: 3", "epochs: !!int x", "6: base.training.epochs is no int: 'x'"),
        ("epochs: 3", "epochs: !!binary aGk=", "6: cannot take a value of type tag:yaml.org,2002:binary"),
        ("epochs: 3", "epochs: !!python/name:os.system", "6: cannot take a value of type tag:yaml.org,2002:python"),
        ("seed: [0, 1]", "seed: [0,\n\n -1]", "11: seed must be >= 0, got -1: choose another value"),
        ("strength: 2.5E-2", "strength: -1", "13: source.strength must be > 0.0, got -1"),
        ("strength: 2.5E-2", "stength: 1", "11: source.strength is missing: add it (and 1 more)"),
        ("kind: penalty", "kind: penal", "11: source.kind must be one of dense, penalty, "),
        ("seed: [0, 1]", "sed: [0, 1]", "9: unknown key sed: did you mean seed?"),
        ("        epochs: 4", "        epochs: four", "16: training.epochs must be a whole number, got 'four'"),
        (
            'value: "1e-3"',
            "value: [1]",
            "18: source.value must be a number or a whole number or text (in quotes, if it looks like a number), got",
        ),
        ("predictor:", "outcome: x\n  predictor:", "22: criterion.outcome is given twice: keep one"),
        ("name: mine", "name: [mine", "2: this is no YAML: "),
        ("*run", "*walk", "15: this is no YAML: found undefined alias"),
        ("base:\n  data: digits", "base: &b\n  data: *b", "3: the file's aliases make it endless or huge"),
        ("base:", "? [a]\n: 1\nbase:", "3: a key must be text"),
    ],
)
def test_every_refusal_says_where(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert GOOD.count(before) == 1, "the change must be at one place"
    path = write(tmp_path, GOOD.replace(before, after))
    with pytest.raises(BrittleError) as caught:
        read_study(path)
    assert str(caught.value).startswith(f"{path}:{said}")
    assert "\n" not in str(caught.value)


def test_a_single_grid_without_a_list_has_lines_too(tmp_path: Path) -> None:
    path = write(tmp_path, "name: s\nquestion: q\ngrid:\n  seed: [0]\n  source:\n    - {kind: rank, rank: 0}\n")
    with pytest.raises(BrittleError, match=r"study.yaml:6: source.rank must be >= 1, got 0"):
        read_study(path)
    path = write(tmp_path, "name: s\nquestion: q\ngrid:\n  seed: 5\n")
    with pytest.raises(BrittleError, match=r"study.yaml:4: grid\[0\].seed must be a list, got 5"):
        read_study(path)


def test_aliases_cannot_make_a_small_file_huge(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(BrittleError, match="the file's aliases make it endless or huge: write the values out"):
        read_study(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_other_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BrittleError, match=r"study.yaml:1: expected a study: a mapping with the keys name, question"):
        read_study(write(tmp_path, text))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*; expected a study as YAML"):
        read_study(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="it is no UTF-8 text"):
        read_study(tmp_path / "bytes.yaml")
    with pytest.raises(DataError, match=r"cannot read .*Is a directory"):
        read_study(tmp_path)
    (tmp_path / "control.yaml").write_bytes(b"name: \x01")
    with pytest.raises(BrittleError, match=r"control.yaml:1: this is no YAML"):
        read_study(tmp_path / "control.yaml")
