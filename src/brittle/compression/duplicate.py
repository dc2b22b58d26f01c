"""A deep copy of a network, or a clear refusal."""

from __future__ import annotations

import copy

from torch import nn

from brittle.errors import ModelError
from brittle.models.messages import first_line


def copied(model: nn.Module) -> nn.Module:
    """A deep copy.

    Raises:
        ModelError: the model holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # tensors with a history, handles, whatever a foreign module holds
        raise ModelError(f"the model cannot be copied ({first_line(error)}): pass a plain nn.Module") from error
