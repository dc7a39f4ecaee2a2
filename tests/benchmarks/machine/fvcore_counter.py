"""A second opinion on counted FLOPs: fvcore over a traced graph, with handlers of its own.

Its own count is one per multiply-add and none for FFTs and attention; handlers bring it to this suite's conventions. An
operator without a handler counts as nothing, which is why no record rests on this alone; tests hold the two together.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore is built on torch.jit, which warns that it is old
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import einsum_flop_jit, get_shape

# Operators that do work which the closed forms leave out too.
NOT_COUNTED = ("aten::layer_norm", "aten::group_norm", "aten::batch_norm", "aten::adaptive_avg_pool2d", "aten::mean")
FFTS = [prefix + "fft" + axes for prefix in ("", "i", "r", "ir", "h", "ih") for axes in ("", "2", "n")]


def fvcore_flops(net: nn.Module, inputs: torch.Tensor) -> int:
    """FLOPs of one forward pass by fvcore, per image of the batch `inputs`."""
    training = net.training
    analysis = FlopCountAnalysis(net.eval(), inputs).set_op_handle(**HANDLERS)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = analysis.total()
    net.train(training)
    return round(total / inputs.shape[0])


def _matmul(inputs: list[Any], outputs: list[Any]) -> float:
    """(..., m, k) @ (..., k, n) with broadcasting: every output number takes k multiply-adds."""
    return (8 if _is_complex(outputs[0]) else 2) * math.prod(get_shape(outputs[0])) * get_shape(inputs[0])[-1]


def _addmm(inputs: list[Any], outputs: list[Any]) -> float:
    return 2 * math.prod(get_shape(outputs[0])) * get_shape(inputs[1])[-1]


def _convolution(inputs: list[Any], outputs: list[Any]) -> float:
    """Every output number takes one multiply-add per number of a kernel (in / groups, k, k)."""
    return 2 * math.prod(get_shape(outputs[0])) * math.prod(get_shape(inputs[1])[1:])


def _plane_transform(inputs: list[Any], outputs: list[Any]) -> float:
    """For every input plane and term a product from the right, and from each a product from the left per result."""
    batch, groups, given, height, width = get_shape(inputs[0])
    results, _, terms, new_height, _ = get_shape(inputs[1])
    new_width = get_shape(inputs[2])[1]
    return 2 * batch * groups * given * terms * height * new_width * (width + results * new_height)


def _einsum(inputs: list[Any], outputs: list[Any]) -> float:
    return 2 * einsum_flop_jit(inputs, outputs)


def _attention(inputs: list[Any], outputs: list[Any]) -> float:
    *heads, queries, width = get_shape(inputs[0])
    keys = get_shape(inputs[1])[-2]
    return math.prod(heads) * 2 * queries * keys * (width + get_shape(inputs[2])[-1])


def _multiply(inputs: list[Any], outputs: list[Any]) -> float:
    """Counted for complex numbers alone, as the step of an algorithm; for real ones it is an activation or a scale."""
    return 6 * math.prod(get_shape(outputs[0])) if _is_complex(outputs[0]) else 0


def _average_pool(inputs: list[Any], outputs: list[Any]) -> float:
    """As many additions as the window has places, for every output number."""
    return math.prod(get_shape(outputs[0])) * math.prod(_constant(inputs[1]))


def _is_complex(value: Any) -> bool:
    return value.type().scalarType().startswith("Complex")


def _real_dft(inputs: list[Any], outputs: list[Any]) -> float:
    """Our real-input DFT over the axes that the traced call names, or over H and W."""
    shape = get_shape(inputs[0])
    axes = next((value for value in outputs[0].node().scalar_args() if isinstance(value, tuple)), (-2, -1))
    return 2.5 * math.prod(shape) * math.log2(math.prod(shape[axis] for axis in axes))


def _fft(inputs: list[Any], outputs: list[Any]) -> float:
    """A plain torch.fft call: (input, n or s, dim, norm); half the work if either side is real."""
    real = [value for value in (inputs[0], outputs[0]) if not _is_complex(value)]
    shape = get_shape(real[0] if real else inputs[0])
    axes = _constant(inputs[2])
    axes = range(len(shape)) if axes is None else [axes] if isinstance(axes, int) else axes
    return (2.5 if real else 5.0) * math.prod(shape) * math.log2(math.prod(shape[axis] for axis in axes))


def _constant(value: Any) -> Any:
    """The Python value of a traced constant or list of constants."""
    if value.node().kind() == "prim::ListConstruct":
        return [item.toIValue() for item in value.node().inputs()]
    return value.toIValue()


def _none(inputs: list[Any], outputs: list[Any]) -> float:
    return 0


HANDLERS: dict[str, Callable[[list[Any], list[Any]], float]] = {
    "aten::matmul": _matmul,
    "aten::mm": _matmul,
    "aten::bmm": _matmul,
    "aten::linear": _matmul,
    "aten::mul": _multiply,
    "aten::avg_pool2d": _average_pool,
    "aten::addmm": _addmm,
    "aten::baddbmm": _addmm,
    "aten::einsum": _einsum,
    "aten::_convolution": _convolution,
    "aten::scaled_dot_product_attention": _attention,
    "token_mixers::plane_transform": _plane_transform,
    "prim::PythonOp._SymmetricPart": _real_dft,
    "prim::PythonOp._BothParts": _real_dft,
    **{f"aten::fft_{name}": _fft for name in FFTS},
    **dict.fromkeys(NOT_COUNTED, _none),
}
