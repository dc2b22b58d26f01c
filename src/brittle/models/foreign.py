"""Architectures of other packages, by the names of their own factories: never code from a file, never a download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from torch import nn

from brittle.errors import ModelError
from brittle.models.messages import first_line


def torchvision_models(spec: str) -> ModuleType:
    """`torchvision.models`.

    Raises:
        ModelError: it cannot be imported.
    """
    try:
        return import_module("torchvision.models")
    except Exception as error:  # its compiled operators can be absent: RuntimeError
        raise ModelError(
            f"{spec} needs torchvision ({first_line(error)}): pip install 'brittle[vision]', built for your torch"
        ) from error


def torchvision_net(name: str, classes: int | None) -> nn.Module:
    """`torchvision.models.get_model(name)` with weights at random; classes None: as many as it has by default.

    Raises:
        ModelError: torchvision cannot be imported, or does not know the name.
    """
    models = torchvision_models(f"torchvision:{name}")
    options = {} if classes is None else {"num_classes": classes}
    try:
        model: nn.Module = models.get_model(name, weights=None, **options)
    except Exception as error:
        raise ModelError(
            f"torchvision cannot make {name!r} ({first_line(error)}): see torchvision.models.list_models()"
        ) from error
    return model


def timm_net(name: str, classes: int | None) -> nn.Module:
    """`timm.create_model(name)` with weights at random; classes None: as many as it has by default.

    Raises:
        ModelError: timm cannot be imported, or does not know the name.
    """
    try:
        timm = import_module("timm")
    except Exception as error:  # an installed timm can fail to import because torchvision does
        raise ModelError(f"timm:{name} needs timm ({first_line(error)}): pip install 'brittle[vision]'") from error
    options = {} if classes is None else {"num_classes": classes}
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:
        raise ModelError(
            f"timm cannot make {name!r} ({first_line(error)}): see timm.list_models() for the names"
        ) from error
    return model


# What stands before the colon of an architecture: a function of (name, classes)
FOREIGN: dict[str, Callable[[str, int | None], nn.Module]] = {"torchvision": torchvision_net, "timm": timm_net}


def bare_net(package: str, name: str, classes: int) -> nn.Module:
    """The net without memory for its parameters (meta tensors); what no state dict holds has its values.

    Raises:
        ModelError: as the package's function in `FOREIGN`.
    """
    with _parameters_on_meta():
        net = FOREIGN[package](name, classes)
    stored = net.state_dict().keys()
    unknown = [path for path, buffer in net.named_buffers() if buffer.is_meta and path not in stored]
    if unknown:  # made where the parameters are; they do not depend on the classes
        real = dict(FOREIGN[package](name, 2).named_buffers())
        for path in unknown:
            parent, _, leaf = path.rpartition(".")
            net.get_submodule(parent)._buffers[leaf] = real[path]
    return net


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Modules made here keep no memory for their parameters; buffers and other tensors are real.

    Each parameter is moved to the meta device as its module registers it, so values that a package computes while it
    builds are right. One parameter's memory is reserved at a time and never filled. Other threads that make modules
    meanwhile are met too.
    """
    register = nn.Module.register_parameter

    def bare(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and not parameter.is_meta:
            parameter = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = bare  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
