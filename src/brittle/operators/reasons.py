"""Why a parameter is in no matrix of the layer table, in words for people."""

from __future__ import annotations

from torch import Tensor, nn

# Parts of parameter names; the first that occurs gives the reason.
_BY_NAME: tuple[tuple[tuple[str, ...], str], ...] = (
    (("relative_position", "rel_pos", "attention_biases"), "a table of biases for attention scores: added, no map"),
    (("pos_embed", "position_embed", "positional_embed", "positions"), "positions: added to the tokens, no map"),
    (("token", "class_embedding", "bias_k", "bias_v"), "a token: joined to the sequence, no map"),
)


def why_unmeasured(model: nn.Module, name: str, parameter: Tensor) -> str:
    """The reason for a parameter that no known weight matrix holds."""
    path, _, own = name.rpartition(".")
    owner = model.get_submodule(path)
    cls = type(owner).__name__
    if not parameter.is_floating_point():
        return f"stored as {str(parameter.dtype).removeprefix('torch.')}, its scale is not known"
    for words, why in _BY_NAME:
        if parameter.dim() > 1 and any(word in name.lower() for word in words):
            return why
    if "norm" in cls.lower():
        return f"gain or shift of {cls}: no matrix by itself"
    if parameter.dim() < 2 or parameter.numel() == max(parameter.shape):
        return "a number, not a matrix" if parameter.numel() == 1 else "a vector (gain, shift or token), not a matrix"
    if isinstance(owner, nn.Bilinear):
        return "a bilinear map has no matrix"
    return f"{own!r} of {cls or 'the model'}, a module that is not known: which side is the input is not known"
