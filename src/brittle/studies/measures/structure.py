"""How compressible the hidden layers are, and how large: means over them."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Final

from brittle.compressibility.layer import layer_structure
from brittle.results.layer import LayerStructure
from brittle.studies.measures.scene import Reading, Scene
from brittle.studies.sources.scale import hidden_layers

_K: Final = 0.1

# The name after "structure." -> what is averaged over hidden layers. Norms are of the map on its real input.
_PARTS: Final[dict[str, Callable[[LayerStructure], float]]] = {
    "neuron_epsilon": lambda layer: layer.neuron.epsilon,
    "spectral_epsilon": lambda layer: layer.spectral.epsilon,
    "neuron_beta": lambda layer: layer.neuron.beta,
    "spectral_beta": lambda layer: layer.spectral.beta,
    "neuron_pq": lambda layer: layer.neuron.pq_index,
    "spectral_pq": lambda layer: layer.spectral.pq_index,
    "effective_rank": lambda layer: layer.spectral.effective_rank,
    "stable_rank": lambda layer: layer.spectral.stable_rank,
    "frobenius": lambda layer: layer.frobenius,
    "linf_norm": lambda layer: layer.norms["linf"].value,
    "l2_norm": lambda layer: layer.norms["l2"].value,
    "log_structure_linf": lambda layer: _log(layer.structure.linf),
    "log_structure_l2": lambda layer: _log(layer.structure.l2),
    "log_scale": lambda layer: _log(layer.scale),
}


def structure(scene: Scene) -> Reading:
    """ "structure.NAME" for each of `_PARTS`, and three that need no means of their own.

    "structure.neuron" and "structure.spectral" rise with compressibility: `1 - epsilon_{1,k}`, the share in [0, 1] that
    the leading tenth of the row norms and of the singular values carries. "structure.parameters" counts the parameters
    that are not zero.
    """
    wanted = set(hidden_layers(scene.net))
    layers = [
        layer_structure(one.name, one.view, k_fraction=_K, on_input=one.on_input, parameters=one.parameters)
        for one in scene.network.layers
        if one.name in wanted
    ]
    numbers = {f"structure.{name}": sum(map(part, layers)) / len(layers) for name, part in _PARTS.items()}
    numbers["structure.neuron"] = 1 - numbers["structure.neuron_epsilon"]
    numbers["structure.spectral"] = 1 - numbers["structure.spectral_epsilon"]
    numbers["structure.parameters"] = float(sum(int(p.count_nonzero()) for p in scene.net.parameters()))
    return Reading(numbers)


def _log(value: float) -> float:
    """Natural logarithm; a zero layer counts as the smallest number there is."""
    return log(max(value, 1e-300))
