"""brittle: did compression make your network easier to break?

The names below are imported on first use, so that `import brittle` (and `brittle --help`) does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from brittle.api import audit, lipschitz, structure, study
    from brittle.delivery.door import compress
    from brittle.directions.network import sensitive_directions
    from brittle.errors import BrittleError
    from brittle.evaluation.fooling import universal_perturbation
    from brittle.models.file import load, save
    from brittle.models.pixels import Pixels
    from brittle.models.zero_shot import zero_shot
    from brittle.results.audit import Audit

_HOME = {
    "Audit": "brittle.results.audit",
    "BrittleError": "brittle.errors",
    "Pixels": "brittle.models.pixels",
    "audit": "brittle.api",
    "compress": "brittle.delivery.door",
    "lipschitz": "brittle.api",
    "load": "brittle.models.file",
    "save": "brittle.models.file",
    "sensitive_directions": "brittle.directions.network",
    "structure": "brittle.api",
    "study": "brittle.api",
    "universal_perturbation": "brittle.evaluation.fooling",
    "zero_shot": "brittle.models.zero_shot",
}

__all__ = [
    "Audit",
    "BrittleError",
    "Pixels",
    "__version__",
    "audit",
    "compress",
    "lipschitz",
    "load",
    "save",
    "sensitive_directions",
    "structure",
    "study",
    "universal_perturbation",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'brittle' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
