"""The scale of hidden layers: their Frobenius norms, read and set.

Hidden layers are those that penalties act on: all but the head and the first convolution (`chosen_matrices`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

from brittle.data.split import Split
from brittle.errors import ModelError
from brittle.sensitivity.probe_norms import measure_norms
from brittle.training.head import refit_head
from brittle.training.matrices import chosen_matrices

_BATCH = 500


def hidden_layers(net: nn.Module) -> tuple[str, ...]:
    """Names of the hidden layers, in the model's order.

    Raises:
        UsageError: there are none.
    """
    return tuple(matrix.name for matrix in chosen_matrices(net, None))


def scales(net: nn.Module) -> dict[str, float]:
    """||W||_F of each hidden layer."""
    return {matrix.name: matrix.frobenius() for matrix in chosen_matrices(net, None)}


def set_scales(net: nn.Module, wanted: Mapping[str, float], *, factor: float = 1.0) -> None:
    """Give each hidden layer of `net` the norm `factor * wanted[name]`, in place; directions stay.

    Raises:
        ModelError: a layer that is zero, or one that `wanted` does not name.
    """
    for matrix in chosen_matrices(net, None):
        norm = matrix.frobenius()
        if norm == 0 or matrix.name not in wanted:
            raise ModelError(f"layer {matrix.name!r} has no scale to be set: it is zero, or the dense network has none")
        matrix.rescale(factor * wanted[matrix.name] / norm)


def settle(net: nn.Module, train: Split) -> nn.Module:
    """A copy of a network whose hidden weights were changed: batch norm measured again, the head fitted again.

    What remains are the hidden layers' own effects, not those of a head that was made for other ones.
    """
    ready = copy.deepcopy(net)
    measure_norms(ready, train.x, batch_size=_BATCH)
    return refit_head(ready, train.x, train.y, batch_size=_BATCH).eval()
