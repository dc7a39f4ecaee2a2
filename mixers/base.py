"""The contract that every token mixer keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixerError(ValueError):
    """A mixer that does not exist, or that cannot be built as asked. The message is one line for the user."""


class UnsupportedSize(MixerError):
    """The mixer does not exist at this dim or size, by its definition."""


class Mixer(nn.Module):
    """Mixes tokens: real (B, dim, H, W) -> real (B, out_channels, H, W).

    A subclass calls `super().__init__(dim, size)`, may assign `out_channels`, and defines `forward` and `flops`. It
    mixes tokens and nothing else: norms, residuals and the output projection are the backbone's.

    Args:
        dim: channels of the input, a multiple of 8 in the backbone.
        size: (H, W) of the grid of tokens.

    Raises:
        UnsupportedSize: dim or size is not positive.
    """

    memory_format: torch.memory_format = torch.contiguous_format  # the layout in which this mixer is fastest
    version: int = 1  # raised by whoever changes what it computes; results of two versions are never averaged

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        if dim < 1 or height < 1 or width < 1:
            raise UnsupportedSize(f"dim {dim} on a grid of {height} x {width} tokens: all must be at least 1")
        self.dim = dim
        self.size = (height, width)
        self.out_channels = dim

    @property
    def tokens(self) -> int:
        """N = H W."""
        return self.size[0] * self.size[1]

    def check_size(self, x: Tensor) -> None:
        """For mixers whose weights fit one grid only.

        Raises:
            MixerError: x has another number of channels, rows or columns.
        """
        if x.shape[1:] != (self.dim, *self.size):
            built, given = (" x ".join(map(str, shape)) for shape in ((self.dim, *self.size), x.shape[1:]))
            raise MixerError(f"{type(self).__name__} was built for inputs of {built} (C x H x W), this one is {given}")

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def flops(self) -> int:
        """Real floating-point operations of the algorithm for one image, forward, 2 per multiply-add."""
        raise NotImplementedError

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        """Which implementation runs on this type of device for input of this dtype, as records name it."""
        return "plain"

    def flops_executed(self) -> int:
        """Operations that this implementation really does for one image."""
        return self.flops()

    def reference(self, x: Tensor) -> Tensor:
        """The plain definition, slow and obviously right; tests hold `forward` to it."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        height, width = self.size
        return f"dim={self.dim}, size={height}x{width}, out_channels={self.out_channels}"
