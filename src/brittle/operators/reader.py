"""Walks a model's exported program and turns it into graph nodes by the table in `handlers`.

What the table does not know becomes an `Opaque` node with the reason; nothing is guessed. The finished graph is
evaluated and compared with the model, so a wrong reading cannot pass (`network.read_network`).
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from brittle.operators.graph import Node, Op, Opaque, Reshape, Source
from brittle.operators.handlers import OPERATORS, UNBOUNDED, WEIGHTED
from brittle.operators.norm_gains import hand_on_gain
from brittle.operators.program import BATCH, Program, UnboundedError, UnreadableError, operator_name, sample_shape


def read_program(model: nn.Module, input_shape: tuple[int, ...]) -> Program:
    """Export `model` (float64, eval mode) on inputs (b, *input_shape) and read its nodes.

    Raises whatever torch.export raises when it cannot trace the model; the caller reports it.
    """
    x = torch.zeros(BATCH, *input_shape, dtype=torch.float64)
    exported = torch.export.export(model, (x,), strict=False)
    signature = exported.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors = {**exported.constants, **dict(exported.state_dict)}
    # A shared parameter goes by its first name, as in the model's own list; the export may prefer another.
    first = {id(p): name for name, p in model.named_parameters()}
    canonical = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    parameters = {k: canonical[v] for k, v in signature.inputs_to_parameters.items()}
    program = Program({k: tensors[v] for k, v in names.items()}, parameters)
    for node in exported.graph.nodes:
        _read(program, node, input_shape)
    return program


def _read(program: Program, node: fx.Node, input_shape: tuple[int, ...]) -> None:
    if node.op == "placeholder":
        if node.name in program.constants:
            owner = program.parameter_names.get(node.name)
            program.fix(node, program.constants[node.name], [] if owner is None else [owner])
            if owner is not None and not node.users:
                program.idle.add(owner)
        else:
            _append(program, node, Node("input", Source(), (), input_shape))
    elif node.op == "output":
        _finish(program, node.args[0])
    elif node.op == "call_function":
        _call(program, node)


def _finish(program: Program, outputs: object) -> None:
    """The output node: opaque where the model returns something else than logits (b, classes)."""
    values = outputs if isinstance(outputs, tuple | list) else (outputs,)
    inputs = tuple(program.index[v] for v in values if isinstance(v, fx.Node) and v in program.index)
    op: Op = Reshape()
    shape: tuple[int, ...] = ()
    if len(values) != 1 or len(inputs) != 1:
        op = Opaque(
            f"the model returns {len(values)} results, {len(inputs)} of them depend on the input: expected logits"
        )
    else:
        shape = program.nodes[inputs[0]].shape
        if len(shape) != 1:
            op = Opaque(f"the model returns values of shape {('batch', *shape)}: expected logits (batch, classes)")
    program.nodes.append(Node("output", op, inputs, shape))


def _call(program: Program, node: fx.Node) -> None:
    kind = operator_name(node)
    inputs = [a for a in node.all_input_nodes if program.is_value(a)]
    if not inputs:
        _compute(program, node)
        return
    name = _module(node)
    if kind in WEIGHTED:
        name = program.label(node.args[1], name or kind)
    shape = _plain_shape(node)
    op: Op
    try:
        if kind in UNBOUNDED:
            hand_on_gain(program, node, name)
            raise UnboundedError(UNBOUNDED[kind](node))
        if kind not in OPERATORS:
            raise UnreadableError(_unknown(program, node, kind, inputs))
        op, sources = OPERATORS[kind](program, node, name)
        shape = sample_shape(node)
    except UnreadableError as reason:
        op, sources = Opaque(str(reason), isinstance(reason, UnboundedError)), tuple(inputs)
    _append(program, node, Node(name or kind, op, tuple(program.index[s] for s in sources), shape))


def _compute(program: Program, node: fx.Node) -> None:
    """A tensor that does not depend on the input: its value, and the parameters behind it."""
    if not callable(node.target) or any(a not in program.fixed for a in node.all_input_nodes):
        return
    arguments = fx.map_arg(node.args, lambda n: program.fixed[n])
    named = fx.map_arg(node.kwargs, lambda n: program.fixed[n])
    with torch.no_grad():
        value = node.target(*arguments, **named)
    program.fix(node, value, [p for a in node.all_input_nodes for p in program.origins[a]])


def _module(node: fx.Node) -> str:
    stack = [entry[0] for entry in (node.meta.get("nn_module_stack") or {}).values()]
    return str(stack[-1]) if stack else ""


def _unknown(program: Program, node: fx.Node, kind: str, inputs: list[fx.Node]) -> str:
    """The reason for an operator outside the table; a part of an opaque result inherits that one's."""
    for source in inputs:
        op = program.nodes[program.index[source]].op
        if not kind.startswith("aten.") and isinstance(op, Opaque):
            return op.why
    return f"the operator {kind} is not covered"


def _plain_shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(int(n) for n in value.shape[1:]) if isinstance(value, Tensor) and value.dim() else ()


def _append(program: Program, node: fx.Node, read: Node) -> None:
    program.index[node] = len(program.nodes)
    program.nodes.append(read)
