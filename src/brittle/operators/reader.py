"""Walks a model's exported program and turns it into graph nodes by the table in `handlers`.

What the table does not know becomes an `Opaque` node with the reason; nothing is guessed. The finished graph is
evaluated and compared with the model, so a wrong reading cannot pass (`network.read_network`).
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from brittle.operators.graph import Node, Opaque, Reshape, Source
from brittle.operators.handlers import OPERATORS, UNBOUNDED
from brittle.operators.program import BATCH, Program, Unreadable, operator_name, sample_shape


def read_program(model: nn.Module, input_shape: tuple[int, ...]) -> Program:
    """Export `model` (float64, eval mode) on inputs (b, *input_shape) and read its nodes.

    Raises whatever torch.export raises when it cannot trace the model; the caller reports it.
    """
    exported = torch.export.export(model, (torch.rand(BATCH, *input_shape, dtype=torch.float64),))
    signature = exported.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    tensors = {**exported.constants, **dict(exported.state_dict)}
    program = Program({k: tensors[v] for k, v in names.items()}, dict(signature.inputs_to_parameters))
    for node in exported.graph.nodes:
        _read(program, node, input_shape)
    return program


def _read(program: Program, node: fx.Node, input_shape: tuple[int, ...]) -> None:
    if node.op == "placeholder":
        if node.name in program.constants:
            program.fixed[node] = program.constants[node.name]
        else:
            _append(program, node, Node("input", Source(), (), input_shape))
    elif node.op == "get_attr":
        program.fixed[node] = program.constants[str(node.target)]
    elif node.op == "output":
        outputs = node.args[0]
        assert isinstance(outputs, tuple | list)
        (value,) = outputs
        last = program.nodes[program.index[value]]
        program.nodes.append(Node("output", Reshape(), (program.index[value],), last.shape))
    elif node.op == "call_function":
        _call(program, node)


def _call(program: Program, node: fx.Node) -> None:
    stack = [entry[0] for entry in (node.meta.get("nn_module_stack") or {}).values()]
    name = stack[-1] if stack else ""
    inputs = [a for a in node.all_input_nodes if program.is_value(a)]
    if not inputs:
        arguments = fx.map_arg(node.args, lambda n: program.fixed[n])
        named = fx.map_arg(node.kwargs, lambda n: program.fixed[n])
        if callable(node.target):
            program.fixed[node] = node.target(*arguments, **named)
        return
    kind = operator_name(node)
    shape = _plain_shape(node)
    try:
        if kind in UNBOUNDED:
            raise Unreadable(UNBOUNDED[kind])
        if kind not in OPERATORS:
            raise Unreadable(f"the operator {kind} is not covered")
        op, sources = OPERATORS[kind](program, node, name)
        shape = sample_shape(node)
    except Unreadable as reason:
        op, sources = Opaque(str(reason)), tuple(inputs)
    _append(program, node, Node(name or kind, op, tuple(program.index[s] for s in sources), shape))


def _plain_shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(int(n) for n in value.shape[1:]) if isinstance(value, Tensor) and value.dim() else ()


def _append(program: Program, node: fx.Node, read: Node) -> None:
    program.index[node] = len(program.nodes)
    program.nodes.append(read)
