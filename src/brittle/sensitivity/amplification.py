"""Where in a network an attack grows: layer by layer, against noise of equal length.

Legend: n samples, z (b, ...) a layer's output, a the perturbations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.errors import DataError, ModelError
from brittle.evaluation.batches import batches, device_of, prepare
from brittle.evaluation.progress import Progress
from brittle.models.frozen import frozen
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.results.directions import Amplification
from brittle.sensitivity.explained_interval import ratio_interval
from brittle.threats import PIXELS, Ball
from brittle.threats.shape import per_sample

# Counted whole, not by their factors.
_WHOLE = (LowRankLinear, LowRankConv2d, LowRankConv2dIn)


def amplification(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    threat: Ball,
    *,
    seed: int,
    batch_size: int,
    indices: Tensor | None = None,
    progress: Progress | None = None,
) -> tuple[Amplification, ...]:
    """Means of `||z_adv - z||_2 / ||z||_2` of each weight layer's output, in the order the layers run; the head last.

    Noise: the threat's random corners or sphere, scaled to each sample's own perturbation. At a pixel whose move would
    leave the box its sign is turned, so that noise keeps its length at the walls as attacks do.

    Args:
        model: pixels (b, *shape) -> logits (b, classes).
        x: pixels (n, *shape), float32 or float64.
        x_adv: attacked pixels (n, *shape), such as `WorstCase` gives. Samples that it leaves alone do not count; nor
            do those on which a layer's output is zero, for that layer.
        y: labels (n,), int64.
        threat: the attack's ball, for the noise and the record.
        seed: of the noise and the resampling.
        batch_size: the most samples the model sees at once.
        indices: positions of the samples in their data set; 0 ... n - 1 by default.
        progress: told after each batch.

    Raises:
        UsageError: a batch size below one, or pixels that are neither float32 nor float64.
        DataError: samples that cannot be used, attacked pixels that do not fit them, or none that differs.
        ModelError: no weight layer ran, or outputs that are not finite.
    """
    positions = prepare(x, y, indices, batch_size)
    delta = _perturbations(x, x_adv)
    rows = (threat.length(delta) > 0).nonzero()[:, 0]
    if len(rows) == 0:
        raise DataError(f"expected attacked pixels, got {len(x)} equal to the clean ones: raise the radius")
    device = device_of(model, x)
    found: dict[str, list[Tensor]] = {}
    done = 0
    with frozen(model), torch.no_grad(), _watch(model) as seen:
        for part in batches(rows, batch_size):
            centre = x[part].to(device)
            noise = sample_noise(seed, positions[part], x.shape[1:], "amplification", dtype=x.dtype, device=device)
            clean = _outputs(model, centre, seen)
            attacked = _outputs(model, x_adv[part].to(centre), seen)
            noisy = _outputs(model, centre + like_noise(centre, delta[part].to(centre), noise, threat), seen)
            for name, z in clean.items():
                moved = [(other[name] - z).norm(dim=1) / z.norm(dim=1) for other in (attacked, noisy)]
                found.setdefault(name, []).append(torch.stack(moved).cpu())
            done += len(part)
            if progress is not None:
                progress("amplification", done, len(rows))
    if not found:
        raise ModelError("no layer with weights ran: expected linear layers or convolutions to watch")
    return tuple(_row(name, torch.cat(parts, 1), threat, seed) for name, parts in found.items())


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that own a matrix or kernel, by name; low-rank layers as one."""
    layers: dict[str, nn.Module] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if module in inside or not (isinstance(module, _WHOLE) or (isinstance(weight, Tensor) and weight.dim() >= 2)):
            continue
        inside.update(module.modules())
        layers[name] = module
    return layers


def like_noise(x: Tensor, delta: Tensor, noise: Tensor, threat: Ball) -> Tensor:
    """Noise (b, *shape) as long as delta in the threat's norm, from standard normal numbers, turned away from walls."""
    unit = threat.sphere(noise) / threat.epsilon
    step = unit * per_sample(threat.length(delta), x)
    outside = ((x + step) < PIXELS.low) | ((x + step) > PIXELS.high)
    return (x + torch.where(outside, -step, step)).clamp(PIXELS.low, PIXELS.high) - x


def _perturbations(x: Tensor, x_adv: Tensor) -> Tensor:
    if x_adv.shape != x.shape or not bool(torch.isfinite(x_adv).all()):
        raise DataError(
            f"expected finite attacked pixels of shape {tuple(x.shape)}, got {tuple(x_adv.shape)}: "
            "give one attacked version of each sample"
        )
    return x_adv.detach().to(x) - x


@contextmanager
def _watch(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While it lasts, each forward pass leaves every weight layer's first output, (b, -1) float64, in the answer."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() >= 2:
                seen.setdefault(name, output.detach().flatten(1).double())

        return hook

    with ExitStack() as hooks:
        for name, module in weight_layers(model).items():
            handle = module.register_forward_hook(note(name))  # type: ignore[arg-type]
            hooks.callback(handle.remove)
        yield seen


def _outputs(model: nn.Module, x: Tensor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    seen.clear()
    model(x)
    outputs = dict(seen)
    for name, z in outputs.items():
        if len(z) != len(x) or not bool(torch.isfinite(z).all()):
            raise ModelError(
                f"layer {name!r}: expected a finite output for each of {len(x)} samples, got {len(z)} rows "
                "or NaN: check the weights, and that the model keeps samples apart"
            )
    return outputs


def _row(name: str, moved: Tensor, threat: Ball, seed: int) -> Amplification:
    usable = moved[:, torch.isfinite(moved).all(0)].numpy()
    if usable.shape[1] == 0:
        raise ModelError(f"layer {name!r} gives zero for every sample: there is nothing to compare with, check it")
    ones = usable[0] * 0 + 1
    intervals = [ratio_interval(values, ones, seed) for values in usable]
    return Amplification(
        layer=name,
        norm=threat.norm,
        epsilon=threat.epsilon,
        n=usable.shape[1],
        attacked=float(usable[0].mean()),
        attacked_interval95=intervals[0],
        noise=float(usable[1].mean()),
        noise_interval95=intervals[1],
    )
