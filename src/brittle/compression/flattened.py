"""Spectral flattening of what low rank kept: the directions of a pair made closer to equal in strength."""

from __future__ import annotations

from torch import nn

from brittle.compression.pairs import low_rank_layers
from brittle.compression.respectral import flatten_spectrum


def flatten_kept(model: nn.Module, strength: float) -> nn.Module:
    """A copy whose low-rank layers have flatter spectra at the same Frobenius norm; dense layers stay.

    See `flatten_spectrum` for the formula; without low-rank layers the copy equals the model.

    Raises:
        UsageError: a strength outside [0, 1].
        ModelError: factors that are not finite.
    """
    return flatten_spectrum(model, strength, tuple(low_rank_layers(model)))
