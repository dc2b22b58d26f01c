"""The rows of the compression table: parents, rivals and ours, all given the same recovery.

Every row of a parent (`compression_parents`) is recovered by the same loss, radius and number of gradient evaluations;
a row of ours may differ in what is recovered (the plan, how its weights were fitted) and in what is held meanwhile.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from benchmarks.compression_parents import Parent
from torch import nn

from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.factorise import factorise
from brittle.compression.meet import meet
from brittle.compression.methods import compress_to
from brittle.compression.planning.auto import Trying
from brittle.compression.protocols import Evidence
from brittle.compression.ranks import uniform_ranks
from brittle.compression.softened import soften
from brittle.data.split import Split
from brittle.models.recipe import build
from brittle.training.recovery.settings import Recovery

EVIDENCE, PLANNED_FROM = 1000, 5000
TAU, CONDITION = 1.2, 0.1  # pairs of this net have condition numbers of 1.15 to 4.5 before they are held
SOFTER = 0.2


@dataclass(frozen=True)
class Made:
    """What is recovered, and how."""

    child: nn.Module
    how: Recovery
    plan: str


# A parent's name and settings, the network, how many times smaller, training samples, seed.
Making = Callable[[str, Parent, nn.Module, int, Split, int], Made]


def _evidence(of: Parent, split: Split, count: int, seed: int) -> Evidence:
    part = split.take(count, seed)
    return Evidence(part.x, part.y, of.threat, seed)


def _single(method: str) -> Making:
    def make(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
        done = compress_to(model, method, 1 / factor, _evidence(of, split, EVIDENCE, seed))
        return Made(done.model, of.recovery, f"{dict(done.plan.units)} {dict(done.plan.ranks)}")

    return make


def _svd(**changes: object) -> Making:
    """Truncated SVD, one share of the rank in every layer but the first convolution and the head, as is usual."""

    def make(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
        family = uniform_ranks(model, list(of.svd))
        plan = meet(family, PlannedParameters(model, ()), parameters(model) / factor)
        return Made(factorise(model, plan.ranks), replace(of.recovery, **changes), str(dict(plan.ranks)))

    return make


def _filters(everywhere: bool) -> Making:
    """Magnitude pruning by torch-pruning: the largest ratio that leaves the size."""

    def pruned(of: Parent, model: nn.Module, ratio: float) -> nn.Module:
        child = copy.deepcopy(model)
        for p in child.parameters():
            p.requires_grad_(True)
        pruner = tp.pruner.BasePruner(
            child,
            torch.rand(2, *of.shape),
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            max_pruning_ratio=0.97,
            global_pruning=everywhere,
            ignored_layers=[child.get_submodule(of.head)],
        )
        pruner.step()
        return child

    def make(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
        wanted, low, high = parameters(model) / factor, 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if parameters(pruned(of, model, middle)) <= wanted else (middle, high)
        child = pruned(of, model, high)
        widths = {n: len(m.weight) for n, m in child.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
        return Made(child, of.recovery, str(widths))

    return make


def _narrow(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
    """The parent's shape with every width multiplied by the same share, weights drawn anew."""
    share, wanted = 1.0, parameters(model) / factor
    while True:
        share -= 0.002
        recipe = of.narrow(share)
        fresh = build(recipe, seed=seed)
        if parameters(fresh) <= wanted:
            return Made(fresh, replace(of.recovery, learning_rate=of.from_scratch), str(recipe.options))


def _ours(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
    """The robust plan. Recovered without attacks, its function is made softer and every layer's norm is held."""
    evidence = _evidence(of, split, PLANNED_FROM, seed)
    done = compress_to(model, "auto", 1 / factor, evidence, trying=Trying())
    modes = {name: (mixed.channels, mixed.positions) for name, mixed in done.plan.modes.items()}
    plan = f"{dict(done.plan.units)} {dict(done.plan.ranks)} {modes}"
    if name != "A":
        return Made(done.model, of.recovery, plan)
    how = replace(of.recovery, learning_rate=of.from_scratch, hold_scale=True, layers=("*",))
    return Made(soften(done.model, SOFTER), how, plan)


def _held(make: Making) -> Making:
    """A rival that recovers as ours does on A: softer logits, every norm held, the same rate."""

    def made(name: str, of: Parent, model: nn.Module, factor: int, split: Split, seed: int) -> Made:
        done = make(name, of, model, factor, split, seed)
        how = replace(done.how, learning_rate=of.from_scratch, hold_scale=True, layers=("*",))
        return Made(soften(done.child, SOFTER), how, done.plan)

    return made


METHODS: dict[str, Making] = {
    "ours": _ours,
    "svd": _svd(),
    "l2 global": _filters(True),
    "l2 uniform": _filters(False),
    "taylor": _single("taylor"),
    "condlr": _svd(tau=TAU),
    "robustdlrt": _svd(penalties={"condition": CONDITION}),
    "narrow": _narrow,
    "svd, held": _held(_svd()),
    "l2 uniform, held": _held(_filters(False)),
}


@dataclass(frozen=True)
class Row:
    """One line of the table; the parents are rows of factor 1."""

    parent: str
    method: str
    factor: int
    seed: int

    @property
    def key(self) -> str:
        """A file name."""
        return f"{self.parent}-{self.method.replace(',', '').replace(' ', '-')}-{self.factor}-{self.seed}"


def rows() -> tuple[Row, ...]:
    """All rows, those that decide first."""
    table = [Row(name, "parent", 1, 0) for name in ("B", "A", "R")]
    for name, factor, seed in (
        *(("B", 8, 0), ("A", 8, 0), ("R", 4, 0), ("B", 16, 0), ("B", 8, 1), ("B", 8, 2)),
        *(("A", 8, 1), ("A", 8, 2), ("B", 4, 0), ("A", 16, 0), ("A", 4, 0)),
    ):
        table += [Row(name, method, factor, seed) for method in METHODS if name == "A" or not method.endswith("held")]
    return tuple(table)
