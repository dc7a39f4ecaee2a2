"""The one backbone: an isotropic net in which only the token mixer changes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.base import Mixer, MixerError
from mixers.blocks import mixer_of_each_block
from mixers.registry import create_mixer, mixer_entry, mixer_options, parse_mixer

NORMS = ("image", "token")


class MixerNet(nn.Module):
    """Stem, `depth` blocks, norm, global average pooling, linear head: (B, in_chans, H, W) -> (B, num_classes).

    The stem is a convolution with kernel and stride `patch_size`; its output is the grid of tokens. Each block is

        x = x + s1 * conv1x1([norm(mixer(norm(x))), row coordinate, column coordinate])
        x = x + s2 * conv1x1(gelu(conv1x1(norm(x))))

    with a scale per channel s1, s2 that starts at 0.1. The net runs in the memory format that the mixer declares.

    Args:
        mixer: a mixer as `create_mixer` takes it, or one for each block, such as "6xfft_real+2xattention" or
            "hybrid_top".
        num_classes: outputs of the head; 0 leaves the head out.
        img_size: side of the image in pixels, or (H, W).
        patch_size: side of one token in pixels; 1 makes every pixel a token.
        dim: channels, a multiple of 8.
        depth: blocks.
        in_chans: channels of the image.
        mlp_ratio: hidden width of the second part of a block over dim.
        norm: "image" takes statistics per image over (C, H, W), "token" per token over C.
        coordinates: whether the two coordinate channels stand after every mixing layer.
        layer_scale: where s1 and s2 start.
        seed: of fixed random mixers; each block gets another one from it.

    Raises:
        MixerError: an argument is not allowed, or the mixer is unknown or does not exist at this size.
    """

    def __init__(
        self,
        mixer: str,
        num_classes: int = 100,
        img_size: int | tuple[int, int] = 32,
        patch_size: int = 4,
        dim: int = 64,
        depth: int = 4,
        *,
        in_chans: int = 3,
        mlp_ratio: float = 2,
        norm: str = "image",
        coordinates: bool = True,
        layer_scale: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        if len(sides) != 2 or patch_size < 1 or any(side < 1 or side % patch_size for side in sides):
            given = " x ".join(map(str, sides))
            raise MixerError(f"image size {given} is not a multiple of patch size {patch_size}")
        height, width = sides
        if norm not in NORMS:
            raise MixerError(f"norm is {norm!r}; allowed: {', '.join(NORMS)}")
        if dim < 8 or dim % 8:
            raise MixerError(f"dim is {dim}; allowed: multiples of 8")
        if depth < 0 or in_chans < 1 or num_classes < 0 or int(dim * mlp_ratio) < 1:
            raise MixerError(
                f"depth is {depth}, in_chans {in_chans}, num_classes {num_classes}, mlp_ratio {mlp_ratio}; "
                "allowed: depth and num_classes from 0, in_chans from 1, mlp_ratio that leaves a hidden channel"
            )
        self.mixer = mixer
        self.num_classes = num_classes
        self.img_size = (height, width)
        self.patch_size = patch_size
        self.grid = (height // patch_size, width // patch_size)
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = dim
        self.stem = nn.Conv2d(in_chans, dim, patch_size, patch_size)
        blocks = [
            Block(_create(spec, dim, self.grid, layer, seed), mlp_ratio, norm, coordinates, layer_scale)
            for layer, spec in enumerate(mixer_of_each_block(mixer, depth))
        ]
        self.blocks = nn.Sequential(*blocks)
        self.memory_format = blocks[0].mixer.memory_format if blocks else torch.contiguous_format
        self.norm = make_norm(norm, dim, self.memory_format)
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()

    @property
    def mixers(self) -> list[Mixer]:
        """The mixing layers, from the first block to the last."""
        return [block.mixer for block in self._blocks()]

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, dim, rows, columns)."""
        if x.shape[1:] != (self.in_chans, *self.img_size):
            want = (self.in_chans, *self.img_size)
            raise MixerError(f"the net was built for images of {want}, the input has {tuple(x.shape[1:])}")
        x = self.stem(x.contiguous(memory_format=self.memory_format)).contiguous(memory_format=self.memory_format)
        return self.norm(self.blocks(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, dim, rows, columns) -> (B, num_classes), or (B, dim) where pre_logits is set."""
        x = x.mean((2, 3))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new head in place, or none for 0 classes; `global_pool` can only be the average."""
        if global_pool not in (None, "avg"):
            raise MixerError(f"global_pool is {global_pool!r}; allowed: avg")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.to(self.stem.weight.device, self.stem.weight.dtype)

    def flops(self) -> int:
        """Real FLOPs of the algorithm for one image, forward; 2 per multiply-add.

        Convolutions, mixers and the head; norms, activations, biases and residual additions are not counted.
        """
        return self._flops([mixer.flops() for mixer in self.mixers])

    def flops_executed(self) -> int:
        """The same with what the mixers' implementations really do."""
        return self._flops([mixer.flops_executed() for mixer in self.mixers])

    def _flops(self, mixer_flops: list[int]) -> int:
        tokens, dim = self.grid[0] * self.grid[1], self.num_features
        total = 2 * self.in_chans * self.patch_size**2 * dim * tokens + 2 * dim * self.num_classes
        for block, own in zip(self._blocks(), mixer_flops, strict=True):
            total += own + 2 * block.mixer.out_channels * dim * tokens + 4 * dim * block.hidden * tokens
        return total


class Block(nn.Module):
    """One mixing layer and one two-layer perceptron per token, each with norm, scale and residual."""

    def __init__(self, mixer: Mixer, mlp_ratio: float, norm: str, coordinates: bool, layer_scale: float) -> None:
        super().__init__()
        dim = mixer.dim
        self.hidden = int(dim * mlp_ratio)
        self.norm1 = make_norm(norm, dim, mixer.memory_format)
        self.mixer = mixer
        self.norm2 = make_norm(norm, mixer.out_channels, mixer.memory_format)
        self.proj = nn.Conv2d(mixer.out_channels, dim, 1)
        self.coordinates = Coordinates(mixer.size, dim, mixer.out_channels) if coordinates else None
        self.scale1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.norm3 = make_norm(norm, dim, mixer.memory_format)
        self.expand = nn.Conv2d(dim, self.hidden, 1)
        self.contract = nn.Conv2d(self.hidden, dim, 1)
        self.scale2 = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=self.mixer.memory_format)  # a copy only where the block before has another
        mixed = self.norm2(self.mixer(self.norm1(x)))
        x = x + scaled_conv1x1(self.proj, mixed, self.scale1)
        if self.coordinates is not None:
            x = x + self.coordinates(self.scale1)
        hidden = F.gelu(self.expand(self.norm3(x)))
        return x + scaled_conv1x1(self.contract, hidden, self.scale2)


