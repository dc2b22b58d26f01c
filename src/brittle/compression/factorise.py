"""Low rank: chosen layers become the product of two thinner ones, by truncated SVD, plain or weighed by data.

Legend: h filters or neurons, c channels, k x k kernel, r rank.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.compression.factorable import factorable, left_out
from brittle.compression.moments import InputMoment
from brittle.compression.pairs import balanced, bias_of, kernel
from brittle.compression.unfoldings import Unfolding, full_rank, unfolding_of, weights_at
from brittle.compression.whitened import mean_shift, whitened_factors
from brittle.errors import ModelError
from brittle.models.edits import adopt

# Up to this short side a full decomposition is quick.
_SMALL = 256


def factorise(
    model: nn.Module,
    ranks: Mapping[str, int],
    *,
    moments: Mapping[str, InputMoment] | None = None,
    unfoldings: Mapping[str, Unfolding] | None = None,
) -> nn.Module:
    """A copy of `model` in which the layers named in `ranks` have that rank; the original is left alone.

    Each becomes its best approximation of that rank: in Frobenius norm of its matrix (Eckart and Young, 1936), or, for
    layers with an input moment, in the mean square of the outputs on that data (see `brittle.compression.whitened`).
    Both factors have the same singular values. Convolutions are unfolded the cheaper way (see
    `brittle.compression.unfoldings`). Rank 0, and a rank at which the pair would not be smaller, leave a layer as it
    is; a pair can be cut to a lower rank. A model's recipe follows, so that the copy can be saved.

    Args:
        model: any module.
        ranks: names of layers (see `factorable`) -> rank in 0..full rank.
        moments: of the inputs of layers, by name, from `input_moments`; layers without one are cut plainly.
        unfoldings: for convolutions whose kernel is to be unfolded another way than the cheaper one.

    Raises:
        ModelError: an unknown layer, one that cannot be factorised (grouped, tied, parametrised, read by its parent), a
            rank out of range, weights that are not finite, or a moment of another size.
    """
    jobs = _checked(model, ranks, moments or {}, unfoldings or {})
    child = copy.deepcopy(model)
    with torch.no_grad():
        for job in jobs:
            parent, _, leaf = job.name.rpartition(".")
            setattr(child.get_submodule(parent), leaf, _pair(job))
    return adopt(child, model)


@dataclass(frozen=True, eq=False)
class _Job:
    name: str
    layer: nn.Module
    rank: int
    unfolding: Unfolding
    moment: InputMoment | None


def _checked(
    model: nn.Module,
    ranks: Mapping[str, int],
    moments: Mapping[str, InputMoment],
    unfoldings: Mapping[str, Unfolding],
) -> list[_Job]:
    layers, refused = factorable(model), left_out(model)
    jobs = []
    for name, rank in ranks.items():
        if name in refused:
            raise ModelError(f"layer {name!r}: {refused[name]}")
        if name not in layers:
            raise ModelError(
                f"no dense layer or convolution {name!r} to factorise: expected one of {', '.join(layers) or 'none'}"
            )
        layer, moment = layers[name], moments.get(name)
        unfolding = unfoldings.get(name, unfolding_of(layer))
        if unfolding is not unfolding_of(layer) and not isinstance(layer, nn.Conv2d):
            raise ModelError(f"layer {name!r} can be unfolded one way only: leave it out of the chosen unfoldings")
        full = full_rank(layer, unfolding)
        if not 0 <= rank <= full:
            raise ModelError(
                f"layer {name!r}: rank must be between 1 and {full}, its full rank (0: leave it), got {rank}"
            )
        weight = kernel(layer)
        if not bool(torch.isfinite(weight).all()):
            raise ModelError(
                f"layer {name!r}: the layer's weights hold NaN or infinity, so it has no SVD: expected finite weights"
            )
        if moment is not None and len(moment.mean) != weight[0].numel():
            raise ModelError(
                f"layer {name!r}: its inputs have {weight[0].numel()} entries, the moment is of {len(moment.mean)}: "
                "take the moments of this model"
            )
        if rank and weights_at(layer, rank, unfolding) < weights_at(layer, 0, unfolding):
            jobs.append(_Job(name, layer, rank, unfolding, moment))
    return jobs


def _pair(job: _Job) -> nn.Module:
    weight, bias = kernel(job.layer), bias_of(job.layer)
    if job.moment is None:
        left, right = truncated(job.unfolding.matrix(weight), job.rank)
        return job.unfolding.pair(job.layer, left, right, bias)
    # A bias can make up for the mean of what is cut away, so only the rest has to be fitted.
    weigh = job.moment.second if bias is None else job.moment.covariance()
    left, right = whitened_factors(weight, weigh, job.rank, job.unfolding)
    if bias is not None:
        bias = bias.double() + mean_shift(weight, left, right, job.moment.mean, job.unfolding)
    return job.unfolding.pair(job.layer, left, right, bias)


def truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """L (m, r), R (r, n) with `L R` the best rank-r approximation of (m, n) in Frobenius and spectral norm.

    `L = U sqrt(S)`, `R = sqrt(S) V^t` of the SVD (Eckart and Young, 1936). Where the short side is long, U comes from
    the Gram matrix, many times faster; directions below some 1e-8 sigma_1 are then left to rounding.
    """
    if matrix.shape[0] > matrix.shape[1]:
        right, left = truncated(matrix.T, rank)
        return left.T, right.T
    if matrix.shape[0] > _SMALL:
        u = torch.linalg.eigh(matrix @ matrix.T).eigenvectors.flip(1)[:, :rank]
        return balanced(u, u.T @ matrix)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vt[:rank]
