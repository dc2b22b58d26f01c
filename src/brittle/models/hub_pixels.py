"""What a hub model's image processor does to pixels, from its configuration: numbers alone, its code is not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brittle.errors import ModelError

# What a processor's configuration means where it says nothing (transformers' documentation of image processors)
_LEVELS = 255.0


@dataclass(frozen=True)
class HubPixels:
    """Normalisation of pixels in [0, 1], and the size (height, width) that images are brought to, where known."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None


def hub_pixels(config: Mapping[str, Any]) -> HubPixels:
    """The processor's map of a pixel p in [0, 1], `(255 p f - o - mean) / std`, as one mean and std.

    f is `rescale_factor` (1/255 by default; 1 where `do_rescale` is off),
    o is 1 where the factor has an offset (`rescale_offset`), else 0. Without `do_normalize` mean is 0 and std 1.

    Raises:
        ModelError: entries that are no numbers.
    """
    try:
        factor = float(config.get("rescale_factor") or 1 / _LEVELS) if config.get("do_rescale", True) else 1.0
        offset = 1.0 if config.get("rescale_offset") and config.get("do_rescale", True) else 0.0
        mean: tuple[float, ...] = (0.0,)
        std: tuple[float, ...] = (1.0,)
        if config.get("do_normalize", "image_mean" in config):
            mean, std = _numbers(config["image_mean"]), _numbers(config["image_std"])
        gain = _LEVELS * factor
        return HubPixels(tuple((m + offset) / gain for m in mean), tuple(s / gain for s in std), _size(config))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"the image processor's configuration cannot be read ({type(error).__name__}: {error}): expected numbers "
            "for rescale_factor, image_mean and image_std"
        ) from None


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, list | tuple) else (float(value),)


def _size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size after the crop, where there is one."""
    cropped = config.get("do_center_crop") and config.get("crop_size")
    size = config["crop_size"] if cropped else config.get("size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping):
        if "height" in size and "width" in size:
            return int(size["height"]), int(size["width"])
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
    return None
