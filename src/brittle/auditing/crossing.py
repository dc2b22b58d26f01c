"""What needs both nets of a comparison: perturbations of one scored on the other."""

from __future__ import annotations

from dataclasses import replace

from brittle.auditing.black_box import read_black_box
from brittle.auditing.depth import DEPTHS
from brittle.auditing.options import AuditOptions
from brittle.auditing.parts import parts
from brittle.auditing.prepare import choose_dtype, twin
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject
from brittle.data.dataset import Dataset
from brittle.evaluation.progress import Progress
from brittle.results.audit import Audit
from brittle.results.perturbations import Transfer, WeightFree
from brittle.sensitivity.transfer import Examples, UniversalFit, transfer_matrix
from brittle.sensitivity.weight_free import weight_free


def crossed(
    audit: Audit,
    base: Subject,
    child: Subject,
    data: Dataset,
    options: AuditOptions,
    *,
    progress: Progress | None = None,
) -> Audit:
    """A compared audit with its comparison's `transfer` and `weight_free` filled, where the effort asks for them.

    Transfer goes both ways, for single examples and universal perturbations; adversaries without the weights attack
    the child, with the base as surrogate. All at the largest radius of each norm. A child without gradients was
    attacked from its base already, so nothing is added; a base without them is no surrogate.
    """
    if audit.comparison is None or options.effort not in DEPTHS or audit.partial:
        return audit
    depth = DEPTHS[options.effort]
    split = data.split("test").take(options.samples, options.seed)
    part = parts(data, split, fit=depth.most_fitted, score=depth.score, seed=options.seed)
    dtype = choose_dtype(read_black_box(child.model, data.input_shape), options.dtype)
    mine, theirs = (twin(one.model, split.x, split.y, dtype, options.device, black_box=True) for one in (child, base))
    if not mine.gradients:
        return audit
    dtype = mine.dtype if mine.dtype == theirs.dtype else split.x.dtype
    own, other = mine.model.to(dtype), theirs.model.to(dtype)
    x, y = split.x[part.score_rows].to(dtype), split.y[part.score_rows]
    fit = replace(part.fit, x=part.fit.x.to(dtype))
    other_name = base.name if base.name != child.name else f"{base.name} (base)"
    last = {threat.norm: threat for threat in options.threats(data.input_shape)}
    transfer: list[Transfer] = []
    free: list[WeightFree] = []
    for threat in last.values():
        if theirs.gradients:
            transfer += transfer_matrix(
                {other_name: other, child.name: own},
                x,
                y,
                threat,
                (Examples(), UniversalFit(fit.x[: depth.universal], fit.y[: depth.universal], depth.ascent)),
                batch_size=options.batch_size,
                seed=options.seed,
                progress=progress,
            )
        if depth.queries:
            free += weight_free(
                own,
                fit.x[: depth.fit],
                fit.y[: depth.fit],
                x,
                y,
                threat,
                surrogates={other_name: other} if theirs.gradients else {},
                batch_size=options.batch_size,
                seed=options.seed,
                progress=prefixed(progress, f"without the weights, {threat.norm}: "),
            )
    comparison = replace(audit.comparison, transfer=tuple(transfer), weight_free=tuple(free))
    return replace(audit, comparison=comparison)
