"""Perceptrons over the tokens: learned mixing with something nonlinear in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import flag, whole_number
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

    Args:
        dim: channels.
        size: (H, W) of the grid.
        hidden: width; by default dim / 2, as in the paper's nets.

    Raises:
        MixerError: hidden is not positive.
    """

    def __init__(self, dim: int, size: tuple[int, int], hidden: int | None = None) -> None:
        super().__init__(dim, size)
        hidden = max(1, dim // 2) if hidden is None else hidden
        self.hidden = hidden = whole_number("mlp_mixer: hidden", hidden, 1)
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
    complexity="C N^2",
    paper="gMLP, Pay Attention to MLPs (https://arxiv.org/abs/2105.08050)",
    year=2021,
)
class GMLP(Mixer):
    """Spatial gating unit: one half of the channels times a learned linear map of the other half over the tokens.

    Y = U * (A norm(V) + b) with U and V the two halves of X, A (N, N) and b (N) shared by the channels, and the layer
    norm over the channels that the paper has there. A starts near zero and b at one, so that the unit starts as U.
    Complexity C N^2 with the split, 2 C N^2 without.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        split: True for the two halves, C / 2 out; False gates X by itself, C out.

    Raises:
        UnsupportedSize: dim is odd and to be split.
    """

    def __init__(self, dim: int, size: tuple[int, int], split: bool = True) -> None:
        super().__init__(dim, size)
        split = flag("gmlp: split", split)
        if split and dim % 2:
            raise UnsupportedSize(f"gmlp splits the channels in halves; dim {dim} is odd")
        self.split = split
        self.out_channels = dim // 2 if split else dim
        self.norm = nn.LayerNorm(self.out_channels)
        self.gate = nn.Linear(self.tokens, self.tokens)
        nn.init.normal_(self.gate.weight, std=1e-3)
        nn.init.ones_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, 1) if self.split else (x, x)
        return kept * self.gate(self._normed(gate)).unflatten(2, self.size)

    def _normed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, N), in float32 inside: on a CPU the gradients of gain and bias are summed in x's."""
        tokens = x.flatten(2).mT
        if x.dtype not in (torch.bfloat16, torch.float16):
            return self.norm(tokens).mT
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.norm.weight.float(), self.norm.bias.float()
            return F.layer_norm(tokens.float(), weight.shape, weight, bias, self.norm.eps).to(x.dtype).mT

    def flops(self) -> int:
        return 2 * self.out_channels * self.tokens**2

    def reference(self, x: Tensor) -> Tensor:
        weights = {name: parameter.to(torch.float64) for name, parameter in self.named_parameters()}
        exact = x.to(torch.float64)
        kept, gate = exact.chunk(2, 1) if self.split else (exact, exact)
        centred = gate - gate.mean(1, keepdim=True)
        normed = centred / (centred.square().mean(1, keepdim=True) + self.norm.eps).sqrt()
        normed = normed * weights["norm.weight"][:, None, None] + weights["norm.bias"][:, None, None]
        mixed = torch.einsum("mn,bcn->bcm", weights["gate.weight"], normed.flatten(2)) + weights["gate.bias"]
        return kept * mixed.unflatten(2, self.size)
