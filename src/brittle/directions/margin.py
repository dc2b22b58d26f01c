"""Directions of the margin `z_y - max_{j != y} z_j`: one number per sample, so its Jacobians are plain gradients.

Legend: n samples, d pixels, G (n, d) the samples' gradients; A = G^T G / n.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.directions.found import Found
from brittle.directions.linearise import nonfinite_derivatives
from brittle.directions.representation import logits_of
from brittle.directions.samples import Samples, Search
from brittle.directions.subspace import completed
from brittle.directions.trace import Trace
from brittle.errors import DataError, ModelError

# Squared singular values below this share of the largest are rounding.
_NEGLIGIBLE = 1e-13


def margin_directions(model: nn.Module, fit: Samples, score: Samples, search: Search) -> Found:
    """The exact leading eigenvectors of `E_x[ g g^T ]`, g the gradient of each sample's margin at its pixels.

    One backward pass per sample, then an eigendecomposition of the shorter side's Gram matrix in float64. Where fewer
    than k gradients are independent, random directions of energy 0 fill up. The fitting gradients are held in memory
    in the samples' number format (n d numbers), unless n > d.

    Raises:
        ModelError: outputs that are not finite logits with a derivative.
        DataError: a label that the model has no class for.
    """
    gradients = margin_gradients(model, fit, search.batch_size)
    vectors = completed(_leading(gradients, search.k), search.k, search.seed)
    # Measured on the gradients, not read off the Gram matrix: its rounding is not theirs.
    shares = _times(gradients, vectors.T)
    energies = shares.square().mean(0)
    images = _times(gradients.T, shares).T / len(gradients)
    lengths = (images - energies[:, None] * vectors).norm(dim=1)
    residuals = torch.where(energies > 0, lengths / energies.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    scored = margin_gradients(model, score, search.batch_size)
    return Found(
        "margin",
        vectors,
        energies,
        residuals,
        _trace(gradients),
        _times(scored, vectors.T).square().mean(0),
        _trace(scored),
        1,
    )


def margin_gradients(model: nn.Module, samples: Samples, batch_size: int) -> Tensor:
    """G (n, d) on the CPU in the samples' number format.

    Raises:
        ModelError, DataError: as `margin_directions`.
    """
    rows = []
    for part in torch.arange(len(samples.x)).split(batch_size):
        chosen = part.to(samples.x.device)
        with torch.enable_grad():
            x = samples.x[chosen].detach().clone().requires_grad_()
            logits = logits_of(model, x)
            _check(logits)
            y = logits.argmax(1) if samples.y is None else samples.y[chosen].to(logits.device)
            if int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
                raise DataError(
                    f"expected labels from 0 to {logits.shape[1] - 1} for a model of {logits.shape[1]} classes, got "
                    f"{int(y.min())} to {int(y.max())}: check that model and data belong together"
                )
            mine = logits.gather(1, y[:, None])[:, 0]
            others = logits.scatter(1, y[:, None], -torch.inf).amax(1)
            (gradient,) = torch.autograd.grad((mine - others).sum(), x, materialize_grads=True)
        rows.append(gradient.flatten(1).cpu())
    found = torch.cat(rows)
    if not bool(torch.isfinite(found).all()):
        raise nonfinite_derivatives()
    return found


def _check(logits: Tensor) -> None:
    if logits.shape[1] < 2:
        raise ModelError(
            "a margin needs at least 2 classes, got 1 logit: use the representation map, or give the model two logits"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("expected finite outputs, got NaN or infinity: check the weights and the number format")
    if not logits.requires_grad:
        raise ModelError(
            "expected outputs that depend on the pixels by differentiable operations, got outputs without a graph "
            "(quantised, detached or exported model): take the differentiable model it was made from"
        )


def _leading(gradients: Tensor, k: int) -> Tensor:
    """At most k orthonormal eigenvectors of G^T G with an energy above rounding, (r, d)."""
    n, d = gradients.shape
    wide = n <= d
    gram = _gram(gradients if wide else gradients.T)
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    above = values > _NEGLIGIBLE * values[0]
    vectors = vectors[:, above]
    if not wide:
        return vectors.T.contiguous()
    rows = _times(gradients.T, vectors)
    # The rows are orthogonal up to rounding that small eigenvalues magnify: QR removes it and keeps their order.
    q, r = torch.linalg.qr(rows)
    return (q * r.diagonal().sign()).T.contiguous()


def _gram(rows: Tensor, chunk: int = 4096) -> Tensor:
    """`rows rows^T` in float64, without a float64 copy of all rows."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(chunk, dim=1):
        total += part.double() @ part.double().T
    return total


def _times(a: Tensor, b: Tensor, chunk: int = 4096) -> Tensor:
    """`a b` in float64 for a narrow b, in row blocks of a."""
    return torch.cat([part.double() @ b for part in a.split(chunk)])


def _trace(gradients: Tensor) -> Trace:
    total = sum(float(part.double().square().sum()) for part in gradients.split(64))
    return Trace(total / len(gradients), "exact", 0.0)
