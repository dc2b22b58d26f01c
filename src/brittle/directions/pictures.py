"""A direction in pixel space as a small PNG picture."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

# The ends of the scale for one channel: blue for the most negative, red for the most positive; white is zero.
_BLUE, _RED = (33, 102, 172), (178, 24, 43)


def direction_png(v: Tensor) -> str | None:
    """A direction v (c, h, w) as a data URI, None where it is no image of 1 or 3 channels.

    The scale is symmetric around zero and reaches to the largest entry: one channel runs from blue over white to red;
    three channels are shown as a colour picture centred on grey. The picture has one pixel per pixel.
    """
    if v.dim() != 3 or v.shape[0] not in (1, 3):
        return None
    values = v.detach().cpu().double()
    values = values / values.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    picture = _diverging(values[0]) if len(values) == 1 else (127.5 + 127.5 * values).permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(picture.round().to(torch.uint8).contiguous().numpy()).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _diverging(values: Tensor) -> Tensor:
    """(h, w) in [-1, 1] -> (h, w, 3) in 0 ... 255."""
    blue, red = (torch.tensor(end, dtype=values.dtype) for end in (_BLUE, _RED))
    ends = torch.where((values < 0)[..., None], blue, red)
    return 255.0 + values.abs()[..., None] * (ends - 255.0)
