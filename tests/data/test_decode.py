from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from brittle.data.decode import decode_image, decode_stack, describe
from brittle.errors import DataError

Png = Callable[..., bytes]


def test_grey_and_rgb_keep_rows_columns_and_channels(png: Png) -> None:
    assert np.array_equal(decode_image(png(), "f"), np.arange(20).reshape(1, 4, 5))
    rgb = decode_image(png(shape=(4, 5, 3)), "f")
    assert rgb.shape == (3, 4, 5)
    assert rgb[:, 1, 2].tolist() == [(1 * 5 + 2) * 3 + channel for channel in range(3)]


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "CMYK", "LA"])
def test_other_kinds_of_pixels_are_refused(png: Png, mode: str) -> None:
    blob = png(shape=(4, 5, 3), mode=mode, kind="TIFF" if mode == "CMYK" else "PNG")
    with pytest.raises(DataError, match=f"f has pillow mode {mode}, expected L .* or RGB: convert"):
        decode_image(blob, "f")


def test_broken_files_are_named(png: Png) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    for kind in ("PNG", "JPEG", "BMP"):
        whole = png(shape=(40, 50, 3), kind=kind)
        for blob in (whole[: len(whole) // 2], noise, b""):
            with pytest.raises(DataError, match=r"cannot read the image f \(.*\): replace or delete it") as caught:
                decode_image(blob, "f")
            assert "0x" not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_stack_has_one_shape(png: Png) -> None:
    items = [("a", png(0)), ("b", png(100)), ("c", png(shape=(5, 4))), ("d", b"never reached")]
    assert decode_stack(items[:2], (1, 4, 5))[:, 0, 0, 0].tolist() == [0, 100]
    with pytest.raises(DataError, match="c is 4 x 5 grey, the images before it are 5 x 4 grey: bring all"):
        decode_stack(items, (1, 4, 5))
    with pytest.raises(DataError, match="b is 5 x 4 RGB, the images before it are 5 x 4 grey"):
        decode_stack([("a", png()), ("b", png(shape=(4, 5, 3)))], (1, 4, 5))


def test_an_empty_stack_keeps_its_shape() -> None:
    assert decode_stack([], (3, 4, 5)).shape == (0, 3, 4, 5)


def test_sizes_are_said_width_first() -> None:
    assert describe((3, 24, 32)) == "32 x 24 RGB"
