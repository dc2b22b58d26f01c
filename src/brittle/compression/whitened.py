"""Data-aware low rank: the pair whose outputs on given data are nearest to the layer's, in the mean square.

Legend: W (h, d) a layer's matrix, u (d,) its inputs with moment C = E[u u^t] (or their covariance), r rank; for a
convolution d = c k k in the order (channel, row, column).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.compression.pairs import balanced
from brittle.compression.unfoldings import CHANNELS, FILTERS, Unfolding

# Directions that the data never take count this share of the mean: enough to settle what the data leave open.
RIDGE = 1e-6


def whitened_factors(
    weight: Tensor, moment: Tensor, rank: int, unfolding: Unfolding, *, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """L (m, r), R (r, n) of the unfolded kernel: `min E ||(W - W') u||^2` over kernels W' of that rank.

    Filters: the optimum in closed form, `W' = U U^t W` with U (h, r) the leading eigenvectors of `W C W^t` (the left
    singular vectors of `W C^(1/2)`; Eckart and Young, 1936, in the norm of C; as in SVD-LLM, Wang et al., 2025). It
    needs no inverse of C. Channels: see `_channels`; there the optimum has no closed form.

    Args:
        weight: (h, d) or (h, c, k, k), float64.
        moment: (d, d) float64, symmetric and positive semi-definite.
        rank: in 1..full rank of the unfolding.
        unfolding: FILTERS or CHANNELS.
        ridge: C is replaced by `C + ridge (trace C / d) I`; a zero C by I, which gives the plain truncated SVD.
    """
    moment = lifted_moment(moment, ridge)
    left, right = (_channels if unfolding is CHANNELS else _filters)(weight, moment, rank)
    return balanced(left, right)


def whitened_values(weight: Tensor, moment: Tensor, unfolding: Unfolding) -> Tensor:
    """Singular values of the unfolded kernel in the norm of C, largest first: what each rank adds to the outputs.

    Filters: the sum of squares is `E ||W u||^2`, and the values beyond r the error of rank r. Channels: the same for
    inputs that are alike under every tap of the window and independent between taps (an estimate).
    """
    moment = lifted_moment(moment, 0.0)
    if unfolding is FILTERS:
        matrix = weight.flatten(1)
        gram = matrix @ moment @ matrix.T
    else:
        root, _ = symmetric_root(_channel_moment(moment, weight))
        matrix = CHANNELS.matrix(weight)
        gram = root @ (matrix @ matrix.T) @ root
    values = torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt()
    return values[: min(unfolding.sides(tuple(weight.shape)))]


def mean_shift(weight: Tensor, left: Tensor, right: Tensor, mean: Tensor, unfolding: Unfolding) -> Tensor:
    """`(W - W') E[u]` (h,): added to the bias it keeps the mean of the outputs exactly."""
    product = left @ right
    if unfolding is CHANNELS:
        h, c, *size = weight.shape
        product = product.view(c, h, *size).transpose(0, 1)
    return (weight.flatten(1) - product.flatten(1)) @ mean


def _filters(weight: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    matrix = weight.flatten(1)
    u = torch.linalg.eigh(matrix @ moment @ matrix.T).eigenvectors.flip(1)[:, :rank]
    return u, u.T @ matrix


def _channels(weight: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """First which r mixtures of channels are kept, then the k x k part that does best with them.

    The mixtures: leading right singular vectors of the kernel (h k k, c) times D^(1/2), D the channels' moment averaged
    over the window. The k x k part X (h, r k k), with F (r k k, c k k) the mixtures under every tap: least squares,
    `X = W C F^t (F C F^t)^-1`, the optimum for these mixtures.
    """
    h, c, *size = weight.shape
    root, inverse = symmetric_root(_channel_moment(moment, weight))
    matrix = CHANNELS.matrix(weight)
    leading = torch.linalg.eigh(root @ (matrix @ matrix.T) @ root).eigenvectors.flip(1)[:, :rank]
    mixtures, _ = torch.linalg.qr(inverse @ leading)  # an orthonormal basis: only the space it spans matters
    window = torch.eye(len(moment) // c, dtype=weight.dtype, device=weight.device)
    taps = torch.kron(mixtures.T.contiguous(), window)
    part = torch.linalg.solve(taps @ moment @ taps.T, taps @ moment @ weight.flatten(1).T).T
    return mixtures, part.reshape(h, rank, *size).transpose(0, 1).flatten(1)


def _channel_moment(moment: Tensor, weight: Tensor) -> Tensor:
    """(c k k, c k k) -> (c, c): the channels' moment at one pixel, averaged over the taps."""
    c = weight.shape[1]
    taps = len(moment) // c
    return moment.view(c, taps, c, taps).diagonal(dim1=1, dim2=3).mean(-1)


def symmetric_root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric square root of a positive semi-definite matrix, and its (pseudo-)inverse."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(0)
    root = values.sqrt()
    inverse = torch.where(values > values[-1] * 1e-15, root, torch.inf).reciprocal()
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def lifted_moment(moment: Tensor, ridge: float) -> Tensor:
    """`C + ridge (trace C / d) I`; a zero C becomes I."""
    size = moment.diagonal().mean()
    identity = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    return identity if size <= 0 else moment + ridge * size * identity
