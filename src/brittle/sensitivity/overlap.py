"""How much of a perturbation lies along a direction, and what a random direction would get.

Legend: n perturbations, k directions, d pixels.
"""

from __future__ import annotations

from math import exp, lgamma, log, pi

import torch
from torch import Tensor

from brittle.attacks.confined import check_basis
from brittle.attacks.noise import sample_noise
from brittle.errors import DataError, UsageError


def overlaps(directions: Tensor, perturbations: Tensor) -> tuple[float, ...]:
    """The mean of `|v_i^T a| / ||a||_2` over perturbations a, for each direction: k numbers in [0, 1].

    Args:
        directions: (k, *shape), orthonormal.
        perturbations: (n, *shape); those that are zero do not count.

    Raises:
        UsageError: directions that are not orthonormal, or of another shape than the perturbations.
        DataError: no perturbation that is not zero.
    """
    check_basis(directions, tuple(perturbations.shape[1:]))
    flat = perturbations.detach().flatten(1).double()
    length = torch.linalg.vector_norm(flat, dim=1)
    moved = length > 0
    if not bool(moved.any()):
        raise DataError(f"expected perturbations that are not zero, got {len(flat)} zero ones: raise the radius")
    rows = directions.detach().flatten(1).to(flat)
    cosine = (flat[moved] @ rows.T).abs() / length[moved, None]
    return tuple(cosine.mean(0).tolist())


def random_overlap(dim: int) -> float:
    """The expected overlap of a uniformly random direction with any perturbation: `E |u_1|` on the unit sphere.

    `Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2))`, about `sqrt(2 / (pi d))`.

    Raises:
        UsageError: dim < 1.
    """
    if dim < 1:
        raise UsageError(f"expected at least one pixel, got {dim}")
    return exp(lgamma(dim / 2) - lgamma((dim + 1) / 2) - log(pi) / 2)


def random_directions(count: int, shape: tuple[int, ...], seed: int, draw: int) -> Tensor:
    """Uniformly random orthonormal directions, (count, *shape), float64 on the CPU; the first m are so for every m.

    The Q factor of a normal matrix: each column is uniform on the sphere orthogonal to those before it, up to a sign,
    which spans do not see. Each draw >= 0 of a seed is independent of the others.

    Raises:
        UsageError: more directions than pixels, or none.
    """
    dim = torch.Size(shape).numel()
    if not 1 <= count <= dim:
        raise UsageError(f"expected 1 to {dim} directions in {dim} pixels, got {count}")
    noise = sample_noise(seed, [draw], (dim, count), "random directions", dtype=torch.float64, device="cpu")[0]
    return torch.linalg.qr(noise).Q.T.reshape(count, *shape).contiguous()
