"""One kernel for every transform that is a sum of A X B^T: an image plane in, both products on the chip, a plane out.

`plane_transform` is a PyTorch operator: it has a gradient, works under `torch.compile` and `torch.export`, and runs as
a Triton kernel on CUDA tensors with planes of up to 128 tokens a side, as matrix products otherwise. One read and one
write of memory, where two matrix products take two of each and an FFT more.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from mixers.transforms.definitions import separable
from mixers.transforms.methods import transformed

MAX_SIDE = 128  # a plane and its matrices have to fit on the chip
MOST_RESULTS = 2  # of a group of planes that one program makes
SMALLEST_BLOCK = 16  # of a product on tensor cores
MOST_COLUMNS = 64  # of a result that one program makes
PROGRAM_BYTES = 8192  # of the results of small planes that one program makes together
FULL_GRID = 4 * 132  # programs: a few for each multiprocessor of a large GPU


@torch.compiler.assume_constant_result  # nothing in here is for a compiler to follow
def can_fuse(device: str, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> bool:
    """Whether planes of this size have a kernel on this type of device; with TRITON_INTERPRET=1 a CPU has one too."""
    if max(size) > MAX_SIDE or not _has_triton():
        return False
    return _interpreted() if device == "cpu" else device == "cuda" and dtype != torch.float64 and _new_enough()


def plane_transform(x: Tensor, left: Tensor, right: Tensor, parts_first: bool = False) -> Tensor:
    """Y[b, g, j] = sum over i and t of left[j, i, t] X[b, g, i] right[t]^T, accumulated in float32 or better.

    Args:
        x: (B, G, I, H, W): G groups of I planes.
        left: (J, I, T, H', H), of x's dtype.
        right: (T, W', W), of x's dtype.
        parts_first: lay the result out in memory as (B, J, G, H', W').

    Returns:
        (B, G, J, H', W').
    """
    if _no_operator():
        return by_products(x, left, right)
    return torch.ops.token_mixers.plane_transform(x, left, right, parts_first)


def _no_operator() -> bool:
    """Whether something of `torch.func` or forward mode is at work, which PyTorch does not lead through an operator."""
    return transformed() or (not torch.compiler.is_compiling() and torch.autograd.forward_ad._current_level >= 0)


@torch.library.custom_op("token_mixers::plane_transform", mutates_args=())
def _plane_transform(x: Tensor, left: Tensor, right: Tensor, parts_first: bool) -> Tensor:
    out = _empty_result(x, left, right, parts_first)
    planes = x.shape[:3].numel()
    if planes and len(left) <= MOST_RESULTS and can_fuse(x.device.type, (max(left.shape[-2:]), x.shape[-1]), x.dtype):
        _launch(x, left, right, out)
    elif planes:
        out.copy_(by_products(x, left, right))
    return out


@_plane_transform.register_fake
def _(x: Tensor, left: Tensor, right: Tensor, parts_first: bool) -> Tensor:
    return _empty_result(x, left, right, parts_first)


def _empty_result(x: Tensor, left: Tensor, right: Tensor, parts_first: bool) -> Tensor:
    batch, groups = x.shape[:2]
    outputs, plane = left.shape[0], (left.shape[3], right.shape[1])
    if parts_first:
        return x.new_empty(batch, outputs, groups, *plane).transpose(1, 2)
    return x.new_empty(batch, groups, outputs, *plane)


def by_products(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The same as two matrix products: for planes without a kernel, and for the kernel's tests."""
    if left.shape[:3] == (1, 1, 1):  # one term: nothing to stack and to sum
        return separable(x, left[0, 0, 0], right[0])
    batch, groups, inputs, height, width = x.shape
    outputs, _, terms, new_height, _ = left.shape
    rows, columns = product_matrices(left, right)
    stacked = torch.matmul(rows, x.reshape(batch * groups, inputs * height, width))
    y = torch.matmul(stacked.view(batch * groups, outputs * new_height, terms * width), columns)
    return y.view(batch, groups, outputs, new_height, right.shape[1])


def product_matrices(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """(J H' T, I H) and (T W, W'): the first product leaves its terms side by side, the second sums over them."""
    rows = left.permute(0, 3, 2, 1, 4).flatten(3, 4).flatten(0, 2)
    return rows, right.mT.flatten(0, 1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, left, right, _ = inputs
    learned = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
    ctx.save_for_backward(left, right, x if learned else None)
    ctx.parts_first = x.stride(1) < x.stride(2)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    left, right, x = ctx.saved_tensors
    gradient = gradient.to(left.dtype)
    d_x = d_left = d_right = None
    if ctx.needs_input_grad[0]:  # the same transform, its matrices transposed and inputs and outputs changed about
        d_x = plane_transform(gradient, left.transpose(0, 1).mT, right.mT, ctx.parts_first)
    if ctx.needs_input_grad[1]:
        after = torch.matmul(x[:, :, :, None], right.mT)  # (B, G, I, T, H, W')
        d_left = torch.einsum("bgjvw,bgithw->jitvh", gradient, after)
    if ctx.needs_input_grad[2]:
        before = torch.einsum("jitvh,bgihw->bgjtvw", left, x)
        d_right = torch.einsum("bgjvu,bgjtvw->tuw", gradient, before)
    return d_x, d_left, d_right, None


_plane_transform.register_autograd(_backward, setup_context=_save)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _new_enough() -> bool:
    """Whether the GPUs here hold a plane of 128 x 128 and its matrices on the chip: compute capability 8.0 or more."""
    return all(torch.cuda.get_device_capability(i) >= (8, 0) for i in range(torch.cuda.device_count()))


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _launch(x: Tensor, left: Tensor, right: Tensor, out: Tensor) -> None:
    from mixers.transforms.fused_kernel import kernel

    if x.stride(-1) != 1:
        x = x.contiguous()
    batch, groups, inputs, height, width = x.shape
    outputs, _, terms, new_height, _ = left.shape
    new_width, planes = right.shape[1], batch * groups
    sizes = launch_sizes(planes, (height, width), (new_height, new_width), x.element_size())
    with torch.cuda.device_of(x):  # Triton launches on the current device
        kernel[(-(-planes // sizes["together"]) * -(-new_width // sizes["block_w_out"]),)](
            *(x, left, right, out, planes, groups, height, width, new_height, new_width),
            *(*x.stride()[:4], *left.stride(), *right.stride(), *out.stride()[:3]),
            inputs=inputs,
            outputs=outputs,
            terms=terms,
            exact=x.dtype == torch.float64,
            interpreted=_interpreted(),
            **sizes,
        )


def launch_sizes(planes: int, size: tuple[int, int], new_size: tuple[int, int], bytes_each: int) -> dict[str, int]:
    """What one program makes of `planes` groups of planes, and by how many warps, so that it all fits in registers.

    Results of 128 x 64 numbers of two bytes or of 64 x 64 of four take eight warps. Float32 takes three numbers in
    TF32 for each factor, so that fewer rows are read at a time.
    """
    block_h, block_w, block_h_out, block_w_out = map(_block, (*size, *new_size))
    block_w_out = min(block_w_out, MOST_COLUMNS)
    block_h = min(block_h, max(SMALLEST_BLOCK, (4096 if bytes_each == 2 else 1024) // max(block_w, block_h_out)))
    together = max(1, PROGRAM_BYTES // (bytes_each * max(block_h * block_w, block_h_out * block_w_out)))
    while together > 1 and planes * -(-new_size[1] // block_w_out) < FULL_GRID * together:
        together //= 2
    most_bytes = bytes_each * block_w_out * max(together * block_h_out, block_w)  # of the results or of B
    return {
        "together": together,
        "chunks": -(-size[0] // block_h),
        "block_h": block_h,
        "block_w": block_w,
        "block_h_out": block_h_out,
        "block_w_out": block_w_out,
        "num_warps": 8 if most_bytes > PROGRAM_BYTES else 4 if most_bytes > 1024 else 1,
        "num_stages": 2,
    }


def _block(n: int) -> int:
    return max(SMALLEST_BLOCK, 1 << (n - 1).bit_length())
