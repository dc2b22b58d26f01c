"""What can be refused before any work: names that nobody knows, a model and data that do not belong together."""

from __future__ import annotations

from brittle.auditing.prepare import check_model
from brittle.auditing.run import Subject
from brittle.compression.methods import METHODS
from brittle.compression.scores.robust import robust
from brittle.data.dataset import Dataset
from brittle.delivery.options import CompressOptions
from brittle.errors import UsageError
from brittle.training.penalties import penalty_named
from brittle.training.recovery import RECOVERIES


def check_names(options: CompressOptions) -> None:
    """Refuse a method, a recovery or a penalty that does not exist.

    Raises:
        UsageError: the message lists those that do.
    """
    if options.method not in METHODS:
        raise UsageError(f"unknown method {options.method!r}: expected one of {', '.join(METHODS)}")
    if METHODS[options.method].how.score is robust and not options.robust:
        raise UsageError(
            f"method {options.method} scores units under attack: ask for a robust choice, or take another method"
        )
    if options.recovery is not None and options.recovery not in RECOVERIES:
        raise UsageError(f"unknown recovery {options.recovery!r}: expected one of {', '.join(RECOVERIES)}")
    for name, strength in options.penalties.items():
        penalty_named(name)
        if not 0 <= strength < float("inf"):
            raise UsageError(f"penalty {name}: the strength must be >= 0, got {strength!r}: start with 0.001")


def check_request(parent: Subject, data: Dataset, options: CompressOptions) -> None:
    """Refuse everything that can be refused without making a network.

    Raises:
        UsageError: a name that does not exist, or radii that cannot be told apart.
        ModelError: a model that does not run on the data, returns no logits, or has no gradients.
        DataError: data without test samples, or labels that the model has no logit for.
    """
    check_names(options)
    options.threats(data.input_shape)
    split = data.split("test").take(options.samples, options.seed)
    check_model(parent.model, split.x, split.y, options.device)
