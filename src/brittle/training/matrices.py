"""The structure matrices of a model's layers, differentiable and writable: what penalties and projections act on.

Legend: h neurons or filters, d fan-in (channels of a group * kernel height * kernel width for a convolution), r rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from brittle.compression.pairs import rank_of, write_factors
from brittle.errors import UsageError
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.training.cores import LowRank, core_of, pair_of, product_of

_LOW = (LowRankLinear, LowRankConv2d, LowRankConv2dIn)
_CONVOLUTIONS = (nn.Conv2d, LowRankConv2d, LowRankConv2dIn)
_LAYERS = (nn.Linear, nn.Conv2d, *_LOW)


@dataclass(frozen=True, eq=False)
class StructureMatrix:
    """One layer's matrix; it lives in the module's own parameters.

    Attributes:
        name: the module's name in the model.
        module: an `nn.Linear`, `nn.Conv2d`, `LowRankLinear`, `LowRankConv2d` or `LowRankConv2dIn`.
    """

    name: str
    module: nn.Module

    def tensor(self) -> Tensor:
        """W (h, d), with gradients to the parameters; of a low-rank layer the product of its factors."""
        module = self.module
        if isinstance(module, LowRank):
            return product_of(module)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return module.weight.flatten(1)

    def core(self) -> Tensor:
        """A matrix with W's singular values that need not be zero: of a low-rank layer (r, r), else W itself."""
        return core_of(self.module) if isinstance(self.module, LowRank) else self.tensor()

    @torch.no_grad()
    def write(self, weight: Tensor) -> None:
        """Put W (h, d) in place; in a low-rank layer its best approximation of that rank (Eckart and Young 1936).

        The factors are `U sqrt(S)` and `sqrt(S) V^t` of the singular value decomposition in float64, of W unfolded as
        the layer unfolds it.
        """
        module = self.module
        if isinstance(module, LowRank):
            u, s, vt = torch.linalg.svd(_unfolded(module, weight.double()), full_matrices=False)
            root = s[: rank_of(module)].sqrt()
            write_factors(module, u[:, : len(root)] * root, root[:, None] * vt[: len(root)])
        else:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            module.weight.copy_(weight.view_as(module.weight))

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply W by a factor >= 0; in a low-rank layer both factors by its root."""
        module = self.module
        if isinstance(module, LowRank):
            module.first.weight.mul_(factor**0.5)
            module.second.weight.mul_(factor**0.5)
        else:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            module.weight.mul_(factor)

    @torch.no_grad()
    def frobenius(self) -> float:
        """||W||_F, in float64."""
        module = self.module
        if isinstance(module, LowRank):
            left, right = pair_of(module)
            return float(torch.linalg.matrix_norm(left.double() @ right.double()))
        return float(torch.linalg.matrix_norm(self.tensor().double()))


def structure_matrices(model: nn.Module) -> tuple[StructureMatrix, ...]:
    """All linear layers and two-dimensional convolutions, in the order in which the model holds them.

    A low-rank layer is one matrix; a weight that several modules share is met once.
    """
    inside: set[int] = set()
    seen: set[int] = set()
    found = []
    for name, module in model.named_modules():
        if id(module) in inside or not isinstance(module, _LAYERS):
            continue
        inside.update(id(part) for part in module.modules())
        own = module.first.weight if isinstance(module, LowRank) else module.weight
        if id(own) not in seen:
            seen.add(id(own))
            found.append(StructureMatrix(name or "weight", module))
    return tuple(found)


def head_of(model: nn.Module) -> nn.Module | None:
    """The last linear or low-rank linear layer that the model holds; None where it has none."""
    linear = [m.module for m in structure_matrices(model) if isinstance(m.module, nn.Linear | LowRankLinear)]
    return linear[-1] if linear else None


def chosen_matrices(model: nn.Module, patterns: Sequence[str] | None) -> tuple[StructureMatrix, ...]:
    """The layers that penalties act on, in the model's order.

    Args:
        model: any model.
        patterns: of layer names, with `*`, `?` and `[...]`; a layer is chosen where one of them matches its whole name.
            None: all but the head (see `head_of`) and the first convolution, as Barsbey et al. (ICLR 2026) do.

    Raises:
        UsageError: a pattern that matches no layer, or nothing left to choose; the message lists the names.
    """
    every = structure_matrices(model)
    names = ", ".join(matrix.name for matrix in every) or "none"
    if patterns is None:
        convolutions = [m.module for m in every if isinstance(m.module, _CONVOLUTIONS)]
        left_out = [head_of(model), *convolutions[:1]]
        chosen = tuple(m for m in every if all(m.module is not other for other in left_out))
        if not chosen:
            raise UsageError(
                f"no layer beside the head and the first convolution: name the layers to act on, out of {names}"
            )
        return chosen
    for pattern in patterns:
        if not any(fnmatchcase(matrix.name, pattern) for matrix in every):
            raise UsageError(f"no layer matches {pattern!r}: the model's layers are {names}")
    chosen = tuple(m for m in every if any(fnmatchcase(m.name, pattern) for pattern in patterns))
    if not chosen:
        raise UsageError(f"no layers are named: give at least one pattern, the model's layers are {names}")
    return chosen


def _unfolded(module: LowRank, weight: Tensor) -> Tensor:
    """W (h, d) as the matrix that the layer's factors multiply to."""
    if not isinstance(module, LowRankConv2dIn):
        return weight
    channels = module.first.weight.shape[1]
    return weight.unflatten(1, (channels, -1)).transpose(0, 1).flatten(1)
