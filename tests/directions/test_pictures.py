"""Pictures of directions: symmetric around zero, and none where there is no image."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

from brittle.directions.pictures import direction_png


def decoded(v: torch.Tensor) -> np.ndarray:
    uri = direction_png(v)
    assert uri is not None
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


def test_one_channel_runs_from_blue_over_white_to_red() -> None:
    picture = decoded(torch.tensor([[[0.0, 0.2, -0.2], [0.1, -0.1, 0.05]]]))
    assert picture.shape == (2, 3, 3)
    white, red, blue = picture[0]
    assert white.tolist() == [255, 255, 255]
    assert red[0] > max(red[1:])
    assert blue[2] > blue[1] > blue[0]
    for full, half in ((red, picture[1, 0]), (blue, picture[1, 1])):
        np.testing.assert_allclose(half, (255 + full) / 2, atol=1)


def test_three_channels_are_centred_on_grey() -> None:
    v = torch.zeros(3, 4, 5)
    v[0, 1, 2], v[2, 3, 4] = 0.3, -0.3
    picture = decoded(v)
    assert picture.shape == (4, 5, 3)
    assert picture[0, 0].tolist() == [128, 128, 128]
    assert picture[1, 2].tolist() == [255, 128, 128]
    assert picture[3, 4].tolist() == [128, 128, 0]


def test_the_scale_does_not_matter_and_zero_is_white() -> None:
    v = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(decoded(v), decoded(1e-20 * v.double()))
    assert (decoded(torch.zeros(1, 2, 2)) == 255).all()


def test_no_picture_of_what_is_no_image() -> None:
    for shape in ((7,), (2, 4, 4), (4, 4), (1, 3, 3, 3)):
        assert direction_png(torch.ones(shape)) is None
