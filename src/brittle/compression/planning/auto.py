"""The planned method: every part's sensitivity, an optimiser over widths and ranks, the best plans assembled.

1. The evidence is cut in three: two fifths to fit layers to, two fifths to measure plans on, one fifth that only the
   outcome is measured on. A plan measured on what it was fitted to would look better the closer it was fitted.
   Samples beyond 2,500 are fitted to as well, but in the end alone: until then 1,000 do.
2. Units are ordered by what they explain (`explained`); each knob is turned alone and measured (`sensitivities`).
3. A search over widths with dynamic programming over ranks and nested sizes finds the plans of least summed loss within
   the size.
4. The best of them, and the plans of the single methods, are assembled, fitted again and measured; then neighbours of
   the best one. The one of least measured loss is the answer, fitted once more, to all of the first two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.meet import meet
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.explained import explained
from brittle.compression.planning.knobs import Knobs, knobs
from brittle.compression.planning.measure import Bench, Standing, bench
from brittle.compression.planning.mends import Refitted
from brittle.compression.planning.method import Method
from brittle.compression.planning.nested_worth import worth_a_look
from brittle.compression.planning.predict import predicted_drop
from brittle.compression.planning.samples import doubled, joined, leading, parts
from brittle.compression.planning.search import Found, Losses, Search, summed
from brittle.compression.planning.sensitivity import Badness, Cache, Sensitivity, sensitivities
from brittle.compression.planning.trials import Assembly, Trials
from brittle.compression.protocols import Evidence
from brittle.errors import ModelError, UsageError
from brittle.evaluation.checkpoint import hash_tensors
from brittle.evaluation.progress import Progress
from brittle.results.compression import Prediction

# How far below the size a plan may be.
TOLERANCE = 0.03
# Plans of the search that are assembled, at least so many steps of the width ladders apart.
_SEARCHED, _APART = 6, 3
# Of the single methods, so many of the best are tried with their layers fitted again too.
_FITTED_SINGLES = 3
# Ridges that the best plan is tried with in the end, beside the usual one.
_RIDGES = (0.01, 1.0)
# Samples that candidates are fitted to, and the rows of data for each input of a layer that the answer is fitted to.
_FITTED_TO, _ROWS_EACH = 1000, 16
# Clean and robust loss count the same where there is a threat.
_ROBUST_SHARE = 0.5


@dataclass
class Trying:
    """How hard the plan is looked for.

    Attributes:
        trials: plans that are assembled and measured, at most.
        batch_size: samples measured at once.
        cache: standings measured before; give the same for several sizes of a network.
        progress: told after each candidate and each plan.
    """

    trials: int = 24
    batch_size: int = 250
    cache: Cache = field(default_factory=Cache)
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Compressed:
    """A smaller network, not fine-tuned: the plan it was made by, and what the plan expected of it."""

    model: nn.Module
    plan: CompressionPlan
    prediction: Prediction | None
    notes: tuple[str, ...]


def auto(
    model: nn.Module,
    couplings: tuple[Coupling, ...],
    keep: float,
    evidence: Evidence,
    trying: Trying,
    rivals: Mapping[str, Method],
) -> Compressed:
    """The plan of least measured loss that keeps at most `keep` of the parameters, carried out.

    The loss is the mean cross-entropy; with a threat, half of it under the attack of `Bench`.

    Args:
        model: pixels (b, *shape) -> logits; left as it was.
        couplings: all of its couplings.
        keep: share of the parameters that stays.
        evidence: training samples, at least 50; those beyond 2,500 make the last fit better and choices no dearer.
        trying: how hard to try.
        rivals: single methods whose plans are among those assembled, so that the answer is not worse than they are.

    Raises:
        DataError: too few samples.
        UsageError: a size that no plan reaches.
        ModelError: a model in which nothing can be shrunk.
    """
    budget = int(keep * parameters(model))
    fitted, chosen, held = parts(evidence)
    quick = leading(fitted, _FITTED_TO)
    ladders = knobs(model, couplings, keep, worth_a_look(model, quick))
    if not ladders.all():
        raise ModelError("nothing in the model can be shrunk: it has no units to remove and no layer that ranks shrink")
    _check_reach(model, couplings, ladders, budget)
    board = bench(model, chosen, batch_size=trying.batch_size)
    fitted_board = bench(model, fitted, batch_size=trying.batch_size)
    fitting = doubled(fitted_board.part(0, _FITTED_TO), quick)
    scores = explained(model, couplings, fitting)
    cache = trying.cache.within(_setting(model, evidence, board))
    found = sensitivities(
        model, couplings, scores, ladders, board, fitting.x, cache, seed=evidence.seed, progress=trying.progress
    )
    share = 0.0 if evidence.threat is None else _ROBUST_SHARE
    search = Search(model, couplings, ladders, ladder_losses(ladders, found, lambda s: s.loss(share)), budget)
    trials = Trials(model, couplings, fitting, board, share, cache, trying.trials, trying.progress)
    _try(trials, search, scores, _single(model, couplings, budget, quick, rivals))
    best = trials.best()
    all_fitted = joined(doubled(fitted_board, fitted), doubled(board, chosen))
    child = replace(trials, evidence=all_fitted).build(_thorough(best.assembly))
    outcome = bench(model, held, batch_size=trying.batch_size)
    prediction = _prediction(ladders, found, trials, outcome.measure(model), outcome.measure(child), len(held.x))
    note = (
        f"auto measured {len(trials.done)} plans on {len(chosen.x)} training samples, the best one was "
        f"{best.assembly.name}; its prediction is compared on {len(held.x)} others"
    )
    return Compressed(child, best.assembly.plan, prediction, (note,))


def _thorough(assembly: Assembly) -> Assembly:
    """The same with more rows of data where its layers are fitted again."""
    mend = assembly.mend
    return replace(assembly, mend=replace(mend, rows_each=_ROWS_EACH)) if isinstance(mend, Refitted) else assembly


def _check_reach(model: nn.Module, couplings: tuple[Coupling, ...], ladders: Knobs, budget: int) -> None:
    """Refuse a size that no plan reaches, before anything is measured."""
    smallest, cost = CompressionPlan(), PlannedParameters(model, couplings)
    for knob in ladders.all():
        smallest = min(smallest, knob.turned(smallest, knob.sizes[-1]), key=cost)
    least = cost(smallest)
    if least > budget:
        raise UsageError(
            f"a size of {budget} parameters cannot be reached: auto goes down to about {least} there, ask for a larger "
            "share to keep"
        )


def ladder_losses(ladders: Knobs, found: Sensitivity, badness: Badness) -> Losses:
    """What each size of each knob adds to a badness, alone."""
    return {knob: found.added(knob, badness) for knob in ladders.all()}


def _setting(model: nn.Module, evidence: Evidence, board: Bench) -> str:
    """What standings depend on beside the plan."""
    weights = hash_tensors(*(value for value in model.state_dict().values() if isinstance(value, Tensor)))
    samples = hash_tensors(evidence.x, evidence.y)
    return f"{weights} {samples} {evidence.threat} {evidence.seed} {board.batch_size} {board.steps}"


def _single(
    model: nn.Module,
    couplings: tuple[Coupling, ...],
    budget: int,
    evidence: Evidence,
    rivals: Mapping[str, Method],
) -> list[Assembly]:
    """The single methods at this size, each in its own way; one that cannot reach it is left out."""
    cost, plans = PlannedParameters(model, couplings), []
    for name, method in rivals.items():
        assert method.family is not None
        try:
            plan = meet(method.family(model, couplings, evidence, method.how), cost, budget, TOLERANCE)
        except (UsageError, ModelError):
            continue
        scores = method.how.score(model, couplings, evidence) if plan.units else {}
        plans.append(Assembly(name, plan, method.how.mend, scores))
    return plans


def _try(
    trials: Trials,
    search: Search,
    scores: Mapping[str, Tensor],
    singles: Sequence[Assembly],
) -> None:
    """Assemble plans until as many as wanted were measured; see the top of the file for which."""

    def planned(found: Found) -> None:
        full = search.filled(found)
        if full.parameters >= (1 - TOLERANCE) * search.budget:
            trials.run(Assembly("planned", full.plan, Refitted(), scores, full.gap))

    for found in search.best(_SEARCHED, _APART):
        planned(found)
    ranked = sorted(singles, key=lambda one: trials.run(one).loss)
    for single in [one for one in ranked if not isinstance(one.mend, Refitted)][:_FITTED_SINGLES]:
        trials.run(Assembly(f"{single.name}, fitted again", single.plan, Refitted(), scores))
    if not trials.done:
        raise UsageError(
            f"no plan comes within {TOLERANCE:.0%} below {search.budget} parameters: the network's steps are too "
            "coarse there, ask for another share to keep"
        )
    while len(trials.done) < trials.most:
        before = trials.best()
        for found in search.neighbours(before.assembly.plan):
            if len(trials.done) < trials.most:
                planned(found)
        if trials.best() is before:
            break
    best = trials.best().assembly
    for ridge in _RIDGES:
        trials.run(replace(best, name=f"{best.name}, ridge {ridge:g}", mend=Refitted(ridge)))


def _prediction(
    ladders: Knobs, found: Sensitivity, trials: Trials, parent: Standing, child: Standing, samples: int
) -> Prediction:
    """What the parts and the other plans say about the best plan, against its own outcome on the held samples.

    Drops are predicted on the samples that choose and taken off the parent's accuracy on the held ones.
    """
    best = trials.best().assembly
    plan = best.plan

    def accuracy(score: Callable[[Standing], float], whole: float) -> float:
        losses = ladder_losses(ladders, found, lambda standing: -score(standing))
        base = score(found.base)
        rest = [t for t in trials.done if t.assembly.plan != plan and isinstance(t.assembly.mend, Refitted)]
        others = [(summed(ladders, losses, t.assembly.plan), base - score(t.standing)) for t in rest]
        drop = predicted_drop(summed(ladders, losses, plan), others)
        return min(1.0, max(0.0, whole - drop))

    robust = trials.bench.threat is not None
    return Prediction(
        n=samples,
        predicted_clean=accuracy(lambda s: s.clean, parent.clean),
        measured_clean=child.clean,
        predicted_robust=accuracy(lambda s: s.robust, parent.robust) if robust else None,
        measured_robust=child.robust if robust else None,
        gap=best.gap,
    )
