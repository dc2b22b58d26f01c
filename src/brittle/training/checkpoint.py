"""Checkpoints of a run: written whole or not at all, and only states that the run is known to go on well from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import brittle
from brittle.errors import UsageError
from brittle.evaluation.checkpoint import Memory, Saver, State, hash_tensors
from brittle.files import check_folder
from brittle.training.plan import Plan

# Raised when the meaning of what is written changes: older files then belong to no run.
_FORMAT = 1


class Checkpoints:
    """One run's newest good state in a folder.

    A state is offered after a step and written when the loss after it proved to be a number: what is on disk never is
    a state whose next loss is not. The file's name comes from the run's key, so several runs may share a folder. A file
    that is damaged or was made by another run, plan, model, data, seed or version is ignored and, if it has the same
    name, replaced: the run then starts at the beginning.

    Args:
        folder: made when first written to; None keeps nothing.
        key: everything the run depends on, see `run_key`.
        every: least seconds between two states.
        writes: False for the processes beside the first, which only read.

    Raises:
        UsageError: `every` is no number >= 0, or the folder cannot be used.
    """

    def __init__(self, folder: Path | None, key: Callable[[], str], every: float, *, writes: bool = True) -> None:
        if not (isfinite(every) and every >= 0):
            raise UsageError(f"seconds between checkpoints must be a number >= 0, got {every!r}: 60 is usual")
        if folder is not None:
            check_folder(folder)
        memory = None if folder is None else Memory(Path(folder), key())
        self._folder = folder
        self._there = False
        self._saver = Saver(memory, "" if memory is None else memory.key("training"))
        self._writes = writes and memory is not None
        self._every = every
        self._last = time.monotonic()
        self._offered: State | None = None

    def load(self) -> State | None:
        """The state of this run, None where there is none that is whole."""
        state = self._saver.load()
        self._there = state is not None
        return state

    def remark(self) -> str:
        """What to add to the message of a run that is lost: what the folder is good for now."""
        if self._folder is None:
            return ""
        fresh = ", which starts from the beginning"
        return f"{fresh}; the last good checkpoint is kept in {self._folder}" if self._there else fresh

    def offer(self, state: Callable[[], State]) -> None:
        """Take a copy of the state if it is time to; nothing is written yet."""
        if self._writes and self._offered is None and time.monotonic() - self._last >= self._every:
            self._offered = _copied(state())

    def good(self) -> None:
        """The loss after the offered state is a number: write it.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self._offered is not None:
            self._saver.keep(self._offered)
            self._offered, self._last, self._there = None, time.monotonic(), True

    def finish(self, state: Callable[[], State]) -> None:
        """Write the state of the finished run, in place of the one before.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self._writes:
            self._saver.keep(_copied(state()))


def run_key(
    model: nn.Module, plan: Plan, penalties: Iterable[object], seed: int, data: Iterable[str], where: str
) -> str:
    """Everything that a run's course depends on, as text: the model counts with its weights and its printed form.

    Raises:
        UsageError: the plan's printed form changes from run to run.
    """
    printed = f"{plan!r} {list(penalties)!r}"
    if " at 0x" in printed:
        raise UsageError(
            "no checkpoints for a plan whose printed form is another in each process "
            f"({printed[:120]}): make its objective a dataclass, or give no folder"
        )
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    shapes = f"{model!r} {list(tensors)} {hash_tensors(*tensors.values())}"
    versions = f"{_FORMAT} {brittle.__version__} {torch.__version__}"
    return "\n".join([versions, printed, shapes, f"{seed}", *data, where])


def optimiser_tensors(optimisers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """Every tensor that the optimisers remember, by number of the optimiser, of the parameter, and name."""
    return {
        f"{i}/{j}/{key}": value
        for i, optimiser in enumerate(optimisers)
        for j, p in enumerate(_parameters(optimiser))
        for key, value in optimiser.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimisers(optimisers: Iterable[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave, each number format and step count as it was."""
    for i, optimiser in enumerate(optimisers):
        parameters = _parameters(optimiser)
        for name, value in tensors.items():
            first, second, key = name.split("/", 2)
            if int(first) == i:
                p = parameters[int(second)]
                # torch's optimisers count their steps on the CPU wherever the parameters are.
                optimiser.state[p][key] = value.clone() if key == "step" else value.to(p.device, copy=True)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a prefix to their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def part(prefix: str, state: State) -> dict[str, Tensor]:
    """What `under` put into a state."""
    start = f"{prefix}/"
    return {name.removeprefix(start): t for name, t in state.tensors.items() if name.startswith(start)}


def _parameters(optimiser: Optimizer) -> list[Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _copied(state: State) -> State:
    """Training goes on while a state waits: it must not change with it, and tied weights must not share memory."""
    return State({name: t.detach().to("cpu", copy=True) for name, t in state.tensors.items()}, dict(state.values))
