"""The one backbone: an isotropic net in which only the token mixer changes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mixers.arguments import check_rate, factory_options, finite_number, flag, no_others, one_of, whole_number
from mixers.base import Mixer, MixerError
from mixers.nets.block import Block
from mixers.nets.mixing import create_mixer_of_layer, not_decayed_by_mixers
from mixers.nets.norms import NORMS, make_norm
from mixers.nets.positions import POSITIONS, add_positions, make_positions
from mixers.nets.stems import (
    check_image,
    check_pool,
    check_sequence,
    check_tokens,
    image_sides,
    is_sequence,
    make_stem,
    pooled,
    real_tokens,
)
from mixers.saved import SavesDefinition
from mixers.spec import parse
from mixers.transforms.methods import autocast_dtype, laid_out

RESIDUALS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class MixerNet(SavesDefinition):
    """Stem, `depth` blocks, norm, global average pooling, linear head: (B, in_chans, H, W) -> (B, num_classes).

    The stem is a convolution with kernel and stride `patch_size`; its output is the grid of tokens. With `vocabulary`
    and `length` the net is one for sequences: whole numbers (B, length) -> (B, num_classes), the stem an embedding,
    the grid (1, length), and 0 padding, which is kept out of the mean and of every mixer that says `takes_padding`;
    the others mix it as any token. Each block is

        x = x + s1 * conv1x1([norm(mixer(norm(x))), row coordinate, column coordinate])
        x = x + s2 * conv1x1(gelu(conv1x1(norm(x))))

    with a scale per channel s1, s2 that starts at 0.1. The net runs in the memory format that the mixer declares.

    It has the methods that timm's scripts call on a model, and its features are the outputs of the blocks; the names
    under which `timm.create_model` builds it are in `mixers.timm.models`. torch.jit.script is refused.

    Args:
        mixer: a mixer as `create_mixer` takes it, or one for each block, such as "6xfft_real+2xattention" or
            "hybrid_top".
        num_classes: outputs of the head; 0 leaves the head out.
        img_size: side of the image in pixels, or (H, W); by default 32.
        patch_size: side of one token in pixels, by default 4; 1 makes every pixel a token.
        dim: channels, a multiple of 8.
        depth: blocks.
        in_chans: channels of the image, by default 3.
        mlp_ratio: hidden width of the second part of a block over dim.
        norm: "image" takes statistics per image over (C, H, W), "token" per token over C; by default "image", and
            "token" for sequences, which allow no other.
        coordinates: whether the two coordinate channels stand after every mixing layer; by default they do, and for
            sequences, which allow none, they do not.
        positions: what is added to the tokens behind the stem: "none", "learned" for a vector a token, "sine" for
            fixed sines and cosines of row and column; by default "none", and "learned" for sequences.
        layer_scale: where s1 and s2 start.
        seed: of fixed random mixers; each block gets another one from it.
        drop_rate: dropout in front of the head.
        drop_path_rate: stochastic depth (Huang et al., 2016) of the last block, rising linearly from 0 in the first.
        global_pool: "avg"; or "" for a net without a head, whose output is then (B, dim, rows, columns). For sequences
            also "first" for the first token alone, and "tokens" for the head on every token: (B, length, num_classes).
        residual: dtype of what blocks hand on and of their norms' outputs under bfloat16 autocast, "float32" or
            "bfloat16", which halves the memory traffic between products; without autocast it has no effect.
        vocabulary: of a net for sequences, how many tokens there are, padding too.
        length: of a net for sequences, tokens; a shorter one is filled up with padding.
        padding: whether 0 is padding; False, for data that has none, saves the mask, and takes 0 for a token.
        device: where the net is to lie; its weights are drawn on the CPU, the same for every device.
        dtype: of weights and fixed tensors.

    Raises:
        MixerError: an argument is not allowed, or the mixer is unknown or does not exist at this size.
    """

    def __init__(
        self,
        mixer: str,
        num_classes: int = 100,
        img_size: int | Sequence[int] | None = None,
        patch_size: int | None = None,
        dim: int = 64,
        depth: int = 4,
        *,
        in_chans: int | None = None,
        mlp_ratio: float = 2,
        norm: str | None = None,
        coordinates: bool | None = None,
        layer_scale: float = 0.1,
        seed: int = 0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
        residual: str = "float32",
        positions: str | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
        padding: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        no_others("MixerNet", others, inspect.signature(type(self)).parameters)
        of_images = {"img_size": img_size, "patch_size": patch_size, "in_chans": in_chans}
        sequence = is_sequence(vocabulary, length, of_images)
        norm, coordinates, positions = _kinds(sequence, norm, coordinates, positions)
        patch_size = whole_number("patch_size", _or(patch_size, 1 if sequence else 4))
        dim, depth = whole_number("dim", dim, 8, "multiples of 8"), whole_number("depth", depth, 0)
        in_chans = 0 if sequence else whole_number("in_chans", _or(in_chans, 3), 1)
        num_classes = whole_number("num_classes", num_classes, 0)
        if sequence:
            vocabulary, length = check_sequence(vocabulary, length, norm, coordinates)
            height, width = 1, length
        else:
            height, width = image_sides(_or(img_size, 32), patch_size)
        _check_arguments(dim, mlp_ratio, layer_scale, drop_rate, drop_path_rate)
        check_pool(global_pool, num_classes, sequence)
        one_of("residual", residual, tuple(RESIDUALS))
        placed_at = factory_options(device, dtype)
        self.mixer = mixer
        self.norm_kind = norm
        self.positions_kind = positions
        self.residual = residual
        self.num_classes = num_classes
        self.img_size = (height, width)
        self.patch_size = patch_size
        self.grid = (height // patch_size, width // patch_size)
        self.in_chans = in_chans
        self.vocabulary, self.length = vocabulary, length
        self.padding = flag("padding", padding) and sequence
        self.global_pool = global_pool
        self.grad_checkpointing = False
        self.num_features = self.head_hidden_size = dim
        self.stem = make_stem(vocabulary, in_chans, dim, patch_size)
        blocks = []
        for layer, spec in enumerate(parse(mixer).of_blocks(depth)):
            drop_path = drop_path_rate * layer / max(depth - 1, 1)
            own = create_mixer_of_layer(spec, dim, self.grid, layer, seed)
            blocks.append(Block(own, mlp_ratio, norm, coordinates, layer_scale, drop_path, residual == "bfloat16"))
        self.blocks = nn.Sequential(*blocks)
        self.memory_format = blocks[0].mixer.memory_format if blocks else torch.contiguous_format
        self.feature_info = [
            {"num_chs": dim, "reduction": patch_size, "module": f"blocks.{layer}"} for layer in range(depth)
        ]
        self.norm = make_norm(norm, dim, self.memory_format)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.positions = make_positions(positions, dim, self.grid)  # drawn last: the other weights are those without
        if placed_at:
            self.to(**placed_at)

    def definition(self) -> dict[str, Any]:
        """What neither the weights nor the mixers' own entries tell."""
        own = {"class": "MixerNet", "norm": self.norm_kind, "positions": self.positions_kind}
        return own if self.length is None else own | {"padding": self.padding, "global_pool": self.global_pool}

    def become(self, saved: dict[str, Any]) -> None:
        super().become({"positions": "none"} | saved)  # of which there were none before it was an option

    @property
    def mixers(self) -> list[Mixer]:
        """The mixing layers, from the first block to the last."""
        return [block.mixer for block in self._blocks()]

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) or (B, length) -> (B, dim, rows, columns)."""
        return self._features(x, self._real(x))

    def _real(self, x: Tensor) -> Tensor | None:
        """Which tokens are not padding, (B, rows, columns); None where there is no padding."""
        if not self.padding or self.length is None:
            return None
        check_tokens(x, self.length)
        return real_tokens(x)

    def _features(self, x: Tensor, real: Tensor | None) -> Tensor:
        x = self._tokens(x)
        if real is None and not self.grad_checkpointing:
            return self._last_norm(self.blocks(x))
        for block in self.blocks:
            x = self._through(block, x, real)
        return self._last_norm(x)

    def _through(self, block: nn.Module, x: Tensor, real: Tensor | None) -> Tensor:
        tensors = (x,) if real is None else (x, real)
        return checkpoint(block, *tensors, use_reentrant=False) if self.grad_checkpointing else block(*tensors)

    def _tokens(self, x: Tensor) -> Tensor:
        if self.length is None:
            check_image(x, (self.in_chans, *self.img_size))
            x = laid_out(x, self.memory_format)
        else:
            check_tokens(x, self.length)
        x = stream(laid_out(self.stem(x), self.memory_format), RESIDUALS[self.residual])
        return x if self.positions is None else add_positions(x, self.positions())

    def _last_norm(self, x: Tensor) -> Tensor:
        return self.norm(stream(x, torch.float32))  # as what follows it, whatever the residual

    def forward_head(self, x: Tensor, pre_logits: bool = False, real: Tensor | None = None) -> Tensor:
        """(B, dim, rows, columns) -> (B, num_classes), or what the head would get where pre_logits is set.

        The mean is that over `real` (B, rows, columns) where it is given: the tokens that are not padding.
        """
        x = self.head_drop(pooled(x, self.global_pool, real))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        real = self._real(x)
        return self.forward_head(self._features(x, real), real=real)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The outputs of some blocks, as timm's nets give them, and unless `intermediates_only` the features before.

        Args:
            x: (B, in_chans, H, W) or (B, length).
            indices: blocks, negative ones from the end; a number takes that many last ones, None all.
            norm: whether the final norm is applied to each.
            stop_early: whether the blocks after the last wanted one are left out, from the features too.
            output_fmt: "NCHW" for (B, dim, rows, columns), "NLC" for (B, tokens, dim).
            intermediates_only: whether to return the list alone.

        Raises:
            MixerError: another output_fmt.
            AssertionError: there is no such block (timm's own check).
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise MixerError(f"output_fmt is {output_fmt!r}; allowed: NCHW, NLC")
        wanted, last = _take_indices(len(self.blocks), indices)
        taken = []
        real = self._real(x)
        x = self._tokens(x)
        for i, block in enumerate(self.blocks[: last + 1] if stop_early else self.blocks):
            x = self._through(block, x, real)
            if i in wanted:
                taken.append(self._last_norm(x) if norm else x)
        if output_fmt == "NLC":
            taken = [y.flatten(2).transpose(1, 2) for y in taken]
        return taken if intermediates_only else (self._last_norm(x), taken)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Removes the blocks after the last of `indices`, and norm and head if asked; returns the indices from 0."""
        wanted, last = _take_indices(len(self.blocks), indices)
        self.blocks = self.blocks[: last + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new head in place, or none for 0 classes; the pooling stays as it is where None is given."""
        global_pool = self.global_pool if global_pool is None else global_pool
        check_pool(global_pool, num_classes, self.length is not None)
        self.num_classes, self.global_pool = num_classes, global_pool
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.to(self.stem.weight.device, self.stem.weight.dtype).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks are computed again in the backward pass instead of keeping what they computed."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """The layers for layer-wise learning rates: stem, each block (the last with the final norm), head."""
        return {"stem": r"^stem|^positions", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}

    def no_weight_decay(self) -> set[str]:
        """What the mixers name, and learned positions; whatever has one axis, timm never decays.

        The weights of the coordinates are two input channels of a 1x1 convolution, and decay as its others do; so does
        an embedding, as BERT's (Devlin et al., 2019).
        """
        own = {"positions.weight"} if self.positions_kind == "learned" else set()
        return own | not_decayed_by_mixers(self)

    def __prepare_scriptable__(self) -> nn.Module:
        raise MixerError("MixerNet cannot be scripted by torch.jit.script; use torch.compile or torch.export")

    def flops(self) -> int:
        """Real FLOPs of the algorithm for one image or sequence, forward; 2 per multiply-add.

        Convolutions, mixers and the head; norms, activations, biases and residual additions are not counted, and an
        embedding, which looks up, has none. Padding is counted as the tokens are.
        """
        return self._flops([mixer.flops() for mixer in self.mixers])

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        """Which implementation of the mixers runs on this type of device; of several, all, in their order."""
        methods = [
            mixer.method_on_padded(device, dtype) if self.padding else mixer.method_on(device, dtype)
            for mixer in self.mixers
        ]
        return "+".join(dict.fromkeys(methods))

    def flops_executed(self) -> int:
        """The same with what the mixers' implementations really do."""
        return self._flops([mixer.flops_executed() for mixer in self.mixers])

    def _flops(self, mixer_flops: list[int]) -> int:
        tokens, dim = self.grid[0] * self.grid[1], self.num_features
        heads = tokens if self.global_pool == "tokens" else 1
        total = 2 * self.in_chans * self.patch_size**2 * dim * tokens + 2 * dim * self.num_classes * heads
        for block, own in zip(self._blocks(), mixer_flops, strict=True):
            total += own + 2 * block.mixer.out_channels * dim * tokens + 4 * dim * block.hidden * tokens
        return total


# what depends on the dtype of an activation is a step of its own in a symbolic trace, which knows none
torch.fx.wrap("add_positions")


@torch.fx.wrap
def stream(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x as it goes from block to block: in this dtype under bfloat16 autocast, else as it is."""
    return x.to(dtype) if autocast_dtype(x.device.type) == torch.bfloat16 else x


def _kinds(sequence: bool, norm: Any, coordinates: Any, positions: Any) -> tuple[str, bool, str]:
    """What a net has of each where nothing is said, or what is said."""
    return (
        one_of("norm", _or(norm, "token" if sequence else "image"), NORMS),
        flag("coordinates", _or(coordinates, not sequence)),
        one_of("positions", _or(positions, "learned" if sequence else "none"), POSITIONS),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _take_indices(blocks: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    """The wanted blocks from 0 and the last of them."""
    from timm.models._features import feature_take_indices  # importing timm takes seconds, and only its users come here

    return feature_take_indices(blocks, indices if indices is None or isinstance(indices, int) else list(indices))


def _check_arguments(dim: int, mlp_ratio: Any, layer_scale: Any, drop_rate: Any, drop_path_rate: Any) -> None:
    if dim % 8:
        raise MixerError(f"dim is {dim}; allowed: multiples of 8")
    if not 1 <= int(dim * finite_number("mlp_ratio", mlp_ratio)) < 2**31:
        raise MixerError(f"mlp_ratio is {mlp_ratio}; allowed: numbers that leave 1 to {2**31 - 1} hidden channels")
    if abs(finite_number("layer_scale", layer_scale)) > torch.finfo(torch.get_default_dtype()).max:
        raise MixerError(f"layer_scale is {layer_scale}; allowed: numbers that {torch.get_default_dtype()} holds")
    for name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        check_rate(name, rate)
