"""The ways in which one would write a spectral mixer without thinking of its speed: what ours are timed beside.

Each form takes real planes (B, C, H, W) to what the mixer of that name gives. The real input's spectrum is had from
`rfft2`, filled up by its Hermitian symmetry; from `fft2`; or from products with the cosine and sine matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mixers import create_mixer

Form = Callable[[Tensor], Tensor]
Spectrum = Callable[[Tensor], tuple[Tensor, Tensor]]  # (B, C, H, W) -> real and imaginary part of the orthonormal DFT

PRODUCTS = "matrix products"
YARDSTICK = "rfft2 alone"
HALVES = (torch.bfloat16, torch.float16)


def naive_forms(
    mixer: str, height: int, width: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, Form]:
    """The naive forms of one mixer on planes of `height` x `width`, by name; they take and give `dtype`.

    Matrices are of `dtype` on `device`. PyTorch's FFTs lack half precision, or restrict it: they work in float32 there,
    and the result goes back to `dtype`, as in a net of that precision.

    `dct` and `hadamard` have matrix products, and beside them `YARDSTICK`, which computes something else.
    """
    forms = _forms(mixer, height, width, device, dtype)
    if dtype not in HALVES:
        return forms
    return {name: _in_half(form, name) for name, form in forms.items()}


def _in_half(form: Form, name: str) -> Form:
    if name == YARDSTICK:
        return lambda x: form(x.float())
    if name == PRODUCTS:
        return lambda x: form(x).to(x.dtype)
    return lambda x: form(x.float()).to(x.dtype)


def _forms(mixer: str, height: int, width: int, device: str, dtype: torch.dtype) -> dict[str, Form]:
    if mixer in ("dct", "hadamard"):
        left, right = (_matrix(mixer, side).to(device, dtype) for side in (height, width))
        return {PRODUCTS: lambda x: left @ x @ right.T, YARDSTICK: torch.fft.rfft2}
    finish = FINISHES[mixer]
    pairs = [[matrix.to(device, dtype) for matrix in _cosine_and_sine(side)] for side in (height, width)]
    cosines, sines = zip(*pairs, strict=True)

    def products(x: Tensor) -> tuple[Tensor, Tensor]:
        by_cosine, by_sine = x @ cosines[1], x @ sines[1]
        return cosines[0] @ by_cosine - sines[0] @ by_sine, -(sines[0] @ by_cosine) - cosines[0] @ by_sine

    spectra: dict[str, Spectrum] = {"rfft2": _from_rfft2, PRODUCTS: products, "fft2": _from_fft2}
    forms: dict[str, Form] = {name: _then(spectrum, finish) for name, spectrum in spectra.items()}
    if mixer in PART_OF_PRODUCTS:  # the other part of the spectrum need not be computed
        forms[PRODUCTS] = lambda x: PART_OF_PRODUCTS[mixer](x, cosines, sines)
        forms["rfft2"] = _then_filled(mixer)
    if mixer == "fft_pairs":
        forms["fft2"] = _complex_pairs
    if mixer == "fft_real":
        forms["fft2"] = lambda x: torch.fft.fftn(x, dim=(1, 2, 3), norm="ortho").real
    if mixer == "fft_magphase":
        forms["fft2"] = lambda x: _polar(torch.fft.fft2(x, norm="ortho"))
        forms["rfft2"] = lambda x: _polar(_filled_up(x))
    return forms


def _then(spectrum: Spectrum, finish: Callable[[Tensor, Tensor], Tensor]) -> Form:
    return lambda x: finish(*spectrum(x))


def _from_fft2(x: Tensor) -> tuple[Tensor, Tensor]:
    full = torch.fft.fft2(x, norm="ortho")
    return full.real, full.imag


def _from_rfft2(x: Tensor) -> tuple[Tensor, Tensor]:
    full = _filled_up(x)
    return full.real, full.imag


def _filled_up(x: Tensor) -> Tensor:
    half, width = torch.fft.rfft2(x, norm="ortho"), x.shape[-1]
    return torch.cat([half, _mirrored(half, width).conj()], -1)


def _mirrored(half: Tensor, width: int) -> Tensor:
    """The values at -k for the columns that a half spectrum lacks."""
    return half[..., 1 : width - half.shape[-1] + 1].flip(-2, -1).roll(1, -2)


def _then_filled(mixer: str) -> Form:
    """One real function of the frequency from half of the spectrum, filled up by symmetry."""

    def form(x: Tensor) -> Tensor:
        half = torch.fft.rfft2(x, norm="ortho")
        if mixer == "hartley":
            kept, other = half.real - half.imag, half.real + half.imag
            return torch.cat([kept, _mirrored(other, x.shape[-1])], -1)
        kept = half.real if mixer == "fft_real_2d" else half.imag
        tail = _mirrored(kept, x.shape[-1])
        return torch.cat([kept, tail if mixer == "fft_real_2d" else -tail], -1)

    return form


def _complex_pairs(x: Tensor) -> Tensor:
    spectrum = torch.fft.fft2(torch.complex(x[:, 0::2], x[:, 1::2]), norm="ortho")
    return torch.stack([spectrum.real, spectrum.imag], 2).flatten(1, 2)


def _pairs(real: Tensor, imaginary: Tensor) -> Tensor:
    """From the spectra of all channels: F(a + ib) = F a + i F b."""
    first = real[:, 0::2] - imaginary[:, 1::2]
    second = imaginary[:, 0::2] + real[:, 1::2]
    return torch.stack([first, second], 2).flatten(1, 2)


def _scrambled(real: Tensor, imaginary: Tensor) -> Tensor:
    batch, channels, height, width = real.shape
    return torch.stack([real, imaginary], -1).reshape(batch, 2 * channels, height, width)


def _over_channels(real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.fft.fft(_complex(real, imaginary), dim=1, norm="ortho").real


def _complex(real: Tensor, imaginary: Tensor) -> Tensor:
    """Complex numbers, of float32 where the parts are in half precision, of which there are none."""
    if real.dtype in HALVES:
        real, imaginary = real.float(), imaginary.float()
    return torch.complex(real, imaginary)


def _polar(spectrum: Tensor) -> Tensor:
    """Frequencies that are their own mirror image are real; what rounding leaves of their imaginary part goes."""
    rows, columns = (side // 2 if side % 2 == 0 else side for side in spectrum.shape[2:])
    spectrum.imag[:, :, ::rows, ::columns] = 0.0
    return torch.cat([spectrum.abs(), spectrum.angle()], 1)


FINISHES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fft_real_2d": lambda real, imaginary: real,
    "fft_imag": lambda real, imaginary: imaginary,
    "hartley": lambda real, imaginary: real - imaginary,
    "fft_complex": lambda real, imaginary: torch.cat([real, imaginary], 1),
    "fft_real": _over_channels,
    "fft_magphase": lambda real, imaginary: _polar(_complex(real, imaginary)),
    "fft_pairs": _pairs,
    "fft_scrambled": _scrambled,
}
NAIVE_FORMS = ("dct", "hadamard", *FINISHES)
Pair = tuple[Tensor, ...]  # of matrices, for rows and columns
PART_OF_PRODUCTS: dict[str, Callable[[Tensor, Pair, Pair], Tensor]] = {
    "fft_real_2d": lambda x, c, s: c[0] @ x @ c[1] - s[0] @ x @ s[1],
    "fft_imag": lambda x, c, s: -(s[0] @ x @ c[1]) - c[0] @ x @ s[1],
    "hartley": lambda x, c, s: (c[0] + s[0]) @ x @ c[1] + (c[0] - s[0]) @ x @ s[1],
}


def _cosine_and_sine(side: int) -> tuple[Tensor, Tensor]:
    """The orthonormal DFT's matrix as cosine and sine, (side, side) each."""
    k = torch.arange(side, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(k, k).remainder(side) / side
    return (angle.cos() / side**0.5).float(), (angle.sin() / side**0.5).float()


def _matrix(mixer: str, side: int) -> Tensor:
    """The matrix of a separable mixer, by what it does to the unit vectors."""
    units = torch.eye(side).view(1, side, side, 1)
    return create_mixer(mixer, side, (side, 1)).reference(units)[0, :, :, 0].T.contiguous().float()
