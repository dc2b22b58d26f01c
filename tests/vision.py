"""torchvision and timm beside a torch that torchvision's compiled operators were not built for."""

from __future__ import annotations

import pytest
import torch

_KEPT: list[torch.library.Library] = []  # the schemas vanish with the library object


def need_torchvision() -> None:
    """Skip the test where torchvision is not installed; else make sure that it can be imported."""
    if not _KEPT:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            try:
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            except RuntimeError:  # it is there
                continue
        _KEPT.append(library)
    pytest.importorskip("torchvision", reason="torchvision is an extra: pip install 'brittle[vision]'")


def need_timm() -> None:
    """Skip the test where timm is not installed; it imports torchvision."""
    need_torchvision()
    pytest.importorskip("timm", reason="timm is an extra: pip install 'brittle[vision]'")
