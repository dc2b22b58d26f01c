"""Ladders: what makes networks compressible, from not at all to strongly, as columns of a cell.

Every ladder takes strengths and the dense trial that it starts from, and leaves seeds, threats and measures alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from brittle.studies.claims.claim import Level
from brittle.studies.claims.setting import Strengths
from brittle.studies.trial import (
    Dense,
    DynamicsSource,
    PenaltySource,
    PostHocSource,
    RankSource,
    ScaleSource,
    Source,
    SpectrumSource,
    Trial,
    WidthSource,
)

# Budget of fine-tuning after compression, gradients per training sample.
FINETUNE: Final = 5.0

# The levels of one source; empty where the setting leaves it out.
Ladder = Callable[[Strengths, Trial], tuple[Level, ...]]


def group_lasso(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then the penalty on the rows of hidden layers."""
    values = ((f"lasso {s:g}", PenaltySource(name="group_lasso", strength=s)) for s in strengths.group_lasso)
    return _after_dense(base, values)


def nuclear(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then the penalty on the singular values of hidden layers."""
    values = ((f"nuclear {s:g}", PenaltySource(name="nuclear", strength=s)) for s in strengths.nuclear)
    return _after_dense(base, values)


def low_rank(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then hidden layers of low rank from the start."""
    return _after_dense(base, ((f"rank {rank}", RankSource(rank=rank)) for rank in strengths.ranks))


def narrow(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then narrower hidden layers."""
    return _after_dense(base, ((f"width x{factor:g}", WidthSource(factor=factor)) for factor in strengths.widths))


def learning_rate(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then other learning rates."""
    values = ((f"rate {v:g}", DynamicsSource(setting="learning_rate", value=v)) for v in strengths.rates)
    return _after_dense(base, values)


def weight_decay(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then more weight decay."""
    values = ((f"decay {v:g}", DynamicsSource(setting="weight_decay", value=v)) for v in strengths.decays)
    return _after_dense(base, values)


def neuron_pruning(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then the same network with its weakest neurons removed, fine-tuned."""
    return _after_dense(
        base, ((f"pruned to {k:g}", PostHocSource(method="l2", keep=k, finetune=FINETUNE)) for k in strengths.keeps)
    )


def truncation(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense, then the same network with truncated singular values, fine-tuned."""
    return _after_dense(
        base, ((f"truncated to {k:g}", PostHocSource(method="svd", keep=k, finetune=FINETUNE)) for k in strengths.keeps)
    )


def planted_spectrum(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """The dense network with its singular values concentrated at the same norm, and the head fitted again."""
    return _ladder(base, ((f"planted {s:g}", SpectrumSource(strength=s, of="spectrum")) for s in strengths.planted))


def planted_rows(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """The dense network with its row norms concentrated at the same norm, and the head fitted again."""
    return _ladder(base, ((f"planted {s:g}", SpectrumSource(strength=s, of="rows")) for s in strengths.planted))


def scaled(strengths: Strengths, base: Trial) -> tuple[Level, ...]:
    """Dense networks whose hidden layers are held at rising norms: scale without structure."""
    return _ladder(base, ((f"scale x{factor:g}", ScaleSource(factor=factor)) for factor in strengths.scales))


def dense_level(base: Trial) -> Level:
    """The reference."""
    return Level("dense", base.model_copy(update={"source": Dense()}))


def _after_dense(base: Trial, values: Iterable[tuple[str, Source]]) -> tuple[Level, ...]:
    levels = _ladder(base, values)
    return (dense_level(base), *levels) if levels else ()


def _ladder(base: Trial, values: Iterable[tuple[str, Source]]) -> tuple[Level, ...]:
    return tuple(Level(name, base.model_copy(update={"source": source})) for name, source in values)
