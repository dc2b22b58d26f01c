"""Lower bounds on the Lipschitz constant: the largest Jacobian norm met on data, a slope the network really has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.operators.twin import readable_copy

# How far inputs are moved, so that none sits on a kink (ReLU at 0, ties in a pooling): autograd's choice there need
# not be a slope of the network. Black pixels and zero biases make such inputs common.
_NUDGE = 1e-6


def logit_jacobians(model: nn.Module, x: Tensor) -> Tensor:
    """Jacobians of the logits in the pixels at each input: (b, *shape) -> (b, K, n)."""
    point = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(point)
        if not logits.requires_grad:  # logits that do not depend on the pixels
            return x.new_zeros(len(x), logits.shape[1], point[0].numel())
        rows = [
            torch.autograd.grad(logits[:, j].sum(), point, retain_graph=True)[0].flatten(1)
            for j in range(logits.shape[1])
        ]
    return torch.stack(rows, 1)


def largest_jacobian_norms(model: nn.Module, x: Tensor, batch_size: int, *, seed: int = 0) -> dict[str, float]:
    """The largest l_inf (row l_1) and l_2 (spectral) operator norm of the logits' Jacobian near inputs (b, *shape).

    Taken in float64 on a copy of the model in eval mode, at inputs moved by at most 10^-6 (drawn from `seed`). Where
    the network is differentiable the Jacobian is a limit of slopes between real inputs, so both are lower bounds of the
    constant, up to float64 rounding (reduced by one part in 10^9).
    """
    twin = readable_copy(model).to(x.device)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    points = x.to(torch.float64) + _NUDGE * (2 * noise - 1)
    linf, l2 = 0.0, 0.0
    for start in range(0, len(x), batch_size):
        jacobian = logit_jacobians(twin, points[start : start + batch_size])
        linf = max(linf, float(jacobian.abs().sum(2).max()))
        gram = jacobian @ jacobian.transpose(1, 2)
        l2 = max(l2, float(torch.linalg.eigvalsh(gram)[:, -1].max().clamp_min(0)) ** 0.5)
    return {"linf": linf * (1 - 1e-9), "l2": l2 * (1 - 1e-9)}
