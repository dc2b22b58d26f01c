"""Audits of models without gradients: which attacks take the others' place, and what may then be concluded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.protocol import Attack
from brittle.attacks.square import Square
from brittle.attacks.surrogate import FromSurrogate
from brittle.auditing.prepare import Twin, twin
from brittle.errors import ModelError
from brittle.evaluation.masking_black_box import black_box_signs
from brittle.evaluation.model_checks import model_checks
from brittle.operators.network import Network, read_network
from brittle.results.audit import Audit, Check, Verdict
from brittle.results.layer import Unmeasured
from brittle.threats import Ball

# The preflight's finding by which an audit of a model without gradients is known.
NO_GRADIENTS = "attacks without gradients"


@dataclass(frozen=True)
class Budget:
    """Work of an effort: gradients of the surrogate, and queries of the model, for each sample."""

    steps: int
    queries: int


BUDGETS = {"quick": Budget(20, 300), "standard": Budget(50, 1000), "thorough": Budget(100, 5000)}
# The preflight's own attack
_PROBE = Square(queries=200)


def black_box_attacks(
    effort: str, surrogate: nn.Module | None, x: Tensor, y: Tensor, *, dtype: torch.dtype, device: str
) -> tuple[Attack, ...]:
    """Examples from the surrogate, where there is one with gradients, then Square on what stands.

    Raises:
        ModelError, DataError: a surrogate that is for other data.
    """
    budget = BUDGETS[effort]
    square = Square(queries=budget.queries)
    other = None if surrogate is None else twin(surrogate, x, y, dtype, device, black_box=True)
    if other is None or not other.gradients or other.dtype != dtype:
        return (square,)
    mark = weights_hash(other.model)
    losses = ("ce", "margin")
    return (*(FromSurrogate(other.model, mark, WorstCase(APGD(budget.steps, loss))) for loss in losses), square)


def weights_hash(model: nn.Module) -> str:
    """The start of the SHA-256 of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()) + sorted(model.named_buffers()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def black_box_preflight(
    model: Twin, x: Tensor, y: Tensor, threat: Ball, attacks: tuple[Attack, ...], *, batch_size: int, seed: int
) -> tuple[Check, ...]:
    """What `preflight` finds, with signs for attacks that ask for logits alone.

    Raises:
        ModelError: a finding that would make every number meaningless.
    """
    checks = model_checks(model.model, x, y, batch_size=batch_size)
    for check in checks:
        if check.verdict == "problem":
            raise ModelError(check.advice)
    names = ", ".join(attack.name for attack in attacks)
    lacks = "" if len(attacks) > 1 else "; with the network that it was made from as --against, its examples are tried"
    advice = (
        f"no gradient reaches the pixels, so {names} take the place of gradient attacks: robust accuracy is a looser "
        f"upper bound. Certificates, directions, universal perturbations and radii are not measured{lacks}"
    )
    signs = black_box_signs(model.model, x, y, threat, _PROBE, batch_size=batch_size, seed=seed)
    return (*checks, Check(NO_GRADIENTS, "warning", advice), *signs)


def read_black_box(model: nn.Module, input_shape: tuple[int, ...]) -> Network:
    """`read_network` for models whose weights may all be packed away; those are listed as unmeasured."""
    packed = tuple(
        Unmeasured(f"{name}.weight", tuple(module.weight().shape), "packed integers of torch's quantised layers")
        for name, module in model.named_modules()
        if hasattr(module, "_packed_params") and callable(getattr(module, "weight", None))
    )
    if not any(True for _ in model.parameters()):
        return Network(None, (), packed, "it has no parameters that can be read")
    found = read_network(model, input_shape)
    return replace(found, unmeasured=(*found.unmeasured, *packed))


def without_gradients(audit: Audit) -> bool:
    """Whether an audit had to do without gradients."""
    return any(check.check == NO_GRADIENTS for check in audit.preflight)


def fair_verdict(audit: Audit, base: Audit) -> Audit:
    """A compared audit whose verdict claims no more than attacks of unlike strength allow.

    Where the child alone lacks gradients its drop is underestimated, so "not brittle" becomes undecided; where the base
    alone does, it is overestimated, so "brittle" does.
    """
    mine, theirs = without_gradients(audit), without_gradients(base)
    if audit.verdict is None or mine == theirs or audit.verdict.brittle is not theirs:
        return audit
    who = "the model" if mine else "the base"
    why = (
        f"{who} was attacked without gradients, the other with: the drop is only a {'lower' if mine else 'upper'} bound"
    )
    return replace(audit, verdict=Verdict(None, (*audit.verdict.why, why), audit.verdict.max_drop_points))
