"""The members of an ensemble as one module, their weights side by side in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from brittle.training.ensemble.grouped import grouped, is_chain


class Stack(nn.Module):
    """Pixels (M*b, *shape), member after member -> logits (M*b, classes): each member sees its own b samples.

    To whoever computes losses per sample this is a model like any other. Chains of dense layers run as batched
    products, everything else under `torch.func.vmap` with an error where a layer draws random numbers. `net` is a
    member whose parameters and buffers carry a leading M.

    Attributes:
        size: M.
        flat: (M, P), the members' trainable numbers; the parameters are views of it.
        trainable: those parameters, in the order in which they lie in `flat`.

    Args:
        members: modules of one architecture, number format and device; they are copied.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.size = len(members)
        self._grouped = is_chain(members[0])
        own = [dict(member.named_parameters()) for member in members]
        moving = {name: p for name, p in own[0].items() if p.requires_grad}
        self._sizes = [p.numel() for p in moving.values()]
        self._names = list(moving)
        like = next(iter(moving.values()))
        self.flat = like.detach().new_empty(self.size, sum(self._sizes))
        stacked: dict[str, nn.Parameter] = {}
        for (name, p), piece in zip(moving.items(), self.pieces(self.flat), strict=True):
            piece.copy_(torch.stack([each[name].detach().flatten() for each in own]))
            stacked[name] = nn.Parameter(piece.view(self.size, *p.shape))
        self.trainable = list(stacked.values())
        for name in own[0].keys() - moving.keys():
            still = torch.stack([each[name].detach() for each in own])
            stacked[name] = nn.Parameter(still, requires_grad=False)
        buffers = [dict(member.named_buffers()) for member in members]
        kept = {name: torch.stack([each[name] for each in buffers]) for name in buffers[0]}
        self.net = _with(members[0], stacked, kept)

    def forward(self, x: Tensor) -> Tensor:
        """(M*b, *shape) -> (M*b, classes)."""
        return self._apart(x.unflatten(0, (self.size, -1))).flatten(0, 1)

    def together(self, x: Tensor) -> Tensor:
        """Every member on the same samples: (n, *shape) -> (M, n, classes)."""
        return self._apart(x.expand(self.size, *x.shape))

    def pieces(self, flat: Tensor) -> tuple[Tensor, ...]:
        """What belongs to each trainable parameter in a tensor (M, P) such as a gradient: (M, numbers) each."""
        return flat.split(self._sizes, 1)

    def changing(self) -> list[Tensor]:
        """What training changes: `flat` and the buffers, each (M, ...)."""
        return [self.flat, *self.net.buffers()]

    @torch.no_grad()
    def write(self, values: Sequence[Tensor], members: Sequence[nn.Module]) -> None:
        """Put what `changing` gave, or a copy of it, into modules of the members' own."""
        for m, member in enumerate(members):
            parameters, buffers = dict(member.named_parameters()), dict(member.named_buffers())
            for name, piece in zip(self._names, values[0][m].split(self._sizes), strict=True):
                parameters[name].copy_(piece.view_as(parameters[name]))
            for name, value in zip(buffers, values[1:], strict=True):
                buffers[name].copy_(value[m])

    def _apart(self, x: Tensor) -> Tensor:
        if self._grouped:
            return grouped(self.net, x)
        state = {name: tensor for name, tensor in _places(self.net) if tensor is not None}
        logits: Tensor = vmap(self._one, randomness="error")(state, x)
        return logits

    def _one(self, state: dict[str, Tensor], x: Tensor) -> Any:
        # Each place is named once and shared tensors at every place, so there is nothing left to tie; torch's own
        # tying forgets to put a module back that has two names.
        return functional_call(self.net, state, (x,), tie_weights=False)


def _places(net: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    """Every module's own parameters and buffers, by the module's first name."""
    for prefix, module in net.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            yield (f"{prefix}.{key}" if prefix else key), tensor


def _with(member: nn.Module, parameters: dict[str, nn.Parameter], buffers: dict[str, Tensor]) -> nn.Module:
    """A copy of the member that holds these tensors, also where several modules share one."""
    net = copy.deepcopy(member)
    named = {id(p): parameters[name] for name, p in net.named_parameters()}
    held = {id(b): buffers[name] for name, b in net.named_buffers()}
    for module in net.modules():
        for key, parameter in list(module._parameters.items()):
            if parameter is not None:
                setattr(module, key, named[id(parameter)])
        for key, buffer in list(module._buffers.items()):
            if buffer is not None:
                setattr(module, key, held[id(buffer)])
    return net


def trainable_numbers(member: nn.Module) -> int:
    """P."""
    return sum(prod(p.shape) for p in member.parameters() if p.requires_grad)
