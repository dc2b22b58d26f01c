"""From a plan to a network: units go first, then modes and ranks are cut, then single weights, then bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.find import couplings as find_couplings
from brittle.compression.factorable import factorable
from brittle.compression.nested import check_modes
from brittle.compression.nesting import Nesting, nesting
from brittle.compression.pairs import kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.mends import Cut, Mend, plain
from brittle.compression.protocols import Evidence, UnitScore
from brittle.compression.quantise import round_weights
from brittle.compression.removal import without_units
from brittle.compression.scores.magnitude import l2
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at
from brittle.compression.unstructured import sparsify
from brittle.compression.widths import kept_units
from brittle.models.edits import adopt


@dataclass(frozen=True)
class How:
    """What a plan leaves open: which units stay, and how the layers that stay make up for what went."""

    score: UnitScore = l2
    mend: Mend = plain


def carry_out(model: nn.Module, plan: CompressionPlan, how: How, evidence: Evidence) -> nn.Module:
    """A smaller copy of `model`, as the plan says; the original is left alone.

    Ranks and modes that save nothing once units have gone leave their layer dense, as the plan's cost counts them.

    Raises:
        ModelError: a plan of another network, or a network that cannot be cut; before any change.
    """
    found = find_couplings(model, evidence.x[:2]) if plan.units else ()
    scores = how.score(model, [c for c in found if c.name in plan.units], evidence) if plan.units else {}
    return carry_out_with(model, plan, how.mend, found, scores, evidence.x, seed=evidence.seed)


def carry_out_with(
    model: nn.Module,
    plan: CompressionPlan,
    mend: Mend,
    couplings: Sequence[Coupling],
    scores: Mapping[str, Tensor],
    x: Tensor,
    *,
    seed: int,
) -> nn.Module:
    """As `carry_out`, with couplings, scores of their units, and the pixels to mend with given.

    Raises:
        ModelError, UsageError: as `carry_out`; scores that are missing.
    """
    kept = kept_units(plan, scores)
    child = without_units(model, kept, couplings)
    kept = {c.name: kept[c.name] for c in couplings if c.name in kept and len(kept[c.name]) < c.units}
    nested = nestings(child, plan)
    ranks = saving_ranks(child, {name: rank for name, rank in plan.ranks.items() if name not in nested})
    child = mend(child, Cut(model, couplings, kept, ranks, nested), x, seed=seed)
    if plan.densities:
        child = sparsify(child, plan.densities)
    if plan.bits is not None:
        child = round_weights(child, plan.bits)
    return adopt(child, model)


def nestings(model: nn.Module, plan: CompressionPlan) -> dict[str, Nesting]:
    """The nested sizes of layers whose modes save weights.

    Raises:
        ModelError: modes of layers that cannot have them.
    """
    check_modes(model, plan.modes)
    shapes = {name: tuple(kernel_shape(model.get_submodule(name))) for name in plan.modes}
    found = {name: nesting(shape, plan.modes[name], plan.ranks.get(name, 0)) for name, shape in shapes.items()}
    return {name: sizes for name, sizes in found.items() if sizes is not None}


def saving_ranks(model: nn.Module, ranks: Mapping[str, int]) -> dict[str, int]:
    """Those ranks that make their layer smaller; names of layers that cannot have one are kept, to be refused."""
    layers = factorable(model)
    return {name: rank for name, rank in ranks.items() if name not in layers or _saves(layers[name], rank)}


def _saves(layer: nn.Module, rank: int) -> bool:
    unfolding = unfolding_of(layer)
    saves = weights_at(layer, rank, unfolding) < weights_at(layer, 0, unfolding)
    return 0 < rank <= full_rank(layer, unfolding) and saves
