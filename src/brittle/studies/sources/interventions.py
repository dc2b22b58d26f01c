"""The paper's interventions on networks that another source makes compressible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from torch import nn

from brittle.compression.methods import METHODS
from brittle.compression.respectral import flatten_spectrum
from brittle.errors import UsageError
from brittle.studies.sources.afterwards import cut, post_hoc
from brittle.studies.sources.parent import trained
from brittle.studies.sources.scale import hidden_layers, settle
from brittle.studies.sources.scratch import train_one
from brittle.studies.tasks import Learning
from brittle.studies.trial import InterventionSource, PenaltySource, PostHocSource, Trial


def intervened(trial: Trial, learning: Learning, memory: Path | None) -> nn.Module:
    """The network of an `InterventionSource`.

    * beta_control, alignment: a penalty of that strength, beside the source's own from the first step on; after
      post-hoc compression in the fine-tuning.
    * flatten: the leading singular values of the finished hidden layers are drawn together by that strength in [0, 1]
      at the same norm, and the head is fitted again.
    * eps-pruning: one residual for all layers in place of one share. Of a post-hoc source at its own size; of a penalty
      source the trained network is pruned to the share `strength` of its parameters.

    Raises:
        UsageError: an intervention that its source leaves no room for.
        BrittleError: what making the network raises.
    """
    source = trial.source
    assert isinstance(source, InterventionSource)
    return _INTERVENTIONS[source.name](trial, source, learning, memory)


def _penalised(trial: Trial, source: InterventionSource, learning: Learning, memory: Path | None) -> nn.Module:
    if not isinstance(source.of, PostHocSource):
        return train_one(trial, source, learning)
    if source.of.finetune == 0:
        raise UsageError(
            f"{source.name} is a penalty, and a post-hoc source with finetune 0 has no step to add it to: give it some"
        )
    return post_hoc(trial, source.of, learning, memory, penalties={source.name: source.strength})


def _flattened(trial: Trial, source: InterventionSource, learning: Learning, memory: Path | None) -> nn.Module:
    if isinstance(source.of, PostHocSource):
        net = post_hoc(trial, source.of, learning, memory, penalties={})
    else:
        net = trained(trial, source.of, learning, memory)
    return settle(flatten_spectrum(net, source.strength, hidden_layers(net)), learning.train)


def _eps_pruned(trial: Trial, source: InterventionSource, learning: Learning, memory: Path | None) -> nn.Module:
    of = source.of
    match of:
        case PostHocSource(method=method):
            if method not in METHODS:
                raise UsageError(f"unknown compression method {method!r}: expected one of {', '.join(METHODS)}")
            even = of.model_copy(update={"method": "eps" if METHODS[method].units else "svd-eps"})
            return post_hoc(trial, even, learning, memory, penalties={})
        case PenaltySource():
            if source.strength > 1:
                raise UsageError(
                    f"the strength of eps-pruning is the share of parameters that stay, at most 1: {source.strength:g}"
                )
            return cut(trial, trained(trial, of, learning, memory), "eps", source.strength, learning).eval()
        case _:
            raise UsageError("eps-pruning of a low-rank network is not defined here: give a penalty or post-hoc source")


_Maker = Callable[[Trial, InterventionSource, Learning, Path | None], nn.Module]
_INTERVENTIONS: Final[dict[str, _Maker]] = {
    "beta_control": _penalised,
    "alignment": _penalised,
    "flatten": _flattened,
    "eps-pruning": _eps_pruned,
}
