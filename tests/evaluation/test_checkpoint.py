"""State and records that outlive their process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pytest
import torch

from brittle.errors import UsageError
from brittle.evaluation import checkpoint
from brittle.evaluation.checkpoint import Memory, Saver, State, hash_tensors, kept
from brittle.results.robustness import AttackStep

STATE = State(
    {
        "x": torch.tensor([[1.0, float("nan")], [0.1, -float("inf")]]),
        "d": torch.tensor([1 / 3], dtype=torch.float64),
        "b": torch.tensor([True, False, True]),
        "none": torch.empty(0, 3, dtype=torch.int64),
    },
    {"done": 3, "steps": [["pgd", 1 / 3]]},
)


def saver(folder, fingerprint="net", **facts):
    memory = Memory(folder, fingerprint)
    return Saver(memory, memory.key("work", **facts))


def only_file(folder):
    (place,) = folder.iterdir()
    return place


def test_a_state_comes_back_bit_by_bit(tmp_path):
    saver(tmp_path / "new" / "folder").keep(STATE)
    back = saver(tmp_path / "new" / "folder").load()
    assert back.values == STATE.values
    assert set(back.tensors) == set(STATE.tensors)
    for name, tensor in STATE.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert back.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_the_newest_state_takes_the_place_of_the_one_before(tmp_path):
    writer = saver(tmp_path)
    writer.keep(STATE)
    writer.keep(State({"x": torch.ones(1)}, {"done": 4}))
    assert writer.load().values == {"done": 4}
    only_file(tmp_path)


def test_other_work_and_other_fingerprints_do_not_meet(tmp_path):
    saver(tmp_path, seed=0).keep(STATE)
    assert saver(tmp_path, seed=0).load() is not None
    assert saver(tmp_path, seed=1).load() is None
    assert saver(tmp_path, "other net", seed=0).load() is None
    memory = Memory(tmp_path, "net")
    assert Saver(memory, memory.key("other work", seed=0)).load() is None


def test_a_state_under_a_foreign_key_is_ignored(tmp_path):
    saver(tmp_path / "a", seed=0).keep(STATE)
    saver(tmp_path / "b", seed=1).keep(STATE)
    target = only_file(tmp_path / "a")
    target.write_bytes(only_file(tmp_path / "b").read_bytes())
    assert saver(tmp_path / "a", seed=0).load() is None


@pytest.mark.parametrize("where", [0, 60, 0.5, -1])
def test_any_damaged_byte_is_noticed(tmp_path, where):
    saver(tmp_path).keep(State({"x": torch.rand(100)}, {"done": 3}))
    place = only_file(tmp_path)
    content = bytearray(place.read_bytes())
    content[where if isinstance(where, int) else int(where * len(content))] ^= 1
    place.write_bytes(content)
    assert saver(tmp_path).load() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 40, None])
def test_a_torn_file_is_ignored_and_written_anew(tmp_path, content):
    saver(tmp_path).keep(STATE)
    place = only_file(tmp_path)
    place.write_bytes(place.read_bytes()[:-5] if content is None else content)
    assert saver(tmp_path).load() is None
    saver(tmp_path).keep(STATE)
    assert saver(tmp_path).load() is not None


def test_without_a_memory_nothing_is_kept():
    writer = Saver(None, "")
    assert not writer.due()
    writer.keep(STATE)
    assert writer.load() is None


def test_writing_is_rare_but_a_long_write_is_rarer(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    writer = saver(tmp_path)
    assert writer.due()
    writer.keep(STATE)
    assert not writer.due()
    clock[0] += 1.01
    assert writer.due()

    def slow(*args, **kwargs):
        clock[0] += 2.0
        return save(*args, **kwargs)

    save = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", slow)
    writer.keep(STATE)
    clock[0] += 30.0
    assert not writer.due()
    clock[0] += 10.5
    assert writer.due()


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the folder"):
        saver(tmp_path / "file").load()
    memory, calls = Memory(tmp_path / "file", "net"), []
    with pytest.raises(UsageError, match="cannot make the folder"):
        kept(memory, memory.key("row"), Row, once(ROW, calls))
    assert calls == []


def test_a_full_disk_is_told_and_leaves_the_last_state(tmp_path, monkeypatch):
    writer = saver(tmp_path)
    writer.keep(STATE)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UsageError, match=r"cannot write .*No space left on device; choose a folder that is writable"):
        writer.keep(State({}, {}))
    only_file(tmp_path)
    assert writer.load().values == STATE.values


def test_what_a_killed_writer_left_goes_away_after_a_while(tmp_path):
    writer = saver(tmp_path)
    writer.keep(STATE)
    name = only_file(tmp_path).name
    old, young, foreign = (tmp_path / part for part in (f".{name}.a.part", f".{name}.b.part", ".other.c.part"))
    for part in (old, young, foreign):
        part.write_bytes(b"torn")
    for part in (old, foreign):
        os.utime(part, (0, 0))
    writer.load()
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)


def test_tensors_differ_by_content_shape_and_format():
    x = torch.rand(4, 2)
    hashes = {hash_tensors(x), hash_tensors(x.T), hash_tensors(x.double()), hash_tensors(x + 1e-6), hash_tensors(x, x)}
    assert len(hashes) == 5
    assert hash_tensors(x.clone()) == hash_tensors(x)
    assert hash_tensors(x.T) == hash_tensors(x.T.contiguous())


@dataclass(frozen=True)
class Row:
    name: str
    radii: tuple[float | None, ...]
    steps: tuple[AttackStep, ...]
    shares: dict[str, float]


ROW = Row("é", (1 / 3, None, 1e-300), (AttackStep("a", 0.1),), {"b": 2.0, "a": 1.0})


def once(record, calls):
    def compute():
        calls.append(1)
        return record

    return compute


@pytest.mark.parametrize(("record", "record_class"), [(ROW, Row), ((ROW, ROW), tuple[Row, ...]), ((), tuple[Row, ...])])
def test_a_record_is_computed_once(tmp_path, record, record_class):
    memory, calls = Memory(tmp_path / "new", "net"), []
    key = memory.key("rows", k=3)
    for _ in range(2):
        assert kept(memory, key, record_class, once(record, calls)) == record
    assert calls == [1]
    kept(memory, memory.key("rows", k=4), record_class, once(record, calls))
    kept(Memory(tmp_path / "new", "n2"), Memory(tmp_path, "n2").key("rows", k=3), record_class, once(record, calls))
    assert len(calls) == 3


def test_without_a_memory_a_record_is_computed_every_time():
    calls = []
    for _ in range(2):
        assert kept(None, "", Row, once(ROW, calls)) == ROW
    assert len(calls) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-9],
        lambda text: text.replace("0.1", "0.2"),
        lambda text: text.replace('"net', '"nat'),
        lambda text: text.replace("net", "nat"),
        lambda text: json.dumps({**json.loads(text), "record": "{}"}),
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_damaged_or_foreign_record_is_computed_again(tmp_path, damage):
    memory, calls = Memory(tmp_path, "net"), []
    key = memory.key("row")
    kept(memory, key, Row, once(ROW, calls))
    place = only_file(tmp_path)
    text = place.read_text(encoding="utf-8")
    assert damage(text) != text
    place.write_text(damage(text), encoding="utf-8")
    for _ in range(2):
        assert kept(memory, key, Row, once(ROW, calls)) == ROW
    assert len(calls) == 2


def test_a_record_of_another_class_is_computed_again(tmp_path):
    memory, calls = Memory(tmp_path, "net"), []
    kept(memory, memory.key("row"), Row, once(ROW, calls))
    assert kept(memory, memory.key("row"), AttackStep, once(AttackStep("b", 0.5), calls)) == AttackStep("b", 0.5)
    assert len(calls) == 2


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_json_cannot_hold_is_returned_and_not_kept(tmp_path, value):
    memory = Memory(tmp_path, "net")
    assert kept(memory, memory.key("step"), AttackStep, lambda: AttackStep("a", value)).accuracy is value
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_work_passes_and_nothing_is_kept(tmp_path):
    memory = Memory(tmp_path, "net")
    with pytest.raises(ZeroDivisionError):
        kept(memory, memory.key("row"), Row, lambda: 1 // 0)
    assert not list(tmp_path.iterdir())
