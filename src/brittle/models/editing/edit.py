"""One change of an architecture as a JSON record, and how it is made on a module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from brittle.errors import ModelError
from brittle.models.editing.table import EDIT_KINDS
from brittle.models.messages import first_line

_AGAIN = "make the file again"


@dataclass(frozen=True)
class Edit:
    """The submodule at `path` was replaced by one of `kind` (a name in `EDIT_KINDS`) with these `sizes`.

    Raises:
        ModelError: an unknown kind, other sizes than the kind has, or sizes out of range.
    """

    path: str
    kind: str
    sizes: dict[str, int]

    def __post_init__(self) -> None:
        if self.kind not in EDIT_KINDS:
            raise ModelError(f"unknown kind of change {self.kind!r}: expected one of {', '.join(EDIT_KINDS)}")
        kind = EDIT_KINDS[self.kind]
        if set(self.sizes) != set(kind.sizes):
            raise ModelError(
                f"a change of kind {self.kind} has the sizes {', '.join(kind.sizes)}, got "
                f"{', '.join(self.sizes) or 'none'} for {self.path!r}: {_AGAIN}"
            )
        for name, size in self.sizes.items():
            least = 0 if name in kind.may_be_zero else 1
            if size < least:
                raise ModelError(f"size {name!r} of {self.path!r} must be at least {least}, got {size}: {_AGAIN}")


def apply_edits(model: nn.Module, edits: Sequence[Edit]) -> nn.Module:
    """The model with its submodules replaced in the order of `edits`; it is changed in place.

    New weights are drawn at random, on the default device.

    Raises:
        ModelError: a submodule that is not there, that the kind cannot replace, or sizes that cannot be built.
    """
    for edit in edits:
        parent, leaf = _place(model, edit.path)
        setattr(parent, leaf, replaced(getattr(parent, leaf), edit))
    return model


def replaced(module: nn.Module, edit: Edit) -> nn.Module:
    """The module that an edit puts in place of `module`, which may be changed itself.

    Raises:
        ModelError: the kind cannot replace it, or the sizes cannot be built.
    """
    kind = EDIT_KINDS[edit.kind]
    if not kind.replaces(module):
        raise ModelError(
            f"a change of kind {edit.kind} cannot replace {edit.path!r}, which is a {type(module).__name__}: {_AGAIN}"
        )
    try:
        return kind.make(module, edit.sizes).train(module.training)
    except ModelError as error:
        raise ModelError(f"{edit.path!r}: {error}") from None
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # sizes that no memory holds
        raise ModelError(f"{edit.path!r} cannot be built ({first_line(error)}): choose smaller sizes") from None


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent_path, _, leaf = path.rpartition(".")
    try:
        parent = model.get_submodule(parent_path)
        module = parent.get_submodule(leaf) if leaf else None
    except AttributeError:
        module = None
    if module is None:
        raise ModelError(f"the architecture has no submodule {path!r} to change: {_AGAIN}")
    return parent, leaf
