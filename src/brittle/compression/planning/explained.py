"""Which units to keep when the layers that read them are fitted again: those that explain what the readers take.

Legend: u units, s slots of a unit on a reader's side (1 for a channel, height * width after a flatten), m rows of data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.compression.couplings.sides import weight_members, weight_of
from brittle.compression.protocols import Evidence
from brittle.models.frozen import frozen

# Noise in every unit, as a share of their mean variance: a unit that others imitate well is not thrown away for it.
RIDGE = 0.1
# The most samples, and places of a map in each, that a covariance is taken over.
SAMPLES, PLACES = 1000, 16


def explained(
    model: nn.Module,
    couplings: Sequence[Coupling],
    evidence: Evidence,
    *,
    batch_size: int = 250,
    ridge: float = RIDGE,
) -> Mapping[str, Tensor]:
    """Scores (u,) that order the units of each coupling by greedy selection: u for the first chosen, 1 for the last.

    Chosen next is the unit that explains most of what is still missing from the readers' answers `W v` when they are
    fitted on the units chosen before (column subset selection, as orthogonal matching pursuit does it; for pruning see
    interpolative decompositions, Chee et al. 2022):

        gain_j = || A^(1/2) S_:j ||^2 / S_jj,   then  S <- S - S_:j S_j: / S_jj,

    S (u, u) the units' covariance at one slot, averaged over slots, plus the ridge, A (u, u) the sum of `W^t W` over
    slots and taps. Exact for neurons; for channels slots and taps count as independent draws of one covariance, which
    chose as well as the exact form on the nets that were tried, for a small part of its cost. Heads, whose slots do not
    correspond, are ordered by `S_jj A_jj` alone, and units whose readers are never called by the weights alone.

    Raises:
        ModelError: the model does not run on the evidence.
    """
    readers = {c.name: weight_members(model, c, "in") for c in couplings}
    paths = {member.module for members in readers.values() for member, _ in members}
    spread = _covariances(model, paths, couplings, evidence, batch_size)
    scores = {}
    for coupling in couplings:
        covariance = sum(
            (s.result() for m, _ in readers[coupling.name] if (s := spread.get((coupling.name, m.module))))
        )
        weights = _weights(model, readers[coupling.name], coupling.units)
        if not isinstance(covariance, Tensor):
            covariance = torch.eye(coupling.units, dtype=torch.float64)
        if coupling.kind == "heads":
            covariance = covariance.diagonal().diag()
        scores[coupling.name] = order_score(greedy_order(covariance, weights, ridge))
    return scores


def greedy_order(covariance: Tensor, weights: Tensor, ridge: float) -> list[int]:
    """All units, the best first: the greedy selection of `explained` for S and A, both (u, u) float64."""
    units = len(covariance)
    left = covariance + max(ridge, 1e-9) * covariance.diagonal().mean().clamp_min(1e-30) * torch.eye(
        units, dtype=covariance.dtype, device=covariance.device
    )
    chosen: list[int] = []
    taken = torch.zeros(units, dtype=torch.bool, device=covariance.device)
    for _ in range(units):
        variance = left.diagonal().clamp_min(1e-300)
        gain = ((left @ weights) * left).sum(1) / variance
        j = int(gain.masked_fill(taken, -torch.inf).argmax())
        chosen.append(j)
        taken[j] = True
        left = left - torch.outer(left[:, j], left[j]) / variance[j]
    return chosen


def order_score(order: Sequence[int]) -> Tensor:
    """(u,) float64: u for the first of the order down to 1 for the last."""
    score = torch.empty(len(order), dtype=torch.float64)
    score[torch.tensor(order)] = torch.arange(len(order), 0, -1, dtype=torch.float64)
    return score


def _weights(model: nn.Module, readers: Sequence[tuple[Member, nn.Module]], units: int) -> Tensor:
    """A (u, u): `W^t W` over all slots, taps and readers; the identity for units that no weight reads."""
    total = torch.zeros(units, units, dtype=torch.float64)
    for member, module in readers:
        weight = weight_of(module)
        assert weight is not None
        columns = weight.detach().double().cpu().transpose(0, 1).flatten(1)
        for slot in torch.tensor(member.index).T:
            total += columns[slot] @ columns[slot].T
    return total if bool(total.any()) else torch.eye(units, dtype=torch.float64)


@dataclass
class _Spread:
    """Running covariance of units at a slot, over all slots."""

    member: Member
    second: Tensor | None = None
    mean: Tensor | None = None
    rows: int = field(default=0)

    def add(self, columns: Tensor) -> None:
        """Rows (m, positions) of a reader's inputs."""
        index = torch.tensor(self.member.index, device=columns.device)
        values = columns[:, index].double()  # (m, u, s)
        if self.second is None:
            self.second = torch.zeros(index.shape[0], index.shape[0], dtype=torch.float64)
            self.mean = torch.zeros(tuple(index.shape), dtype=torch.float64)
        assert self.mean is not None
        self.second += torch.einsum("mus,mvs->uv", values, values).cpu() / index.shape[1]
        self.mean += values.sum(0).cpu()
        self.rows += len(values)

    def result(self) -> Tensor:
        assert self.second is not None
        assert self.mean is not None
        mean = self.mean / self.rows
        return self.second / self.rows - mean @ mean.T / mean.shape[1]


def _covariances(
    model: nn.Module, paths: set[str], couplings: Sequence[Coupling], evidence: Evidence, batch_size: int
) -> dict[tuple[str, str], _Spread]:
    """By coupling and reader; readers that are never called are missing."""
    found: dict[tuple[str, str], _Spread] = {}
    generator = torch.Generator().manual_seed(evidence.seed)
    by_path: dict[str, list[tuple[str, Member]]] = {path: [] for path in paths}
    for coupling in couplings:
        for member in coupling.members:
            if member.side == "in" and member.module in paths:
                by_path[member.module].append((coupling.name, member))

    def watch(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            columns = _columns(module, args[0], generator)
            for name, member in by_path[path]:
                found.setdefault((name, path), _Spread(member)).add(columns)

        return hook

    hooks = [model.get_submodule(path).register_forward_pre_hook(watch(path)) for path in paths]
    try:
        with frozen(model), torch.no_grad():
            for part in evidence.x[:SAMPLES].split(batch_size):
                model(part)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _columns(module: nn.Module, u: Tensor, generator: torch.Generator) -> Tensor:
    """(m, positions): a dense layer's inputs, or the channels at some places of a map."""
    if isinstance(module, nn.Linear):
        flat = u.reshape(len(u), -1, u.shape[-1])
    else:
        flat = u.flatten(2).transpose(1, 2)
    if flat.shape[1] > PLACES:
        chosen = torch.randperm(flat.shape[1], generator=generator)[:PLACES].to(u.device)
        flat = flat[:, chosen]
    return flat.flatten(0, 1)
