"""Small trained digits nets and quick audits that several tests share; each is made once per run and never changed."""

from __future__ import annotations

import copy
from functools import cache

from torch import nn

from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one
from brittle.compression.factorise import factorise
from brittle.compression.prune import prune_neurons
from brittle.data.load import load_data
from brittle.models.recipe import Recipe, build
from brittle.results.audit import Audit
from brittle.training.loop import Budget, fit

QUICK = AuditOptions(epsilon={"linf": (0.05,), "l2": (0.5,)}, samples=60, effort="quick")


def trained() -> nn.Module:
    """64-24-16-10, about 95 % right; a copy, so do with it what you like."""
    return copy.deepcopy(_trained())


def low_rank() -> nn.Module:
    """Its hidden layers at rank 4, not fine-tuned: clearly worse."""
    return factorise(_trained(), {"fc1": 4, "fc2": 4})


def pruned() -> nn.Module:
    """12 and 8 neurons kept, not fine-tuned."""
    return prune_neurons(_trained(), (12, 8))


@cache
def quick_audit(name: str) -> Audit:
    """The audit of "trained", "low_rank" or "pruned" with `QUICK`."""
    made = {"trained": trained, "low_rank": low_rank, "pruned": pruned}[name]()
    return audit_one(Subject(made, name), load_data("digits"), QUICK)


@cache
def _trained() -> nn.Module:
    data = load_data("digits")
    net = build(Recipe("mlp", (1, 8, 8), 10, {"widths": [24, 16]}), seed=0)
    return fit(net, data.split("train"), data.split("validation"), Budget(epochs=12, learning_rate=1e-2), seed=0)
