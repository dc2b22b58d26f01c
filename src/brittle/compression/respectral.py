"""Weights with another spectrum or other row norms at the same Frobenius norm: structure changes, scale does not.

Legend: W (h, d) a layer's matrix (a convolution's kernel reshaped to filters x fan-in, a low-rank pair's product),
sigma its singular values, nu the l_1 norms of its rows. The spectrum of a low-rank pair is that of the product of its
two factors, for a pair over the input channels (c, h k k): the matrix whose rank was cut.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils.parametrize import is_parametrized

from brittle.compression.pairs import LOW_RANK, factors, kernel, rank_of, write_factors
from brittle.errors import ModelError, UsageError
from brittle.models.fit import check_finite

_DENSE = (nn.Linear, nn.Conv2d)

# The leading values are those that carry this share of the squared Frobenius norm. The tail keeps its values: made as
# strong as the rest, it would drown the layer in directions that training left to chance.
ENERGY = 0.95


def weight_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that these functions can change, in order; a low-rank pair is one layer.

    The output projection of torch's own attention is left out: attention reads that weight behind the layer's back.
    """
    return tuple(name for name, _ in _found(model))


def flatten_spectrum(model: nn.Module, strength: float, layers: Sequence[str]) -> nn.Module:
    """A copy whose leading singular values are closer to equal: `sigma_i <- c sigma_i^(1 - strength)`.

    That is the geometric interpolation between the spectrum and a flat one; strength 0 changes nothing, 1 makes the
    leading values (those with 95 % of the squared norm) equal. c keeps the Frobenius norm; singular vectors, the other
    singular values, biases and the rank of low-rank layers stay as they are. The stable rank rises.

    Args:
        model: any module; left as it is.
        strength: in [0, 1].
        layers: names from `weight_layers`.

    Raises:
        UsageError: a strength outside [0, 1].
        ModelError: a layer that is not among `weight_layers`, has parametrised weights, or weights that are not finite.
    """
    return _changed(model, layers, _spectrum(1 - _checked(strength)))


def concentrate_spectrum(model: nn.Module, strength: float, layers: Sequence[str]) -> nn.Module:
    """The reverse of `flatten_spectrum`: `sigma_i <- c sigma_i^(1 + strength)`, strength 1 squares the spectrum.

    Arguments and errors as there. The stable rank falls.
    """
    return _changed(model, layers, _spectrum(1 + _checked(strength)))


def flatten_rows(model: nn.Module, strength: float, layers: Sequence[str]) -> nn.Module:
    """A copy whose dominant rows are closer to equal in l_1 norm: `nu_i <- c nu_i^(1 - strength)`.

    Dominant rows are the longest, with 95 % of the squared Frobenius norm between them; c keeps that norm. A row's
    bias is scaled with it, so a ReLU neuron answers to the same inputs, stronger or weaker. Arguments and errors as
    in `flatten_spectrum`.
    """
    return _changed(model, layers, _rows(1 - _checked(strength)))


def concentrate_rows(model: nn.Module, strength: float, layers: Sequence[str]) -> nn.Module:
    """The reverse of `flatten_rows`: `nu_i <- c nu_i^(1 + strength)`; arguments and errors as in `flatten_spectrum`."""
    return _changed(model, layers, _rows(1 + _checked(strength)))


def layer_matrix(layer: nn.Module) -> Tensor:
    """The matrix W (h, d) of a layer, float64; a low-rank pair is multiplied out."""
    return kernel(layer).flatten(1)


def _checked(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise UsageError(f"the strength of a change of weights is in [0, 1], got {strength!r}: 1 is the whole change")
    return strength


def _found(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in inside or isinstance(module, NonDynamicallyQuantizableLinear):
            continue
        if isinstance(module, (*_DENSE, *LOW_RANK)):
            inside.update(module.modules())
            yield name, module


def _changed(model: nn.Module, layers: Sequence[str], change: Callable[[nn.Module], None]) -> nn.Module:
    child = copy.deepcopy(model)
    found = dict(_found(child))
    for name in layers:
        if name not in found:
            raise ModelError(f"no weight layer {name!r} to change: expected one of {', '.join(found)}")
        if any(is_parametrized(part) for part in found[name].modules()):
            raise ModelError(f"layer {name!r} computes its weights: bake its parametrisations in before changing them")
        for path, parameter in found[name].named_parameters():
            check_finite(f"{name}.{path}", parameter)
    with torch.no_grad():
        for name in layers:
            change(found[name])
    return child


def _spectrum(exponent: float) -> Callable[[nn.Module], None]:
    def change(layer: nn.Module) -> None:
        matrix = torch.matmul(*factors(layer)) if isinstance(layer, LOW_RANK) else layer_matrix(layer)
        left, sigma, right = torch.linalg.svd(matrix, full_matrices=False)
        gains = _raised(sigma, sigma, exponent)
        if isinstance(layer, LOW_RANK):
            rank = rank_of(layer)
            root = (sigma * gains)[:rank].sqrt()
            write_factors(layer, left[:, :rank] * root, root[:, None] * right[:rank])
        elif isinstance(layer, _DENSE):
            # Only the difference is added: at exponent 1 the weights stay the same to the last bit.
            layer.weight.add_(((left * (sigma * (gains - 1))) @ right).view_as(layer.weight).to(layer.weight))

    return change


def _rows(exponent: float) -> Callable[[nn.Module], None]:
    def change(layer: nn.Module) -> None:
        rows = layer_matrix(layer)
        gains = _raised(rows.abs().sum(1), rows.norm(dim=1), exponent)
        last = layer.second if isinstance(layer, LOW_RANK) else layer
        assert isinstance(last, _DENSE)
        last.weight.mul_(gains.view(-1, *([1] * (last.weight.dim() - 1))).to(last.weight))
        if last.bias is not None:
            last.bias.mul_(gains.to(last.bias))

    return change


def _raised(values: Tensor, lengths: Tensor, exponent: float) -> Tensor:
    """Factors that make `values` ~ `values^exponent` where they lead, with `sum lengths^2` kept; 1 elsewhere."""
    factors = torch.ones_like(values)
    total = lengths.square().sum()
    if total == 0:
        return factors
    order = lengths.argsort(descending=True, stable=True)
    before = lengths[order].square().cumsum(0) - lengths[order].square()
    leading = order[before < ENERGY * total * (1 - 1e-12)]  # the last one may pass the share: none is cut in two
    power = (values[leading] / values[leading].max()) ** (exponent - 1)
    power *= (lengths[leading].square().sum() / (lengths[leading] * power).square().sum()).sqrt()
    factors[leading] = power
    return factors
