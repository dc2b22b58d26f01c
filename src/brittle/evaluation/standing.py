"""What a cascade of attacks has done so far: the state between two batches.

Legend: n samples, b a batch of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.attacks.losses import cross_entropy, margin
from brittle.evaluation.checkpoint import State
from brittle.results.robustness import AttackStep


@dataclass(frozen=True)
class Attacked:
    """What a cascade of attacks left standing.

    Attributes:
        right: (n,) bool, classified correctly without a perturbation.
        survived: (n,) bool, right and not broken by any attack: its mean is an upper bound on robust accuracy.
        x_adv: (n, *shape), the adversarial example, else the try of largest cross-entropy; x itself where the model
            is wrong already.
        loss: (n,) the largest cross-entropy (nats) met at x and at the attacks' answers. Attacks stop at the first
            error, so it is a loose lower bound on the worst loss; `worst_losses` gives a tighter one.
        steps: accuracy left after each attack, in order.
        complete: False when the deadline cut the cascade short; the last step is then named "... (stopped)".
    """

    right: Tensor
    survived: Tensor
    x_adv: Tensor
    loss: Tensor
    steps: tuple[AttackStep, ...]
    complete: bool

    @property
    def accuracy(self) -> float:
        """Share of all n samples that survived."""
        return float(self.survived.double().mean())


@dataclass
class Standing:
    """A run of attacks between two batches.

    Attributes:
        right, survived, x_adv, loss: as in `Attacked`.
        margin: (n,) the largest margin met at x and at the attacks' answers: how near each sample is to an error.
        queue: (r,) the samples that the present attack meets, in its order.
        done: how many of the queue it has met.
        attack: the present attack's number, -1 before the first.
        steps: of the attacks that are through.
    """

    right: Tensor
    survived: Tensor
    x_adv: Tensor
    loss: Tensor
    margin: Tensor
    queue: Tensor
    done: int
    attack: int
    steps: tuple[AttackStep, ...]

    @classmethod
    def begin(cls, x: Tensor, y: Tensor, right: Tensor, logits: Tensor) -> Standing:
        """Before the first attack, from the logits (n, classes) at x (n, *shape)."""
        loss, nearest = cross_entropy(logits, y).to(x.dtype), margin(logits, y).to(x.dtype)
        nobody = torch.empty(0, dtype=torch.int64, device=x.device)
        return cls(right, right.clone(), x.detach().clone(), loss, nearest, nobody, 0, -1, ())

    @classmethod
    def read(cls, state: State | None, device: torch.device) -> Standing | None:
        """What `state` gave, on the samples' device; None for None."""
        if state is None:
            return None
        steps = tuple(AttackStep(str(name), float(accuracy)) for name, accuracy in state.values["steps"])
        tensors = {name: tensor.to(device) for name, tensor in state.tensors.items()}
        return cls(**tensors, done=int(state.values["done"]), attack=int(state.values["attack"]), steps=steps)

    def state(self) -> State:
        """Everything, to be kept."""
        names = ("right", "survived", "x_adv", "loss", "margin", "queue")
        steps = [[step.attack, step.accuracy] for step in self.steps]
        values = {"done": self.done, "attack": self.attack, "steps": steps}
        return State({name: getattr(self, name) for name in names}, values)

    def line_up(self, attack: int) -> None:
        """Queue the survivors for the attack of that number, nearest to an error first: a deadline may come."""
        rows = self.survived.nonzero()[:, 0]
        self.queue = rows[self.margin[rows].argsort(descending=True, stable=True)]
        self.done, self.attack = 0, attack

    def take(self, part: Tensor, answer: Tensor, logits: Tensor, label: Tensor) -> None:
        """Note an attack's answers (b, *shape) for the samples `part` (b,), the next of the queue."""
        value = cross_entropy(logits, label).to(self.loss)
        nearest = margin(logits, label).to(self.margin)
        broken = (logits.argmax(1) != label).to(self.survived.device)
        better = broken | (value > self.loss[part])
        self.x_adv[part[better]] = answer.to(self.x_adv)[better]
        self.loss[part] = torch.fmax(self.loss[part], value)
        self.margin[part] = torch.fmax(self.margin[part], nearest)
        self.survived[part] = ~broken
        self.done += len(part)

    def finish(self, name: str) -> None:
        """The present attack is through."""
        self.steps = (*self.steps, AttackStep(name, self._accuracy()))

    def result(self, stopped: str | None) -> Attacked:
        """The answer; `stopped` names the attack that a deadline cut short."""
        steps = self.steps if stopped is None else (*self.steps, AttackStep(stopped, self._accuracy()))
        return Attacked(self.right, self.survived, self.x_adv, self.loss, steps, complete=stopped is None)

    def _accuracy(self) -> float:
        return float(self.survived.double().mean())
