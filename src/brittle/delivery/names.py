"""Names of the files that a sweep writes. Free of torch."""

from __future__ import annotations

from pathlib import Path


def sibling(out: Path, share: float) -> Path:
    """Where a sweep's network of that share goes: F-0.25.safetensors beside F.safetensors."""
    return out.with_name(f"{out.stem}-{share:g}{out.suffix}")
