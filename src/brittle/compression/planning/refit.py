"""Layers of a smaller network fitted again, so that each does its best to say what the parent's layer says.

Legend: W (h, d) a layer's weights, u (d,) what it receives in the child, y (h,) what the parent's layer says, r rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from brittle.compression.nested import nested_layer
from brittle.compression.nested_factors import nested_factors
from brittle.compression.nesting import Nesting
from brittle.compression.pairs import LOW_RANK, bias_of, kernel, rank_of
from brittle.compression.planning.paired import Moments
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at
from brittle.compression.whitened import mean_shift, whitened_factors

# How strongly a layer is held to its old weights, as a share of the mean square of its inputs. It stands for noise of
# that strength in every direction of the inputs: a fit without it follows the samples into directions they never take,
# which costs robustness. On an adversarially trained net at an eighth of its size, 0.1 in place of 1e-4 lost 0.7 points
# of clean and won 3 points of robust accuracy.
RIDGE = 0.1

# The moments of a layer by its name, asked for when all layers that are called before it have been fitted.
Source = Callable[[str], Moments]


def refit(
    child: nn.Module,
    layers: Sequence[str],
    ranks: Mapping[str, int],
    source: Source,
    ridge: float,
    nested: Mapping[str, Nesting] | None = None,
) -> nn.Module:
    """Fit the layers of `child` in this order, and cut those in `ranks` and `nested`; changes and returns the child.

    Each becomes the least squares answer of its rank to what it receives:

        min E || y - W' u - b' ||^2 + ridge (E || u - E u ||^2 / d) || W' - W ||_F^2,

    W its weights before. The full-rank minimum is a linear system (`solve`); the best of rank r is that minimum with
    its outputs projected on r leading directions (reduced-rank regression, Izenman 1975; the ridge is in the norm).
    A nested layer approaches that minimum in the same norm, see `brittle.compression.nested_factors`. A convolution is
    fitted over its patches, a low-rank pair keeps its rank, a layer without bias is fitted through the
    origin. For removed channels this is the reconstruction of He et al. 2017 and Luo et al. 2017 (ThiNet), for ranks
    data-aware SVD that makes the errors of earlier layers good.

    Args:
        child: a copy of the parent from which units were removed; dense where ranks are to come.
        layers: names of dense layers, convolutions or pairs, in the order of their calls.
        ranks: names -> rank; a rank that saves no weights leaves the layer dense.
        source: moments with the child's u and the parent's y, its removed outputs left out.
        ridge: see above; 0 is plain least squares.
        nested: names of other layers -> the nested sizes that they get.
    """
    for name in layers:
        above, _, leaf = name.rpartition(".")
        layer, sizes = child.get_submodule(name), (nested or {}).get(name)
        if sizes is None:
            new = fitted(layer, source(name), ranks.get(name, 0), ridge)
        else:
            new = fitted_nested(layer, source(name), sizes, ridge)
        setattr(child.get_submodule(above), leaf, new)
    return child


@torch.no_grad()
def fitted(layer: nn.Module, moments: Moments, rank: int, ridge: float) -> nn.Module:
    """The layer with the weights that `refit` gives it: itself, or a new pair of that rank."""
    old, bias, unfolding = kernel(layer), bias_of(layer), unfolding_of(layer)
    new = solve(old.flatten(1), moments, ridge).view_as(old)
    shift = moments.mean_out - new.flatten(1) @ moments.mean_in
    low = 0 < rank <= full_rank(layer, unfolding) and weights_at(layer, rank, unfolding) < weights_at(
        layer, 0, unfolding
    )
    if low or isinstance(layer, LOW_RANK):
        rank = rank if low or not isinstance(layer, LOW_RANK) else rank_of(layer)
        left, right = whitened_factors(new, lifted(moments.inputs, ridge), rank, unfolding)
        shift = shift + mean_shift(new, left, right, moments.mean_in, unfolding)
        return unfolding.pair(layer, left, right, None if bias is None else shift)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    layer.weight.copy_(new)
    if layer.bias is not None:
        layer.bias.copy_(shift)
    return layer


@torch.no_grad()
def fitted_nested(layer: nn.Module, moments: Moments, sizes: Nesting, ridge: float) -> nn.Module:
    """The nested layer of these sizes in the place of a dense layer or convolution, as `refit` describes it."""
    new = solve(kernel(layer).flatten(1), moments, ridge)
    factors = nested_factors(new.view(sizes.shape), lifted(moments.inputs, ridge), sizes)
    shift = moments.mean_out - factors.product().flatten(1) @ moments.mean_in
    return nested_layer(layer, factors, sizes, None if bias_of(layer) is None else shift)


def solve(weight: Tensor, moments: Moments, ridge: float) -> Tensor:
    """`argmin E ||y - W' u||^2 + ridge mean(diag C) ||W' - W||^2`, (h, d) float64, for u and y about their means.

    `W' = W + (A - W C) (C + ridge mean(diag C) I)^-1`, C the moment of u and A that of y with u.
    """
    missing = moments.across - weight @ moments.inputs
    factor = torch.linalg.cholesky(lifted(moments.inputs, ridge))
    return weight + torch.cholesky_solve(missing.T, factor).T


def lifted(moment: Tensor, ridge: float) -> Tensor:
    """`C + ridge mean(diag C) I`, with at least 1e-9 for the ridge; I for a C of zeros, which leaves weights alone."""
    size = float(moment.diagonal().mean())
    identity = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    return moment + max(ridge, 1e-9) * size * identity if size > 0 else identity
