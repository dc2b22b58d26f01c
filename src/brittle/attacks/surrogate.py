"""Examples made on another network: an attack on what has no gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.protocol import Attack
from brittle.threats import Ball


@dataclass(frozen=True)
class FromSurrogate:
    """The answers of `attack` on `surrogate`, whatever the attacked model says (Papernot et al. 2016).

    The default looks for the surrogate's largest loss: an attack that stops at its first error ends just across its
    boundary, and tells little about another network's.

    Attributes:
        surrogate: another network for the same data, in the samples' number format, where its parameters are.
        mark: tells surrogates apart in an attack's printed form.
        attack: what is run on it.
    """

    surrogate: nn.Module = field(repr=False)
    mark: str
    attack: Attack = field(default_factory=lambda: WorstCase(APGD(50)))

    @property
    def name(self) -> str:
        """ "transfer-<attack>"."""
        return f"transfer-{self.attack.name}"

    @property
    def cost(self) -> int:
        """The attack's."""
        return self.attack.cost

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Candidates (b, *shape), as the `Attack` protocol says; `model` is not asked. Raises what the attack does."""
        home = next((p.device for p in self.surrogate.parameters()), x.device)
        answer = self.attack(self.surrogate, x.to(home), y.to(home), threat, indices=indices, seed=seed)
        return answer.detach().to(x.device)
