"""The rows of the compression table: parents, rivals and ours, all given the same recovery.

Parents are nets of `nets.fashion_cnn_recipe` (335 k parameters): A trained plainly, B with PGD at l_inf 8/255 on half
of each batch. Every row is recovered by the same loss, radius and number of gradient evaluations; a row of ours may
differ in what is recovered (the plan, how its weights were fitted) and in what is held meanwhile.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from benchmarks.adversarial_training import LONG, THREAT
from benchmarks.nets import FASHION, KEPT, fashion_cnn_recipe
from torch import nn

from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.factorise import factorise
from brittle.compression.meet import meet
from brittle.compression.methods import compress_to
from brittle.compression.planning.auto import Trying
from brittle.compression.protocols import Evidence
from brittle.compression.ranks import uniform_ranks
from brittle.compression.softened import soften
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.models.file import load, save
from brittle.models.recipe import build
from brittle.training.adversarial import PGDTraining
from brittle.training.engine import train
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Plan
from brittle.training.protocols import Objective
from brittle.training.recovery.settings import Recovery

PGD = PGDTraining(THREAT, steps=5, step_size=0.5)
# Two epochs of plain training, one of the parent's own adversarial training: half of each batch, five steps.
RECOVERY = {
    "A": Recovery("plain", 2.0, learning_rate=5e-4),
    "B": Recovery("adversarial", 3.5, THREAT, steps=5, step_size=0.5, share=0.5, learning_rate=2e-3),
}
FROM_SCRATCH = 2e-3  # the rate of the parents: at the recoveries' rates a fresh net learns too little
EVIDENCE, PLANNED_FROM = 1000, 2500
TAU, CONDITION = 1.2, 0.1  # pairs of this net have condition numbers of 1.15 to 4.5 before they are held
SOFTER = 0.2


@dataclass(frozen=True)
class Made:
    """What is recovered, and how."""

    child: nn.Module
    how: Recovery
    plan: str


def parent(name: str) -> nn.Module:
    """Parent A or B, trained once and kept; about one and seven CPU minutes."""
    kept = KEPT / f"compression-{name}.safetensors"
    if not kept.exists():
        data = load_data(FASHION)
        objective: Objective = {"A": CrossEntropy(), "B": PGD}[name]
        how = {"A": LONG, "B": replace(LONG, epochs=10)}[name]
        model = build(fashion_cnn_recipe(), seed=0)
        train(model, data.split("train"), data.split("validation"), Plan(how, objective), seed=0)
        KEPT.mkdir(exist_ok=True)
        save(model.eval(), kept)
    return load(kept)


def _evidence(split: Split, count: int, seed: int) -> Evidence:
    part = split.take(count, seed)
    return Evidence(part.x, part.y, THREAT, seed)


def _single(method: str) -> Callable[[nn.Module, str, int, Split, int], Made]:
    def make(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
        done = compress_to(model, method, 1 / factor, _evidence(split, EVIDENCE, seed))
        return Made(done.model, RECOVERY[name], f"{dict(done.plan.units)} {dict(done.plan.ranks)}")

    return make


def _svd(**changes: object) -> Callable[[nn.Module, str, int, Split, int], Made]:
    """Truncated SVD, one share of the rank in every layer but the first convolution and the head, as is usual."""

    def make(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
        family = uniform_ranks(model, ["conv2", "fc1"])
        plan = meet(family, PlannedParameters(model, ()), parameters(model) / factor)
        return Made(factorise(model, plan.ranks), replace(RECOVERY[name], **changes), str(dict(plan.ranks)))

    return make


def _filters(everywhere: bool) -> Callable[[nn.Module, str, int, Split, int], Made]:
    """Magnitude pruning by torch-pruning: the largest ratio that leaves the size."""

    def pruned(model: nn.Module, ratio: float) -> nn.Module:
        child = copy.deepcopy(model)
        for p in child.parameters():
            p.requires_grad_(True)
        pruner = tp.pruner.BasePruner(
            child,
            torch.rand(2, 1, 28, 28),
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            max_pruning_ratio=0.97,
            global_pruning=everywhere,
            ignored_layers=[child.get_submodule("head")],
        )
        pruner.step()
        return child

    def make(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
        wanted, low, high = parameters(model) / factor, 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if parameters(pruned(model, middle)) <= wanted else (middle, high)
        child = pruned(model, high)
        widths = [len(child.get_submodule(layer).weight) for layer in ("conv1", "conv2", "fc1")]
        return Made(child, RECOVERY[name], str(widths))

    return make


def _narrow(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
    """The parent's shape with every width multiplied by the same share, weights drawn anew."""
    share, wanted = 1.0, parameters(model) / factor
    while True:
        share -= 0.002
        sizes = {"channels": (round(32 * share), round(64 * share)), "fc": (round(96 * share),)}
        fresh = build(replace(fashion_cnn_recipe(), options=sizes), seed=seed)
        if parameters(fresh) <= wanted:
            return Made(fresh, replace(RECOVERY[name], learning_rate=FROM_SCRATCH), str(sizes))


def _ours(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
    """The robust plan. Recovered without attacks, its function is made softer and every layer's norm is held."""
    evidence = _evidence(split, PLANNED_FROM, seed)
    done = compress_to(model, "auto", 1 / factor, evidence, trying=Trying())
    plan = f"{dict(done.plan.units)} {dict(done.plan.ranks)}"
    if name == "B":
        return Made(done.model, RECOVERY[name], plan)
    how = replace(RECOVERY[name], learning_rate=FROM_SCRATCH, hold_scale=True, layers=("*",))
    return Made(soften(done.model, SOFTER), how, plan)


def _held(make: Callable[[nn.Module, str, int, Split, int], Made]) -> Callable[[nn.Module, str, int, Split, int], Made]:
    """A rival that recovers as ours does on A: softer logits, every norm held, the same rate."""

    def made(model: nn.Module, name: str, factor: int, split: Split, seed: int) -> Made:
        done = make(model, name, factor, split, seed)
        how = replace(done.how, learning_rate=FROM_SCRATCH, hold_scale=True, layers=("*",))
        return Made(soften(done.child, SOFTER), how, done.plan)

    return made


METHODS: dict[str, Callable[[nn.Module, str, int, Split, int], Made]] = {
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
    table = [Row(name, "parent", 1, 0) for name in ("B", "A")]
    for name, factor, seed in (
        *(("B", 8, 0), ("A", 8, 0), ("B", 16, 0), ("B", 8, 1), ("B", 8, 2)),
        *(("A", 8, 1), ("A", 8, 2), ("B", 4, 0), ("A", 16, 0), ("A", 4, 0)),
    ):
        table += [Row(name, method, factor, seed) for method in METHODS if name == "A" or not method.endswith("held")]
    return tuple(table)
