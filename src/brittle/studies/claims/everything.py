"""All networks of a setting on one axis, whatever made them compressible."""

from __future__ import annotations

from typing import Final

from brittle.studies.claims.claim import Level
from brittle.studies.claims.ladders import (
    Ladder,
    group_lasso,
    learning_rate,
    low_rank,
    narrow,
    neuron_pruning,
    nuclear,
    truncation,
    weight_decay,
)
from brittle.studies.claims.setting import Setting

# Regularisation, architecture, learning dynamics, compression afterwards.
EVERY_SOURCE: Final[tuple[Ladder, ...]] = (
    group_lasso,
    nuclear,
    low_rank,
    narrow,
    learning_rate,
    weight_decay,
    neuron_pruning,
    truncation,
)


def every_level(setting: Setting, *, hold_scale: bool) -> tuple[Level, ...]:
    """The dense network once, then every other network of every source."""
    base, strengths = setting.dense(hold_scale=hold_scale), setting.strengths(hold_scale=hold_scale)
    levels = [level for ladder in EVERY_SOURCE for level in ladder(strengths, base)]
    return tuple({level.name: level for level in levels}.values())
