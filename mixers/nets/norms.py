"""The norms of the backbone: of an image; and of each token as it lies in memory, with no copy to (B, H, W, C)."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.transforms.methods import autocast_dtype, laid_out, transformed

NORMS = ("image", "token")


def make_norm(norm: str, channels: int, memory_format: torch.memory_format, keep_half: bool = False) -> nn.Module:
    """The norm of a given kind, see `MixerNet`, with a learned gain and bias per channel."""
    return ImageNorm(channels, keep_half) if norm == "image" else TokenNorm(channels, memory_format, keep_half)


class ImageNorm(nn.GroupNorm):
    """Norm over all channels and tokens of each image of (B, C, H, W).

    Args:
        channels: C.
        keep_half: whether a bfloat16 input stays so under autocast, which would lift it to float32; the statistics are
            taken in float32 all the same.
    """

    def __init__(self, channels: int, keep_half: bool = False) -> None:
        super().__init__(1, channels)
        self.keep_half = keep_half

    def forward(self, x: Tensor) -> Tensor:
        if not self.keep_half:
            return super().forward(x)
        return half_group_norm(x, self.weight, self.bias, self.eps)


class TokenNorm(nn.LayerNorm):
    """Layer norm over the channels of each token of (B, C, H, W), in the memory format that the net runs in.

    Args:
        channels: C.
        memory_format: of the output.
        keep_half: as for `ImageNorm`.
    """

    def __init__(self, channels: int, memory_format: torch.memory_format, keep_half: bool = False) -> None:
        super().__init__(channels)
        self.memory_format = memory_format
        self.keep_half = keep_half

    def forward(self, x: Tensor) -> Tensor:
        return laid_out(self._normed(x), self.memory_format)

    def _normed(self, x: Tensor) -> Tensor:
        if not self.keep_half:
            return norm_over_channels(x, self.weight, self.bias, self.eps)
        return half_layer_norm(x, self.weight, self.bias, self.eps)


@torch.fx.wrap
def half_group_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`ImageNorm` that leaves bfloat16 as it is."""
    if x.dtype != torch.bfloat16:
        return F.group_norm(x, 1, weight, bias, eps)
    with torch.autocast(x.device.type, enabled=False):
        return F.group_norm(x, 1, weight.to(x.dtype), bias.to(x.dtype), eps)


@torch.fx.wrap
def half_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`TokenNorm` that leaves bfloat16 as it is."""
    if x.dtype != torch.bfloat16:
        return norm_over_channels(x, weight, bias, eps)
    with torch.autocast(x.device.type, enabled=False):
        return norm_over_channels(x, weight.to(x.dtype), bias.to(x.dtype), eps)


# what depends on the dtype of an activation is a step of its own in a symbolic trace, which knows none
@torch.fx.wrap
def norm_over_channels(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm (Ba et al., 2016) over axis 1 of (B, C, H, W), with a gain and a bias per channel, both (C,).

    PyTorch's operator wants the channels last, and is given them so where its copies are not what it costs: on a GPU,
    of channels_last input, and where a compiler, autocast, forward mode or `torch.func` is at work.
    """
    if _in_place(x, weight):
        return _NormOverChannels.apply(x, weight, bias, eps)
    return _by_operator(x, weight, bias, eps)


def _in_place(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed():
        return False
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.dtype != weight.dtype:
        return False
    other = autocast_dtype("cpu") is not None or torch.autograd.forward_ad._current_level >= 0
    return not other and x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last)


class _NormOverChannels(torch.autograd.Function):
    """Passes over as few tensors as can be, in place, and sums over channels as products with a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        tokens = x.flatten(2)
        row = x.new_full((len(weight),), 1 / len(weight))
        mean = _summed(row, tokens)
        y = tokens - mean
        inverse = (_summed(row, y * y) + eps).rsqrt_()
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.eps = eps
        return y.mul_(inverse).mul_(weight[:, None]).add_(bias[:, None]).view_as(x)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            y, needed = _by_operator(x, weight, bias, ctx.eps), ctx.needs_input_grad[:3]
            inputs = [tensor for tensor, need in zip((x, weight, bias), needed, strict=True) if need]
            gradients = iter(torch.autograd.grad(y, inputs, outputs, create_graph=True))
            return *(next(gradients) if need else None for need in needed), None
        g, centred = outputs[0].flatten(2), x.flatten(2) - mean
        products = g * centred
        row = weight / len(weight)
        slope = _summed(row, products) * inverse.square()
        of_weight = torch.bmm(products, inverse.mT).sum((0, 2))
        along = centred.mul_(slope).add_(_summed(row, g))
        of_x = torch.mul(g, weight[:, None], out=products).sub_(along).mul_(inverse)
        return of_x.view_as(x), of_weight, g.sum(2).sum(0), None


def _by_operator(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)


def _summed(row: Tensor, x: Tensor) -> Tensor:
    """The sum over channels of (B, C, N), weighed by row (C,): (B, 1, N)."""
    return torch.bmm(row.expand(len(x), 1, -1), x)
