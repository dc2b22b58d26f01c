"""Transfer learning: an encoder trained on one data set, a linear head for another one.

Does the structure that an encoder was trained to have, and what it costs in robustness, go along to another task? The
encoder is all layers before the head (Barsbey et al., ICLR 2026, look at transfer from a compressible encoder).

Legend: n samples, w width of the representation, c classes of the target.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.evaluation.progress import Progress
from brittle.models.edits import describe
from brittle.models.frozen import frozen
from brittle.models.messages import first_line
from brittle.models.recipe import attach, recipe_of
from brittle.results.training import Tracked, TrackedLayer
from brittle.training.engine import train as train_by_plan
from brittle.training.head import head_name, refit_head
from brittle.training.noise import stream
from brittle.training.plan import Plan
from brittle.training.tracking import Tracker


@dataclass(frozen=True)
class Transfer:
    """One encoder on two tasks.

    `head` names the linear head, which is no part of the encoder; `source` is of the net before the transfer on its own
    task, `target` of the net after it on the new one. Structure is of all layers; `encoder` leaves the head out.
    """

    head: str
    source: Tracked
    target: Tracked

    def encoder(self, seen: Tracked) -> tuple[TrackedLayer, ...]:
        """The encoder's layers in `source` or `target`."""
        return tuple(layer for layer in seen.layers if layer.name != self.head)


def transfer(
    model: nn.Module,
    train: Split,
    validation: Split,
    *,
    classes: int,
    plan: Plan | None = None,
    penalty: float = 1e-4,
    batch_size: int = 256,
    seed: int,
    progress: Progress | None = None,
) -> nn.Module:
    """A copy of `model` for another task, in eval mode: its encoder, and a linear head of `classes` logits.

    The head is a multinomial logistic regression on the frozen encoder's representation (see `refit_head`). With a
    `plan` the whole net is then trained by it (fine-tuned), the head from there; without one the encoder stays as it
    is, to the bit.

    Args:
        model: trained on the source; pixels (b, *shape) -> logits, with a linear head. Left as it is.
        train: target samples to learn from.
        validation: target samples to choose the epoch by; used with a plan only.
        classes: c >= 2.
        plan: of the fine-tuning; None freezes the encoder.
        penalty: strength of the head's L2 penalty, > 0.
        batch_size: the most samples the model sees at once while the head is fitted.
        seed: of the fine-tuning.
        progress: told after each epoch of the fine-tuning.

    Raises:
        UsageError: fewer than two classes, or labels beyond them; a plan that cannot be carried out.
        ModelError: samples that the model does not take, or no linear head.
    """
    highest = max(int(train.y.max()), int(validation.y.max()))
    if classes < 2 or highest >= classes:
        raise UsageError(
            f"the target needs at least 2 classes that cover its labels, got {classes} and labels up to {highest}: "
            "give the number of its classes"
        )
    _check_takes(model, train.x)
    child = refit_head(
        with_head(model, train.x, classes, seed=seed), train.x, train.y, penalty=penalty, batch_size=batch_size
    )
    if plan is None:
        return child.eval()
    return train_by_plan(child, train, validation, plan, seed=seed, progress=progress).model


def with_head(model: nn.Module, x: Tensor, classes: int, *, seed: int) -> nn.Module:
    """A copy of `model` with a head of `classes` logits: its own where it has as many, else a new random one.

    New weights are uniform in +-1/sqrt(w), as torch's own. A zoo model's recipe follows.

    Args:
        model: with a linear head.
        x: samples (n, *shape) that the model takes.
        classes: c.
        seed: of the weights.

    Raises:
        ModelError: no linear head, or a low-rank one that would have to change.
    """
    name = head_name(model, x[:2])
    child = copy.deepcopy(model)
    old = child.get_submodule(name)
    assert isinstance(old, nn.Linear)
    if old.out_features == classes:
        return child
    recipe = recipe_of(model)
    parent, _, leaf = name.rpartition(".")
    if recipe is not None and leaf == "second":
        raise ModelError(
            f"the head {parent!r} is of low rank and has {old.out_features} logits, not {classes}: factorise it after "
            "the transfer"
        )
    new = nn.utils.skip_init(nn.Linear, old.in_features, classes, bias=old.bias is not None).to(old.weight)
    bound, generator = old.in_features**-0.5, stream(seed, "head")
    with torch.no_grad():
        for parameter in new.parameters():
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((2 * drawn - 1) * bound)
    setattr(child.get_submodule(parent), leaf, new)
    if recipe is not None:
        attach(child, describe(child, replace(recipe, classes=classes)))
    return child


def compare_tasks(
    before: nn.Module, after: nn.Module, source: Split, target: Split, tracker: Tracker, *, seed: int
) -> Transfer:
    """Structure and robustness of the net before the transfer on `source`, and of the one after it on `target`.

    Give splits that nothing was trained on or chosen by; `tracker` says in which balls, by which attack, and on how
    many samples.

    Raises:
        ModelError: samples that a model does not take, or no linear head.
    """
    _check_takes(before, source.x)
    _check_takes(after, target.x)
    return Transfer(
        head=head_name(after, target.x[:2]),
        source=_seen(before, source, tracker, seed),
        target=_seen(after, target, tracker, seed),
    )


def _seen(model: nn.Module, split: Split, tracker: Tracker, seed: int) -> Tracked:
    with frozen(model):
        return tracker(model, split, seed=seed)


def _check_takes(model: nn.Module, x: Tensor) -> None:
    like = next(model.parameters(), torch.zeros(()))
    try:
        with frozen(model), torch.no_grad():
            model(x[:2].to(like))
    except Exception as error:  # whatever the model's code raises
        raise ModelError(
            f"the encoder does not take samples of shape {tuple(x.shape[1:])} ({first_line(error)}): bring the target "
            "to the shape of the source"
        ) from None
