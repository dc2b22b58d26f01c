"""One matrix of a checkpoint measured: rows exactly, singular values all or by random probes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from brittle.checkpoints.estimates import estimate
from brittle.checkpoints.exact import all_singular_values
from brittle.checkpoints.lanczos import gram_product, lanczos
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.plan import Matrix
from brittle.checkpoints.reading import Reader, reading
from brittle.checkpoints.rows import row_pass
from brittle.compressibility.rank import effective_rank, stable_rank
from brittle.compressibility.residual import beta, beta_mean, count, residual, smallest_k
from brittle.compressibility.sparsity import pq_index
from brittle.results.layer import Neuron, Unmeasured
from brittle.results.structure import MatrixStructure, Quantity, Spectrum

_TOLERANCE = 0.05


def measure_matrix(matrix: Matrix, options: CheckpointOptions) -> MatrixStructure | Unmeasured:
    """The matrix's row of the record; `Unmeasured` where an entry is NaN or infinite.

    Raises:
        ModelError: the file is missing or broken.
    """
    with reading(matrix) as reader:
        rows = row_pass(reader, transposed=matrix.part.transposed)
        if not rows.finite:
            why = "NaN or infinity in it: the training diverged, or the file is damaged"
            return Unmeasured(matrix.name, matrix.shape, why)
        if rows.frobenius == 0 or min(matrix.sides) <= options.exact_side:
            spectral = _exact(reader, rows.frobenius, options)
        else:
            spectral = _estimated(matrix, reader, rows.frobenius, options)
    return MatrixStructure(
        name=matrix.name,
        tensor=matrix.stored.name,
        file=matrix.stored.file.name,
        dtype=matrix.stored.dtype,
        shape=matrix.shape,
        parameters=matrix.sides[0] * matrix.sides[1],
        frobenius=rows.frobenius,
        neuron=_neuron(rows.norms, options.k_fraction),
        spectral=spectral,
        same_as=matrix.same_as,
        notes=matrix.notes,
    )


def probe_seed(seed: int, name: str) -> int:
    """The seed of a matrix's probes, the same in whatever order and process it is measured."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "little")


def _neuron(nu: Tensor, k_fraction: float) -> Neuron:
    k = count(k_fraction, len(nu))
    keep = smallest_k(nu, _TOLERANCE) / len(nu)
    return Neuron(1, k, residual(nu, k), beta(nu, k), beta_mean(nu, k), pq_index(nu), keep)


def _exact(reader: Reader, frobenius: float, options: CheckpointOptions) -> Spectrum:
    zero = torch.zeros(min(reader.sides), dtype=torch.float64)
    sigma = all_singular_values(reader) if frobenius else zero
    k = count(options.k_fraction, len(sigma))
    return Spectrum(
        method="all values",
        k=k,
        sigma_max=Quantity(float(sigma.max()), "exact"),
        effective_rank=Quantity(effective_rank(sigma), "exact"),
        stable_rank=Quantity(stable_rank(sigma), "exact"),
        epsilon=Quantity(residual(sigma, k), "exact"),
        pq_index=Quantity(pq_index(sigma), "exact"),
        beta=beta(sigma, k),
        beta_mean=beta_mean(sigma, k),
        rank_at_5pct=smallest_k(sigma, _TOLERANCE),
    )


def _estimated(matrix: Matrix, reader: Reader, frobenius: float, options: CheckpointOptions) -> Spectrum:
    n = min(reader.sides)
    k = count(options.k_fraction, n)
    generator = torch.Generator().manual_seed(probe_seed(options.seed, matrix.name))
    recurrence = lanczos(gram_product(reader), n, probes=options.probes, steps=options.steps, generator=generator)
    # an entry of a product with W, then with its transpose
    roundings = 2 * (sum(reader.sides) + 8)
    found = estimate(recurrence, n, k, frobenius * reader.factor, roundings)
    back = 1.0 / reader.factor
    low, high = found.sigma_max.interval95 or (0.0, 0.0)
    return Spectrum(
        method="random probes",
        k=k,
        sigma_max=Quantity(found.sigma_max.value * back, "lower_bound", (low * back, high * back)),
        effective_rank=found.effective_rank,
        stable_rank=found.stable_rank,
        epsilon=found.epsilon,
        pq_index=found.pq_index,
        beta=None,
        beta_mean=None,
        rank_at_5pct=None,
    )
