"""What a layer receives in the child, beside what the parent's layer answers: the data a layer is fitted to.

Legend: h outputs of a layer, d its fan-in (c k k of a convolution, in the order channel, row, column), m rows of data;
u (d,) what the layer receives, y (h,) what the parent's layer answers to the same sample at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.compression.pairs import bias_of, kernel_shape
from brittle.compression.unfoldings import spatial_part
from brittle.models.frozen import frozen

# Rows of data for a layer: at least so many, and by default so many for each of its inputs, where the samples have
# them, from no fewer samples than that.
ROWS, ROWS_EACH, SAMPLES = 4096, 4, 256


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of u and y over m rows, float64; about the mean where the layer has a bias, else about zero.

    Attributes:
        inputs: of u with itself, (d, d).
        across: of y with u, (h, d).
        mean_in, mean_out: what was subtracted, (d,) and (h,).
    """

    inputs: Tensor
    across: Tensor
    mean_in: Tensor
    mean_out: Tensor

    def restricted(self, outputs: Tensor, inputs: Tensor) -> Moments:
        """The moments of these outputs (h',) and these entries of u (d',)."""
        across = self.across[outputs][:, inputs]
        return Moments(self.inputs[inputs][:, inputs], across, self.mean_in[inputs], self.mean_out[outputs])


def paired_moments(
    child: nn.Module,
    parent: nn.Module,
    name: str,
    x: Tensor,
    *,
    outputs: Tensor | None = None,
    batch_size: int,
    seed: int,
    rows_each: int = ROWS_EACH,
) -> Moments:
    """The moments of layer `name`: u from the child, y from the parent (its `outputs` alone), both reading x.

    Where there are more rows than max(4096, rows_each d), about so many are drawn: the first samples, at least 256, and
    as many places from each.
    """
    layer = child.get_submodule(name)
    wanted = max(ROWS, rows_each * int(kernel_shape(layer)[1:].numel()))
    generator = torch.Generator().manual_seed(seed)
    sums = _Sums(bias_of(layer) is not None)
    samples = len(x)
    for start in range(0, len(x), batch_size):
        if start >= samples:
            break
        part = x[start : min(start + batch_size, samples)]
        u, y = _places(layer, _met(child, name, part)[0], _met(parent, name, part)[1])
        samples = min(len(x), max(SAMPLES, -(-wanted // u.shape[1])))
        u, y = _drawn(u, y, -(-wanted // samples), generator)
        sums.add(u, y if outputs is None else y[:, outputs.to(y.device)])
    return sums.result()


def call_order(model: nn.Module, names: Sequence[str], x: Tensor) -> list[str]:
    """Those of the layers that are called on x, in the order of their first calls."""
    called: dict[str, None] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda *_: called.setdefault(name)

    hooks = [model.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        with frozen(model), torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return list(called)


class _MetError(Exception):
    """The layer has answered: the rest of the forward pass is not needed."""


def _met(model: nn.Module, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer `name` receives and answers at its first call on `x`."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        seen.append((args[0] if args else next(iter(kwargs.values())), output))
        raise _MetError

    handle = model.get_submodule(name).register_forward_hook(hook, with_kwargs=True)
    try:
        with frozen(model), torch.no_grad():
            model(x)
    except _MetError:
        pass
    finally:
        handle.remove()
    return seen[0]


def _places(layer: nn.Module, u: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(b, places, d) inputs and (b, places, h) answers."""
    if len(kernel_shape(layer)) == 2:
        return u.reshape(len(u), -1, u.shape[-1]), y.reshape(len(y), -1, y.shape[-1])
    return _patches(spatial_part(layer), u), y.flatten(2).transpose(1, 2)


def _drawn(u: Tensor, y: Tensor, places: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(m, d) and (m, h), float64, from `places` drawn places of each sample."""
    count = u.shape[1]
    if count > places:
        chosen = torch.stack([torch.randperm(count, generator=generator)[:places] for _ in range(len(u))]).to(u.device)
        each = torch.arange(len(u), device=u.device)[:, None]
        u, y = u[each, chosen], y[each, chosen]
    return u.flatten(0, 1).double(), y.flatten(0, 1).double()


def _patches(conv: nn.Conv2d, u: Tensor) -> Tensor:
    """(b, places, c k k): what stands under the window at each place of the output."""
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(u, conv._reversed_padding_repeated_twice, mode=mode)
    windows = F.unfold(padded, conv.kernel_size, dilation=conv.dilation, stride=conv.stride)
    return windows.transpose(1, 2)


@dataclass
class _Sums:
    """Running sums of one layer's rows; the first rows make them."""

    centred: bool
    inputs: Tensor | float = 0.0
    across: Tensor | float = 0.0
    total_in: Tensor | float = 0.0
    total_out: Tensor | float = 0.0
    rows: int = field(default=0)

    def add(self, u: Tensor, y: Tensor) -> None:
        """Rows (m, d) and (m, h)."""
        self.inputs = u.T @ u + self.inputs
        self.across = y.T @ u + self.across
        self.total_in = u.sum(0) + self.total_in
        self.total_out = y.sum(0) + self.total_out
        self.rows += len(u)

    def result(self) -> Moments:
        """The means of what was added."""
        assert isinstance(self.total_in, Tensor)
        assert isinstance(self.total_out, Tensor)
        mean_in, mean_out = self.total_in / self.rows, self.total_out / self.rows
        if not self.centred:
            mean_in, mean_out = torch.zeros_like(mean_in), torch.zeros_like(mean_out)
        inputs = self.inputs / self.rows - torch.outer(mean_in, mean_in)
        return Moments(inputs, self.across / self.rows - torch.outer(mean_out, mean_in), mean_in, mean_out)
