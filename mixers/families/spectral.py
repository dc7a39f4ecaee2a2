"""Spectral mixers: the discrete Fourier transform of each channel, made real in different ways.

FNet (Lee-Thorp, Ainslie, Eckstein and Ontanon, 2021, https://arxiv.org/abs/2105.03824) mixes tokens by the real part of
a DFT, unscaled; all transforms here are orthonormal. What becomes of the imaginary part is the question behind them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixers.arguments import one_of
from mixers.base import Mixer, UnsupportedSize
from mixers.registry import register_mixer
from mixers.transforms.definitions import (
    dft_complex,
    dft_imaginary,
    dft_interleaved,
    dft_matrices,
    dft_real,
    hartley,
    in_float,
)
from mixers.transforms.methods import computed_in
from mixers.transforms.planes import PlaneTransform


class _RealAndImaginary(PlaneTransform):
    """Real and imaginary part of the 2-D DFT of each channel, [all real parts, all imaginary parts]."""

    kind = "both_parts"
    has_fft = True
    parts_first = True

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        real, imaginary = torch.stack([re_h, -im_h]), torch.stack([im_h, re_h])
        return torch.stack([real, imaginary])[:, None], torch.stack([re_w, im_w])

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(dft_complex, x)


@register_mixer(
    "fft_complex",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles)",
    year=2024,
)
class FFTComplex(_RealAndImaginary):
    """[Re F, Im F]: both parts of the 2-D DFT of each channel, as 2C channels.

    Y[b, c] = Re F(X[b, c]), Y[b, C + c] = Im F(X[b, c]), with F orthonormal over H and W. An isometry: nothing is lost.
    Complexity 2.5 C N log2 N for the FFT of real input. Options as those of `PlaneTransform`.

    Differs from the first source, which did not scale, and by its layout interleaved the two parts along the width.
    """

    def flops(self) -> int:
        return _real_fft_flops(self.dim, self.tokens)

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
class FFTReal(_RealAndImaginary):
    """Re of the DFT over channels and both axes: FNet's mixer on a grid.

    Y = Re F_C F_H F_W X, orthonormal. It mixes channels as well as tokens, has no parameters, and loses the odd half of
    the input: its rank is about C N / 2. Complexity 2.5 C N log2(C N).

    Differs from FNet in that the transform is scaled, unless scale="fnet", and that the grid of tokens has two axes.

    By any method but "fft" it is both parts over H and W, and then one product along the channels. What lies between
    the two can be too large for float16 where the result is not: there it is always "fft", in float32 inside.

    Args:
        dim, size, method: as for `PlaneTransform`.
        scale: "unit" for the orthonormal transform, "fnet" for that of the paper's code, sqrt(C N) times as large.

    Raises:
        MixerError: there is no such method or scale.
    """

    kind = "channels_too"
    channels: Tensor

    def __init__(self, dim: int, size: tuple[int, int], method: str = "auto", scale: str = "unit") -> None:
        unscaled = one_of("fft_real: scale", scale, ("unit", "fnet")) == "fnet"
        super().__init__(dim, size, method)
        self.out_channels = dim
        self.factor = math.sqrt(dim * self.tokens) if unscaled else 1.0

    def tensors_of(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        real, imaginary = dft_matrices(self.dim)
        return {**super().tensors_of(left, right), "channels": torch.cat([real, -imaginary], 1)}

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(lambda real: self._scaled(dft_real(real, (1, 2, 3))), x)

    def _scaled(self, y: Tensor) -> Tensor:
        return y if self.factor == 1 else y * self.factor

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        return "fft" if dtype == torch.float16 else super().method_on(device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.method_on(x.device.type, computed_in(x)) == "fft":
            return self.by_fft(x)
        channels = self.kept_matrix("channels", computed_in(x))
        return self._scaled(torch.matmul(channels, self.planes(x).flatten(2)).unflatten(2, self.size))

    def flops_executed(self) -> int:
        if self.is_long or self.method_on(self.channels.device.type) == "fft":
            return self.flops()
        return super().flops_executed() + 4 * self.dim**2 * self.tokens

    def flops(self) -> int:
        n = self.dim * self.tokens
        return round(2.5 * n * math.log2(n))

    def reference(self, x: Tensor) -> Tensor:
        return self._scaled(torch.fft.fftn(x.to(torch.float64), dim=(1, 2, 3), norm="ortho").real)


class _OnePart(PlaneTransform):
    """A real function of the 2-D DFT of each channel, C -> C; a subclass says which. Complexity 2.5 C N log2 N."""

    kind = "one_part"
    has_fft = True

    @staticmethod
    def combine(real: Tensor, imaginary: Tensor) -> Tensor:
        """What is kept of the two parts."""
        raise NotImplementedError

    @staticmethod
    def transform(x: Tensor) -> Tensor:
        """The same through a real FFT."""
        raise NotImplementedError

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(self.transform, x)

    def flops(self) -> int:
        return _real_fft_flops(self.dim, self.tokens)

    def reference(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x.to(torch.float64), norm="ortho")
        return self.combine(spectrum.real, spectrum.imag)


@register_mixer(
    "fft_real_2d",
    family="spectral",
    complexity="C N log N",
    paper="FNet (https://arxiv.org/abs/2105.03824), over the two axes of the image alone",
    year=2021,
)
class FFTReal2d(_OnePart):
    """Re F: the real part of the 2-D DFT of each channel.

    It loses the odd half of the input: its rank is the number of frequencies up to sign, about N / 2. Complexity
    2.5 C N log2 N.
    """

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        left, right = torch.stack([re_h, -im_h]), torch.stack([re_w, im_w])
        return left[None, None], right

    @staticmethod
    def combine(real: Tensor, imaginary: Tensor) -> Tensor:
        return real

    @staticmethod
    def transform(x: Tensor) -> Tensor:
        return dft_real(x)


@register_mixer(
    "fft_imag",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles), the part that FNet leaves out",
    year=2024,
)
class FFTImag(_OnePart):
    """Im F: the imaginary part of the 2-D DFT of each channel.

    Loses the even half of the input, the mean among it; the rank is N less the number of frequencies up to sign, and so
    zero on grids of one or two tokens a side. Complexity 2.5 C N log2 N.
    """

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        left, right = torch.stack([re_h, im_h]), torch.stack([im_w, re_w])
        return left[None, None], right

    @staticmethod
    def combine(real: Tensor, imaginary: Tensor) -> Tensor:
        return imaginary

    @staticmethod
    def transform(x: Tensor) -> Tensor:
        return dft_imaginary(x)


@register_mixer(
    "hartley",
    family="spectral",
    complexity="C N log N",
    paper="A More Symmetrical Fourier Analysis Applied to Transmission Problems (Hartley)",
    year=1942,
)
class Hartley(_OnePart):
    """Re F - Im F: the 2-D discrete Hartley transform of each channel.

    Real, orthonormal and its own inverse: the DFT made real with nothing lost and no channel added. Complexity
    2.5 C N log2 N.
    """

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        left, right = torch.stack([re_h, -im_h]), torch.stack([re_w - im_w, re_w + im_w])
        return left[None, None], right

    @staticmethod
    def combine(real: Tensor, imaginary: Tensor) -> Tensor:
        return real - imaginary

    @staticmethod
    def transform(x: Tensor) -> Tensor:
        return hartley(x)


@register_mixer(
    "fft_pairs",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles), with complex planes made of channel pairs",
    year=2024,
)
class FFTPairs(PlaneTransform):
    """Channels 2k and 2k + 1 as real and imaginary part of one plane, its 2-D DFT, and back into two channels.

    Y[2k] + i Y[2k + 1] = F(X[2k] + i X[2k + 1]): unitary, nothing lost, no channel added, and both parts of a frequency
    at one token. Complexity 2.5 C N log2 N: half as many planes as channels, each a complex FFT.

    Raises:
        UnsupportedSize: dim is odd.
    """

    kind = "pairs"
    has_fft = True

    def __init__(self, dim: int, size: tuple[int, int], method: str = "auto") -> None:
        if dim % 2:
            raise UnsupportedSize(f"fft_pairs takes channels in pairs; dim {dim} is odd")
        super().__init__(dim, size, method)

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        real, imaginary = torch.stack([re_h, -im_h]), torch.stack([im_h, re_h])
        left = torch.stack([torch.stack([real, -imaginary]), torch.stack([imaginary, real])])
        return left, torch.stack([re_w, im_w])

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(_transform_pairs, x)

    def flops(self) -> int:
        return _real_fft_flops(self.dim, self.tokens)

    def reference(self, x: Tensor) -> Tensor:
        planes = x.to(torch.float64).unflatten(1, (-1, 2))
        spectrum = torch.fft.fft2(torch.complex(planes[:, :, 0], planes[:, :, 1]), norm="ortho")
        return torch.stack([spectrum.real, spectrum.imag], 2).flatten(1, 2)


@register_mixer(
    "fft_magphase",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles), in polar form",
    year=2024,
)
class FFTMagPhase(Mixer):
    """[abs F, angle F]: magnitude and phase of the 2-D DFT of each channel, as 2C channels.

    Keeps everything, as `fft_complex` does, but not linearly. The magnitude does not move with a cyclic shift of the
    image. Frequencies that are their own mirror image have a real transform; their imaginary part counts as +0, so that
    their phase is 0 or pi. The phase lies in [-pi, pi] and jumps at its ends. Complexity 2.5 C N log2 N.
    """

    own_mirror: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        self.out_channels = 2 * dim
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        height, width = self.size
        rows, columns = torch.arange(height), torch.arange(width)
        return {"own_mirror": (2 * rows % height == 0)[:, None] & (2 * columns % width == 0)}

    def forward(self, x: Tensor) -> Tensor:
        return in_float(self._polar, x)

    def _polar(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        half = torch.fft.rfft2(x, norm="ortho")
        kept = half.shape[-1]
        imaginary = half.imag.masked_fill(self.own_mirror[:, :kept], 0.0)
        half = torch.complex(half.real, imaginary)
        magnitude, phase = half.abs(), half.angle()
        if torch.compiler.is_exporting():  # the arc tangent of ONNX gives -pi where the imaginary part is 0
            straight = (half.real < 0).to(phase.dtype) * math.pi
            phase = torch.where(self.own_mirror[:, :kept], straight, torch.atan2(imaginary, half.real))
        return torch.cat([_mirrored(magnitude, magnitude, width), _mirrored(phase, -phase, width)], 1)

    def flops(self) -> int:
        return _real_fft_flops(self.dim, self.tokens)

    def reference(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x.to(torch.float64), norm="ortho")
        imaginary = torch.where(self.own_mirror, 0.0, spectrum.imag)
        spectrum = torch.complex(spectrum.real, imaginary)
        return torch.cat([spectrum.abs(), spectrum.angle()], 1)


@register_mixer(
    "fft_scrambled",
    family="spectral",
    complexity="C N log N",
    paper="spectracles (https://github.com/mkaic/spectracles), with its layout as first published",
    year=2024,
)
class FFTScrambled(PlaneTransform):
    """`fft_complex` with the numbers in the places where the first source's code put them.

    That code made channels of the complex planes by a reshape of (C, H, W, 2) to (2C, H, W): channel 2c holds the upper
    half of the rows of plane c, channel 2c + 1 the lower, with real and imaginary parts alternating along the width. No
    token holds both parts of a frequency in its channels. The same numbers as `fft_complex`, an isometry; complexity
    2.5 C N log2 N.
    """

    kind = "interleaved"
    has_fft = True

    def matrices(self) -> tuple[Tensor, Tensor]:
        (re_h, im_h), (re_w, im_w) = map(dft_matrices, self.size)
        # columns of the result alternate between the parts, twice as many as those of the input
        right = torch.stack([torch.stack([re_w, im_w], 1), torch.stack([-im_w, re_w], 1)]).flatten(1, 2)
        return torch.stack([re_h, im_h])[None, None], right

    def __init__(self, dim: int, size: tuple[int, int], method: str = "auto") -> None:
        super().__init__(dim, size, method)
        self.out_channels = 2 * dim

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(dft_interleaved, x).reshape(x.shape[0], self.out_channels, *self.size)

    def flops(self) -> int:
        return _real_fft_flops(self.dim, self.tokens)

    def reference(self, x: Tensor) -> Tensor:
        batch, dim, height, width = x.shape
        spectrum = torch.fft.fft2(x.to(torch.float64), norm="ortho")
        return torch.view_as_real(spectrum).reshape(batch, 2 * dim, height, width)


def _transform_pairs(x: Tensor) -> Tensor:
    """The DFT of complex planes (B, 2K, H, W) -> (B, 2K, H, W), each two channels real and imaginary part."""
    real, imaginary = x.unflatten(1, (-1, 2)).unbind(2)
    spectrum = torch.fft.fft2(torch.complex(real, imaginary), norm="ortho")
    return torch.stack([spectrum.real, spectrum.imag], 2).flatten(1, 2)


def _mirrored(half: Tensor, conjugate: Tensor, width: int) -> Tensor:
    """A function of the frequency on all `width` columns from its values on half, with those at -k in `conjugate`."""
    kept = half.shape[-1]
    mirrored = conjugate[..., 1 : width - kept + 1].flip(-2, -1).roll(1, -2)
    return torch.cat([half, mirrored], -1)


def _real_fft_flops(dim: int, tokens: int) -> int:
    return round(2.5 * dim * tokens * math.log2(tokens))
