"""What stands before and behind the blocks of `MixerNet`: what makes tokens of its input, and what pools them.

An image becomes tokens by a convolution, a sequence of whole numbers by an embedding. In a sequence 0 is padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import two_sides, whole_number
from mixers.base import check_floating_point, check_is_tensor
from mixers.errors import MixerError

PADDING = 0
POOLS = ("avg", "first", "tokens", "")


class Embedding(nn.Embedding):
    """A learned vector for each token of a vocabulary: whole numbers (B, N) -> (B, dim, 1, N).

    Drawn from N(0, 0.02^2), as BERT's and as learned positions are here: so small that the blocks, whose branches start
    at a tenth, soon outweigh it. With unit variance `fft_real` learns to reverse no sequence in 500 steps, with this it
    does. Padding has a vector as any other token, since mixers that do not keep it out mix it as one (FNet, Lee-Thorp
    et al., 2021).

    Raises:
        MixerError: on a CPU, a token outside the vocabulary. A GPU is not waited for: hold the data to `check_tokens`.
    """

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return embedded(tokens, self.weight).mT.unsqueeze(2)


def make_stem(vocabulary: int | None, in_chans: int, dim: int, patch_size: int) -> nn.Conv2d | Embedding:
    """The embedding of a vocabulary, or the convolution over patches where there is none."""
    return nn.Conv2d(in_chans, dim, patch_size, patch_size) if vocabulary is None else Embedding(vocabulary, dim)


@torch.fx.wrap
def embedded(tokens: Tensor, weight: Tensor) -> Tensor:
    """(B, N) -> (B, N, dim)."""
    try:
        return F.embedding(tokens.long(), weight)
    except IndexError as error:
        raise _outside(tokens, len(weight)) from error


def check_tokens(tokens: Tensor, length: int, vocabulary: int | None = None) -> None:
    """Holds a batch of sequences to whole numbers (B, length), and to its vocabulary where one is given.

    With a vocabulary it looks at every token and at every sequence, which waits for a GPU: for data sets, once.

    Raises:
        MixerError: it has another shape or dtype, a token outside the vocabulary, or a sequence of padding alone.
    """
    check_is_tensor(tokens)
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise MixerError(f"the tokens are of {tokens.dtype}; allowed: whole numbers, such as tokens.long()")
    if tokens.ndim != 2 or tokens.shape[1] != length:
        given = " x ".join(map(str, tokens.shape))
        remedy = "; fill up with padding, which is 0" if tokens.ndim == 2 and tokens.shape[1] < length else ""
        raise MixerError(f"the net was built for sequences of {length} tokens (B x {length}), this is {given}{remedy}")
    if vocabulary is None or not tokens.numel():
        return
    if int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary:
        raise _outside(tokens, vocabulary)
    empty = (tokens == PADDING).all(1).nonzero().flatten().tolist()
    if empty:
        raise MixerError(f"sequence {empty[0]} has no tokens, padding alone ({len(empty)} such); leave it out")


def _outside(tokens: Tensor, vocabulary: int) -> MixerError:
    lowest, highest = int(tokens.min()), int(tokens.max())
    given = lowest if lowest < 0 else highest
    return MixerError(f"token {given} is outside the vocabulary; allowed: 0, which is padding, to {vocabulary - 1}")


def real_tokens(tokens: Tensor) -> Tensor:
    """Which tokens are not padding: (B, N) -> bool (B, 1, N); where all are, the first counts, that none is empty."""
    real = tokens != PADDING
    first = real[:, :1] | ~real.any(1, keepdim=True)
    return torch.cat([first, real[:, 1:]], 1).unsqueeze(1)


def pooled(x: Tensor, pool: str, real: Tensor | None = None) -> Tensor:
    """(B, dim, rows, columns) -> (B, dim), "tokens" (B, N, dim); the mean is that over real (B, rows, columns)."""
    if pool == "first":
        return x[:, :, 0, 0]
    if pool == "tokens":
        return x.flatten(2).mT
    if pool == "":
        return x
    if real is None:
        return x.mean((2, 3))
    weights = real.to(x.dtype).unsqueeze(1)
    return (x * weights).sum((2, 3)) / weights.sum((2, 3))


def check_image(x: Tensor, shape: tuple[int, int, int]) -> None:
    """Holds a batch of images to (C, H, W) in floating point.

    Raises:
        MixerError: it has another shape or dtype.
    """
    check_floating_point(x)
    if x.shape[1:] != shape:
        raise MixerError(f"the net was built for images of {shape}, the input has {tuple(x.shape[1:])}")


def image_sides(img_size: Any, patch_size: int) -> tuple[int, int]:
    """(H, W) in pixels.

    Raises:
        MixerError: the patches do not fill it.
    """
    height, width = two_sides("img_size", img_size)
    if patch_size < 1 or any(side < 1 or side % patch_size for side in (height, width)):
        raise MixerError(f"image size {height} x {width} is not a multiple of patch size {patch_size}")
    return height, width


def is_sequence(vocabulary: Any, length: Any, of_images: Mapping[str, Any]) -> bool:
    """Whether a net is one for sequences.

    Raises:
        MixerError: half of it is given, or something of images too.
    """
    if vocabulary is None and length is None:
        return False
    if vocabulary is None or length is None:
        missing = "vocabulary" if vocabulary is None else "length"
        raise MixerError(f"a net for sequences needs vocabulary= and length=; {missing} is not given")
    given = ", ".join(f"{name}={value!r}" for name, value in of_images.items() if value is not None)
    if given:
        raise MixerError(f"a net is for images or for sequences: with vocabulary= and length= leave out {given}")
    return True


def check_sequence(vocabulary: Any, length: Any, norm: str, coordinates: bool) -> tuple[int, int]:
    """Vocabulary and length of a net for sequences, whose norm and coordinates are the same for all mixers.

    Raises:
        MixerError: one of them is not allowed.
    """
    vocabulary, length = whole_number("vocabulary", vocabulary, 2), whole_number("length", length, 1)
    if norm != "token":
        why = "a norm over all tokens passes information without a mixer"
        raise MixerError(f"norm is {norm!r}; allowed for sequences: token, since {why}")
    if coordinates:
        raise MixerError("coordinates is True; allowed for sequences: False, since positions tell the places of tokens")
    return vocabulary, length


def check_pool(pool: str, num_classes: int, sequence: bool) -> None:
    """Raises:
    MixerError: there is no such pooling for this kind of net.
    """
    pools = POOLS if sequence else ("avg", "")
    if pool not in pools or (num_classes and not pool):
        words = ", ".join(repr(name) for name in pools[:-1])
        raise MixerError(f"global_pool is {pool!r}; allowed: {words}, or '' with num_classes=0")
