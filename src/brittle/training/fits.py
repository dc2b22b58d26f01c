"""Whether a model and the data it is to be trained on belong together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import DataError, ModelError
from brittle.models.frozen import frozen
from brittle.models.messages import first_line


def check_fits(model: nn.Module, train: Split, validation: Split) -> None:
    """Let two samples of each split through the model, as it will be asked later.

    Raises:
        ModelError: it does not take them, or does not return logits (b, classes).
        DataError: labels beyond its classes.
    """
    like = next(model.parameters())
    for split in (train, validation):
        x = split.x[:2].to(like)
        try:
            with torch.random.fork_rng(devices=[]), frozen(model), torch.no_grad():
                logits = model(x)
        except Exception as error:  # whatever the model's code raises
            raise ModelError(
                f"the model does not take samples of shape {tuple(x.shape[1:])} ({first_line(error)}): give a model "
                "and data that belong together"
            ) from None
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"expected logits of shape ({len(x)}, classes) from the model, got {got}")
        if int(split.y.max()) >= logits.shape[1]:
            raise DataError(
                f"the model has {logits.shape[1]} classes, the data have labels up to {int(split.y.max())}: give a "
                "model and data that belong together"
            )
