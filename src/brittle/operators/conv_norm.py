"""The spectral norm of a convolution on its real, padded input: a sound sandwich (theory section 4).

*Exact* where the matrix of T is small, or where every tap copies pixels (1 x 1 kernels, 1 x 1 maps).
*Upper* otherwise: T sits inside a strided circular convolution on a slightly larger ring; the Fourier transform splits
that into one matrix for each frequency, `(c_o / g) x (c_i / g * phases)`, phases being the positions modulo the stride
(Sedghi, Gupta, Long 2019; Delattre et al. 2024), and the largest singular value of these bounds ||T||_2. The smaller of
this and `sqrt(||T||_1 ||T||_inf)` is reported.
*Lower*: Lanczos on T itself.

Rounding of the blocks: an entry is a sum of taps times `exp(i theta)`; theta < 4 pi is known to some 50 u and the
products add gamma(taps), so its error is below `2 gamma(taps + 128) * sum |taps|`, and the blocks' error in l_2 is
below that factor times the l_2 norm of the summed magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import pi, sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from brittle.operators.conv_axis import Ring, ring
from brittle.operators.lanczos import lanczos_lower
from brittle.operators.rounding import above, below, gamma, gram_sandwich, norm_bound, scaled_back, unit_scaled
from brittle.operators.row_sums import mixed_norm
from brittle.operators.spectral_max import spectral_max
from brittle.operators.view import dense, size
from brittle.results.layer import NormBound

if TYPE_CHECKING:
    from brittle.operators.conv import ConvView

# The matrix of T is formed where its short side and its number of entries stay below these.
DENSE_SIDE = 2048
DENSE_ENTRIES = 2**22
_CHUNK_BYTES = 2**26


def conv_spectral_norm(view: ConvView) -> NormBound:
    """`lower <= ||T||_2 <= value` for a convolution in any padding mode."""
    weight, exponent = unit_scaled(view.weight)
    if not bool(weight.any()):
        return NormBound(0.0, "exact", 0.0)
    return norm_bound(*scaled_back(*_sandwich(replace(view, weight=weight)), exponent))


def _sandwich(view: ConvView) -> tuple[float, float]:
    rings = tuple(ring(axis) for axis in view.axes)
    blocks = _grouped_kernel(view, rings)
    if not bool(blocks.any()):
        return 0.0, 0.0
    if all(r.points == 1 and r.multiplicity == 1 and len(r.taps) == 1 for r in rings):
        return gram_sandwich(blocks.flatten(2))
    inputs, outputs = size(view.in_shape), size(view.out_shape)
    if min(inputs, outputs) <= DENSE_SIDE and inputs * outputs <= DENSE_ENTRIES:
        slack = above(view.merging * view.tap_sums())
        lower, upper = gram_sandwich(dense(view))
        return below(max(0.0, lower - slack)), above(upper + slack)
    return lanczos_lower(view, view.tap_sums()), min(mixed_norm(view), _ring_norm(blocks, rings))


def ring_upper(view: ConvView) -> float:
    """The Fourier upper bound alone, without the exact cases and without the lower side."""
    weight, exponent = unit_scaled(view.weight)
    rings = tuple(ring(axis) for axis in view.axes)
    blocks = _grouped_kernel(replace(view, weight=weight), rings)
    return scaled_back(0.0, _ring_norm(blocks, rings) if bool(blocks.any()) else 0.0, exponent)[1]


def _grouped_kernel(view: ConvView, rings: tuple[Ring, ...]) -> Tensor:
    """The taps that meet data, (g, c_o / g, c_i / g, k_h, k_w)."""
    kernel = view.kernel
    for dim, r in enumerate(rings, start=2):
        kernel = kernel.index_select(dim, torch.tensor(r.taps, dtype=torch.int64))
    return kernel.reshape(view.groups, len(kernel) // view.groups, *kernel.shape[1:])


def _ring_norm(blocks: Tensor, rings: tuple[Ring, ...]) -> float:
    """The ring's norm times the root of the multiplicities; blocks (g, c_o / g, c_i / g, k_h, k_w) are not all zero."""
    phases = _phases(rings)
    largest = spectral_max(_frequency_blocks(blocks, rings, phases)) + _block_error(blocks, phases)
    return above(largest * sqrt(rings[0].multiplicity * rings[1].multiplicity), 4)


def _phases(rings: tuple[Ring, ...]) -> list[list[tuple[int, int]]]:
    """Pairs of tap indices grouped by their position modulo the strides: taps of one group share matrix columns."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    rows, columns = rings
    for (i, y), (j, x) in product(enumerate(rows.places), enumerate(columns.places)):
        groups.setdefault((y % rows.stride, x % columns.stride), []).append((i, j))
    return list(groups.values())


def _block_error(blocks: Tensor, phases: list[list[tuple[int, int]]]) -> float:
    """Upper bound of the l_2 norm of the rounding of any frequency's block."""
    magnitude = blocks.abs()
    sums = torch.cat([torch.stack([magnitude[..., i, j] for i, j in taps]).sum(0) for taps in phases], dim=-1)
    schur = sums.sum(-1).amax(-1) * sums.sum(-2).amax(-1)
    return above(2 * gamma(max(len(taps) for taps in phases) + 128) * sqrt(float(schur.max())), sums[0].numel())


def _frequency_blocks(blocks: Tensor, rings: tuple[Ring, ...], phases: list[list[tuple[int, int]]]) -> Iterator[Tensor]:
    """The Fourier blocks (f * g, c_o / g, c_i / g * phases), in chunks: half of the plane, as the kernel is real."""
    rows, columns = rings
    half = columns.points // 2 + 1
    frequencies = torch.cartesian_prod(torch.arange(rows.points), torch.arange(half))
    groups, outputs, inputs = blocks.shape[:3]
    narrow = min(outputs, inputs * len(phases))
    bytes_each = 16 * groups * outputs * inputs * len(phases) + 32 * groups * narrow**2
    for chunk in frequencies.split(max(1, _CHUNK_BYTES // bytes_each)):
        parts = []
        for taps in phases:
            kernel = torch.stack([blocks[..., i, j].flatten() for i, j in taps])
            lags = torch.tensor([(rows.places[i] // rows.stride, columns.places[j] // columns.stride) for i, j in taps])
            # Integers modulo the ring first: the angle is then below 4 pi, known to a few units in the last place.
            turn = (chunk[:, None, :] * lags[None]) % torch.tensor([rows.points, columns.points])
            angle = 2 * pi * (turn / torch.tensor([rows.points, columns.points], dtype=torch.float64)).sum(-1)
            parts.append(torch.complex(angle.cos() @ kernel, angle.sin() @ kernel).view(-1, outputs, inputs))
        yield torch.cat(parts, dim=-1)
