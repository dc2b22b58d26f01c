"""Families of plans that choose ranks: the same share everywhere, a common residual, or the energy a weight buys.

Legend: sigma_i singular values of a layer's unfolded matrix, largest first, plain or in the norm of its inputs; r rank.
Layers whose pair would save nothing even at rank 1 are left dense, and so is the head unless it is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.compressibility.rank import singular_values
from brittle.compressibility.residual import residuals
from brittle.compression.factorable import factorable, head_name, left_out
from brittle.compression.moments import InputMoment
from brittle.compression.pairs import bias_of, kernel
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at
from brittle.compression.whitened import whitened_values
from brittle.errors import ModelError, UsageError
from brittle.models.fit import check_finite


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a layer's ranks cost and keep.

    Attributes:
        name: of the layer.
        values: (full rank,) singular values, float64.
        step: weights that one more rank costs.
        whole: weights of the layer as it is.
    """

    name: str
    values: Tensor
    step: int
    whole: int

    @property
    def most(self) -> int:
        """The largest rank that saves weights; 0 where none does."""
        return min(len(self.values), (self.whole - 1) // self.step)


def thin_layers(model: nn.Module) -> tuple[str, ...]:
    """The layers that the families cut by default: all factorable ones but the head, where rank 1 saves weights."""
    head = head_name(model)
    return tuple(
        name
        for name, layer in factorable(model).items()
        if name != head and weights_at(layer, 1, unfolding_of(layer)) < weights_at(layer, 0, unfolding_of(layer))
    )


def spectra(
    model: nn.Module, layers: Sequence[str] | None = None, moments: Mapping[str, InputMoment] | None = None
) -> tuple[Spectrum, ...]:
    """The spectra of layers (by default `thin_layers`), in the norm of their inputs where a moment is given.

    Raises:
        ModelError: a name that cannot be factorised, none left to cut, or weights that are not finite.
    """
    known = factorable(model)
    names = thin_layers(model) if layers is None else tuple(layers)
    for name in names:
        if name not in known:
            why = left_out(model).get(name, f"expected one of {', '.join(known) or 'none'}")
            raise ModelError(f"layer {name!r} cannot have a rank: {why}")
    found = [_spectrum(name, known[name], (moments or {}).get(name)) for name in names]
    useful = tuple(spectrum for spectrum in found if spectrum.most)
    if not useful:
        raise ModelError(
            "no layer of the model gets smaller at low rank: choose another method, or a model with wider layers"
        )
    return useful


def uniform_ranks(model: nn.Module, layers: Sequence[str] | None = None) -> Family:
    """Every layer keeps the same share of its full rank: `r = max(1, round(knob * full rank))`.

    Raises:
        ModelError: as `spectra`.
    """
    return _Uniform(spectra(model, layers))


def eps_ranks(
    model: nn.Module, layers: Sequence[str] | None = None, moments: Mapping[str, InputMoment] | None = None
) -> Family:
    """One residual for all layers: the smallest r with `sum_{i > r} sigma_i / sum_i sigma_i <= 1 - knob`, at least 1.

    That is the paper's eps-pruning (Barsbey et al., ICLR 2026) on singular values, with q = 1.

    Raises:
        ModelError: as `spectra`.
    """
    found = spectra(model, layers, moments)
    return _Common(found, tuple(residuals(spectrum.values) for spectrum in found))


def energy_ranks(
    model: nn.Module, layers: Sequence[str] | None = None, moments: Mapping[str, InputMoment] | None = None
) -> Family:
    """All singular values of all layers in one queue, by the share of their layer's energy that a weight buys.

    The share is `sigma_i^2 / sum_j sigma_j^2` over the weights of one rank. Each layer has rank 1 from the start; the
    knob is the share of the remaining weights that is spent from the head of the queue. What a layer gains last is
    all that is left of it: it becomes dense.

    Raises:
        ModelError: as `spectra`.
    """
    found = spectra(model, layers, moments)
    steps = sorted((step for i, spectrum in enumerate(found) for step in _steps(i, spectrum)), key=_Step.order)
    spent = torch.tensor([step.cost for step in steps], dtype=torch.float64).cumsum(0)
    return _Queue(found, tuple(steps), spent)


def _spectrum(name: str, layer: nn.Module, moment: InputMoment | None) -> Spectrum:
    unfolding = unfolding_of(layer)
    for path, parameter in layer.named_parameters():
        check_finite(f"{name}.{path}", parameter)
    weight = kernel(layer)
    step = sum(unfolding.sides(tuple(weight.shape)))
    whole = weights_at(layer, 0, unfolding)
    if moment is None:
        values = singular_values(unfolding.matrix(weight))
    elif len(moment.mean) != weight[0].numel():
        raise ModelError(
            f"layer {name!r}: its inputs have {weight[0].numel()} entries, the moment is of {len(moment.mean)}: "
            "take the moments of this model"
        )
    else:
        weigh = moment.second if bias_of(layer) is None else moment.covariance()
        values = whitened_values(weight, weigh, unfolding)
    return Spectrum(name, values[: full_rank(layer, unfolding)].cpu(), step, whole)


@dataclass(frozen=True, eq=False)
class _Uniform:
    spectra: tuple[Spectrum, ...]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        share = checked_knob(knob)
        return _plan(self.spectra, [max(1, round(share * len(s.values))) for s in self.spectra])


@dataclass(frozen=True, eq=False)
class _Common:
    spectra: tuple[Spectrum, ...]
    left: tuple[Tensor, ...]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        epsilon = 1 - checked_knob(knob)
        if epsilon == 0:  # a matrix without full rank has residual 0 earlier, but the knob's end is the model itself
            return CompressionPlan()
        return _plan(self.spectra, [max(1, int((left <= epsilon).int().argmax())) for left in self.left])


@dataclass(frozen=True)
class _Step:
    """One rank more in layer `layer`, or the way from its largest saving rank to the dense layer."""

    worth: float
    layer: int
    rank: int
    cost: int

    def order(self) -> tuple[float, int, int]:
        """Most worth first; within a layer by rank."""
        return (-self.worth, self.layer, self.rank)


@dataclass(frozen=True, eq=False)
class _Queue:
    spectra: tuple[Spectrum, ...]
    steps: tuple[_Step, ...]
    spent: Tensor

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        budget = checked_knob(knob) * float(self.spent[-1])
        taken = int((self.spent <= budget * (1 + 1e-12)).sum())
        ranks = [1] * len(self.spectra)
        for step in self.steps[:taken]:
            ranks[step.layer] = step.rank
        return _plan(self.spectra, ranks)


def _steps(layer: int, spectrum: Spectrum) -> list[_Step]:
    energy = spectrum.values.square() / spectrum.values.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    steps, worth = [], torch.inf
    for rank in range(2, spectrum.most + 1):
        worth = min(worth, float(energy[rank - 1]) / spectrum.step)
        steps.append(_Step(worth, layer, rank, spectrum.step))
    rest = spectrum.whole - spectrum.most * spectrum.step
    worth = min(worth, float(energy[spectrum.most :].sum()) / rest)  # never before the ranks it stands on
    return [*steps, _Step(worth, layer, spectrum.most + 1, rest)]


def _plan(spectra: Sequence[Spectrum], ranks: Sequence[int]) -> CompressionPlan:
    """Ranks that save nothing are not named: the layer stays as it is."""
    return CompressionPlan(ranks={s.name: rank for s, rank in zip(spectra, ranks, strict=True) if rank <= s.most})


def checked_knob(knob: float) -> float:
    """The knob of a family.

    Raises:
        UsageError: it is outside [0, 1].
    """
    if not 0 <= knob <= 1:
        raise UsageError(f"the knob of a family of plans is in [0, 1], got {knob!r}: 0 keeps least, 1 everything")
    return knob
