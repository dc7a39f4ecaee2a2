"""What stands beside our mixers where no package has a layer of its own: published formulas in plain torch, and frames.

A frame gives a package's function or layer the shape of a module from one tensor to one tensor, and does nothing else.
Formulas are those of the papers' public code, written anew and without what is switched off there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers import UnsupportedSize


class Plain(nn.Module):
    """A function of one tensor, without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class FirstOutput(nn.Module):
    """A layer that answers with a tuple, of which the first counts."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class OverTokens(nn.Module):
    """A layer on the last axis, applied to the tokens of (B, N, C), as MLP-Mixer's blocks do."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


def complex_parts(x: Tensor) -> Tensor:
    """[Re, Im] of the 2-D DFT as channels."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return torch.cat([spectrum.real, spectrum.imag], 1)


def real_part(x: Tensor) -> Tensor:
    """Re of the 2-D DFT."""
    return torch.fft.fft2(x, norm="ortho").real


def imaginary_part(x: Tensor) -> Tensor:
    """Im of the 2-D DFT."""
    return torch.fft.fft2(x, norm="ortho").imag


def real_part_with_channels(x: Tensor) -> Tensor:
    """Re of the DFT over channels and both axes."""
    return torch.fft.fftn(x, dim=(1, 2, 3), norm="ortho").real


def scrambled_parts(x: Tensor) -> Tensor:
    """Real and imaginary parts as channels by a reshape, as the first source had it."""
    batch, dim, height, width = x.shape
    return torch.view_as_real(torch.fft.fft2(x, norm="ortho")).reshape(batch, 2 * dim, height, width)


def polar_parts(x: Tensor) -> Tensor:
    """[abs, angle] of the 2-D DFT as channels."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return torch.cat([spectrum.abs(), spectrum.angle()], 1)


def unwound(polar: Tensor) -> Tensor:
    """[abs cos angle, abs sin angle]: what two phases that differ by 2 pi have in common."""
    magnitude, phase = polar.chunk(2, 1)
    return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], 1)


def hartley(x: Tensor) -> Tensor:
    """Re - Im of the 2-D DFT."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def walsh_hadamard(x: Tensor) -> Tensor:
    """The orthonormal 2-D Walsh-Hadamard transform by butterflies, sides powers of two."""
    return _butterflies(_butterflies(x).mT).mT


def _butterflies(x: Tensor) -> Tensor:
    n = x.shape[-1]
    step = 1
    while step < n:
        a, b = x.unflatten(-1, (-1, 2, step)).unbind(-2)
        x = torch.stack([a + b, a - b], -2).flatten(-3)
        step *= 2
    return x / math.sqrt(n)


class ShiftViT(nn.Module):
    """ShiftViT's shift (github.com/microsoft/SPACH): four groups of channels by one token each, zeros from outside."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        if ours.size[0] == 1:
            raise UnsupportedSize("ShiftViT shifts up and down too: grids of more than one row")
        self.group = ours.group

    def forward(self, x: Tensor) -> Tensor:
        g = self.group
        out = torch.zeros_like(x)
        out[:, 0:g, :, :-1] = x[:, 0:g, :, 1:]
        out[:, g : 2 * g, :, 1:] = x[:, g : 2 * g, :, :-1]
        out[:, 2 * g : 3 * g, :-1] = x[:, 2 * g : 3 * g, 1:]
        out[:, 3 * g : 4 * g, 1:] = x[:, 3 * g : 4 * g, :-1]
        out[:, 4 * g :] = x[:, 4 * g :]
        return out


class GFNetFilter(nn.Module):
    """GFNet's global filter (github.com/raoyongming/GFNet) on (B, N, C), from our weights."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.size = ours.size
        # (C, H, W // 2 + 1, 2) -> (H, W // 2 + 1, C, 2)
        self.weight = nn.Parameter(ours.filter.detach().permute(1, 2, 0, 3).contiguous().clone())

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x.unflatten(1, self.size), dim=(1, 2), norm="ortho")
        spectrum = spectrum * torch.view_as_complex(self.weight)
        return torch.fft.irfft2(spectrum, s=self.size, dim=(1, 2), norm="ortho").flatten(1, 2)


class AFNO2D(nn.Module):
    """AFNO's layer (github.com/NVlabs/AFNO-transformer) on (B, N, C), real products throughout, from our weights."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.size, self.blocks, self.shrink = ours.size, ours.blocks, ours.shrink

        def matrices(weight: Tensor) -> nn.Parameter:  # (blocks, out, in, 2) -> (2, blocks, in, out)
            return nn.Parameter(weight.detach().permute(3, 0, 2, 1).contiguous().clone())

        def vectors(bias: Tensor) -> nn.Parameter:  # (C, 2) -> (2, blocks, C / blocks)
            return nn.Parameter(bias.detach().mT.unflatten(1, (self.blocks, -1)).contiguous().clone())

        self.weight1, self.weight2 = matrices(ours.weight1), matrices(ours.weight2)
        self.bias1, self.bias2 = vectors(ours.bias1), vectors(ours.bias2)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x.unflatten(1, self.size), dim=(1, 2), norm="ortho")
        spectrum = spectrum.unflatten(-1, (self.blocks, -1))
        real, imaginary = _complex_linear(spectrum.real, spectrum.imag, self.weight1, self.bias1)
        real, imaginary = _complex_linear(F.relu(real), F.relu(imaginary), self.weight2, self.bias2)
        shrunk = F.softshrink(torch.stack([real, imaginary], -1), self.shrink)
        spectrum = torch.view_as_complex(shrunk).flatten(-2)
        return torch.fft.irfft2(spectrum, s=self.size, dim=(1, 2), norm="ortho").flatten(1, 2) + x


def _complex_linear(real: Tensor, imaginary: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    def product(part: Tensor, matrix: Tensor) -> Tensor:
        return torch.einsum("...bi,bio->...bo", part, matrix)

    return (
        product(real, weight[0]) - product(imaginary, weight[1]) + bias[0],
        product(imaginary, weight[0]) + product(real, weight[1]) + bias[1],
    )


class ToldPlaces(nn.Module):
    """A layer on (B, N, C) whose input gets our sines and cosines of each token's place."""

    waves: Tensor

    def __init__(self, layer: nn.Module, waves: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("waves", waves.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + self.waves)


class EluAttention(nn.Module):
    """Linear attention on (B, N, C): our projection, phi(x) = elu(x) + 1, and a package's `attend(q, k, v)`."""

    def __init__(self, qkv: nn.Linear, heads: int, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.qkv, self.heads, self.attend = qkv, heads, attend

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.attend(F.elu(q) + 1, F.elu(k) + 1, v).transpose(1, 2).flatten(2)


class Favor(nn.Module):
    """FAVOR+ from a package's feature map and linear attention, with given directions and nothing added to features."""

    directions: Tensor

    def __init__(self, directions: Tensor, feature_map: Callable[..., Tensor], attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.register_buffer("directions", directions.clone(), persistent=False)
        self.feature_map, self.attend = feature_map, attend

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = self.feature_map(q, projection_matrix=self.directions, is_query=True, eps=0.0)
        k = self.feature_map(k, projection_matrix=self.directions, is_query=False, eps=0.0)
        return self.attend(q, k, v)
