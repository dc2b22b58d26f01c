"""What a plan costs, without building the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from brittle.compression.couplings.coupling import Coupling, Side
from brittle.compression.couplings.sides import weight_of
from brittle.compression.layer_costs import DenseCost, LayerCost, NormCost, PairCost
from brittle.compression.pairs import LOW_RANK
from brittle.compression.plan import CompressionPlan
from brittle.errors import ModelError, UsageError

# Paths of what stands in a layer's place, within it.
PARTS = ("first", "second", "positions", "channels", "core", "core.first", "core.second")


def parameters(model: nn.Module) -> int:
    """Parameters of a model, shared ones once; buffers such as the means of a batch norm are none."""
    return sum(parameter.numel() for parameter in model.parameters())


def planned_parameters(model: nn.Module, couplings: Sequence[Coupling], plan: CompressionPlan) -> int:
    """Parameters of the network that `plan` makes of `model`; weights that `plan.densities` sets to zero do not count.

    Raises:
        ModelError, UsageError: as `PlannedParameters`.
    """
    return PlannedParameters(model, couplings)(plan)


class PlannedParameters:
    """The cost of plans for one network, which is looked at once; later changes of it are not seen.

    Units go first, then ranks are cut, then single weights. Convolutions are unfolded the cheaper way; a rank at which
    a pair would not be smaller leaves the layer as it is, as in `factorise`; a pair whose sides shrink below its rank
    gets its full rank, as in `remove`. A density keeps `max(1, round(density * weights))`, as in `sparsify`. Bits are
    no parameters.

    Args:
        model: the network that plans are for.
        couplings: all of its couplings.
    """

    def __init__(self, model: nn.Module, couplings: Sequence[Coupling]) -> None:
        self._total = parameters(model)
        self._couplings = {coupling.name: coupling for coupling in couplings}
        self._layers: dict[str, LayerCost] = {}
        inside: set[nn.Module] = set()
        for name, module in model.named_modules():
            if isinstance(module, LOW_RANK):
                self._layers[name] = PairCost.of(name, module)
                inside.update(module.modules())
            elif module not in inside and weight_of(module) is not None:
                self._layers[name] = DenseCost.of(name, module)
        for coupling in couplings:
            for member in coupling.members:
                if self._owner(member.module) not in self._layers:
                    self._layers[member.module] = NormCost.of(member.module, model.get_submodule(member.module))

    def __call__(self, plan: CompressionPlan) -> int:
        """Parameters after `plan`, an exact count.

        Raises:
            ModelError: couplings or layers that the model does not have, or more units or fewer than one.
            UsageError: a density outside [0, 1].
        """
        lost = self._lost(plan.units)
        names = (*(self._owner(path) for path, _ in lost), *plan.ranks, *plan.modes, *map(self._owner, plan.densities))
        total = self._total
        weights: dict[str, int] = {}
        for name in dict.fromkeys(names):
            if name not in self._layers:
                raise ModelError(f"no layer {name!r} in the model: take a plan of this model")
            layer = self._layers[name]
            found = layer.weights(lost, plan.ranks.get(name, 0), plan.modes.get(name))
            weights.update(found)
            total += sum(found.values()) + layer.others(lost) - layer.now
        return total - sum(_zeros(name, density, weights) for name, density in plan.densities.items())

    def _lost(self, units: Mapping[str, int]) -> dict[tuple[str, Side], int]:
        lost: dict[tuple[str, Side], int] = {}
        for name, stay in units.items():
            if name not in self._couplings:
                raise ModelError(
                    f"no coupling {name!r} in the model: expected one of {', '.join(self._couplings) or 'none'}"
                )
            coupling = self._couplings[name]
            if not 1 <= stay <= coupling.units:
                raise ModelError(
                    f"coupling {name!r} has {coupling.units} {coupling.kind}, the plan keeps {stay}: keep 1 to "
                    f"{coupling.units}"
                )
            for member in coupling.members if stay < coupling.units else ():
                key = (member.module, member.side)
                lost[key] = lost.get(key, 0) + (coupling.units - stay) * len(member.index[0])
        return lost

    def _owner(self, path: str) -> str:
        """The layer a path belongs to: the parts of a pair or nested layer, planned or there already, belong to it."""
        for part in PARTS:
            if path not in self._layers and path.endswith(f".{part}") and path.removesuffix(f".{part}") in self._layers:
                return path.removesuffix(f".{part}")
        return path


def _zeros(name: str, density: float, weights: Mapping[str, int]) -> int:
    if not 0 <= density <= 1:
        raise UsageError(f"the density of layer {name!r} is the share of weights that stay, in [0, 1]: {density!r}")
    if name not in weights:
        raise ModelError(f"no layer {name!r} with single weights after the plan's ranks: name the parts of its pair")
    return weights[name] - max(1, round(density * weights[name]))
