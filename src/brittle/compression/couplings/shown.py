"""Showing that couplings are right: removing units is the same as everybody ignoring them.

For random weights near the network's own and random inputs, in float64, a child without a random half of the units of
every coupling must compute what the parent computes when the weights that read those units are zero. Biases and norms
of the removed units then have no part in either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.sides import weight_members, weight_of
from brittle.compression.duplicate import copied
from brittle.compression.removal import without_units

# Relative to the largest output; rounding in float64 leaves 1e-12 at most.
_TOLERANCE = 1e-8
# Random weights drawn before units that no output feels (dead for every draw) are given up.
_DRAWS = 3


def shown(model: nn.Module, shape: Sequence[int], found: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The couplings among `found` that pass the check, in their order; `model` is left alone.

    All are tried at once; where that fails, halves are, and so on, so that one wrong coupling costs the others nothing.

    Args:
        model: takes (b, *shape).
        shape: of one input.
        found: couplings that share no position.
    """
    names: set[str] = set()
    undecided = list(found)
    for seed in range(_DRAWS):
        trial = _Trial(model, shape, seed)
        felt = [coupling for coupling in undecided if trial.feels(coupling)]
        names |= {coupling.name for coupling in trial.right_ones(felt)}
        undecided = [coupling for coupling in undecided if coupling not in felt]
        if not undecided:
            break
    chosen = tuple(coupling for coupling in found if coupling.name in names)
    # Each part may be right and the whole still wrong.
    return chosen if trial.passed == chosen or trial.right(chosen) else ()


class _Trial:
    """One draw of weights and inputs."""

    def __init__(self, model: nn.Module, shape: Sequence[int], seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.parent = _near(model, self.generator)
        self.passed: tuple[Coupling, ...] = ()
        self.x = torch.rand(2, *shape, dtype=torch.float64, generator=self.generator)
        self._gradients()

    def _gradients(self) -> None:
        self.parent.requires_grad_(True)
        with torch.enable_grad():
            out = self.parent(self.x)
            (out * torch.randn(out.shape, dtype=out.dtype, generator=self.generator)).sum().backward()
        self.parent.requires_grad_(False)

    def feels(self, coupling: Coupling) -> bool:
        """Whether the output depends on the weights that read the units: without that a check proves nothing."""
        gradients = [weight_of(module).grad for _, module in weight_members(self.parent, coupling, "in")]  # type: ignore[union-attr]
        return any(gradient is not None and bool(gradient.any()) for gradient in gradients)

    def right_ones(self, found: Sequence[Coupling]) -> list[Coupling]:
        """Those that pass, by halving."""
        if not found or self.right(found):
            return list(found)
        if len(found) == 1:
            return []
        half = len(found) // 2
        return self.right_ones(found[:half]) + self.right_ones(found[half:])

    def right(self, found: Sequence[Coupling]) -> bool:
        """Whether the child without a random half of all these units is the parent that ignores them."""
        kept = {coupling.name: self._half(coupling.units) for coupling in found}
        try:
            with torch.no_grad():
                with _ignoring(self.parent, found, kept):
                    wanted = self.parent(self.x)
                got = without_units(self.parent, kept, found)(self.x)
        except Exception:  # positions that are not there, shapes that do not meet: it can fail in any way
            return False
        if got.shape != wanted.shape or not bool(torch.isfinite(wanted).all()):
            return False
        if not bool((got - wanted).abs().max() <= _TOLERANCE * wanted.abs().max()):
            return False
        self.passed = tuple(found)
        return True

    def _half(self, units: int) -> list[int]:
        order = torch.randperm(units, generator=self.generator)
        return sorted(order[: units - max(1, units // 2)].tolist())


@contextmanager
def _ignoring(model: nn.Module, found: Sequence[Coupling], kept: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """The weights that read units which are not kept are zero inside the block."""
    before: list[tuple[Tensor, list[int], Tensor]] = []
    for coupling in found:
        gone = sorted(set(range(coupling.units)) - set(kept[coupling.name]))
        for member, module in weight_members(model, coupling, "in"):
            weight = weight_of(module)
            assert weight is not None
            columns = [position for unit in gone for position in member.index[unit]]
            before.append((weight, columns, weight[:, columns].clone()))
            weight[:, columns] = 0
    try:
        yield
    finally:
        for weight, columns, old in reversed(before):
            weight[:, columns] = old


def _near(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A float64 copy in evaluation mode whose weights are off by about half their size, so that none is zero."""
    near = copied(model).to("cpu", torch.float64).eval()
    with torch.no_grad():
        for parameter in near.parameters():
            size = float(parameter.square().mean().sqrt()) or 0.1
            # Uniform single precision numbers are drawn ten times as fast as normal double precision ones.
            noise = torch.rand(parameter.shape, dtype=torch.float32, generator=generator)
            parameter.add_(size * (2 * noise - 1))
        for module in near.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean += 0.1 * torch.randn(
                    module.running_mean.shape, dtype=torch.float64, generator=generator
                )
                module.running_var *= 0.5 + torch.rand(
                    module.running_var.shape, dtype=torch.float64, generator=generator
                )
    return near
