"""What each candidate costs the network alone: one coupling narrowed or one layer cut, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor, nn

from brittle.compression.carry_out import carry_out_with
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.pairs import kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.knobs import Knob, Knobs
from brittle.compression.planning.ladder import interpolated
from brittle.compression.planning.measure import Bench, Standing
from brittle.compression.planning.mends import BATCH, Cut, fittable
from brittle.compression.planning.paired import Moments, paired_moments
from brittle.compression.planning.refit import RIDGE, refit
from brittle.evaluation.checkpoint import Memory, kept
from brittle.evaluation.progress import Progress

# What a standing is judged by; larger is worse.
Badness = Callable[[Standing], float]


@dataclass
class Cache:
    """Standings that were measured before, by what was measured; in a folder too where there is a memory.

    One cache serves several sizes of a network, whose ladders share most rungs, and several networks: `within` keeps
    them apart.
    """

    memory: Memory | None = None
    known: dict[str, Standing] = field(default_factory=dict)
    scope: str = ""

    def within(self, scope: str) -> Cache:
        """The same cache for what is measured in one setting: a network, samples, a threat."""
        return Cache(self.memory, self.known, scope)

    def get(self, key: str, measure: Callable[[], Standing]) -> Standing:
        """The standing under this key, measured at the first call."""
        full = f"{self.scope} {key}"
        if full not in self.known:
            where = "" if self.memory is None else self.memory.key("standing", of=full)
            self.known[full] = kept(self.memory, where, Standing, measure)
        return self.known[full]


@dataclass(frozen=True)
class Sensitivity:
    """The standing of the network itself, and of each candidate: by knob, then by size."""

    base: Standing
    standings: Mapping[Knob, Mapping[int, Standing]]

    def added(self, knob: Knob, badness: Badness) -> tuple[float, ...]:
        """How much worse each of the knob's sizes is than the whole, >= 0 and never less for a smaller size.

        Between measured sizes linear in the logarithm of the size. What a candidate seems to gain, or to gain against
        a larger size, is taken for noise of the samples.
        """
        base, found = badness(self.base), self.standings[knob]
        sizes = [knob.sizes[i] for i in knob.measured]
        worse = [0.0, *(badness(found[size]) - base for size in sizes[1:])]
        rising = list(accumulate(worse, max))
        return tuple(interpolated(sizes, rising, size) for size in knob.sizes)


def sensitivities(
    model: nn.Module,
    couplings: Sequence[Coupling],
    scores: Mapping[str, Tensor],
    knobs: Knobs,
    bench: Bench,
    x: Tensor,
    cache: Cache,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure every candidate alone. Layers that it changes are fitted again, from the parent's own moments.

    Args:
        model: the network.
        couplings: all of its couplings.
        scores: which units stay, (u,) by coupling.
        knobs: the ladders; their measured sizes are the candidates.
        bench: what they are measured on.
        x: pixels that layers are fitted to, clean and attacked.
        cache: what need not be measured again.
        seed: of the places that moments are taken at.
        progress: told after each candidate.
    """
    mend = Alone(model, x, seed)
    base = cache.get("base", lambda: bench.measure(model))
    candidates = knobs.candidates()
    standings: dict[Knob, dict[int, Standing]] = {knob: {} for knob in knobs.all()}
    for done, (knob, size) in enumerate(candidates):
        plan = knob.turned(CompressionPlan(), size)

        def measure(plan: CompressionPlan = plan) -> Standing:
            return bench.measure(carry_out_with(model, plan, mend, couplings, scores, x, seed=seed))

        standings[knob][size] = cache.get(knob.key(size), measure)
        if progress is not None:
            progress("sensitivities", done + 1, len(candidates))
    return Sensitivity(base, standings)


class Alone:
    """Mends a child in which one thing changed: layers whose inputs, rank or modes changed are fitted again.

    All else is the parent's, so what these layers receive is a part of what the parent's layers do: the moments are
    taken once for each layer and kept.
    """

    def __init__(self, parent: nn.Module, x: Tensor, seed: int) -> None:
        self._parent, self._x, self._seed = parent, x, seed
        self._layers = fittable(parent, parent, x)
        self._moments: dict[str, Moments] = {}

    def __call__(self, child: nn.Module, cut: Cut, x: Tensor, *, seed: int) -> nn.Module:
        """The mended network."""
        layers = [name for name in self._layers if cut.changes(name)]
        return refit(child, layers, cut.ranks, lambda name: self._source(name, cut), RIDGE, cut.nested)

    def _source(self, name: str, cut: Cut) -> Moments:
        if name not in self._moments:
            self._moments[name] = paired_moments(
                self._parent, self._parent, name, self._x, batch_size=BATCH, seed=self._seed
            )
        rows, columns, *window = kernel_shape(self._parent.get_submodule(name))
        taps = torch.arange(torch.Size(window).numel())
        outputs, inputs = cut.stays(name, "out"), cut.stays(name, "in")
        outputs = torch.arange(rows) if outputs is None else outputs
        inputs = torch.arange(columns) if inputs is None else inputs
        return self._moments[name].restricted(outputs, (inputs[:, None] * len(taps) + taps).flatten())
