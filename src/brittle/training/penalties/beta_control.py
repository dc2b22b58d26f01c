"""Even dominant neurons: the intervention of Barsbey et al., ICLR 2026, on the spread beta of the leading row norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from brittle.compressibility.residual import count
from brittle.errors import UsageError
from brittle.training.penalties.sums import Direct, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class BetaControl:
    """The variance of the largest row norms `nu_i = ||w_i||_1`, the top 5 % of them and at least two.

    `mean((nu_i - mean nu)^2)` over these rows; 0 is beta = 0. It grows with the square of the scale, and reaches 0 for
    a zero layer too: hold the scale, or watch it. 0 for a layer of one row.

    Raises:
        UsageError: a share outside (0, 1].
    """

    share: float = 0.05
    name: str = field(default="beta_control", init=False)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"beta control needs a share of the rows in (0, 1], got {self.share!r}")

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(self._spread, weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)

    def _spread(self, weight: Tensor) -> Tensor:
        rows = weight.shape[-2]
        leading = weight.abs().sum(-1).topk(min(rows, max(2, count(self.share, rows)))).values
        return leading.var(-1, correction=0)
