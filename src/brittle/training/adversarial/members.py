"""Batches that hold the samples of several ensemble members: who draws which random numbers, who is attacked.

With a generator for each member it meets the same random numbers and the same choice of samples as in a run of its own.
Legend: b samples of a member, M members; a folded batch is (M*b, *shape), member after member.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.protocols import Generators


def member_count(x: Tensor, generators: Generators) -> int:
    """M: 1 for a plain generator.

    Raises:
        UsageError: samples that cannot be cut into M equal parts.
    """
    members = 1 if isinstance(generators, torch.Generator) else len(generators)
    if members < 1 or len(x) % members:
        raise UsageError(
            f"a batch of {len(x)} samples cannot belong to {members} members in equal parts: give each member as many "
            "samples and one generator"
        )
    return members


def normal_noise(x: Tensor, generators: Generators) -> Tensor:
    """Standard normal numbers of the shape, number format and device of x (M*b, *shape).

    Each member's are drawn from its own generator, on the generator's device.

    Raises:
        UsageError: as `member_count`.
    """
    members = member_count(x, generators)
    each = [generators] if isinstance(generators, torch.Generator) else list(generators)
    shape = (len(x) // members, *x.shape[1:])
    drawn = [torch.randn(shape, generator=g, dtype=x.dtype, device=g.device).to(x.device) for g in each]
    return drawn[0] if members == 1 else torch.cat(drawn)


def spread_rows(x: Tensor, share: float, generators: Generators) -> Tensor:
    """Positions of `ceil(share * b)` of each member's b samples, evenly spread, ascending: (M*ceil(share * b),) int64.

    A position decides, no random number and no other sample: batches are drawn in a random order as it is. Rounded up,
    so that batches of one are not left out.

    Raises:
        UsageError: as `member_count`.
    """
    members = member_count(x, generators)
    b = len(x) // members
    # Rounded first: 0.1 * 3 must not be lifted to the next whole number by its last bit.
    reached = [ceil(round(share * i, 9)) for i in range(b + 1)]
    own = torch.tensor([i for i in range(b) if reached[i + 1] > reached[i]], dtype=torch.int64)
    return (own + b * torch.arange(members)[:, None]).flatten().to(x.device)
