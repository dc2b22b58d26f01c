"""`python:pkg.module:callable`: the one front door that imports the user's own code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import nn

from brittle.errors import ModelError
from brittle.models.loaded import LoadedModel, Request, pour
from brittle.models.messages import first_line
from brittle.models.recipe import recipe_of


def from_python(request: Request) -> LoadedModel:
    """Import the module, call the callable without arguments, and expect an nn.Module (or find one in its place).

    The working directory is on the import path meanwhile.

    Raises:
        ModelError: a string of another form, code that fails, or something that is no nn.Module.
    """
    where, _, name = request.rest.partition(":")
    if not where or not name:
        raise ModelError(
            f"cannot read {request.spec!r}: expected python:pkg.module:callable, as in python:my_nets:small_cnn"
        )
    with _working_directory_first():
        found = _find(request.spec, where, name)
        module = found if isinstance(found, nn.Module) else _call(request.spec, found)
    notes = (
        f"{request.spec} ran Python code from {where}",
        *pour(module, request.weights, "weights are those that the code returned"),
    )
    return LoadedModel(module.eval(), request.spec, recipe_of(module), notes)


def _find(spec: str, where: str, name: str) -> object:
    try:
        found: object = importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{spec}: no module named {error.name!r}: run from the folder that holds it, or install it"
        ) from error
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec}: importing {where} failed: {first_line(error)}; fix the code and try again"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ModelError(f"{spec}: {where} has no {name!r}: expected a callable that returns an nn.Module")
        found = getattr(found, part)
    return found


def _call(spec: str, found: object) -> nn.Module:
    if not callable(found):
        raise ModelError(f"{spec} is of type {type(found).__name__}: expected a callable that returns an nn.Module")
    try:
        module = found()
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec} failed when called without arguments: {first_line(error)}; fix the code and try again"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec} returned a {type(module).__name__}: expected an nn.Module")
    return module


@contextmanager
def _working_directory_first() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have tidied up itself
            sys.path.remove(here)
