"""Number formats of safetensors: which are read as weights, and why the others are not."""

from __future__ import annotations

# Read as they are: every value is a weight, exact in float64.
FLOATS = ("F64", "F32", "F16", "BF16")
# Eight bits each: weights once multiplied with a scale that lies beside them.
CODES = ("F8_E4M3", "F8_E5M2", "I8")

# Everything else is listed, with the reason.
_REASONS = {
    "BOOL": "a mask of truth values, no weights",
    "U8": "unsigned bytes: they most likely pack several weights each, in a layout that the file does not say",
    **dict.fromkeys(
        ("I16", "U16", "I32", "U32", "I64", "U64"), "integers: indices, counters or packed weights, in no known layout"
    ),
}


def reason_unread(dtype: str) -> str | None:
    """Why tensors of this format are no readable weights; None where they are."""
    if dtype in FLOATS or dtype in CODES:
        return None
    return _REASONS.get(dtype, f"the number format {dtype} is not read")
