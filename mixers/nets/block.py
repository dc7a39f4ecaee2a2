"""The block of the backbone: a mixing layer and a perceptron, each with norm, scale and residual."""

from __future__ import annotations

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.base import Mixer
from mixers.fixed import FixedTensors
from mixers.nets.norms import make_norm
from mixers.transforms.methods import laid_out


class Block(nn.Module):
    """One mixing layer and one two-layer perceptron per token, each with norm, scale and residual."""

    def __init__(
        self,
        mixer: Mixer,
        mlp_ratio: float,
        norm: str,
        coordinates: bool,
        layer_scale: float,
        drop_path: float = 0.0,
        keep_half: bool = False,
    ) -> None:
        super().__init__()
        dim = mixer.dim
        self.hidden = int(dim * mlp_ratio)
        self.norm1 = make_norm(norm, dim, mixer.memory_format, keep_half)
        self.mixer = mixer
        self.norm2 = make_norm(norm, mixer.out_channels, mixer.memory_format, keep_half)
        self.proj = ScaledConv1x1(mixer.out_channels, dim, 1)
        self.coordinates = Coordinates(mixer.size, dim, mixer.out_channels) if coordinates else None
        self.scale1 = nn.Parameter(torch.full((dim,), float(layer_scale)))
        self.norm3 = make_norm(norm, dim, mixer.memory_format, keep_half)
        self.expand = nn.Conv2d(dim, self.hidden, 1)
        self.contract = ScaledConv1x1(self.hidden, dim, 1)
        self.scale2 = nn.Parameter(torch.full((dim,), float(layer_scale)))
        self.drop_path = drop_path

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        # a copy only where the block before has another
        x = laid_out(x, getattr(self.mixer, "memory_format", torch.contiguous_format))
        told = (real,) if real is not None and getattr(self.mixer, "takes_padding", False) else ()
        mixed = self.norm2(self.mixer(self.norm1(x), *told))
        kept = self._kept(x)
        branch = _times(scaled(self.proj, mixed, self.scale1), kept)
        positions = None if self.coordinates is None else _times(self.coordinates(self.scale1), kept)
        x = x + branch if positions is None else add_both(x, branch, positions)
        hidden = F.gelu(self.expand(self.norm3(x)))
        return x + _times(scaled(self.contract, hidden, self.scale2), self._kept(x))

    def _kept(self, x: Tensor) -> Tensor | None:
        """Stochastic depth: 0 for the images whose branch is left out, 1 / (1 - rate) for the others; None for none."""
        if not (self.training and self.drop_path):
            return None
        keep = 1 - self.drop_path
        return x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep) / keep


class Coordinates(FixedTensors):
    """The two coordinate channels of a 1x1 convolution, in [-1, 1], as what they are: a bias per position.

    A 1x1 convolution over [x, row, column] is one over x plus w_row row + w_column column. The weights start as those
    of a convolution with `fan_in` + 2 input channels do.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], dim: int, fan_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, 2).uniform_(-1, 1) / (fan_in + 2) ** 0.5)
        self.size = size
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        rows, columns = (torch.linspace(-1, 1, n, dtype=dtype) if n > 1 else torch.zeros(1) for n in self.size)
        return {"rows": rows[:, None], "columns": columns[None, :]}

    def forward(self, scale: Tensor) -> Tensor:
        """The bias (dim, H, W), times `scale` (dim,)."""
        row, column = (self.weight * scale[:, None]).unbind(1)
        return row[:, None, None] * self.rows + column[:, None, None] * self.columns


class ScaledConv1x1(nn.Conv2d):
    """A 1x1 convolution that takes a scale per output channel into its weights, which are far smaller than the output.

    (B, in_channels, H, W) -> (B, out_channels, H, W), times `scale` (out_channels,) where one is given.
    """

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        if scale is None:
            return super().forward(x)
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, None if self.bias is None else self.bias * scale)


def scaled(conv: nn.Module, x: Tensor, scale: Tensor) -> Tensor:
    """scale * conv(x) by a `ScaledConv1x1`, or by whatever a user has put in its place or around it."""
    return conv(x, scale) if isinstance(conv, ScaledConv1x1) else conv(x) * scale[:, None, None]


@torch.fx.wrap
def add_both(x: Tensor, branch: Tensor, positions: Tensor) -> Tensor:
    """The sum; in bfloat16 the small ones first: one rounding to the few digits of the large sum."""
    if x.dtype == torch.bfloat16:
        return x + (branch + positions.to(x.dtype))
    return x + branch + positions


def _times(branch: Tensor, kept: Tensor | None) -> Tensor:
    return branch if kept is None else branch * kept
