"""Counts the FLOPs that run: every operator that PyTorch dispatches, wherever it is called from.

Here a multiply-add is two operations (of complex numbers eight), an FFT of n real numbers 2.5 n log2 n, of n complex
numbers 5 n log2 n, attention its two products, an average pooling its additions.
Left out, as in the closed forms: element-wise operations, activations, norms, losses, reductions, maximum pooling,
random numbers, work on whole numbers, and what moves data or looks at it. An operator that is neither is named as
unknown, and the count is then a lower bound. What leaves PyTorch for NumPy is named too; a kernel that is no registered
operator is not seen.

fvcore, which reads a traced graph, is the second opinion: see `flops_fvcore.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

Handler = Callable[..., float]  # of the output and of the operator's arguments

# Operators without counted work that neither a tag nor a schema tells apart; in-place forms have no line of their own.
LEFT_OUT = {
    "moves data": """
        _to_copy clone copy cat stack block_diag constant_pad_nd reflection_pad1d reflection_pad2d
        reflection_pad3d replication_pad1d replication_pad2d replication_pad3d index _unsafe_index index_select
        index_fill index_copy index_put _unsafe_index_put gather scatter take embedding masked_select
        masked_fill masked_scatter where repeat repeat_interleave roll flip rot90 tril triu diag_embed
        slice_scatter select_scatter diagonal_scatter as_strided_scatter pixel_shuffle pixel_unshuffle
        channel_shuffle im2col upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _unsafe_view
        _reshape_alias resize set lift lift_fresh unsafe_split unsafe_split_with_sizes complex polar
        _pack_padded_sequence _to_dense _to_sparse
        _to_sparse_csr _to_sparse_csc _to_sparse_bsr _to_sparse_bsc fill zero
        empty_like full_like ones_like zeros_like new_empty
        new_empty_strided new_full new_ones new_zeros _sparse_coo_tensor_with_dims_and_tensors _coalesce
    """,
    "looks at it": """
        _local_scalar_dense equal is_same_size nonzero nonzero_static _assert_async _functional_assert_async
        _assert_tensor_metadata _linalg_check_errors _has_same_storage_numel sparse_dim dense_dim is_coalesced is_pinned
    """,
    "activations, norms and losses": """
        _softmax _log_softmax _safe_softmax _masked_softmax glu hardswish log_sigmoid_forward _prelu_kernel
        threshold gelu mish rrelu_with_noise _thnn_fused_lstm_cell _thnn_fused_gru_cell native_layer_norm
        native_group_norm _fused_rms_norm native_batch_norm cudnn_batch_norm miopen_batch_norm
        _native_batch_norm_legit _native_batch_norm_legit_no_training _native_batch_norm_legit_functional
        _batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional _weight_norm_interface
        renorm mse_loss nll_loss_forward nll_loss2d_forward binary_cross_entropy
        binary_cross_entropy_with_logits smooth_l1_loss huber_loss soft_margin_loss multi_margin_loss
        multilabel_margin_loss_forward
    """,
    "reductions and maximum pooling": """
        sum nansum mean prod amax amin aminmax max min argmax argmin all any var std var_mean std_mean norm dist
        linalg_vector_norm logsumexp count_nonzero trace _adaptive_avg_pool2d _adaptive_avg_pool3d
        adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices max_pool3d_with_indices _max_pool1d
        max_unpool2d max_unpool3d
    """,
    "random numbers": """
        native_dropout _fused_dropout bernoulli uniform normal log_normal exponential cauchy geometric random
        rand_like randn_like randint_like poisson multinomial
    """,
}
NOT_COUNTED = frozenset(name for names in LEFT_OUT.values() for name in names.split())


def flops_and_unknown(net: nn.Module, inputs: Tensor) -> tuple[int, list[str]]:
    """Counted FLOPs of one forward pass, per item of the batch `inputs`, and the operators that have no handler.

    Returns:
        The count, a lower bound where there are names; the names, such as "aten::sort", each once, in order.
    """
    training = {module: module.training for module in net.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    net.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator instead of the products it is made of
    try:
        with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"), _Counter() as counter:
            warnings.simplefilter("ignore")
            with _ProductsByName(counter):
                net(inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, was in training.items():
            module.training = was
    return round(counter.total / inputs.shape[0]), sorted(counter.unknown)


def _of_whole_numbers(*values: Any) -> bool:
    """Whether there are tensors and none of them is of real or complex numbers."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    return bool(tensors) and not any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors)


