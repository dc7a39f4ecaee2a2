"""Spectral mixers: the discrete Fourier transform of each channel, made real in different ways.

FNet (Lee-Thorp, Ainslie, Eckstein and Ontanon, 2021, https://arxiv.org/abs/2105.03824) mixes tokens by the real part of
a DFT. What becomes of the imaginary part is the question behind this family. All transforms are orthonormal; FNet's own
is not scaled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixers.base import Mixer
from mixers.registry import register_mixer
from mixers.transforms import DENSE_TOKENS, dft2_matrices, dft_complex, dft_real


@register_mixer(
    "fft_complex",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles)",
    year=2024,
)
class FFTComplex(Mixer):
    """[Re F, Im F]: both parts of the 2-D DFT of each channel, as 2C channels.

    Y[b, c] = Re F(X[b, c]), Y[b, C + c] = Im F(X[b, c]), with F orthonormal over H and W. An isometry: nothing is lost.
    Complexity 2.5 C N log2 N for the FFT of real input. Up to 64 tokens it is done as one matrix product.

    Differs from the first source, which left the transform unscaled and, by an accident of layout, interleaved the two
    parts along the width.
    """

    real: Tensor
    imaginary: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        self.out_channels = 2 * dim
        self.dense = self.tokens <= DENSE_TOKENS
        if self.dense:
            for name, matrix in zip(("real", "imaginary"), dft2_matrices(*self.size), strict=True):
                self.register_buffer(name, matrix.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.dense:
            tokens = x.flatten(2)
            parts = [torch.matmul(tokens, self.real), torch.matmul(tokens, self.imaginary)]  # the DFT is symmetric
            return torch.cat(parts, 1).unflatten(2, self.size)
        return _in_float(dft_complex, x)

    def flops(self) -> int:
        return round(2.5 * self.dim * self.tokens * math.log2(self.tokens))

    def flops_executed(self) -> int:
        return 4 * self.dim * self.tokens**2 if self.dense else self.flops()

    def reference(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x.to(torch.float64), norm="ortho")
        return torch.cat([spectrum.real, spectrum.imag], 1)


@register_mixer(
    "fft_real",
    family="spectral",
    complexity="C N log(C N)",
    paper="FNet (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class FFTReal(Mixer):
    """Re of the DFT over channels and both axes: FNet's mixer on a grid.

    Y = Re F_C F_H F_W X, orthonormal. It mixes channels as well as tokens, has no parameters, and loses the odd half of
    the input: its rank is about C N / 2. Complexity 2.5 C N log2(C N).

    Differs from FNet in that the transform is scaled, and that tokens lie on a grid with two axes instead of one.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _in_float(lambda real: dft_real(real, (1, 2, 3)), x)

    def flops(self) -> int:
        n = self.dim * self.tokens
        return round(2.5 * n * math.log2(n))

    def reference(self, x: Tensor) -> Tensor:
        return torch.fft.fftn(x.to(torch.float64), dim=(1, 2, 3), norm="ortho").real


def _in_float(transform, x: Tensor) -> Tensor:
    """Applies an FFT in float32 where the input is in half precision, which FFT libraries lack or restrict."""
    if x.dtype in (torch.bfloat16, torch.float16):
        return transform(x.float()).to(x.dtype)
    return transform(x)
