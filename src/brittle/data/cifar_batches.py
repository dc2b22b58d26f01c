"""The python batches of CIFAR-10: pickles, read without running any code from them.

A pickle may call whatever it names. Here each name it may use stands for an inert stand-in of ours, and any other
name is refused, so not even numpy's own unpickling runs.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brittle.errors import DataError


class _Array:
    """Stand-in for numpy.ndarray: takes the state a pickled array carries and checks it."""

    values: NDArray[np.uint8]

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, bytes]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", b"u1") or fortran or not isinstance(raw, bytes):
            raise ValueError("an array that is not made of unsigned bytes in C order")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape)


class _Dtype:
    """Stand-in for numpy.dtype: remembers the code it was made with."""

    def __init__(self, code: object = None, *rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None: ...


def _reconstruct(*arguments: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes in protocol 2.
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a batch of images has no use for")
        return _ALLOWED[module, name]


def read_batch(blob: bytes, source: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 3, 32, 32) and labels (n,) of one batch file; `source` names it in messages.

    A batch is a dictionary with `data`, unsigned bytes (n, 3072), and `labels`, a list of n integers
    (www.cs.toronto.edu/~kriz/cifar.html).

    Raises:
        DataError: not such a pickle, truncated, or one that asks for anything else than numpy arrays of bytes.
    """
    try:
        batch = _Unpickler(io.BytesIO(blob), encoding="bytes").load()
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        images, labels = fields["data"].values, fields["labels"]
        if not all(type(label) is int for label in labels):
            raise ValueError("labels that are not a list of integers")
        y = np.array(labels, np.int64)
        if images.shape != (len(y), 3072):
            raise ValueError(f"data of shape {images.shape} for {len(y)} labels, expected ({len(y)}, 3072)")
    except Exception as error:  # a broken pickle can raise almost anything
        raise DataError(
            f"{source} is not a CIFAR-10 python batch ({type(error).__name__}: {error}): download cifar-10-python again"
        ) from None
    return images.reshape(-1, 3, 32, 32), y
