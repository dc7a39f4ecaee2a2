"""Attention: the weights of the mixing are computed from the tokens themselves."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixers.base import Mixer, MixerError
from mixers.registry import register_mixer


@register_mixer(
    "attention",
    family="attention",
    complexity="N C^2 + C N^2",
    paper="Attention Is All You Need (https://arxiv.org/abs/1706.03762)",
    year=2017,
)
class Attention(Mixer):
    """Multi-head self-attention.

    Y_h = softmax(Q_h K_h^T / sqrt(d)) V_h for each head h of width d, with Q, K, V = X W_q, X W_k, X W_v. Complexity
    6 N C^2 for the projections and 4 N^2 C for the two products. Runs through PyTorch's scaled dot-product attention.

    Differs from the paper in that the output projection is the block's own 1x1 convolution.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        heads: number of heads; by default heads are 32 wide, or the widest of 24, 16, 8 that divides dim.
        backend: "auto" lets PyTorch choose; "plain" forms the N x N weights in memory, as was usual in 2021.

    Raises:
        MixerError: heads does not divide dim, or backend is unknown.
    """

    memory_format = torch.channels_last

    def __init__(self, dim: int, size: tuple[int, int], heads: int | None = None, backend: str = "auto") -> None:
        super().__init__(dim, size)
        if heads is None:
            heads = dim // next((width for width in (32, 24, 16, 8) if dim % width == 0), dim)
        if not isinstance(heads, int) or heads < 1 or dim % heads:
            fits = [n for n in range(1, dim + 1) if dim % n == 0]
            raise MixerError(
                f"attention cannot split dim {dim} into {heads} heads; allowed: {', '.join(map(str, fits))}"
            )
        if backend not in ("auto", "plain"):
            raise MixerError(f"attention has no backend {backend!r}; allowed: auto, plain")
        self.heads = heads
        self.backend = backend
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, dim, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, dim)  # a view of channels_last input
        qkv = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [3, B, heads, N, d]
        if self.backend == "plain":
            with sdpa_kernel(SDPBackend.MATH):
                mixed = F.scaled_dot_product_attention(*qkv.unbind(0))
        else:
            mixed = F.scaled_dot_product_attention(*qkv.unbind(0))
        return mixed.transpose(1, 2).reshape(batch, height, width, dim).permute(0, 3, 1, 2)

    def flops(self) -> int:
        n, c = self.tokens, self.dim
        return 6 * n * c**2 + 4 * n**2 * c

    def reference(self, x: Tensor) -> Tensor:
        weight, bias = self.qkv.weight.to(torch.float64), self.qkv.bias.to(torch.float64)
        tokens = x.to(torch.float64).flatten(2).mT  # [B, N, C]
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (tokens @ weight.T + bias).chunk(3, 2)
        )
        weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)  # [B, heads, N, N]
        return (weights @ v).transpose(1, 2).flatten(2).mT.unflatten(2, self.size)
