"""`export:F.pt2`: programs of torch.export; gradients exist, and nothing of the file's own is run while it loads."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.models.exported_check import checked_archive
from brittle.models.loaded import LoadedModel, Request
from brittle.models.messages import first_line


def from_exported(request: Request) -> LoadedModel:
    """The program in a file that `torch.export.save` wrote, with a batch of any size as its one input.

    Raises:
        ModelError: the file is missing, could run code, cannot be loaded, or takes one batch size only.
    """
    if request.weights is not None:
        raise ModelError(f"{request.spec} has its own weights: leave --weights out")
    path = Path(request.rest)
    if not path.is_file():
        raise ModelError(f"no such exported program: {path}; expected export:F.pt2")
    content = checked_archive(path)
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(content))
            _check_batch(path, program)
            module = program.module(check_guards=False)
    except ModelError:
        raise
    except Exception as error:  # of another version of torch, or damaged
        raise ModelError(
            f"{path} cannot be loaded by torch {torch.__version__} ({first_line(error)}): export it again with this one"
        ) from None
    finally:
        logger.setLevel(level)
    return LoadedModel(module, request.spec, None, ("an exported program, expected to take pixels in [0, 1]",))


def _check_batch(path: Path, program: Any) -> None:
    """One input whose first size is free."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].dim() < 2:
        raise ModelError(f"{path} takes {len(values)} inputs: expected one, a batch of pixels")
    if isinstance(values[0].shape[0], int):
        raise ModelError(
            f"{path} takes batches of {values[0].shape[0]} alone: export it with dynamic_shapes="
            "({0: torch.export.Dim('batch')},)"
        )
