"""Every node of a graph as a linear form in the input and in the non-linear remainders, with the loop bounds.

An activation with slopes in [low, high] is `phi(y) = c y + r psi(y)`, `c = (low + high) / 2`, `r = (high - low) / 2`,
psi 1-Lipschitz in every coordinate. So a node's change is

    dv = M_0 dx + sum_j M_j dpsi_j,    |dpsi_j| <= |dy_j| coordinate by coordinate,

with constant matrices M. Taking norms gives LipLT (Fazlyab et al. 2023) for l_2, taking absolute values gives the
componentwise loop bound for l_inf (theory section 4); sums (residual branches) add matrices, a max pooling starts a
new remainder. Slopes need not lie in [0, 1]: c and r absorb them.

Legend: n a node's coordinates, m a remainder's coordinates; matrices are (n, m), float64. `error` bounds the Frobenius
norm of what rounding added to a matrix: |fl(A B) - A B| <= gamma_k |A||B| entrywise, summed along the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Reshape, Sum
from brittle.operators.rounding import gamma, gram_norm
from brittle.operators.view import LinearView, size


@dataclass(frozen=True)
class Form:
    """One matrix of a linear form: dense, or `scalar * I` where `dense` is None."""

    dense: Tensor | None
    scalar: float
    error: float

    def rows(self, n: int) -> Tensor:
        """The matrix itself, (n, m)."""
        return self.scalar * torch.eye(n, dtype=torch.float64) if self.dense is None else self.dense

    def spectral(self) -> float:
        """Upper bound of the l_2 norm."""
        if self.dense is None:
            return abs(self.scalar)
        return gram_norm(self.dense) + self.error

    def row_sums(self, lengths: Tensor) -> Tensor:
        """Upper bound of `|M| lengths`, (n,), for lengths (m,) >= 0."""
        if self.dense is None:
            return abs(self.scalar) * lengths
        exact = self.dense.abs() @ lengths
        return exact * (1 + gamma(len(lengths))) + self.error * float(lengths.norm()) * (1 + 1e-12)


@dataclass(frozen=True)
class Remainder:
    """The input, or one activation's non-linear part: how far each unit of perturbation can move it.

    `l2` bounds ||dpsi||_2 for ||dx||_2 <= 1, `linf` (m,) bounds |dpsi| for ||dx||_inf <= 1.
    """

    l2: float
    linf: Tensor


@dataclass(frozen=True)
class Propagation:
    """The output's loop bounds (`l2` a number, `linf` one for each logit) and its linear form.

    `output[j]` belongs to `remainders[j]`; remainder 0 is the input.
    """

    l2: float
    linf: Tensor
    output: dict[int, Form]
    remainders: tuple[Remainder, ...]


def cost(graph: Graph) -> tuple[float, float]:
    """A forecast before any work: the largest matrix's entries, and multiply-adds of products and spectral norms."""
    sources = [0]
    largest, work = 0.0, 0.0
    for index, node in enumerate(graph.nodes):
        n = size(node.shape)
        if isinstance(node.op, Affine):
            for source in sources:
                m = size(graph.nodes[source].shape)
                fan_in = size(graph.nodes[node.inputs[0]].shape)
                largest = max(largest, float(n) * m)
                work += float(m) * n * min(fan_in, node.op.view.terms)
        if isinstance(node.op, Activation | MaxPool):
            for source in sources:
                m = size(graph.nodes[source].shape)
                work += float(min(n, m)) ** 2 * (max(n, m) + 4.0 * min(n, m))
            sources.append(index)
    return largest, work


