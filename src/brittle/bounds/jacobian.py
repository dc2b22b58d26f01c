"""Lower bounds on the Lipschitz constant: the largest Jacobian norm met on data (a slope that the network really has)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def logit_jacobians(model: nn.Module, x: Tensor) -> Tensor:
    """Jacobians of the logits in the pixels at each input: (b, *shape) -> (b, K, n)."""
    point = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(point)
        rows = [
            torch.autograd.grad(logits[:, j].sum(), point, retain_graph=True)[0].flatten(1) for j in range(logits.shape[1])
        ]
    return torch.stack(rows, 1)


def largest_jacobian_norms(model: nn.Module, x: Tensor, batch_size: int) -> dict[str, float]:
    """The largest l_inf (row l_1) and l_2 (spectral) operator norm of the logits' Jacobian over inputs (b, *shape).

    For a piecewise linear network each is a slope between two real inputs, so a lower bound of the constant, up to
    float rounding (reduced by one part in 10^9).
    """
    linf, l2 = 0.0, 0.0
    for start in range(0, len(x), batch_size):
        jacobian = logit_jacobians(model, x[start : start + batch_size]).double()
        linf = max(linf, float(jacobian.abs().sum(2).max()))
        gram = jacobian @ jacobian.transpose(1, 2)
        l2 = max(l2, float(torch.linalg.eigvalsh(gram)[:, -1].max().clamp_min(0)) ** 0.5)
    return {"linf": linf * (1 - 1e-9), "l2": l2 * (1 - 1e-9)}
