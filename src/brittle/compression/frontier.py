"""Which nested sizes of a layer are worth a look: the cheapest for each share of the outputs' energy that they lose.

Legend: W (h, C, S) a layer's kernel, M the moment of its inputs, a and s mixtures of channels and positions, r rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from brittle.compression.factorable import factorable
from brittle.compression.modes import Modes
from brittle.compression.moments import InputMoment
from brittle.compression.nested_factors import mode_energies
from brittle.compression.nesting import nesting
from brittle.compression.pairs import LOW_RANK, bias_of, kernel, kernel_shape
from brittle.compression.unfoldings import unfolding_of
from brittle.compression.whitened import lifted_moment, whitened_values

# Sizes of each mode that are looked at, from 1 to all, with equal ratios between them.
_SIZES = 20


@dataclass(frozen=True)
class Size:
    """What a layer may become: `modes` is None for a rank alone, `rank` 0 for a dense core.

    `lost` bounds the share of the outputs' energy that is lost, by the spectra of the modes: the sum of what each of
    them leaves out (De Lathauwer et al. 2000, property 10).
    """

    modes: Modes | None
    rank: int
    weights: int
    lost: float


def nestable(model: nn.Module, positions: Mapping[str, int]) -> dict[str, nn.Module]:
    """Dense layers behind a flatten, as `positions` names them, and convolutions with a window, of several channels.

    In other layers mixing the inputs is no other thing than a low rank; pairs are left as they are.
    """
    return {
        name: layer
        for name, layer in factorable(model).items()
        if not isinstance(layer, LOW_RANK) and _has_modes(tuple(kernel_shape(layer)), positions.get(name, 1))
    }


def _has_modes(shape: tuple[int, ...], each: int) -> bool:
    _, columns, *window = shape
    return columns > 1 and prod(window) > 1 if window else columns > each > 1


def sizes_worth(layer: nn.Module, moment: InputMoment | None, each: int) -> tuple[Size, ...]:
    """Sizes that save weights and of which no other is as small and loses less; the smallest first.

    Args:
        layer: a dense layer or convolution.
        moment: of its inputs; None for the plain spectra.
        each: positions of each channel that a dense layer reads, 1 where it is behind no flatten.
    """
    weight, shape = kernel(layer), tuple(kernel_shape(layer))
    h, columns, *window = shape
    each = prod(window) if window else each
    c = columns if window else columns // each
    identity = torch.eye(c * each, dtype=weight.dtype, device=weight.device)
    weigh = identity
    if moment is not None:
        weigh = lifted_moment((moment.second if bias_of(layer) is None else moment.covariance()).to(weight), 0.0)
    by_position, by_channel, by_rank = (_tails(e) for e in mode_energies(weight.reshape(h, c, each), weigh))
    sizes = []
    for a in (*_ladder(c), 0) if c > 1 else (0,):
        for s in (*_ladder(each), 0) if each > 1 and not window else (0,):
            modes = Modes(a, s, 1 if window else each) if a or s else None
            left_out = (by_channel[a] if a else 0.0) + (by_position[s] if s else 0.0)
            for rank in (*_ladder(len(by_rank) - 1), 0):
                found = nesting(shape, modes, rank)
                if found is not None and found.rank == rank:
                    lost = left_out + (by_rank[rank] if rank else 0.0)
                    sizes.append(Size(modes, rank, sum(found.weights().values()), lost))
    return _best([*sizes, *_rank_alone(layer, weight, weigh)])


def _rank_alone(layer: nn.Module, weight: Tensor, weigh: Tensor) -> list[Size]:
    unfolding = unfolding_of(layer)
    tails = _tails(whitened_values(weight, weigh, unfolding).square())
    step = sum(unfolding.sides(tuple(weight.shape)))
    most = min(len(tails) - 1, (weight.numel() - 1) // step)
    return [Size(None, rank, rank * step, tails[rank]) for rank in range(1, most + 1)]


def _tails(energies: Tensor) -> list[float]:
    """Entry n: the share of the energy beyond the n largest."""
    total = energies.sum().clamp_min(torch.finfo(energies.dtype).tiny)
    kept = torch.cat([energies.new_zeros(1), energies.cumsum(0) / total])
    return (1 - kept).clamp_min(0).tolist()


def _ladder(most: int) -> Sequence[int]:
    """Whole numbers 1 ... most - 1, few where there are many."""
    if most <= _SIZES:
        return range(1, most)
    return sorted(
        {round(most ** (i / _SIZES)) for i in range(_SIZES)} | {round(most * i / _SIZES) for i in range(1, _SIZES)}
    )


def _best(sizes: Sequence[Size]) -> tuple[Size, ...]:
    best: list[Size] = []
    for size in sorted(sizes, key=lambda size: (size.weights, size.lost)):
        if not best or size.lost < best[-1].lost:
            best.append(size)
    return tuple(best)
