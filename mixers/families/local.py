"""Local mixers: a token meets its neighbours, or nobody."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import flag, one_of, whole_number
from mixers.base import Mixer, MixerError, UnsupportedSize
from mixers.registry import register_mixer

MOST_KERNEL = 1023  # tokens; one of 511 covers the largest grid
ODD = f"odd whole numbers from 1 to {MOST_KERNEL}"


@register_mixer(
    "conv1x1",
    family="local",
    complexity="0",
    paper="FNet's FF-only (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class Conv1x1(Mixer):
    """The identity: no mixing; the backbone's own 1x1 convolutions are all there is.

    y = x. The baseline that tells what mixing is worth. No FLOPs of its own.
    """

    memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        return x

    def flops(self) -> int:
        return 0

    def reference(self, x: Tensor) -> Tensor:
        return x.to(torch.float64)


@register_mixer(
    "conv_mixer",
    family="local",
    complexity="k^2 C N",
    paper="ConvMixer, Patches Are All You Need? (https://arxiv.org/abs/2201.09792)",
    year=2022,
)
class ConvMixer(Mixer):
    """Depthwise k x k convolution, GELU, batch norm: each channel with its own kernel, zeros beyond the border.

    Complexity 2 k^2 C N. On a grid of one row, a sequence, the kernel is 1 x k: 2 k C N.

    Differs from the paper in the norms of our block, where it has none. activation="none" leaves GELU and batch norm
    out: the convolution alone, a linear map. In training the batch norm takes its
    statistics from the batch, which must hold more than one token; under gradient checkpointing its running statistics
    move twice a step. With it padding is kept out of the statistics, and for the kernels it is like what is beyond the
    border; without it padding is mixed as any token.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        kernel: k, odd; 5 as in the paper's nets for small images.
        activation: "gelu" for the paper's GELU and batch norm behind the convolution, or "none".

    Raises:
        MixerError: kernel is even or not from 1 to 1,023, or activation is unknown.
    """

    version = 2  # 1 had neither GELU nor batch norm
    memory_format = torch.channels_last
    takes_padding = True

    def __init__(self, dim: int, size: tuple[int, int], kernel: int = 5, activation: str = "gelu") -> None:
        super().__init__(dim, size)
        self.kernel = _odd("conv_mixer", kernel)
        self.activation = one_of("conv_mixer: activation", activation, ("gelu", "none"))
        self.window = _window(self.size, self.kernel)
        self.conv = nn.Conv2d(dim, dim, self.window, padding=_border(self.window), groups=dim)
        self.norm = nn.BatchNorm2d(dim) if self.activation == "gelu" else None
        self.takes_padding = self.norm is not None

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        mixed = self.conv(x if real is None else x * real.unsqueeze(1))
        return mixed if self.norm is None else _batch_norm(self.norm, F.gelu(mixed), real)

    def flops(self) -> int:
        return 2 * math.prod(self.window) * self.dim * self.tokens

    def reference(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        assert self.conv.bias is not None
        weight, bias = self.conv.weight.to(torch.float64), self.conv.bias.to(torch.float64)
        x = x.to(torch.float64) if real is None else torch.where(real.unsqueeze(1), x.to(torch.float64), 0.0)
        patches = F.unfold(x, self.window, padding=_border(self.window))
        mixed = torch.einsum("bckn,ck->bcn", patches.unflatten(1, (self.dim, -1)), weight.flatten(1))
        mixed = (mixed + bias[:, None]).unflatten(2, x.shape[2:])
        if self.norm is None:
            return mixed
        return _plain_batch_norm(self.norm, mixed * 0.5 * (1 + torch.erf(mixed / 2**0.5)), real)


@register_mixer(
    "pool",
    family="local",
    complexity="k^2 C N",
    paper="PoolFormer, MetaFormer Is Actually What You Need for Vision (https://arxiv.org/abs/2111.11418)",
    year=2021,
)
class Pool(Mixer):
    """Mean over k x k neighbours less the token itself.

    Neighbours beyond the border do not count. No parameters; complexity k^2 C N additions. Zero, by its
    definition, on a grid of one token. On a grid of one row, a sequence, the neighbours are 1 x k: k C N.

    The paper's layer. There the residual adds the token again, so that the block gives the mean; in our block a norm
    and a 1x1 convolution stand between, which get the token's difference from its neighbours, a Laplacian:
    subtract=False hands them the mean instead.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        kernel: k, odd and at least 3.
        subtract: whether the token is taken off its neighbours' mean.

    Raises:
        MixerError: kernel is even or less than 3.
    """

    def __init__(self, dim: int, size: tuple[int, int], kernel: int = 3, subtract: bool = True) -> None:
        super().__init__(dim, size)
        self.kernel = _odd("pool", kernel)
        self.subtract = flag("pool: subtract", subtract)
        if self.kernel < 3:
            what = "zero everywhere" if self.subtract else "no mixing"
            raise MixerError(f"pool with kernel 1 is {what}; allowed: odd numbers from 3")
        self.window = _window(self.size, self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool2d(x, self.window, 1, _border(self.window), count_include_pad=False)
        return mean - x if self.subtract else mean

    def flops(self) -> int:
        return math.prod(self.window) * self.dim * self.tokens

    def reference(self, x: Tensor) -> Tensor:
        def sums(plane: Tensor) -> Tensor:
            patches = F.unfold(plane, self.window, padding=_border(self.window))
            return patches.unflatten(1, (plane.shape[1], -1)).sum(2).unflatten(2, x.shape[2:])

        exact = x.to(torch.float64)
        mean = sums(exact) / sums(torch.ones_like(exact))
        return mean - exact if self.subtract else mean


@register_mixer(
    "shift",
    family="local",
    complexity="0",
    paper="ShiftViT, When Shift Operation Meets Vision Transformer (https://arxiv.org/abs/2201.10801)",
    year=2022,
)
class Shift(Mixer):
    """Four groups of channels each moved by one token, left, right, up and down; the others stay.

    Each group is a twelfth of the channels, at least one; what comes from beyond the border is zero. No parameters and
    no FLOPs. On a grid of one row, a sequence, there is no up and down: twice as many channels move left and right.

    The paper's layer, with its share of a twelfth for each direction. Its block shifts the stream itself, in front of
    the perceptron, its norm and its residual; ours shifts a branch between a norm and a 1x1 convolution.

    Raises:
        UnsupportedSize: dim is less than 4.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        if dim < 4:
            raise UnsupportedSize(f"shift moves four groups of channels; dim is {dim}")
        self.group = max(1, dim // 12) * (2 if self.size[0] == 1 else 1)
        if self.size[0] == 1:
            self.version = 2  # 1 moved zeros into the groups that had nowhere to go

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad and not torch.jit.is_tracing():
            return _move(x, self.group, 1)
        return _moved(x, self.group, 1)  # without what autograd costs on a small input

    def flops(self) -> int:
        return 0

    def reference(self, x: Tensor) -> Tensor:
        exact = x.to(torch.float64)
        moves = {(0, 1): 0, (0, -1): 1, (1, 0): 2, (-1, 0): 3}  # where a token of the group comes from
        if self.size[0] == 1:
            moves = {(0, 1): 0, (0, -1): 1}
        parts = [
            F.pad(exact, (1, 1, 1, 1))[:, k * self.group : (k + 1) * self.group].roll((-down, -right), (2, 3))[
                :, :, 1:-1, 1:-1
            ]
            for (down, right), k in moves.items()
        ]
        return torch.cat([*parts, exact[:, len(moves) * self.group :]], 1)


def _moved(x: Tensor, group: int, step: int) -> Tensor:
    """The four groups moved by `step` = 1, or back by -1; the two of a single row."""
    out = x.new_empty(x.shape)
    rows, columns = x.shape[2:]
    ways = ((3, -1), (3, 1), (2, -1), (2, 1))[: 2 if rows == 1 else 4]
    out[:, len(ways) * group :].copy_(x[:, len(ways) * group :])
    flat_x, flat_out = x.flatten(2), out.flatten(2)
    for k, (axis, direction) in enumerate(ways):
        source, target = (y.narrow(1, k * group, group) for y in (flat_x, flat_out))
        distance, forwards = columns if axis == 2 else 1, direction * step > 0
        n = rows * columns - distance
        target.narrow(2, distance if forwards else 0, n).copy_(source.narrow(2, 0 if forwards else distance, n))
        # what came over the edge of a row, or was not written at all
        out.narrow(1, k * group, group).select(axis, 0 if forwards else -1).zero_()
    return out


def _move(x: Tensor, group: int, step: int) -> Tensor:
    """`_moved` with a gradient of its own; a compiler refuses a function that also has a jvp."""
    return (_Moved if torch.compiler.is_compiling() else _MovedWithTangent).apply(x, group, step)


class _Moved(torch.autograd.Function):
    """Moving back is the backward of moving."""

    @staticmethod
    def forward(x: Tensor, group: int, step: int) -> Tensor:
        return _moved(x, group, step)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.group, ctx.step = inputs

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _move(gradient, ctx.group, -ctx.step), None, None


class _MovedWithTangent(_Moved):
    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> Tensor:
        return _move(tangent, ctx.group, ctx.step)

    @staticmethod
    def vmap(info, in_dims, x: Tensor, group: int, step: int) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)
        return _move(x.flatten(0, 1), group, step).unflatten(0, x.shape[:2]), 0


