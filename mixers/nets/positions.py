"""What tells the tokens their places behind the stem of `MixerNet`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixers.families.attention import sines_and_cosines
from mixers.fixed import FixedTensors

POSITIONS = ("none", "learned", "sine")


class LearnedPositions(nn.Module):
    """A learned vector for each token (Dosovitskiy et al., 2021): (dim, rows, columns).

    It starts as timm's do, normal of standard deviation 0.02, whose truncation at 100 of these takes nothing off, and
    no weight decay should pull it back.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, *size).normal_(std=0.02))

    def forward(self) -> Tensor:
        return self.weight


class SinePositions(FixedTensors):
    """Fixed sines and cosines of row and column, as `SelfAttention` has them: (dim, rows, columns)."""

    sines: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.dim, self.size = dim, size
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"sines": sines_and_cosines(self.dim, self.size).T.unflatten(1, self.size).contiguous()}

    def forward(self) -> Tensor:
        return self.sines


def make_positions(positions: str, dim: int, size: tuple[int, int]) -> nn.Module | None:
    """The positions of a given kind, see `MixerNet`; None for "none"."""
    if positions == "none":
        return None
    return LearnedPositions(dim, size) if positions == "learned" else SinePositions(dim, size)


def add_positions(x: Tensor, positions: Tensor) -> Tensor:
    """The sum in the dtype of x, (B, dim, rows, columns), which autocast may have made another than the weights'."""
    return x + positions.to(x.dtype)
