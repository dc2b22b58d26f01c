from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from brittle.data.cifar_batches import read_batch
from brittle.errors import DataError

PIXELS = (np.arange(2 * 3072) % 251).astype(np.uint8).reshape(2, 3072)


def _python2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2's cPickle and numpy 1 wrote, opcode by opcode: byte strings, the old module name."""

    def string(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = pixels.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + string(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + string(b"|") + b"NNN" + integer(-1) * 2 + b"K\x00tb"
    state = b"(K\x01" + integer(len(pixels)) + integer(pixels.shape[1]) + b"\x86" + dtype + b"\x89"
    state += b"T" + struct.pack("<i", len(raw)) + raw + b"t"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    name = string(b"batch_label") + string(b"testing batch 1 of 1")
    return b"\x80\x02}(" + name + string(b"labels") + listed + string(b"data") + array + state + b"bu."


def test_a_batch_as_distributed() -> None:
    images, labels = read_batch(_python2_batch(PIXELS, [6, 9]), "b")
    assert labels.tolist() == [6, 9]
    assert np.array_equal(images, PIXELS.reshape(2, 3, 32, 32))  # red plane, green plane, blue plane, row by row


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("keys", [(b"data", b"labels"), ("data", "labels")])
def test_a_batch_rewritten_by_python_3(protocol: int, keys: tuple[bytes | str, bytes | str]) -> None:
    images, labels = read_batch(pickle.dumps({keys[0]: PIXELS, keys[1]: [6, 9]}, protocol), "b")
    assert labels.tolist() == [6, 9]
    assert np.array_equal(images.reshape(2, 3072), PIXELS)


class Command:
    """Pickles as a call of os.system."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def test_no_code_is_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    blob = pickle.dumps({"data": PIXELS, "labels": Command(proof)})
    with pytest.raises(DataError, match=r"it names (posix|nt)\.system, which a batch of images has no use for"):
        read_batch(blob, "b")
    assert not proof.exists()
    pickle.loads(blob)
    assert proof.exists(), "the bait does not bite, so the test above proves nothing"


@pytest.mark.parametrize("name", ["builtins\neval", "builtins\ngetattr", "numpy\nload", "numpy\nfromfile"])
def test_no_other_name_is_allowed(name: str) -> None:
    with pytest.raises(DataError, match="UnpicklingError: it names"):
        read_batch(b"\x80\x02c" + name.encode() + b"\n.", "b")


BAD = {
    "truncated": pickle.dumps({"data": PIXELS, "labels": [1, 2]})[:3000],
    "no pickle": b"<html>not found</html>",
    "empty": b"",
    "no dictionary": pickle.dumps([1, 2]),
    "no data": pickle.dumps({"labels": [1, 2]}),
    "no labels": pickle.dumps({"data": PIXELS, "fine_labels": [1, 2]}),
    "counts": pickle.dumps({"data": PIXELS, "labels": [1, 2, 3]}),
    "width": pickle.dumps({"data": PIXELS[:, :3000].copy(), "labels": [1, 2]}),
    "floats": pickle.dumps({"data": PIXELS.astype(np.float32), "labels": [1, 2]}),
    "signed": pickle.dumps({"data": PIXELS.astype(np.int8), "labels": [1, 2]}),
    "column order": pickle.dumps({"data": np.asfortranarray(PIXELS), "labels": [1, 2]}),
    "objects": pickle.dumps({"data": PIXELS.astype(object), "labels": [1, 2]}),
    "text labels": pickle.dumps({"data": PIXELS, "labels": ["cat", "dog"]}),
    "yes/no labels": pickle.dumps({"data": PIXELS, "labels": [True, False]}),
}


@pytest.mark.parametrize("case", BAD)
def test_broken_batches(case: str) -> None:
    with pytest.raises(DataError, match=r"^b is not a CIFAR-10 python batch \(.*\): download") as caught:
        read_batch(BAD[case], "b")
    assert "\n" not in str(caught.value)
