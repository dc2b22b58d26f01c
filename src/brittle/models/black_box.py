"""Networks that run outside torch: logits without gradients, weights held for their structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from brittle.errors import ModelError

# Pixels (b, *shape), float32 on the CPU -> logits (b, classes)
Runner = Callable[[Tensor], Tensor]


class BlackBox(nn.Module):
    """A network that only answers queries: pixels (b, *shape) in [0, 1] -> logits (b, classes), never a gradient.

    Args:
        runner: computes the logits; copies of the module share it.
        weights: modules with the network's weight matrices, by path ("layer1.0.conv"). They do not take part in the
            computation: the layer table measures them.
        others: further weights by path: the table lists them as not measured.
    """

    def __init__(self, runner: Runner, weights: Mapping[str, nn.Module], others: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.runner = _Shared(runner)
        for path, module in weights.items():
            owner, name = _place(self, path)
            owner.add_module(name, module)
        for path, value in others.items():
            owner, name = _place(self, path)
            owner.register_parameter(name, nn.Parameter(value, requires_grad=False))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """The runner's logits, in the pixels' number format and on their device.

        Raises:
            ModelError: while it is being traced.
        """
        if torch.compiler.is_exporting():
            raise ModelError("it runs outside torch")
        return self.runner.call(x.detach().to("cpu", torch.float32)).to(x)


class OneByOne(nn.Module):
    """A network that sees one sample at a time, as it would when deployed.

    For networks whose arithmetic looks at the whole batch: dynamic quantisation chooses one scale for all of it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """`model(x[i:i+1])` for every i, joined."""
        return torch.cat([self.model(x[i : i + 1]) for i in range(len(x))])


class _Shared:
    """Runners hold sessions that cannot be copied; a copy of a model runs on the same one."""

    def __init__(self, call: Runner) -> None:
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def _place(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module at the path's parent, made where it is missing, and a name that is free in it."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in module._modules:
            module.add_module(_free(module, parent), nn.Module())
            parent = next(reversed(module._modules))
        module = module.get_submodule(parent)
    return module, _free(module, name)


def _free(module: nn.Module, name: str) -> str:
    name = name or "weight"
    while hasattr(module, name) and module._parameters.get(name, name) is not None:  # a shift that is left out is free
        name += "_"
    return name
