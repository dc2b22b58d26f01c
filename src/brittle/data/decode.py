"""Image files to arrays of bytes, all of one shape."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brittle.errors import DataError

_CHANNELS = {"L": 1, "RGB": 3}


def decode_image(blob: bytes, source: str) -> NDArray[np.uint8]:
    """One grey or RGB image of 8 bits as (c, h, w), c = 1 or 3; `source` names the file in messages.

    Raises:
        DataError: pillow cannot read it, or it is neither grey nor RGB.
    """
    try:
        with Image.open(io.BytesIO(blob)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # on broken files pillow's decoders raise almost anything, SyntaxError included
        reason = str(error).split(" <")[0]  # not the address of the buffer that pillow puts in
        raise DataError(f"cannot read the image {source} ({reason}): replace or delete it") from None
    if mode not in _CHANNELS:
        raise DataError(f"{source} has pillow mode {mode}, expected L (8-bit grey) or RGB: convert the images")
    return pixels.reshape(*pixels.shape[:2], _CHANNELS[mode]).transpose(2, 0, 1)


def decode_stack(items: Iterable[tuple[str, bytes]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Images (source, file content), each of shape `shape` = (c, h, w), as one array (n, c, h, w).

    Raises:
        DataError: as in `decode_image`, or an image of another shape; the message names the first.
    """
    images: list[NDArray[np.uint8]] = []
    for source, blob in items:
        image = decode_image(blob, source)
        if image.shape != shape:
            raise DataError(
                f"{source} is {describe(image.shape)}, the images before it are {describe(shape)}:"
                " bring all images to one size and all to grey or all to RGB"
            )
        images.append(image)
    return np.stack(images) if images else np.zeros((0, *shape), np.uint8)


def describe(shape: tuple[int, ...]) -> str:
    """A shape (c, h, w) in words, width first as image programs say it: "32 x 24 RGB"."""
    channels, rows, columns = shape
    return f"{columns} x {rows} {'grey' if channels == 1 else 'RGB'}"
