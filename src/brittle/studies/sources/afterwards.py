"""Networks made from a trained one: compressed post hoc, or with another spectrum planted at the same scale."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import nn

from brittle.compression.methods import compress_to
from brittle.compression.protocols import Evidence
from brittle.errors import UsageError
from brittle.models.recipe import build
from brittle.studies.sources.architecture import dense_recipe
from brittle.studies.sources.parent import dense_parent
from brittle.studies.sources.plans import threat_of_training
from brittle.studies.sources.plant import PLANTS
from brittle.studies.sources.scale import scales, set_scales, settle
from brittle.studies.tasks import Learning
from brittle.studies.trial import PostHocSource, SpectrumSource, Trial
from brittle.threats import ball
from brittle.training.recovery import Recovery, recover

# Training samples that compression looks at.
EVIDENCE: Final = 500
# Of the size asked for, tried in turn.
SHRINK: Final = (1.0, 0.98, 0.96, 0.94, 0.92, 0.9)
# The peak rate of fine-tuning, as a share of training's: fixed, as a search would spend the budget on small runs.
RATE: Final = 0.5


def compressed_afterwards(trial: Trial, learning: Learning, memory: Path | None) -> nn.Module:
    """The dense network of the same seed, compressed and fine-tuned: the maker of `PostHocSource`."""
    assert isinstance(trial.source, PostHocSource)
    return post_hoc(trial, trial.source, learning, memory, penalties={})


def post_hoc(
    trial: Trial, source: PostHocSource, learning: Learning, memory: Path | None, *, penalties: dict[str, float]
) -> nn.Module:
    """The dense network, cut to `source.keep` by `source.method` and fine-tuned with `penalties`.

    Choices are made on 500 training samples. Fine-tuning is plain; adversarial where the trial's training is, against
    the same ball. With the scale held, the child's hidden layers get the dense network's norms and its head is fitted
    again, before fine-tuning.

    Raises:
        BrittleError: as `compress_to` and `recover`.
    """
    parent = dense_parent(trial, learning, memory)
    child = cut(trial, parent, source.method, source.keep, learning)
    if trial.hold_scale:
        child = held(trial, child, learning)
    if source.finetune == 0:
        return child.eval()
    threat = threat_of_training(trial)
    how = Recovery(
        {"none": "plain", "pgd": "adversarial", "trades": "trades"}[trial.training.adversarial],
        source.finetune,
        threat=threat,
        learning_rate=RATE * trial.training.learning_rate,
        batch_size=trial.training.batch_size,
        weight_decay=trial.training.weight_decay,
        penalties=penalties,
        hold_scale=trial.hold_scale,
        hold_zeros=source.method == "magnitude" and source.keep < 1,
    )
    return recover(child, parent, learning.train, learning.validation, how, seed=trial.seed).model


def cut(trial: Trial, net: nn.Module, method: str, keep: float, learning: Learning) -> nn.Module:
    """A copy of `net` with the share `keep` of its parameters.

    Robust methods defend against the ball of adversarial training, else against the trial's first threat. Where a
    method's steps are so coarse that it comes within 3 % of no such size, a size up to 10 % smaller is taken.

    Raises:
        BrittleError: as `compress_to`; a size that cannot be met even so.
    """
    sample = learning.train.take(EVIDENCE, trial.data_seed)
    threat = threat_of_training(trial)
    if threat is None and method.startswith("robust-") and trial.threats:
        threat = ball(trial.threats[0].norm, trial.threats[0].epsilon)
    evidence = Evidence(sample.x, sample.y, threat, trial.seed)
    refused: UsageError | None = None
    for share in SHRINK:
        try:
            return compress_to(net, method, share * keep, evidence).model
        except UsageError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def held(trial: Trial, net: nn.Module, learning: Learning) -> nn.Module:
    """A copy at the norms that the dense network of the seed starts with, its head fitted again."""
    set_scales(net, scales(build(dense_recipe(trial, learning), seed=trial.seed)))
    return settle(net, learning.train)


def planted(trial: Trial, learning: Learning, memory: Path | None) -> nn.Module:
    """The dense network with concentrated hidden layers at their own norms, its head fitted again at every strength.

    Strength 0 changes no hidden weight, and refits the head as the others do.
    """
    source = trial.source
    assert isinstance(source, SpectrumSource)
    parent = dense_parent(trial, learning, memory)
    return settle(PLANTS[source.of](parent, source.strength), learning.train)
