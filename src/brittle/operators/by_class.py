"""Weight layers found by their module classes, for models without a graph: only their matrices can be measured."""

from __future__ import annotations

from torch import nn

from brittle.operators.graph import Layer
from brittle.operators.linear import DenseView
from brittle.results.layer import Unmeasured

_CLASSES = (nn.Linear, nn.Conv1d, nn.Conv2d)


def layers_by_class(model: nn.Module) -> tuple[tuple[Layer, ...], tuple[Unmeasured, ...]]:
    """Linear layers and convolutions as matrices (neurons x fan-in), and all other parameters.

    A parameter that several modules share is counted once.
    """
    layers, rows = [], []
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, _CLASSES):
            own = [p for path, p in module.named_parameters() if _belongs(path)]
            fresh = [p for p in own if id(p) not in seen]
            seen.update(id(p) for p in own)
            if fresh:
                view = DenseView(module.weight.detach().flatten(1))
                layers.append(Layer(name or "weight", view, sum(p.numel() for p in fresh), on_input=False))
    for name, parameter in model.named_parameters():
        if id(parameter) not in seen:
            rows.append(Unmeasured(name, tuple(parameter.shape), "its module is not a linear layer or convolution"))
    return tuple(layers), tuple(rows)


def _belongs(path: str) -> bool:
    return "." not in path or path.startswith("parametrizations.")
