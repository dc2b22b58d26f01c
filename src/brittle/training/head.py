"""The linear head fitted again on the representation: what the layers before it make possible, not what they met.

Legend: n samples, w width of the representation, c classes.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from brittle.errors import ModelError, UsageError
from brittle.evaluation.batches import batches, check_logits, device_of, prepare
from brittle.models.frozen import frozen

# Iterations of L-BFGS, far more than the convex problem needs.
_MOST = 2000


def head_name(model: nn.Module, x: Tensor) -> str:
    """The name of the linear layer whose outputs on x (b, *shape) are the logits; of a low-rank head its last factor.

    Raises:
        ModelError: there is none: the logits come from another operation, or the layer is met more than once.
    """
    met: list[tuple[str, Tensor]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: met.append((name, output.clone()))

    hooks = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    try:
        with frozen(model), torch.no_grad():
            logits = model(x.to(device_of(model, x)))
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, output in met]
    for name, output in reversed(met):
        # NaN counts as equal to NaN: broken weights get their own message later.
        same = isinstance(logits, Tensor) and torch.equal(output.nan_to_num(), logits.nan_to_num())
        if same and names.count(name) == 1:
            return name
    raise ModelError(
        "no linear head: the logits are not the outputs of one torch.nn.Linear layer, so it cannot be fitted again"
    )


def representation(model: nn.Module, head: str, x: Tensor, batch_size: int) -> Tensor:
    """What the layer `head` takes in for samples x (n, *shape): (n, w) on the samples' device.

    Raises:
        ModelError: no such layer, or inputs that are not one vector for each sample.
    """
    layers = dict(model.named_modules())
    if head not in layers:
        raise ModelError(f"no layer {head!r} in the model: take the name from head_name")
    seen: list[Tensor] = []
    hook = layers[head].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        with frozen(model), torch.no_grad():
            for part in batches(torch.arange(len(x), device=x.device), batch_size):
                model(x[part].to(device_of(model, x)))
    finally:
        hook.remove()
    features = torch.cat(seen).to(x.device)
    if features.dim() != 2 or len(features) != len(x):
        raise ModelError(
            f"expected one vector for each of {len(x)} samples at {head!r}, got shape {tuple(features.shape)}: "
            "pooling must come before the head"
        )
    return features


def refit_head(model: nn.Module, x: Tensor, y: Tensor, *, penalty: float = 1e-4, batch_size: int) -> nn.Module:
    """A copy of `model` whose linear head minimises the cross-entropy on x, y; all other weights are the same.

    Multinomial logistic regression, `mean cross-entropy + penalty / 2 * (r ||C||_F)^2` over the head's weight C (and
    its bias, unpenalised, where it has one), by L-BFGS in float64 from zero: convex, so no seed. r is the root mean
    square of the centred representation's entries, which makes the solution independent of its overall scale.

    Args:
        model: pixels (b, *shape) -> logits (b, c), with a linear head (see `head_name`); left as it is.
        x: training pixels (n, *shape).
        y: labels (n,), int64.
        penalty: strength of the L2 penalty, > 0.
        batch_size: the most samples the model sees at once.

    Raises:
        UsageError: a penalty that is not positive, or a batch size below 1.
        DataError: samples that cannot be used.
        ModelError: no linear head, or a representation that is not finite.
    """
    if not 0 < penalty < float("inf"):
        raise UsageError(f"the head's L2 penalty is a positive number, got {penalty!r}: 1e-4 is usual")
    prepare(x, y, None, batch_size)
    name = head_name(model, x[:2])
    child = copy.deepcopy(model)
    layer = child.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    features = representation(child, name, x, batch_size).double().cpu()
    check_logits(features.new_zeros(len(y), layer.out_features), y)
    if not bool(torch.isfinite(features).all()):
        raise ModelError("the representation before the head holds NaN or infinity: check the weights of the layers")
    weight, bias = _fitted(features, y.cpu(), layer.out_features, penalty, with_bias=layer.bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    return child


def _fitted(features: Tensor, y: Tensor, classes: int, penalty: float, *, with_bias: bool) -> tuple[Tensor, Tensor]:
    """Weight (c, w) and bias (c,). Features are centred only where a bias can take up the centre."""
    centre = features.mean(0) if with_bias else torch.zeros_like(features[0])
    scale = (features - features.mean(0)).square().mean().sqrt()
    scale = scale if scale > 0 else torch.ones_like(scale)
    z = (features - centre) / scale
    width = z.shape[1]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        full = torch.from_numpy(flat).view(classes, width + 1)
        weight, bias = full[:, :width], full[:, width] if with_bias else torch.zeros(classes, dtype=z.dtype)
        logits = F.linear(z, weight, bias)
        value = F.cross_entropy(logits, y) + penalty / 2 * weight.square().sum()
        error = (logits.softmax(1) - F.one_hot(y, classes)) / len(y)
        gradient = torch.zeros_like(full)
        gradient[:, :width] = error.T @ z + penalty * weight
        if with_bias:
            gradient[:, width] = error.sum(0)
        return float(value), gradient.flatten().numpy()

    start = np.zeros(classes * (width + 1))
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST, "maxfun": 2 * _MOST, "ftol": 1e-13, "gtol": 1e-7},
    )
    full = torch.from_numpy(found.x).view(classes, width + 1)
    weight = full[:, :width] / scale
    return weight, full[:, width] - weight @ centre
