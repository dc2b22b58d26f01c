"""Pictures of adversarial examples hold the pixels they stand for."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

from brittle.auditing.pictures import examples
from brittle.threats import ball

THREAT = ball("linf", 0.2)


def decoded(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_only_samples_that_an_attack_flipped_are_shown_in_order_up_to_the_count() -> None:
    x = torch.rand(5, 1, 3, 3)
    y = torch.tensor([0, 1, 1, 0, 1])
    before = torch.tensor([0, 1, 0, 0, 1])  # sample 2 was wrong already
    after = torch.tensor([1, 1, 1, 2, 0])  # sample 1 stood
    rows = examples(THREAT, x, x, y, before, after, ("no", "yes"), 2)
    assert [(row.index, row.label, row.predicted, row.attacked) for row in rows] == [
        (0, "no", "no", "yes"),
        (3, "no", "no", "2"),  # a logit without a class name shows its number
    ]
    assert {(row.norm, row.epsilon) for row in rows} == {("linf", 0.2)}


def test_grey_and_colour_pixels_survive_and_the_difference_is_centred_on_grey() -> None:
    for channels in (1, 3):
        x = torch.rand(1, channels, 4, 5, generator=torch.Generator().manual_seed(0))
        delta = torch.zeros_like(x)
        delta[0, 0, 1, 2], delta[0, 0, 3, 4] = 0.1, -0.1
        (row,) = examples(THREAT, x, (x + delta).clamp(0, 1), *(torch.tensor([i]) for i in (0, 0, 1)), ("a", "b"), 4)
        expected = (x[0].permute(1, 2, 0).numpy() * 255).round()
        np.testing.assert_array_equal(decoded(row.clean_png), expected.squeeze())
        difference = decoded(row.delta_png).reshape(4, 5, channels)
        assert difference[0, 0, 0] == 128
        assert difference[1, 2, 0] == 255
        assert difference[3, 4, 0] <= 1


def test_inputs_that_are_no_images_have_no_pictures() -> None:
    flipped = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    for x in (torch.rand(1, 7), torch.rand(1, 2, 4, 4)):
        assert examples(THREAT, x, x, *flipped, ("a", "b"), 4) == ()
