"""Which layers may be nested by a plan, and at which sizes: by the spectra of their inputs on the evidence."""

from __future__ import annotations

from torch import nn

from brittle.compression.cost import parameters
from brittle.compression.factorable import factorable
from brittle.compression.frontier import Size, nestable, sizes_worth
from brittle.compression.grids import positions_before
from brittle.compression.moments import input_moments
from brittle.compression.planning.mends import BATCH
from brittle.compression.planning.samples import leading
from brittle.compression.protocols import Evidence

# Layers with a smaller share of the network's parameters gain too little to be measured nested.
LEAST_SHARE = 0.03
# Samples that spectra are taken of.
_SAMPLES = 500


def worth_a_look(model: nn.Module, evidence: Evidence) -> dict[str, tuple[Size, ...]]:
    """Sizes (see `sizes_worth`) of the large layers that can be nested, by name.

    Raises:
        ModelError: the model does not run on the evidence.
    """
    x = leading(evidence, _SAMPLES).x
    dense = [name for name, layer in factorable(model).items() if isinstance(layer, nn.Linear)]
    positions = positions_before(model, dense, x[:1])
    least = LEAST_SHARE * parameters(model)
    large = {
        name: layer
        for name, layer in nestable(model, positions).items()
        if sum(parameter.numel() for parameter in layer.parameters()) >= least
    }
    moments = input_moments(model, list(large), x, batch_size=BATCH, seed=evidence.seed) if large else {}
    return {name: sizes_worth(layer, moments[name], positions.get(name, 1)) for name, layer in large.items()}
