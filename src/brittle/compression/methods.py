"""The compression methods by name, and the one call that runs them: a network and a size in, a smaller network out."""

from __future__ import annotations

import math

from torch import nn

from brittle.compression.carry_out import How, carry_out_with
from brittle.compression.computed import shared_with
from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.find import couplings as find_couplings
from brittle.compression.grids import positions_before
from brittle.compression.meet import meet
from brittle.compression.moments import input_moments
from brittle.compression.nested_ranks import nested_sizes
from brittle.compression.pairs import LOW_RANK
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.auto import TOLERANCE, Compressed, Trying, auto
from brittle.compression.planning.bound_rates import bound_ranks, bound_widths
from brittle.compression.planning.explained import explained
from brittle.compression.planning.mends import BATCH, Refitted, data_aware
from brittle.compression.planning.method import Method
from brittle.compression.protocols import Evidence, Family
from brittle.compression.ranks import energy_ranks, eps_ranks, thin_layers, uniform_ranks
from brittle.compression.scores.magnitude import l1, l2
from brittle.compression.scores.robust import robust
from brittle.compression.scores.taylor import taylor
from brittle.compression.unstructured import magnitude_densities
from brittle.compression.widths import eps_widths, global_widths, uniform_widths
from brittle.errors import ModelError, UsageError
from brittle.evaluation.batches import prepare

__all__ = ["METHODS", "Compressed", "Method", "compress_to"]

# int8 stores a quarter of the bytes of float32, whatever is asked.
_INT8_KEEP = 0.25


def _uniform(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return uniform_widths(couplings)


def _global(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return global_widths(couplings, how.score(model, couplings, evidence))


def _eps(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return eps_widths(model, couplings)


def _bound(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return bound_widths(model, couplings)


def _share(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return uniform_ranks(model)


def _energy(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return energy_ranks(model)


def _eps_ranks(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return eps_ranks(model)


def _bound_ranks(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return bound_ranks(model)


def _data(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    layers = thin_layers(model)
    return energy_ranks(model, moments=input_moments(model, layers, evidence.x, batch_size=BATCH, seed=evidence.seed))


def _tucker(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    layers = [name for name in thin_layers(model) if not isinstance(model.get_submodule(name), LOW_RANK)]
    dense = [name for name in layers if isinstance(model.get_submodule(name), nn.Linear)]
    moments = input_moments(model, layers, evidence.x, batch_size=BATCH, seed=evidence.seed)
    return nested_sizes(model, positions_before(model, dense, evidence.x[:1]), moments)


def _magnitude(model: nn.Module, couplings: tuple[Coupling, ...], evidence: Evidence, how: How) -> Family:
    return magnitude_densities(model)


# Units first, then ranks, then the rest.
METHODS: dict[str, Method] = {
    "l1": Method(_uniform, How(l1)),
    "l2": Method(_uniform, How(l2)),
    "l2-global": Method(_global, How(l2)),
    "taylor": Method(_uniform, How(taylor)),
    "taylor-global": Method(_global, How(taylor)),
    "robust-taylor": Method(_uniform, How(robust)),
    "robust-taylor-global": Method(_global, How(robust)),
    "eps": Method(_eps, How(l1)),
    "bound": Method(_bound, How(l1)),
    "refit": Method(_uniform, How(explained, Refitted())),
    "svd": Method(_share, units=False),
    "svd-energy": Method(_energy, units=False),
    "svd-eps": Method(_eps_ranks, units=False),
    "svd-bound": Method(_bound_ranks, units=False),
    "svd-data": Method(_data, How(mend=data_aware), units=False),
    "tucker-data": Method(_tucker, How(mend=data_aware), units=False),
    "magnitude": Method(_magnitude, units=False),
    "int8": Method(None, units=False),
    "auto": Method(None),
}

# Single methods whose plans `auto` measures too; `_UNDER_ATTACK` only where there is a threat.
_RIVALS = ("refit", "l2", "l2-global", "taylor-global", "eps", "svd", "svd-energy", "svd-data", "tucker-data")
_UNDER_ATTACK = ("robust-taylor-global",)


def compress_to(
    model: nn.Module, method: str, keep: float, evidence: Evidence, *, trying: Trying | None = None
) -> Compressed:
    """A smaller copy of `model` with at most `keep` of its parameters, and at least 97 % of that; not fine-tuned.

    `magnitude` counts the parameters that are not zero. `int8` keeps all of them in a quarter of the bytes and takes no
    other `keep` than 0.25. The original is left as it was.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        method: a name in `METHODS`.
        keep: share of the parameters that stays, in (0, 1].
        evidence: training samples that choices are made from; with a threat `auto` plans against it.
        trying: how hard `auto` tries, and what it keeps for a later run; by default `Trying()`.

    Raises:
        UsageError: an unknown method, a share outside (0, 1], or a size that the method cannot reach; scores against a
            threat without one.
        DataError: evidence that is no pixels with labels.
        ModelError: tied weights, or a model in which the method finds nothing to shrink.
    """
    chosen = _checked(model, method, keep, evidence)
    if keep == 1:
        return _done(model, CompressionPlan(), How(), (), evidence)
    if method == "int8":
        return _done(model, CompressionPlan(bits=8), How(), (), evidence)
    couplings = find_couplings(model, evidence.x[:2]) if chosen.units else ()
    if method == "auto":
        names = _RIVALS + (_UNDER_ATTACK if evidence.threat is not None else ())
        rivals = {name: METHODS[name] for name in names if couplings or not METHODS[name].units}
        return auto(model, couplings, keep, evidence, trying or Trying(), rivals)
    assert chosen.family is not None
    family = chosen.family(model, couplings, evidence, chosen.how)
    plan = meet(family, PlannedParameters(model, couplings), keep * parameters(model), TOLERANCE)
    return _done(model, plan, chosen.how, couplings, evidence)


def _checked(model: nn.Module, method: str, keep: float, evidence: Evidence) -> Method:
    if method not in METHODS:
        raise UsageError(f"unknown compression method {method!r}: expected one of {', '.join(METHODS)}")
    if not (math.isfinite(keep) and 0 < keep <= 1):
        raise UsageError(f"the share of parameters to keep must be above 0 and at most 1, got {keep!r}")
    if method == "int8" and abs(keep - _INT8_KEEP) > TOLERANCE * _INT8_KEEP:
        raise UsageError(
            f"int8 keeps every parameter in a quarter of the bytes of float32: give keep 0.25, got {keep:g}"
        )
    if METHODS[method].how.score is robust and evidence.threat is None:
        raise UsageError(f"method {method!r} scores units under attack: give a norm and a radius to defend against")
    prepare(evidence.x, evidence.y, None, 1)
    for name, other in shared_with(model).items():
        raise ModelError(
            f"layer {name!r} shares its weights with {other!r}: tied layers cannot be compressed one by one, give each "
            "its own copy"
        )
    return METHODS[method]


def _done(
    model: nn.Module, plan: CompressionPlan, how: How, couplings: tuple[Coupling, ...], evidence: Evidence
) -> Compressed:
    named = [c for c in couplings if c.name in plan.units]
    scores = how.score(model, named, evidence) if named else {}
    child = carry_out_with(model, plan, how.mend, couplings, scores, evidence.x, seed=evidence.seed)
    return Compressed(child, plan, None, ())
