"""Perceptrons over the tokens: learned mixing with something nonlinear in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import bounded, flag
from mixers.base import Mixer, UnsupportedSize
from mixers.registry import register_mixer


@register_mixer(
    "mlp_mixer",
    family="mlp",
    complexity="C N hidden",
    paper="MLP-Mixer (https://arxiv.org/abs/2105.01601)",
    year=2021,
)
class MLPMixer(Mixer):
    """Two layers over the tokens with a GELU between them, N -> hidden -> N, shared by the channels.

    Complexity 4 C N hidden.

    The paper's token-mixing perceptron. By default it is half as wide as there are channels, as in the paper; there
    that widens the tokens (196 to 384 in its B/16), whereas at 32 px, patch 4, dim 64 it narrows 64 to 32:
    `mlp_mixer(hidden=128)` widens them twofold.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        hidden: width; by default dim / 2.

    Raises:
        MixerError: hidden is not from 1 to 65,536.
    """

    def __init__(self, dim: int, size: tuple[int, int], hidden: int | None = None) -> None:
        super().__init__(dim, size)
        hidden = max(1, dim // 2) if hidden is None else hidden
        self.hidden = hidden = bounded("mlp_mixer: hidden", hidden, 2**16)
        self.expand = nn.Linear(self.tokens, hidden)
        self.contract = nn.Linear(hidden, self.tokens)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.gelu(self.expand(x.flatten(2)))).unflatten(2, self.size)

    def flops(self) -> int:
        return 4 * self.dim * self.tokens * self.hidden

    def reference(self, x: Tensor) -> Tensor:
        weights = {name: parameter.to(torch.float64) for name, parameter in self.named_parameters()}
        tokens = x.to(torch.float64).flatten(2)
        hidden = torch.einsum("hn,bcn->bch", weights["expand.weight"], tokens) + weights["expand.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        mixed = torch.einsum("nh,bch->bcn", weights["contract.weight"], hidden) + weights["contract.bias"]
        return mixed.unflatten(2, self.size)


@register_mixer(
    "gmlp",
    family="mlp",
    complexity="C^2 N + C N^2",
    paper="gMLP, Pay Attention to MLPs (https://arxiv.org/abs/2105.08050)",
    year=2021,
)
class GMLP(Mixer):
    """Spatial gating unit: the channels expanded, one half times a learned linear map of the other over the tokens.

    [U, V] = gelu(W X), W (E, C) with E = expansion C, and Y = U * (A norm(V) + b): A (N, N) and b (N) are shared by
    the channels, the layer norm is over them, and the GELU is its exact form. A starts near zero and b at one, so that
    the unit starts as U. Complexity 2 E C N + E N^2 with the split, 2 E C N + 2 E N^2 without.

    Differs from the paper in that the linear map back to C channels is the block's own 1x1 convolution, behind the
    block's second norm; in that its blocks have no other perceptron, where ours do; and in the expansion, there 6.
    With 2 a net has about attention's parameters: 145,700 against 145,188 at 32 px, patch 4, dim 64, depth 4 and 100
    classes.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        expansion: E / C.
        split: True for the two halves, E / 2 channels out; False gates all of them by themselves, E out.

    Raises:
        MixerError: expansion is not from 1 to 1,024.
        UnsupportedSize: E is odd and to be split.
    """

    version = 2  # 1 gated the channels as they came, without expansion and GELU
    memory_format = torch.channels_last

    def __init__(self, dim: int, size: tuple[int, int], expansion: int = 2, split: bool = True) -> None:
        super().__init__(dim, size)
        self.expansion = bounded("gmlp: expansion", expansion, 2**10)
        self.split = flag("gmlp: split", split)
        width = self.expansion * dim
        if self.split and width % 2:
            raise UnsupportedSize(f"gmlp splits the channels in halves; dim {dim} with expansion {expansion} is odd")
        self.out_channels = width // 2 if self.split else width
        self.expand = nn.Linear(dim, width)
        self.norm = nn.LayerNorm(self.out_channels)
        self.gate = nn.Linear(self.tokens, self.tokens)
        nn.init.normal_(self.gate.weight, std=1e-3)
        nn.init.ones_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = F.gelu(self.expand(x.permute(0, 2, 3, 1).flatten(1, 2)))  # [B, N, E], from channels_last
        kept, gate = tokens.chunk(2, 2) if self.split else (tokens, tokens)
        gated = kept * self.gate(self._normed(gate).mT).mT
        return gated.unflatten(1, self.size).permute(0, 3, 1, 2)

    def _normed(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> the same, in float32 inside: on a CPU the gradients of gain and bias are summed in its dtype."""
        weight, bias = self.norm.weight, self.norm.bias
        if weight.dtype not in (torch.bfloat16, torch.float16):
            return self.norm(tokens.to(weight.dtype))  # half under autocast
        with torch.autocast(tokens.device.type, enabled=False):
            normed = F.layer_norm(tokens.float(), weight.shape, weight.float(), bias.float(), self.norm.eps)
            return normed.to(tokens.dtype)

    def flops(self) -> int:
        return 2 * self.expansion * self.dim**2 * self.tokens + 2 * self.out_channels * self.tokens**2

    def reference(self, x: Tensor) -> Tensor:
        weights = {name: parameter.to(torch.float64) for name, parameter in self.named_parameters()}
        wide = torch.einsum("ec,bchw->behw", weights["expand.weight"], x.to(torch.float64))
        wide = wide + weights["expand.bias"][:, None, None]
        wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
        kept, gate = wide.chunk(2, 1) if self.split else (wide, wide)
        centred = gate - gate.mean(1, keepdim=True)
        normed = centred / (centred.square().mean(1, keepdim=True) + self.norm.eps).sqrt()
        normed = normed * weights["norm.weight"][:, None, None] + weights["norm.bias"][:, None, None]
        mixed = torch.einsum("mn,bcn->bcm", weights["gate.weight"], normed.flatten(2)) + weights["gate.bias"]
        return kept * mixed.unflatten(2, self.size)
