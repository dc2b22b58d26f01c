"""Putting a state dict into a model: by name, or by position when only the names differ."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.pixels import Pixels

# Counts training steps; it has no part in the function, and older files lack it.
_COUNTER = "num_batches_tracked"


def fit_weights(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Load `state` into `model` in place and return notes for people.

    Names that agree exactly are loaded by name. Else, if the two lists of shapes agree in order, tensors are loaded by
    position, and a note says so. `num_batches_tracked` is left out of the comparison. Under `Pixels` the state may be
    that of the inner network; a state with its own mean and std must agree with the model's.

    Raises:
        ModelError: the first weight that is missing, unexpected or of another shape; weights that are not numbers
            (NaN, infinity) or not floating point. The model is then unchanged.
    """
    given = {name: value for name, value in state.items() if not name.endswith(_COUNTER)}
    target = model.model if isinstance(model, Pixels) and not {"mean", "std"} <= given.keys() else model
    own = {name: value for name, value in target.state_dict().items() if not name.endswith(_COUNTER)}
    names, notes = _pair(own, given)
    for name, theirs in names.items():
        check_finite(theirs, given[theirs])
        if own[name].is_floating_point() and not given[theirs].is_floating_point():
            raise ModelError(
                f"weight {theirs!r} is {_dtype(given[theirs])}, expected floating point: dequantise the weights first"
            )
    if isinstance(target, Pixels):
        _check_normalisation(own, {name: given[theirs] for name, theirs in names.items()})
    kinds = sorted(
        {f"{_dtype(given[t])} to {_dtype(own[n])}" for n, t in names.items() if given[t].dtype != own[n].dtype}
    )
    if kinds:
        notes.append(f"weights converted from {', '.join(kinds)}")
    target.load_state_dict({name: given[theirs] for name, theirs in names.items()}, strict=False)
    return notes


def check_finite(name: str, weight: Tensor) -> None:
    """Refuse a weight with NaN or infinity.

    Raises:
        ModelError: the message names the weight and how many entries are bad.
    """
    if weight.is_floating_point() and weight.numel():
        # One quick pass where all is well: NaN and infinity both show in the smallest or the largest entry.
        low, high = torch.aminmax(weight.detach() if weight.element_size() > 1 else weight.detach().float())
        bad = 0 if bool(torch.isfinite(low - high)) else int((~torch.isfinite(weight)).sum())
        if bad:
            raise ModelError(
                f"weight {name!r} holds NaN or infinity in {bad} of {weight.numel()} entries: the "
                "training diverged or the file is broken"
            )


def _pair(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[dict[str, str], list[str]]:
    """Which given name feeds each own name, and a note when it is not the same name."""
    if own.keys() == given.keys():
        for name, value in own.items():
            if value.shape != given[name].shape:
                raise ModelError(
                    f"weight {name!r} has shape {tuple(given[name].shape)} in the file, the model expects "
                    f"{tuple(value.shape)}: "
                    "change the architecture's options to fit the file"
                )
        return {name: name for name in own}, []
    shapes, theirs = [tuple(v.shape) for v in own.values()], [tuple(v.shape) for v in given.values()]
    by_position = dict(zip(own, given, strict=False))
    # A name that both have must stay where it is, else position is no guide.
    kept = all(by_position.get(name) == name for name in own.keys() & given.keys())
    if shapes == theirs and kept:
        first = next(name for name in own if by_position[name] != name)
        return by_position, [
            f"weights loaded by position, {by_position[first]} into {first} and so on: names differ, shapes agree"
        ]
    raise ModelError(_first_mismatch(own, given))


def _first_mismatch(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    remedy = "change the architecture's options to fit the file"
    shared = own.keys() & given.keys()
    if 2 * len(shared) >= len(own):
        for name, value in own.items():
            if name not in given:
                return f"weight {name!r} of shape {tuple(value.shape)} is missing from the file: {remedy}"
        name = next(name for name in given if name not in own)
        return (
            f"weight {name!r} of shape {tuple(given[name].shape)} is unexpected, the model has no such weight: {remedy}"
        )
    for (name, value), (other, found) in zip(own.items(), given.items(), strict=False):
        if value.shape != found.shape:
            return (
                f"the file's {other!r} of shape {tuple(found.shape)} does not fit {name!r} of shape "
                f"{tuple(value.shape)}: {remedy}"
            )
    if len(own) > len(given):
        name = list(own)[len(given)]
        return f"the file ends before weight {name!r} of shape {tuple(own[name].shape)}: {remedy}"
    if len(given) > len(own):
        name = list(given)[len(own)]
        return f"the file holds more than the model, first {name!r} of shape {tuple(given[name].shape)}: {remedy}"
    return f"the names agree only in part and in another order, so neither names nor positions are a guide: {remedy}"


def _check_normalisation(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name in ("mean", "std"):
        theirs = given[name].to(own[name])
        if not torch.allclose(theirs, own[name], rtol=1e-5, atol=0.0):
            numbers = ",".join(f"{v:g}" for v in theirs.flatten().tolist())
            raise ModelError(
                f"the file was saved with {name}={numbers}, the model has another: give {name}={numbers} "
                "with the architecture"
            )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
