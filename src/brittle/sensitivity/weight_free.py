"""What an adversary without the target's weights reaches: through another net, or through the target's logits alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.evaluation.batches import prepare
from brittle.evaluation.progress import Progress
from brittle.results.perturbations import WeightFree
from brittle.sensitivity.explained_interval import damage_share
from brittle.sensitivity.weight_free_kinds import KINDS, Effort, Job
from brittle.threats import Ball


def weight_free(
    target: nn.Module,
    x_fit: Tensor,
    y_fit: Tensor,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    surrogates: Mapping[str, nn.Module],
    kinds: Sequence[str] = tuple(KINDS),
    effort: Effort | None = None,
    batch_size: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[WeightFree, ...]:
    """Surrogates and queries against `target`, as shares of what the same kind does with the target's own weights.

    For every kind one row for each surrogate, then one for queries alone:

    * "examples": Auto-PGD on a surrogate, one perturbation for each sample; by queries, Square on the target
      (l_inf and l_2 only: no row for other norms).
    * "universal": one perturbation for all samples, fitted on a surrogate, or from queries (`query_universal`).
    * "directions": the leading margin directions of a surrogate, or from queries (`query_directions`). They are scored
      by a search confined to their span that asks the target for logits only (`SpanSearch`), the white-box directions
      too: the rows compare directions, not ways to use them.

    `queries` counts forward passes for each sample that something is fitted on (0 for a surrogate); the search that
    scores directions asks `SpanSearch.cost` times more for each scoring sample, for every row alike. `accuracy` and
    `white_box` are the target's accuracies under the row's perturbations and under those made with its own weights.
    `damage_share` is samples broken over samples that the white box breaks; above 1 the white box was the weaker one, a
    sign of masked gradients.

    Args:
        target: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        x_fit: fitting pixels (m, *shape).
        y_fit: their labels (m,), int64.
        x: scoring pixels (n, *shape), none of them in x_fit.
        y: their labels (n,), int64.
        threat: the ball.
        surrogates: nets for the same data by name; may be empty. The parent of a compressed net, or a child.
        kinds: names in `KINDS`.
        effort: how hard to work.
        batch_size: the most samples a net sees at once.
        seed: of all randomness.
        progress: told after each kind.

    Raises:
        UsageError: an unknown kind, or numbers out of range.
        DataError, ModelError: samples or nets that cannot be used.
    """
    for name in kinds:
        if name not in KINDS:
            raise UsageError(f"unknown kind of adversary {name!r}: expected one of {', '.join(KINDS)}")
    prepare(x_fit, y_fit, None, batch_size)
    right, _ = clean_right(target, x, y, batch_size)
    for surrogate in surrogates.values():
        clean_right(surrogate, x, y, batch_size)
    job = Job(x_fit, y_fit, x, y, threat, effort or Effort(), batch_size, seed)
    rows: list[WeightFree] = []
    for done, name in enumerate(kinds, 1):
        kind = KINDS[name]
        white = kind.right(target, kind.weights(target, job), job)

        made = [("surrogate", source, kind.weights(net, job), 0) for source, net in surrogates.items()]
        if kind.possible(threat):
            made.append(("queries", "", *kind.queries(target, job)))
        for knowledge, source, perturbation, queries in made:
            stands = kind.right(target, perturbation, job)
            rows.append(_row(knowledge, name, threat, source, queries, right, stands, white, seed))
        if progress is not None:
            progress("adversaries without the weights", done, len(kinds))
    return tuple(rows)


def _row(
    knowledge: str,
    kind: str,
    threat: Ball,
    source: str,
    queries: int,
    right: Tensor,
    stands: Tensor,
    white: Tensor,
    seed: int,
) -> WeightFree:
    """Only samples that are right without a perturbation can be broken."""
    stands, white = right & stands, right & white
    share = damage_share((right & ~stands)[None].cpu().numpy(), (right & ~white)[None].cpu().numpy(), seed)
    return WeightFree(
        knowledge=knowledge,
        kind=kind,
        norm=threat.norm,
        epsilon=threat.epsilon,
        source=source,
        n=len(right),
        queries=queries,
        accuracy=float(stands.double().mean()),
        white_box=float(white.double().mean()),
        damage_share=None if share is None else share[0],
        interval95=None if share is None else share[1],
    )
