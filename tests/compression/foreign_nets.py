"""Small foreign networks for tests: torchvision's and timm's, without weights from anywhere."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from torch import nn

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_KEPT: list[torch.library.Library] = []


def _declare_operators() -> None:
    """torchvision's wheels expect compiled operators that a CPU-only torch lacks: their names are enough to import."""
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"nms{_SIGNATURE}")
        library.define(f"qnms{_SIGNATURE}")
        _KEPT.append(library)


def foreign_package(package: str) -> ModuleType:
    """`torchvision.models` or `timm`; skips where it is not installed."""
    if find_spec(package) is None or find_spec("torchvision") is None:  # timm needs both
        pytest.skip(f"{package} is not installed: pip install 'brittle[vision]'")
    _declare_operators()
    return import_module("torchvision.models" if package == "torchvision" else package)


def foreign(package: str, name: str, **options: object) -> nn.Module:
    """A model of `torchvision` or `timm` with random weights from seed 0, in eval mode."""
    models = foreign_package(package)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if package == "torchvision":
            return models.get_model(name, weights=None, **options).eval()
        return models.create_model(name, pretrained=False, **options).eval()
