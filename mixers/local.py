"""Local mixers: a token meets its neighbours, or nobody."""

from __future__ import annotations

import torch
from torch import Tensor

from mixers.base import Mixer
from mixers.registry import register_mixer


@register_mixer(
    "conv1x1",
    family="local",
    complexity="0",
    paper="FNet's FF-only (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class Conv1x1(Mixer):
    """The identity: no mixing; the backbone's own 1x1 convolutions are all there is.

    y = x. The baseline that tells what mixing is worth. No FLOPs of its own.
    """

    memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        return x

    def flops(self) -> int:
        return 0

    def reference(self, x: Tensor) -> Tensor:
        return x.to(torch.float64)
