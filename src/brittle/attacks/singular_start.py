"""The (p, q)-singular vector of a layer's stacked Jacobians: a universal perturbation from a few images.

Legend: n images, d pixels, D outputs of the layer; J (n D, d) the Jacobians at the images, stacked; v (*shape).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.attacks.universal_goal import Goal
from brittle.attacks.universal_gradient import shared_logits
from brittle.directions.linearise import Linearised, Map, lineariser_for
from brittle.directions.representation import representation
from brittle.errors import ModelError, UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball

# Relative growth of ||J v||_q below which the power method has arrived.
_ARRIVED = 1e-6


@dataclass(frozen=True, eq=False)
class SingularVector:
    """`vector` (*shape) of length one in the ball's norm, `value = ||J v||_q` (a lower bound on the largest there is).

    `values` are those of all iterates in order: they never fall.
    """

    vector: Tensor
    value: float
    values: tuple[float, ...]


def singular_vector(
    model: nn.Module,
    x: Tensor,
    ball: Ball,
    *,
    layer: str | None = None,
    q: float = 10.0,
    steps: int = 30,
    seed: int = 0,
    number: int = 0,
    batch_size: int = 64,
) -> SingularVector:
    """A local maximum of `||J v||_q` over `||v||_p = 1`, p the ball's norm (Khrulkov & Oseledets 2018).

    Boyd's (1974) generalised power method: `v <- steepest(J^T psi(J v))`, `psi(z) = sign(z) |z|^(q - 1)`, where
    steepest maximises a linear function over the unit ball of the norm. `||J v||_q^q` is convex, so it never falls.

    Args:
        model: pixels (b, *shape) -> logits (b, classes).
        x: images (n, *shape) to take the Jacobians at; 64 suffice. They are held in memory with their graphs.
        ball: whose norm v has length one in; the radius does not matter.
        layer: name of the module whose output is linearised; None for what the network's head reads.
        q: exponent >= 1 of the outputs' norm; the authors take 10.
        steps: the most iterations.
        seed: of the first v.
        number: another number, another first v.
        batch_size: the most images linearised at once.

    Raises:
        UsageError: q below one or not finite, or steps or batch size below one.
        ModelError: no layer of that name, one that returns no tensor, or a model that cannot be differentiated.
    """
    _check(q, steps)
    if batch_size < 1:
        raise UsageError(f"the batch size must be >= 1, got {batch_size}")
    noise = sample_noise(seed, [number], x.shape[1:], "universal/singular", dtype=x.dtype, device=x.device)
    v = ball.steepest(noise)[0]
    values: list[float] = []
    best = v
    with frozen(model), _outputs(model, x[:batch_size], layer) as function:
        lineariser = lineariser_for(function, x[:batch_size], seed)
        parts = [lineariser(function, part) for part in x.split(batch_size)]
        for step in range(steps + 1):
            images = [part.jvp(v).double() for part in parts]
            value, duals = _dual(images, q)
            if not values or value > values[-1]:
                best = v
                values.append(value)
            if len(values) <= step or value == 0 or (step and value < values[-2] * (1 + _ARRIVED)):
                break
            v = ball.steepest(_pulled(parts, duals)[None])[0]
    return SingularVector(best, values[-1], tuple(values))


@dataclass(frozen=True)
class SingularStart:
    """The singular vector at the ball's full length, with the sign that serves the goal on more of its images.

    Settings as in `singular_vector`; `images` are the first fitting samples.

    Raises:
        UsageError: images or steps below one, or q below one.
    """

    layer: str | None = None
    q: float = 10.0
    images: int = 64
    steps: int = 30

    def __post_init__(self) -> None:
        _check(self.q, self.steps)
        if self.images < 1:
            raise UsageError(f"a singular start needs images >= 1, got {self.images}: 64 is usual")

    @property
    def name(self) -> str:
        """ "singular", with "@<layer>" for a layer that was named."""
        return "singular" if self.layer is None else f"singular@{self.layer}"

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        labels: Tensor,
        goal: Goal,
        ball: Ball,
        *,
        number: int,
        seed: int,
        batch_size: int,
    ) -> Tensor:
        """A perturbation (*shape), as the `Start` protocol says; raises what `singular_vector` raises."""
        x, labels = x[: self.images], labels[: self.images]
        found = singular_vector(
            model,
            x,
            ball,
            layer=self.layer,
            q=self.q,
            steps=self.steps,
            seed=seed,
            number=number,
            batch_size=batch_size,
        )
        delta = ball.project(ball.epsilon * found.vector[None])[0]
        shares = [goal.reached(shared_logits(model, x, s * delta, batch_size), labels).double().mean() for s in (1, -1)]
        return delta if shares[0] >= shares[1] else -delta


def _check(q: float, steps: int) -> None:
    if not 1 <= q < float("inf"):
        raise UsageError(f"the exponent q of a singular vector must be finite and >= 1, got {q}: 10 is usual")
    if steps < 1:
        raise UsageError(f"the power method needs steps >= 1, got {steps}: 30 is usual")


def _dual(images: list[Tensor], q: float) -> tuple[float, list[Tensor]]:
    """`||z||_q` of all images together, and psi(z) up to a factor; scaled first, so that no power overflows."""
    largest = max(float(z.abs().max()) for z in images)
    if largest == 0:
        return 0.0, images
    scaled = [z / largest for z in images]
    total = sum(float(z.abs().pow(q).sum()) for z in scaled)
    return largest * total ** (1 / q), [z.sign() * z.abs().pow(q - 1) for z in scaled]


def _pulled(parts: list[Linearised], duals: list[Tensor]) -> Tensor:
    """`J^T u` summed over the images, (*shape)."""
    pulled = [part.vjp(u.to(part.outputs)).sum(0) for part, u in zip(parts, duals, strict=True)]
    return torch.stack(pulled).sum(0)


@contextmanager
def _outputs(model: nn.Module, x: Tensor, layer: str | None) -> Iterator[Map]:
    """The map from pixels (b, *shape) to the layer's outputs (b, D), flattened."""
    if layer is None:
        with representation(model, x) as (_, whole):
            yield whole
        return
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ModelError(f"no layer {layer!r} in the model: expected one of {', '.join(n for n in modules if n)}")
    caught: list[Any] = []

    def catch(module: nn.Module, args: Any, output: Any) -> None:
        # A copy, since the next layer may write into its input.
        caught[:] = [output.clone() if isinstance(output, Tensor) else output]

    def function(pixels: Tensor) -> Tensor:
        caught.clear()
        model(pixels)
        if not caught or not isinstance(caught[0], Tensor) or len(caught[0]) != len(pixels):
            raise ModelError(f"layer {layer!r} does not return one tensor row per sample: name another layer")
        return caught.pop().flatten(1)

    hook = modules[layer].register_forward_hook(catch)
    try:
        yield function
    finally:
        hook.remove()
