"""Nested factors that suit given data: mixtures of channels and of positions, and the core that does best with them.

Legend: W (h, C, S) a layer's kernel, C input channels, S positions of each; u (C S,) its inputs with moment M;
P (s, S), Q (a, C) the mixtures; K (h, a, s) the core, of rank r where there is one; G (h, h) weighs output errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.compression.nesting import Nesting
from brittle.compression.pairs import balanced
from brittle.compression.whitened import symmetric_root

# Multiply-adds that one least squares problem for the mixtures of a mode may take; beyond it they stay as they start.
_AFFORDED = 4e9


@dataclass(frozen=True, eq=False)
class NestedFactors:
    """The parts of a nested layer, float64; None for what is left out.

    Attributes:
        positions: P (s, S).
        channels: Q (a, C).
        core: K (h, a, s), multiplied out where it has a rank.
        pair: its factors (h, r) and (r, a s).
    """

    positions: Tensor | None
    channels: Tensor | None
    core: Tensor
    pair: tuple[Tensor, Tensor] | None

    def product(self) -> Tensor:
        """The kernel (h, C, S) that the parts stand for."""
        whole = self.core
        if self.channels is not None:
            whole = torch.einsum("has,ac->hcs", whole, self.channels)
        return whole if self.positions is None else torch.einsum("hcp,ps->hcs", whole, self.positions)


def nested_factors(
    weight: Tensor, moment: Tensor, wanted: Nesting, weigh: Tensor | None = None, *, sweeps: int = 1
) -> NestedFactors:
    """Factors of these sizes with a small `E || G^(1/2) (W - W') u ||^2`, W' their product.

    1. Mixtures start as the leading directions of each mode in the norm of the inputs that the mode has on average
       (higher-order SVD, De Lathauwer et al. 2000, whitened mode by mode).
    2. The core is the least squares answer for these mixtures, `K = W M Z^t (Z M Z^t)^-1` with Z the Kronecker product
       of Q and P; of rank r it is that answer projected on r leading directions of `G^(1/2) K (Z M Z^t)^(1/2)`.
    3. Each sweep solves for the mixtures of each mode in turn, all else fixed (alternating least squares), and for the
       core again. Every step is a minimum over what it changes, so the error never rises.

    Neighbouring parts share their singular values equally.

    Args:
        weight: W (h, C, S) float64.
        moment: M (C S, C S) float64, positive definite.
        wanted: the sizes; its shape is that of the weight.
        weigh: G (h, h) float64, positive definite; None for the identity.
        sweeps: how often.
    """
    job = _Job(weight, moment.view(*weight.shape[1:], *weight.shape[1:]), wanted, weigh)
    p, q = job.start()
    core, pair = job.core(p, q)
    for _ in range(sweeps):
        if wanted.positions and job.affords(0):
            p = job.mixtures(core, p, q, axis=0)
            core, pair = job.core(p, q)
        if wanted.channels and job.affords(1):
            q = job.mixtures(core, p, q, axis=1)
            core, pair = job.core(p, q)
    return _shared(p, q, core, pair, wanted)


def mode_energies(weight: Tensor, moment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (largest first) of the modes positions (S,), channels (C,) and outputs (h or fewer,) of W (h, C, S).

    Of the outputs the eigenvalues of `W M W^t`, whose sum is `E ||W u||^2`; of positions and channels those in the norm
    of the inputs that the mode has on average, as `nested_factors` starts: shares of them, not their sums, compare.
    """
    c, s = weight.shape[1:]
    inputs = moment.view(c, s, c, s)
    matrix = weight.flatten(1)
    outputs = torch.linalg.eigvalsh(matrix @ moment @ matrix.T).flip(0).clamp_min(0)[: min(matrix.shape)]
    found = []
    for mean, unfolded in (
        (torch.einsum("csct->st", inputs) / c, weight.permute(2, 0, 1)),
        (torch.einsum("csds->cd", inputs) / s, weight.permute(1, 0, 2)),
    ):
        root, _ = symmetric_root(mean)
        side = unfolded.flatten(1)
        found.append(torch.linalg.eigvalsh(root @ (side @ side.T) @ root).flip(0).clamp_min(0))
    return found[0], found[1], outputs


