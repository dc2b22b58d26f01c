"""C10 and C11: differences between two networks of the same seed and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from brittle.studies.claims.cell import cell_of
from brittle.studies.claims.claim import CellPlan, Claim, Level, Quantity
from brittle.studies.claims.ladders import FINETUNE
from brittle.studies.claims.quantities import CLEAN, both, robust
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import LABELS, SMALLEST
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.designs import Pairs
from brittle.studies.trial import InterventionSource, PostHocSource, Source, Threat

# Parameters that are not zero, of the network that the difference is taken of.
_SIZE: Final = Quantity("parameters", "structure.parameters")
# Strengths of the interventions: penalties beside the cross-entropy of fine-tuning; the share of flattening.
BETA_CONTROL: Final = 0.1
ALIGNMENT: Final = 1.0
FLATTEN: Final = 0.5
# So weak that the spectrum stays; the head is fitted again as after flattening, which is what a fair control needs.
_NO_FLATTENING: Final = 1e-6


def _post_hoc(method: str, keep: float) -> PostHocSource:
    return PostHocSource(method=method, keep=keep, finetune=FINETUNE)


def _intervention(name: str, strength: float, method: str) -> Callable[[float], tuple[Source, Source]]:
    def pair(keep: float) -> tuple[Source, Source]:
        of = _post_hoc(method, keep)
        return InterventionSource.model_validate({"name": name, "strength": strength, "of": of}), of

    return pair


def _flattened(keep: float) -> tuple[Source, Source]:
    of = _post_hoc("svd", keep)
    one, other = (InterventionSource(name="flatten", strength=s, of=of) for s in (FLATTEN, _NO_FLATTENING))
    return one, other


# Name, the norm that its structure is about, and keep -> the source and the one it is compared with.
_INTERVENTIONS: Final = (
    ("beta control in fine-tuning of pruned nets", "linf", _intervention("beta_control", BETA_CONTROL, "l2")),
    ("one residual in place of one share, pruned nets", "linf", _intervention("eps-pruning", 1.0, "l2")),
    ("one residual in place of one share, truncated nets", "l2", _intervention("eps-pruning", 1.0, "svd")),
    ("alignment penalty in fine-tuning of truncated nets", "l2", _intervention("alignment", ALIGNMENT, "svd")),
    ("flattened spectrum of truncated nets", "l2", _flattened),
)
_STRUCTURED: Final = (
    ("pruned neurons against single weights", "linf", lambda k: (_post_hoc("l2", k), _post_hoc("magnitude", k))),
    ("truncated spectrum against single weights", "l2", lambda k: (_post_hoc("svd", k), _post_hoc("magnitude", k))),
)


def _cells(
    settings: Sequence[Setting],
    comparisons: Sequence[tuple[str, str, Callable[[float], tuple[Source, Source]]]],
    outcomes: Callable[[Threat], tuple[Quantity, ...]],
) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in settings:
        base = setting.dense(hold_scale=False)
        for name, norm, pair in comparisons:
            levels = []
            for keep in setting.free.keeps:
                one, other = (base.model_copy(update={"source": source}) for source in pair(keep))
                levels.append(Level(f"keep {keep:g}", one, minus=other))
            threat = setting.linf if norm == "linf" else setting.l2
            cells += cell_of(setting, f"{name}, {setting.name}", levels, _SIZE, outcomes(threat))
    return tuple(cells)


def _intervention_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    return _cells(settings, _INTERVENTIONS, lambda threat: (CLEAN, robust(threat)))


def _structured_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    return _cells(settings, _STRUCTURED, lambda threat: (*both(threat), CLEAN))


INTERVENTIONS: Final = Claim(
    id="C10",
    title="The interventions keep more clean and robust accuracy at equal size",
    question="Is a compressed network with one of the paper's interventions better, clean and robust, than the same "
    "network compressed to the same size without it?",
    sources=(
        "beta control while a pruned network is fine-tuned (l_inf)",
        "eps-pruning: one residual for all layers in place of one share, pruned (l_inf) and truncated networks (l_2)",
        "the alignment penalty while a truncated network is fine-tuned (l_2)",
        "flattening the leading singular values of a truncated network (l_2)",
    ),
    controls=("each pair's other network: same seed, same dense parent, same size and fine-tuning",),
    labels={
        "parameters": "parameters that are not zero",
        "clean": "difference in clean accuracy (points)",
        "robust": "difference in robust accuracy (points)",
    },
    criterion=Criterion(
        (
            Target("clean", LABELS["clean"], 1, 1.0),
            Target("robust", LABELS["robust"], 1, SMALLEST),
        ),
        design=Pairs(),
        premise=False,
        least_levels=3,
    ),
    would_change="Each intervention has one strength, fixed before the run; another may do better. All of them "
    "together decide; single cells show which of them does what.",
    cells=_intervention_cells,
)

STRUCTURED: Final = Claim(
    id="C11",
    title="Structured compression costs more robustness than unstructured, at equal size",
    question="Is a network without its weakest neurons, or with a truncated spectrum, less robust than the same one "
    "without its smallest single weights, at the same number of parameters?",
    sources=("pruned neurons (l_inf)", "truncated singular values (l_2)"),
    controls=("each pair's other network: smallest weights set to zero, same seed, parent, size and fine-tuning",),
    labels={
        "parameters": "parameters that are not zero",
        "robust": "difference in robust accuracy (points)",
        "ratio": "difference in the ratio robust / clean (points)",
        "clean": "difference in clean accuracy (points)",
    },
    criterion=Criterion(
        (
            Target("robust", LABELS["robust"], -1, SMALLEST),
            Target("ratio", LABELS["ratio"], -1, SMALLEST),
        ),
        design=Pairs(),
        premise=False,
        least_levels=3,
    ),
    would_change="Sparse weights need an index each; at equal memory instead of equal parameters the comparison moves "
    "in favour of structure.",
    cells=_structured_cells,
)
