"""References for norms that share no code with the library: brute force and ARPACK."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from brittle.operators.conv import ConvView
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.pointwise import AvgPoolView, DiagonalView, SelectView
from brittle.operators.view import LinearView

F_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def plain_forward(view: ConvView, x: Tensor) -> Tensor:
    """Pad, then convolve, by torch alone."""
    flat = [side for pair in reversed(view.padding) for side in pair]
    conv = F.conv2d if view.weight.dim() == 4 else F.conv1d
    padded = F.pad(x, flat, mode=F_PAD[view.padding_mode])
    return conv(padded, view.weight, None, view.stride, 0, view.dilation, view.groups)


def dense_convolution(view: ConvView) -> Tensor:
    """The matrix of T, one unit vector at a time."""
    n = int(np.prod(view.in_shape))
    eye = torch.eye(n, dtype=torch.float64).view(n, *view.in_shape)
    return plain_forward(view, eye).flatten(1).T


def true_spectral_norm(view: ConvView) -> float:
    """||T||_2 of a zero-padded convolution by ARPACK on T^t T to a relative tolerance of 1e-6 (float64)."""
    x = torch.zeros(1, *view.in_shape, dtype=torch.float64)

    def gram(vector: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(np.ascontiguousarray(vector)).view_as(x).requires_grad_()
        out = plain_forward(view, v)
        (pulled,) = torch.autograd.grad(out, v, out.detach())
        return pulled.flatten().numpy()

    n = x.numel()
    start = np.random.default_rng(7).standard_normal(n)
    value = eigsh(LinearOperator((n, n), gram, dtype=np.float64), k=1, tol=1e-6, v0=start, return_eigenvectors=False)
    return float(np.sqrt(value[0]))


def dense_of(view: LinearView) -> Tensor:
    """The matrix of T from the view's parameters by torch alone, for every kind of view."""
    match view:
        case ConvView():
            return dense_convolution(view)
        case DenseView():
            copies = int(np.prod(view.in_shape[:-1]))
            return torch.kron(torch.eye(copies, dtype=torch.float64), view.weight)
        case FactorisedView():
            return dense_of(view.outer) @ dense_of(view.inner)
        case DiagonalView():
            return torch.diag(torch.broadcast_to(view.scale, view.in_shape).flatten())
        case AvgPoolView():
            eye = torch.eye(int(np.prod(view.in_shape)), dtype=torch.float64).view(-1, *view.in_shape)
            pooled = F.avg_pool2d(eye, view.kernel, view.stride, view.padding, view.ceil_mode, view.count_include_pad)
            return pooled.flatten(1).T
        case SelectView():
            n = int(np.prod(view.in_shape))
            return view.fn(torch.eye(n, dtype=torch.float64).view(n, *view.in_shape)).flatten(1).T
    raise AssertionError(f"no reference for {type(view).__name__}")


def fractions(values: Tensor) -> np.ndarray:
    """Float64 numbers as exact fractions, in an object array of the same shape."""
    return np.array([Fraction(v) for v in values.flatten().tolist()], dtype=object).reshape(values.shape)


def exact_matrix(view: LinearView) -> np.ndarray:
    """The matrix of T in exact arithmetic, from the weights as they are stored."""
    match view:
        case DenseView():
            return fractions(view.weight)
        case FactorisedView():
            return exact_matrix(view.outer) @ exact_matrix(view.inner)
        case ConvView():
            # Each kernel entry alone gives a 0/1/2... matrix without rounding; weights join as fractions.
            total = np.array(Fraction(0), dtype=object)
            for index in np.ndindex(*view.weight.shape):
                single = torch.zeros_like(view.weight)
                single[index] = 1.0
                places = dense_convolution(replace(view, weight=single)).to(torch.int64).numpy().astype(object)
                total = total + places * Fraction(float(view.weight[index]))
            return total
    raise AssertionError(f"no exact reference for {type(view).__name__}")
