"""Two documents through one net, and what is said of the two: (B, 2, N) -> (B, num_classes)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers import MixerNet
from mixers.base import Mixer, MixerError


class TwoTowers(nn.Module):
    """linear(gelu(linear([a, b, a * b, a - b]))) of the pooled features a, b of two documents by the same net.

    Long Range Arena's head for matching (Tay et al., 2020, `classifier_head_dual` with interaction "NLI") has these
    four parts too; its activation is relu, and it has a third linear layer between the two, of half the width. The
    width of the hidden layer is the net's `dim`.

    Args:
        net: without a head (num_classes=0) and pooled: tokens (B, N) -> (B, dim).
        num_classes: outputs.

    Raises:
        MixerError: the net has a head.
    """

    documents = 2  # of an example; each goes through the mixers

    def __init__(self, net: MixerNet, num_classes: int) -> None:
        super().__init__()
        if net.num_classes:
            raise MixerError(f"the net of a tower has a head of {net.num_classes} classes; allowed: num_classes=0")
        dim = net.num_features
        self.tower = net
        self.num_classes, self.num_features = num_classes, dim
        self.hidden, self.head = nn.Linear(4 * dim, dim), nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] != 2:
            raise MixerError(f"the input has shape {tuple(x.shape)}; two towers take (batch, 2, tokens)")
        a, b = self.tower(x.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
        return self.head(F.gelu(self.hidden(torch.cat([a, b, a * b, a - b], 1))))

    @property
    def mixers(self) -> list[Mixer]:
        """The mixing layers, which both documents go through."""
        return self.tower.mixers

    @property
    def blocks(self) -> nn.Sequential:
        return self.tower.blocks

    @property
    def stem(self) -> nn.Module:
        return self.tower.stem

    @property
    def norm(self) -> nn.Module:
        return self.tower.norm

    @property
    def memory_format(self) -> torch.memory_format:
        return self.tower.memory_format

    def no_weight_decay(self) -> set[str]:
        return {f"tower.{name}" for name in self.tower.no_weight_decay()}

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        return self.tower.method_on(device, dtype)

    def flops(self) -> int:
        """Of a pair, forward; as the net counts them."""
        return 2 * self.tower.flops() + self._head_flops()

    def flops_executed(self) -> int:
        return 2 * self.tower.flops_executed() + self._head_flops()

    def _head_flops(self) -> int:
        return 2 * self.num_features * (4 * self.num_features + self.num_classes)
