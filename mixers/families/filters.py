"""Filters in the frequency domain: there, a change, and back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import divisor, finite_number
from mixers.base import Mixer, MixerError
from mixers.registry import register_mixer


@register_mixer(
    "global_filter",
    family="filters",
    complexity="C N log N",
    paper="GFNet, Global Filter Networks for Image Classification (https://arxiv.org/abs/2107.00645)",
    year=2021,
)
class GlobalFilter(Mixer):
    """Each channel's 2-D DFT times a learned complex filter, and back: a cyclic convolution as large as the image.

    Y = F^-1(K * F(X)), K (C, H, W // 2 + 1) complex, stored as real (..., 2), started from N(0, 0.02^2) as in the
    paper. Complexity 5 C N log2 N for the two real FFTs and 3 C N for the products, 6 for each of N / 2 frequencies.

    The paper's layer. Its block has the one residual around filter and perceptron, ours one around each; and its net
    adds learned positions to the tokens, without which nothing tells a cyclic shift from none: here the coordinate
    channels do. The filter is not decayed; the paper's code decays it.
    """

    version = 2  # 1 decayed the filter

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        height, width = self.size
        self.filter = nn.Parameter(0.02 * torch.randn(dim, height, width // 2 + 1, 2))

    def no_weight_decay(self) -> set[str]:
        return {"filter"}

    def forward(self, x: Tensor) -> Tensor:
        real = _real(x)
        spectrum = torch.fft.rfft2(real, norm="ortho") * _complex(self.filter, real.dtype)
        return torch.fft.irfft2(spectrum, s=self.size, norm="ortho").to(x.dtype)

    def flops(self) -> int:
        return _two_ffts(self.dim, self.tokens) + 3 * self.dim * self.tokens

    def flops_executed(self) -> int:
        return _two_ffts(self.dim, self.tokens) + 6 * self.dim * _kept(self.size)

    def reference(self, x: Tensor) -> Tensor:
        return _back(self, _complex(self.filter, torch.float64) * _there(x))


@register_mixer(
    "afno",
    family="filters",
    complexity="C^2 N / blocks + C N log N",
    paper="AFNO, Adaptive Fourier Neural Operators (https://arxiv.org/abs/2111.13587)",
    year=2021,
)
class AFNO(Mixer):
    """A two-layer perceptron over the channels of every frequency, soft shrinkage, and back, plus the input.

    Y = X + F^-1(S(W2 relu(W1 F(X) + b1) + b2)): complex weights in `blocks` blocks on the diagonal, shared by all
    frequencies, stored as real (..., 2); relu and S (soft shrinkage by `shrink`) on real and imaginary parts. The
    residual is the paper's own. Complexity 5 C N log2 N + 8 N C^2 / blocks.

    The paper's layer as its code has it, all frequencies kept. Its net adds learned positions to the tokens, for which
    the coordinate channels stand here. Weights and biases are not decayed; the paper's code decays them.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        blocks: a divisor of dim.
        shrink: what the shrinkage takes off.

    Raises:
        MixerError: blocks does not divide dim, or shrink is negative.
    """

    version = 2  # 1 decayed its weights

    def __init__(self, dim: int, size: tuple[int, int], blocks: int = 8, shrink: float = 0.01) -> None:
        super().__init__(dim, size)
        self.blocks = blocks = divisor("afno", dim, blocks, "blocks")
        self.shrink = finite_number("afno: shrink", shrink, "numbers from 0")
        if self.shrink < 0:
            raise MixerError(f"afno: shrink is {shrink!r}; allowed: numbers from 0")
        width = dim // blocks
        self.weight1 = nn.Parameter(0.02 * torch.randn(blocks, width, width, 2))
        self.bias1 = nn.Parameter(0.02 * torch.randn(dim, 2))
        self.weight2 = nn.Parameter(0.02 * torch.randn(blocks, width, width, 2))
        self.bias2 = nn.Parameter(0.02 * torch.randn(dim, 2))

    def no_weight_decay(self) -> set[str]:
        return {"weight1", "bias1", "weight2", "bias2"}

    def forward(self, x: Tensor) -> Tensor:
        real = _real(x)
        spectrum = torch.view_as_real(torch.fft.rfft2(real, norm="ortho").flatten(2))
        hidden = self._layer(spectrum, self.weight1, self.bias1).relu()
        out = self._layer(hidden, self.weight2, self.bias2)
        shrunk = torch.view_as_complex(F.softshrink(out, self.shrink))
        shrunk = shrunk.unflatten(2, (self.size[0], -1))
        return x + torch.fft.irfft2(shrunk, s=self.size, norm="ortho").to(x.dtype)

    def _layer(self, spectrum: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Complex numbers as pairs: (B, C, frequencies, 2) -> the same."""
        if torch.compiler.is_exporting():  # ONNX has no complex products
            (a, b), (re, im) = weight.to(spectrum.dtype).unbind(-1), spectrum.unflatten(1, (self.blocks, -1)).unbind(-1)
            product = torch.stack(
                [torch.matmul(a, re) - torch.matmul(b, im), torch.matmul(a, im) + torch.matmul(b, re)], -1
            )
            return product.flatten(1, 2) + bias.to(spectrum.dtype)[:, None]
        weight, bias = _complex(weight, spectrum.dtype), _complex(bias, spectrum.dtype)
        planes = torch.view_as_complex(spectrum).unflatten(1, (self.blocks, -1))
        return torch.view_as_real(torch.matmul(weight, planes).flatten(1, 2) + bias[:, None])

    def flops(self) -> int:
        return _two_ffts(self.dim, self.tokens) + 8 * self.tokens * self.dim**2 // self.blocks

    def flops_executed(self) -> int:
        return _two_ffts(self.dim, self.tokens) + 16 * self.dim**2 // self.blocks * _kept(self.size)

    def reference(self, x: Tensor) -> Tensor:
        weights = {n: _complex(p, torch.float64) for n, p in self.named_parameters()}
        dense1, dense2 = torch.block_diag(*weights["weight1"]), torch.block_diag(*weights["weight2"])
        hidden = torch.einsum("ij,bjhw->bihw", dense1, _there(x)) + weights["bias1"][:, None, None]
        hidden = torch.complex(hidden.real.clamp(min=0), hidden.imag.clamp(min=0))
        out = torch.view_as_real(torch.einsum("ij,bjhw->bihw", dense2, hidden) + weights["bias2"][:, None, None])
        shrunk = torch.where(out.abs() > self.shrink, out - self.shrink * out.sign(), 0.0)
        return x.to(torch.float64) + _back(self, torch.view_as_complex(shrunk))


def _real(x: Tensor) -> Tensor:
    """In float32 where the input is in half precision, which FFT libraries lack or restrict."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _complex(weight: Tensor, real: torch.dtype) -> Tensor:
    """Weights (..., 2) as complex numbers; a net moved to channels_last has taken the last axis apart in memory."""
    return torch.view_as_complex(weight.to(real).contiguous())


def _two_ffts(dim: int, tokens: int) -> int:
    return round(5 * dim * tokens * math.log2(tokens))


def _kept(size: tuple[int, int]) -> int:
    """Frequencies in the half spectrum of a real FFT."""
    height, width = size
    return height * (width // 2 + 1)


def _there(x: Tensor) -> Tensor:
    """The kept half of the spectrum, cut out of the whole."""
    return torch.fft.fft2(x.to(torch.float64), norm="ortho")[..., : x.shape[-1] // 2 + 1]


def _back(mixer: Mixer, half: Tensor) -> Tensor:
    """The real image whose spectrum has this kept half, as a sum of cosines and sines; see `torch.fft.irfft2`.

    After the inverse transform of the columns, the columns of frequency 0 and W / 2 count once and by their real part,
    the others twice.
    """
    width = mixer.size[1]
    columns = torch.fft.ifft(half, dim=-2, norm="ortho")
    k = torch.arange(half.shape[-1], dtype=torch.float64, device=half.device)
    j = torch.arange(width, dtype=torch.float64, device=half.device)
    angle = 2 * math.pi / width * torch.outer(k, j)
    count = torch.where((2 * k) % width == 0, 1.0, 2.0).to(torch.float64)[:, None] / math.sqrt(width)
    return columns.real @ (count * angle.cos()) - columns.imag @ (count * angle.sin())
