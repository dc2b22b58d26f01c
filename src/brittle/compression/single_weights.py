"""The weight tensors whose single entries can be cut or rounded: of dense layers, convolutions and attention."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from brittle.compression.computed import computes_weight, shared_with
from brittle.errors import ModelError
from brittle.models.fit import check_finite

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def single_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights (h, ...) by the name of their layer, outputs first, in the model's order; both parts of a low-rank pair.

    torch's own attention counts as the layer of its joined input projection. Biases, norms and embeddings are not here.

    Raises:
        ModelError: a weight that several layers share or that is computed from others.
    """
    shared = shared_with(model)
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found[name] = module.in_proj_weight
        elif isinstance(module, _LAYERS):
            if computes_weight(module):
                raise ModelError(
                    f"layer {name!r} computes its weights: bake its parametrisations in before compressing"
                )
            found[name] = module.weight
        else:
            continue
        if name in shared:
            raise ModelError(
                f"layer {name!r} shares its weights with {shared[name]!r}: untie them, give each layer its own copy"
            )
    return found


def chosen_weights(model: nn.Module, layers: Iterable[str] | None) -> dict[str, Tensor]:
    """Those of `single_weights` that are named (None: all), finite.

    Raises:
        ModelError: as `single_weights`, a name that is not among them, or weights that are not finite.
    """
    every = single_weights(model)
    names = tuple(every) if layers is None else tuple(layers)
    for name in names:
        if name not in every:
            raise ModelError(f"no layer {name!r} with weights of its own: expected one of {', '.join(every) or 'none'}")
        check_finite(name, every[name])
    return {name: every[name] for name in names}