class _Job:
    """One layer's problem. Mixtures are P, Q or the identity where a mode is left alone."""

    def __init__(self, weight: Tensor, moment: Tensor, wanted: Nesting, weigh: Tensor | None) -> None:
        self._weight, self._moment, self._wanted = weight, moment, wanted
        h, c, s = weight.shape
        identity = torch.eye(h, dtype=weight.dtype, device=weight.device)
        self._root, self._inverse = (identity, identity) if weigh is None else symmetric_root(weigh)
        # G^(1/2) W and its covariance with the inputs.
        self._scaled = torch.tensordot(self._root, weight, 1)
        self._across = (self._scaled.flatten(1) @ moment.reshape(c * s, c * s)).view(h, c, s)

    def start(self) -> tuple[Tensor, Tensor]:
        """P and Q of the first step."""
        _, c, s = self._weight.shape
        at_positions = torch.einsum("csct->st", self._moment) / c
        at_channels = torch.einsum("csds->cd", self._moment) / s
        p = self._leading(at_positions, self._scaled.permute(2, 0, 1), self._wanted.positions)
        q = self._leading(at_channels, self._scaled.permute(1, 0, 2), self._wanted.channels)
        return p, q

    def _leading(self, inputs: Tensor, unfolded: Tensor, count: int) -> Tensor:
        if not count:
            return torch.eye(len(inputs), dtype=inputs.dtype, device=inputs.device)
        root, inverse = symmetric_root(inputs)
        matrix = unfolded.flatten(1)
        leading = torch.linalg.eigh(root @ (matrix @ matrix.T) @ root).eigenvectors.flip(1)[:, :count]
        return torch.linalg.qr(inverse @ leading).Q.T

    def core(self, p: Tensor, q: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """The best core for these mixtures, and its pair."""
        a, s = len(q), len(p)
        half = self._mixed(self._moment, p, q)  # (a, s, C, S)
        mixed = self._mixed(half.permute(2, 3, 0, 1), p, q).reshape(a * s, a * s)
        across = torch.einsum("hcs,ps,ac->hap", self._across, p, q).flatten(1)
        factor = torch.linalg.cholesky(mixed)
        scaled = torch.cholesky_solve(across.T, factor).T
        if not self._wanted.rank:
            return (self._inverse @ scaled).view(-1, a, s), None
        gram = scaled @ across.T  # K Z M Z^t K^t
        u = torch.linalg.eigh((gram + gram.T) / 2).eigenvectors.flip(1)[:, : self._wanted.rank]
        pair = self._inverse @ u, u.T @ scaled
        return (pair[0] @ pair[1]).view(-1, a, s), pair

    def _mixed(self, moment: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """(C, S, ...) -> (a, s, ...)."""
        rest = moment.shape[2:]
        by_channel = q @ moment.reshape(moment.shape[0], -1) if self._wanted.channels else moment
        by_channel = by_channel.reshape(len(q), moment.shape[1], -1)
        out = torch.matmul(p, by_channel) if self._wanted.positions else by_channel
        return out.reshape(len(q), len(p), *rest)

    def affords(self, axis: int) -> bool:
        """Whether the normal equations of a mode are quick enough."""
        _, a, s = self._wanted.core
        _, c, each = self._weight.shape
        products = (s * s * a * a * each * each, a * a * s * s * c * c)[axis]
        unknowns = (s * each, a * c)[axis]
        return products + unknowns**3 / 3 <= _AFFORDED

    def mixtures(self, core: Tensor, p: Tensor, q: Tensor, axis: int) -> Tensor:
        """P (axis 0) or Q (axis 1) of least squares for this core and the other mixtures, with orthonormal rows."""
        scaled = torch.tensordot(self._root, core, 1)  # (h, a, s)
        if axis == 0:
            inputs = torch.einsum("ac,csdt,bd->asbt", q, self._moment, q)
            kernel = torch.einsum("hap,hbr->apbr", scaled, scaled)
            normal = torch.einsum("apbr,asbt->psrt", kernel, inputs)
            wanted = torch.einsum("hap,hcs,ac->ps", scaled, self._across, q)
        else:
            inputs = torch.einsum("ps,csdt,rt->cpdr", p, self._moment, p)
            kernel = torch.einsum("hap,hbr->apbr", scaled, scaled)
            normal = torch.einsum("apbr,cpdr->acbd", kernel, inputs)
            wanted = torch.einsum("hap,hcs,ps->ac", scaled, self._across, p)
        size = wanted.numel()
        system = normal.reshape(size, size)
        system = system + 1e-10 * system.diagonal().mean() * torch.eye(size, dtype=system.dtype, device=system.device)
        solved = torch.linalg.solve(system, wanted.flatten()).view_as(wanted)
        return torch.linalg.qr(solved.T).Q.T


def _shared(p: Tensor, q: Tensor, core: Tensor, pair: tuple[Tensor, Tensor] | None, wanted: Nesting) -> NestedFactors:
    """The same product, with equal singular values on both sides of each join."""
    if wanted.positions:
        h, a, s = core.shape
        outer, p = balanced(core.reshape(h * a, s), p)
        core = outer.view(h, a, s)
    if wanted.channels:
        h, a, s = core.shape
        outer, q = balanced(core.transpose(1, 2).reshape(h * s, a), q)
        core = outer.view(h, s, a).transpose(1, 2).contiguous()
    if pair is not None:
        u = torch.linalg.qr(pair[0]).Q
        pair = balanced(u, u.T @ core.flatten(1))
        core = (pair[0] @ pair[1]).view_as(core)
    return NestedFactors(p if wanted.positions else None, q if wanted.channels else None, core, pair)