def _batch_norm(norm: nn.BatchNorm2d, x: Tensor, real: Tensor | None) -> Tensor:
    """The norm, its statistics over the tokens that are none of padding."""
    if real is None or not norm.training:
        return norm(x)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    inside = real.unsqueeze(1).to(wide.dtype)
    count = inside.sum()
    mean = (wide * inside).sum((0, 2, 3)) / count
    variance = ((wide - mean[:, None, None]).square() * inside).sum((0, 2, 3)) / count
    with torch.no_grad():
        assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
    scale = torch.rsqrt(variance + norm.eps) * norm.weight
    return ((wide - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).to(x.dtype)


def _plain_batch_norm(norm: nn.BatchNorm2d, x: Tensor, real: Tensor | None = None) -> Tensor:
    """What the norm gives in its mode, training or evaluation; its running statistics stay as they are."""
    variance, mean = norm.running_var, norm.running_mean
    if norm.training:
        tokens = x.permute(0, 2, 3, 1)
        seen = tokens.flatten(0, 2) if real is None else tokens[real]
        variance, mean = seen.var(0, correction=0), seen.mean(0)
    assert variance is not None and mean is not None
    scale, shift = (value.to(x.dtype)[:, None, None] for value in (variance, mean))
    weight, bias = (value.to(x.dtype)[:, None, None] for value in (norm.weight, norm.bias))
    return (x - shift) / (scale + norm.eps).sqrt() * weight + bias


def _window(size: tuple[int, int], kernel: int) -> tuple[int, int]:
    """The neighbours that a kernel meets: k x k, or 1 x k where there is one row."""
    return (1 if size[0] == 1 else kernel, kernel)


def _border(window: tuple[int, int]) -> tuple[int, int]:
    """What leaves the grid as large as it was."""
    return window[0] // 2, window[1] // 2


def _odd(name: str, kernel: int) -> int:
    number = whole_number(f"{name}: kernel", kernel, 1, ODD)
    if number % 2 == 0 or number > MOST_KERNEL:
        raise MixerError(f"{name}: kernel is {kernel!r}; allowed: {ODD}")
    return number
