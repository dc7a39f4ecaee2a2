"""The net of the source that this suite began from, so that its published log can be run again.

spectracles (mkaic, 2024, https://github.com/mkaic/spectracles), as its code stood when the log was written: an FFT per
block, no inverse transform, and, by an accident of layout, channels that never hold both parts of one frequency.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import flag, one_of, whole_number
from mixers.base import MixerError, check_floating_point
from mixers.saved import SavesDefinition
from mixers.transforms.definitions import dft_complex, dft_interleaved

CHOICES = {
    "standardize": ("chw", "c", "none"),
    "layout": ("right", "scrambled"),
    "standardize_at": ("after", "before"),
}
STANDARDIZE_AXES = {"chw": (1, 2, 3), "c": (1,)}
EPSILON = 1e-6  # added to the standard deviation, not to the variance


class Spectracles(SavesDefinition):
    """One block in_chans -> width, `depth` more with residual, average pooling, linear: (B, in_chans, H, W) -> (B, K).

    Every pixel is a token; images are in [0, 1], of any size. A block is

        y = standardize(channels(fft2(x)))            2C channels, the transform unnormalised
        y = conv1x1([y, row, column])                 row / (H - 1) and column / (W - 1), both in [0, 1]
        y = conv1x1([relu(y), row, column])           n_linear times
        x = relu(x + y), or relu(y) in the first block and without residual

    and standardize(y) = (y - mean) / (std + 1e-6), nothing learned; std divides by n - 1, as `torch.std` does unless
    told otherwise. A side of one pixel has the coordinate 0. 12,164 parameters at 32 x 4 with 100 classes and 17,764
    with n_linear=1. Float32 or float64, as FFTs are.

    With complex=True, which its author says it works best with, channels are complex numbers: x is (B, 2 width, H, W),
    real parts and then imaginary ones. The transform is that of complex numbers, the 1x1 convolutions and their biases
    are complex (stored as real (..., 2)), ReLU acts on both parts by themselves (CReLU: Trabelsi et al., 2018, "Deep
    Complex Networks"), coordinates are real, standardisation is over both parts as over 2C real channels, as in the
    real net, and the head is real, over the means of both parts. A complex width of 27 has the parameters of a real one
    of 32; `equal_width` tells such pairs.

    Args:
        width: channels.
        depth: blocks after the first.
        n_linear: further 1x1 convolutions in every block.
        standardize: "chw" takes mean and std per image, "c" per position over the channels, "none" leaves it out.
        layout: "scrambled" makes channels as the published log's code did, by a reshape of (C, H, W, 2) to
            (2C, H, W); "right" keeps both parts of a frequency at its place.
        num_classes: outputs, K.
        in_chans: channels of the image.
        residual: whether the blocks after the first have one.
        standardize_at: "after" the transform, or "before" it, as the source had it from its next commit on.
        complex: whether the layers are complex-linear, in the right layout.

    Raises:
        MixerError: an argument is not allowed.
    """

    def __init__(
        self,
        width: int = 32,
        depth: int = 4,
        n_linear: int = 0,
        standardize: str = "chw",
        layout: str = "right",
        num_classes: int = 100,
        *,
        in_chans: int = 3,
        residual: bool = True,
        standardize_at: str = "after",
        complex: bool = False,
    ) -> None:
        super().__init__()
        width, depth = whole_number("width", width, 1), whole_number("depth", depth, 0)
        n_linear, num_classes = whole_number("n_linear", n_linear, 0), whole_number("num_classes", num_classes, 1)
        in_chans, residual = whole_number("in_chans", in_chans, 1), flag("residual", residual)
        parts = 2 if flag("complex", complex) else 1
        given: dict[str, Any] = {"standardize": standardize, "layout": layout, "standardize_at": standardize_at}
        for name, value in given.items():
            one_of(name, value, CHOICES[name])
        if complex and layout != "right":
            raise MixerError(
                f"layout is {layout!r}; allowed with complex=True: right, a frequency's parts in one place"
            )
        if standardize == "c" and standardize_at == "before" and min(in_chans, parts * width) < 2:
            raise MixerError(
                f"in_chans is {in_chans} and width {width}; allowed: from 2, since one channel alone has no standard "
                'deviation for standardize="c" before the transform'
            )
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.width, self.depth, self.n_linear, self.complex = width, depth, n_linear, complex
        self.options = {**given, "residual": residual, "complex": complex}
        given["complex"] = complex
        self.blocks = nn.ModuleList(
            SpectraclesBlock(
                *(width if layer else in_chans, width, n_linear),
                residual=residual and layer > 0,
                of_image=not layer,
                **given,
            )
            for layer in range(depth + 1)
        )
        self.head = nn.Linear(parts * width, num_classes)

    def definition(self) -> dict[str, Any]:
        """What the weights do not tell."""
        return {"class": "Spectracles", **self.options}

    def forward(self, x: Tensor) -> Tensor:
        check_floating_point(x)
        if x.ndim != 4 or x.shape[1] != self.in_chans:
            shape = " x ".join(map(str, x.shape))
            raise MixerError(f"the input is {shape}; allowed: B x {self.in_chans} x H x W")
        if x.shape[0] == 0:  # FFTs refuse an empty batch
            return self.forward(torch.cat([x, x.new_zeros(1, *x.shape[1:])]))[:0]
        coordinates = unit_coordinates(x)
        for block in self.blocks:
            x = block(x, coordinates)
        return self.head(x.mean((2, 3)))


def parameter_count(
    width: int, depth: int, n_linear: int = 0, num_classes: int = 100, in_chans: int = 3, complex: bool = False
) -> int:
    """Real parameters of a `Spectracles`, in closed form."""
    parts = 2 if complex else 1
    # an image's spectrum has both parts; so has that of a real stream, and of a complex one each is half of a channel
    first, later = (in_chans, width) if complex else (2 * in_chans, 2 * width)
    per_output = (first + 3) + depth * (later + 3) + (depth + 1) * n_linear * (width + 3)
    return parts * width * per_output + num_classes * (parts * width + 1)


def equal_width(net: Spectracles) -> int:
    """The width at which the net of the other kind, complex for real and real for complex, has about its parameters.

    >>> equal_width(Spectracles(32, 4)), equal_width(Spectracles(27, 4, complex=True))
    (27, 32)
    """
    rest = (net.depth, net.n_linear, net.num_classes, net.in_chans)
    wanted = parameter_count(net.width, *rest, complex=net.complex)
    widths = range(1, 2 * net.width + 1)
    return min(widths, key=lambda width: abs(parameter_count(width, *rest, complex=not net.complex) - wanted))


class SpectraclesBlock(nn.Module):
    """Transform, standardisation, 1x1 convolutions with coordinates, ReLU; see `Spectracles`."""

    def __init__(
        self,
        channels: int,
        width: int,
        n_linear: int,
        *,
        standardize: str,
        layout: str,
        standardize_at: str,
        residual: bool,
        complex: bool = False,
        of_image: bool = False,
    ) -> None:
        super().__init__()
        self.of_image = of_image  # whose numbers are real
        self.standardize = standardize
        self.standardize_at = standardize_at
        self.scrambled = layout == "scrambled"
        self.residual = residual
        self.complex = complex
        self.proj = ComplexConv1x1(channels, width) if complex else PlacedConv1x1(2 * channels + 2, width, 1)
        self.linears = nn.ModuleList(
            ComplexConv1x1(width, width) if complex else PlacedConv1x1(width + 2, width, 1) for _ in range(n_linear)
        )

    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:
        """(B, channels, H, W) and (2, H, W) -> (B, width, H, W), where complex twice as many."""
        y = placed(self.proj, *self._spectrum(x), coordinates)
        for linear in self.linears:
            y = placed(linear, F.relu(y), None, coordinates)
        return F.relu(x + y if self.residual else y)

    def _spectrum(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The block's channels (B, 2C, H, W), and what is still to be subtracted from them: (B, 1, 1, 1), or None."""
        after = self.standardize if self.standardize_at == "after" else "none"
        if self.standardize_at == "before" and self.standardize != "none":
            x = standardized(x, STANDARDIZE_AXES[self.standardize])
        if self.complex:
            y = dft_complex(x) if self.of_image else complex_dft(x)
            y = y * math.sqrt(x.shape[-2] * x.shape[-1])
            return (y if after == "none" else standardized(y, STANDARDIZE_AXES[after])), None
        shift: Tensor | None = None
        factor: float | Tensor = math.sqrt(x.shape[-2] * x.shape[-1])  # dft_complex is orthonormal
        if after == "chw":
            # mean and std of the transform follow from the image, which is half as large, and go through it as factors
            mean, std = spectrum_statistics(x)
            factor, shift = factor / (std + EPSILON), mean / (std + EPSILON)
        y = (
            dft_interleaved(x * factor).reshape(x.shape[0], -1, *x.shape[2:])
            if self.scrambled
            else dft_complex(x * factor)
        )
        return (standardized(y, STANDARDIZE_AXES["c"]) if after == "c" else y), shift


def standardized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(x - mean) / (std + 1e-6) over `axes`."""
    std, mean = torch.std_mean(x, axes, keepdim=True)
    return (x - mean) / (std + EPSILON)


def spectrum_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std, each (B, 1, 1, 1), of both parts of fft2 of real x (B, C, H, W), without the transform.

    Over all frequencies the real parts sum to H W x[0, 0], the imaginary ones to 0, and by Parseval the squares to
    H W times those of x.
    """
    _, channels, height, width = x.shape
    pixels, count = height * width, 2 * channels * height * width
    mean = x[:, :, :1, :1].mean(1, keepdim=True) / 2
    variance = (x.square().sum((1, 2, 3), keepdim=True) * pixels - count * mean.square()) / (count - 1)
    # a std of 0 has no derivative; torch.std passes none on either
    return mean, variance.clamp_min(torch.finfo(x.dtype).tiny).sqrt()


class PlacedConv1x1(nn.Conv2d):
    """A 1x1 convolution of [x - shift, row, column] that forms neither the difference nor the channels.

    x is (B, C, H, W), `coordinates` (2, H, W), `shift` (B, 1, 1, 1) or None; the result is (B, out_channels, H, W).
    Without coordinates it is the convolution of x alone, which then has its in_channels.
    """

    def forward(self, x: Tensor, shift: Tensor | None = None, coordinates: Tensor | None = None) -> Tensor:
        if coordinates is None:
            return super().forward(x)
        weight, place = self.weight.split([x.shape[1], 2], 1)
        y = F.conv2d(x, weight) + F.conv2d(coordinates, place, self.bias)  # a bias per position
        return y if shift is None else y - shift * weight.sum(1)


class ComplexConv1x1(nn.Module):
    """A complex 1x1 convolution of [x, row, column], the coordinates real: (B, 2C, H, W) -> (B, 2 width, H, W).

    Real parts come first and imaginary ones after them. Weights (width, C + 2, 2) and biases (width, 2) hold both parts
    in their last axis, and start as those of a real convolution between as many real numbers do.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = (2 * channels + 2) ** -0.5
        self.weight = nn.Parameter(torch.empty(width, channels + 2, 2).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width, 2).uniform_(-bound, bound))

    def forward(self, x: Tensor, shift: Tensor | None, coordinates: Tensor) -> Tensor:
        real, imaginary = self.weight.unbind(-1)
        (a, row_column), (b, turned) = (part.split([x.shape[1] // 2, 2], 1) for part in (real, imaginary))
        weight = torch.cat([torch.cat([a, -b], 1), torch.cat([b, a], 1)])  # (a + ib) (re + i im)
        place = torch.cat([row_column, turned])
        y = F.conv2d(x, weight[..., None, None])
        return y + F.conv2d(coordinates, place[..., None, None], self.bias.mT.flatten())


def complex_dft(x: Tensor) -> Tensor:
    """The orthonormal 2-D DFT of complex numbers, their real parts first: (B, 2C, H, W) -> the same."""
    real_of_real, real_of_imaginary, imaginary_of_real, imaginary_of_imaginary = dft_complex(x).chunk(4, 1)
    return torch.cat([real_of_real - imaginary_of_imaginary, imaginary_of_real + real_of_imaginary], 1)


def placed(conv: nn.Module, x: Tensor, shift: Tensor | None, coordinates: Tensor) -> Tensor:
    """The same by a `PlacedConv1x1`, or by whatever a user has put in its place or around it."""
    if isinstance(conv, PlacedConv1x1 | ComplexConv1x1):
        return conv(x, shift, coordinates)
    x = x if shift is None else x - shift
    return conv(torch.cat([x, coordinates.expand(x.shape[0], -1, -1, -1)], 1))


def unit_coordinates(x: Tensor) -> Tensor:
    """Row and column of every position of (B, C, H, W), each from 0 to 1: (2, H, W)."""
    places = [torch.linspace(0, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[-2:]]
    return torch.stack(torch.meshgrid(*places, indexing="ij"))