def propagate(graph: Graph) -> Propagation:
    """The loop bounds of every node of a graph without opaque nodes."""
    first = graph.nodes[0]
    remainders = [Remainder(1.0, torch.ones(size(first.shape), dtype=torch.float64))]
    forms: list[dict[int, Form]] = []
    bounds: dict[int, tuple[float, Tensor]] = {}  # only of nodes where a remainder starts
    last_use = [max(readers, default=len(graph.nodes)) for readers in graph.consumers()]
    for index, node in enumerate(graph.nodes):
        inputs = [forms[i] for i in node.inputs]
        match node.op:
            case Affine(view, _):
                form = {s: _apply(view, f) for s, f in inputs[0].items()}
            case Sum(signs):
                form = _add(signs, inputs)
            case Reshape():
                form = inputs[0]
            case Activation(slopes=slopes):
                center, radius = (slopes.low + slopes.high) / 2, (slopes.high - slopes.low) / 2
                form = {s: _scale(center, f) for s, f in inputs[0].items()} if center else {}
                form[len(remainders)] = Form(None, radius, 0.0)
                remainders.append(Remainder(*bounds[node.inputs[0]]))
            case MaxPool():
                before = graph.nodes[node.inputs[0]].shape
                length, rows = bounds[node.inputs[0]]
                pooled = node.op.apply(rows.view(1, *before)).flatten()
                form = {len(remainders): Form(None, 1.0, 0.0)}
                remainders.append(Remainder(length * node.op.overlap(before) ** 0.5 * (1 + 1e-15), pooled))
            case _:
                form = {0: Form(None, 1.0, 0.0)}
        forms.append(form)
        if _starts_remainder(graph, index):
            bounds[index] = _bounds(form, remainders)
        for i in node.inputs:  # matrices nobody reads again are freed
            if last_use[i] <= index:
                forms[i] = {}
    length, rows = _bounds(forms[-1], remainders)
    return Propagation(length, rows, forms[-1], tuple(remainders))


def _starts_remainder(graph: Graph, index: int) -> bool:
    return any(index in node.inputs and isinstance(node.op, Activation | MaxPool) for node in graph.nodes)


def _bounds(form: dict[int, Form], remainders: list[Remainder]) -> tuple[float, Tensor]:
    l2 = sum(f.spectral() * remainders[s].l2 for s, f in form.items()) * (1 + gamma(2 * len(form)))
    rows = [f.row_sums(remainders[s].linf) for s, f in form.items()]
    return l2, torch.stack(rows).sum(0) * (1 + gamma(2 * len(form)))


def _apply(view: LinearView, form: Form) -> Form:
    """`T M`, columns as a batch."""
    matrix = form.rows(size(view.in_shape))
    out = view.apply(matrix.T.reshape(-1, *view.in_shape)).flatten(1).T.contiguous()
    magnitude = view.abs_apply(matrix.T.abs().reshape(-1, *view.in_shape)).norm() if form.dense is not None else out.norm()
    # T's own Frobenius-to-Frobenius gain on the old error is at most sqrt(||T||_1 ||T||_inf).
    gain = _gain(view) if form.error else 0.0
    return Form(out, 0.0, (gamma(view.terms + 2) * float(magnitude) + gain * form.error) * (1 + 1e-12))


def _gain(view: LinearView) -> float:
    rows = view.abs_apply(torch.ones(1, *view.in_shape, dtype=torch.float64)).max()
    columns = view.abs_adjoint(torch.ones(1, *view.out_shape, dtype=torch.float64)).max()
    return float((rows * columns).sqrt()) * (1 + 1e-12)


def _scale(factor: float, form: Form) -> Form:
    if form.dense is None:
        return Form(None, form.scalar * factor, form.error * abs(factor))
    dense = form.dense * factor
    return Form(dense, 0.0, abs(factor) * form.error + gamma(1) * float(dense.norm()) * (1 + 1e-12))


def _add(signs: tuple[float, ...], inputs: list[dict[int, Form]]) -> dict[int, Form]:
    out: dict[int, Form] = {}
    for sign, forms in zip(signs, inputs, strict=True):
        for source, form in forms.items():
            term = _scale(sign, form) if sign != 1.0 else form
            out[source] = term if source not in out else _plus(out[source], term)
    return out


def _plus(a: Form, b: Form) -> Form:
    if a.dense is None and b.dense is None:
        return Form(None, a.scalar + b.scalar, a.error + b.error)
    n = len(a.dense) if a.dense is not None else len(b.dense)  # type: ignore[arg-type]
    dense = a.rows(n) + b.rows(n)
    return Form(dense, 0.0, a.error + b.error + gamma(1) * float(dense.norm()) * (1 + 1e-12))
