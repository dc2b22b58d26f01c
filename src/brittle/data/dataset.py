"""A data set: named splits that are read only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from brittle.data.split import Split, check_split
from brittle.errors import DataError

__all__ = ["Dataset", "Split", "check_split"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples under the names "train", "validation" and "test", or some of them.

    Attributes:
        name: what results call it; never a path.
        classes: the names of the classes, in the order of the labels.
        input_shape: shape of one input, (c, h, w) or (d,).
        splits: the names that `split` takes.
        load: reads one split by name: x and y as `check_split` takes them.
    """

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    splits: tuple[str, ...]
    load: Callable[[str], tuple[Tensor, Tensor]] = field(repr=False)
    _loaded: dict[str, Split] = field(default_factory=dict, init=False, repr=False)

    def split(self, name: str) -> Split:
        """One split, read and checked at the first call and kept.

        Raises:
            DataError: no split of that name, or its samples are missing, broken or fail `check_split`.
        """
        if name not in self.splits:
            have = ", ".join(self.splits)
            raise DataError(f"{self.name} has no split {name!r}, only {have}: ask for one of these or give other data")
        if name not in self._loaded:
            x, y = self.load(name)
            source = f"{self.name}, split {name}"
            checked = check_split(x, y, len(self.classes), source)
            if tuple(checked.x.shape[1:]) != self.input_shape:
                raise DataError(
                    f"{source}: inputs must have shape {self.input_shape}, got {tuple(checked.x.shape[1:])}:"
                    " bring all inputs to one shape"
                )
            self._loaded[name] = checked
        return self._loaded[name]
