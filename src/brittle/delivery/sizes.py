"""What a network costs: parameters, multiply-adds, bytes of its file, time of a forward pass."""

from __future__ import annotations

from safetensors.torch import save
from torch import nn

from brittle.errors import ModelError
from brittle.models.export.cost import multiply_adds
from brittle.models.export.latency import latency_ms
from brittle.results.compression import Size

# Samples of a timed forward pass.
_BATCH = 1


def size_of(model: nn.Module, input_shape: tuple[int, ...], bits: int | None) -> Size:
    """The size of a model whose inputs have that shape; it is left as it was.

    `bits` are those that its weights were rounded to, None for as many as their number format has.

    Raises:
        ModelError: a model that does not run on such inputs.
    """
    parameters = list(model.parameters())
    timed = latency_ms(model, input_shape, batch=_BATCH)
    return Size(
        parameters=sum(p.numel() for p in parameters),
        nonzero=sum(int(p.detach().count_nonzero()) for p in parameters),
        bits=bits or max((8 * p.element_size() for p in parameters), default=0),
        multiply_adds=_work(model, input_shape),
        file_bytes=_stored(model),
        latency_ms=timed.median,
        latency_interval=(timed.low, timed.high),
        latency_batch=timed.batch,
    )


def _work(model: nn.Module, input_shape: tuple[int, ...]) -> int | None:
    """None where the counter itself does not know an operator."""
    try:
        return multiply_adds(model, input_shape)
    except (ModelError, NotImplementedError):
        return None


def _stored(model: nn.Module) -> int:
    """Bytes of the weights as a safetensors file without a recipe."""
    return len(save({name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}))
