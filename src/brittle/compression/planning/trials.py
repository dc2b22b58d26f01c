"""Plans assembled and measured: parts that were harmless alone need not be harmless together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from torch import Tensor, nn

from brittle.compression.carry_out import carry_out_with
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.measure import Bench, Standing
from brittle.compression.planning.mends import Mend
from brittle.compression.planning.sensitivity import Cache
from brittle.compression.protocols import Evidence
from brittle.evaluation.progress import Progress


@dataclass(frozen=True, eq=False)
class Assembly:
    """A plan with all that carrying it out needs.

    Attributes:
        name: how it was found and mended: two of the same name and plan are the same.
        plan: what it keeps.
        mend: how the layers that stay make up for what went.
        scores: which units stay, (u,) by coupling.
        gap: of the search that found it, see `Found`; None for a plan from elsewhere.
    """

    name: str
    plan: CompressionPlan
    mend: Mend
    scores: Mapping[str, Tensor]
    gap: float | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """An assembly that was measured; `loss` is what it is chosen by."""

    assembly: Assembly
    standing: Standing
    loss: float


@dataclass(eq=False)
class Trials:
    """Assembles plans of one network and measures them, each once.

    Attributes:
        model: the network.
        couplings: all of its couplings.
        evidence: what layers are fitted to, clean and attacked samples, and what scores look at.
        bench: what is measured on.
        share: of the robust loss in the loss that is judged by.
        cache: what need not be measured again.
        most: how many are wanted in all, for the progress.
    """

    model: nn.Module
    couplings: Sequence[Coupling]
    evidence: Evidence
    bench: Bench
    share: float
    cache: Cache
    most: int
    progress: Progress | None = None
    done: list[Trial] = field(default_factory=list)

    def run(self, assembly: Assembly) -> Trial:
        """Assemble and measure, or answer what was measured before."""
        key = _key(assembly)
        for trial in self.done:
            if _key(trial.assembly) == key:
                return trial
        standing = self.cache.get(key, lambda: self.bench.measure(self.build(assembly)))
        trial = Trial(assembly, standing, standing.loss(self.share))
        self.done.append(trial)
        if self.progress is not None:
            self.progress("plans", min(len(self.done), self.most), self.most)
        return trial

    def build(self, assembly: Assembly) -> nn.Module:
        """The child."""
        how, x, seed = assembly.mend, self.evidence.x, self.evidence.seed
        return carry_out_with(self.model, assembly.plan, how, self.couplings, assembly.scores, x, seed=seed)

    def best(self) -> Trial:
        """The trial of least loss, the first of equal ones."""
        return min(self.done, key=lambda trial: trial.loss)


def _key(assembly: Assembly) -> str:
    plan = assembly.plan
    sizes = [sorted(part.items()) for part in (plan.units, plan.ranks)]
    modes = sorted(plan.modes.items(), key=itemgetter(0))
    return f"assembled {assembly.name} {sizes}{modes or ''}"