class _Counter(TorchDispatchMode):
    """Adds up what the operators do that run while it is entered."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self.unknown: set[str] = set()
        self.product_by_name = 0  # how many calls of PRODUCTS are under way
        self._from_real: set[int] = set()  # storages of complex tensors that hold real numbers
        self._alive: list[Tensor] = []  # these tensors, so that no other gets their storage

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        one = isinstance(func, torch._ops.OpOverload)  # or control flow, or a kernel, as one call
        name = func.name().partition(".")[0].removesuffix("_") if one else str(func)
        handler = HANDLERS.get(name)
        registered = flop_registry.get(func.overloadpacket if one else func)  # of PyTorch and of third parties
        if one and handler is None and registered is None:
            with self:  # inference mode does not take operators apart
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if name in FROM_REAL:
            self._note_real(args[0], out)
        kwargs = {key: value for key, value in kwargs.items() if key != "out"}  # the same tensor once more
        if name == "aten::mul" and self.product_by_name and not out.is_complex():
            self.total += 2 * out.numel()
        elif handler is not None:
            half = name == "aten::_fft_c2c" and _storage(args[0]) in self._from_real
            self.total += handler(out, *args, **kwargs) / (2 if half else 1)
        elif registered is not None:
            self.total += registered(*args, **kwargs, out_val=out)
        elif _of_whole_numbers(out, *args):
            pass
        elif not (one and _without_work(func, name)) or (name in ACCUMULATE and any(a is True for a in args)):
            self.unknown.add(name)
        return out

    def _note_real(self, given: Any, out: Any) -> None:
        """torch.fft makes real inputs complex, and pads them, before it transforms several axes."""
        if not out.is_complex() or (given.is_complex() and _storage(given) not in self._from_real):
            return
        self._from_real.add(_storage(out))
        self._alive.append(out)


class _ProductsByName(TorchFunctionMode):
    """Tells a counter when an element-wise product is all that there is of a product asked for by its name.

    And when a tensor is handed to another library, whose work it cannot see.
    """

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in LEAVES_PYTORCH:
            self.counter.unknown.add(f"Tensor.{name}")
        counts = name in PRODUCTS
        self.counter.product_by_name += counts
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.counter.product_by_name -= counts


PRODUCTS = {"outer", "ger", "kron", "einsum", "vecdot", "linalg_vecdot"}
LEAVES_PYTORCH = {"numpy", "__array__", "__dlpack__"}
FROM_REAL = {"aten::_to_copy", "aten::constant_pad_nd", "aten::clone"}
ACCUMULATE = {"aten::index_put", "aten::_unsafe_index_put"}


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata if value.layout == torch.strided else id(value)


def _without_work(func: Any, name: str) -> bool:
    """Whether an operator is one that the count leaves out: a view, a factory, element-wise, or listed."""
    namespace, _, plain = name.partition("::")
    schema = func._schema
    if any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
        return True
    if not any("Tensor" in str(argument.type) for argument in schema.arguments):
        return True
    if {torch.Tag.pointwise, torch.Tag.view_copy, torch.Tag.inplace_view} & set(func.tags):
        return True
    if namespace != "aten":
        return namespace == "prim"
    if plain in NOT_COUNTED and func._overloadname not in ("reduce", "value_reduce"):
        return True
    # tags of what it is the in-place form of, or the one of a list
    twin = getattr(torch.ops.aten, plain.removeprefix("_foreach_"), None)
    return twin is not None and any(torch.Tag.pointwise in getattr(twin, o).tags for o in twin.overloads())


def _times(out: Any) -> int:
    """Operations of a multiply-add: of complex numbers four times as many."""
    return 8 if out.is_complex() else 2


def _product(out: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> float:
    """(..., m, k) @ (..., k, n): each output number takes k multiply-adds; of a sparse matrix its numbers alone."""
    for sparse, dense, side in ((a, b, -1), (b, a, 0)):
        if sparse.layout != torch.strided:
            return _times(out) * sparse._nnz() * (dense.shape[side] if dense.dim() > 1 else 1)
    return _times(out) * out.numel() * a.shape[-1]


def _added_product(out: Tensor, added: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> float:
    return _product(out, a, b)


def _added_batch(out: Tensor, added: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> float:
    return _times(out) * a.numel() * b.shape[-1]


def _outer(out: Tensor, added: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> float:
    return _times(out) * out.numel()


def _dot(out: Tensor, a: Tensor, *_: Any) -> float:
    return _times(out) * a.numel()


def _trilinear(out: Tensor, a: Tensor, b: Tensor, c: Tensor, *axes: Any) -> float:
    """a (..., i), b (o, i, j) and c (..., j): a product of a and b, and one with c."""
    expanded = [list(value.shape) for value in (a, b, c)]
    for shape, added in zip(expanded, axes[:3], strict=True):
        for axis in sorted(added):
            shape.insert(axis, 1)
    full = [max(sides) for sides in zip(*expanded, strict=True)]
    first = math.prod(n for n, x, y in zip(full, expanded[0], expanded[1], strict=True) if x > 1 or y > 1)
    return _times(out) * (first + first // max(1, _summed_before(expanded)))


def _summed_before(shapes: list[list[int]]) -> int:
    """The length of the axis that a and b share and c has not: it is gone after their product."""
    return math.prod(x for x, y, z in zip(*shapes, strict=True) if x == y and z == 1)


def _convolution(
    out: Tensor, x: Tensor, w: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *_: Any
) -> float:
    return _times(out) // 2 * conv_flop_count([*x.shape], [*w.shape], [*out.shape], transposed=transposed)


def _time_convolution(out: Tensor, x: Tensor, w: Tensor, *_: Any) -> float:
    """conv_tbc, whose kernel is (length, in, out)."""
    return _times(out) * out.numel() * w.shape[0] * w.shape[1]


def _attention(out: Any, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> float:
    return 2 * math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _multiply(out: Any, a: Any, b: Any, *_: Any) -> float:
    """Of complex numbers alone, as the step of an algorithm; of real ones it is an activation or a scale."""
    if not out.is_complex():
        return 0
    both = all((isinstance(value, Tensor) and value.is_complex()) or isinstance(value, complex) for value in (a, b))
    return (6 if both else 2) * out.numel()


def _added_multiply(out: Tensor, added: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> float:
    return 8 * out.numel() if out.is_complex() else 0


def _average_pool(out: Tensor, x: Tensor, window: Sequence[int], *_: Any, **__: Any) -> float:
    """As many additions as the window has places, for every output number."""
    axes = 3 if x.dim() == 5 else 2
    return out.numel() * (math.prod(window) if len(window) > 1 else window[0] ** axes)


def _overlap_add(out: Tensor, x: Tensor, *_: Any) -> float:
    return x.numel()


def _embedding_bag(out: Any, weight: Tensor, indices: Tensor, offsets: Tensor, *rest: Any, **named: Any) -> float:
    """The rows of each bag are added; with weights of their own each takes a multiply-add."""
    mode = rest[1] if len(rest) > 1 else named.get("mode", 0)
    weights = rest[3] if len(rest) > 3 else named.get("per_sample_weights")
    return 0 if mode == 2 else (1 if weights is None else 2) * indices.numel() * weight.shape[1]


def _recurrent_layer(out: Any, x: Tensor, into: Tensor, hidden: Tensor, *_: Any) -> float:
    """A layer of an RNN as one operator: at every step a product with each of its two matrices."""
    return 2 * x.shape[0] * x.shape[1] * (into.numel() + hidden.numel())


def _real_fft(out: Tensor, x: Tensor, axes: Sequence[int], *_: Any) -> float:
    """Of real numbers, into them or out of them: the real side says how many."""
    real = out if x.is_complex() else x
    return 2.5 * real.numel() * math.log2(math.prod(real.shape[axis] for axis in axes))


def _complex_fft(out: Tensor, x: Tensor, axes: Sequence[int], *_: Any) -> float:
    return 5.0 * x.numel() * math.log2(math.prod(x.shape[axis] for axis in axes))


def _plane_transform(out: Tensor, x: Tensor, left: Tensor, right: Tensor, *rest: Any) -> float:
    """For every input plane and term a product from the right, and from each a product from the left per result."""
    batch, groups, given, height, width = x.shape
    results, _, terms, new_height, _ = left.shape
    return 2 * batch * groups * given * terms * height * right.shape[1] * (width + results * new_height)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::mv", "aten::_int_mm", "aten::_grouped_mm"), _product),
    **dict.fromkeys(("aten::addmm", "aten::addmv", "aten::baddbmm", "aten::_sparse_addmm"), _added_product),
    "aten::_addmm_activation": _added_product,
    "aten::addbmm": _added_batch,
    "aten::addr": _outer,
    **dict.fromkeys(("aten::dot", "aten::vdot"), _dot),
    "aten::_trilinear": _trilinear,
    "aten::convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "aten::conv_tbc": _time_convolution,
    **dict.fromkeys(
        (
            f"aten::_scaled_dot_product_{way}"
            for way in (
                *("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention"),
                "fused_attention_overrideable",
            )
        ),
        _attention,
    ),
    "aten::mul": _multiply,
    "aten::addcmul": _added_multiply,
    **dict.fromkeys(("aten::avg_pool2d", "aten::avg_pool3d"), _average_pool),
    **dict.fromkeys(("aten::col2im", "aten::unfold_backward"), _overlap_add),
    **dict.fromkeys(("aten::_embedding_bag", "aten::_embedding_bag_forward_only"), _embedding_bag),
    "aten::mkldnn_rnn_layer": _recurrent_layer,
    **dict.fromkeys(("aten::_fft_r2c", "aten::_fft_c2r"), _real_fft),
    "aten::_fft_c2c": _complex_fft,
    "token_mixers::plane_transform": _plane_transform,
}