class Coordinates(nn.Module):
    """The two coordinate channels of a 1x1 convolution, in [-1, 1], as what they are: a bias per position.

    A 1x1 convolution over [x, row, column] is one over x plus w_row row + w_column column. The weights start as those
    of a convolution with `fan_in` + 2 input channels do.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], dim: int, fan_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, 2).uniform_(-1, 1) / (fan_in + 2) ** 0.5)
        for name, n in zip(("rows", "columns"), size, strict=True):
            axis = torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1)
            self.register_buffer(name, axis[:, None] if name == "rows" else axis[None, :], persistent=False)

    def forward(self, scale: Tensor) -> Tensor:
        """The bias (dim, H, W), times `scale` (dim,)."""
        row, column = (self.weight * scale[:, None]).unbind(1)
        return row[:, None, None] * self.rows + column[:, None, None] * self.columns


class TokenNorm(nn.LayerNorm):
    """Layer norm over the channels of each token of (B, C, H, W), in the memory format that the net runs in."""

    def __init__(self, channels: int, memory_format: torch.memory_format) -> None:
        super().__init__(channels)
        self.memory_format = memory_format

    def forward(self, x: Tensor) -> Tensor:
        normed = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed.contiguous(memory_format=self.memory_format)


def make_norm(norm: str, channels: int, memory_format: torch.memory_format) -> nn.Module:
    """The norm of a given kind, see `MixerNet`, with a learned gain and bias per channel."""
    return nn.GroupNorm(1, channels) if norm == "image" else TokenNorm(channels, memory_format)


def scaled_conv1x1(conv: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    """scale * conv(x), with the scale folded into the weights, which are far smaller than the output."""
    assert conv.bias is not None
    return F.conv2d(x, conv.weight * scale[:, None, None, None], conv.bias * scale)


def _create(mixer: str, dim: int, size: tuple[int, int], layer: int, seed: int) -> Mixer:
    """The mixer of one block; one that draws something fixed gets a seed per layer, from its option or the net's."""
    options: dict[str, Any] = {}
    if "seed" in mixer_options(mixer_entry(mixer).cls):
        base = parse_mixer(mixer)[1].get("seed", seed)
        if not isinstance(base, int) or not 0 <= base < 2**31:
            raise MixerError(f"mixer {mixer!r}: seed is {base!r}; allowed: whole numbers from 0 to {2**31 - 1}")
        options["seed"] = base * 1000 + layer
    return create_mixer(mixer, dim, size, **options)
