"""Second moments of what layers receive: the data that data-aware low rank weighs its errors by.

Legend: n samples, p positions of an output map or tokens, d fan-in of a layer (channels * k * k of a convolution).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.compression.factorable import factorable, left_out
from brittle.compression.pairs import kernel_shape
from brittle.compression.unfoldings import spatial_part
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.frozen import frozen

# Of a larger map (or more tokens) this many places are drawn for each sample: neighbours say much the same.
POSITIONS = 64


@dataclass(frozen=True, eq=False)
class InputMoment:
    """What a layer receives, as rows u (d,): for a convolution the patches (channel, row, column) under its window.

    Attributes:
        second: `E[u u^t]` (d, d), float64.
        mean: `E[u]` (d,), float64.
        rows: how many rows it was taken over.
    """

    second: Tensor
    mean: Tensor
    rows: int

    def covariance(self) -> Tensor:
        """`E[(u - E u)(u - E u)^t]` (d, d), float64."""
        return self.second - torch.outer(self.mean, self.mean)


def input_moments(
    model: nn.Module,
    layers: Sequence[str],
    x: Tensor,
    *,
    batch_size: int,
    positions: int = POSITIONS,
    seed: int = 0,
) -> dict[str, InputMoment]:
    """The moments of the inputs that each layer receives while `model` reads `x`, in evaluation mode.

    Rows are a dense layer's inputs (each token is one) and the padded patches under a convolution's window. Where a
    sample has more than `positions` of them, that many are drawn at random without replacement. Sums are in float64;
    the batch size shows in their rounding alone. The matrices of all layers are held at once: 8 d^2 bytes for each.

    Args:
        model: any module; left as it was, hooks included.
        layers: names among `factorable(model)`.
        x: (n, *shape) pixels, clean or attacked, on the model's device.
        batch_size: samples passed at once.
        positions: rows taken of each sample at most.
        seed: of the drawn positions.

    Raises:
        UsageError: batch_size or positions < 1.
        DataError: no samples, or pixels that are not finite numbers.
        ModelError: a name that is no such layer, a layer that is never called, or inputs that are not finite.
    """
    if batch_size < 1 or positions < 1:
        raise UsageError(f"batch size and positions must be at least 1, got {batch_size} and {positions}")
    if x.dim() < 2 or len(x) < 1 or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise DataError(f"moments need finite pixels of shape (n, ...) with n >= 1, got {tuple(x.shape)} {x.dtype}")
    known, refused = factorable(model), left_out(model)
    for name in layers:
        if name not in known:
            why = refused.get(name, f"expected one of {', '.join(known) or 'none'}")
            raise ModelError(f"no moments for layer {name!r}: {why}")
    sums = {name: _Sums(known[name], positions, seed + i) for i, name in enumerate(layers)}
    hooks = [known[name].register_forward_pre_hook(total.hook, with_kwargs=True) for name, total in sums.items()]
    try:
        with frozen(model), torch.no_grad():
            for part in x.split(batch_size):
                model(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total.result(name) for name, total in sums.items()}


class _Sums:
    """Running sums over the inputs of one layer."""

    def __init__(self, layer: nn.Module, positions: int, seed: int) -> None:
        shape = kernel_shape(layer)
        d = shape[1:].numel()
        device = next(layer.parameters()).device
        self._where = torch.device("cpu") if device.type == "mps" else device  # that one has no float64
        self._rows_of = _tokens if len(shape) == 2 else _patches(spatial_part(layer))
        self._second = torch.zeros(d, d, dtype=torch.float64, device=self._where)
        self._sum = torch.zeros(d, dtype=torch.float64, device=self._where)
        self._rows = 0
        self._positions = positions
        self._generator = torch.Generator().manual_seed(seed)

    def hook(self, module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        u = args[0] if args else kwargs["input"]
        rows = self._rows_of(u, self._draw).to(self._where, torch.float64)
        self._second.addmm_(rows.T, rows)
        self._sum += rows.sum(0)
        self._rows += len(rows)

    def result(self, name: str) -> InputMoment:
        if self._rows == 0:
            raise ModelError(f"layer {name!r} is never called on these inputs: leave it out")
        second = self._second / self._rows
        if not bool(torch.isfinite(second).all()):
            raise ModelError(f"layer {name!r} receives NaN or infinity: the weights before it are broken")
        return InputMoment(second, self._sum / self._rows, self._rows)

    def _draw(self, samples: int, places: int) -> Tensor:
        """Positions for each sample (samples, p), one sample after the other so that batches do not matter."""
        if places <= self._positions:
            return torch.arange(places).expand(samples, places)
        drawn = [torch.randperm(places, generator=self._generator)[: self._positions] for _ in range(samples)]
        return torch.stack(drawn)


Draw = Callable[[int, int], Tensor]


def _tokens(u: Tensor, draw: Draw) -> Tensor:
    """(b, ..., d) -> rows (m, d)."""
    if u.dim() < 3:
        return u.reshape(-1, u.shape[-1])
    flat = u.reshape(len(u), -1, u.shape[-1])
    chosen = draw(len(flat), flat.shape[1]).to(u.device)
    return flat[torch.arange(len(flat), device=u.device)[:, None], chosen].flatten(0, 1)


def _patches(conv: nn.Conv2d) -> Callable[[Tensor, Draw], Tensor]:
    """(b, c, height, width) -> rows (m, c * k * k), with the padding, stride and dilation of `conv`.

    The window of a pair's spatial part is the dense layer's, its channels come from the input.
    """
    (tall, wide), (down, right), (gap_y, gap_x) = conv.kernel_size, conv.stride, conv.dilation

    def rows(u: Tensor, draw: Draw) -> Tensor:
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        padded = F.pad(u, conv._reversed_padding_repeated_twice, mode=mode)
        windows = padded.unfold(2, gap_y * (tall - 1) + 1, down).unfold(3, gap_x * (wide - 1) + 1, right)
        windows = windows[..., ::gap_y, ::gap_x]
        high, broad = windows.shape[2:4]
        chosen = draw(len(u), high * broad).to(u.device)
        samples = torch.arange(len(u), device=u.device)[:, None]
        return windows.permute(0, 2, 3, 1, 4, 5)[samples, chosen // broad, chosen % broad].flatten(0, 1).flatten(1)

    return rows
